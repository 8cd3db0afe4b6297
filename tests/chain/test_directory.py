"""Names, parameters and how they change: proposed, approved by enough governors, in force after a delay."""

from __future__ import annotations

import pytest

from countermark.adapters.contracts import NAMED
from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Role
from countermark.core.keys import Secret
from countermark.errors import ConflictError, InputError, NotFoundError, RightsError

DAY = 86_400


def word(text):
    return text.encode().ljust(32, b"\0")


def parameter(world, name):
    return world.ledger.view("Directory", "parameter", word(name))


def propose(world, name="market.fee", value=100, by="office"):
    return world.do(by, "Directory.propose", word(name), value).event("Proposed")["proposalId"]


@pytest.fixture
def three(world):
    """Three governors, of whom two must agree."""
    for name in ("second", "third"):
        world.admit(name, Role.GOVERNOR)
    world.govern("governance.threshold", 2)
    return world


def test_the_foundation_names_every_contract_and_parameter(world):
    contracts = world.ledger.deployment["contracts"]
    assert {name: world.ledger.view("Directory", "resolve", word(name)) for name in NAMED} == {
        name: contracts[name] for name in NAMED
    }
    founder = int(world.address("office"), 16)
    found = {
        "governance.threshold": 1, "governance.delay": DAY, "market.fee": 0, "market.fee.account": founder,
        "market.currency": int.from_bytes(word("CNY"), "big"), "case.bond": 10_000,
    }  # fmt: skip
    assert {name: parameter(world, name) for name in found} == found
    assert world.ledger.view("Directory", "founder") == "0x" + "00" * 20
    assert parameter(world, "never.set") == 0


def test_fee_and_currency_are_chosen_at_the_foundation(tmp_path, world):
    given = {"chain_id": 7, "treasury": Secret(b"founder".ljust(32, b".")), "clock": world.clock}
    ledger = Ledger.create(tmp_path / "own.db", **given, platform_fee_bps=250, currency="EUR")
    read = lambda name: ledger.view("Directory", "parameter", word(name))  # noqa: E731
    assert (read("market.fee"), read("market.currency")) == (250, int.from_bytes(word("EUR"), "big"))
    ledger.close()
    for wrong in ({"platform_fee_bps": 1001}, {"platform_fee_bps": -1}, {"currency": "yuan"}, {"currency": "X" * 13}):
        with pytest.raises(InputError):
            Ledger.create(tmp_path / "wrong.db", **given, **wrong)


def test_a_deployment_is_founded_once(world):
    both = [word("governance.threshold"), word("governance.delay")], [1, DAY]
    for by in ("office", "owner"):
        world.refused(ConflictError, "AlreadyFounded", by, "Directory.found", *both)


def test_a_change_takes_effect_after_its_delay(world):
    event = world.do("office", "Directory.propose", word("market.fee"), 300).event("Proposed")
    assert (event["name"], event["value"], event["by"]) == (word("market.fee"), 300, world.address("office"))
    assert event["activeFrom"] == world.clock.seconds + DAY
    number = event["proposalId"]
    world.clock.turn(DAY - 1)
    world.refused(ConflictError, "NotActiveYet", "office", "Directory.activate", number)
    world.clock.turn(1)
    done = world.do("licensee", "Directory.activate", number).event("Activated")
    assert done == {"name": word("market.fee"), "value": 300, "version": 2, "proposalId": number}
    assert parameter(world, "market.fee") == 300
    world.refused(NotFoundError, "UnknownProposal", "office", "Directory.activate", number)


def test_a_proposal_lapses_a_month_after_its_delay(world):
    number = world.do("office", "Directory.propose", word("market.fee"), 300).event("Proposed")["proposalId"]
    world.clock.turn(DAY + 30 * DAY)
    world.refused(ConflictError, "ProposalLapsed", "office", "Directory.activate", number)
    again = world.do("office", "Directory.propose", word("market.fee"), 300).event("Proposed")["proposalId"]
    world.clock.turn(DAY + 30 * DAY - 1)
    world.do("office", "Directory.activate", again)


def test_governors_alone_propose_and_approve(three):
    number = propose(three)
    for call in (("Directory.propose", word("market.fee"), 5), ("Directory.approve", number)):
        three.refused(RightsError, "MissingRole", "owner", *call)
    three.do("second", "Directory.approve", number)
    three.refused(ConflictError, "AlreadyApproved", "second", "Directory.approve", number)
    three.refused(ConflictError, "AlreadyApproved", "office", "Directory.approve", number)
    three.refused(NotFoundError, "UnknownProposal", "second", "Directory.approve", 99)


def test_enough_governors_in_force_must_agree(three):
    number = propose(three)
    three.clock.turn(DAY)
    three.refused(RightsError, "TooFewApprovals", "office", "Directory.activate", number)
    three.do("second", "Directory.approve", number)
    three.do("office", "Members.suspend", three.address("second"))
    three.refused(RightsError, "TooFewApprovals", "office", "Directory.activate", number)
    three.do("third", "Directory.approve", number)
    three.do("office", "Directory.activate", number)
    assert parameter(three, "market.fee") == 100


def test_a_proposal_is_withdrawn_by_its_maker_alone(three):
    number = propose(three, by="second")
    three.refused(NotFoundError, "UnknownProposal", "third", "Directory.withdraw", number)
    three.do("second", "Directory.withdraw", number)
    assert three.ledger.record("Directory", "proposalRecord", number)["closed"]
    three.clock.turn(DAY)
    for call in ("approve", "activate", "withdraw"):
        three.refused(NotFoundError, "UnknownProposal", "second", f"Directory.{call}", number)


def test_a_proposal_can_be_looked_at(world):
    number = propose(world)
    assert world.ledger.record("Directory", "proposalRecord", number) == {
        "name": word("market.fee"), "value": 100, "active_from": world.clock.seconds + DAY, "closed": False,
        "approvals": [world.address("office")],
    }  # fmt: skip
    with pytest.raises(NotFoundError):
        world.ledger.record("Directory", "proposalRecord", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", 1),
        ("governance.threshold", 0),
        ("governance.threshold", 33),
        ("governance.delay", DAY - 1),
        ("governance.delay", 365 * DAY + 1),
        ("market.fee", 1001),
    ],
)
def test_values_out_of_range_are_refused(world, name, value):
    world.refused(InputError, "InvalidValue", "office", "Directory.propose", word(name), value)


def test_names_resolve_to_contracts_only(world):
    for name in ("governance.threshold.of.nothing", "market.currency"):
        with pytest.raises(NotFoundError):
            world.ledger.view("Directory", "resolve", word(name))
    with pytest.raises(NotFoundError):
        world.ledger.view("Directory", "resolve", word("Nothing"))


def test_what_a_name_stood_for_is_on_record(world):
    world.govern("market.fee", 100)
    world.govern("market.fee", 200)
    history = [e.args for e in world.ledger.events("Activated") if e.args["name"] == word("market.fee")]
    assert [(event["value"], event["version"]) for event in history] == [(0, 1), (100, 2), (200, 3)]
    assert world.ledger.view("Directory", "versionOf", word("market.fee")) == 3
