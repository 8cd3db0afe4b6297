"""The logs of an embedded chain's blocks as a table, so that a filter is a query and not a walk over every block.

Law:
    what ``find`` returns is what the receipts of the blocks say, whatever the filter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import chain

from countermark.adapters.engine import Block, LogEntry, LogFilter
from countermark.core.rlp import keccak256
from countermark.core.trie import read_header, read_receipt

SCHEMA = """
CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS log (
    block INTEGER NOT NULL, place INTEGER NOT NULL, transaction_hash BLOB NOT NULL, transaction_index INTEGER NOT NULL,
    address BLOB NOT NULL, data BLOB NOT NULL, topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB,
    PRIMARY KEY (block, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS log_by_origin ON log (address, topic0, block);
"""
_TOPICS = ("topic0", "topic1", "topic2", "topic3")
_FIND = """
SELECT block, hash, time, transaction_hash, transaction_index, place, address, data, topic0, topic1, topic2, topic3
FROM log JOIN block ON number = block WHERE {conditions} ORDER BY block, place
"""


def read_logs(block: Block) -> Iterator[LogEntry]:
    """Yield the logs of a block from its encodings, in order."""
    header, count = read_header(block.header), 0
    for index, (raw, encoded) in enumerate(zip(block.transactions, block.receipts, strict=True)):
        transaction_hash = keccak256(raw)
        for log in read_receipt(encoded).logs:
            yield LogEntry(header.number, header.hash, header.timestamp, transaction_hash, index, count, *log)
            count += 1


class LogTable:
    """The table over an open database; whoever calls ``add`` holds the transaction of the block."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql

    def height(self) -> int:
        """Return the newest block whose logs are in the table, -1 if there is none."""
        (number,) = self._sql.execute("SELECT max(number) FROM block").fetchone()
        return -1 if number is None else int(number)

    def add(self, block: Block) -> None:
        """Write a block's logs."""
        header = read_header(block.header)
        self._sql.execute("INSERT INTO block VALUES (?, ?, ?)", (header.number, header.hash, header.timestamp))
        self._sql.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, read_logs(block)))

    def find(self, wanted: LogFilter) -> list[LogEntry]:
        """Return what matches, in the order of the chain."""
        if len(wanted.topics) > len(_TOPICS):
            return []
        conditions = ["block BETWEEN ? AND ?", *_conditions(wanted)]
        values = (wanted.first, wanted.last, *wanted.addresses, *chain.from_iterable(wanted.topics))
        query = _FIND.format(conditions=" AND ".join(conditions))
        return [_entry(*row) for row in self._sql.execute(query, values)]


def _conditions(wanted: LogFilter) -> Iterator[str]:
    if wanted.addresses:
        yield f"address IN ({_marks(wanted.addresses)})"
    for column, place in zip(_TOPICS, wanted.topics, strict=False):
        yield f"{column} IN ({_marks(place)})" if place else f"{column} IS NOT NULL"


def _marks(values: tuple[bytes, ...]) -> str:
    return ", ".join("?" * len(values))


def _row(log: LogEntry) -> tuple[object, ...]:
    topics = (*log.topics, None, None, None, None)[: len(_TOPICS)]
    where = (log.block_number, log.index, log.transaction_hash, log.transaction_index)
    return (*where, log.address, log.data, *topics)


def _entry(
    number: int,
    block_hash: bytes,
    time: int,
    transaction_hash: bytes,
    transaction_index: int,
    place: int,
    address: bytes,
    data: bytes,
    *topics: bytes | None,
) -> LogEntry:
    found = tuple(topic for topic in topics if topic is not None)
    return LogEntry(number, block_hash, time, transaction_hash, transaction_index, place, address, found, data)
