from __future__ import annotations

import pytest

from countermark.adapters.records import Role
from countermark.errors import ConflictError, InputError, NotFoundError, RightsError

FOREVER = 2**64 - 1


def word(text):
    return text.encode().rjust(32, b"\x01")


def has(world, name, role):
    return world.ledger.is_member(world.address(name), role)


def test_the_deployer_is_a_consortium_of_one(world):
    founder = Role.GOVERNOR | Role.REGISTRAR | Role.ANCHORER | Role.TREASURER | Role.MARKER
    assert world.ledger.member(world.address("office")).roles == founder
    assert world.ledger.member(world.address("stranger")) is None


def test_admission_is_recorded_and_hands_over_the_float(world):
    event = world.admit("new", Role.LICENSOR | Role.REGULATOR).event("Admitted")
    member = world.ledger.member(world.address("new"))
    assert (member.organization_digest, member.roles, member.valid_until) == (
        event["organizationDigest"],
        Role.LICENSOR | Role.REGULATOR,
        FOREVER,
    )
    assert world.ledger.web3.eth.get_balance(world.address("new")) == 10**18
    assert has(world, "new", Role.LICENSOR)
    assert not has(world, "new", Role.LICENSOR | Role.LICENSEE), "all roles asked for are required"


def test_only_a_governor_admits_and_suspends(world):
    somebody = (world.address("new"), bytes(32), bytes(32), Role.LICENSEE, FOREVER)
    world.refused(RightsError, "MissingRole", "owner", "Members.admit", *somebody)
    world.refused(RightsError, "MissingRole", "owner", "Members.suspend", world.address("licensee"))


@pytest.mark.parametrize("roles", [0, 1024, 2**255])
def test_unknown_roles_are_refused(world, roles):
    world.refused(
        InputError,
        "InvalidMember",
        "office",
        "Members.admit",
        world.address("new"),
        bytes(32),
        bytes(32),
        roles,
        FOREVER,
    )


def test_a_membership_ends_with_its_time(world):
    world.admit("guest", Role.LICENSEE, until=world.clock.seconds + 100)
    world.clock.turn(99)
    assert has(world, "guest", Role.LICENSEE)
    world.clock.turn(1)
    assert not has(world, "guest", Role.LICENSEE)


def test_suspension_takes_all_roles_until_readmission(world):
    world.do("office", "Members.suspend", world.address("owner"))
    assert not has(world, "owner", Role.LICENSOR)
    world.refused(RightsError, "MissingRole", "owner", "Members.rotateKey", world.address("owner"), bytes(32))
    world.admit("owner", Role.LICENSOR)
    assert has(world, "owner", Role.LICENSOR)


def test_a_governor_remains(world):
    office = world.address("office")
    world.refused(ConflictError, "GovernorMustRemain", "office", "Members.suspend", office)
    demoted = (office, bytes(32), bytes(32), Role.REGISTRAR, FOREVER)
    world.refused(ConflictError, "GovernorMustRemain", "office", "Members.admit", *demoted)
    world.admit("office", Role.GOVERNOR)
    assert not has(world, "office", Role.ANCHORER)


def test_keys_are_rotated_by_their_member_or_a_governor_and_the_event_says_who(world):
    owner, key = world.address("owner"), b"\x07" * 32
    assert world.do("owner", "Members.rotateKey", owner, key).event("KeyRotated")["by"] == owner
    assert world.ledger.member(owner).signing_key_digest == key
    assert world.do("office", "Members.rotateKey", owner, key).event("KeyRotated")["by"] == world.address("office")
    world.refused(RightsError, "MissingRole", "licensee", "Members.rotateKey", owner, key)
    world.refused(NotFoundError, "UnknownMember", "office", "Members.rotateKey", world.address("stranger"), key)


def test_a_registrar_records_that_a_member_proved_its_identity(world):
    owner, until = world.address("owner"), world.clock.seconds + 1000
    assert world.ledger.record("Members", "identityOf", owner)["registrar"] == "0x" + "00" * 20
    event = world.do("office", "Members.identify", owner, word("proof"), until).event("Identified")
    assert event == {
        "account": owner, "proofDigest": word("proof"), "validUntil": until, "registrar": world.address("office")
    }  # fmt: skip
    assert world.ledger.record("Members", "identityOf", owner) == {
        "proof_digest": word("proof"), "valid_until": until, "registrar": world.address("office")
    }  # fmt: skip


def test_what_is_no_proof_of_identity(world):
    owner, stranger, until = world.address("owner"), world.address("stranger"), world.clock.seconds + 1000
    world.refused(RightsError, "MissingRole", "owner", "Members.identify", owner, word("proof"), until)
    world.refused(InputError, "EmptyDigest", "office", "Members.identify", owner, bytes(32), until)
    world.refused(InputError, "InvalidMember", "office", "Members.identify", owner, word("p"), world.clock.seconds)
    world.refused(InputError, "InvalidMember", "office", "Members.identify", world.address("office"), word("p"), until)
    world.refused(NotFoundError, "UnknownMember", "office", "Members.identify", stranger, word("p"), until)


def test_a_bad_private_key_is_an_input_error(world):
    from countermark.core.keys import Secret

    with pytest.raises(InputError, match="not a private key"):
        world.ledger.address_of(Secret(bytes(32)))
