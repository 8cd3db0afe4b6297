"""The seam between the ledger's client and the machine that runs its contracts.

What crosses it is in Ethereum's own encodings (header and transaction RLP, EIP-2718 receipts), so nothing shows which
implementation runs behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

GAS_LIMIT = 30_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """A block in its encodings: header RLP, then per transaction its EIP-2718 bytes and those of its receipt."""

    header: bytes
    transactions: tuple[bytes, ...]
    receipts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """An account's state: next nonce, balance in wei, code."""

    nonce: int
    balance: int
    code: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """An unsigned call; ``to`` is empty to create a contract. Addresses have 20 bytes, value is in wei."""

    sender: bytes
    to: bytes
    data: bytes
    value: int = 0
    gas: int = GAS_LIMIT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave: success, return or revert data, gas before refunds, and the engine's word on a failure."""

    success: bool
    output: bytes
    gas: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One log record and where it stands; ``index`` counts within the block, ``timestamp`` is the block's Unix time."""

    block_number: int
    block_hash: bytes
    timestamp: int
    transaction_hash: bytes
    transaction_index: int
    index: int
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are wanted: of the blocks ``first`` to ``last``, where each place holds what may stand there.

    An empty place matches anything; ``topics`` has a place for each topic that a record has to have.
    """

    first: int
    last: int
    addresses: tuple[bytes, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()


class Engine(Protocol):
    """What the client needs of an engine. Numbers are block heights; an unknown one raises ``LedgerError``."""

    chain_id: int

    def height(self) -> int:
        """Return the number of the newest block."""

    def header(self, number: int) -> bytes:
        """Return a block's header as RLP."""

    def block(self, number: int) -> Block:
        """Return a block."""

    def number_of(self, block_hash: bytes) -> int | None:
        """Return the height of a block, or None."""

    def locate(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """Return block number and index of a mined transaction, or None."""

    def account(self, address: bytes, number: int) -> Account:
        """Return an account's state after a block."""

    def storage(self, address: bytes, slot: int, number: int) -> int:
        """Return a storage word after a block."""

    def logs(self, wanted: LogFilter) -> list[LogEntry]:
        """Return the logs that a filter matches, in their order on the chain."""

    def call(self, message: Message, number: int) -> Outcome:
        """Run a call as if in the block after ``number``, without fees, and keep nothing of it."""

    def send_raw(self, raw: bytes) -> None:
        """Mine a signed transaction into a block of its own; returns after it is durable, at once if mined before."""

    def close(self) -> None:
        """Let go of the file."""
