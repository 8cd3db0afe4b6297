"""Cases as the ledger numbers their kinds and remedies, and what an expert signs about one (EIP-712).

The digest that is signed here is the one that ``contracts/src/Statements.sol`` checks: bound to one statement, one
contract and one chain, so that it proves nothing anywhere else.

Law:
    ``statement_digest`` agrees with any EIP-712 implementation that is given ``typed_data``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from countermark.core.rlp import keccak256
from countermark.errors import InputError

_NAME, _VERSION = "Countermark Disputes", "1"
_TYPES = {
    "EIP712Domain": "string name,string version,uint256 chainId,address verifyingContract",
    "Statement": "uint256 caseId,bytes32 schema,bytes32 digest,uint64 expiresAt",
}


class CaseKind(IntEnum):
    """What a case claims; numbers as in ``contracts/src/Disputes.sol``."""

    OWNERSHIP = 1
    BREACH = 2
    LEAK = 3
    DELIVERY = 4
    QUALITY = 5
    PAYMENT = 6
    OTHER = 7


class CaseState(IntEnum):
    """How far a case is; numbers as in ``contracts/src/Disputes.sol``."""

    OPEN = 1
    RULED = 2
    APPEALED = 3
    FINAL = 4
    EXECUTED = 5
    WITHDRAWN = 6
    LAPSED = 7


class Remedy(IntFlag):
    """What a ruling does; bits as in ``contracts/src/Disputes.sol``."""

    TAG = 1 << 0
    UNTAG = 1 << 1
    REVOKE = 1 << 2
    FORFEIT = 1 << 3
    SLASH = 1 << 4


@dataclass(frozen=True, slots=True)
class Statement:
    """What an expert states about a case.

    Attributes:
        case: number of the case, from 1.
        schema: 32 bytes that name the form of what was digested.
        digest: 32 bytes, the salted digest of the report.
        expires_at: Unix time in seconds at which the statement no longer counts.

    Raises:
        InputError: a digest of another length, or a number out of its range.
    """

    case: int
    schema: bytes
    digest: bytes
    expires_at: int

    def __post_init__(self) -> None:
        if len(self.schema) != 32 or len(self.digest) != 32:
            raise InputError("a statement's schema and digest have 32 bytes each")
        if not 0 <= self.case < 2**256 or not 0 <= self.expires_at < 2**64:
            raise InputError("a statement's case or end is out of range")


def statement_digest(statement: Statement, *, chain_id: int, contract: str) -> bytes:
    """Return the 32 bytes that an expert signs (EIP-712).

    Args:
        statement: what is stated.
        chain_id: of the ledger (EIP-155).
        contract: address of the contract Disputes, ``0x`` and 40 hex digits.

    Raises:
        InputError: not such an address.
    """
    text = [keccak256(value.encode()) for value in (_NAME, _VERSION)]
    domain = _hash("EIP712Domain", *text, _word(chain_id), bytes(12) + _address(contract))
    content = _hash("Statement", _word(statement.case), statement.schema, statement.digest, _word(statement.expires_at))
    return keccak256(b"\x19\x01" + domain + content)


def typed_data(statement: Statement, *, chain_id: int, contract: str) -> dict[str, Any]:
    """Return the statement as wallets and signing devices are given it: the JSON of ``eth_signTypedData_v4``.

    Arguments and errors are those of ``statement_digest``; large numbers are decimal text.
    """
    return {
        "types": {name: [_field(field) for field in fields.split(",")] for name, fields in _TYPES.items()},
        "primaryType": "Statement",
        "domain": {
            "name": _NAME,
            "version": _VERSION,
            "chainId": chain_id,
            "verifyingContract": f"0x{_address(contract).hex()}",
        },
        "message": {
            "caseId": str(statement.case),
            "schema": f"0x{statement.schema.hex()}",
            "digest": f"0x{statement.digest.hex()}",
            "expiresAt": str(statement.expires_at),
        },
    }


def _hash(name: str, *words: bytes) -> bytes:
    return keccak256(keccak256(f"{name}({_TYPES[name]})".encode()) + b"".join(words))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _field(text: str) -> dict[str, str]:
    kind, name = text.split(" ")
    return {"name": name, "type": kind}


def _address(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise InputError("not an Ethereum address: {text}", text=text[:80]) from error
    if len(raw) != 20:
        raise InputError("not an Ethereum address: {text}", text=text[:80])
    return raw
