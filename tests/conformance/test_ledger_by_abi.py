"""Every record and event of the ledger through plain web3.py calls, by the contracts' ABI alone; none of our client.

Also: our event table is the ABI's, and the chain's hashes are what py-evm's own types and web3.py say they are.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources

import pytest
import rlp
from hexbytes import HexBytes
from web3 import Web3

from countermark.adapters.contracts import CONTRACTS
from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Role
from countermark.adapters.rpc import EngineProvider
from countermark.core.events import EVENTS, decode_event, fields_of, name_of, topic_of
from countermark.core.keys import Secret
from countermark.core.trie import Log, read_header

OFFICE, OWNER, LICENSEE = (Secret(bytes([number]) * 32) for number in (1, 2, 3))
NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp())


def word(number):
    return bytes([number]) * 32


def abi_of(name):
    return json.loads(resources.files("countermark.adapters.contracts").joinpath(f"{name}.json").read_text())["abi"]


def act(ledger, sender, contract, function, *args):
    return ledger.submit(ledger.prepare_call(sender, contract, function, args))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A ledger with one of everything: its file, addresses, and a plain web3 instance over it."""
    path, clock = tmp_path_factory.mktemp("abi") / "ledger.sqlite", lambda: datetime.fromtimestamp(NOW, UTC)
    ledger = Ledger.create(path, chain_id=77, treasury=OFFICE, clock=clock)
    owner, licensee = ledger.address_of(OWNER), ledger.address_of(LICENSEE)
    for address, roles in ((owner, Role.LICENSOR), (licensee, Role.LICENSEE)):
        call = (address, word(1), word(2), roles, 2**63)
        ledger.submit(ledger.prepare_call(OFFICE, "Members", "admit", call, 10**18))
    act(ledger, OFFICE, "Members", "rotateKey", owner, word(22))
    act(ledger, OFFICE, "ModelTitles", "register", owner, word(3), word(4), word(5))
    act(ledger, OFFICE, "ModelTitles", "commitKey", 1, word(6))
    act(ledger, OWNER, "Grants", "offer", 1, word(7), True, False, 5)
    act(ledger, OWNER, "Grants", "grant", 1, licensee, word(8), word(9), NOW, NOW + 100)
    act(ledger, OWNER, "Grants", "revoke", 1, word(10))
    act(ledger, OWNER, "Grants", "withdrawOffer", 1)
    act(ledger, OFFICE, "Grants", "commitBatch", word(11), 1000)
    act(ledger, OFFICE, "Anchors", "anchor", word(12), 10, word(13), word(14))
    act(ledger, OFFICE, "Anchors", "handOver", word(12), ledger.address_of(OFFICE))
    act(ledger, OWNER, "ModelTitles", "setApprovalForAll", licensee, True)
    act(ledger, OWNER, "ModelTitles", "approve", licensee, 1)
    act(ledger, OFFICE, "Members", "suspend", licensee)
    addresses = ledger.deployment["contracts"]
    ledger.close()
    engine = EmbeddedEngine(path, clock)
    web3 = Web3(EngineProvider(engine))
    contracts = {name: web3.eth.contract(address=addresses[name], abi=abi_of(name)) for name in CONTRACTS}
    yield web3, contracts, owner, licensee
    engine.close()


def test_members(chain):
    _, contracts, owner, licensee = chain
    members = contracts["Members"].functions
    assert members.memberOf(owner).call() == (word(1), word(22), Role.LICENSOR, 2**63, False)
    assert members.memberOf(licensee).call() == (word(1), word(2), Role.LICENSEE, 2**63, True)
    assert members.hasRole(owner, int(Role.LICENSOR)).call()
    assert not members.hasRole(licensee, int(Role.LICENSEE)).call()


def test_titles(chain):
    _, contracts, owner, _ = chain
    titles = contracts["ModelTitles"].functions
    assert titles.record(1).call() == (word(3), word(4), word(6), 1, NOW)
    assert (titles.ownerOf(1).call(), titles.titleOf(word(4)).call(), titles.titlesIssued().call()) == (owner, 1, 1)
    assert titles.balanceOf(owner).call() == 1
    assert titles.supportsInterface(bytes.fromhex("80ac58cd")).call(), "ERC-721"


def test_offers_and_grants(chain):
    _, contracts, _, licensee = chain
    grants = contracts["Grants"].functions
    assert grants.offerRecord(1).call() == (1, word(7), 5, True, False, True)
    assert grants.grantRecord(1).call() == (1, word(8), word(9), NOW, NOW + 100, NOW, 0)
    assert (grants.ownerOf(1).call(), grants.identifiersIssued().call()) == (licensee, 1001)
    assert (grants.offersMade().call(), grants.grantsIssued().call(), grants.batchesCommitted().call()) == (1, 1, 1)
    assert not grants.permitted(1, NOW).call()


def test_anchors(chain):
    _, contracts, *_ = chain
    assert contracts["Anchors"].functions.latest(word(12)).call() == (10, NOW, word(13), word(14))


def test_the_event_table_is_the_abi():
    found = {entry["name"]: entry for name in CONTRACTS for entry in abi_of(name) if entry["type"] == "event"}
    assert set(found) == set(EVENTS)
    for name, entry in found.items():
        assert fields_of(name) == tuple((item["type"], item["indexed"], item["name"]) for item in entry["inputs"])
        assert not entry["anonymous"]


