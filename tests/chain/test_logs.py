"""The embedded chain's table of logs: the same as its receipts, on an older file filled up, and used by its index."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from countermark.adapters.ledger import Ledger


def everything(ledger):
    answer = ledger.web3.provider.make_request("eth_getLogs", [{"fromBlock": "earliest"}])
    return answer["result"]


def of_the_receipts(ledger):
    ask, newest = ledger.web3.provider.make_request, ledger.web3.eth.block_number
    receipts = [r for n in range(newest + 1) for r in ask("eth_getBlockReceipts", [hex(n)])["result"]]
    return [log for receipt in receipts for log in receipt["logs"]]


@pytest.fixture
def path(tmp_path, day):
    return shutil.copy(day.path, tmp_path / "ledger.db")


@pytest.fixture
def ledger(path, day):
    opened = Ledger.open(path, clock=day.clock)
    yield opened
    opened.close()


def test_logs_are_those_of_the_receipts(ledger):
    found = everything(ledger)
    assert found == of_the_receipts(ledger)
    assert len(found) > 100
    assert found[-1]["blockTimestamp"] == hex(ledger.web3.eth.get_block(found[-1]["blockNumber"])["timestamp"])


@pytest.mark.parametrize(
    "script",
    ["DROP TABLE log; DROP TABLE block;", "DELETE FROM log WHERE block > 3; DELETE FROM block WHERE number > 3;"],
    ids=["no table", "some blocks"],
)
def test_a_file_of_an_earlier_version_is_filled_up(path, day, script):
    with closing(Ledger.open(path, clock=day.clock)) as ledger:
        before = everything(ledger)
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript(script)
    with closing(Ledger.open(path, clock=day.clock)) as ledger:
        assert everything(ledger) == before


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ({"fromBlock": "0x0", "toBlock": hex(2**70)}, None),
        ({"fromBlock": hex(2**70)}, 0),
        ({"fromBlock": "0x2", "toBlock": "0x1"}, 0),
        ({"blockHash": "0x" + "00" * 32}, 0),
    ],
)
def test_the_ends_of_a_range(ledger, request_, count):
    found = ledger.web3.provider.make_request("eth_getLogs", [request_])["result"]
    assert found == everything(ledger) if count is None else len(found) == count


def test_filters_use_an_index(day):
    conditions = {"block BETWEEN 1 AND 2": "PRIMARY KEY", "address = x'00' AND topic0 = x'00'": "log_by_origin"}
    with closing(sqlite3.connect(day.path)) as sql:
        for condition, index in conditions.items():
            (plan,) = sql.execute(f"EXPLAIN QUERY PLAN SELECT * FROM log WHERE {condition}").fetchall()
            assert index in plan[-1]
