"""Adapters that keep everything in memory: for tests, and for a first look at a port."""

from __future__ import annotations

from collections.abc import Sequence

from countermark.errors import WorkspaceBusy
from countermark.evidence.log import Bundle, Head, Tile


class MemoryTiles:
    """The log's tiles in dictionaries; each call is its own transaction. ``epoch`` is the writer's."""

    def __init__(self) -> None:
        self.epoch = 0
        self._head = Head(0, 0)
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._bundles: dict[int, bytes] = {}

    def head(self) -> Head:
        """Return the head."""
        return self._head

    def lock(self) -> Head:
        """Return the head if the epoch is still this writer's.

        Raises:
            WorkspaceBusy: another writer has taken over.
        """
        if self._head.epoch != self.epoch:
            raise WorkspaceBusy("another writer has taken over the log")
        return self._head

    def take_over(self) -> int:
        """Start a new epoch, as another writer does, and return it."""
        self._head = Head(self._head.size, self._head.epoch + 1)
        return self._head.epoch

    def read_tile(self, level: int, index: int) -> bytes:
        """Return the tile's hashes."""
        return self._tiles.get((level, index), b"")

    def read_bundle(self, index: int) -> bytes:
        """Return the bundle's entries."""
        return self._bundles.get(index, b"")

    def write_tiles(self, tiles: Sequence[Tile]) -> None:
        """Write tiles."""
        self._tiles |= {(level, index): data for level, index, data in tiles}

    def write_bundles(self, bundles: Sequence[Bundle]) -> None:
        """Write bundles."""
        self._bundles |= dict(bundles)

    def set_head(self, size: int) -> None:
        """Move the head."""
        self._head = Head(size, self.lock().epoch)


class MemorySignerMemory:
    """What a log's signer last signed, until the process ends."""

    def __init__(self) -> None:
        self._last: tuple[int, bytes] | None = None

    def get(self) -> tuple[int, bytes] | None:
        """Return size and root of the last signed head, or None."""
        return self._last

    def put(self, size: int, root: bytes) -> None:
        """Remember a head before it is signed."""
        self._last = (size, root)
