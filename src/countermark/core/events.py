"""The ledger's events and how to read them from a log record: Solidity ABI, static types only.

The table is what the offline verifier knows of the contracts; a test holds it against their ABI.

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
    "TitleRegistered": "uint256 indexed titleId, address indexed holder, bytes32 indexed weightsRoot, "
    "bytes32 manifestDigest, bytes32 keyCommitment",
    "KeyCommitted": "uint256 indexed titleId, uint64 epoch, bytes32 keyCommitment",
    "Offered": "uint256 indexed offerId, uint256 indexed titleId, bytes32 termsDigest, bool revocable, "
    "bool transferable, uint32 seats",
    "OfferWithdrawn": "uint256 indexed offerId",
    "Granted": "uint256 indexed grantId, uint256 indexed offerId, address indexed licensee, uint256 titleId, "
    "bytes32 termsDigest, bytes32 acceptanceDigest, bytes32 markCommitment, uint64 startsAt, uint64 expiresAt, "
    "uint256 issuedTotal",
    "Revoked": "uint256 indexed grantId, bytes32 reasonDigest",
    "BatchCommitted": "uint256 indexed batchId, bytes32 root, uint32 count, uint256 issuedTotal",
    "Anchored": "bytes32 indexed logId, uint64 size, bytes32 root, bytes32 checkpointDigest",
    "HandedOver": "bytes32 indexed logId, address indexed anchorer",
    "Transfer": "address indexed from, address indexed to, uint256 indexed tokenId",
    "Approval": "address indexed owner, address indexed approved, uint256 indexed tokenId",
    "ApprovalForAll": "address indexed owner, address indexed operator, bool approved",
}


class Field(NamedTuple):
    """One argument of an event."""

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
    return keccak256(f"{name}({','.join(field.type for field in fields_of(name))})".encode())


def name_of(topic: bytes) -> str | None:
    """Return the event that a topic names, if the table has it."""
    return _by_topic().get(topic)


def decode_event(name: str, log: LogRecord) -> dict[str, Any] | None:
    """Return the arguments by name, or None if the record is another event.

    Integers come as ``int``, ``bytes32`` as 32 bytes, addresses as EIP-55 checksummed text.

    Raises:
        InputError: the record has the event's topic, but not its shape, or a value is out of its type's range.
    """
    if not log.topics or log.topics[0] != _topic(name):
        return None
    fields = fields_of(name)
    words = {True: list(log.topics[1:]), False: [log.data[at : at + 32] for at in range(0, len(log.data), 32)]}
    if any(len(words[kind]) != sum(field.indexed == kind for field in fields) for kind in (True, False)):
        raise InputError("a record of event {name} has the wrong number of words", name=name)
    return {field.name: _decode_word(field.type, words[field.indexed].pop(0)) for field in fields}


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
    parts = (part.split() for part in EVENTS[name].split(", "))
    return tuple(Field(part[0], "indexed" in part, part[-1]) for part in parts)


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
    "bool": (1, bool),
    "address": (160, lambda value: checksum_address(value.to_bytes(20, "big"))),
}
