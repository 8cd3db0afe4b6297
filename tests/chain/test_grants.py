from __future__ import annotations

import pytest

from countermark.errors import (
    ConflictError,
    GrantExpired,
    GrantRevoked,
    InputError,
    LedgerError,
    NotFoundError,
    NotTitleHolder,
    RightsError,
    TermsViolated,
)


def word(text):
    return text.encode().rjust(32, b"\x01")


@pytest.fixture
def title(world):
    return world.title()


def test_an_offer_is_recorded_and_withdrawn(world, title):
    offer = world.ledger.offer(world.offer(title, seats=3, transferable=True))
    assert (offer.id, offer.title, offer.terms_digest, offer.seats) == (1, title, word("terms"), 3)
    assert (offer.revocable, offer.transferable, offer.withdrawn) == (True, True, False)
    world.refused(NotTitleHolder, "NotTitleHolder", "other", "Grants.withdrawOffer", 1)
    world.do("owner", "Grants.withdrawOffer", 1)
    assert world.ledger.offer(1).withdrawn
    world.refused(ConflictError, "OfferNotOpen", "owner", "Grants.grant", *world.grant_args(1, "a"))
    world.refused(ConflictError, "OfferNotOpen", "owner", "Grants.withdrawOffer", 1)


def test_only_the_title_holder_offers(world, title):
    world.refused(NotTitleHolder, "NotTitleHolder", "other", "Grants.offer", title, word("t"), True, False, 0)
    world.refused(NotFoundError, "ERC721NonexistentToken", "owner", "Grants.offer", 9, word("t"), True, False, 0)
    world.refused(LedgerError, "EmptyDigest", "owner", "Grants.offer", title, bytes(32), True, False, 0)
    world.refused(InputError, "TooManySeats", "owner", "Grants.offer", title, word("t"), True, False, 257)
    with pytest.raises(NotFoundError):
        world.ledger.offer(1)


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
    world.do("owner", "ModelTitles.transferFrom", world.address("owner"), world.address("other"), title)
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
    world.refused(LedgerError, "EmptyBatch", "office", "Grants.commitBatch", word("root"), 0)
    world.refused(LedgerError, "EmptyDigest", "office", "Grants.commitBatch", bytes(32), 1)


def test_grants_stay_with_their_licensee_unless_the_offer_lets_them_go(world, title):
    mine, other = world.address("licensee"), world.address("other")
    bound = world.grant(world.offer(title), "a")
    world.refused(TermsViolated, "NotTransferable", "licensee", "Grants.transferFrom", mine, other, bound)
    offer = world.offer(title, transferable=True)
    free, ended = world.grant(offer, "b"), world.grant(offer, "c", length=10)
    world.refused(RightsError, "MissingRole", "licensee", "Grants.transferFrom", mine, world.address("owner"), free)
    world.do("licensee", "Grants.transferFrom", mine, other, free)
    assert world.ledger.grant(free).holder == other
    world.clock.turn(10)
    world.refused(GrantExpired, "GrantEnded", "licensee", "Grants.transferFrom", mine, other, ended)
    last = world.grant(offer, "d")
    world.do("office", "Members.suspend", mine)
    world.refused(RightsError, "MissingRole", "licensee", "Grants.transferFrom", mine, other, last)
