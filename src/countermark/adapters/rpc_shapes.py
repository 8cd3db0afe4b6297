"""Blocks, transactions and receipts as Ethereum's JSON-RPC shows them, from their encodings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from eth_account import Account
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException

from countermark.adapters.engine import Block, LogEntry
from countermark.adapters.logs import read_logs
from countermark.core.events import checksum_address
from countermark.core.rlp import Item, decode, decode_bytes, decode_int, decode_list, encode, encode_int, keccak256
from countermark.core.trie import read_receipt
from countermark.errors import InputError

Json = dict[str, Any]

#: Header fields in the order of their RLP, as JSON-RPC names them, with the kind of each: number, data.
HEADER_FIELDS = (
    ("parentHash", bytes),
    ("sha3Uncles", bytes),
    ("miner", bytes),
    ("stateRoot", bytes),
    ("transactionsRoot", bytes),
    ("receiptsRoot", bytes),
    ("logsBloom", bytes),
    ("difficulty", int),
    ("number", int),
    ("gasLimit", int),
    ("gasUsed", int),
    ("timestamp", int),
    ("extraData", bytes),
    ("mixHash", bytes),
    ("nonce", bytes),
    ("baseFeePerGas", int),
    ("withdrawalsRoot", bytes),
    ("blobGasUsed", int),
    ("excessBlobGas", int),
    ("parentBeaconBlockRoot", bytes),
    ("requestsHash", bytes),
)


def show_block(block: Block) -> Json:
    """Return a block, with its transactions as hashes."""
    fields = header_fields(block.header)
    return {name: _show(kind, field) for (name, kind), field in zip(HEADER_FIELDS, fields, strict=False)} | {
        "hash": show_data(keccak256(block.header)),
        "miner": checksum_address(decode_bytes(fields[2], 20)),
        "size": hex(len(block.header) + sum(map(len, block.transactions))),
        "uncles": [],
        "withdrawals": [],
        "transactions": [show_data(keccak256(raw)) for raw in block.transactions],
    }


def show_transactions(block: Block) -> list[Json]:
    """Return a block's transactions with their places."""
    place = _place(block)
    return [
        show_transaction(raw) | place | {"transactionIndex": hex(index)} for index, raw in enumerate(block.transactions)
    ]


def show_receipts(block: Block) -> Iterator[Json]:
    """Yield a block's receipts with their logs, in order."""
    place, base_fee = _place(block), decode_int(header_fields(block.header)[15])
    logs, gas_before = [*read_logs(block)], 0
    for index, (raw, encoded) in enumerate(zip(block.transactions, block.receipts, strict=True)):
        receipt, sent = read_receipt(encoded), show_transaction(raw)
        here = place | {"transactionHash": sent["hash"], "transactionIndex": hex(index)}
        yield here | {
            "type": sent["type"],
            "from": sent["from"],
            "to": sent["to"],
            "contractAddress": None if sent["to"] else _created(sent),
            "status": hex(receipt.status),
            "cumulativeGasUsed": hex(receipt.cumulative_gas),
            "gasUsed": hex(receipt.cumulative_gas - gas_before),
            "effectiveGasPrice": hex(
                min(int(sent["maxFeePerGas"], 16), base_fee + int(sent["maxPriorityFeePerGas"], 16))
            ),
            "logsBloom": show_data(_receipt_bloom(encoded)),
            "logs": [show_log(log) for log in logs if log.transaction_index == index],
        }
        gas_before = receipt.cumulative_gas


def show_log(log: LogEntry) -> Json:
    """Return a log record with its place."""
    return {
        "blockHash": show_data(log.block_hash),
        "blockNumber": hex(log.block_number),
        "blockTimestamp": hex(log.timestamp),
        "transactionHash": show_data(log.transaction_hash),
        "transactionIndex": hex(log.transaction_index),
        "logIndex": hex(log.index),
        "address": checksum_address(log.address),
        "topics": [show_data(topic) for topic in log.topics],
        "data": show_data(log.data),
        "removed": False,
    }


def _receipt_bloom(encoded: bytes) -> bytes:
    return decode_bytes(decode_list(decode(encoded[1:] if encoded[0] < 0x80 else encoded), least=4, most=4)[2], 256)


@lru_cache(maxsize=1024)
def show_transaction(raw: bytes) -> Json:
    """Return a dynamic-fee transaction (EIP-1559) as JSON-RPC shows it.

    Raises:
        InputError: not one, or not signed.
    """
    if raw[:1] != b"\x02":
        raise InputError("only transactions of type 2 are taken")
    fields = decode_list(decode(raw[1:]), least=12, most=12)
    names = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "input", "accessList")
    kinds = (int, int, int, int, int, bytes, int, bytes, list)
    shown = {name: _show(kind, field) for name, kind, field in zip(names, kinds, fields, strict=False)}
    signature = {name: hex(decode_int(field)) for name, field in zip(("v", "r", "s"), fields[9:], strict=True)}
    to = decode_bytes(fields[5])
    return (
        shown
        | signature
        | {
            "type": "0x2",
            "hash": show_data(keccak256(raw)),
            "from": recover_sender(raw),
            "to": checksum_address(to) if to else None,
            "gasPrice": shown["maxFeePerGas"],
            "yParity": signature["v"],
        }
    )


def recover_sender(raw: bytes) -> str:
    """Return the checksummed address that signed a transaction; takes milliseconds.

    Raises:
        InputError: not a signed transaction.
    """
    try:
        return str(Account.recover_transaction(raw))
    except (ValueError, TypeError, ValidationError, RLPException, BadSignature) as error:
        raise InputError("not a signed transaction: {reason}", reason=error) from error


def _created(sent: Json) -> str:
    return contract_address(read_data(sent["from"]), int(sent["nonce"], 16))


def contract_address(sender: bytes, nonce: int) -> str:
    """Return the checksummed address of the contract that a 20-byte account creates with its transaction ``nonce``."""
    return checksum_address(keccak256(encode([sender, encode_int(nonce)]))[12:])


def header_fields(header: bytes) -> list[Item]:
    """Return the header's RLP fields, from London's sixteen on."""
    return decode_list(decode(header), least=16, most=len(HEADER_FIELDS))


def read_data(text: Any) -> bytes:
    """Read ``0x``-hex as bytes; bytes stay as they are."""
    return bytes(text) if isinstance(text, bytes) else bytes.fromhex(text.removeprefix("0x"))


def show_data(value: bytes) -> str:
    """Write bytes as ``0x``-hex."""
    return f"0x{value.hex()}"


def _place(block: Block) -> Json:
    return {
        "blockHash": show_data(keccak256(block.header)),
        "blockNumber": hex(decode_int(header_fields(block.header)[8])),
    }


def _show(kind: type, field: Item) -> Any:
    if kind is list:
        return []
    return hex(decode_int(field)) if kind is int else show_data(decode_bytes(field))
