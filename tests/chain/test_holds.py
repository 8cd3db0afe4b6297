"""The regulator's holds: who may, on what, for how long; what they stop stands with the contract that they stop."""

from __future__ import annotations

import pytest

from countermark.adapters.records import Role
from countermark.core.times import from_unix, show_time
from countermark.errors import ConflictError, InputError, OnHold, RightsError

TITLE = 2
DAY = 86_400


def word(text):
    return text.encode().rjust(32, b"\x01")


def subject(kind, number):
    return bytes([kind]) + number.to_bytes(31, "big")


@pytest.fixture
def regulated(world):
    world.admit("regulator", Role.REGULATOR)
    return world


def held(world, number=1):
    return world.ledger.view("Members", "isHeld", subject(TITLE, number))


def arguments(world, kind=TITLE, seconds=100):
    return subject(kind, 1), world.clock.seconds + seconds, word("case"), word("reason")


def test_a_hold_names_case_reason_and_end_and_ends_by_itself(regulated):
    world = regulated
    until = world.clock.seconds + 100
    event = world.do("regulator", "Members.hold", *arguments(world)).event("Held")
    assert event == {
        "subject": subject(TITLE, 1), "caseDigest": word("case"), "reasonDigest": word("reason"), "until": until,
        "regulator": world.address("regulator"),
    }  # fmt: skip
    assert world.ledger.record("Members", "holdOf", subject(TITLE, 1)) == {
        "case_digest": word("case"), "reason_digest": word("reason"), "until": until,
        "regulator": world.address("regulator"),
    }  # fmt: skip
    assert held(world)
    assert not held(world, 2)
    world.clock.turn(100)
    world.do("office", "Grants.commitBatch", word("a block"), 1)
    assert not held(world)
    assert world.ledger.record("Members", "holdOf", subject(TITLE, 1))["until"] == until, "it stays on record"


def test_a_hold_is_released_with_a_reason(regulated):
    world = regulated
    world.do("regulator", "Members.hold", *arguments(world))
    world.refused(InputError, "EmptyDigest", "regulator", "Members.release", subject(TITLE, 1), bytes(32))
    event = world.do("regulator", "Members.release", subject(TITLE, 1), word("cleared")).event("Released")
    assert (event["subject"], event["reasonDigest"]) == (subject(TITLE, 1), word("cleared"))
    assert not held(world)
    world.refused(ConflictError, "NotHeld", "regulator", "Members.release", subject(TITLE, 1), word("again"))


def test_only_a_regulator_holds_and_releases(regulated):
    world = regulated
    for by in ("office", "owner"):
        world.refused(RightsError, "MissingRole", by, "Members.hold", *arguments(world))
    world.do("regulator", "Members.hold", *arguments(world))
    for by in ("office", "owner"):
        world.refused(RightsError, "MissingRole", by, "Members.release", subject(TITLE, 1), word("r"))
    world.do("office", "Members.suspend", world.address("regulator"))
    world.refused(RightsError, "MissingRole", "regulator", "Members.hold", *arguments(world))


@pytest.mark.parametrize(
    ("kind", "seconds"), [(0, 100), (6, 100), (255, 100), (TITLE, 0), (TITLE, -1), (TITLE, 90 * DAY + 1)]
)
def test_unknown_subjects_and_ends_out_of_range_are_refused(regulated, kind, seconds):
    call = arguments(regulated, kind, seconds)
    regulated.refused(InputError, "InvalidHold", "regulator", "Members.hold", *call)


@pytest.mark.parametrize("empty", [2, 3])
def test_a_hold_without_case_or_reason_is_refused(regulated, empty):
    call = list(arguments(regulated))
    call[empty] = bytes(32)
    regulated.refused(InputError, "EmptyDigest", "regulator", "Members.hold", *call)


def test_a_longer_hold_is_another_act_with_a_reason_of_its_own(regulated):
    world = regulated
    world.do("regulator", "Members.hold", *arguments(world, seconds=90 * DAY))
    world.clock.turn(89 * DAY)
    again = (subject(TITLE, 1), world.clock.seconds + 90 * DAY, word("case"), word("second reason"))
    world.do("regulator", "Members.hold", *again)
    world.clock.turn(89 * DAY)
    assert held(world)
    assert len(world.ledger.events("Held")) == 2


def test_what_a_hold_says_when_it_stops_something(regulated):
    world = regulated
    title = world.title()
    world.do("regulator", "Members.hold", *arguments(world))
    with pytest.raises(OnHold) as caught:
        world.do("owner", "ModelTitles.transferByDeed", title, world.address("other"), word("deed"))
    assert caught.value.params["subject"] == "title 1"
    assert caught.value.params["until"] == show_time(from_unix(world.clock.seconds + 100))
    assert caught.value.params["case_digest"] == word("case").hex()


def test_a_hold_stops_no_evidence(regulated):
    """Anchors, batches and keys go on whoever is held."""
    world = regulated
    title = world.title()
    world.do("regulator", "Members.hold", *arguments(world))
    account = bytes([1]) + bytes(11) + bytes.fromhex(world.address("office")[2:])
    world.do("regulator", "Members.hold", account, world.clock.seconds + 100, word("case"), word("reason"))
    world.do("office", "ModelTitles.commitKey", title, word("k2"))
    world.do("office", "Anchors.anchor", word("log"), 1, word("root"), word("checkpoint"))
    world.do("office", "Grants.commitBatch", word("batch"), 1)
