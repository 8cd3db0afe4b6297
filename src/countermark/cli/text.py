"""Plain text for terminals: aligned cards and tables, wrapped by display width (a Chinese character takes two columns).

What strangers wrote (names, file names, fields of a bundle) passes through ``plain`` before it reaches a terminal, so
that it cannot move the cursor, recolour a verdict or reverse the reading direction.
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

Row = tuple[str, str]
#: What an example in a docstring begins with.
EXAMPLE = "Example:"

# Control characters, and the bidirectional overrides and isolates of Unicode (UAX #9).
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A break may stand after a space, but not before a percent sign, and on either side of a wide character.
_PIECES = re.compile(r"\s+(?!%)|(?:[^\s\u2e80-\uffef]|\s(?=%))+|[\u2e80-\uffef]")
_BETWEEN_WIDE = re.compile(r"(?<=[\u2e80-\uffef]) +(?=[\u2e80-\uffef])")
# Marks that must not begin a line (a subset of the kinsoku rules).
_CLINGING = "，。；：、？！）》”’"


def plain(value: object) -> str:
    """Return a value as text without control characters; each becomes a visible escape."""
    return _UNSAFE.sub(lambda match: f"\\x{ord(match[0]):02x}", str(value))


def width(text: str) -> int:
    """Return how many terminal columns a text takes."""
    return sum(_columns(character) for character in text)


def pad(text: str, columns: int) -> str:
    """Fill a text with spaces up to a number of columns."""
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> list[str]:
    """Break a paragraph into lines of at most ``columns`` columns; what has no break inside may be longer."""
    lines, line = [], ""
    for piece in _PIECES.findall(text.strip()):
        if line and piece not in _CLINGING and width(line) + width(piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line = ""
        line += piece if line or not piece.isspace() else ""
    return [*lines, line.rstrip()]


def close_up(text: str) -> str:
    """Take out spaces between two wide characters, which filling in a Chinese template can leave."""
    return _BETWEEN_WIDE.sub("", text)


def card(rows: Iterable[Row], *, indent: int = 2) -> str:
    """Return label and value pairs, one a line, the values aligned. Values are made ``plain``."""
    pairs = list(rows)
    column = max((width(label) for label, _ in pairs), default=0) + 2
    return "\n".join(" " * indent + pad(label, column) + plain(value) for label, value in pairs)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, indent: int = 2) -> str:
    """Return a table with its head, a rule under it, and columns as wide as their widest cell."""
    lines = [list(head), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * columns for columns in widths])
    joined = ("  ".join(pad(cell, size) for cell, size in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(" " * indent + line.rstrip() for line in joined)


def paragraphs(text: str) -> Iterator[str]:
    """Return a docstring's paragraphs: prose joined to one line, an example as it stands."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        yield block if block.startswith(EXAMPLE) else " ".join(block.split())


def is_utf8(stream: TextIO) -> bool:
    """Whether a stream can carry every character."""
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
