from __future__ import annotations

import pytest

from countermark.errors import (
    ConflictError,
    GrantExpired,
    GrantRevoked,
    InputError,
    NotFoundError,
    NotTitleHolder,
    OnHold,
    RightsError,
    TermsViolated,
    TitleInDispute,
)

ACCOUNT, TITLE, GRANT = 1, 2, 3
HOUR, NOTICE = 3600, 96 * 3600


def word(text):
    return text.encode().rjust(32, b"\x01")


@pytest.fixture
def title(world):
    return world.title()


@pytest.fixture
def market(world):
    return world.stand_in("Market")


@pytest.fixture
def court(world):
    return world.stand_in("Disputes")


def issue(world, market, offer, mark, start=0):
    arguments = (offer, world.address("licensee"), word("acceptance"), word(mark), world.clock.seconds + start)
    return int(world.do(market, "Grants.issue", *arguments).event("Granted")["grantId"])


def resale(world, grant, mark, to="other"):
    return (grant, world.address(to), word("second acceptance"), word(mark))


def resell(world, market, grant, mark):
    return int(world.do(market, "Grants.resell", *resale(world, grant, mark)).event("Resold")["newGrantId"])


def window(world, grant):
    found = world.ledger.record("Grants", "windowOf", grant)
    return found["starts_at"], found["ends_at"]


# Offers.


def test_an_offer_is_recorded_and_withdrawn(world, title):
    world.govern("market.fee", 250)
    number = world.offer(title, price=500, bond=70, seats=3, notice=NOTICE, scope=5, resale=True, resale_bps=300)
    offer = world.ledger.offer(number)
    assert (offer.id, offer.title, offer.terms_digest, offer.fee_bps) == (1, title, word("terms"), 250)
    assert offer.conditions == {
        "price": 500, "bond": 70, "duration": 1_000_000, "expires_at": 0, "seats": 3, "notice": NOTICE, "scope": 5,
        "revenue_bps": 0, "resale_bps": 300, "revocable": True, "resale": True, "renewable": False,
        "on_market": False, "territory_digest": bytes(32),
    }  # fmt: skip
    assert world.ledger.events("Offered")[-1].args["conditions"]["resaleBps"] == 300
    found = world.ledger.record("Grants", "conditionsOf", number)
    assert (found["conditions"], found["title_id"], found["fee_bps"], found["open"]) == (
        offer.conditions, title, 250, True
    )  # fmt: skip
    world.refused(NotTitleHolder, "NotTitleHolder", "other", "Grants.withdrawOffer", 1)
    world.do("owner", "Grants.withdrawOffer", 1)
    assert world.ledger.offer(1).withdrawn
    assert not world.ledger.record("Grants", "conditionsOf", number)["open"]
    world.refused(ConflictError, "OfferNotOpen", "owner", "Grants.grant", *world.grant_args(1, "a"))
    world.refused(ConflictError, "OfferNotOpen", "owner", "Grants.withdrawOffer", 1)


def test_an_offer_keeps_the_fee_of_its_day(world, title):
    before = world.offer(title)
    world.govern("market.fee", 1000)
    assert [world.ledger.offer(number).fee_bps for number in (before, world.offer(title))] == [0, 1000]


def test_an_offer_closes_when_its_grants_have_to_end(world, title):
    number = world.offer(title, expires_at=world.clock.seconds + 10)
    assert world.ledger.record("Grants", "conditionsOf", number)["open"]
    world.clock.turn(10)
    world.do("office", "Grants.commitBatch", word("a block"), 1)
    assert not world.ledger.record("Grants", "conditionsOf", number)["open"]


def test_only_the_title_holder_offers(world, title, conditions):
    world.refused(NotTitleHolder, "NotTitleHolder", "other", "Grants.offer", title, word("t"), conditions())
    world.refused(NotFoundError, "ERC721NonexistentToken", "owner", "Grants.offer", 9, word("t"), conditions())
    world.refused(InputError, "EmptyDigest", "owner", "Grants.offer", title, bytes(32), conditions())
    for view in ("offerRecord", "conditionsOf"):
        with pytest.raises(NotFoundError):
            world.ledger.record("Grants", view, 1)


