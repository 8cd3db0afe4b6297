"""Bringing a signed transaction onto a chain: sent until it is mined as deep as was asked, and mined once.

What a node says about a transaction it does not take ("already known", "nonce too low", "replacement underpriced")
differs between nodes and is not read. The chain itself is asked: for the receipt, and for the account's turn.
"""

from __future__ import annotations

import time
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception

from countermark.adapters.rpc_shapes import show_data
from countermark.adapters.transactions import guarded, read_turn
from countermark.core.rlp import keccak256
from countermark.core.trie import read_hex
from countermark.errors import LedgerError, StaleNonce

_PAUSES_S = (0.002, 1.0)


class Delivery:
    """Sends transactions and waits for their receipts."""

    def __init__(self, web3: Web3, *, confirmations: int = 0, patience_s: float = 120.0, queues: bool = False) -> None:
        """Remember how to deliver.

        Args:
            web3: the chain.
            confirmations: how many blocks must stand on a transaction's own before it counts; 0 where a mined block
                is final.
            patience_s: how long to wait for that.
            queues: whether the node takes transactions before their turn, which we never let it do: nobody would know
                when such a one is mined.
        """
        self._web3 = web3
        self._confirmations = confirmations
        self._patience_s = patience_s
        self._queues = queues

    def find(self, transaction_hash: str) -> Any:
        """Return the receipt of a transaction as the chain has it now, or None."""
        with guarded():
            try:
                return self._web3.eth.get_transaction_receipt(_hash(transaction_hash))
            except TransactionNotFound:
                return None

    def settle(self, raw: bytes) -> Any:
        """Send a transaction, again where a reorganisation dropped it, and return its receipt once it is deep enough.

        Raises:
            StaleNonce: its turn is past or has not come.
            NetworkError: the node is away; the same bytes may be settled later.
            LedgerError: not taken, or not deep enough in time; the same bytes may be settled later.
        """
        transaction_hash, deadline = show_data(keccak256(raw)), time.monotonic() + self._patience_s
        pause, longest = _PAUSES_S
        found = self.find(transaction_hash)
        if found is None:
            self._send(transaction_hash, raw)
            found = self.find(transaction_hash)
        while found is None or not self._is_final(found):
            if time.monotonic() > deadline:
                raise LedgerError(
                    "transaction {hash} is not final yet",
                    hint="Repeat the command: it is not sent as a second one.",
                    hash=transaction_hash,
                )
            time.sleep(pause)
            pause = min(2 * pause, longest)
            if found is None and not self._is_known(transaction_hash):
                self._send(transaction_hash, raw)
            found = self.find(transaction_hash)
        return found

    def _is_final(self, found: Any) -> bool:
        if not self._confirmations:
            return True
        with guarded():
            if self._web3.eth.block_number - found["blockNumber"] < self._confirmations:
                return False
            return bool(self._web3.eth.get_block(found["blockNumber"])["hash"] == found["blockHash"])

    def _is_known(self, transaction_hash: str) -> bool:
        with guarded():
            try:
                return self._web3.eth.get_transaction(_hash(transaction_hash)) is not None
            except TransactionNotFound:
                return False

    def _send(self, transaction_hash: str, raw: bytes) -> None:
        if self._queues:
            self._check_turn(raw, early_only=True)
        try:
            self._web3.eth.send_raw_transaction(raw)
        except (Web3Exception, OSError) as error:
            if self._is_known(transaction_hash):
                return
            self._check_turn(raw, cause=error)
            raise LedgerError("the ledger did not take the transaction: {reason}", reason=error) from error

    def _check_turn(self, raw: bytes, *, early_only: bool = False, cause: Exception | None = None) -> None:
        """Raise where a turn is past for good or has not come; one in which another transaction waits is neither."""
        sender, nonce = read_turn(raw)
        with guarded():
            account = Web3.to_checksum_address(sender)
            due = self._web3.eth.get_transaction_count(account, "pending")
            past = not early_only and nonce < self._web3.eth.get_transaction_count(account)
        if past or nonce > due:
            raise StaleNonce(
                "prepared as transaction {nonce} of the account, whose next is {due}", nonce=nonce, due=due
            ) from cause


def _hash(text: str) -> Any:
    return HexBytes(read_hex(text, "transaction hash"))
