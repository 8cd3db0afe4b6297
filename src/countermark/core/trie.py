"""Receipt proofs: that a transaction's receipt stands in a block, checked with nothing but hashing.

A block header commits to its receipts by the root of a Merkle-Patricia trie (yellow paper, appendix D) whose keys are
``rlp(transaction index)``. A proof of kind ``eth-receipt`` holds the header, the receipt and the trie nodes between.
It proves what the block says; whether the block is the consortium's is for whoever vouches for its hash.

Laws:
    every receipt of a block has a proof that verifies; one with any byte of header, receipt or node changed does not,
    or verifies to another block hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from countermark.core.events import decode_event
from countermark.core.rlp import Item, decode, decode_bytes, decode_int, decode_list, encode, encode_int, keccak256
from countermark.errors import InputError, ProofInvalid

PROOF_KIND = "eth-receipt"
_MAX_NODES = 64


class Log(NamedTuple):
    """One log record: 20-byte address, up to four 32-byte topics, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a block header that a verifier needs; times in Unix seconds."""

    hash: bytes
    number: int
    timestamp: int
    parent_hash: bytes
    receipts_root: bytes


@dataclass(frozen=True, slots=True)
class RawReceipt:
    """A decoded receipt: status 1 for success, cumulative gas of the block so far, logs in order."""

    status: int
    cumulative_gas: int
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt that stands in the block of ``block_hash``; made only by ``verify_receipt``."""

    block_hash: bytes
    block_number: int
    timestamp: int
    status: int
    logs: tuple[Log, ...]

    def event(self, name: str, contract: bytes) -> dict[str, Any]:
        """Return the arguments of the one event ``name`` that the contract at the 20-byte address emitted.

        Raises:
            ProofInvalid: the receipt holds none, or more than one.
        """
        found = [args for log in self.logs if log.address == contract and (args := decode_event(name, log)) is not None]
        if len(found) != 1:
            raise ProofInvalid("the receipt holds {count} events {name} of that contract", count=len(found), name=name)
        return found[0]


def verify_receipt(proof: Mapping[str, Any]) -> VerifiedReceipt:
    """Check a proof of kind ``eth-receipt`` and return the receipt.

    The fields ``chain_id`` and ``genesis_hash`` are claims that no header repeats: compare them with the trust file.

    Args:
        proof: JSON object with ``kind``, ``block_number``, ``header`` (hex of the RLP), ``transaction_index``,
            ``receipt`` (hex of the EIP-2718 encoding) and ``proof`` (hex trie nodes, root first).

    Raises:
        InputError: not such an object, or malformed encodings.
        ProofInvalid: the parts do not fit together.
    """
    if proof.get("kind") != PROOF_KIND:
        raise InputError("not a proof of kind {kind}", kind=PROOF_KIND)
    header = read_header(_hex(proof, "header"))
    if header.number != _count(proof, "block_number"):
        raise ProofInvalid("the header is of block {number}", number=header.number)
    key = encode(encode_int(_count(proof, "transaction_index")))
    encoded = _hex(proof, "receipt")
    if verify_path(header.receipts_root, key, _nodes(proof)) != encoded:
        raise ProofInvalid("another receipt stands at that place of the block")
    receipt = read_receipt(encoded)
    return VerifiedReceipt(header.hash, header.number, header.timestamp, receipt.status, receipt.logs)


def read_header(encoded: bytes) -> Header:
    """Decode a block header of any fork from London on; its hash is the Keccak-256 of the bytes.

    Raises:
        InputError: malformed.
    """
    fields = decode_list(decode(encoded), least=16, most=32)
    return Header(
        hash=keccak256(encoded),
        number=decode_int(fields[8]),
        timestamp=decode_int(fields[11]),
        parent_hash=decode_bytes(fields[0], 32),
        receipts_root=decode_bytes(fields[5], 32),
    )


