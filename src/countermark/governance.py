"""Parameters of the market as people write them, and as the Directory's words of 32 bytes.

A name with a dot is a parameter; any other one is a contract, and its word the contract's address.

Law:
    ``read_value(name, show_value(name, word)) == word`` for every name and every word below 2**256.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from countermark.core.events import checksum_address
from countermark.errors import InputError

#: Of the document by which another office joins a deployment.
DEPLOYMENT_FORMAT = "countermark.deployment/1"
_WORD_BYTES = 32
#: From here on a number is no amount, time or count, and a word is shown as it is.
_MOST = 2**53
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")


class Kind(NamedTuple):
    """How a word is written; ``show`` returns None for a word that is none of this kind."""

    show: Callable[[int], str | None]
    read: Callable[[str], int]
    form: str


def show_value(name: str, word: int) -> str:
    """Return a word as its name's kind is written; as ``0x…`` where it is none of that kind."""
    shown = _kind(name).show(word)
    return f"0x{word:x}" if shown is None else shown


def read_value(name: str, text: str) -> int:
    """Return the word that a text stands for.

    Args:
        name: of the parameter or contract.
        text: what ``show_value`` writes; a plain number of seconds or basis points too, and any word as ``0x…``.

    Raises:
        InputError: it is not of the name's kind.
    """
    kind, trimmed = _kind(name), text.strip()
    try:
        word = kind.read(trimmed)
    except ValueError as error:
        if not re.fullmatch(r"0x[0-9a-f]{1,64}", trimmed):
            raise InputError(
                "{text} is no value for {name}", hint="Write it as: {form}", text=text[:80], name=name, form=kind.form
            ) from error
        word = int(trimmed, 16)
    return word


def name_word(name: str) -> bytes:
    """Return a name as the Directory's 32 bytes.

    Raises:
        InputError: empty, over 32 characters, or others than printable ASCII.
    """
    if not re.fullmatch(r"[!-~]{1,32}", name):
        raise InputError("a name has 1 to 32 ASCII characters without spaces")
    return name.encode().ljust(_WORD_BYTES, b"\0")


def word_name(word: bytes) -> str:
    """Return the name in the Directory's 32 bytes, as ``0x…`` if there is none."""
    text = word.rstrip(b"\0")
    return text.decode() if re.fullmatch(rb"[!-~]{1,32}", text) else f"0x{word.hex()}"


def _kind(name: str) -> Kind:
    return PARAMETERS.get(name, _NUMBER if "." in name else _ADDRESS)


def _show_number(word: int) -> str | None:
    return str(word) if word < _MOST else None


def _read_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) >= _MOST:
        raise ValueError(text)
    return int(text)


def _show_seconds(word: int) -> str | None:
    unit, size = next((unit, size) for unit, size in _UNITS if word % size == 0)
    return f"{word // size} {unit}" if word < _MOST else None


def _read_seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,16})\s*(d|h|min|s)?", text)
    if found is None:
        raise ValueError(text)
    return _read_number(str(int(found[1]) * dict(_UNITS)[found[2] or "s"]))


def _show_share(word: int) -> str | None:
    whole, part = divmod(word, 100)
    return f"{whole}.{part:02d}".rstrip("0").rstrip(".") + "%" if word < _MOST else None


def _read_share(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,14})(?:\.([0-9]{1,2}))?\s*%", text)
    if found is None:
        return _read_number(text.removesuffix("bp").strip())
    return 100 * int(found[1]) + int((found[2] or "").ljust(2, "0"))


def _show_flag(word: int) -> str | None:
    return {0: _NO[0], 1: _YES[0]}.get(word)


def _read_flag(text: str) -> int:
    for word, forms in enumerate((_NO, _YES)):
        if text.lower() in forms:
            return word
    raise ValueError(text)


def _show_text(word: int) -> str | None:
    text = word.to_bytes(_WORD_BYTES, "big").rstrip(b"\0")
    return text.decode() if re.fullmatch(rb"[A-Z][A-Z0-9]{2,11}", text) else None


def _read_text(text: str) -> int:
    if not re.fullmatch(r"[A-Z][A-Z0-9]{2,11}", text):
        raise ValueError(text)
    return int.from_bytes(text.encode().ljust(_WORD_BYTES, b"\0"), "big")


def _show_address(word: int) -> str | None:
    return checksum_address(word.to_bytes(20, "big")) if 0 < word < 2**160 else None


def _read_address(text: str) -> int:
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ValueError(text)
    shown = checksum_address(bytes.fromhex(text[2:]))
    if text[2:] not in (shown[2:], text[2:].lower(), text[2:].upper()):
        raise ValueError(text)
    return int(text, 16)


_NUMBER = Kind(_show_number, _read_number, "250")
_SECONDS = Kind(_show_seconds, _read_seconds, "172800, 48 h, 2 d")
_SHARE = Kind(_show_share, _read_share, "250 (basis points), 2.5%")
_FLAG = Kind(_show_flag, _read_flag, "yes, no")
_TEXT = Kind(_show_text, _read_text, "CNY")
_ADDRESS = Kind(_show_address, _read_address, "0x and 40 hex digits")
#: As in contracts/src/Directory.sol and contracts/src/SettlementToken.sol. No contract reads ``market.audit``: offices
#: do, before they offer, license or sell (``workflows.audit.require_audit``).
PARAMETERS: Mapping[str, Kind] = {
    "governance.threshold": _NUMBER,
    "governance.delay": _SECONDS,
    "market.fee": _SHARE,
    "market.fee.account": _ADDRESS,
    "market.identity": _FLAG,
    "market.audit": _FLAG,
    "market.currency": _TEXT,
    "case.bond": _NUMBER,
}
