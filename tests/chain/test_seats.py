"""Seats against a model: at no second do more grants of an offer hold than it has seats, and none is lost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.errors import TermsViolated

SEATS = 2
steps = st.one_of(
    st.tuples(st.just("grant"), st.integers(0, 60), st.integers(1, 40)),
    st.tuples(st.just("revoke"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("resell"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("renew"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 30), st.just(0)),
)


@pytest.fixture(scope="module")
def sellers(shared):
    """The shared world, with an account that stands for the market."""
    world, serial = shared
    world.stand_in("Market")
    return world, serial


@settings(max_examples=12)
@given(st.lists(steps, min_size=4, max_size=14))
def test_never_more_grants_in_force_than_seats(sellers, plan):
    world, serial = sellers
    offer = world.offer(1, seats=SEATS, resale=True, renewable=True, duration=40)
    grants, begin = [], world.clock.seconds
    for kind, first, second in plan:
        if kind == "wait":
            world.clock.turn(first)
        elif kind == "grant":
            try:
                grants.append(world.grant(offer, f"m{next(serial)}", start=first, length=second))
            except TermsViolated:
                assert any(_end(world, grant) > world.clock.seconds for grant in grants), "a free seat is found"
        elif first < len(grants) and _end(world, grants[first]) > world.clock.seconds:
            _act(world, kind, grants, first, f"m{next(serial)}")
    windows = [world.ledger.record("Grants", "windowOf", event.args["grantId"]) for event in _granted(world, offer)]
    for second in range(begin, begin + 500):
        assert sum(w["starts_at"] <= second < w["ends_at"] for w in windows) <= SEATS


def _act(world, kind, grants, at, mark):
    grant = grants[at]
    if kind == "revoke":
        world.do("owner", "Grants.revoke", grant, bytes(32))
    elif kind == "resell":
        call = (grant, world.address("other"), b"a" * 32, mark.encode().rjust(32, b"\x01"))
        grants[at] = world.do("Market", "Grants.resell", *call).event("Resold")["newGrantId"]
    else:
        with suppress(TermsViolated):  # somebody waits behind it
            world.do("Market", "Grants.renew", grant)


def _end(world, grant):
    return world.ledger.record("Grants", "windowOf", grant)["ends_at"]


def _granted(world, offer):
    return [event for event in world.ledger.events("Granted") if event.args["offerId"] == offer]


def test_a_grant_that_is_ended_before_it_begins_gives_its_seat_back(world):
    offer = world.offer(world.title(), seats=1)
    world.grant(offer, "a", length=10)
    late = world.grant(offer, "b", start=500)
    world.do("owner", "Grants.revoke", late, bytes(32))
    world.grant(offer, "c", start=10, length=400)
    world.refused(TermsViolated, "NoFreeSeat", "owner", "Grants.grant", *world.grant_args(offer, "d", start=9))
