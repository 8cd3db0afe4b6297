"""What a watch has spent, kept so that nothing makes it forget: one JSON object a line, each written out at once.

The first line says which watch it is of. A look is written twice, when it begins, before anything is drawn, and with
what it found. A look that began and never ended is spent all the same; so is one whose first line was cut off by a
crash. The file is read again at each look, so that two runs on one journal count together, one after the other.

Laws:
    looks count up from 1, whatever is cut off the end of the file, and no look has a number twice;
    what was written as ended is read back as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from countermark.audit.sequential import Look
from countermark.core.canonical import parse_json
from countermark.errors import IndexMismatch, InputError, StorageError

_NAMES = ("look", "step", "count", "p", "spent", "evidence", "total", "stop")
#: The step of a look whose beginning was cut off.
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class State:
    """What a journal says: how many looks began, and those that ended.

    Attributes:
        size: bytes up to the end of the last whole line.
        is_cut: the last line lacks its end.
        is_open: the last whole line began a look.
    """

    begun: int
    looks: tuple[Look, ...]
    size: int
    is_cut: bool
    is_open: bool

    @property
    def total(self) -> float:
        """The weighted sum of all evidence."""
        return self.looks[-1].total if self.looks else 0.0


class Journal:
    """The file; it comes to be with the first look.

    Args:
        path: of the file.
        header: its first line, which has to be the same whenever it is opened.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path, self._header = path, dict(header)

    def read(self) -> State:
        """Read the file.

        Raises:
            StorageError: it cannot be read.
            InputError: it is no journal.
            IndexMismatch: it has another header.
        """
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            raise StorageError("cannot read {path}: {reason}", path=self._path, reason=error.strerror) from error
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return State(0, (), 0, is_cut=bool(data), is_open=False)
        header, *records = [self._parsed(line) for line in whole.splitlines()]
        if header != self._header:
            raise IndexMismatch(
                "{path} is the journal of another watch", path=self._path,
                hint="Continue it with the same level, looks, rule and held-out data, or name a new file.",
            )  # fmt: skip
        return self._state(records, len(whole), is_cut=len(whole) < len(data))

    def begin(self, step: int) -> int:
        """Write that a look begins and return its number; what a crash cut off is mended first.

        Raises:
            StorageError: the file cannot be written.
        """
        state = self.read()
        if state.is_cut:
            self._truncate(state.size)
        if not state.size:
            self._append(self._header)
        if state.is_cut and state.size and not state.is_open:
            self._append({"look": state.begun, "step": _UNKNOWN})
        self._append({"look": state.begun + 1, "step": step})
        return state.begun + 1

    def end(self, look: Look) -> None:
        """Write what the look that began last found.

        Raises:
            StorageError: the file cannot be written.
        """
        self._append(look.to_json())

    def _state(self, records: Sequence[dict[str, Any]], size: int, *, is_cut: bool) -> State:
        begun, looks, is_open = 0, [], False
        for record in records:
            is_open = "p" not in record
            if record.get("look") != begun + is_open:
                raise InputError("{path} is not a journal of looks", path=self._path)
            begun += is_open
            if not is_open:
                looks.append(self._look(record))
        # A line that was cut off after a whole look, or after a lost one, was the beginning of the next.
        return State(begun + (is_cut and not is_open), tuple(looks), size, is_cut=is_cut, is_open=is_open)

    def _look(self, record: Mapping[str, Any]) -> Look:
        try:
            return Look(*(record[name] for name in _NAMES))
        except KeyError as error:
            raise InputError("{path} is not a journal of looks", path=self._path) from error

    def _parsed(self, line: bytes) -> dict[str, Any]:
        value = parse_json(line)
        if not isinstance(value, dict):
            raise InputError("{path} is not a journal of looks", path=self._path)
        return value

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError("cannot write {path}: {reason}", path=self._path, reason=error.strerror) from error

    def _truncate(self, size: int) -> None:
        try:
            os.truncate(self._path, size)
        except OSError as error:
            raise StorageError("cannot write {path}: {reason}", path=self._path, reason=error.strerror) from error
