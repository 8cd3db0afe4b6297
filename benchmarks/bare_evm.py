"""py-evm over one SQLite table, and nothing else: what the embedded engine is measured against.

The same machine rules and the same durability as the engine (WAL, ``synchronous=FULL``, one SQL transaction per block),
without its reading side, its table of logs, its checks for repeated transactions, and without a client.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eth.chains.base import MiningChain
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.db.backends.base import BaseDB
from eth.vm.forks.cancun import CancunVM


class BareChain:
    """A chain with all coin at one address; the caller decides how many transactions share a block."""

    def __init__(self, path: Path, *, chain_id: int, treasury: bytes) -> None:
        self._db = _Table(path)
        vms = ((0, CancunVM.configure(consensus_class=NoProofConsensus)),)
        parameters = {
            "gas_limit": 30_000_000,
            "base_fee_per_gas": 7,
            "timestamp": int(time.time()) - 100_000,
            "parent_beacon_block_root": bytes(32),
        }
        funds = {treasury: {"balance": 10**30, "nonce": 0, "code": b"", "storage": {}}}
        chain_class = MiningChain.configure(__name__="BareChain", vm_configuration=vms, chain_id=chain_id)
        self._chain: Any = chain_class.from_genesis(AtomicDB(self._db), parameters, funds)
        self._decode = self._chain.get_vm().get_transaction_builder().decode

    def mine(self, raws: Sequence[bytes]) -> list[int]:
        """Mine signed transactions into one durable block; return the status of each."""
        self._db.sql.execute("BEGIN IMMEDIATE")
        head = self._chain.get_canonical_head()
        moment = max(int(time.time()), head.timestamp + 1)
        self._chain.header = self._chain.create_header_from_parent(
            head, timestamp=moment, gas_limit=head.gas_limit, parent_beacon_block_root=bytes(32)
        )
        _, receipts, _ = self._chain.mine_all([self._decode(raw) for raw in raws])
        self._db.sql.execute("COMMIT")
        return [int.from_bytes(receipt.state_root, "big") for receipt in receipts]

    def close(self) -> None:
        """Let go of the file."""
        self._db.sql.close()


class _Table(BaseDB):  # type: ignore[misc]
    def __init__(self, path: Path) -> None:
        self.sql = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE node (k BLOB PRIMARY KEY, v)",
        ):
            self.sql.execute(statement)

    def __getitem__(self, key: bytes) -> bytes:
        row = self.sql.execute("SELECT v FROM node WHERE k = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.sql.execute("INSERT OR REPLACE INTO node VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        self.sql.execute("DELETE FROM node WHERE k = ?", (key,))

    def _exists(self, key: bytes) -> bool:
        return self.sql.execute("SELECT 1 FROM node WHERE k = ?", (key,)).fetchone() is not None
