"""Every refusal of our contracts says what it means."""

from __future__ import annotations

from string import Formatter

import pytest
from eth_abi.abi import encode

from countermark.adapters.contracts import CONTRACTS, artefact, refusal, snake_case
from countermark.adapters.contracts.refusals import MEANINGS, ROLE_NAMES
from countermark.adapters.records import Role
from countermark.core.rlp import keccak256
from countermark.errors import LedgerError, OnHold, RightsError

# OpenZeppelin's own, which no call of ours can bring about.
FOREIGN = ("ERC721", "ERC20", "Address", "FailedCall", "InsufficientBalance", "ReentrancyGuard", "SafeERC20")
ERRORS = {
    (entry["name"], tuple((item["type"], item["name"]) for item in entry["inputs"]))
    for name in CONTRACTS
    for entry in artefact(name)["abi"]
    if entry["type"] == "error"
}
OURS = sorted(entry for entry in ERRORS if not entry[0].startswith(FOREIGN))
SAMPLES = {"address": "0x" + "11" * 20, "bytes32": b"\x02" + bytes(30) + b"\x05", "bool": True}


def revert_data(name, inputs):
    types = [kind for kind, _ in inputs]
    values = [SAMPLES.get(kind, 7) for kind in types]
    return keccak256(f"{name}({','.join(types)})".encode())[:4] + encode(types, values)


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry[0])
def test_every_refusal_has_a_meaning_that_can_be_shown(entry):
    name, inputs = entry
    error = refusal(revert_data(name, inputs))
    assert type(error) is MEANINGS[name].kind
    assert error.params["error"] == name
    assert str(error)
    assert error.hint is not None


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry[0])
def test_a_meaning_uses_the_arguments_that_the_error_has(entry):
    name, inputs = entry
    known = {snake_case(argument).removesuffix("_id") for _, argument in inputs}
    texts = (MEANINGS[name].template, MEANINGS[name].hint)
    assert {field for text in texts for _, field, _, _ in Formatter().parse(text) if field} <= known


def test_no_meaning_is_stale_and_no_name_has_two_shapes():
    assert set(MEANINGS) <= {name for name, _ in ERRORS}
    assert len({name for name, _ in OURS}) == len(OURS)


def test_subjects_roles_and_names_are_shown_for_people():
    held = refusal(revert_data("OnHold", (("bytes32", ""), ("bytes32", ""), ("uint64", ""))))
    assert isinstance(held, OnHold)
    assert str(held) == "title 5 is held by the regulator until 1970-01-01T00:00:07Z"
    missing = refusal(revert_data("MissingRole", (("address", ""), ("uint256", ""))))
    assert isinstance(missing, RightsError)
    assert "governor and registrar and licensor" in str(missing)
    assert tuple(role.name.lower() for role in Role) == ROLE_NAMES


@pytest.mark.parametrize("data", [b"", b"\x01\x02\x03\x04", keccak256(b"OnHold(bytes32,bytes32,uint64)")[:4] + b"\x01"])
def test_unknown_and_malformed_reasons_are_ledger_errors(data):
    assert type(refusal(data)) is LedgerError
