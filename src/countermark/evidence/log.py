"""The append-only evidence log: an RFC 6962 tree in the tile layout of C2SP tlog-tiles.

A tile holds 256 consecutive hashes of one level; 256 tiles of a level are one tile of the next. An entry bundle holds
the 256 entries under a tile of level 0, each after its length as big-endian uint16. The last tile of a level and the
last bundle may be partial. Any client of the layout can audit an exported log.

Where tiles live, and that an append is one transaction, is the business of the ``Tiles`` port.

Laws:
    appending in any batches gives the same tiles and the root ``core.merkle.root_of`` gives for all entries;
    ``prove_inclusion`` and ``prove_consistency`` equal the paths of ``core.merkle`` over all leaf hashes, at every size
    up to the head: what was true of an old size stays true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Protocol

from countermark.core.merkle import (
    HASH_BYTES,
    consistency_ranges,
    inclusion_ranges,
    join_subtrees,
    leaf_hash,
    perfect_subtrees,
    root_of,
)
from countermark.errors import InputError, NotFoundError, StorageError, VerificationError

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_BYTES = 2**16 - 1
_TILE_BYTES = TILE_WIDTH * HASH_BYTES

Tile = tuple[int, int, bytes]
"""Level, index, and 1 to 256 hashes of 32 bytes."""
Bundle = tuple[int, bytes]
"""Index, and 1 to 256 length-prefixed entries."""


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries the log holds, and the epoch of the writer that may append (a later epoch fences it off)."""

    size: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append: index of the first new entry, size and 32-byte root of the log after it."""

    first: int
    size: int
    root: bytes


class TileReader(Protocol):
    """Read access to tiles and bundles. What is absent reads as ``b""``; more than was asked for does no harm."""

    def head(self) -> Head:
        """Return the head as of this transaction."""

    def read_tile(self, level: int, index: int) -> bytes:
        """Return the tile's hashes, as many as there are."""

    def read_bundle(self, index: int) -> bytes:
        """Return the bundle's length-prefixed entries, as many as there are."""


class Tiles(TileReader, Protocol):
    """Write access inside one transaction: all of it happens, or nothing."""

    def lock(self) -> Head:
        """Keep other writers out until the transaction ends, and return the head.

        Raises:
            WorkspaceBusy: a writer of a later epoch has taken over.
        """

    def write_tiles(self, tiles: Sequence[Tile]) -> None:
        """Write tiles, each in place of its partial predecessor."""

    def write_bundles(self, bundles: Sequence[Bundle]) -> None:
        """Write bundles, each in place of its partial predecessor."""

    def set_head(self, size: int) -> None:
        """Move the head; call after ``lock``.

        Raises:
            WorkspaceBusy: a writer of a later epoch has taken over.
        """


def append(tiles: Tiles, entries: Sequence[bytes]) -> Appended:
    """Append entries in order and return where they stand. An empty batch changes nothing.

    Args:
        tiles: the log, in a transaction that the caller commits.
        entries: 0 to 65,535 bytes each.

    Raises:
        InputError: an entry is too long; nothing was written.
        WorkspaceBusy: a writer of a later epoch has taken over.
    """
    longest = max(map(len, entries), default=0)
    if longest > MAX_ENTRY_BYTES:
        raise InputError(
            "a log entry of {size} bytes is over the limit of {limit}", size=longest, limit=MAX_ENTRY_BYTES
        )
    first = tiles.lock().size
    cache = _Cache(tiles)
    if entries:
        tiles.write_bundles(_grow_bundles(tiles, first, entries))
        tiles.write_tiles(_grow_tiles(cache, first, [leaf_hash(entry) for entry in entries]))
        tiles.set_head(first + len(entries))
    size = first + len(entries)
    return Appended(first, size, cache.subtree(0, size))


def root(tiles: TileReader, size: int) -> bytes:
    """Return the 32-byte root of the first ``size`` entries.

    Raises:
        NotFoundError: the log is smaller.
    """
    _check_size(tiles, size)
    return _Cache(tiles).subtree(0, size)


def prove_inclusion(tiles: TileReader, index: int, size: int) -> list[bytes]:
    """Return the proof that entry ``index`` is in the tree of the first ``size`` entries (RFC 9162, 2.1.3.1).

    Raises:
        InputError: no such entry in a tree of that size.
        NotFoundError: the log is smaller.
    """
    _check_size(tiles, size)
    cache = _Cache(tiles)
    return [cache.subtree(start, stop) for start, stop in inclusion_ranges(index, size)]


def prove_consistency(tiles: TileReader, old_size: int, new_size: int) -> list[bytes]:
    """Return the proof that the tree of ``new_size`` entries extends that of ``old_size`` (RFC 9162, 2.1.4.1).

    Raises:
        InputError: the old size is larger.
        NotFoundError: the log is smaller.
    """
    _check_size(tiles, new_size)
    cache = _Cache(tiles)
    return [cache.subtree(start, stop) for start, stop in consistency_ranges(old_size, new_size)]


def entry(tiles: TileReader, index: int) -> bytes:
    """Return one entry.

    Raises:
        NotFoundError: the log holds no such entry.
    """
    return next(entries(tiles, index, index + 1))


def entries(tiles: TileReader, start: int, stop: int) -> Iterator[bytes]:
    """Return the entries from ``start`` up to, not including, ``stop``, read bundle by bundle.

    Raises:
        NotFoundError: the log does not hold them all (raised here, before the first entry).
    """
    if not 0 <= start <= stop <= tiles.head().size:
        raise NotFoundError("the log has no entries {start} to {stop}", start=start, stop=stop - 1)
    return _entries(tiles, start, stop)


