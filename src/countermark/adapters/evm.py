"""The embedded ledger engine: an Ethereum virtual machine over one SQLite file.

This one is py-evm at fixed Cancun rules, with one change: blocks of one second share their time. A chain clock that ran
ahead of the wall, a second per block, would keep a revoked grant in force until the wall caught up.

There is one sealer and no consensus: the chain is as honest as whoever holds the file.

Durability: a block and its logs are one SQL transaction with ``synchronous=FULL``, and ``send_raw`` returns only after
its commit. A process killed anywhere leaves the last committed block. Several processes may share the file; blocks take
turns.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rlp
from eth.chains.base import Chain
from eth.consensus.noproof import NoProofConsensus
from eth.db.atomic import AtomicDB
from eth.db.backends.base import BaseDB
from eth.exceptions import HeaderNotFound, Revert, TransactionNotFound
from eth.vm.forks.cancun import CancunVM
from eth.vm.spoof import SpoofTransaction
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError
from trie import HexaryTrie

from countermark.adapters import logs
from countermark.adapters.engine import GAS_LIMIT, Account, Block, LogEntry, LogFilter, Message, Outcome
from countermark.core.times import Clock
from countermark.errors import LedgerError, StorageError

# In wei: where EIP-1559 lets the base fee of an idle chain settle. Fees keep members from flooding it; nobody earns.
_BASE_FEE = 7
_TREASURY_WEI = 10**30
_LOCK_TIMEOUT_S = 60
_SCHEMA = """
CREATE TABLE IF NOT EXISTS node (key BLOB PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS genesis (chain_id INTEGER NOT NULL, treasury BLOB NOT NULL);
"""


class EmbeddedEngine:
    """py-evm on SQLite."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open an existing chain.

        Raises:
            LedgerError: there is none in the file.
        """
        self._db = _SqliteDB(path)
        self._clock = clock
        row = self._db.genesis()
        if row is None:
            self._db.close()
            raise LedgerError("no ledger at {path}", path=path.name)
        self.chain_id, self.treasury = row
        self._chain = _chain_class(self.chain_id)(AtomicDB(self._db))
        self._chaindb = self._chain.chaindb
        self._fill_logs()

    @classmethod
    def create(cls, path: Path, *, chain_id: int, treasury: bytes, clock: Clock) -> EmbeddedEngine:
        """Create a chain with all coin at the 20-byte treasury address, or open the one that is there.

        Raises:
            LedgerError: the file holds a chain of another id or treasury.
        """
        db = _SqliteDB(path)
        try:
            with db.transaction():
                if db.genesis() is None:
                    _write_genesis(db, chain_id, treasury, clock)
            if db.genesis() != (chain_id, treasury):
                raise LedgerError("the ledger at {path} belongs to another workspace", path=path.name)
        finally:
            db.close()
        return cls(path, clock)

    def height(self) -> int:
        """Return the number of the newest block."""
        return int(self._chaindb.get_canonical_head().block_number)

    def header(self, number: int) -> bytes:
        """Return a block's header as RLP."""
        return bytes(rlp.encode(self._header(number)))

    def block(self, number: int) -> Block:
        """Return a block."""
        header = self._header(number)
        return Block(
            rlp.encode(header),
            tuple(self._items(header.transaction_root)),
            tuple(self._items(header.receipt_root)),
        )

    def number_of(self, block_hash: bytes) -> int | None:
        """Return the height of a block, or None."""
        try:
            return int(self._chaindb.get_block_header_by_hash(block_hash).block_number)
        except HeaderNotFound:
            return None

    def locate(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """Return block number and index of a mined transaction, or None."""
        try:
            number, index = self._chaindb.get_transaction_index(transaction_hash)
        except TransactionNotFound:
            return None
        return int(number), int(index)

    def account(self, address: bytes, number: int) -> Account:
        """Return an account's state after a block."""
        state = self._state_after(number)
        return Account(state.get_nonce(address), state.get_balance(address), state.get_code(address))

    def storage(self, address: bytes, slot: int, number: int) -> int:
        """Return a storage word after a block."""
        return int(self._state_after(number).get_storage(address, slot))

    def logs(self, wanted: LogFilter) -> list[LogEntry]:
        """Return the logs that a filter matches, in their order on the chain."""
        with self._db.reading():
            return self._db.logs.find(wanted)

    def call(self, message: Message, number: int) -> Outcome:
        """Run a call as if in the block after ``number``, without fees, and keep nothing of it.

        The block time is the clock's, so that windows and memberships are judged as of now.
        """
        vm = self._chain.get_vm(self._next_header(self._header(number)).copy(base_fee_per_gas=0))
        state = vm.state
        transaction = vm.create_unsigned_transaction(
            nonce=state.get_nonce(message.sender),
            gas_price=0,
            gas=min(message.gas, GAS_LIMIT),
            to=message.to,
            value=message.value,
            data=message.data,
        )
        try:
            result = state.costless_execute_transaction(SpoofTransaction(transaction, from_=message.sender))
        except ValidationError as error:
            return Outcome(False, b"", 0, str(error))
        gas = result.get_gas_used() + transaction.intrinsic_gas
        if result.is_success:
            return Outcome(True, result.output, gas)
        reverted = isinstance(result.error, Revert)
        return Outcome(False, result.output, gas, "execution reverted" if reverted else repr(result.error))

    def send_raw(self, raw: bytes) -> None:
        """Mine a signed transaction into a block of its own; returns after it is durable, at once if mined before.

        Raises:
            LedgerError: not a valid transaction in the present state; ``__cause__`` says why.
        """
        with self._db.transaction():
            try:
                transaction = _Rules.get_transaction_builder().decode(raw)
                if self.locate(transaction.hash) is None:
                    self._mine(transaction, raw)
            except (ValidationError, BadSignature, rlp.exceptions.RLPException, AssertionError) as error:
                raise LedgerError("the ledger refused the transaction: {reason}", reason=error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _mine(self, transaction: Any, raw: bytes) -> None:
        """Do what py-evm's mining chain does, without checking the block a second time and reading it back."""
        header = self._next_header(self._chaindb.get_canonical_head())
        vm = self._chain.get_vm(header)
        header, receipts, _ = vm.apply_all_transactions([transaction], header)
        filled = vm.set_block_transactions_and_withdrawals(vm.get_block(), header, [transaction], receipts)
        block = vm.mine_block(filled).block
        self._chaindb.persist_block(block)
        encoded = tuple(receipt.encode() for receipt in receipts)
        self._db.logs.add(Block(rlp.encode(block.header), (raw,), encoded))

    def _fill_logs(self) -> None:
        """Write the logs of blocks that an earlier version mined without."""
        if self._db.logs.height() < self.height():
            with self._db.transaction():
                for number in range(self._db.logs.height() + 1, self.height() + 1):
                    self._db.logs.add(self.block(number))

    def _header(self, number: int) -> Any:
        try:
            return self._chaindb.get_canonical_block_header_by_number(number)
        except HeaderNotFound as error:
            raise LedgerError("the ledger has no block {number}", number=number) from error

    def _next_header(self, parent: Any) -> Any:
        moment = max(int(self._clock().timestamp()), parent.timestamp)
        return _Rules.create_header_from_parent(
            parent, timestamp=moment, gas_limit=parent.gas_limit, parent_beacon_block_root=bytes(32)
        )

    def _state_after(self, number: int) -> Any:
        return self._chain.get_vm(self._header(number)).state

    def _items(self, root: bytes) -> Iterator[bytes]:
        trie, index = HexaryTrie(self._db, root), 0
        while item := trie[rlp.encode(index)]:
            yield item
            index += 1


class _Rules(CancunVM):  # type: ignore[misc]
    """Cancun, except that a block may have its parent's time."""

    consensus_class = NoProofConsensus

    @classmethod
    def validate_header(cls, header: Any, parent_header: Any) -> None:
        super().validate_header(header, parent_header.copy(timestamp=parent_header.timestamp - 1))


class _SqliteDB(BaseDB):  # type: ignore[misc]
    """py-evm's key-value store as a table."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        with _storage_errors():
            self._sql = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute("PRAGMA synchronous=FULL")
            self._sql.executescript(_SCHEMA + logs.SCHEMA)
            self.logs = logs.LogTable(self._sql)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is durable on leaving, or nothing is."""
        with self._lock, _storage_errors():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise
            self._sql.execute("COMMIT")

    def genesis(self) -> tuple[int, bytes] | None:
        """Return chain id and treasury address, or None before genesis."""
        row = self._one("SELECT chain_id, treasury FROM genesis")
        return (row[0], row[1]) if row else None

    def add_genesis(self, chain_id: int, treasury: bytes) -> None:
        """Write what ``genesis`` returns."""
        self._sql.execute("INSERT INTO genesis VALUES (?, ?)", (chain_id, treasury))

    def close(self) -> None:
        with self._lock:
            self._sql.close()

    def __getitem__(self, key: bytes) -> bytes:
        row = self._one("SELECT value FROM node WHERE key = ?", key)
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._sql.execute("INSERT OR REPLACE INTO node VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if self._sql.execute("DELETE FROM node WHERE key = ?", (key,)).rowcount == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._one("SELECT 1 FROM node WHERE key = ?", key) is not None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read inside is read by one thread at a time."""
        with self._lock, _storage_errors():
            yield

    def _one(self, query: str, *parameters: bytes) -> Any:
        with self._lock:
            try:
                return self._sql.execute(query, parameters).fetchone()
            except sqlite3.Error as error:  # said again here: a context manager would cost as much as the read
                raise _unusable(error) from error


def _chain_class(chain_id: int) -> Any:
    return Chain.configure(__name__="EmbeddedChain", vm_configuration=((0, _Rules),), chain_id=chain_id)


def _write_genesis(db: _SqliteDB, chain_id: int, treasury: bytes, clock: Clock) -> None:
    parameters = {
        "gas_limit": GAS_LIMIT,
        "base_fee_per_gas": _BASE_FEE,
        "timestamp": int(clock().timestamp()),
        "parent_beacon_block_root": bytes(32),
    }
    funds = {treasury: {"balance": _TREASURY_WEI, "nonce": 0, "code": b"", "storage": {}}}
    _chain_class(chain_id).from_genesis(AtomicDB(db), parameters, funds)
    db.add_genesis(chain_id, treasury)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unusable(error) from error


def _unusable(error: sqlite3.Error) -> StorageError:
    return StorageError("the ledger's file cannot be used: {reason}", reason=error)
