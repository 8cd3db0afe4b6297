"""The market: titles and licenses at a fixed price, resale, renewal, bonds; who is refused, and what a hold stops."""

from __future__ import annotations

import pytest

from countermark.errors import (
    ConflictError,
    GrantExpired,
    GrantRevoked,
    IdentityMissing,
    InputError,
    NotAParty,
    NotFoundError,
    NotTitleHolder,
    OfferExpired,
    OnHold,
    OutOfTime,
    PriceChanged,
    RightsError,
    ShortPayment,
    TermsViolated,
    TitleInDispute,
)

from .bare import DAY, FEE_BPS, fresh, word

word, DAY, FEE_BPS, MAX_AMOUNT = word, DAY, FEE_BPS, 2**53 - 1
MUCH = 2**53
TITLE, LICENSE, RESALE = 1, 2, 3
OFFERED, PAID, SETTLED, REFUNDED, WITHDRAWN = 1, 2, 3, 4, 5
KIND, STATE = 0, 1


@pytest.fixture
def bare():
    machine = fresh()
    for who in ("owner", "heir", "licensee", "second"):
        machine.pay_in(who, 10**9)
    yield machine
    machine.check_books()


@pytest.fixture
def title(bare):
    return bare.title()


@pytest.fixture
def grant(bare, title):
    """A grant that the licensee bought, with a bond of 3,000."""
    return bare.deliver(bare.buy(bare.offer(title)))


def state(bare, sale):
    return bare.read("Market.saleRecord", sale)[:2]


def offer_title(bare, title, price=10_000, days=5, who="owner"):
    return bare.do(who, "Market.offerTitle", title, price, word("deed"), bare.now + days * DAY).value


def offer_grant(bare, grant, price=10_000, days=5, who="licensee"):
    return bare.do(who, "Market.offerGrant", grant, price, bare.now + days * DAY).value


def buy_grant(bare, sale, who="second"):
    bare.do(who, "Market.buyGrant", sale, word("acceptance"), MUCH)


def license_args(bare, offer, most=MUCH, fee=10_000, digest=None, starts=0):
    return "Market.buyLicense", offer, word("a") if digest is None else digest, bare.now + starts, most, fee


# Titles


def test_a_title_is_sold_at_once(bare):
    title = bare.title(parents=[(bare.title("maker"), 700)])
    offered = bare.do("owner", "Market.offerTitle", title, 10_001, word("deed"), bare.now + DAY)
    assert offered.event("TitleOffered") == {
        "saleId": 1,
        "titleId": title,
        "seller": bare.address("owner"),
        "price": 10_001,
        "feeBps": FEE_BPS,
        "deedDigest": word("deed"),
        "expiresAt": bare.now + DAY,
    }
    done = bare.do("heir", "Market.buyTitle", 1, 10_001)
    paid = {"saleId": 1, "kind": TITLE, "subjectId": title, "buyer": bare.address("heir"), "price": 10_001, "bond": 0}
    assert done.event("Paid") == paid
    settled = {"saleId": 1, "kind": TITLE, "subjectId": title, "fee": 250, "royalty": 700, "proceeds": 9_051}
    assert done.event("Settled") == settled
    assert done.event("TitleAssigned")["deedDigest"] == word("deed")
    assert bare.read("ModelTitles.ownerOf", title) == bare.address("heir").lower()
    assert [bare.credit(who) for who in ("platform", "maker", "owner")] == [250, 700, 9_051]
    assert state(bare, 1) == (TITLE, SETTLED)
    assert bare.read("Market.partiesOf", 1)[2] == "0x" + "00" * 20


@pytest.mark.parametrize("price", [1, 2, 3, 19, 101, 9_999, 123_456_789])
def test_the_quoted_royalty_is_what_a_sale_pays(bare, price):
    parents = [(bare.title("maker"), bps) for bps in (333, 1, 2_222)]
    title = bare.title(parents=parents)
    receiver, quoted = bare.read("ModelTitles.royaltyInfo", title, price)
    done = bare.do("heir", "Market.buyTitle", offer_title(bare, title, price), price)
    assert receiver == bare.address("Revenue").lower()
    assert done.event("Settled")["royalty"] == quoted == bare.credit("maker")


