"""The durable store: records, issued identifiers, the log's tiles, the event index; one SQL database (SQLite here).

One transaction of ``SqlStore`` is one SQL transaction, taken with ``BEGIN IMMEDIATE`` and written through (WAL,
``synchronous=FULL``), so a record and its log entry are both there after a crash or neither is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from countermark.adapters import event_tables
from countermark.adapters import tiles as tile_tables
from countermark.errors import StorageError

SCHEMA_VERSION = 1
_CHUNK = 50_000

_metadata = sa.MetaData()
tile_tables.define(_metadata)
_records = sa.Table(
    "records",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.UniqueConstraint("kind", "key"),
)
_words = sa.Table(
    "record_words",
    _metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("word", sa.String, primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
)
# Identifiers are stored as signed 64-bit integers, the widest that every SQL engine indexes natively.
_identifiers = sa.Table(
    "identifiers",
    _metadata,
    sa.Column("identifier", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String, nullable=False),
)
_schema = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer, nullable=False))


class SqlTransaction:
    """One SQL transaction seen as records, identifiers, tiles and the index of the ledger's events."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.tiles = tile_tables.SqlTiles(connection)
        self.events = event_tables.SqlEvents(connection)

    def put(self, kind: str, key: str, body: dict[str, Any], *, index: tuple[str, ...] = ()) -> None:
        """Write a record under its key; a record that is there keeps its place in the order."""
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        where = sa.and_(_records.c.kind == kind, _records.c.key == key)
        if self._connection.execute(sa.update(_records).where(where).values(body=text)).rowcount == 0:
            self._connection.execute(sa.insert(_records).values(kind=kind, key=key, body=text))
        self._forget_words(kind, key)
        if index:
            rows = [{"kind": kind, "word": word, "key": key} for word in dict.fromkeys(index)]
            self._connection.execute(sa.insert(_words), rows)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return a record, or None."""
        query = sa.select(_records.c.body).where(_records.c.kind == kind, _records.c.key == key)
        text = self._connection.execute(query).scalar()
        return None if text is None else json.loads(text)

    def find(self, kind: str, word: str) -> list[dict[str, Any]]:
        """Return the records of a kind indexed under a word, oldest first."""
        same = sa.and_(_words.c.kind == _records.c.kind, _words.c.key == _records.c.key)
        query = sa.select(_records.c.body).join(_words, same).where(_words.c.kind == kind, _words.c.word == word)
        return [json.loads(text) for text in self._connection.execute(query.order_by(_records.c.seq)).scalars()]

    def all(self, kind: str) -> Iterator[dict[str, Any]]:
        """Return every record of a kind, oldest first."""
        query = sa.select(_records.c.body).where(_records.c.kind == kind).order_by(_records.c.seq)
        for text in self._connection.execute(query).scalars():
            yield json.loads(text)

    def delete(self, kind: str, key: str) -> None:
        """Remove a record, if it is there."""
        self._connection.execute(sa.delete(_records).where(_records.c.kind == kind, _records.c.key == key))
        self._forget_words(kind, key)

    def issue(self, identifiers: list[int], owner: str) -> None:
        """Record identifiers as issued; issuing one twice is an error, for ever."""
        rows = [{"identifier": _signed(identifier), "owner": owner} for identifier in identifiers]
        self._connection.execute(sa.insert(_identifiers), rows)

    def issued_to(self, identifier: int) -> str | None:
        """Return ``grant:<id>`` or ``batch:<id>``, or None."""
        query = sa.select(_identifiers.c.owner).where(_identifiers.c.identifier == _signed(identifier))
        return self._connection.execute(query).scalar()

    def issued(self) -> int:
        """Return how many identifiers were ever issued."""
        return self._connection.execute(sa.select(sa.func.count()).select_from(_identifiers)).scalar_one()

    def identifiers(self) -> Iterator[NDArray[np.uint64]]:
        """Return every identifier that was ever issued, ``_CHUNK`` at a time."""
        with self._connection.execute(sa.select(_identifiers.c.identifier)) as result:
            # Straight from the driver: SQLAlchemy's rows take ten times as long, and there may be millions.
            while rows := result.cursor.fetchmany(_CHUNK):
                yield np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)).view(np.uint64)

    def _forget_words(self, kind: str, key: str) -> None:
        self._connection.execute(sa.delete(_words).where(_words.c.kind == kind, _words.c.key == key))


class SqlStore:
    """The store in a SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating the tables on first use.

        Raises:
            StorageError: it cannot be opened, or was written by a later version.
        """
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sa.event.listen(self._engine, "connect", _on_connect)
        sa.event.listen(self._engine, "begin", _on_begin)
        with self.transaction() as transaction:
            _prepare(transaction._connection)

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Open a transaction; an exception inside rolls all of it back.

        Raises:
            StorageError: the database failed, or a record contradicts an earlier one.
        """
        try:
            with self._engine.begin() as connection:
                yield SqlTransaction(connection)
        except SQLAlchemyError as error:
            raise StorageError("the store failed: {reason}", reason=type(error).__name__) from error

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()


def _prepare(connection: sa.Connection) -> None:
    for metadata in (_metadata, event_tables.METADATA):
        metadata.create_all(connection)
    version = connection.execute(sa.select(_schema.c.version)).scalar()
    if version is None:
        connection.execute(sa.insert(_schema).values(version=SCHEMA_VERSION))
    elif version != SCHEMA_VERSION:
        raise StorageError(
            "the store has schema version {found}, this program reads {want}", found=version, want=SCHEMA_VERSION
        )


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event below starts transactions, not the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _signed(identifier: int) -> int:
    return identifier - 2**64 if identifier >= 2**63 else identifier
