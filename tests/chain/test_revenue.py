"""The vault: pots and credits, and who gets what of an amount that a title earns."""

from __future__ import annotations

import pytest

from countermark.errors import (
    ConflictError,
    InputError,
    NotAParty,
    NotFoundError,
    NotTitleHolder,
    OnHold,
    RightsError,
    ShortPayment,
    TermsViolated,
    TitleInDispute,
)

from .bare import DAY, fresh, word

word, DAY, MAX_AMOUNT = word, DAY, 2**53 - 1
REPORT = word("report")
REASONS = {"payout": 0, "fee": 1, "revenue": 2, "royalty": 3, "split": 4, "forfeit": 5}
POT = word("pot")


@pytest.fixture
def bare():
    machine = fresh()
    machine.pay_in("licensee", 10**9)
    yield machine
    machine.check_books()


def earn(bare, title, amount, fee_bps=0):
    """Let a title earn an amount, as the market would."""
    bare.do("Market", "Revenue.fund", POT, bare.address("licensee"), amount)
    return bare.do("Market", "Revenue.distribute", POT, title, amount, fee_bps)


def credits(bare, done):
    """Who was credited, how much and why, in order."""
    names = {bare.address(who): who for who in list(bare.names)}
    return [(names[event["account"]], event["amount"], event["reason"]) for event in done.all("Credited")]


def splits(bare, title, holder, *shares):
    accounts, bps = [bare.address(who) for who, _ in shares], [part for _, part in shares]
    return bare.do(holder, "Revenue.setSplits", title, accounts, bps)


def test_a_pot_is_filled_within_balance_and_allowance(bare):
    payer = bare.address("licensee")
    done = bare.do("Market", "Revenue.fund", POT, payer, 700)
    owner = bare.address("Market")
    assert done.event("Funded") == {"owner": owner, "pot": POT, "from": payer, "amount": 700}
    assert (bare.read("Revenue.inPot", owner, POT), bare.read("Revenue.totalPots")) == (700, 700)
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), 299)
    with pytest.raises(ShortPayment) as caught:
        bare.do("Market", "Revenue.fund", POT, payer, 300)
    assert (caught.value.params["needed"], caught.value.params["allowed"]) == (300, 299)
    bare.do("owner", "SettlementToken.approve", bare.address("Revenue"), 10**9)
    bare.refused(ShortPayment, "ShortPayment", "Market", "Revenue.fund", POT, bare.address("owner"), 1)
    bare.other_pots = 700


def test_only_contracts_of_the_market_take_money(bare):
    payer = bare.address("licensee")
    for who in ("office", "licensee", "Grants", "deployer"):
        bare.refused(RightsError, "NotTheContract", who, "Revenue.fund", POT, payer, 1)
    bare.do("Disputes", "Revenue.fund", POT, payer, 5)
    bare.do("Disputes", "Revenue.payOut", POT, payer, 5)


@pytest.mark.parametrize("amount", [MAX_AMOUNT + 1, 2**255, 2**256 - 1])
def test_hostile_amounts_are_refused(bare, amount):
    payer, grant = bare.address("licensee"), granted(bare)
    bare.refused(InputError, "AmountOutOfRange", "Market", "Revenue.fund", POT, payer, amount)
    bare.refused(ConflictError, "ShortPot", "Market", "Revenue.payOut", POT, payer, amount)
    bare.refused(ConflictError, "ShortPot", "Market", "Revenue.distribute", POT, 1, amount, 0)
    bare.refused(InputError, "AmountOutOfRange", "licensee", "Revenue.report", *period(bare, grant, gross=amount))


def test_nothing_is_no_payment(bare):
    payer = bare.address("licensee")
    bare.refused(InputError, "ZeroAmount", "Market", "Revenue.fund", POT, payer, 0)
    bare.refused(InputError, "ZeroAmount", "Market", "Revenue.payOut", POT, payer, 0)
    bare.refused(InputError, "ZeroAmount", "Market", "Revenue.distribute", POT, 1, 0, 0)