@pytest.mark.parametrize("price", [1, 8, 9, 10_007])
def test_the_quoted_royalty_is_what_a_resale_pays(bare, grant, price):
    before, (_, quoted) = bare.credit("owner"), bare.read("Grants.royaltyInfo", grant, price)
    sale = offer_grant(bare, grant, price)
    buy_grant(bare, sale)
    done = bare.do("office", "Market.deliver", sale, word("m"))
    fee = price * FEE_BPS // 10_000
    settled = {
        "saleId": sale,
        "kind": RESALE,
        "subjectId": grant + 1,
        "fee": fee,
        "royalty": quoted,
        "proceeds": price - fee - quoted,
    }
    assert done.event("Settled") == settled
    assert bare.credit("owner") - before == quoted
    assert bare.credit("licensee") == price - fee - quoted


def test_only_its_holder_offers_a_title_once(bare, title):
    args = (title, 100, word("deed"), bare.now + DAY)
    bare.refused(NotTitleHolder, "NotTitleHolder", "heir", "Market.offerTitle", *args)
    bare.refused(NotFoundError, "ERC721NonexistentToken", "owner", "Market.offerTitle", 9, *args[1:])
    bare.refused(NotFoundError, "ERC721NonexistentToken", "owner", "Market.offerTitle", 2**64 + 1, *args[1:])
    bare.do("owner", "Market.offerTitle", *args)
    bare.refused(ConflictError, "TitleLocked", "owner", "Market.offerTitle", *args)
    deed = (title, bare.address("heir"), word("d"))
    bare.refused(ConflictError, "TitleLocked", "owner", "ModelTitles.transferByDeed", *deed)
    bare.do("office", "Members.suspend", bare.address("heir"))
    bare.refused(RightsError, "MissingRole", "heir", "Market.buyTitle", 1, 100)
    bare.refused(RightsError, "MissingRole", "licensee", "Market.buyTitle", 1, 100)


def test_offers_are_checked(bare, title, grant):
    later = bare.now + DAY
    bare.refused(InputError, "EmptyDigest", "owner", "Market.offerTitle", title, 100, bytes(32), later)
    for price, reason in ((0, "ZeroAmount"), (MAX_AMOUNT + 1, "AmountOutOfRange"), (2**256 - 1, "AmountOutOfRange")):
        bare.refused(InputError, reason, "owner", "Market.offerTitle", title, price, word("d"), later)
        bare.refused(InputError, reason, "licensee", "Market.offerGrant", grant, price, later)
    for end in (0, bare.now):
        bare.refused(InputError, "InvalidExpiry", "owner", "Market.offerTitle", title, 1, word("d"), end)
        bare.refused(InputError, "InvalidExpiry", "licensee", "Market.offerGrant", grant, 1, end)
    bare.do("owner", "Market.offerTitle", title, MAX_AMOUNT, word("d"), 2**64 - 1)
    bare.refused(ShortPayment, "ShortPayment", "heir", "Market.buyTitle", 2, MAX_AMOUNT)


def test_the_fee_is_that_of_the_offer(bare, title, grant):
    sales = offer_title(bare, title), offer_grant(bare, grant)
    bare.set_parameter("market.fee", 1_000)
    before = bare.credit("platform")
    bare.do("heir", "Market.buyTitle", sales[0], MUCH)
    assert bare.credit("platform") - before == 250
    buy_grant(bare, sales[1])
    assert bare.do("office", "Market.deliver", sales[1], word("m")).event("Settled")["fee"] == 250


def test_without_an_account_no_fee_is_taken(bare, grant):
    bare.set_parameter("market.fee.account", 0)
    sale = offer_grant(bare, grant, 10_000)
    buy_grant(bare, sale)
    settled = bare.do("office", "Market.deliver", sale, word("m")).event("Settled")
    assert (settled["fee"], settled["royalty"], settled["proceeds"]) == (0, 1_200, 8_800)


def test_a_title_is_bought_as_offered_or_not_at_all(bare, title):
    sale = offer_title(bare, title, 100)
    bare.refused(PriceChanged, "PriceChanged", "heir", "Market.buyTitle", sale, 99)
    bare.refused(NotFoundError, "UnknownSale", "heir", "Market.buyTitle", 9, 100)
    bare.refused(InputError, "WrongKind", "second", "Market.buyGrant", sale, word("a"), 100)
    bare.refused(ConflictError, "SaleNotPaid", "office", "Market.deliver", sale, word("m"))
    bare.refused(ConflictError, "SaleNotPaid", "office", "Market.refund", sale)
    bare.do("heir", "SettlementToken.approve", bare.address("Revenue"), 99)
    bare.refused(ShortPayment, "ShortPayment", "heir", "Market.buyTitle", sale, 100)
    bare.do("heir", "SettlementToken.approve", bare.address("Revenue"), 100)
    bare.turn(5 * DAY)
    bare.refused(OfferExpired, "OfferExpired", "heir", "Market.buyTitle", sale, 100)
    bare.turn(-1)
    bare.do("heir", "Market.buyTitle", sale, 100)
    bare.refused(ConflictError, "SaleNotOpen", "heir", "Market.buyTitle", sale, 100)


