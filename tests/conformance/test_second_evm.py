"""The same blocks on a second implementation of the machine: gas, status, logs, state and storage agree to the bit.

Ours is py-evm, written in Python; anvil's is revm, written in Rust. Each block of a whole day's workload is mined there
again with the same transactions, time and base fee.
"""

from __future__ import annotations

import gzip
import json
from contextlib import closing

import pytest
import rlp
from trie import HexaryTrie

from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.rpc import EngineProvider
from countermark.core.rlp import keccak256

pytestmark = pytest.mark.tool("npm")
NO_MORE_THAN_OURS = ("--hardfork", "cancun", "--disable-default-create2-deployer", "--gas-limit", "30000000")
SAME_OF_A_RECEIPT = ("transactionHash", "from", "to", "contractAddress", "status", "gasUsed", "cumulativeGasUsed")
SAME_OF_A_BLOCK = ("timestamp", "baseFeePerGas", "gasUsed", "transactionsRoot", "receiptsRoot", "logsBloom")
SAME_OF_A_LOG = ("address", "topics", "data", "logIndex")


@pytest.fixture(scope="module")
def ours(day):
    with closing(EmbeddedEngine(day.path, day.clock)) as engine:
        yield engine


@pytest.fixture(scope="module")
def asked(ours):
    """Ask our engine as one asks a node."""
    provider = EngineProvider(ours)
    return lambda method, *params: provider.make_request(method, list(params))["result"]


@pytest.fixture(scope="module")
def theirs(anvil, ours, asked, day):
    """A node after the replay of every block, with what it was given."""
    start = int(asked("eth_getBlockByNumber", "0x0")["timestamp"], 16)
    with anvil("--no-mining", *NO_MORE_THAN_OURS, "--timestamp", str(start), chain_id=ours.chain_id) as node:
        node.ask(
            "anvil_setBalance", "0x" + ours.treasury.hex(), asked("eth_getBalance", "0x" + ours.treasury.hex(), "0x0")
        )
        for number in range(1, ours.height() + 1):
            block = asked("eth_getBlockByNumber", hex(number))
            node.ask("anvil_setNextBlockBaseFeePerGas", block["baseFeePerGas"])
            node.ask("evm_setNextBlockTimestamp", int(block["timestamp"], 16))
            for raw in ours.block(number).transactions:
                node.ask("eth_sendRawTransaction", "0x" + raw.hex())
            node.ask("anvil_mine", "0x1")
        yield node


def test_both_machines_agree_on_every_block(ours, theirs, asked):
    failed = 0
    for number in range(1, ours.height() + 1):
        (mine,), (other,) = (ask("eth_getBlockReceipts", hex(number)) for ask in (asked, theirs.ask))
        for name in SAME_OF_A_RECEIPT:
            assert shown(mine[name]) == shown(other[name]), (number, name)
        logs, theirs_logs = ([[log[name] for name in SAME_OF_A_LOG] for log in it["logs"]] for it in (mine, other))
        assert shown(logs) == shown(theirs_logs), number
        failed += mine["status"] == "0x0"
        block, its_block = (ask("eth_getBlockByNumber", hex(number), False) for ask in (asked, theirs.ask))
        for name in SAME_OF_A_BLOCK:
            assert block[name] == its_block[name], (number, name)
    assert failed == 2, "refused, and out of gas"


def test_both_machines_end_in_the_same_state(ours, theirs, day):
    """Every account with its balance, code and every slot of its storage, as one root hash."""
    found = json.loads(gzip.decompress(bytes.fromhex(theirs.ask("anvil_dumpState")[2:])))["accounts"]
    assert {address.lower() for address in day.ledger.deployment["contracts"].values()} <= set(found)
    state = HexaryTrie({})
    for address, account in found.items():
        nonce, balance = int(account["nonce"]), int(account["balance"], 16)
        code = bytes.fromhex(account["code"][2:])
        if nonce or balance or code:  # anvil keeps the empty account of the fee recipient
            fields = [nonce, balance, storage_root(account["storage"]), keccak256(code)]
            state[keccak256(bytes.fromhex(address[2:]))] = rlp.encode(fields)
    assert state.root_hash == rlp.decode(ours.header(ours.height()))[3]


def storage_root(slots):
    """Return the root of a storage trie, which has no place for a slot that is zero."""
    trie = HexaryTrie({})
    for slot, value in slots.items():
        if int(value, 16):
            trie[keccak256(int(slot, 16).to_bytes(32, "big"))] = rlp.encode(int(value, 16))
    return trie.root_hash


def shown(value):
    """Nodes differ in the case of addresses."""
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value.lower() if isinstance(value, str) else value