def test_a_pot_is_emptied_by_who_filled_it(bare):
    payer = bare.address("licensee")
    bare.do("Market", "Revenue.fund", POT, payer, 100)
    for who in ("Disputes", "office", "licensee", "Revenue"):
        bare.refused(ConflictError, "ShortPot", who, "Revenue.payOut", POT, bare.address(who), 1)
    bare.refused(ConflictError, "ShortPot", "Market", "Revenue.payOut", POT, payer, 101)
    done = bare.do("Market", "Revenue.payOut", POT, bare.address("second"), 100)
    assert credits(bare, done) == [("second", 100, REASONS["payout"])]


def test_money_paid_before_a_change_of_contracts_comes_out_after_it(bare):
    payer = bare.address("licensee")
    bare.do("Market", "Revenue.fund", POT, payer, 100)
    bare.set_parameter("Market", int.from_bytes(bare.raw("new market"), "big"))
    bare.refused(RightsError, "NotTheContract", "Market", "Revenue.fund", POT, payer, 1)
    bare.do("Market", "Revenue.payOut", POT, payer, 100)
    bare.set_parameter("SettlementToken", int.from_bytes(bare.raw("new token"), "big"))
    bare.set_parameter("Revenue", int.from_bytes(bare.raw("new vault"), "big"))
    bare.do("licensee", "Revenue.claim")
    assert bare.tokens("licensee") == 10**9
    assert bare.read("Revenue.token") == bare.address("SettlementToken").lower()


def test_a_credit_is_claimed_by_its_account_alone(bare):
    earn(bare, bare.title(), 1000)
    bare.refused(NotFoundError, "NothingToClaim", "heir", "Revenue.claim")
    done = bare.do("owner", "Revenue.claim")
    assert done.event("Claimed") == {"account": bare.address("owner"), "amount": 1000}
    assert (done.value, bare.tokens("owner"), bare.credit("owner")) == (1000, 1000, 0)
    bare.refused(NotFoundError, "NothingToClaim", "owner", "Revenue.claim")


def test_a_hold_stops_the_claim_and_not_the_credit(bare):
    title, subject = bare.title(), bare.subject("account", "owner")
    bare.hold(subject)
    earn(bare, title, 1000)
    bare.refused(OnHold, "OnHold", "owner", "Revenue.claim")
    bare.do("regulator", "Members.release", subject, word("r"))
    bare.do("owner", "Revenue.claim")


def test_who_is_no_member_keeps_the_credit(bare):
    earn(bare, bare.title(), 1000)
    bare.do("office", "Members.suspend", bare.address("owner"))
    bare.refused(RightsError, "MissingRole", "owner", "Revenue.claim")
    assert bare.credit("owner") == 1000


def test_fee_then_ancestors_then_splits_then_the_holder(bare):
    base = bare.title("maker")
    derived = bare.title(parents=[(base, 1_500)])
    splits(bare, derived, "owner", ("heir", 3_000), ("partner", 500))
    done = earn(bare, derived, 10_000, fee_bps=250)
    assert credits(bare, done) == [
        ("platform", 250, REASONS["fee"]),
        ("maker", 1_500, REASONS["royalty"]),
        ("heir", 2_475, REASONS["split"]),
        ("partner", 412, REASONS["split"]),
        ("owner", 5_363, REASONS["revenue"]),
    ]
    assert done.value == (250, 1_500)


def test_an_ancestors_share_is_its_revenue(bare):
    base = bare.title("maker")
    splits(bare, base, "maker", ("partner", 5_000))
    done = earn(bare, bare.title(parents=[(base, 1_000)]), 1_000)
    assert credits(bare, done) == [
        ("partner", 50, REASONS["split"]),
        ("maker", 50, REASONS["royalty"]),
        ("owner", 900, REASONS["revenue"]),
    ]


@pytest.mark.parametrize("amount", [1, 2, 3, 9, 10, 99, 101, 9_999, 10_001, 123_457])
def test_dust_stays_with_the_holder_and_the_quote_is_paid(bare, amount):
    first, second = bare.title("maker"), bare.title("heir")
    title = bare.title(parents=[(first, 333), (second, 1_111)])
    splits(bare, title, "owner", ("partner", 3_333), ("second", 6_666))
    quoted = bare.read("ModelTitles.royaltyInfo", title, amount)
    done = earn(bare, title, amount, fee_bps=999)
    fee, royalty = done.value
    assert fee == amount * 999 // 10_000
    assert quoted == (bare.address("Revenue").lower(), royalty)
    paid = credits(bare, done)
    assert sum(part for _, part, _ in paid) == amount
    assert all(part > 0 for _, part, _ in paid), "a share of zero leaves no event"
    rest = amount - fee - royalty
    shared = rest * 3_333 // 10_000 + rest * 6_666 // 10_000
    assert bare.credit("owner") == rest - shared