def test_an_offer_is_withdrawn_by_its_seller_and_by_anyone_once_expired(bare, title):
    sale = offer_title(bare, title)
    bare.refused(NotAParty, "NotSeller", "heir", "Market.withdraw", sale)
    bare.do("owner", "Market.withdraw", sale)
    assert state(bare, sale) == (TITLE, WITHDRAWN)
    assert bare.read("ModelTitles.lockOf", title) == 0
    bare.refused(ConflictError, "SaleNotOpen", "owner", "Market.withdraw", sale)
    bare.refused(ConflictError, "SaleNotOpen", "heir", "Market.buyTitle", sale, MUCH)
    bare.refused(NotFoundError, "UnknownSale", "owner", "Market.withdraw", 9)
    again = offer_title(bare, title)
    bare.turn(5 * DAY - 1)
    bare.refused(NotAParty, "NotSeller", "heir", "Market.withdraw", again)
    bare.turn(1)
    bare.do("heir", "Market.withdraw", again)
    bare.do("owner", "ModelTitles.transferByDeed", title, bare.address("heir"), word("d"))


def test_a_tag_after_the_offer_stops_the_sale(bare, title):
    sale = offer_title(bare, title)
    bare.tag(title)
    bare.refused(TitleInDispute, "TitleTagged", "heir", "Market.buyTitle", sale, MUCH)
    bare.do("owner", "Market.withdraw", sale)
    args = (title, 100, word("d"), bare.now + DAY)
    bare.refused(TitleInDispute, "TitleTagged", "owner", "Market.offerTitle", *args)


def test_a_hold_on_anything_stops_the_sale_of_a_title(bare, title):
    sale = offer_title(bare, title)
    held = [("account", "owner"), ("account", "heir"), ("title", title), ("sale", sale)]
    for kind, what in held:
        bare.hold(bare.subject(kind, what))
        bare.refused(OnHold, "OnHold", "heir", "Market.buyTitle", sale, MUCH)
        bare.release(bare.subject(kind, what))
    for kind, what in held:
        bare.hold(bare.subject(kind, what))
    bare.do("owner", "Market.withdraw", sale)
    args = (title, 100, word("d"), bare.now + DAY)
    bare.refused(OnHold, "OnHold", "owner", "Market.offerTitle", *args)
    bare.release(bare.subject("account", "owner"))
    bare.refused(OnHold, "OnHold", "owner", "Market.offerTitle", *args)


# Licenses


def test_a_license_is_paid_and_then_delivered(bare, title):
    offer = bare.offer(title)
    paid = bare.do("licensee", *license_args(bare, offer, most=10_000, fee=FEE_BPS))
    sale, buyer = paid.value, bare.address("licensee")
    expected = {"saleId": sale, "kind": LICENSE, "subjectId": offer, "buyer": buyer, "price": 10_000, "bond": 3_000}
    assert paid.event("Paid") == expected
    assert (bare.pot(sale), bare.tokens("licensee")) == (13_000, 10**9 - 13_000)
    assert bare.read("Market.partiesOf", sale)[:2] == (bare.address("owner").lower(), buyer.lower())
    done = bare.do("office", "Market.deliver", sale, word("m"))
    grant = done.value
    assert done.event("Granted")["acceptanceDigest"] == word("a")
    assert done.event("Settled") == {
        "saleId": sale,
        "kind": LICENSE,
        "subjectId": grant,
        "fee": 250,
        "royalty": 0,
        "proceeds": 9_750,
    }
    assert (bare.pot(sale), bare.read("Market.bondOf", grant)) == (3_000, 3_000)
    assert bare.read("Grants.windowOf", grant) == (offer, title, bare.now, bare.now + 30 * DAY)
    assert (bare.read("Market.saleOf", grant), state(bare, sale)) == (sale, (LICENSE, SETTLED))
    record = bare.read("Market.saleRecord", sale)
    keys = ["kind", "state", "feeBps", "price", "seller", "buyer", "bond", "subjectId", "resultId", "startsAt"]
    values = [2, 3, FEE_BPS, 10_000, bare.address("owner").lower(), buyer.lower(), 3_000, offer, grant, bare.now]
    assert dict(zip(keys, record, strict=False)) == dict(zip(keys, values, strict=True))