def test_every_event_decodes_as_web3_decodes_it(chain):
    web3, contracts, *_ = chain
    by_address = {contract.address: contract for contract in contracts.values()}
    seen = set()
    for log in web3.eth.get_logs({"fromBlock": 0, "address": [contract.address for contract in contracts.values()]}):
        record = Log(bytes.fromhex(log["address"][2:]), tuple(map(bytes, log["topics"])), bytes(log["data"]))
        name = name_of(record.topics[0])
        assert decode_event(name, record) == dict(by_address[log["address"]].events[name]().process_log(log)["args"])
        seen.add(name)
    assert seen == set(EVENTS), "one of everything happened"


def test_filters_find_events_by_topic_and_address(chain):
    web3, contracts, owner, _ = chain
    titles = contracts["ModelTitles"]
    (found,) = titles.events.TitleRegistered().get_logs(from_block=0, argument_filters={"holder": owner})
    assert found["args"]["weightsRoot"] == word(4)
    assert titles.events.TitleRegistered().get_logs(from_block=0, argument_filters={"titleId": 2}) == []
    (by_hash,) = web3.eth.get_logs({"blockHash": found["blockHash"], "topics": [HexBytes(topic_of("KeyCommitted"))]})
    assert by_hash["transactionHash"] == found["transactionHash"]
    either = [HexBytes(topic_of(name)) for name in ("Revoked", "Offered")]
    assert len(web3.eth.get_logs({"fromBlock": "earliest", "topics": [either]})) == 2
    assert web3.eth.get_logs({"fromBlock": 0, "topics": [None, None, None, None, None]}) == []


def test_blocks_transactions_and_receipts_fit_together(chain):
    web3, *_ = chain
    for number in range(1, web3.eth.block_number + 1):
        block = web3.eth.get_block(number, full_transactions=True)
        assert web3.eth.get_block(block["hash"])["number"] == number
        assert block["parentHash"] == web3.eth.get_block(number - 1)["hash"]
        (sent,) = block["transactions"]
        receipt = web3.eth.get_transaction_receipt(sent["hash"])
        assert web3.eth.get_transaction(sent["hash"]) == sent
        assert (receipt["blockHash"], receipt["transactionIndex"], receipt["status"]) == (block["hash"], 0, 1)
        assert receipt["gasUsed"] == receipt["cumulativeGasUsed"] == block["gasUsed"] <= sent["gas"]
        assert (receipt["from"], receipt["to"]) == (sent["from"], sent.get("to"))
        if receipt["contractAddress"]:
            assert web3.eth.get_code(receipt["contractAddress"])


def test_headers_decode_as_py_evm_has_them(chain):
    from eth.vm.forks.cancun.blocks import CancunBlockHeader

    web3, *_ = chain
    engine = web3.provider._engine
    for number in (0, 1, web3.eth.block_number):
        encoded = engine.block(number).header
        theirs, ours = rlp.decode(encoded, CancunBlockHeader), read_header(encoded)
        assert (ours.hash, ours.number, ours.timestamp) == (theirs.hash, theirs.block_number, theirs.timestamp)
        assert (ours.parent_hash, ours.receipts_root) == (theirs.parent_hash, theirs.receipt_root)
        assert web3.eth.get_block(number)["hash"] == theirs.hash


def test_the_rest_of_the_node(chain):
    web3, contracts, owner, _ = chain
    assert (web3.eth.chain_id, web3.net.version, web3.is_connected(), web3.eth.syncing) == (77, "77", True, False)
    assert web3.eth.get_balance(owner) < 10**18
    assert web3.eth.get_transaction_count(owner) == 6
    assert int.from_bytes(web3.eth.get_storage_at(contracts["ModelTitles"].address, 6), "big") == 1, "titlesIssued"
    assert (web3.eth.gas_price, web3.eth.max_priority_fee) == (7, 0)
    assert web3.eth.fee_history(1, "latest", [50])["baseFeePerGas"] == [7, 7]
    code = json.loads(resources.files("countermark.adapters.contracts").joinpath("Members.json").read_text())
    assert web3.eth.get_code(contracts["Members"].address).to_0x_hex() == code["deployedBytecode"]


def test_reads_leave_no_trace(chain):
    """Gas of a call does not depend on what was read before, and nothing is written by reading."""
    web3, contracts, owner, _ = chain
    call = contracts["ModelTitles"].functions.approve(contracts["Grants"].address, 1)
    before, head = call.estimate_gas({"from": owner}), web3.eth.get_block("latest")["hash"]
    contracts["ModelTitles"].functions.record(1).call()
    call.call({"from": owner})
    assert call.estimate_gas({"from": owner}) == before
    assert web3.eth.get_block("latest")["hash"] == head


def test_unknown_things_are_errors_or_none(chain):
    web3, *_ = chain
    answer = web3.provider.make_request
    assert answer("eth_mine", [])["error"]["code"] == -32601
    assert answer("eth_call", [{"to": "0xzz"}])["error"]["code"] == -32602
    assert answer("eth_sendRawTransaction", ["0x01"])["error"]["code"] == -32000
    assert answer("eth_getBlockByNumber", ["0xffff"])["result"] is None
    assert answer("eth_getBlockByHash", ["0x" + "00" * 32])["result"] is None
    assert answer("eth_getTransactionByHash", ["0x" + "00" * 32])["result"] is None