def test_each_ancestors_share_is_its_own_to_the_unit(bare):
    parents = [(bare.title("maker"), 333) for _ in range(8)]
    title = bare.title(parents=parents)
    parts = [event["amount"] for event in earn(bare, title, 10_001).all("Credited") if event["reason"] == 3]
    assert sum(parts) == 10_001 * 8 * 333 // 10_000
    assert all(part in (333, 334) for part in parts)


def test_the_fee_has_a_cap_and_needs_an_account(bare):
    title = bare.title()
    bare.do("Market", "Revenue.fund", POT, bare.address("licensee"), 1_000)
    bare.refused(InputError, "FeeTooHigh", "Market", "Revenue.distribute", POT, title, 1_000, 1_001)
    bare.do("Market", "Revenue.distribute", POT, title, 500, 1_000)
    assert bare.credit("platform") == 50
    bare.set_parameter("market.fee.account", 0)
    done = bare.do("Market", "Revenue.distribute", POT, title, 500, 1_000)
    assert (done.value, bare.credit("owner")) == ((0, 0), 950)


def test_an_unknown_title_earns_nothing(bare):
    bare.do("Market", "Revenue.fund", POT, bare.address("licensee"), 10)
    bare.refused(NotFoundError, "UnknownTitle", "Market", "Revenue.distribute", POT, 9, 10, 0)
    bare.other_pots = 10


def test_what_belongs_to_a_tagged_title_is_withheld(bare):
    base = bare.title("maker")
    derived = bare.title(parents=[(base, 1_000)])
    bare.tag(derived)
    done = earn(bare, derived, 1_000, fee_bps=100)
    assert credits(bare, done) == [("platform", 10, 1), ("maker", 100, 3)], "the ancestor did nothing wrong"
    assert done.event("Withheld") == {"titleId": derived, "amount": 890}
    assert done.value == (10, 100)
    assert bare.read("Revenue.withheld", derived) == 890


def test_a_tag_on_an_ancestor_withholds_both_shares(bare):
    base = bare.title("maker")
    middle = bare.title("heir", parents=[(base, 1_000)])
    derived = bare.title(parents=[(middle, 2_000)])
    bare.tag(middle)
    done = earn(bare, derived, 1_000)
    assert credits(bare, done) == [("maker", 100, 3)]
    assert [bare.read("Revenue.withheld", title) for title in (base, middle, derived)] == [0, 200, 700]
    bare.refused(TitleInDispute, "TitleTagged", "owner", "Revenue.releaseWithheld", derived)
    bare.tag(middle, False)
    bare.do("partner", "Revenue.releaseWithheld", derived)
    bare.do("partner", "Revenue.releaseWithheld", middle)
    assert (bare.credit("owner"), bare.credit("heir")) == (700, 200)


def test_withheld_money_is_released_to_the_holder_of_that_time_and_its_splits(bare):
    title = bare.title()
    bare.tag(title)
    earn(bare, title, 1_000)
    bare.do("owner", "ModelTitles.transferByDeed", title, bare.address("heir"), word("deed"))
    splits(bare, title, "heir", ("partner", 1_000))
    bare.tag(title, False)
    bare.hold(bare.subject("title", title))
    bare.refused(OnHold, "OnHold", "heir", "Revenue.releaseWithheld", title)
    bare.turn(DAY)
    done = bare.do("heir", "Revenue.releaseWithheld", title)
    assert (done.value, credits(bare, done)) == (1_000, [("partner", 100, 4), ("heir", 900, 2)])
    assert done.event("WithheldReleased") == {"titleId": title, "amount": 1_000}
    bare.refused(InputError, "ZeroAmount", "heir", "Revenue.releaseWithheld", title)