def test_a_license_is_bought_as_offered_or_not_at_all(bare, title):
    offer, private = bare.offer(title), bare.offer(title, on_market=False)
    bare.refused(TermsViolated, "NotOnMarket", "licensee", *license_args(bare, private))
    bare.refused(NotFoundError, "UnknownOffer", "licensee", *license_args(bare, 9))
    bare.refused(PriceChanged, "PriceChanged", "licensee", *license_args(bare, offer, most=9_999))
    bare.refused(PriceChanged, "FeeChanged", "licensee", *license_args(bare, offer, fee=FEE_BPS - 1))
    bare.refused(InputError, "EmptyDigest", "licensee", *license_args(bare, offer, digest=bytes(32)))
    # Nobody buys, after a leak, a license that covers it.
    bare.refused(InputError, "InvalidWindow", "licensee", *license_args(bare, offer, starts=-DAY - 1))
    bare.refused(RightsError, "MissingRole", "owner", *license_args(bare, offer))
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), 12_999)
    bare.refused(ShortPayment, "ShortPayment", "licensee", *license_args(bare, offer))
    bare.do("owner", "Grants.withdrawOffer", offer)
    bare.refused(TermsViolated, "NotOnMarket", "licensee", *license_args(bare, offer))


def test_an_offer_that_ends_sells_nothing_after_it(bare, title):
    offer = bare.offer(title, duration=0, renewable=False, expires_at=bare.now + DAY)
    bare.refused(InputError, "InvalidWindow", "licensee", *license_args(bare, offer, starts=DAY))
    bare.buy(offer)
    bare.turn(DAY)
    bare.refused(TermsViolated, "NotOnMarket", "licensee", *license_args(bare, offer))
    bare.refused(InputError, "InvalidWindow", "office", "Market.deliver", 1, word("m"))
    bare.do("office", "Market.refund", 1)


def test_a_free_license_moves_no_money(bare, title):
    sale = bare.buy(bare.offer(title, price=0, bond=0))
    assert bare.read("Market.bondOf", bare.deliver(sale)) == 0
    bare.do("office", "Market.refund", bare.buy(bare.offer(title, price=0, bond=0)))
    only_bond = bare.deliver(bare.buy(bare.offer(title, price=0)))
    assert bare.read("Market.bondOf", only_bond) == 3_000
    free = bare.deliver(bare.buy(bare.offer(title, price=0, bond=0)))
    renewed = bare.do("licensee", "Market.renew", free, 0).event("GrantRenewed")
    assert (renewed["price"], renewed["fee"], renewed["proceeds"]) == (0, 0, 0)


def test_only_a_registrar_delivers_and_once(bare, title):
    sale = bare.buy(bare.offer(title))
    for who in ("owner", "licensee", "regulator"):
        bare.refused(RightsError, "MissingRole", who, "Market.deliver", sale, word("m"))
    bare.refused(InputError, "EmptyDigest", "office", "Market.deliver", sale, bytes(32))
    bare.refused(NotFoundError, "UnknownSale", "office", "Market.deliver", 9, word("m"))
    bare.do("office", "Market.deliver", sale, word("m"))
    bare.refused(ConflictError, "SaleNotPaid", "office", "Market.deliver", sale, word("m2"))
    bare.refused(ConflictError, "SaleNotPaid", "office", "Market.refund", sale)
    bare.refused(ConflictError, "SaleNotOpen", "owner", "Market.withdraw", sale)
    again = bare.buy(bare.offer(title))
    bare.refused(ConflictError, "CommitmentUsed", "office", "Market.deliver", again, word("m"))
    bare.do("office", "Market.deliver", again, word("m2"))


def test_what_is_not_delivered_is_refunded(bare, title):
    sale = bare.buy(bare.offer(title))
    bare.refused(OutOfTime, "TooEarly", "licensee", "Market.refund", sale)
    bare.refused(OutOfTime, "TooEarly", "owner", "Market.refund", sale)
    bare.turn(7 * DAY - 1)
    bare.refused(OutOfTime, "TooEarly", "licensee", "Market.refund", sale)
    bare.turn(1)
    bare.refused(NotAParty, "NotBuyer", "second", "Market.refund", sale)
    done = bare.do("licensee", "Market.refund", sale)
    assert done.event("Refunded") == {"saleId": sale, "buyer": bare.address("licensee"), "amount": 13_000}
    assert (bare.credit("licensee"), bare.pot(sale), state(bare, sale)) == (13_000, 0, (LICENSE, REFUNDED))
    bare.refused(ConflictError, "SaleNotPaid", "licensee", "Market.refund", sale)
    bare.refused(ConflictError, "SaleNotPaid", "office", "Market.deliver", sale, word("m"))


