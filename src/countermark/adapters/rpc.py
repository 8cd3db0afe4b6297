"""JSON-RPC in front of an engine: a web3.py provider, so that the embedded chain is called like any Ethereum node.

Only reading methods and ``eth_sendRawTransaction``: keys never come here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from web3.providers.base import BaseProvider

from countermark.adapters.engine import GAS_LIMIT, Account, Engine, LogFilter, Message, Outcome
from countermark.adapters.rpc_shapes import (
    Json,
    header_fields,
    read_data,
    show_block,
    show_data,
    show_log,
    show_receipts,
    show_transaction,
    show_transactions,
)
from countermark.core.rlp import decode_int
from countermark.errors import CountermarkError


class EngineProvider(BaseProvider):
    """Answers web3.py from an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._methods: dict[str, Callable[..., Any]] = {
            "web3_clientVersion": lambda: "countermark-embedded/1",
            "net_version": lambda: str(engine.chain_id),
            "eth_chainId": lambda: hex(engine.chain_id),
            "eth_syncing": lambda: False,
            "eth_accounts": lambda: [],
            "eth_blockNumber": lambda: hex(engine.height()),
            "eth_gasPrice": lambda: hex(self._base_fee()),
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": lambda address, tag="latest": hex(self._account(address, tag).balance),
            "eth_getTransactionCount": lambda address, tag="latest": hex(self._account(address, tag).nonce),
            "eth_getCode": lambda address, tag="latest": show_data(self._account(address, tag).code),
            "eth_getStorageAt": self._storage_at,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendRawTransaction": self._send_raw,
            "eth_getBlockByNumber": lambda tag, full=False: self._block(self._number(tag), full),
            "eth_getBlockByHash": lambda key, full=False: self._block(engine.number_of(read_data(key)), full),
            "eth_getBlockReceipts": lambda tag: self._receipts(self._number(tag)),
            "eth_getTransactionByHash": lambda key: self._find(key, self._transactions),
            "eth_getTransactionReceipt": lambda key: self._find(key, self._receipts),
            "eth_getLogs": self._logs,
        }

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Always: the engine is in this process."""
        return True

    def make_request(self, method: Any, params: Any) -> Any:
        """Answer one JSON-RPC request."""
        answer: Json = {"jsonrpc": "2.0", "id": 1}
        if method not in self._methods:
            return answer | {"error": {"code": -32601, "message": f"the method {method} is not available"}}
        try:
            return answer | {"result": self._methods[method](*params)}
        except _CallFailed as failure:
            return answer | {"error": failure.error}
        except CountermarkError as error:
            return answer | {"error": {"code": -32000, "message": str(error)}}
        except (ValueError, TypeError, AttributeError) as error:
            return answer | {"error": {"code": -32602, "message": f"invalid parameters: {error}"}}

    def _number(self, tag: Any) -> int:
        if tag in ("latest", "pending", "safe", "finalized"):
            return self._engine.height()
        return 0 if tag == "earliest" else int(tag, 16)

    def _base_fee(self) -> int:
        return decode_int(header_fields(self._engine.header(self._engine.height()))[15])

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> Json:
        number = self._number(newest)
        return {
            "oldestBlock": hex(number),
            "baseFeePerGas": [hex(self._base_fee())] * 2,
            "gasUsedRatio": [0.0],
            "reward": [["0x0"] * len(percentiles or ())],
        }

    def _account(self, address: str, tag: Any) -> Account:
        return self._engine.account(read_data(address), self._number(tag))

    def _storage_at(self, address: str, slot: str, tag: Any = "latest") -> str:
        return f"0x{self._engine.storage(read_data(address), int(slot, 16), self._number(tag)):064x}"

    def _call(self, request: Json, tag: Any = "latest", _overrides: Any = None) -> str:
        return show_data(self._run(_message(request), self._number(tag)).output)

    def _run(self, message: Message, number: int) -> Outcome:
        outcome = self._engine.call(message, number)
        if not outcome.success:
            raise _CallFailed(outcome.reason, outcome.output)
        return outcome

    def _estimate_gas(self, request: Json, tag: Any = "latest", _overrides: Any = None) -> str:
        """Return what the call used and some more: inner calls keep back a 64th, and time moves until it is mined."""
        outcome = self._run(_message(request), self._number(tag))
        return hex(min(outcome.gas + outcome.gas // 4 + 10_000, GAS_LIMIT))

    def _send_raw(self, data: str) -> str:
        raw = read_data(data)
        shown = show_transaction(raw)
        self._engine.send_raw(raw)
        return str(shown["hash"])

    def _block(self, number: int | None, full: bool) -> Json | None:
        if number is None or number > self._engine.height():
            return None
        block = self._engine.block(number)
        return show_block(block) | ({"transactions": show_transactions(block)} if full else {})

    def _transactions(self, number: int) -> list[Json]:
        return show_transactions(self._engine.block(number))

    def _receipts(self, number: int) -> list[Json]:
        return list(show_receipts(self._engine.block(number)))

    def _find(self, key: str, items: Callable[[int], list[Json]]) -> Json | None:
        place = self._engine.locate(read_data(key))
        return None if place is None else items(place[0])[place[1]]

    def _logs(self, request: Json) -> list[Json]:
        if "blockHash" in request:
            number = self._engine.number_of(read_data(request["blockHash"]))
            first, last = (1, 0) if number is None else (number, number)
        else:
            first = self._number(request.get("fromBlock", "latest"))
            last = min(self._number(request.get("toBlock", "latest")), self._engine.height())
        topics = tuple(_alternatives(topic) for topic in request.get("topics") or ())
        wanted = LogFilter(first, last, _alternatives(request.get("address")), topics)
        return [show_log(log) for log in self._engine.logs(wanted)] if first <= last else []


class _CallFailed(Exception):
    """A call that reverted or could not run; becomes a JSON-RPC error in the shape that geth gives it."""

    def __init__(self, reason: str, output: bytes) -> None:
        super().__init__(reason)
        self.error = {"code": 3, "message": reason or "execution reverted", "data": show_data(output)}


def _message(request: Json) -> Message:
    return Message(
        sender=read_data(request.get("from", "0x" + "00" * 20)),
        to=read_data(request.get("to") or "0x"),
        data=read_data(request.get("data") or request.get("input") or "0x"),
        value=int(request.get("value", "0x0"), 16),
        gas=int(request.get("gas", hex(GAS_LIMIT)), 16),
    )


def _alternatives(condition: Any) -> tuple[bytes, ...]:
    items = condition if isinstance(condition, list | tuple) else [condition] if condition is not None else []
    return tuple(map(read_data, items))
