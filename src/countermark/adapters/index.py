"""The event index: our contracts' events in the workspace's store, rebuildable from the chain at any time.

A page of blocks is read and written in one transaction together with the block that the index then reaches. Before the
next page that block is looked up again: where the chain has another one at its height, blocks are forgotten until one
is reached that still stands. A page that the chain changed under is read again, so no block of another branch stays.

Laws:
    after ``follow`` the index holds each event up to the newest block once, however often and wherever it was
    interrupted before; it equals that of ``rebuild``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from web3 import Web3

from countermark.adapters.contracts import read_event
from countermark.adapters.event_tables import Head, IndexedEvent
from countermark.adapters.rpc_shapes import read_data, show_data
from countermark.adapters.store import SqlStore
from countermark.adapters.subjects import subjects_of
from countermark.adapters.transactions import guarded
from countermark.errors import LedgerError

Json = dict[str, Any]

#: Nodes limit the blocks of one question; one that refuses is asked for half as many.
_MAX_SPAN = 4096
_FIRST_SPAN = 512
_FEW_EVENTS = 256
_ATTEMPTS = 20
#: The largest integer that is written as a number: what canonical JSON carries exactly.
_EXACT = 2**53 - 1


class EventIndex:
    """The events of one deployment."""

    def __init__(self, store: SqlStore, web3: Web3, contracts: Mapping[str, str]) -> None:
        """Remember where to read and write; nothing is read yet.

        Args:
            store: of the workspace.
            web3: over the chain.
            contracts: address by name.
        """
        self._store = store
        self._web3 = web3
        self._contracts = {address.lower(): name for name, address in contracts.items()}
        self._span, self._most = _FIRST_SPAN, _MAX_SPAN

    def follow(self) -> int:
        """Bring the index up to the newest block; return how many events were read.

        Raises:
            NetworkError: the node is away.
            LedgerError: its answers do not fit together.
            StorageError: the store failed.
        """
        count, failures = 0, 0
        while failures < _ATTEMPTS:
            with guarded():
                head, newest = self._standing_head(), self._height()
                if head.number >= newest:
                    return count
                read = self._read_page(head, min(head.number + self._span, newest))
            count, failures = count + (read or 0), 0 if read is not None else failures + 1
        raise LedgerError("the ledger's newest blocks change faster than they can be read")

    def rebuild(self) -> int:
        """Forget everything and read the chain from block 0; return how many events were read. Raises as ``follow``."""
        with self._store.transaction() as transaction:
            transaction.events.clear()
        return self.follow()

    def about(self, subject: str) -> list[IndexedEvent]:
        """Return the events about a subject and about what began under it, oldest first.

        Args:
            subject: such as ``title:1``, ``offer:1``, ``grant:1``, ``sale:1``, ``listing:1``, ``file-sale:1``,
                ``case:1``, ``proposal:1``, ``batch:1``, ``log:0x…``, ``account:0x…``; hex digits in lower case.
        """
        with self._store.transaction() as transaction:
            return transaction.events.about(subject)

    def named(self, *names: str, from_block: int = 0) -> list[IndexedEvent]:
        """Return the events of these names, or of any, from a block on, oldest first."""
        with self._store.transaction() as transaction:
            return transaction.events.named(names, from_block)

    def _standing_head(self) -> Head:
        """Return the newest indexed block that is still on the chain, having forgotten those that are not."""
        with self._store.transaction() as transaction:
            head = transaction.events.head()
        while not self._stands(head):
            with self._store.transaction() as transaction:
                head = transaction.events.step_back()
        return head

    def _read_page(self, head: Head, last: int) -> int | None:
        """Read the blocks after ``head`` and write them; return the number of events, None if nothing was written."""
        end = Head(last, self._block(last).get("hash", ""))
        try:
            logs = self._logs(head.number + 1, last)
        except LedgerError:
            if self._span == 1:
                raise
            self._span = self._most = max(1, self._span // 2)
            return None
        events = list(self._events(logs))
        if not (end.hash and self._stands(end) and self._stands(head)):
            return None
        with self._store.transaction() as transaction:
            if transaction.events.head() != head:
                return None
            transaction.events.add(events, end)
        if len(events) < _FEW_EVENTS:
            self._span = min(2 * self._span, self._most)
        return len(events)

    def _events(self, logs: Sequence[Json]) -> Iterator[tuple[IndexedEvent, Mapping[str, str | None]]]:
        times: dict[str, int] = {}
        for log in logs:
            contract, topics = self._contracts[log["address"].lower()], [*map(read_data, log["topics"])]
            found = read_event(contract, topics, read_data(log["data"]))
            if found is not None:
                name, args = found[0], _plain(found[1])
                subjects = subjects_of(contract, name, args)
                event = IndexedEvent(
                    contract=contract,
                    name=name,
                    args=args,
                    block_number=int(log["blockNumber"], 16),
                    block_hash=log["blockHash"],
                    block_time=self._time_of(log, times),
                    transaction_hash=log["transactionHash"],
                    log_index=int(log["logIndex"], 16),
                    subjects=tuple(subjects),
                )
                yield event, subjects

    def _time_of(self, log: Json, known: dict[str, int]) -> int:
        """Return the time of a log's block; not every node says it beside the log."""
        if log.get("blockTimestamp"):
            return int(log["blockTimestamp"], 16)
        number = log["blockNumber"]
        if number not in known:
            known[number] = int(self._block(int(number, 16))["timestamp"], 16)
        return known[number]

    def _stands(self, head: Head) -> bool:
        return head.number < 0 or self._block(head.number).get("hash") == head.hash

    def _height(self) -> int:
        return int(self._ask("eth_blockNumber"), 16)

    def _block(self, number: int) -> Json:
        """Return a block; empty if the chain has none of that number (any more)."""
        return dict(self._ask("eth_getBlockByNumber", hex(number), False) or {})

    def _logs(self, first: int, last: int) -> Sequence[Json]:
        found = self._ask(
            "eth_getLogs", {"fromBlock": hex(first), "toBlock": hex(last), "address": list(self._contracts)}
        )
        if not isinstance(found, list):
            raise LedgerError("the ledger's node answered with something else than logs")
        return found

    def _ask(self, method: str, *params: Any) -> Any:
        """Ask the node, past web3.py's formatters: they take longer than all the rest."""
        answer: Any = self._web3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        if answer.get("error") is not None:
            raise LedgerError("the ledger's node refused {method}: {reason}", method=method, reason=answer["error"])
        return answer["result"]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, bytes):
        return show_data(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else value
