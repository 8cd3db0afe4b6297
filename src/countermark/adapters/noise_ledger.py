"""The noise ledger in files: append-only, one pair a size, read through the page cache.

``<size>.heads`` is a header of 64 bytes, then records of one length: the generation's name, the first ``HEAD`` signs,
and a checksum over the whole pattern. ``<size>.tails``, where patterns are longer, holds the other signs in the same
order. Tails are written first, so a head stands for a whole record.

Durability: the header is there whole before the first record. ``append`` returns after ``fsync`` of both files, at most
``_BATCH`` records at a time. So only the last batch can be torn by a crash, in any way (short, or long with pages that
never reached the disk). Whoever opens the files checks the checksums of the last batch and counts the records before
the first wrong one; the next ``append`` cuts the rest off. One process writes at a time: the workspace's lock sees to
that.

Laws:
    what ``append`` returned from is found by every later ``read``, in order, whatever happens to later appends;
    ``read`` never returns a record that was not appended, but with the probability 2**-64 of a checksum's collision.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from countermark.adapters.keystore import sync_folder, write_atomically
from countermark.errors import InputError, StorageError
from countermark.marking.image.noise_ledger import HEAD, Recorded, Signs, Words, pack

_HEADER_BYTES = 64
_BATCH = 1_024


class NoiseLedger:
    """The recorded patterns of one size in a folder."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        head, whole = -(-min(size, HEAD) // 64), -(-size // 64)
        self._record = np.dtype([("name", "<u8"), ("head", "<u8", (head,)), ("checksum", "<u8")])
        self._tail_words = whole - head
        self._heads, self._tails = folder / f"{size}.heads", folder / f"{size}.tails"

    def append(self, names: Sequence[int], signs: Signs) -> None:
        """Keep the patterns of generations, durably.

        Args:
            names: one for each, below 2**53.
            signs: (n, size), each +1 or -1.

        Raises:
            InputError: another shape, or a name out of range.
            StorageError: the files cannot be written; none or a first part of the patterns is kept then.
        """
        words = pack(signs)
        if signs.shape != (len(names), self._size) or not all(0 <= name < 2**53 for name in names):
            raise InputError("a pattern of this ledger has {size} signs, and a name below 2**53", size=self._size)
        with _failing(self._heads):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._heads.exists():
                write_atomically(self._heads, self._header(), mode=0o600)
            kept = self._count()
            for at in range(0, len(names), _BATCH):
                batch = words[at : at + _BATCH]
                self._write(kept + at, np.array(names[at : at + _BATCH], dtype="<u8"), batch)

    def read(self) -> Recorded:
        """Return what is kept, mapped into memory; later appends do not show in it.

        Raises:
            StorageError: the files cannot be read, or are of another version.
        """
        with _failing(self._heads):
            count = self._count()
            heads = self._map(count)
            return Recorded(self._size, heads["name"], heads["head"], self._map_tails(count))

    def _write(self, kept: int, names: NDArray[np.uint64], words: Words) -> None:
        records = np.zeros(len(names), dtype=self._record)
        head = records["head"].shape[1]
        records["name"], records["head"] = names, words[:, :head]
        records["checksum"] = [_checksum(int(name), row) for name, row in zip(names, words, strict=True)]
        if self._tail_words:
            with _at(self._tails, kept * self._tail_words * 8) as file:
                file.write(words[:, head:].astype("<u8").tobytes())
        with _at(self._heads, _HEADER_BYTES + kept * self._record.itemsize) as file:
            file.write(records.tobytes())

    def _header(self) -> bytes:
        return f"countermark.noise-ledger/1 size={self._size} head={HEAD}\n".encode().ljust(_HEADER_BYTES, b"\0")

    def _count(self) -> int:
        """Return how many records are whole: all but the last batch by their length, these by their checksums."""
        if not self._heads.exists():
            return 0
        with self._heads.open("rb") as file:
            if file.read(_HEADER_BYTES) != self._header():
                raise StorageError("{path} was written by another version", path=self._heads)
        count = (self._heads.stat().st_size - _HEADER_BYTES) // self._record.itemsize
        if self._tail_words:
            size = self._tails.stat().st_size if self._tails.exists() else 0
            count = min(count, size // (self._tail_words * 8))
        start = max(0, count - _BATCH)
        heads, tails = self._map(count), self._map_tails(count)
        for place in range(start, count):
            row = np.concatenate((heads["head"][place], tails[place]))
            if _checksum(int(heads["name"][place]), row) != heads["checksum"][place]:
                return place
        return count

    def _map(self, count: int) -> Any:
        if not count:
            return np.zeros(0, dtype=self._record)
        return np.memmap(self._heads, dtype=self._record, mode="r", offset=_HEADER_BYTES, shape=(count,))

    def _map_tails(self, count: int) -> Any:
        shape = (count, self._tail_words)
        if not count or not self._tail_words:
            return np.zeros(shape, dtype="<u8")
        return np.memmap(self._tails, dtype="<u8", mode="r", shape=shape)


class NoiseLedgerFolder:
    """The noise ledgers of an office: a folder for each title and epoch."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, title: int, epoch: int, size: int) -> NoiseLedger:
        """Return the ledger of a size; its files are made when something is kept."""
        return NoiseLedger(self._folder(title, epoch), size)

    def sizes(self, title: int, epoch: int) -> list[int]:
        """Return the sizes that something is kept of, smallest first."""
        files = self._folder(title, epoch).glob("*.heads")
        return sorted(int(path.stem) for path in files if path.stem.isdigit())

    def _folder(self, title: int, epoch: int) -> Path:
        return self._root / f"{title}-{epoch}"


def _checksum(name: int, words: Words) -> int:
    data = name.to_bytes(8, "little") + words.astype("<u8", copy=False).tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=b"cm/noise-ledger").digest(), "little")


@contextmanager
def _at(path: Path, offset: int) -> Iterator[BinaryIO]:
    """Open a file for writing from an offset on, what lies behind it cut off; durable after the block."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(offset)
        file.seek(offset)
        yield file
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError("cannot use {path}: {reason}", path=path, reason=error.strerror) from error
