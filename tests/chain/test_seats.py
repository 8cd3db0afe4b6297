"""Seats against a model: at no second do more grants of an offer hold than it has seats."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.errors import TermsViolated

SEATS = 2
steps = st.one_of(
    st.tuples(st.just("grant"), st.integers(0, 60), st.integers(1, 40)),
    st.tuples(st.just("revoke"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 30), st.just(0)),
)


@settings(max_examples=12)
@given(st.lists(steps, min_size=4, max_size=14))
def test_never_more_grants_in_force_than_seats(shared, plan):
    world, serial = shared
    offer, grants, begin = world.offer(1, seats=SEATS), [], world.clock.seconds
    for kind, first, second in plan:
        if kind == "wait":
            world.clock.turn(first)
        elif kind == "revoke" and first < len(grants):
            _revoke(world, grants.pop(first))
        elif kind == "grant":
            try:
                grants.append(world.grant(offer, f"m{next(serial)}", start=first, length=second))
            except TermsViolated:
                assert grants, "a first grant always finds a seat"
    windows = [world.ledger.grant(event.args["grantId"]) for event in _granted(world, offer)]
    for second in range(begin, begin + 500):
        held = sum(w.starts_at <= second < min(w.expires_at, w.revoked_at or w.expires_at) for w in windows)
        assert held <= SEATS


def _granted(world, offer):
    return [event for event in world.ledger.events("Granted") if event.args["offerId"] == offer]


def _revoke(world, grant):
    if world.clock.seconds < world.ledger.grant(grant).expires_at:
        world.do("owner", "Grants.revoke", grant, bytes(32))
