"""Where the log's tiles live: in the store's SQL database, and as the static files of C2SP tlog-tiles.

One row per tile and per bundle; the last of each level is rewritten in place until it is full. The head row is the
lock: an ``UPDATE`` of it keeps other writers out until the transaction ends, on PostgreSQL and on SQLite alike, and
its epoch fences off a writer that was replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from countermark.core.merkle import HASH_BYTES
from countermark.errors import InputError, StorageError, WorkspaceBusy
from countermark.evidence.checkpoint import MAX_CHECKPOINT_BYTES, read_unverified
from countermark.evidence.log import (
    MAX_ENTRY_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Bundle,
    Head,
    Tile,
    TileReader,
    join_bundle,
    split_bundle,
    tile_widths,
)

_HEAD_ID = 1
_MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)


@dataclass(frozen=True, slots=True)
class Tables:
    """The log's three tables."""

    tiles: sa.Table
    bundles: sa.Table
    head: sa.Table


def define(metadata: sa.MetaData) -> Tables:
    """Add the log's tables to ``metadata``; creating them also creates the head row of an empty log."""
    tables = Tables(
        sa.Table(
            "log_tiles",
            metadata,
            sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("data", sa.LargeBinary, nullable=False),
        ),
        sa.Table(
            "log_bundles",
            metadata,
            sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("data", sa.LargeBinary, nullable=False),
        ),
        sa.Table(
            "log_head",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("size", sa.BigInteger, nullable=False),
            sa.Column("epoch", sa.BigInteger, nullable=False),
        ),
    )
    sa.event.listen(tables.head, "after_create", _create_head)
    return tables


class SqlTiles:
    """The log in the database of ``connection``, within its current transaction.

    Args:
        connection: a connection whose transaction the caller begins and ends.
        epoch: of this writer; the one ``take_over`` returned, or 0 where there is only ever one writer.
    """

    def __init__(self, connection: sa.Connection, epoch: int = 0) -> None:
        self._connection = connection
        self._epoch = epoch

    def head(self) -> Head:
        """Return the head.

        Raises:
            StorageError: the database failed or holds no log.
        """
        row = self._execute(sa.select(_HEAD.c.size, _HEAD.c.epoch)).one_or_none()
        if row is None:
            raise StorageError("the database holds no log")
        return Head(row.size, row.epoch)

    def lock(self) -> Head:
        """Lock the head row and return it.

        Raises:
            WorkspaceBusy: a writer of a later epoch has taken over.
            StorageError: the database failed.
        """
        return self._update_head(size=_HEAD.c.size)

    def set_head(self, size: int) -> None:
        """Move the head.

        Raises:
            WorkspaceBusy: a writer of a later epoch has taken over.
            StorageError: the database failed.
        """
        self._update_head(size=size)

    def take_over(self) -> int:
        """Start a new epoch, which fences off every earlier writer once this transaction commits, and return it."""
        statement = sa.update(_HEAD).values(epoch=_HEAD.c.epoch + 1).returning(_HEAD.c.epoch)
        self._epoch = self._execute(statement).scalar_one()
        return self._epoch

    def read_tile(self, level: int, index: int) -> bytes:
        """Return the tile's hashes, or nothing."""
        where = sa.and_(_TILES.c.level == level, _TILES.c.index == index)
        return self._execute(sa.select(_TILES.c.data).where(where)).scalar() or b""

    def read_bundle(self, index: int) -> bytes:
        """Return the bundle's entries, or nothing."""
        return self._execute(sa.select(_BUNDLES.c.data).where(_BUNDLES.c.index == index)).scalar() or b""

    def write_tiles(self, tiles: Sequence[Tile]) -> None:
        """Write tiles in place of their partial predecessors."""
        rows = [{"level": level, "index": index, "data": data} for level, index, data in tiles]
        self._upsert(_TILES, rows)

    def write_bundles(self, bundles: Sequence[Bundle]) -> None:
        """Write bundles in place of their partial predecessors."""
        self._upsert(_BUNDLES, [{"index": index, "data": data} for index, data in bundles])

    def _update_head(self, **values: Any) -> Head:
        mine = sa.update(_HEAD).where(_HEAD.c.epoch == self._epoch)
        row = self._execute(mine.values(values).returning(_HEAD.c.size, _HEAD.c.epoch)).one_or_none()
        if row is None:
            raise WorkspaceBusy(
                "another writer has taken over the log",
                hint="This process must stop appending; start it again to take the log back.",
            )
        return Head(row.size, row.epoch)

    def _upsert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._execute(upsert(table, self._connection.dialect.name), rows)

    def _execute(self, statement: sa.Executable, rows: list[dict[str, Any]] | None = None) -> sa.CursorResult[Any]:
        with _as_storage_error():
            return self._connection.execute(statement, rows)


