"""Read an audit's document leniently, and print what stands in it.

A report is drawn for whoever holds a document, also where parts of it are missing or were made by a stranger: what is
absent, of another kind, or not finite reads as absent, and nothing here raises. Whether the document is true is for
``countermark.audit.result`` to check, not for its picture.

Law:
    every value of ``Part`` has the type that its method states, whatever the document holds.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Nothing was measured, in print.
ABSENT = "–"
_LONGEST = 300
# Control characters, and the bidirectional overrides and isolates of Unicode (UAX #9); surrogates cannot be written.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Part:
    """One object of a document; a value that is no object reads as an empty one."""

    def __init__(self, value: object) -> None:
        self._value: Mapping[str, Any] = value if isinstance(value, Mapping) else {}

    def __bool__(self) -> bool:
        return bool(self._value)

    def has(self, name: str) -> bool:
        """Return whether there is a value of this name, whatever it is, other than null."""
        return self._value.get(name) is not None

    def part(self, name: str) -> Part:
        """Return an object inside this one."""
        return Part(self._value.get(name))

    def parts(self, name: str) -> list[Part]:
        """Return a list of objects."""
        return [Part(value) for value in self._list(name) if isinstance(value, Mapping)]

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        return _number(self._value.get(name))

    def numbers(self, name: str) -> list[float]:
        """Return a list's finite numbers."""
        return [value for value in map(_number, self._list(name)) if value is not None]

    def whole(self, name: str) -> int | None:
        """Return an integer of less than 2**53 in size."""
        value = self._value.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None

    def wholes(self, name: str) -> list[int]:
        """Return a list's integers."""
        return [whole for value in self._list(name) if (whole := Part({"it": value}).whole("it")) is not None]

    def pairs(self, name: str) -> list[tuple[float, int]]:
        """Return a list's pairs of a finite number and how often it occurs."""
        found = [value for value in self._list(name) if isinstance(value, list | tuple) and len(value) == 2]
        return [
            (number, times)
            for number, times in ((_number(value[0]), Part({"it": value[1]}).whole("it")) for value in found)
            if number is not None and times is not None and times > 0
        ]

    def text(self, name: str, longest: int = _LONGEST) -> str:
        """Return a text as ``plain`` shows it; numbers are texts too, what is absent is empty."""
        value = self._value.get(name)
        return plain(value, longest) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""

    def texts(self, name: str) -> list[str]:
        """Return a list's texts."""
        return [plain(value) for value in self._list(name) if isinstance(value, str)]

    def flag(self, name: str) -> bool:
        """Return whether a value is true."""
        return self._value.get(name) is True

    def items(self) -> list[tuple[str, str]]:
        """Return names and values as text, objects inside joined by dots; for what has no layout of its own."""
        rows = list[tuple[str, str]]()
        for name, value in list(self._value.items())[:100]:
            if isinstance(value, Mapping):
                rows += [(f"{plain(name)}.{inner}", text) for inner, text in Part(value).items()[:100]]
            elif not isinstance(value, Sequence) or isinstance(value, str):
                rows.append((plain(name), plain(value)))
        return rows

    def _list(self, name: str) -> Sequence[Any]:
        value = self._value.get(name)
        return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def plain(value: object, longest: int = _LONGEST) -> str:
    """Return a stranger's text without control characters, cut to ``longest`` characters."""
    text = str(value)[: longest + 1]
    text = text if len(text) <= longest else f"{text[:longest]}…"
    return _UNSAFE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def escape(text: str) -> str:
    """Return a text as it may stand in HTML, inside an element or between quotes."""
    return html.escape(text)


def count(value: int | None) -> str:
    """Return a count with thousands apart."""
    return ABSENT if value is None else f"{value:,}"


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits, without an exponent where a reader can do without it."""
    if value is None:
        return ABSENT
    if value and not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{max(digits - 1, 0)}e}"
    return np.format_float_positional(value, precision=digits, fractional=False, trim="-", unique=False)


def percent(value: float | None, digits: int = 3) -> str:
    """Return a share as a percentage."""
    return ABSENT if value is None else f"{decimal(100 * value, digits)}\u00a0%"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
