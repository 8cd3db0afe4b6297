"""Recursive length prefix (Ethereum yellow paper, appendix B) and Keccak-256: what the ledger's own bytes are made of.

The decoder is strict: one encoding per value, no trailing bytes, bounded size and depth.

Laws:
    ``decode(encode(v)) == v`` for every nested list of byte strings;
    ``encode(decode(b)) == b`` for every ``b`` that ``decode`` accepts.
"""

from __future__ import annotations

from typing import TypeAlias

from Crypto.Hash import keccak

from countermark.errors import InputError

Item: TypeAlias = "bytes | list[Item]"

_MAX_BYTES = 4 * 2**20
_MAX_DEPTH = 16


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest (the padding of the SHA-3 submission, not of FIPS 202)."""
    return keccak.new(data=data, digest_bits=256).digest()


def encode(item: Item) -> bytes:
    """Return the encoding of a byte string or of a nested list of them."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _prefix(len(item), 0x80) + item
    payload = b"".join(map(encode, item))
    return _prefix(len(payload), 0xC0) + payload


def decode(data: bytes) -> Item:
    """Read exactly one item.

    Raises:
        InputError: not the one canonical encoding of an item, over 4 MiB, or nested more than 16 deep.
    """
    if len(data) > _MAX_BYTES:
        raise InputError("RLP data of more than {limit} bytes", limit=_MAX_BYTES)
    item, end = _read(data, 0, len(data), 0)
    if end != len(data):
        raise InputError("RLP data with bytes left over")
    return item


def encode_int(value: int) -> bytes:
    """Return a non-negative integer as an RLP byte string's content: big endian, no leading zero, empty for 0."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_int(item: Item) -> int:
    """Read what ``encode_int`` wrote, up to 256 bits.

    Raises:
        InputError: a list, a leading zero, or more than 32 bytes.
    """
    if not isinstance(item, bytes) or len(item) > 32 or item[:1] == b"\0":
        raise InputError("not an RLP integer")
    return int.from_bytes(item, "big")


def decode_list(item: Item, *, least: int, most: int) -> list[Item]:
    """Return the item if it is a list of ``least`` to ``most`` items.

    Raises:
        InputError: it is not.
    """
    if not isinstance(item, list) or not least <= len(item) <= most:
        raise InputError("expected an RLP list of {least} to {most} items", least=least, most=most)
    return item


def decode_bytes(item: Item, size: int | None = None) -> bytes:
    """Return the item if it is a byte string, of ``size`` bytes where that is given.

    Raises:
        InputError: it is not.
    """
    if not isinstance(item, bytes) or (size is not None and len(item) != size):
        raise InputError("expected an RLP byte string of {size} bytes", size="any number of" if size is None else size)
    return item


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = encode_int(length)
    return bytes([offset + 55 + len(size)]) + size


def _read(data: bytes, at: int, end: int, depth: int) -> tuple[Item, int]:
    """Read the item that starts at ``at``; it must finish before or at ``end``."""
    if depth > _MAX_DEPTH:
        raise InputError("RLP data is nested too deeply")
    if at >= end:
        raise InputError("RLP data ends too early")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    start, stop = _span(data, at, end, 0x80 if first < 0xC0 else 0xC0)
    if first >= 0xC0:
        return _read_list(data, start, stop, depth), stop
    if stop - start == 1 and data[start] < 0x80:
        raise InputError("RLP data is not in its shortest form")
    return data[start:stop], stop


def _read_list(data: bytes, at: int, stop: int, depth: int) -> list[Item]:
    items: list[Item] = []
    while at < stop:
        item, at = _read(data, at, stop, depth + 1)
        items.append(item)
    return items


def _span(data: bytes, at: int, end: int, offset: int) -> tuple[int, int]:
    """Return where the content of the item at ``at`` starts and stops."""
    length, start = data[at] - offset, at + 1
    if length > 55:
        size = length - 55
        raw = data[start : start + size]
        length, start = int.from_bytes(raw, "big"), start + size
        if raw[:1] == b"\0" or length < 56:
            raise InputError("RLP data is not in its shortest form")
    if start + length > end:
        raise InputError("RLP data ends too early")
    return start, start + length
