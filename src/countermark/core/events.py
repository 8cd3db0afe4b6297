"""The ledger's events that evidence rests on, and how to read them from a log record: Solidity ABI, static types only.

The table is what the offline verifier knows of the contracts; a test holds it against their ABI. Its names are unique.

Law:
    ``decode_event`` agrees with any ABI decoder on every log that the contracts emit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from countermark.core.rlp import keccak256
from countermark.errors import InputError

EVENTS = {
    "Admitted": "address indexed account, bytes32 organizationDigest, bytes32 signingKeyDigest, uint256 roles, "
    "uint64 validUntil",
    "Suspended": "address indexed account",
    "KeyRotated": "address indexed account, bytes32 signingKeyDigest, address indexed by",
    "Identified": "address indexed account, bytes32 proofDigest, uint64 validUntil, address indexed registrar",
    "TitleRegistered": "uint256 indexed titleId, address indexed holder, bytes32 indexed weightsRoot, "
    "bytes32 manifestDigest, bytes32 keyCommitment",
    "KeyCommitted": "uint256 indexed titleId, uint64 epoch, bytes32 keyCommitment",
    "Derived": "uint256 indexed titleId, uint256 indexed parentId, uint16 bps",
    "TitleAssigned": "uint256 indexed titleId, address indexed from, address indexed to, bytes32 deedDigest",
    "StatusChanged": "uint256 indexed titleId, bool tagged, uint256 indexed caseId",
    "Offered": "uint256 indexed offerId, uint256 indexed titleId, bytes32 termsDigest, uint16 feeBps, "
    "Conditions conditions",
    "OfferWithdrawn": "uint256 indexed offerId",
    "Granted": "uint256 indexed grantId, uint256 indexed offerId, address indexed licensee, uint256 titleId, "
    "bytes32 termsDigest, bytes32 acceptanceDigest, bytes32 markCommitment, uint64 startsAt, uint64 expiresAt, "
    "uint256 issuedTotal",
    "Revoked": "uint256 indexed grantId, bytes32 reasonDigest, uint64 effectiveAt",
    "NoticeWithdrawn": "uint256 indexed grantId",
    "Resold": "uint256 indexed grantId, uint256 indexed newGrantId, address from, address to",
    "Renewed": "uint256 indexed grantId, uint64 expiresAt",
    "Struck": "uint256 indexed grantId, uint256 indexed caseId",
    "Stayed": "uint256 indexed grantId, uint256 indexed caseId",
    "BatchCommitted": "uint256 indexed batchId, bytes32 root, uint32 count, uint256 issuedTotal",
    "Anchored": "bytes32 indexed logId, uint64 size, bytes32 root, bytes32 checkpointDigest",
    "HandedOver": "bytes32 indexed logId, address indexed anchorer",
}

#: Structs of the table's events, whose fields stand in their place: ``contracts/src/Ports.sol``.
STRUCTS = {
    "Conditions": "uint64 price, uint64 bond, uint64 duration, uint64 expiresAt, uint32 seats, uint32 notice, "
    "uint16 scope, uint16 revenueBps, uint16 resaleBps, bool revocable, bool resale, bool renewable, bool onMarket, "
    "bytes32 territoryDigest",
}


class Field(NamedTuple):
    """One argument of an event, or one field of a struct; ``type`` is the ABI's, or names the struct."""

    type: str
    indexed: bool
    name: str


class LogRecord(Protocol):
    """What is decoded: up to four 32-byte topics, and data."""

    @property
    def topics(self) -> tuple[bytes, ...]: ...  # noqa: D102
    @property
    def data(self) -> bytes: ...  # noqa: D102


def topic_of(name: str) -> bytes:
    """Return the 32-byte topic that names an event: Keccak-256 of its signature."""
    return keccak256(f"{name}({','.join(_signature(field) for field in fields_of(name))})".encode())


def name_of(topic: bytes) -> str | None:
    """Return the event that a topic names, if the table has it."""
    return _by_topic().get(topic)


def decode_event(name: str, log: LogRecord) -> dict[str, Any] | None:
    """Return the arguments by name, or None if the record is another event.

    Integers come as ``int``, ``bytes32`` as 32 bytes, addresses as EIP-55 checksummed text, structs as dicts.

    Raises:
        InputError: the record has the event's topic, but not its shape, or a value is out of its type's range.
    """
    if not log.topics or log.topics[0] != _topic(name):
        return None
    fields = fields_of(name)
    words = {True: list(log.topics[1:]), False: [log.data[at : at + 32] for at in range(0, len(log.data), 32)]}
    if any(len(words[kind]) != sum(_width(field) for field in fields if field.indexed == kind) for kind in words):
        raise InputError("a record of event {name} has the wrong number of words", name=name)
    return {field.name: _take(field, words[field.indexed]) for field in fields}


def checksum_address(address: bytes) -> str:
    """Write a 20-byte address as EIP-55 text: ``0x`` and mixed-case hex digits."""
    digits = address.hex()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if mark >= "8" else d for d, mark in zip(digits, marks, strict=False))


@lru_cache
def fields_of(name: str) -> tuple[Field, ...]:
    """Return the arguments of an event of the table, in order.

    Raises:
        InputError: not in the table.
    """
    if name not in EVENTS:
        raise InputError("unknown event: {name}", name=name)
    return _read_fields(EVENTS[name])


@lru_cache
def _read_fields(text: str) -> tuple[Field, ...]:
    parts = (part.split() for part in text.split(", "))
    return tuple(Field(part[0], "indexed" in part, part[-1]) for part in parts)


def _parts(field: Field) -> tuple[Field, ...]:
    return _read_fields(STRUCTS[field.type]) if field.type in STRUCTS else ()


def _signature(field: Field) -> str:
    parts = _parts(field)
    return f"({','.join(map(_signature, parts))})" if parts else field.type


def _width(field: Field) -> int:
    return sum(map(_width, _parts(field))) or 1


def _take(field: Field, words: list[bytes]) -> Any:
    """Take a field's words off the front and decode them."""
    parts = _parts(field)
    if parts:
        return {part.name: _take(part, words) for part in parts}
    return _decode_word(field.type, words.pop(0))


@lru_cache
def _topic(name: str) -> bytes:
    return topic_of(name)


@lru_cache
def _by_topic() -> dict[bytes, str]:
    return {_topic(name): name for name in EVENTS}


def _decode_word(kind: str, word: bytes) -> int | bool | str | bytes:
    if len(word) != 32:
        raise InputError("an ABI word has 32 bytes")
    if kind == "bytes32":
        return word
    value = int.from_bytes(word, "big")
    bits, convert = _TYPES[kind]
    if value >> bits:
        raise InputError("a value is out of range for {kind}", kind=kind)
    return convert(value)


_TYPES: dict[str, tuple[int, Callable[[int], int | bool | str]]] = {
    "uint256": (256, int),
    "uint64": (64, int),
    "uint32": (32, int),
    "uint16": (16, int),
    "bool": (1, bool),
    "address": (160, lambda value: checksum_address(value.to_bytes(20, "big"))),
}
