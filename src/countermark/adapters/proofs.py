"""Making receipt proofs from what any Ethereum node answers: header, receipts, trie."""

from __future__ import annotations

from typing import Any

import rlp
from hexbytes import HexBytes
from trie import HexaryTrie
from web3 import Web3

from countermark.adapters.rpc_shapes import HEADER_FIELDS, show_data
from countermark.core.trie import PROOF_KIND, read_hex
from countermark.errors import LedgerError


def prove_receipt(web3: Web3, transaction_hash: str) -> dict[str, Any]:
    """Return header, receipt and trie nodes of a mined transaction as ``core.trie.verify_receipt`` reads them.

    Header and receipts are encoded here from the node's JSON and checked against the hashes it names, so that a field
    that is not understood is an error now and not at the verifier's.

    Raises:
        LedgerError: the node's answers do not fit together, or the chain's headers are of before London.
    """
    found = web3.eth.get_transaction_receipt(HexBytes(read_hex(transaction_hash, "transaction hash")))
    block: Any = web3.eth.get_block(found["blockNumber"])
    if "baseFeePerGas" not in block:
        raise LedgerError("blocks of this chain cannot be proven offline: their headers are older than London's")
    header = rlp.encode([_field(kind, block[name]) for name, kind in HEADER_FIELDS if name in block])
    receipts = [_receipt(receipt) for receipt in web3.eth.get_block_receipts(found["blockNumber"])]
    trie = HexaryTrie({})
    for index, encoded in enumerate(receipts):
        trie[rlp.encode(index)] = encoded
    if Web3.keccak(header) != block["hash"] or trie.root_hash != block["receiptsRoot"]:
        raise LedgerError("the node's block {number} does not hash to what it says", number=found["blockNumber"])
    index = found["transactionIndex"]
    return {
        "kind": PROOF_KIND,
        "block_number": found["blockNumber"],
        "header": show_data(header),
        "transaction_index": index,
        "receipt": show_data(receipts[index]),
        "proof": [show_data(node) for node in _nodes(trie, rlp.encode(index))],
    }


def _nodes(trie: Any, key: bytes) -> list[bytes]:
    """Return the nodes from the root to a key; those under 32 bytes stand inside their parent."""
    nodes = [rlp.encode(node) for node in trie.get_proof(key)]
    return nodes[:1] + [node for node in nodes[1:] if len(node) >= 32]


def _receipt(receipt: Any) -> bytes:
    logs = [[bytes.fromhex(log["address"][2:]), list(log["topics"]), log["data"]] for log in receipt["logs"]]
    body = [receipt["status"], receipt["cumulativeGasUsed"], receipt["logsBloom"], logs]
    kind = int(receipt["type"])
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(body))


def _field(kind: type, value: Any) -> Any:
    if kind is int:
        return int(value)
    return bytes.fromhex(value[2:]) if isinstance(value, str) else bytes(value)
