from __future__ import annotations

import pytest

from countermark.errors import AlreadyRegistered, LedgerError, NotFoundError, RightsError


def word(text):
    return text.encode().rjust(32, b"\x01")


def registration(world, root="w1", to="owner"):
    return (world.address(to), word("m"), word(root), word("k"))


def test_a_title_is_recorded(world):
    title = world.title()
    record = world.ledger.title(title)
    assert (record.id, record.holder, record.weights_root) == (1, world.address("owner"), word("w1"))
    assert (record.manifest_digest, record.key_commitment, record.epoch) == (word("m"), word("k"), 0)
    assert record.registered_at == world.clock.seconds
    assert world.ledger.title_of(word("w1")) == 1
    assert world.ledger.title_of(word("w2")) is None


def test_the_same_weights_are_refused_with_the_earlier_title(world):
    world.title(1), world.title(2)
    with pytest.raises(AlreadyRegistered) as caught:
        world.do("office", "ModelTitles.register", world.address("other"), word("m2"), word("w2"), word("k2"))
    assert caught.value.params["title"] == 2


def test_only_a_registrar_registers_and_only_for_licensors(world):
    world.refused(RightsError, "MissingRole", "owner", "ModelTitles.register", *registration(world))
    world.refused(RightsError, "MissingRole", "office", "ModelTitles.register", *registration(world, to="licensee"))


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_empty_digests_are_refused(world, empty):
    arguments = list(registration(world))
    arguments[empty] = bytes(32)
    world.refused(LedgerError, "EmptyDigest", "office", "ModelTitles.register", *arguments)


def test_titles_pass_between_licensors_only(world):
    title = world.title()
    owner, other = world.address("owner"), world.address("other")
    world.refused(
        RightsError, "MissingRole", "owner", "ModelTitles.transferFrom", owner, world.address("licensee"), title
    )
    world.refused(LedgerError, "ERC721InsufficientApproval", "other", "ModelTitles.transferFrom", owner, other, title)
    world.do("owner", "ModelTitles.transferFrom", owner, other, title)
    assert world.ledger.title(title).holder == other


def test_key_epochs_follow_each_other(world):
    title = world.title()
    event = world.do("office", "ModelTitles.commitKey", title, word("k1")).event("KeyCommitted")
    assert event == {"titleId": title, "epoch": 1, "keyCommitment": word("k1")}
    assert world.ledger.title(title).epoch == 1
    world.refused(RightsError, "MissingRole", "owner", "ModelTitles.commitKey", title, word("k2"))
    world.refused(NotFoundError, "UnknownTitle", "office", "ModelTitles.commitKey", 9, word("k2"))
    epochs = [event.args["epoch"] for event in world.ledger.events("KeyCommitted")]
    assert epochs == [0, 1], "the event log holds every epoch's commitment"


def test_an_unknown_title_is_not_found(world):
    with pytest.raises(NotFoundError):
        world.ledger.title(1)


def test_a_suspended_holder_keeps_its_title_but_cannot_use_it(world):
    title, owner, other = world.title(), world.address("owner"), world.address("other")
    world.do("office", "Members.suspend", owner)
    world.refused(RightsError, "MissingRole", "owner", "ModelTitles.transferFrom", owner, other, title)
    world.refused(RightsError, "MissingRole", "owner", "Grants.offer", title, word("t"), True, False, 0)
    assert world.ledger.title(title).holder == owner
