"""``eth_getLogs`` of the embedded engine against the receipts of its blocks, over random blocks and filters."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("rlp")

import rlp

from countermark.adapters.engine import Block, LogFilter
from countermark.adapters.logs import SCHEMA, LogTable, read_logs

# Few values, so that filters hit.
addresses = st.sampled_from([bytes([number]) * 20 for number in range(3)])
words = st.sampled_from([bytes([number]) * 32 for number in range(3)])
records = st.tuples(addresses, st.lists(words, max_size=4), st.binary(max_size=40))
blocks = st.lists(st.lists(st.lists(records, max_size=3), max_size=3), max_size=6)
filters = st.builds(
    LogFilter,
    first=st.integers(0, 5),
    last=st.integers(0, 6),
    addresses=st.lists(addresses, max_size=2).map(tuple),
    topics=st.lists(st.lists(words, max_size=2).map(tuple), max_size=5).map(tuple),
)


def make_block(number: int, transactions: list[list[tuple[bytes, list[bytes], bytes]]]) -> Block:
    word = bytes(32)
    header = [
        word,
        word,
        bytes(20),
        word,
        word,
        word,
        bytes(256),
        0,
        number,
        1,
        1,
        1000 + number,
        b"",
        word,
        bytes(8),
        7,
    ]
    receipts = [b"\x02" + rlp.encode([1, 21_000 * (n + 1), bytes(256), logs]) for n, logs in enumerate(transactions)]
    return Block(rlp.encode(header), tuple(bytes([2, number, n]) for n in range(len(receipts))), tuple(receipts))


def matches(wanted, log):
    here = wanted.first <= log.block_number <= wanted.last and (not wanted.addresses or log.address in wanted.addresses)
    enough = len(log.topics) >= len(wanted.topics)
    return (
        here
        and enough
        and all(not place or topic in place for place, topic in zip(wanted.topics, log.topics, strict=False))
    )


@given(blocks, filters)
@example([[[(bytes(20), [bytes(32)], b"")]]], LogFilter(0, 0, (), ((), ())))
@example([[[(bytes(20), [], b"")]]], LogFilter(0, 0))
def test_a_filter_finds_what_the_receipts_say(transactions, wanted):
    sql = sqlite3.connect(":memory:")
    try:
        sql.executescript(SCHEMA)
        table, chain = LogTable(sql), [make_block(number, block) for number, block in enumerate(transactions)]
        assert table.height() == -1
        for block in chain:
            table.add(block)
        assert table.height() == len(chain) - 1
        everything = [log for block in chain for log in read_logs(block)]
        assert table.find(LogFilter(0, len(chain))) == everything
        assert table.find(wanted) == [log for log in everything if matches(wanted, log)]
    finally:
        sql.close()