def upsert(table: sa.Table, dialect: str) -> sa.Insert:
    """Return the statement that writes a row over one with the same key, for SQLite or PostgreSQL."""
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={"data": statement.excluded.data}
    )


class DirectoryTiles:
    """A log exported to a directory, read as any client of the layout reads it: for audits by ``evidence.log.fsck``.

    Trusts the size in ``checkpoint`` without checking its signature; ``open_checkpoint`` does that.
    """

    def __init__(self, directory: Path) -> None:
        """Read the checkpoint.

        Raises:
            StorageError: there is none.
            InputError: it is malformed.
        """
        self._directory = directory
        with _as_storage_error():
            text = _read(directory / "checkpoint", MAX_CHECKPOINT_BYTES).decode("utf-8", "replace")
        self._size = read_unverified(text).size

    def head(self) -> Head:
        """Return the size that the checkpoint states."""
        return Head(self._size, 0)

    def read_tile(self, level: int, index: int) -> bytes:
        """Return the tile's hashes, or nothing."""
        return self._tile(str(level), index, (self._size >> TILE_HEIGHT * level) - index * TILE_WIDTH)

    def read_bundle(self, index: int) -> bytes:
        """Return the bundle's entries, or nothing."""
        return self._tile("entries", index, self._size - index * TILE_WIDTH)

    def _tile(self, level: str, index: int, left: int) -> bytes:
        if left <= 0:
            return b""
        path = self._directory / tile_path(level, index, min(left, TILE_WIDTH))
        with _as_storage_error():
            return _read(path, _MAX_BUNDLE_BYTES) if path.exists() else b""


def export_tiles(tiles: TileReader, checkpoint: str, directory: Path) -> int:
    """Write the log as plain static files, at the size of ``checkpoint``, and return how many files were written.

    A tile of a given width never changes, so those already in ``directory`` are left alone. The checkpoint is written
    last: a reader never sees one whose tiles are missing.

    Raises:
        InputError: the checkpoint is malformed or of a larger log.
        StorageError: reading the log or writing the files failed.
    """
    size = read_unverified(checkpoint).size
    if size > tiles.head().size:
        raise InputError("the checkpoint is of a larger log ({size} entries)", size=size)
    with _as_storage_error():
        written = sum(_export_tile(tiles, tile, directory) for tile in tile_widths(size))
        _write(directory / "checkpoint", checkpoint.encode())
    return written + 1


def tile_path(level: str, index: int, width: int) -> str:
    """Return the path of a tile (level ``"0"`` to ``"63"``) or bundle (``"entries"``), as ``tile/0/x001/234.p/8``."""
    name = f"{index % 1000:03d}"
    while index := index // 1000:
        name = f"x{index % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + (f".p/{width}" if width < TILE_WIDTH else "")


def _export_tile(tiles: TileReader, tile: tuple[int, int, int], directory: Path) -> int:
    """Write a tile and, on level 0, its bundle; return how many files that took."""
    level, index, width = tile
    path, bundle, written = directory / tile_path(str(level), index, width), tile_path("entries", index, width), 0
    if level == 0 and not (directory / bundle).exists():
        _write(directory / bundle, join_bundle(split_bundle(tiles.read_bundle(index))[:width]))
        written += 1
    if not path.exists():
        _write(path, tiles.read_tile(level, index)[: width * HASH_BYTES])
        written += 1
    return written


def _read(path: Path, limit: int) -> bytes:
    """Read at most a byte more than ``limit``: a stranger's file, which is then known to be too long."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _create_head(table: sa.Table, connection: sa.Connection, **_: object) -> None:
    connection.execute(sa.insert(table).values(id=_HEAD_ID, size=0, epoch=0))


@contextmanager
def _as_storage_error() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StorageError("the evidence log cannot be reached: {reason}", reason=error) from error


_TABLES = define(sa.MetaData())
_TILES, _BUNDLES, _HEAD = _TABLES.tiles, _TABLES.bundles, _TABLES.head
