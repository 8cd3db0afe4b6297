"""The tables of the event index, in the workspace's store.

``event`` holds each event once, ``event_subject`` every subject that it concerns (``title:1``, ``account:0x…``). Where
an event begins something, that row names it as ``child``: a grant begins under its offer, a case under what it is
about. The events about a subject are its own and those of whatever began under it, however deep.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
_event = sa.Table(
    "event",
    METADATA,
    sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.String, nullable=False),
    sa.Column("block_time", sa.BigInteger, nullable=False),
    sa.Column("transaction_hash", sa.String, nullable=False),
    sa.Column("contract", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("args", sa.Text, nullable=False),
    sa.Column("subjects", sa.Text, nullable=False),
    sa.Index("event_by_name", "name", "block", "place"),
    sqlite_with_rowid=False,
)
_subject = sa.Table(
    "event_subject",
    METADATA,
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("child", sa.String),
    sa.Index("event_subject_by_block", "block"),
    sqlite_with_rowid=False,
)
_head = sa.Table(
    "event_head",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class IndexedEvent:
    """An event of our contracts, where it stands and what it concerns.

    ``args`` are JSON values: bytes and addresses as ``0x``-hex, integers from 2**53 on as decimal text. ``block_time``
    is Unix seconds, ``log_index`` counts within the block. Of ``subjects`` the first is what the event happened to.
    """

    contract: str
    name: str
    args: Mapping[str, Any]
    block_number: int
    block_hash: str
    block_time: int
    transaction_hash: str
    log_index: int
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The block up to which events are indexed; ``number`` is -1 before the first one."""

    number: int = -1
    hash: str = ""


class SqlEvents:
    """The index in the database of ``connection``, within its current transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        """Return how far the index reaches."""
        row = self._connection.execute(sa.select(_head.c.number, _head.c.hash)).one_or_none()
        return Head(*row) if row else Head()

    def add(self, events: Iterable[tuple[IndexedEvent, Mapping[str, str | None]]], head: Head) -> None:
        """Write events, each with its subjects and what began under them, and move the head."""
        rows, words = [], []
        for event, subjects in events:
            place = {"block": event.block_number, "place": event.log_index}
            rows.append(place | _row(event))
            words += [place | {"subject": subject, "child": child} for subject, child in subjects.items()]
        for table, values in ((_event, rows), (_subject, words)):
            if values:
                self._connection.execute(sa.insert(table), values)
        self._move(head)

    def step_back(self) -> Head:
        """Forget the newest block, back to the one before it that has an event; return that one."""
        query = sa.select(_event.c.block, _event.c.block_hash).where(_event.c.block < self.head().number)
        row = self._connection.execute(query.order_by(_event.c.block.desc()).limit(1)).one_or_none()
        head = Head(*row) if row else Head()
        for table in (_event, _subject):
            self._connection.execute(sa.delete(table).where(table.c.block > head.number))
        self._move(head)
        return head

    def clear(self) -> None:
        """Forget everything."""
        for table in (_event, _subject, _head):
            self._connection.execute(sa.delete(table))

    def about(self, subject: str) -> list[IndexedEvent]:
        """Return the events about a subject and about what began under it, in the order of the chain."""
        begun = sa.select(sa.literal(subject).label("subject")).cte("begun", recursive=True)
        children = sa.select(_subject.c.child).join(begun, _subject.c.subject == begun.c.subject)
        begun = begun.union(children.where(_subject.c.child.is_not(None)))
        places = sa.select(_subject.c.block, _subject.c.place).join(begun, _subject.c.subject == begun.c.subject)
        return self._select(sa.tuple_(_event.c.block, _event.c.place).in_(places))

    def named(self, names: Iterable[str], from_block: int) -> list[IndexedEvent]:
        """Return the events of some names from a block on, in the order of the chain; of any name if none is given."""
        wanted = list(names)
        recent = _event.c.block >= from_block
        return self._select(sa.and_(_event.c.name.in_(wanted), recent) if wanted else recent)

    def _select(self, condition: Any) -> list[IndexedEvent]:
        query = sa.select(_event).where(condition).order_by(_event.c.block, _event.c.place)
        return [_read(row) for row in self._connection.execute(query)]

    def _move(self, head: Head) -> None:
        self._connection.execute(sa.delete(_head))
        self._connection.execute(sa.insert(_head).values(number=head.number, hash=head.hash))


def _row(event: IndexedEvent) -> dict[str, Any]:
    return {
        "block_hash": event.block_hash,
        "block_time": event.block_time,
        "transaction_hash": event.transaction_hash,
        "contract": event.contract,
        "name": event.name,
        "args": json.dumps(event.args, separators=(",", ":")),
        "subjects": " ".join(event.subjects),
    }


def _read(row: Any) -> IndexedEvent:
    return IndexedEvent(
        contract=row.contract,
        name=row.name,
        args=json.loads(row.args),
        block_number=row.block,
        block_hash=row.block_hash,
        block_time=row.block_time,
        transaction_hash=row.transaction_hash,
        log_index=row.place,
        subjects=tuple(row.subjects.split()),
    )