@pytest.mark.parametrize(
    ("error", "given"),
    [
        ("AmountOutOfRange", {"price": 2**53}),
        ("AmountOutOfRange", {"bond": 2**53}),
        ("AmountOutOfRange", {"price": 2**64 - 1}),
        ("EmptyScope", {"scope": 0}),
        ("RoyaltyTooHigh", {"revenue_bps": 10_001}),
        ("RoyaltyTooHigh", {"resale_bps": 5001}),
        ("TooManySeats", {"seats": 257}),
        ("InvalidDuration", {"duration": 0}),
        ("InvalidDuration", {"duration": 0, "expires_at": 2**40, "renewable": True}),
        ("InvalidDuration", {"duration": 36_525 * 86_400 + 1}),
        ("InvalidDuration", {"notice": 365 * 86_400 + 1}),
    ],
)
def test_conditions_out_of_range_are_refused(world, title, conditions, error, given):
    world.refused(InputError, error, "owner", "Grants.offer", title, word("t"), conditions(**given))


def test_conditions_at_their_limits_are_taken(world, title):
    world.offer(title, price=2**53 - 1, bond=2**53 - 1, revenue_bps=10_000, resale_bps=5000, seats=256)
    world.offer(title, duration=36_525 * 86_400, notice=365 * 86_400, expires_at=2**64 - 1, scope=2**16 - 1)


@pytest.mark.parametrize("held", [TITLE, ACCOUNT])
def test_a_hold_stops_offers_and_grants(world, title, conditions, held):
    offer = world.offer(title)
    world.hold(held, title if held == TITLE else int(world.address("owner"), 16))
    world.refused(OnHold, "OnHold", "owner", "Grants.offer", title, word("t"), conditions())
    world.refused(OnHold, "OnHold", "owner", "Grants.grant", *world.grant_args(offer, "a"))
    world.do("owner", "Grants.withdrawOffer", offer)


def test_a_tag_on_the_title_or_on_an_ancestor_stops_offers_grants_and_renewals(world, title, court, market, conditions):
    derived = world.title(2, parents=[(title, 0)])
    offer = world.offer(derived, renewable=True, resale=True)
    grant = issue(world, market, offer, "a")
    world.do(court, "ModelTitles.setTag", title, True, 1)
    world.refused(TitleInDispute, "TitleTagged", "owner", "Grants.offer", derived, word("t"), conditions())
    world.refused(TitleInDispute, "TitleTagged", "owner", "Grants.grant", *world.grant_args(offer, "b"))
    world.refused(TitleInDispute, "TitleTagged", market, "Grants.renew", grant)
    world.refused(TitleInDispute, "TitleTagged", market, "Grants.resell", *resale(world, grant, "b"))
    assert world.ledger.permitted(grant, world.clock.seconds), "what was granted stands"


# Grants.


def test_a_grant_is_recorded(world, title):
    offer = world.offer(title)
    event = world.do("owner", "Grants.grant", *world.grant_args(offer, "mark")).event("Granted")
    grant = world.ledger.grant(1)
    assert (grant.holder, grant.offer, grant.mark_commitment) == (world.address("licensee"), offer, word("mark"))
    assert (grant.starts_at, grant.expires_at) == (world.clock.seconds, world.clock.seconds + 1000)
    assert grant.revoked_at is None
    assert (event["titleId"], event["termsDigest"], event["issuedTotal"]) == (title, word("terms"), 1)
    assert (event["startsAt"], event["expiresAt"]) == (grant.starts_at, grant.expires_at)
    with pytest.raises(NotFoundError):
        world.ledger.grant(2)