def test_a_registrar_refunds_at_any_time_and_the_seller_after_the_deadline(bare, title):
    sale = bare.buy(bare.offer(title))
    bare.do("office", "Market.refund", sale)
    sale = bare.buy(bare.offer(title))
    bare.turn(7 * DAY)
    bare.do("owner", "Market.refund", sale)
    assert bare.credit("licensee") == 26_000


def test_a_hold_on_anything_stops_a_license_and_never_the_refund(bare, title):
    offer = bare.offer(title)
    sale = bare.buy(offer)
    held = [("account", "owner"), ("account", "licensee"), ("title", title)]
    for kind, what in held:
        bare.hold(bare.subject(kind, what))
        bare.refused(OnHold, "OnHold", "licensee", *license_args(bare, offer))
        bare.refused(OnHold, "OnHold", "office", "Market.deliver", sale, word("m"))
        bare.release(bare.subject(kind, what))
    bare.hold(bare.subject("sale", sale), days=90)
    bare.refused(OnHold, "OnHold", "office", "Market.deliver", sale, word("m"))
    for kind, what in held:
        bare.hold(bare.subject(kind, what), days=90)
    bare.turn(7 * DAY)
    bare.do("licensee", "Market.refund", sale)
    bare.refused(OnHold, "OnHold", "licensee", "Revenue.claim")


def test_a_tag_stops_purchase_delivery_and_renewal(bare, title, grant):
    offer = bare.offer(title)
    sale = bare.buy(offer)
    bare.tag(title)
    bare.refused(TitleInDispute, "TitleTagged", "licensee", *license_args(bare, offer))
    bare.refused(TitleInDispute, "TitleTagged", "office", "Market.deliver", sale, word("m"))
    bare.refused(TitleInDispute, "TitleTagged", "licensee", "Market.renew", grant, MUCH)
    bare.refused(TitleInDispute, "TitleTagged", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)
    bare.do("office", "Market.refund", sale)


def test_the_holder_of_the_day_of_delivery_is_paid(bare, title):
    sale = bare.buy(bare.offer(title))
    bare.do("owner", "ModelTitles.transferByDeed", title, bare.address("heir"), word("d"))
    bare.deliver(sale)
    assert (bare.credit("owner"), bare.credit("heir")) == (0, 9_750)


def test_seats_can_run_out_between_payment_and_delivery(bare, title):
    offer = bare.offer(title, seats=1)
    first, second = bare.buy(offer), bare.buy(offer, "second")
    bare.deliver(first)
    bare.refused(TermsViolated, "NoFreeSeat", "office", "Market.deliver", second, word("m"))
    bare.do("office", "Market.refund", second)
    bare.refused(TermsViolated, "NoFreeSeat", "second", *license_args(bare, offer))
    bare.do("second", *license_args(bare, offer, starts=30 * DAY))


# Resale


def test_a_grant_is_sold_on(bare, grant):
    offered = bare.do("licensee", "Market.offerGrant", grant, 8_000, bare.now + DAY)
    sale = offered.value
    assert offered.event("GrantOffered") == {
        "saleId": sale,
        "grantId": grant,
        "seller": bare.address("licensee"),
        "price": 8_000,
        "feeBps": FEE_BPS,
        "expiresAt": bare.now + DAY,
    }
    assert bare.read("Market.resaleOf", grant) == sale
    bare.turn(100)
    buy_grant(bare, sale)
    assert bare.pot(sale) == 11_000
    new = bare.deliver(sale)
    assert not bare.read("Grants.permitted", grant, bare.now)
    assert bare.read("Grants.permitted", new, bare.now)
    assert bare.read("Grants.ownerOf", new) == bare.address("second").lower()
    assert bare.read("Grants.windowOf", new)[3] == bare.now - 100 + 30 * DAY
    assert bare.credit("licensee") == 8_000 - 200 - 960
    assert [bare.read("Market.bondOf", one) for one in (grant, new)] == [3_000, 3_000], "the seller's bond stays"
    assert bare.read("Market.resaleOf", grant) == 0
    bare.turn(30 * DAY)
    bare.do("second", "Market.returnBond", grant)
    assert bare.credit("licensee") == 8_000 - 200 - 960 + 3_000