def read_receipt(encoded: bytes) -> RawReceipt:
    """Decode a receipt, legacy or typed (EIP-2718 with EIP-658 status).

    Raises:
        InputError: malformed.
    """
    body = encoded[1:] if encoded[:1] and encoded[0] < 0x80 else encoded
    status, gas, bloom, logs = decode_list(decode(body), least=4, most=4)
    decode_bytes(bloom, 256)
    success = decode_int(status)
    if success > 1:
        raise InputError("a receipt's status is 0 or 1")
    return RawReceipt(success, decode_int(gas), tuple(map(_read_log, decode_list(logs, least=0, most=100_000))))


def verify_path(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes:
    """Return the value at ``key`` in the Merkle-Patricia trie of ``root``, proven by its nodes from the root down.

    Raises:
        InputError: a node is malformed.
        ProofInvalid: a node does not hash to its reference, is missing or superfluous, or the key is not in the trie.
    """
    path, rest = _nibbles(key), list(nodes)
    reference: Item = root
    while True:
        node = _resolve(reference, rest)
        if len(node) == 17:
            if not path:
                reference = node[16]
                break
            reference, path = node[path[0]], path[1:]
            continue
        is_leaf, part = _unpack(decode_bytes(node[0]))
        if path[: len(part)] != part:
            raise ProofInvalid("the trie holds another key")
        reference, path = node[1], path[len(part) :]
        if is_leaf:
            break
    if path or rest:
        raise ProofInvalid("the path through the trie does not end with its proof")
    value = decode_bytes(reference)
    if not value:
        raise ProofInvalid("the trie has no value at that key")
    return value


def _resolve(reference: Item, rest: list[bytes]) -> list[Item]:
    """Return the node behind a reference: embedded if under 32 bytes, else the next one of the proof."""
    if isinstance(reference, list):
        return _shaped(reference)
    if not rest:
        raise ProofInvalid("the proof ends too early")
    encoded = rest.pop(0)
    if len(reference) != 32 or keccak256(encoded) != reference:
        raise ProofInvalid("a trie node does not hash to its reference")
    return _shaped(decode(encoded))


def _shaped(node: Item) -> list[Item]:
    items = decode_list(node, least=2, most=17)
    if len(items) not in (2, 17):
        raise InputError("a trie node has 2 or 17 items")
    return items


def _unpack(packed: bytes) -> tuple[bool, bytes]:
    """Read the hex-prefix encoding (yellow paper, appendix C): whether a leaf, and the nibbles."""
    nibbles = _nibbles(packed)
    if not nibbles or nibbles[0] > 3 or (nibbles[0] % 2 == 0 and nibbles[1] != 0):
        raise InputError("malformed path in a trie node")
    return nibbles[0] >= 2, nibbles[1:] if nibbles[0] % 2 else nibbles[2:]


def _nibbles(data: bytes) -> bytes:
    return bytes(nibble for byte in data for nibble in (byte >> 4, byte & 15))


def _read_log(item: Item) -> Log:
    address, topics, data = decode_list(item, least=3, most=3)
    words = tuple(decode_bytes(topic, 32) for topic in decode_list(topics, least=0, most=4))
    return Log(decode_bytes(address, 20), words, decode_bytes(data))


def _hex(proof: Mapping[str, Any], name: str) -> bytes:
    return read_hex(proof.get(name), name)


def read_hex(text: object, name: str) -> bytes:
    """Read ``0x`` and lower-case hex digits.

    Raises:
        InputError: anything else; ``name`` says which field.
    """
    if isinstance(text, str) and text.startswith("0x") and len(text) <= 2**23:
        try:
            value = bytes.fromhex(text[2:])
        except ValueError:
            value = None
        if value is not None and value.hex() == text[2:]:
            return value
    raise InputError("{name} is not 0x-hex", name=name)


def _count(proof: Mapping[str, Any], name: str) -> int:
    value = proof.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InputError("{name} is not a count", name=name)
    return value


def _nodes(proof: Mapping[str, Any]) -> list[bytes]:
    nodes = proof.get("proof")
    if not isinstance(nodes, list) or len(nodes) > _MAX_NODES:
        raise InputError("the proof is not a list of at most {limit} nodes", limit=_MAX_NODES)
    return [read_hex(node, "proof") for node in nodes]