def test_a_ruling_awards_withheld_money(bare):
    title = bare.title()
    bare.tag(title)
    earn(bare, title, 1_000)
    bare.refused(RightsError, "NotTheContract", "office", "Revenue.forfeit", title, bare.address("office"))
    done = bare.do("Disputes", "Revenue.forfeit", title, bare.address("heir"))
    assert done.event("Forfeited") == {"titleId": title, "to": bare.address("heir"), "amount": 1_000}
    assert (done.value, credits(bare, done)) == (1_000, [("heir", 1_000, REASONS["forfeit"])])
    assert bare.do("Disputes", "Revenue.forfeit", title, bare.address("heir")).value == 0


def test_splits_are_checked(bare):
    title, mine, other = bare.title(), bare.address("owner"), bare.address("heir")
    call = ("Revenue.setSplits", title)
    bare.refused(NotTitleHolder, "NotTitleHolder", "heir", *call, [other], [1])
    bare.refused(InputError, "InvalidSplits", "owner", *call, [other], [])
    bare.refused(InputError, "InvalidSplits", "owner", *call, [other], [0])
    bare.refused(InputError, "InvalidSplits", "owner", *call, [other, mine], [9_999, 2])
    bare.refused(InputError, "InvalidSplits", "owner", *call, [other] * 9, [1] * 9)
    bare.refused(RightsError, "MissingRole", "owner", *call, [bare.address("stranger")], [1])
    bare.refused(RightsError, "MissingRole", "owner", *call, ["0x" + "00" * 20], [1])
    done = bare.do("owner", *call, [other] * 8, [1_250] * 8)
    event = {"titleId": title, "holder": mine, "accounts": [other] * 8, "bps": [1_250] * 8}
    assert done.event("SplitsSet") == event
    earn(bare, title, 10_007)
    assert (bare.credit("heir"), bare.credit("owner")) == (8 * 1_250, 7)


def test_splits_are_replaced_and_taken_back(bare):
    title = bare.title()
    splits(bare, title, "owner", ("heir", 5_000), ("partner", 5_000))
    splits(bare, title, "owner", ("partner", 1_000))
    assert bare.read("Revenue.splitsOf", title) == ((bare.address("partner").lower(), 1_000),)
    splits(bare, title, "owner")
    assert bare.read("Revenue.splitsOf", title) == ()
    assert credits(bare, earn(bare, title, 10)) == [("owner", 10, 2)]


def test_splits_end_with_the_holders_title(bare):
    title = bare.title()
    splits(bare, title, "owner", ("partner", 5_000))
    bare.do("owner", "ModelTitles.transferByDeed", title, bare.address("heir"), word("deed"))
    assert bare.read("Revenue.splitsOf", title) == ()
    assert credits(bare, earn(bare, title, 10)) == [("heir", 10, 2)]


def test_held_money_is_not_led_around_the_hold(bare):
    title = bare.title()
    for subject in (bare.subject("account", "owner"), bare.subject("title", title)):
        bare.hold(subject)
        bare.refused(OnHold, "OnHold", "owner", "Revenue.setSplits", title, [bare.address("heir")], [10_000])
        bare.release(subject)
    bare.do("office", "Members.suspend", bare.address("owner"))
    bare.refused(RightsError, "MissingRole", "owner", "Revenue.setSplits", title, [], [])


def granted(bare, **conditions):
    """A grant of a new title to the licensee, granted without the market."""
    offer = bare.offer(bare.title(), **conditions)
    args = (offer, bare.address("licensee"), word("a"), word(f"m{offer}"), bare.now, bare.now + 10 * DAY)
    grant = bare.do("owner", "Grants.grant", *args).value
    bare.turn(2 * DAY)
    return grant


def period(bare, grant, start=-2 * DAY, end=-DAY, gross=50_000, digest=REPORT):
    return grant, bare.now + start, bare.now + end, gross, digest


def test_a_report_pays_the_share_that_is_due(bare):
    grant = granted(bare, revenue_bps=1_234)
    done = bare.do("licensee", "Revenue.report", *period(bare, grant))
    assert done.event("Reported") == {
        "grantId": grant,
        "titleId": 1,
        "licensee": bare.address("licensee"),
        "from": bare.now - 2 * DAY,
        "to": bare.now - DAY,
        "gross": 50_000,
        "due": 6_170,
        "reportDigest": REPORT,
    }
    assert credits(bare, done) == [("platform", 154, 1), ("owner", 6_016, 2)]
    assert bare.read("Revenue.reportedUntil", grant) == bare.now - DAY