def test_only_its_holder_sells_a_grant_where_allowed_and_once(bare, title, grant):
    later = bare.now + DAY
    bare.refused(NotAParty, "NotGrantHolder", "second", "Market.offerGrant", grant, 1, later)
    bare.refused(NotFoundError, "ERC721NonexistentToken", "licensee", "Market.offerGrant", 9, 1, later)
    bound = bare.deliver(bare.buy(bare.offer(title, resale=False)))
    bare.refused(TermsViolated, "ResaleNotAllowed", "licensee", "Market.offerGrant", bound, 1, later)
    sale = offer_grant(bare, grant)
    bare.refused(ConflictError, "AlreadyOffered", "licensee", "Market.offerGrant", grant, 1, later)
    bare.do("licensee", "Market.withdraw", sale)
    again = offer_grant(bare, grant)
    bare.turn(5 * DAY)
    bare.do("second", "Market.withdraw", again)
    bare.do("office", "Members.suspend", bare.address("licensee"))
    bare.refused(RightsError, "MissingRole", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)


def test_a_grant_that_is_not_in_force_is_not_sold_on(bare, title, grant):
    sale = offer_grant(bare, grant, days=60)
    bare.do("owner", "Grants.revoke", grant, word("r"))
    bare.refused(TermsViolated, "GrantNotInForce", "second", "Market.buyGrant", sale, word("a"), MUCH)
    bare.do("licensee", "Market.withdraw", sale)
    bare.refused(TermsViolated, "GrantNotInForce", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)
    later = bare.do("licensee", *license_args(bare, bare.offer(title), starts=5 * DAY)).value
    waiting = bare.deliver(later)
    bare.refused(TermsViolated, "GrantNotInForce", "licensee", "Market.offerGrant", waiting, 1, bare.now + DAY)


def test_a_notice_after_the_payment_stops_the_delivery(bare, title):
    grant = bare.deliver(bare.buy(bare.offer(title, notice=4 * DAY)))
    sale = offer_grant(bare, grant)
    buy_grant(bare, sale)
    bare.do("owner", "Grants.revoke", grant, word("r"))
    bare.refused(GrantRevoked, "AlreadyRevoked", "office", "Market.deliver", sale, word("m"))
    bare.do("office", "Market.refund", sale)
    assert (bare.credit("second"), bare.read("Market.resaleOf", grant)) == (13_000, 0)


def test_a_resale_is_bought_as_offered_or_not_at_all(bare, grant):
    sale = offer_grant(bare, grant, 100)
    bare.refused(PriceChanged, "PriceChanged", "second", "Market.buyGrant", sale, word("a"), 99)
    bare.refused(InputError, "EmptyDigest", "second", "Market.buyGrant", sale, bytes(32), 100)
    bare.refused(InputError, "WrongKind", "heir", "Market.buyTitle", sale, 100)
    bare.refused(NotFoundError, "UnknownSale", "second", "Market.buyGrant", 9, word("a"), 100)
    bare.refused(RightsError, "MissingRole", "owner", "Market.buyGrant", sale, word("a"), 100)
    bare.do("second", "SettlementToken.approve", bare.address("Revenue"), 3_099)
    bare.refused(ShortPayment, "ShortPayment", "second", "Market.buyGrant", sale, word("a"), 100)
    bare.turn(5 * DAY)
    bare.refused(OfferExpired, "OfferExpired", "second", "Market.buyGrant", sale, word("a"), 100)
    bare.turn(-1)
    bare.do("second", "SettlementToken.approve", bare.address("Revenue"), 3_100)
    buy_grant(bare, sale)
    bare.refused(ConflictError, "SaleNotOpen", "heir", "Market.buyGrant", sale, word("a"), 100)
    bare.refused(ConflictError, "SaleNotOpen", "licensee", "Market.withdraw", sale)
    bare.refused(ConflictError, "AlreadyOffered", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)
    bare.turn(7 * DAY)
    bare.do("licensee", "Market.refund", sale)
    offer_grant(bare, grant)


def test_a_seller_who_left_is_not_paid(bare, grant):
    sale = offer_grant(bare, grant)
    bare.do("office", "Members.suspend", bare.address("licensee"))
    bare.refused(RightsError, "MissingRole", "second", "Market.buyGrant", sale, word("a"), MUCH)
    bare.do("licensee", "Market.withdraw", sale)


