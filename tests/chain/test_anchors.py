from __future__ import annotations

from countermark.adapters.records import Role
from countermark.errors import ConflictError, InputError, RightsError


def word(text):
    return text.encode().rjust(32, b"\x01")


LOG = word("log")


def checkpoint(size, log=LOG):
    return (log, size, word(f"root {size}"), word(f"checkpoint {size}"))


def test_the_newest_anchor_is_recorded(world):
    assert world.ledger.latest_anchor(LOG) is None
    world.do("office", "Anchors.anchor", *checkpoint(10))
    world.clock.turn(60)
    world.do("office", "Anchors.anchor", *checkpoint(20))
    anchor = world.ledger.latest_anchor(LOG)
    assert (anchor.log_id, anchor.size, anchor.root) == (LOG, 20, word("root 20"))
    assert (anchor.checkpoint_digest, anchor.anchored_at) == (word("checkpoint 20"), world.clock.seconds)
    assert [event.args["size"] for event in world.ledger.events("Anchored")] == [10, 20]


def test_a_log_only_grows(world):
    world.do("office", "Anchors.anchor", *checkpoint(10))
    for size in (10, 9, 0):
        world.refused(ConflictError, "SizeMustGrow", "office", "Anchors.anchor", *checkpoint(size))
    world.refused(ConflictError, "SizeMustGrow", "office", "Anchors.anchor", *checkpoint(0, word("empty log")))


def test_only_anchorers_anchor_and_each_its_own_logs(world):
    world.refused(RightsError, "MissingRole", "owner", "Anchors.anchor", *checkpoint(1))
    world.do("office", "Anchors.anchor", *checkpoint(1))
    world.admit("second", Role.ANCHORER)
    world.refused(RightsError, "NotTheAnchorer", "second", "Anchors.anchor", *checkpoint(2**64 - 1))
    world.do("second", "Anchors.anchor", *checkpoint(1, word("its own")))


def test_a_log_is_handed_over(world):
    world.do("office", "Anchors.anchor", *checkpoint(1))
    world.admit("second", Role.ANCHORER)
    second, owner = world.address("second"), world.address("owner")
    world.refused(RightsError, "MissingRole", "second", "Anchors.handOver", LOG, second)
    world.refused(RightsError, "MissingRole", "office", "Anchors.handOver", LOG, owner)
    world.do("office", "Anchors.handOver", LOG, second)
    world.do("second", "Anchors.anchor", *checkpoint(2))
    world.refused(RightsError, "NotTheAnchorer", "office", "Anchors.anchor", *checkpoint(3))
    world.do("office", "Anchors.handOver", LOG, world.address("office"))
    world.do("office", "Anchors.anchor", *checkpoint(3))


def test_empty_digests_are_refused(world):
    world.refused(InputError, "EmptyDigest", "office", "Anchors.anchor", LOG, 1, bytes(32), word("c"))
    world.refused(InputError, "EmptyDigest", "office", "Anchors.anchor", LOG, 1, word("r"), bytes(32))
