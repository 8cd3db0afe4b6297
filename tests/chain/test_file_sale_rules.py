"""Who may list, deliver and pay for what; what a hold and a case stop; what the seller's bond answers for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from countermark.errors import (
    ConflictError,
    IdentityMissing,
    InputError,
    NotAParty,
    NotFoundError,
    NotTitleHolder,
    OnHold,
    PriceChanged,
    RightsError,
    ShortPayment,
    TermsViolated,
    TitleInDispute,
)

from .file_desk import (
    BOND,
    BOND_GRACE,
    COMPLAINT_WINDOW,
    DAY,
    FEE_BPS,
    MONEY,
    PRICE,
    REFUNDED,
    REVEAL_WINDOW,
    RIGHT,
    SELLER_BOND,
    SETTLED,
    WRONG,
    close_desk,
    copy,
    deliver,
    file_sale,
    give_grant,
    moved,
    offer,
    open_desk,
    revealed,
    state,
    word,
)

MAX_AMOUNT = 2**53 - 1


@pytest.fixture
def bare():
    machine = open_desk()
    yield machine
    close_desk(machine)


@pytest.fixture
def title(bare):
    return bare.title()


@pytest.fixture
def grant(bare, title):
    return give_grant(bare, title)


@pytest.fixture
def listing(bare, title):
    return offer(bare, title)


# --- what is refused on the way


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"price": 0}, InputError, "ZeroAmount"),
        ({"price": MAX_AMOUNT + 1}, InputError, "AmountOutOfRange"),
        ({"price": 2**64 + 1}, InputError, "AmountOutOfRange"),
        ({"bond": MAX_AMOUNT + 1}, InputError, "AmountOutOfRange"),
        ({"bond": MONEY + 1}, ShortPayment, "ShortPayment"),
        ({"terms": bytes(32)}, InputError, "EmptyDigest"),
        ({"until": -1}, InputError, "InvalidExpiry"),
        ({"until": 0}, InputError, "InvalidExpiry"),
    ],
)
def test_a_listing_that_makes_no_sense_is_refused(bare, title, change, kind, reason):
    given = {"price": PRICE, "bond": 0, "terms": word("terms"), "until": DAY} | change
    given["until"] += bare.now
    bare.refused(kind, reason, "owner", "FileSales.offer", title, *given.values())


def test_only_the_holder_of_a_clear_title_lists_it(bare, title):
    args = (title, PRICE, 0, word("terms"), bare.now + DAY)
    bare.refused(NotTitleHolder, "NotTitleHolder", "maker", "FileSales.offer", *args)
    bare.tag(title)
    bare.refused(TitleInDispute, "TitleTagged", "owner", "FileSales.offer", *args)
    bare.tag(title, False)
    bare.set_parameter("market.identity", 1)
    bare.refused(IdentityMissing, "IdentityMissing", "owner", "FileSales.offer", *args)


@pytest.mark.parametrize(
    ("at", "value", "kind", "reason"),
    [
        (0, bytes(32), InputError, "EmptyDigest"),
        (1, bytes(32), InputError, "EmptyDigest"),
        (2, bytes(32), InputError, "EmptyDigest"),
        (3, 0, InputError, "BlocksOutOfRange"),
        (3, 2**40 + 1, InputError, "BlocksOutOfRange"),
        (4, bytes(32), InputError, "EmptyDigest"),
        (6, 0, InputError, "ZeroAmount"),
        (6, MAX_AMOUNT + 1, InputError, "AmountOutOfRange"),
        (6, MONEY + 1, ShortPayment, "ShortPayment"),
    ],
)
def test_a_delivery_that_commits_to_nothing_is_refused(bare, listing, grant, at, value, kind, reason):
    args = [*RIGHT.delivery(), BOND]
    args[at] = value
    bare.refused(kind, reason, "marker", "FileSales.deliver", listing, grant, *args)


def test_only_a_marking_service_delivers(bare, listing, grant):
    for who in ("owner", "licensee", "office"):
        bare.refused(RightsError, "MissingRole", who, "FileSales.deliver", listing, grant, *RIGHT.delivery(), BOND)


def test_a_key_seals_one_copy(bare, listing, grant):
    deliver(bare, listing, grant)
    bare.refused(ConflictError, "KeyUsed", "marker", "FileSales.deliver", listing, grant, *WRONG.delivery(), BOND)


def test_a_copy_goes_to_the_holder_of_a_grant_in_force_of_that_title(bare, listing, grant):
    spare = bare.title()
    bare.refused(
        InputError,
        "GrantOfAnotherTitle",
        "marker",
        "FileSales.deliver",
        offer(bare, spare),
        grant,
        *RIGHT.delivery(),
        BOND,
    )
    bare.do("owner", "Grants.revoke", grant, word("reason"))
    bare.refused(
        TermsViolated, "GrantNotInForce", "marker", "FileSales.deliver", listing, grant, *RIGHT.delivery(), BOND
    )
    bare.refused(TermsViolated, "GrantNotInForce", "marker", "FileSales.deliver", listing, 99, *RIGHT.delivery(), BOND)
    bare.refused(NotFoundError, "UnknownListing", "marker", "FileSales.deliver", 9, grant, *RIGHT.delivery(), BOND)


def test_nothing_is_delivered_under_a_listing_that_ended(bare, title, listing, grant):
    args = (grant, *RIGHT.delivery(), BOND)
    now = bare.now
    bare.turn(30 * DAY)
    bare.refused(ConflictError, "ListingNotOpen", "marker", "FileSales.deliver", listing, *args)
    bare.now = now
    bare.do("owner", "FileSales.withdrawListing", listing)
    bare.refused(ConflictError, "ListingNotOpen", "marker", "FileSales.deliver", listing, *args)
    another = offer(bare, title)
    bare.do("owner", "ModelTitles.transferByDeed", title, bare.address("maker"), word("deed"))
    bare.refused(NotTitleHolder, "NotTitleHolder", "marker", "FileSales.deliver", another, *args)


def test_one_bond_answers_for_so_many_copies(bare, listing, grant):
    one = copy(1)
    for number in range(64):
        deliver(bare, listing, grant, replace(one, key=word(f"key {number}")), bond=1)
    full = (grant, *replace(one, key=word("one more")).delivery(), 1)
    bare.refused(ConflictError, "ListingFull", "marker", "FileSales.deliver", listing, *full)


def test_payment_is_the_buyers_at_a_price_it_agreed_to(bare, title, listing, grant):
    sale = deliver(bare, listing, grant)
    bare.refused(NotAParty, "NotBuyer", "second", "FileSales.pay", sale, PRICE)
    bare.refused(PriceChanged, "PriceChanged", "licensee", "FileSales.pay", sale, PRICE - 1)
    bare.refused(NotFoundError, "UnknownSale", "licensee", "FileSales.pay", 9, PRICE)
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), PRICE - 1)
    bare.refused(ShortPayment, "ShortPayment", "licensee", "FileSales.pay", sale, PRICE)
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), PRICE)
    bare.tag(title)
    bare.refused(TitleInDispute, "TitleTagged", "licensee", "FileSales.pay", sale, PRICE)
    bare.tag(title, False)
    bare.do("licensee", "FileSales.pay", sale, PRICE)
    bare.refused(ConflictError, "WrongSaleState", "licensee", "FileSales.pay", sale, PRICE)


def test_a_buyer_without_its_grant_or_under_a_closed_listing_does_not_pay(bare, title, listing, grant):
    sale = deliver(bare, listing, grant)
    bare.do("owner", "FileSales.withdrawListing", listing)
    bare.refused(ConflictError, "ListingNotOpen", "licensee", "FileSales.pay", sale, PRICE)
    sale = deliver(bare, offer(bare, title), grant, copy(key="another"))
    bare.do("owner", "Grants.revoke", grant, word("reason"))
    bare.refused(TermsViolated, "GrantNotInForce", "licensee", "FileSales.pay", sale, PRICE)


# --- holds and cases


def holdable(bare, title, grant):
    return {
        "the sale": file_sale(),
        "the title": bare.subject("title", title),
        "the grant": bare.subject("grant", grant),
        "the seller": bare.subject("account", "owner"),
        "the buyer": bare.subject("account", "licensee"),
        "the service": bare.subject("account", "marker"),
    }


@pytest.mark.parametrize("what", ["the sale", "the title", "the grant", "the seller", "the buyer", "the service"])
def test_a_hold_stops_payment_and_key_and_never_the_way_back(bare, title, listing, grant, what):
    subject = holdable(bare, title, grant)[what]
    sale = deliver(bare, listing, grant)
    bare.hold(subject, 80)
    bare.refused(OnHold, "OnHold", "licensee", "FileSales.pay", sale, PRICE)
    bare.release(subject)
    bare.do("licensee", "FileSales.pay", sale, PRICE)
    bare.hold(subject, 80)
    bare.refused(OnHold, "OnHold", "marker", "FileSales.reveal", sale, RIGHT.key)
    bare.turn(REVEAL_WINDOW)
    bare.do("licensee", "FileSales.abort", sale)
    assert moved(bare, "licensee", "marker") == [0, 0]


@pytest.mark.parametrize("what", ["the sale", "the title", "the grant", "the seller", "the buyer", "the service"])
def test_a_hold_never_stops_a_complaint(bare, title, listing, grant, what):
    sale = revealed(bare, listing, grant, WRONG)
    bare.hold(holdable(bare, title, grant)[what])
    bare.do("licensee", "FileSales.complain", sale, *WRONG.complaint(9))
    assert moved(bare, "licensee") == [BOND]


@pytest.mark.parametrize("what", ["the sale", "the title"])
def test_a_held_sale_is_not_settled(bare, title, listing, grant, what):
    sale = revealed(bare, listing, grant)
    bare.hold(holdable(bare, title, grant)[what], 4)
    bare.turn(COMPLAINT_WINDOW)
    bare.refused(OnHold, "OnHold", "stranger", "FileSales.settle", sale)
    bare.turn(DAY)
    bare.do("stranger", "FileSales.settle", sale)


@pytest.mark.parametrize("what", ["the title", "the grant", "the seller", "the buyer", "the service"])
def test_nothing_held_is_delivered_and_no_held_title_listed(bare, title, listing, grant, what):
    bare.hold(holdable(bare, title, grant)[what])
    bare.refused(OnHold, "OnHold", "marker", "FileSales.deliver", listing, grant, *RIGHT.delivery(), BOND)
    if what in ("the title", "the seller"):
        args = (title, PRICE, 0, word("terms"), bare.now + DAY)
        bare.refused(OnHold, "OnHold", "owner", "FileSales.offer", *args)
    bare.do("owner", "FileSales.withdrawListing", listing)
    assert moved(bare, "owner") == [0]


def test_a_pending_case_stops_the_settlement(bare, listing, grant):
    sale = revealed(bare, listing, grant)
    bare.set_pending(file_sale(), True)
    bare.turn(COMPLAINT_WINDOW)
    bare.refused(ConflictError, "CasePending", "stranger", "FileSales.settle", sale)
    bare.set_pending(file_sale(), False)
    bare.do("stranger", "FileSales.settle", sale)


# --- the seller's bond


def test_the_bond_of_a_listing_that_sold_nothing_comes_back_at_once(bare, listing):
    bare.refused(NotAParty, "NotTheSeller", "marker", "FileSales.withdrawListing", listing)
    assert bare.do("owner", "FileSales.withdrawListing", listing).event("ListingWithdrawn")["bond"] == SELLER_BOND
    assert moved(bare, "owner") == [0]
    bare.refused(ConflictError, "BondNotFree", "owner", "FileSales.withdrawListing", listing)


def test_the_bond_waits_for_open_sales_the_grace_and_every_case(bare, listing, grant):
    sale = revealed(bare, listing, grant)
    assert bare.do("owner", "FileSales.withdrawListing", listing).event("ListingWithdrawn")["bond"] == 0
    bare.refused(ConflictError, "BondNotFree", "owner", "FileSales.withdrawListing", listing)
    bare.turn(COMPLAINT_WINDOW)
    bare.do("stranger", "FileSales.settle", sale)
    bare.turn(BOND_GRACE - 1)
    bare.refused(ConflictError, "BondNotFree", "owner", "FileSales.withdrawListing", listing)
    bare.turn(1)
    bare.set_pending(file_sale(), True)
    bare.refused(ConflictError, "BondNotFree", "owner", "FileSales.withdrawListing", listing)
    bare.set_pending(file_sale(), False)
    assert bare.do("owner", "FileSales.withdrawListing", listing).event("ListingWithdrawn")["bond"] == SELLER_BOND
    assert bare.tokens("owner") + bare.credit("owner") == MONEY + PRICE - PRICE * FEE_BPS // 10_000


def test_a_ruling_against_the_seller_takes_the_bond_and_undoes_what_is_not_settled(bare, listing, grant):
    sale = revealed(bare, listing, grant)
    for who in ("owner", "licensee", "office", "Market"):
        bare.refused(RightsError, "NotTheContract", who, "FileSales.slash", sale, bare.address("licensee"))
    done = bare.do("Disputes", "FileSales.slash", sale, bare.address("licensee"))
    assert done.value == SELLER_BOND
    assert done.event("BondSlashed")["amount"] == SELLER_BOND
    assert state(bare) == REFUNDED
    assert moved(bare, "licensee", "owner", "marker") == [SELLER_BOND, -SELLER_BOND, 0]
    assert bare.do("Disputes", "FileSales.slash", sale, bare.address("licensee")).value == 0
    bare.refused(
        ConflictError, "ListingNotOpen", "marker", "FileSales.deliver", listing, grant, *copy(key="x").delivery(), BOND
    )
    bare.turn(100 * DAY)
    bare.refused(ConflictError, "BondNotFree", "owner", "FileSales.withdrawListing", listing)


def test_a_ruling_after_the_settlement_takes_the_bond_alone(bare, listing, grant):
    sale = revealed(bare, listing, grant)
    bare.turn(COMPLAINT_WINDOW)
    bare.do("stranger", "FileSales.settle", sale)
    assert bare.do("Disputes", "FileSales.slash", sale, bare.address("licensee")).value == SELLER_BOND
    assert state(bare) == SETTLED
    assert moved(bare, "licensee", "marker") == [SELLER_BOND - PRICE, 0]


def test_the_parties_are_known(bare, listing, grant):
    sale = deliver(bare, listing, grant)
    parties = [bare.address(who) for who in ("owner", "licensee", "marker")]
    assert list(bare.read("FileSales.partiesOf", sale)) == [party.lower() for party in parties]
    bare.refused(NotFoundError, "UnknownSale", "anyone", "FileSales.partiesOf", 9)
    bare.refused(NotFoundError, "UnknownListing", "anyone", "FileSales.listingRecord", 9)


def test_two_sales_of_one_listing_do_not_touch_each_others_money(bare, title, listing, grant):
    args = (bare.address("second"), word("acceptance"), word("mark 2"), bare.now, bare.now + 300 * DAY)
    another = bare.do("owner", "Grants.grant", bare.offer(title, bond=0, duration=301 * DAY), *args).value
    first = revealed(bare, listing, grant, WRONG)
    second = deliver(bare, listing, another, copy(key="second"))
    bare.do("second", "FileSales.pay", second, PRICE)
    bare.do("licensee", "FileSales.complain", first, *WRONG.complaint(9))
    bare.do("marker", "FileSales.reveal", second, word("second"))
    bare.turn(COMPLAINT_WINDOW)
    bare.do("stranger", "FileSales.settle", second)
    fee = PRICE * FEE_BPS // 10_000
    assert moved(bare, "licensee", "second", "marker") == [BOND, -PRICE, -BOND]
    assert moved(bare, "owner") == [PRICE - fee - SELLER_BOND]
