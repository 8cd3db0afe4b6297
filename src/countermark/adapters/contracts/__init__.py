"""The compiled contracts as shipped, their events and their refusals.

``contracts/compile.mjs`` writes the JSON files beside this module from the Solidity sources; users need no compiler.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from eth_abi.abi import decode as decode_abi
from eth_abi.exceptions import DecodingError

from countermark.adapters.contracts.refusals import explain
from countermark.core.events import checksum_address
from countermark.core.rlp import keccak256
from countermark.errors import CountermarkError, LedgerError

#: In the order of their deployment: each one's constructor takes the address of the one named. A new contract is named
#: here and in ``contracts/compile.mjs``; what its refusals mean stands in a block of its own in ``refusals``.
CONTRACTS = {
    "Members": None,
    "Directory": "Members",
    "Anchors": "Members",
    "ModelTitles": "Directory",
    "Grants": "Directory",
    "SettlementToken": "Directory",
    "Revenue": "Directory",
    "Market": "Directory",
    "FileSales": "Directory",
    "Disputes": "Directory",
}

#: Those that other contracts find through the Directory, by these names.
NAMED = tuple(name for name, needed in CONTRACTS.items() if needed == "Directory")

Entry = dict[str, Any]


@lru_cache
def artefact(name: str) -> Entry:
    """Return a contract's artefact: ``abi``, ``bytecode``, ``deployedBytecode``, ``compiler``, ``sources``."""
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    value: Entry = json.loads(text)
    return value


def refusal(data: bytes) -> CountermarkError:
    """Turn revert data into the error that it means; ``params["error"]`` is the contract's own name for it."""
    known = _errors().get(data[:4])
    if known is None:
        return LedgerError("the contract refused without a reason that is known: {data}", data=data.hex(), error="")
    try:
        values = _decode(known["inputs"], data[4:])
    except DecodingError:
        return LedgerError("the contract refused: {error}", error=known["name"])
    return explain(known["name"], {snake_case(name).removesuffix("_id"): value for name, value in values.items()})


def read_event(contract: str, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of a log of a contract, or None if it is no event of its ABI.

    Integers come as ``int``, bytes as bytes, addresses as EIP-55 checksummed text, structs as dicts, all under their
    ABI names.

    Raises:
        LedgerError: it has an event's topic, but not its shape.
    """
    entry = _events(contract).get(bytes(topics[0])) if topics else None
    if entry is None:
        return None
    indexed, plain = ([item for item in entry["inputs"] if item["indexed"] is kind] for kind in (True, False))
    try:
        found = _decode(plain, data) | _decode(indexed, b"".join(topics[1:]))
    except DecodingError as error:
        raise LedgerError("a log of event {name} is malformed", name=entry["name"]) from error
    return entry["name"], {item["name"]: found[item["name"]] for item in entry["inputs"]}


def read_outputs(contract: str, function: str, answer: Any) -> Any:
    """Return what a view function answered, with names in snake_case.

    A struct, or several outputs together, come as a dict, an array as a list, one output as its value.
    """
    (entry,) = (item for item in artefact(contract)["abi"] if item["type"] == "function" and item["name"] == function)
    outputs = entry["outputs"]
    whole = outputs[0] if len(outputs) == 1 else {"type": "tuple", "components": outputs}
    return _shape(whole, answer, snake_case)


def snake_case(name: str) -> str:
    """Return an ABI name as Python writes it: ``expiresAt`` is ``expires_at``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _decode(inputs: list[Entry], data: bytes) -> dict[str, Any]:
    values = decode_abi([_type(item) for item in inputs], data)
    shaped: dict[str, Any] = _shape({"type": "tuple", "components": inputs}, values, str)
    return shaped


def _type(item: Entry) -> str:
    kind: str = item["type"]
    if kind.startswith("tuple"):
        return f"({','.join(map(_type, item['components']))}){kind.removeprefix('tuple')}"
    return kind


def _shape(item: Entry, value: Any, rename: Callable[[str], str]) -> Any:
    """Give names to a decoded value's fields, and addresses their checksum."""
    kind: str = item["type"]
    if kind.endswith("]"):
        inner = {**item, "type": kind[: kind.rindex("[")]}
        return [_shape(inner, part, rename) for part in value]
    if kind == "tuple":
        parts = zip(item["components"], value, strict=True)
        return {rename(part["name"]): _shape(part, inner, rename) for part, inner in parts}
    return checksum_address(bytes.fromhex(value[2:])) if kind == "address" else value


@lru_cache
def _errors() -> dict[bytes, Entry]:
    """Return every custom error by its selector."""
    entries = [entry for name in CONTRACTS for entry in artefact(name)["abi"] if entry["type"] == "error"]
    return {_digest(entry)[:4]: entry for entry in entries}


@lru_cache
def _events(contract: str) -> dict[bytes, Entry]:
    """Return a contract's events by their topic."""
    return {_digest(entry): entry for entry in artefact(contract)["abi"] if entry["type"] == "event"}


def _digest(entry: Entry) -> bytes:
    return keccak256(f"{entry['name']}({','.join(map(_type, entry['inputs']))})".encode())
