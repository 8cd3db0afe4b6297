"""Every record and event of the ledger through plain web3.py calls, by the contracts' ABI alone; none of our client.

Also: our event table agrees with the ABI, our readers make of events and records what web3.py makes of them, and the
chain's hashes are what py-evm's own types and web3.py say they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources

import pytest
import rlp
from hexbytes import HexBytes
from web3 import Web3

from countermark.adapters.contracts import CONTRACTS, read_event
from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Role
from countermark.adapters.rpc import EngineProvider
from countermark.core.events import EVENTS, STRUCTS, decode_event, fields_of, name_of, topic_of
from countermark.core.keys import Secret
from countermark.core.trie import Log, read_header

OFFICE, OWNER, LICENSEE = (Secret(bytes([number]) * 32) for number in (1, 2, 3))
CONDITIONS = (5000, 700, 86_400, 2**40, 5, 0, 9, 100, 250, True, False, True, False, bytes([15]) * 32)
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
    act(ledger, OFFICE, "ModelTitles", "register", owner, word(3), word(4), word(5), [], 300, True)
    act(ledger, OFFICE, "ModelTitles", "commitKey", 1, word(6))
    act(ledger, OWNER, "Grants", "offer", 1, word(7), CONDITIONS)
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
    assert titles.record(1).call() == (word(3), word(4), word(6), 1, NOW, 300, True, False)
    assert (titles.ownerOf(1).call(), titles.titleOf(word(4)).call(), titles.titlesIssued().call()) == (owner, 1, 1)
    assert titles.balanceOf(owner).call() == 1
    assert titles.supportsInterface(bytes.fromhex("80ac58cd")).call(), "ERC-721"


def test_offers_and_grants(chain):
    _, contracts, _, licensee = chain
    grants = contracts["Grants"].functions
    assert grants.offerRecord(1).call() == (1, word(7), 0, True, CONDITIONS)
    assert grants.grantRecord(1).call() == (1, word(8), word(9), NOW, NOW + 100, NOW, 0)
    assert (grants.ownerOf(1).call(), grants.identifiersIssued().call()) == (licensee, 1001)
    assert (grants.offersMade().call(), grants.grantsIssued().call(), grants.batchesCommitted().call()) == (1, 1, 1)
    assert not grants.permitted(1, NOW).call()


def test_anchors(chain):
    _, contracts, *_ = chain
    assert contracts["Anchors"].functions.latest(word(12)).call() == (10, NOW, word(13), word(14))


def plain(value):
    """What web3.py decoded, in plain types."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def expanded(fields):
    """Types of a table's fields, structs by their own fields."""
    for field in fields:
        kind = field.type
        if kind in STRUCTS:
            yield "tuple", field.indexed, field.name, tuple(part.split()[0] for part in STRUCTS[kind].split(", "))
        else:
            yield kind, field.indexed, field.name, ()


def test_the_event_table_agrees_with_the_abi():
    found = {}
    for entry in (entry for name in CONTRACTS for entry in abi_of(name) if entry["type"] == "event"):
        shape = tuple(
            (item["type"], item["indexed"], item["name"], tuple(part["type"] for part in item.get("components", ())))
            for item in entry["inputs"]
        )
        found.setdefault(entry["name"], set()).add(shape)
        assert not entry["anonymous"]
    assert {name: {tuple(expanded(fields_of(name)))} for name in EVENTS} == {name: found[name] for name in EVENTS}


@pytest.fixture(scope="module")
def everything(day):
    """Plain web3.py and our contracts on a chain on which everything happened once."""
    engine = EmbeddedEngine(day.path, day.clock)
    web3 = Web3(EngineProvider(engine))
    ledger = Ledger.open(day.path, clock=day.clock)
    addresses = ledger.deployment["contracts"]
    yield web3, {name: web3.eth.contract(address=addresses[name], abi=abi_of(name)) for name in CONTRACTS}, ledger, day
    ledger.close()
    engine.close()


def test_every_event_is_read_as_web3_reads_it(everything):
    web3, contracts, ledger, _ = everything
    by_address = {contract.address: name for name, contract in contracts.items()}
    seen, ours = set(), ledger.events()
    for log in web3.eth.get_logs({"fromBlock": 0, "address": list(by_address)}):
        contract = by_address[log["address"]]
        record = Log(bytes.fromhex(log["address"][2:]), tuple(map(bytes, log["topics"])), bytes(log["data"]))
        name, args = read_event(contract, record.topics, record.data)
        theirs = plain(dict(contracts[contract].events[name]().process_log(log)["args"]))
        assert args == theirs == ours.pop(0).args
        if name in EVENTS:
            assert decode_event(name, record) == theirs
            assert name_of(record.topics[0]) == name
        seen.add(name)
    assert ours == []
    assert set(EVENTS) <= seen, "one of everything happened"


def test_records_are_what_web3_reads_with_names(everything):
    _, contracts, ledger, day = everything
    offer = ledger.record("Grants", "offerRecord", day.made["offer"])
    theirs = contracts["Grants"].functions.offerRecord(day.made["offer"]).call()
    assert (tuple(offer["conditions"].values()), *list(offer.values())[:4]) == (theirs[4], *theirs[:4])
    assert (offer["fee_bps"], offer["conditions"]["resale_bps"]) == (theirs[2], theirs[4][8])
    stack = contracts["ModelTitles"].functions.royaltyStack(day.made["tuned"]).call()
    assert [tuple(share.values()) for share in ledger.view("ModelTitles", "royaltyStack", day.made["tuned"])] == stack
    window = ledger.record("Grants", "windowOf", day.made["given"])
    assert list(window.values()) == contracts["Grants"].functions.windowOf(day.made["given"]).call()
    assert list(window) == ["offer_id", "title_id", "starts_at", "ends_at"]


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