def fsck(tiles: TileReader) -> Head:
    """Recompute every hash of the log from its entries and return the head.

    Raises:
        VerificationError: a bundle or tile is missing, has another width than the head says, or holds something else.
    """
    head = tiles.head()
    bundles = (_checked_bundle(tiles, index, head.size) for index in range(_tile_count(head.size)))
    hashes: Iterator[bytes] = (leaf_hash(item) for bundle in bundles for item in bundle)
    for level in range(_tile_count(head.size.bit_length(), TILE_HEIGHT)):
        hashes = _checked_level(tiles, level, hashes)
    for _ in hashes:  # each level draws from the one below: nothing is held but one tile of each
        pass
    return head


def tile_widths(size: int) -> Iterator[tuple[int, int, int]]:
    """Return ``(level, index, width)`` of every tile of a tree of ``size`` entries; width is 1 to 256.

    Entry bundles have the indices and widths of level 0.
    """
    level = 0
    while size:
        for index in range(_tile_count(size)):
            yield level, index, min(TILE_WIDTH, size - index * TILE_WIDTH)
        level, size = level + 1, size // TILE_WIDTH


def join_bundle(items: Sequence[bytes]) -> bytes:
    """Put entries together as a bundle: each after its length as big-endian uint16."""
    return b"".join([len(item).to_bytes(2, "big") + item for item in items])


def split_bundle(data: bytes) -> list[bytes]:
    """Take a bundle's entries apart.

    Raises:
        StorageError: it ends inside an entry.
    """
    found, at = [], 0
    while at < len(data):
        stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or stop > len(data):
            raise StorageError("an entry bundle ends inside an entry")
        found.append(data[at + 2 : stop])
        at = stop
    return found


class _Cache:
    """Tiles read or written during one operation, so that each is fetched once."""

    def __init__(self, tiles: TileReader) -> None:
        self._tiles = tiles
        self._known: dict[tuple[int, int], bytes] = {}

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """Return the first ``width`` hashes of a tile, joined."""
        if (level, index) not in self._known:
            self._known[level, index] = self._tiles.read_tile(level, index)
        data = self._known[level, index][: width * HASH_BYTES]
        if len(data) < width * HASH_BYTES:
            raise StorageError("log tile {level}/{index} is damaged", level=level, index=index)
        return data

    def put(self, tile: Tile) -> None:
        level, index, data = tile
        self._known[level, index] = data

    def subtree(self, start: int, stop: int) -> bytes:
        """Return the root of a range of leaves that RFC 9162's definitions name."""
        return join_subtrees([self._perfect(height, index) for height, index in perfect_subtrees(start, stop)])

    def _perfect(self, height: int, index: int) -> bytes:
        level, below = divmod(height, TILE_HEIGHT)
        number, offset = divmod(index << below, TILE_WIDTH)
        stop = offset + (1 << below)
        return root_of(_split(self.hashes(level, number, stop)[offset * HASH_BYTES :]))


def _grow_tiles(cache: _Cache, first: int, hashes: list[bytes], level: int = 0) -> list[Tile]:
    """Return the tiles that change when ``hashes`` follow the first ``first`` hashes of a level, on all levels."""
    index, width = divmod(first, TILE_WIDTH)
    data = (cache.hashes(level, index, width) if width else b"") + b"".join(hashes)
    grown = [(level, index + at // _TILE_BYTES, data[at : at + _TILE_BYTES]) for at in range(0, len(data), _TILE_BYTES)]
    for tile in grown:
        cache.put(tile)
    parents = [root_of(_split(tile)) for _, _, tile in grown if len(tile) == _TILE_BYTES]
    return grown + (_grow_tiles(cache, first // TILE_WIDTH, parents, level + 1) if parents else [])


def _grow_bundles(tiles: TileReader, first: int, new: Sequence[bytes]) -> list[Bundle]:
    index, width = divmod(first, TILE_WIDTH)
    items = [*(_bundle(tiles, index, width) if width else []), *new]
    starts = range(0, len(items), TILE_WIDTH)
    return [(index + number, join_bundle(items[at : at + TILE_WIDTH])) for number, at in enumerate(starts)]


def _entries(tiles: TileReader, start: int, stop: int) -> Iterator[bytes]:
    for index in range(start // TILE_WIDTH, _tile_count(stop)):
        first = index * TILE_WIDTH
        yield from _bundle(tiles, index, min(stop - first, TILE_WIDTH))[max(0, start - first) :]


def _bundle(tiles: TileReader, index: int, width: int) -> list[bytes]:
    """Return the first ``width`` entries of a bundle."""
    found = split_bundle(tiles.read_bundle(index))[:width]
    if len(found) < width:
        raise StorageError("log bundle {index} is damaged", index=index)
    return found


def _checked_bundle(tiles: TileReader, index: int, size: int) -> list[bytes]:
    found = split_bundle(tiles.read_bundle(index))
    if len(found) != min(TILE_WIDTH, size - index * TILE_WIDTH):
        raise VerificationError("log bundle {index} is damaged", index=index)
    return found


def _checked_level(tiles: TileReader, level: int, hashes: Iterator[bytes]) -> Iterator[bytes]:
    """Compare a level's tiles with what they should hold and return the hashes of the next level."""
    for index in count():
        tile = list(islice(hashes, TILE_WIDTH))
        if tile and tiles.read_tile(level, index) != b"".join(tile):
            raise VerificationError("log tile {level}/{index} is damaged", level=level, index=index)
        if len(tile) < TILE_WIDTH:
            return
        yield root_of(tile)


def _check_size(tiles: TileReader, size: int) -> None:
    if not 0 <= size <= tiles.head().size:
        raise NotFoundError("the log never had {size} entries", size=size)


def _tile_count(width: int, tile_width: int = TILE_WIDTH) -> int:
    return -(-width // tile_width)


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
