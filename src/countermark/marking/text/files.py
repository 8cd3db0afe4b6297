"""Texts in files, as they are leaked, copied and exported: plain ones, chats, and lines of JSON.

What a file is follows from its content, never from its name. Encodings are UTF-8, UTF-16 with a byte order mark, and
GB18030 for what is neither. Of a chat (a list of turns, ``{"messages": [...]}``, or ``{"choices": [...]}`` as model
servers answer) only what the model said is read; of other lists and of lines of JSON, the ``text`` or ``content`` of
each. JSON of any other shape is a text like all others.

Laws:
    a text that is not JSON is read as the one text that it is;
    no bytes raise anything but ``InputError``, and none take more than a few times their own size.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from countermark.core.canonical import parse_json
from countermark.errors import HostileFile, InputError

MAX_FILE_BYTES = 4 * 2**20
MAX_TEXTS = 10_000

# Who speaks for a model, in the formats that there are.
_ASSISTANTS = frozenset({"assistant", "model"})
_MARKS = (b"\xff\xfe", b"\xfe\xff")
# What is looked at of a file that is too large, and the bytes that no text in UTF-8 or GB18030 has.
_HEAD = 4096
_WHITE = "\t\n\v\f\r\x1b\x85"


def read_texts(path: Path) -> list[str] | None:
    """Return the texts that a file holds, without empty ones; None where it is no text, as a picture is none.

    Raises:
        InputError: unreadable.
        HostileFile: a text of more than ``MAX_FILE_BYTES``, or with more than ``MAX_TEXTS`` in it.
    """
    data = _read(path)
    if len(data) > MAX_FILE_BYTES:
        if not data.startswith(_MARKS) and b"\0" in data[:_HEAD]:
            return None
        raise HostileFile("{path} is over the limit of {limit} bytes for a text", path=path, limit=MAX_FILE_BYTES)
    text = decode_text(data)
    if text is None:
        return None
    texts = [each for each in texts_of(text) if each.strip()]
    if len(texts) > MAX_TEXTS:
        raise HostileFile("{path} holds more than {limit} texts", path=path, limit=MAX_TEXTS)
    return texts


def decode_text(data: bytes) -> str | None:
    """Return the text that bytes are, in the first of the encodings that they are valid in, or None."""
    if data.startswith(_MARKS):
        return _decoded(data, "utf-16")
    text = _decoded(data, "utf-8-sig")
    if text is not None:
        return None if "\0" in text else text
    # Nearly half of all pairs of bytes are characters in GB18030, so what it makes of others has to look like a text.
    text = _decoded(data, "gb18030")
    return text if text is not None and all(map(_is_written, set(text))) else None


def texts_of(text: str) -> list[str]:
    """Return what is to be read of a text: of JSON in a known shape the texts in it, else the text itself."""
    if text.lstrip()[:1] in ("{", "["):
        for found in (_document(text), _lines(text)):
            if found is not None:
                return found
    return [text]


def _read(path: Path) -> bytes:
    try:
        # Non-blocking, so that a pipe cannot hang us before it is refused; no effect on regular files.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError("{path} is not a regular file", path=path)
            return stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=path, reason=error.strerror) from error


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_written(character: str) -> bool:
    return character in _WHITE or unicodedata.category(character) not in ("Cc", "Cn", "Co")


def _document(text: str) -> list[str] | None:
    try:
        return _said(parse_json(text.encode()))
    except InputError:
        return None


def _lines(text: str) -> list[str] | None:
    """Read lines of JSON; None as soon as one is none, or says nothing that we know the shape of."""
    found = []
    for line in text.split("\n"):
        if line.strip():
            said = _document(line)
            if said is None:
                return None
            found += said
            if len(found) > MAX_TEXTS:  # refused anyway
                break
    return found


def _said(value: Any) -> list[str] | None:
    """Return the texts in a JSON value of a known shape, or None."""
    if isinstance(value, list):
        return _together(value)
    if not isinstance(value, dict):
        return None
    for name in ("messages", "choices"):
        if isinstance(value.get(name), list):
            return _together(value[name])
    if isinstance(value.get("message"), dict):
        return _said(value["message"])
    if "role" in value and str(value["role"]) not in _ASSISTANTS:
        return []
    content = value.get("content", value.get("text"))
    if isinstance(content, str):
        return [content]
    # A turn in parts, of which some may be pictures; or one without words, such as the call of a tool.
    if isinstance(content, list):
        return ["".join(map(_part, content))]
    return [] if "role" in value else None


def _together(values: Sequence[Any]) -> list[str] | None:
    """Return the texts of all items, None if one is of no known shape, or there are none."""
    found: list[str] = []
    for value in values:
        said = _said(value) if isinstance(value, dict) else None
        if said is None:
            return None
        found += said
    return found if values else None


def _part(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""
