"""Canonical JSON (RFC 8785) and domain-separated digests.

Laws:
    ``parse(canonical_json(v)) == v`` for every JSON value with integers below 2**53;
    ``canonical_json`` does not depend on the insertion order of keys;
    ``digest(a, x) == digest(b, y)`` only if ``a == b`` and ``x == y`` (up to SHA-256 collisions).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import rfc8785

from countermark.errors import InputError

_MAX_JSON_BYTES = 16 * 2**20
_MAX_DEPTH = 64
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Raises:
        InputError: a value that JSON cannot carry exactly (integers of 2**53 and more, NaN, bytes).
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise InputError("not representable as canonical JSON: {reason}", reason=error) from error


def parse_json(data: bytes, *, limit: int = _MAX_JSON_BYTES) -> Any:
    """Parse a stranger's JSON within limits; duplicate keys and non-finite numbers are refused.

    Raises:
        InputError: not JSON, over ``limit`` bytes, nested deeper than 64, a key given twice, NaN or infinity.
    """
    if len(data) > limit:
        raise InputError("JSON of {size} bytes is over the limit of {limit}", size=len(data), limit=limit)
    _check_depth(data)
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError("not valid JSON: {reason}", reason=error) from error


def digest(domain: str, data: bytes) -> bytes:
    """Return SHA-256 over ``"countermark/" domain NUL data``: 32 bytes.

    Args:
        domain: ASCII name with a version, for example ``"manifest/1"``; holds no NUL.
        data: any bytes.
    """
    if "\0" in domain or not domain.isascii():
        raise InputError("a digest domain is ASCII without NUL")
    return hashlib.sha256(b"countermark/" + domain.encode() + b"\0" + data).digest()


def document_digest(domain: str, value: Any) -> bytes:
    """Return the domain-separated digest of a value's canonical JSON: 32 bytes."""
    return digest(domain, canonical_json(value))


def show_digest(value: bytes) -> str:
    """Write a 32-byte digest as ``sha256:<64 hex digits>``."""
    return f"sha256:{value.hex()}"


def read_digest(text: object) -> bytes:
    """Read what ``show_digest`` wrote.

    Raises:
        InputError: anything else.
    """
    if isinstance(text, str) and text.startswith("sha256:") and len(text) == 71:
        try:
            return bytes.fromhex(text[7:])
        except ValueError:
            pass
    raise InputError("not a digest: {text}", text=str(text)[:80])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is given twice")
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_depth(data: bytes) -> None:
    """Refuse deep nesting before parsing.

    The C parser recurses, and where a library has raised the recursion limit it overruns the stack and takes the
    process with it. Strings are cut out, then every pass over the brackets that are left removes the innermost pairs.
    """
    brackets = _STRING.sub(b"", data).translate(None, _NO_BRACKETS)
    for _ in range(_MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise InputError("JSON is nested deeper than {limit}, or its brackets do not match", limit=_MAX_DEPTH)