def test_a_hold_on_anything_stops_a_resale_and_never_its_end(bare, title, grant):
    sale = offer_grant(bare, grant)
    held = [("account", "licensee"), ("account", "second"), ("title", title), ("grant", grant), ("sale", sale)]
    for kind, what in held:
        bare.hold(bare.subject(kind, what))
        bare.refused(OnHold, "OnHold", "second", "Market.buyGrant", sale, word("a"), MUCH)
        bare.release(bare.subject(kind, what))
    buy_grant(bare, sale)
    for kind, what in held:
        bare.hold(bare.subject(kind, what))
        bare.refused(OnHold, "OnHold", "office", "Market.deliver", sale, word("m"))
        bare.release(bare.subject(kind, what))
    for kind, what in held:
        bare.hold(bare.subject(kind, what), days=90)
    bare.turn(7 * DAY)
    bare.do("second", "Market.refund", sale)
    for subject in (bare.subject("account", "licensee"), bare.subject("grant", grant), bare.subject("title", title)):
        bare.refused(OnHold, "OnHold", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)
        bare.release(subject)
    last = offer_grant(bare, grant)
    bare.hold(bare.subject("account", "licensee"))
    bare.do("licensee", "Market.withdraw", last)


def test_a_pending_case_stops_a_resale(bare, grant):
    subject = bare.subject("grant", grant)
    bare.set_pending(subject, True)
    bare.refused(ConflictError, "CasePending", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)
    bare.set_pending(subject, False)
    sale = offer_grant(bare, grant)
    bare.set_pending(subject, True)
    bare.refused(ConflictError, "CasePending", "second", "Market.buyGrant", sale, word("a"), MUCH)
    bare.set_pending(subject, False)
    buy_grant(bare, sale)
    bare.set_pending(subject, True)
    bare.refused(ConflictError, "CasePending", "office", "Market.deliver", sale, word("m"))
    bare.do("office", "Market.refund", sale)


# Renewal, bonds, identity


def test_a_grant_is_renewed_at_its_price(bare, title, grant):
    ends, before = bare.read("Grants.expiresAt", grant), bare.credit("owner")
    done = bare.do("licensee", "Market.renew", grant, 10_000)
    renewed = {"grantId": grant, "expiresAt": ends + 30 * DAY, "price": 10_000, "fee": 250, "royalty": 0}
    assert done.event("GrantRenewed") == renewed | {"proceeds": 9_750}
    assert (done.value, bare.credit("owner") - before) == (ends + 30 * DAY, 9_750)
    bare.refused(NotAParty, "NotGrantHolder", "second", "Market.renew", grant, MUCH)
    bare.refused(PriceChanged, "PriceChanged", "licensee", "Market.renew", grant, 9_999)
    firm = bare.deliver(bare.buy(bare.offer(title, renewable=False)))
    bare.refused(TermsViolated, "NotRenewable", "licensee", "Market.renew", firm, MUCH)
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), 9_999)
    bare.refused(ShortPayment, "ShortPayment", "licensee", "Market.renew", grant, MUCH)
    bare.turn(60 * DAY)
    bare.refused(GrantExpired, "GrantEnded", "licensee", "Market.renew", grant, MUCH)


def test_a_hold_stops_a_renewal(bare, title, grant):
    for kind, what in [("account", "owner"), ("account", "licensee"), ("title", title), ("grant", grant)]:
        bare.hold(bare.subject(kind, what))
        bare.refused(OnHold, "OnHold", "licensee", "Market.renew", grant, MUCH)
        bare.release(bare.subject(kind, what))
    bare.do("office", "Members.suspend", bare.address("licensee"))
    bare.refused(RightsError, "MissingRole", "licensee", "Market.renew", grant, MUCH)


def test_a_bond_returns_when_the_grace_after_its_grant_is_over(bare, title, grant):
    bare.turn(60 * DAY - 1)
    bare.refused(OutOfTime, "TooEarly", "licensee", "Market.returnBond", grant)
    bare.turn(1)
    subject = bare.subject("grant", grant)
    bare.set_pending(subject, True)
    bare.refused(ConflictError, "CasePending", "licensee", "Market.returnBond", grant)
    bare.set_pending(subject, False)
    for kind, what in [("account", "licensee"), ("title", title), ("grant", grant), ("sale", 1)]:
        bare.hold(bare.subject(kind, what))
    done = bare.do("partner", "Market.returnBond", grant)
    assert done.event("BondReturned") == {"grantId": grant, "to": bare.address("licensee"), "amount": 3_000}
    assert (bare.credit("licensee"), bare.read("Market.bondOf", grant)) == (3_000, 0)
    bare.refused(NotFoundError, "NoBond", "licensee", "Market.returnBond", grant)


def test_a_revoked_grants_bond_waits_as_long(bare, grant):
    bare.do("owner", "Grants.revoke", grant, word("r"))
    bare.turn(30 * DAY - 1)
    bare.refused(OutOfTime, "TooEarly", "licensee", "Market.returnBond", grant)
    bare.turn(1)
    bare.do("licensee", "Market.returnBond", grant)