def test_what_wallets_read_of_a_grant(world, title):
    """The views of ERC-4907 and ERC-5643."""
    grant, nobody = world.grant(world.offer(title, renewable=True), "a", start=100, length=1000), "0x" + "00" * 20
    view = lambda name: world.ledger.view("Grants", name, grant)  # noqa: E731
    assert (view("userOf"), view("isRenewable")) == (nobody, True)
    assert view("userExpires") == view("expiresAt") == world.clock.seconds + 1100
    for turn, user in ((100, world.address("licensee")), (1000, nobody)):
        world.clock.turn(turn)
        world.do("office", "Grants.commitBatch", word(str(turn)), 1)
        assert view("userOf") == user
    for name in ("userExpires", "expiresAt", "isRenewable"):
        with pytest.raises(NotFoundError):
            world.ledger.view("Grants", name, 9)


def test_the_royalty_on_a_resale_is_what_the_conditions_say(world, title):
    vault = world.address(world.stand_in("Revenue"))
    grant = world.grant(world.offer(title, resale_bps=333), "a")
    for price in (0, 1, 30, 10_000, 2**256 - 1):
        found = world.ledger.record("Grants", "royaltyInfo", grant, price)
        assert found == {"receiver": vault, "royalty_amount": price * 333 // 10_000}


def test_a_grant_ends_no_later_than_its_offer_allows(world, title):
    offer, now = world.offer(title, duration=1000, expires_at=world.clock.seconds + 1500), world.clock.seconds
    refused = (InputError, "InvalidWindow", "owner", "Grants.grant")
    world.refused(*refused, *world.grant_args(offer, "a", length=1001))
    world.refused(*refused, *world.grant_args(offer, "a", start=600, length=901))
    world.refused(*refused, *world.grant_args(offer, "a", start=2**64 - 1 - now, length=0))
    world.grant(offer, "a", length=1000), world.grant(offer, "b", start=600, length=900)
    open_end = world.offer(title, duration=0, expires_at=now + 5000)
    world.refused(*refused, *world.grant_args(open_end, "c", length=5001))
    world.grant(open_end, "c", length=5000)


def test_only_the_title_holder_grants_and_only_to_licensees(world, title):
    offer = world.offer(title)
    world.refused(NotTitleHolder, "NotTitleHolder", "other", "Grants.grant", *world.grant_args(offer, "a"))
    world.refused(RightsError, "MissingRole", "owner", "Grants.grant", *world.grant_args(offer, "a", to="stranger"))
    world.do("office", "Members.suspend", world.address("licensee"))
    world.refused(RightsError, "MissingRole", "owner", "Grants.grant", *world.grant_args(offer, "a"))
    world.refused(NotFoundError, "UnknownOffer", "owner", "Grants.grant", *world.grant_args(9, "a"))


def test_a_new_title_holder_takes_over_offers_and_grants(world, title):
    offer = world.offer(title)
    grant = world.grant(offer, "a")
    world.do("owner", "ModelTitles.transferByDeed", title, world.address("other"), word("deed"))
    world.refused(NotTitleHolder, "NotTitleHolder", "owner", "Grants.revoke", grant, word("r"))
    world.do("other", "Grants.grant", *world.grant_args(offer, "b"))
    world.do("other", "Grants.revoke", grant, word("r"))


def test_commitments_are_never_used_twice(world, title):
    offer = world.offer(title)
    world.grant(offer, "a")
    world.refused(ConflictError, "CommitmentUsed", "owner", "Grants.grant", *world.grant_args(offer, "a"))
    world.refused(ConflictError, "CommitmentUsed", "office", "Grants.commitBatch", word("a"), 5)
    world.do("office", "Grants.commitBatch", word("b"), 5)
    world.refused(ConflictError, "CommitmentUsed", "owner", "Grants.grant", *world.grant_args(offer, "b"))


@pytest.mark.parametrize(("start", "length"), [(0, 0), (10, -5), (-100, 100), (-100, 50)])
def test_empty_and_past_windows_are_refused(world, title, start, length):
    arguments = world.grant_args(world.offer(title), "a", start=start, length=length)
    world.refused(InputError, "InvalidWindow", "owner", "Grants.grant", *arguments)


def test_a_grant_is_in_force_inside_its_window_only(world, title):
    grant, now = world.grant(world.offer(title), "a", start=100, length=1000), world.clock.seconds
    answers = [world.ledger.permitted(grant, now + at) for at in (99, 100, 1099, 1100)]
    assert answers == [False, True, True, False]
    assert not world.ledger.permitted(2, now + 100)


def test_revocation_ends_a_grant_and_keeps_its_past(world, title):
    grant, start = world.grant(world.offer(title), "a"), world.clock.seconds
    world.clock.turn(500)
    world.refused(NotTitleHolder, "NotTitleHolder", "licensee", "Grants.revoke", grant, word("r"))
    world.do("owner", "Grants.revoke", grant, word("r"))
    assert world.ledger.grant(grant).revoked_at == start + 500
    assert world.ledger.permitted(grant, start + 499)
    assert not world.ledger.permitted(grant, start + 500)
    world.refused(GrantRevoked, "AlreadyRevoked", "owner", "Grants.revoke", grant, word("r"))
    world.refused(NotFoundError, "ERC721NonexistentToken", "owner", "Grants.revoke", 9, word("r"))


def test_revocation_takes_effect_at_once_however_many_blocks_a_second_has(world, title):
    offer = world.offer(title)
    grants = [world.grant(offer, str(number)) for number in range(8)]
    world.do("owner", "Grants.revoke", grants[0], word("r"))
    assert not world.ledger.permitted(grants[0], world.clock.seconds)


def test_what_cannot_be_revoked(world, title):
    firm = world.grant(world.offer(title, revocable=False), "a")
    world.refused(TermsViolated, "NotRevocable", "owner", "Grants.revoke", firm, word("r"))
    ended = world.grant(world.offer(title), "b", length=10)
    world.clock.turn(10)
    world.refused(GrantExpired, "GrantEnded", "owner", "Grants.revoke", ended, word("r"))


def test_seats_limit_the_grants_in_force_at_once(world, title):
    offer = world.offer(title, seats=2)
    first = world.grant(offer, "a", length=100)
    world.grant(offer, "b", length=300)
    world.refused(TermsViolated, "NoFreeSeat", "owner", "Grants.grant", *world.grant_args(offer, "c"))
    world.grant(offer, "c", start=100, length=50)
    world.refused(TermsViolated, "NoFreeSeat", "owner", "Grants.grant", *world.grant_args(offer, "d", start=120))
    world.do("owner", "Grants.revoke", first, word("r"))
    world.refused(TermsViolated, "NoFreeSeat", "owner", "Grants.grant", *world.grant_args(offer, "d"))
    world.clock.turn(150)
    world.grant(offer, "d")


def test_a_revoked_seat_is_free_at_once(world, title):
    offer = world.offer(title, seats=1)
    grant = world.grant(offer, "a")
    world.do("owner", "Grants.revoke", grant, word("r"))
    world.grant(offer, "b")


def test_batches_count_as_issued(world, title):
    offer = world.offer(title)
    world.grant(offer, "a")
    event = world.do("office", "Grants.commitBatch", word("root"), 1000).event("BatchCommitted")
    assert event == {"batchId": 1, "root": word("root"), "count": 1000, "issuedTotal": 1001}
    world.do("owner", "Grants.revoke", 1, word("r"))
    world.grant(offer, "b")
    assert world.ledger.identifiers_issued() == 1002, "ended identifiers still count"
    totals = [event.args["issuedTotal"] for event in world.ledger.events() if "issuedTotal" in event.args]
    assert totals == [1, 1001, 1002]


def test_only_a_registrar_commits_batches(world):
    world.refused(RightsError, "MissingRole", "owner", "Grants.commitBatch", word("root"), 1)
    world.refused(InputError, "EmptyBatch", "office", "Grants.commitBatch", word("root"), 0)
    world.refused(InputError, "EmptyDigest", "office", "Grants.commitBatch", bytes(32), 1)


@pytest.mark.parametrize("held", [ACCOUNT])
def test_nobody_on_hold_is_granted_a_licence(world, title, held):
    world.hold(held, int(world.address("licensee"), 16))
    world.refused(OnHold, "OnHold", "owner", "Grants.grant", *world.grant_args(world.offer(title), "a"))


@pytest.mark.parametrize("function", ["transferFrom", "safeTransferFrom(address,address,uint256)"])
def test_a_grant_never_changes_hands(world, title, function):
    grant, mine, other = world.grant(world.offer(title, resale=True), "a"), *map(world.address, ("licensee", "other"))
    world.do("licensee", "Grants.approve", other, grant)
    for by in ("licensee", "other"):
        world.refused(RightsError, "SaleRequired", by, f"Grants.{function}", mine, other, grant)


# Notice.


def test_a_notice_takes_effect_when_it_has_passed(world, title):
    grant, start = world.grant(world.offer(title, notice=NOTICE), "a", length=900_000), world.clock.seconds
    event = world.do("owner", "Grants.revoke", grant, word("r")).event("Revoked")
    assert event == {"grantId": grant, "reasonDigest": word("r"), "effectiveAt": start + NOTICE}
    assert [world.ledger.permitted(grant, start + at) for at in (0, NOTICE - 1, NOTICE)] == [True, True, False]
    assert window(world, grant) == (start, start + NOTICE)
    world.refused(GrantRevoked, "AlreadyRevoked", "owner", "Grants.revoke", grant, word("r"))


def test_a_notice_that_outlives_its_grant_changes_nothing(world, title):
    grant, start = world.grant(world.offer(title, notice=NOTICE), "a", length=1000), world.clock.seconds
    world.do("owner", "Grants.revoke", grant, word("r"))
    assert window(world, grant) == (start, start + 1000)
    world.clock.turn(1000)
    world.refused(ConflictError, "NoNotice", "owner", "Grants.withdrawNotice", grant)


def test_a_running_notice_is_withdrawn_by_the_title_holder(world, title):
    grant = world.grant(world.offer(title, notice=NOTICE), "a", length=900_000)
    world.refused(ConflictError, "NoNotice", "owner", "Grants.withdrawNotice", grant)
    world.do("owner", "Grants.revoke", grant, word("r"))
    world.refused(NotTitleHolder, "NotTitleHolder", "licensee", "Grants.withdrawNotice", grant)
    world.refused(NotFoundError, "ERC721NonexistentToken", "owner", "Grants.withdrawNotice", 9)
    assert world.do("owner", "Grants.withdrawNotice", grant).event("NoticeWithdrawn") == {"grantId": grant}
    assert world.ledger.grant(grant).revoked_at is None
    world.do("owner", "Grants.revoke", grant, word("r"))
    world.clock.turn(NOTICE)
    world.refused(ConflictError, "NoNotice", "owner", "Grants.withdrawNotice", grant)


def test_a_case_stops_a_notice(world, title, court):
    grant = world.grant(world.offer(title, notice=NOTICE), "a", length=900_000)
    assert world.do(court, "Grants.stay", grant, 4).events == (), "none runs"
    world.do("owner", "Grants.revoke", grant, word("r"))
    assert world.do(court, "Grants.stay", grant, 5).event("Stayed") == {"grantId": grant, "caseId": 5}
    assert world.ledger.grant(grant).revoked_at is None
    assert world.ledger.view("Grants", "stayedFor", grant) == 5


def test_a_ruling_strikes_a_grant_and_never_gets_stuck(world, title, court):
    start = world.clock.seconds
    firm, noticed, ended = (
        world.grant(world.offer(title, **given), mark, length=length)
        for given, mark, length in (
            ({"revocable": False}, "a", 999_000),
            ({"notice": NOTICE}, "b", 999_000),
            ({}, "c", 10),
        )
    )
    world.do("owner", "Grants.revoke", noticed, word("r"))
    world.clock.turn(10)
    for grant in (firm, noticed, ended):
        assert world.do(court, "Grants.strike", grant, 5).event("Struck") == {"grantId": grant, "caseId": 5}
    assert [window(world, grant) for grant in (firm, noticed, ended)] == [(start, start + 10)] * 3
    world.clock.turn(10)
    world.do(court, "Grants.strike", firm, 6)
    assert window(world, firm) == (start, start + 10), "what has ended stays as it ended"
    world.refused(NotFoundError, "ERC721NonexistentToken", court, "Grants.strike", 9, 5)
    world.refused(NotFoundError, "ERC721NonexistentToken", court, "Grants.stay", 9, 5)


# What the market does.


def test_only_the_market_issues_resells_and_renews_and_only_the_court_strikes(world, title, market, court):
    offer = world.offer(title, resale=True, renewable=True)
    grant, accepted = world.grant(offer, "a"), (word("acceptance"), word("b"))
    for by in ("office", "owner", "licensee"):
        for call in (
            ("Grants.issue", offer, world.address("licensee"), *accepted, world.clock.seconds),
            ("Grants.resell", *resale(world, grant, "b")),
            ("Grants.renew", grant),
            ("Grants.strike", grant, 1),
            ("Grants.stay", grant, 1),
        ):
            world.refused(RightsError, "NotTheContract", by, *call)
    world.refused(RightsError, "NotTheContract", market, "Grants.strike", grant, 1)
    world.refused(RightsError, "NotTheContract", court, "Grants.renew", grant)


def test_a_window_on_the_market_follows_from_the_conditions(world, title, market):
    now = world.clock.seconds
    for mark, given, ends in (
        ("a", {"duration": 1000}, now + 1100),
        ("b", {"duration": 1000, "expires_at": now + 600}, now + 600),
        ("c", {"duration": 0, "expires_at": now + 9000}, now + 9000),
    ):
        assert window(world, issue(world, market, world.offer(title, **given), mark, start=100)) == (now + 100, ends)
    late = world.offer(title, duration=1000)
    arguments = (late, world.address("licensee"), word("acceptance"), word("d"))
    world.refused(InputError, "InvalidWindow", market, "Grants.issue", *arguments, now - 1000)
    world.refused(InputError, "InvalidWindow", market, "Grants.issue", *arguments, 2**64 - 1)
    world.refused(NotFoundError, "UnknownOffer", market, "Grants.issue", 9, *arguments[1:], now)


def test_a_paid_grant_is_issued_though_its_offer_was_withdrawn(world, title, market):
    offer = world.offer(title)
    world.do("owner", "Grants.withdrawOffer", offer)
    issue(world, market, offer, "a")


def test_a_resale_ends_one_grant_and_issues_another_for_the_rest(world, title, market):
    offer = world.offer(title, resale=True, seats=1)
    old, start = world.grant(offer, "a"), world.clock.seconds
    world.clock.turn(300)
    receipt = world.do(market, "Grants.resell", *resale(world, old, "b"))
    new = receipt.event("Resold")["newGrantId"]
    assert receipt.event("Granted")["acceptanceDigest"] == word("second acceptance")
    assert (window(world, old), window(world, new)) == ((start, start + 300), (start + 300, start + 1000))
    assert (world.ledger.grant(old).holder, world.ledger.grant(new).holder) == (
        world.address("licensee"), world.address("other")
    )  # fmt: skip
    assert world.ledger.identifiers_issued() == 2
    world.refused(TermsViolated, "NoFreeSeat", "owner", "Grants.grant", *world.grant_args(offer, "c"))
    world.refused(GrantRevoked, "AlreadyRevoked", market, "Grants.resell", *resale(world, old, "c"))
    world.do("owner", "Grants.revoke", new, word("r"))
    world.grant(offer, "c")


def test_a_grant_that_has_not_begun_is_resold_whole(world, title, market):
    old, now = world.grant(world.offer(title, resale=True), "a", start=500), world.clock.seconds
    new = resell(world, market, old, "b")
    assert window(world, new) == (now + 500, now + 1500)
    assert not any(world.ledger.permitted(old, now + at) for at in (0, 500, 1000))


def test_what_cannot_be_resold(world, title, market):
    refused = lambda kind, error, grant, **given: world.refused(  # noqa: E731
        kind, error, market, "Grants.resell", *resale(world, grant, "z", **given)
    )
    refused(TermsViolated, "ResaleNotAllowed", world.grant(world.offer(title), "a"))
    offer = world.offer(title, resale=True, notice=NOTICE)
    grant = world.grant(offer, "b", length=900_000)
    refused(RightsError, "MissingRole", grant, to="owner")
    refused(NotFoundError, "ERC721NonexistentToken", 9)
    world.do("owner", "Grants.revoke", grant, word("r"))
    refused(GrantRevoked, "AlreadyRevoked", grant)
    ended = world.grant(offer, "c", length=10)
    world.clock.turn(10)
    refused(GrantExpired, "GrantEnded", ended)
    world.do("office", "Members.suspend", world.address("licensee"))
    world.do("owner", "Grants.withdrawNotice", grant)
    refused(RightsError, "MissingRole", grant)


@pytest.mark.parametrize("held", ["grant", "licensee", "other", "title"])
def test_a_hold_stops_a_resale(world, title, market, held):
    grant = world.grant(world.offer(title, resale=True), "a", length=900_000)
    kind = {"grant": (GRANT, grant), "title": (TITLE, title)}.get(held) or (ACCOUNT, int(world.address(held), 16))
    world.hold(*kind)
    world.refused(OnHold, "OnHold", market, "Grants.resell", *resale(world, grant, "b"))
    world.clock.turn(1000)
    resell(world, market, grant, "b")


def test_a_renewal_moves_the_end(world, title, market):
    now = world.clock.seconds
    offer = world.offer(title, duration=1000, renewable=True, seats=2, expires_at=now + 2500)
    grant = world.grant(offer, "a")
    for ends in (now + 2000, now + 2500):
        assert world.do(market, "Grants.renew", grant).event("Renewed") == {"grantId": grant, "expiresAt": ends}
        assert world.ledger.permitted(grant, ends - 1)
    world.refused(InputError, "InvalidWindow", market, "Grants.renew", grant)


def test_what_cannot_be_renewed(world, title, market):
    refused = lambda kind, error, grant: world.refused(kind, error, market, "Grants.renew", grant)  # noqa: E731
    refused(TermsViolated, "NotRenewable", world.grant(world.offer(title), "a"))
    refused(NotFoundError, "ERC721NonexistentToken", 9)
    offer = world.offer(title, duration=1000, renewable=True, seats=1, notice=NOTICE)
    grant = world.grant(offer, "b")
    world.grant(offer, "c", start=1000)
    refused(TermsViolated, "NoFreeSeat", grant)
    other = world.grant(world.offer(title, duration=1000, renewable=True, notice=NOTICE), "d")
    world.hold(GRANT, other, 100)
    refused(OnHold, "OnHold", other)
    world.clock.turn(100)
    world.do("owner", "Grants.revoke", other, word("r"))
    refused(GrantRevoked, "AlreadyRevoked", other)
    world.do("owner", "Grants.withdrawNotice", other)
    world.clock.turn(900)
    refused(GrantExpired, "GrantEnded", other)


def test_a_notice_frees_its_seat_only_when_it_has_taken_effect(world, title):
    offer = world.offer(title, seats=1, notice=NOTICE)
    grant = world.grant(offer, "a", length=900_000)
    world.do("owner", "Grants.revoke", grant, word("r"))
    late = world.grant_args(offer, "b", start=NOTICE)
    world.refused(TermsViolated, "NoFreeSeat", "owner", "Grants.grant", *late)
    world.clock.turn(NOTICE)
    world.grant(offer, "b")


def test_the_interfaces_that_it_names_stand_there(world):
    there, not_there = ("01ffc9a7", "80ac58cd", "5b5e139f", "2a55205a"), ("ffffffff", "ad092b5c", "8c65f84d")
    for interface in (*there, *not_there):
        answer = world.ledger.view("Grants", "supportsInterface", bytes.fromhex(interface))
        assert answer is (interface in there), interface