def test_reports_follow_each_other(bare):
    grant = granted(bare)
    bare.refused(InputError, "InvalidPeriod", "licensee", "Revenue.report", *period(bare, grant, start=-2 * DAY - 1))
    bare.refused(InputError, "InvalidPeriod", "licensee", "Revenue.report", *period(bare, grant, end=1))
    bare.refused(InputError, "InvalidPeriod", "licensee", "Revenue.report", *period(bare, grant, start=-5, end=-5))
    bare.do("licensee", "Revenue.report", *period(bare, grant))
    bare.refused(InputError, "InvalidPeriod", "licensee", "Revenue.report", *period(bare, grant, -DAY - 1, 0))
    bare.do("licensee", "Revenue.report", *period(bare, grant, -DAY, 0))
    bare.turn(20 * DAY)
    bare.do("licensee", "Revenue.report", *period(bare, grant, -20 * DAY, 0))


def test_a_report_is_checked(bare):
    grant, free = granted(bare), granted(bare, revenue_bps=0)
    bare.refused(NotAParty, "NotGrantHolder", "second", "Revenue.report", *period(bare, grant))
    bare.refused(NotFoundError, "ERC721NonexistentToken", "licensee", "Revenue.report", *period(bare, 9))
    bare.refused(InputError, "EmptyDigest", "licensee", "Revenue.report", *period(bare, grant, digest=bytes(32)))
    bare.refused(TermsViolated, "NoRevenueShare", "licensee", "Revenue.report", *period(bare, free, start=-DAY, end=0))
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), 4_999)
    bare.refused(ShortPayment, "ShortPayment", "licensee", "Revenue.report", *period(bare, grant))
    bare.hold(bare.subject("account", "licensee"))
    bare.do("licensee", "SettlementToken.approve", bare.address("Revenue"), 5_000)
    bare.refused(OnHold, "OnHold", "licensee", "Revenue.report", *period(bare, grant))
    assert bare.read("Revenue.reportedUntil", grant) == 0


@pytest.mark.parametrize("gross", [0, 9])
def test_a_report_of_nothing_counts_and_moves_nothing(bare, gross):
    grant = granted(bare)
    done = bare.do("licensee", "Revenue.report", *period(bare, grant, gross=gross))
    assert (done.event("Reported")["due"], credits(bare, done)) == (0, [])
    bare.refused(InputError, "InvalidPeriod", "licensee", "Revenue.report", *period(bare, grant))


def test_the_largest_revenue_can_be_reported(bare):
    grant = granted(bare, revenue_bps=1)
    bare.pay_in("licensee", 10**12)
    done = bare.do("licensee", "Revenue.report", *period(bare, grant, gross=MAX_AMOUNT))
    assert done.event("Reported")["due"] == MAX_AMOUNT // 10_000


def test_the_longest_way_that_an_amount_can_take_fits_a_block(bare):
    sharers = [(f"h{at}", 1_000) for at in range(8)]
    for who, _ in sharers:
        bare.do("office", "Members.admit", bare.address(who), word(who), word("key"), 16, 2**64 - 1)
    parents = []
    for at in range(8):
        parents.append((bare.title("maker"), 600))
        splits(bare, parents[at][0], "maker", *sharers)
    title = bare.title(parents=parents)
    splits(bare, title, "owner", *sharers)
    assert earn(bare, title, 10**6, fee_bps=250).gas < 1_000_000


def test_parents_owe_no_more_than_the_cap(bare):
    base = bare.title("maker")
    args = (bare.address("owner"), word("m"), word("w"), word("k"), [(base, 5_001)], 0, True)
    bare.refused(InputError, "RoyaltyTooHigh", "office", "ModelTitles.register", *args)
    capped = bare.title(parents=[(base, 5_000)])
    splits(bare, capped, "owner", ("heir", 10_000))
    assert credits(bare, earn(bare, capped, 10_000, 1_000)) == [
        ("platform", 1_000, 1),
        ("maker", 5_000, 3),
        ("heir", 4_000, 4),
    ]