def test_a_grant_without_an_end_keeps_its_bond(bare, title):
    grant = bare.deliver(bare.buy(bare.offer(title, duration=0, renewable=False, expires_at=2**64 - 1)))
    with pytest.raises(OutOfTime) as caught:
        bare.do("licensee", "Market.returnBond", grant)
    assert caught.value.params["time"] == 2**64 - 1 + 30 * DAY


def test_where_no_bond_is_none_returns(bare, title, grant):
    bare.refused(NotFoundError, "NoBond", "licensee", "Market.returnBond", 9)
    assert bare.do("Disputes", "Market.slash", 9, bare.address("owner")).value == 0
    free = bare.deliver(bare.buy(bare.offer(title, bond=0)))
    bare.refused(NotFoundError, "NoBond", "licensee", "Market.returnBond", free)


def test_a_ruling_awards_the_bond_once(bare, grant):
    for who in ("office", "owner", "regulator", "Market"):
        bare.refused(RightsError, "NotTheContract", who, "Market.slash", grant, bare.address(who))
    before = bare.credit("owner")
    done = bare.do("Disputes", "Market.slash", grant, bare.address("owner"))
    assert done.event("BondSlashed") == {"grantId": grant, "to": bare.address("owner"), "amount": 3_000}
    assert (done.value, bare.credit("owner") - before) == (3_000, 3_000)
    assert bare.do("Disputes", "Market.slash", grant, bare.address("owner")).value == 0
    bare.turn(60 * DAY)
    bare.refused(NotFoundError, "NoBond", "licensee", "Market.returnBond", grant)


def test_the_bond_of_a_grant_that_was_sold_on_is_still_slashed(bare, grant):
    sale = offer_grant(bare, grant)
    buy_grant(bare, sale)
    new = bare.deliver(sale)
    assert bare.do("Disputes", "Market.slash", grant, bare.address("owner")).value == 3_000
    assert bare.read("Market.bondOf", new) == 3_000


def identify(bare, *names, days=10):
    for who in names:
        bare.do("office", "Members.identify", bare.address(who), word("proof"), bare.now + days * DAY)


def test_where_identity_is_asked_both_sides_have_one(bare, title, grant):
    sales, offer = offer_title(bare, title), bare.offer(title)
    bare.set_parameter("market.identity", 1)
    identify(bare, "owner")
    bare.refused(IdentityMissing, "IdentityMissing", "heir", "Market.buyTitle", sales, MUCH)
    bare.refused(IdentityMissing, "IdentityMissing", "licensee", *license_args(bare, offer))
    bare.refused(IdentityMissing, "IdentityMissing", "licensee", "Market.renew", grant, MUCH)
    bare.refused(IdentityMissing, "IdentityMissing", "licensee", "Market.offerGrant", grant, 1, bare.now + DAY)
    identify(bare, "heir", "licensee")
    sold_on = offer_grant(bare, grant, days=60)
    bare.refused(IdentityMissing, "IdentityMissing", "second", "Market.buyGrant", sold_on, word("a"), MUCH)
    bare.do("licensee", *license_args(bare, offer))
    bare.turn(10 * DAY)
    identify(bare, "second", "licensee")
    bare.refused(IdentityMissing, "IdentityMissing", "licensee", *license_args(bare, offer))
    bare.turn(-6 * DAY)
    bare.do("heir", "Market.buyTitle", sales, MUCH)
    bare.turn(20 * DAY)
    bare.refused(IdentityMissing, "IdentityMissing", "second", "Market.buyGrant", sold_on, word("a"), MUCH)
    bare.refused(IdentityMissing, "IdentityMissing", "heir", "Market.offerTitle", title, 1, word("d"), bare.now + DAY)


def test_a_market_that_was_replaced_still_refunds(bare, title, grant):
    sale = bare.buy(bare.offer(title))
    bare.set_parameter("Market", int.from_bytes(bare.raw("new market"), "big"))
    bare.set_parameter("Revenue", int.from_bytes(bare.raw("new vault"), "big"))
    bare.refused(RightsError, "NotTheContract", "office", "Market.deliver", sale, word("m"))
    bare.refused(RightsError, "NotTheContract", "licensee", *license_args(bare, 1))
    bare.do("office", "Market.refund", sale)
    bare.turn(60 * DAY)
    bare.do("licensee", "Market.returnBond", grant)
    bare.do("licensee", "Revenue.claim")
    assert bare.read("Market.vault") == bare.address("Revenue").lower()
