"""One client, two kinds of chain: the embedded engine, and anvil over HTTP. Then what only a network can do.

An operator runs the first part against a chain of its own, as ``docs/guides/consortium.md`` shows:
``COUNTERMARK_TEST_LEDGER_URL`` is the JSON-RPC of a node, ``COUNTERMARK_TEST_LEDGER_KEY`` the key (64 hex digits) of an
account that may send there and, where gas has a price, has coin. Every test deploys the contracts anew.
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from countermark.adapters import deployment as deploying
from countermark.adapters.contracts import CONTRACTS
from countermark.adapters.ledger import Ledger
from countermark.adapters.node import check_url
from countermark.adapters.records import Role
from countermark.adapters.transactions import read_turn
from countermark.core.keys import Secret
from countermark.core.trie import verify_receipt
from countermark.errors import (
    AlreadyRegistered,
    ConflictError,
    GrantRevoked,
    InputError,
    LedgerError,
    NetworkError,
    NotFoundError,
    NotTitleHolder,
    RightsError,
    StaleNonce,
)

OFFICE, OWNER, LICENSEE = (Secret(name.encode().ljust(32, b".")) for name in ("office", "owner", "licensee"))
URL = os.environ.get("COUNTERMARK_TEST_LEDGER_URL")
if URL:
    OFFICE = Secret(bytes.fromhex(os.environ["COUNTERMARK_TEST_LEDGER_KEY"].removeprefix("0x")))
FREE = ("--gas-price", "0", "--base-fee", "0", "--no-priority-fee")
HAND = ("--no-mining",)
FOREVER = 2**64 - 1
CONDITIONS = (0, 0, 86_400, 0, 1, 0, 1, 0, 0, True, False, False, False, bytes(32))
needs_node = pytest.mark.tool("npm")


def word(number):
    return number.to_bytes(32, "big")


def now():
    return int(time.time())


@dataclass
class Chain:
    """A deployed ledger, a way to open it again, and the node if there is one."""

    ledger: Ledger
    reopen: Any
    node: Any = None
    foreign: bool = False

    def address(self, who):
        return self.ledger.address_of(who)

    def prepare(self, who, call, *args, value=0):
        return self.ledger.prepare_call(who, *call.split("."), args, value)

    def do(self, who, call, *args, value=0):
        return self.ledger.submit(self.prepare(who, call, *args, value=value))

    def prove(self, receipt):
        """Prove a receipt; a chain of an operator's own may have other headers, or lack the method."""
        try:
            return self.ledger.prove(receipt.transaction_hash)
        except LedgerError as error:
            if self.foreign:
                pytest.skip(f"no bundles on this chain: {error}")
            raise

    def batch(self, number):
        return self.prepare(OFFICE, "Grants.commitBatch", word(number), 1)


@contextmanager
def embedded(tmp_path):
    path, clock = tmp_path / "ledger.db", lambda: datetime.now(UTC)
    ledger = Ledger.create(path, chain_id=7, treasury=OFFICE, clock=clock)
    try:
        yield Chain(ledger, lambda: Ledger.open(path, clock=clock))
    finally:
        ledger.close()


@contextmanager
def on_node(anvil, *flags, fund=True, **options):
    with anvil(*flags) as node:
        if fund:
            node.fund(account(OFFICE))
        with mining(node, every=0.05) if "--no-mining" in flags else nullcontext():
            ledger = Ledger.deploy(node.url, treasury=OFFICE, **options)
        try:
            yield Chain(ledger, lambda: Ledger.connect(node.url, ledger.deployment, **options), node)
        finally:
            ledger.close()


@contextmanager
def mining(node, every):
    """Mine a block now and then until the block of the test ends."""
    stopped = threading.Event()

    def mine():
        while not stopped.wait(every):
            node.ask("anvil_mine", "0x1")

    thread = threading.Thread(target=mine)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def account(secret):
    from countermark.adapters.transactions import account_of

    return account_of(secret).address


@contextmanager
def by_url(url):
    ledger = Ledger.deploy(url, treasury=OFFICE)
    try:
        yield Chain(ledger, lambda: Ledger.connect(url, ledger.deployment), foreign=True)
    finally:
        ledger.close()


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=needs_node), *(["url"] if URL else [])])
def chain(request, tmp_path, anvil):
    kinds = {"embedded": lambda: embedded(tmp_path), "anvil": lambda: on_node(anvil), "url": lambda: by_url(URL)}
    with kinds[request.param]() as world:
        yield world


@pytest.fixture
def market(chain):
    """A chain with an owner who holds title 1, and a licensee."""
    for who, role in ((OWNER, Role.LICENSOR), (LICENSEE, Role.LICENSEE)):
        call = (chain.address(who), word(1), word(2), role, FOREVER)
        chain.do(OFFICE, "Members.admit", *call, value=chain.ledger.fee_float())
    chain.do(OFFICE, "ModelTitles.register", chain.address(OWNER), word(3), word(4), word(5), [], 0, False)
    return chain


def test_deployment(chain):
    found = chain.ledger.deployment
    assert found == json.loads(json.dumps(found))
    assert set(found["contracts"]) == set(CONTRACTS)
    assert found["chain_id"] == chain.ledger.web3.eth.chain_id
    assert chain.ledger.is_member(chain.address(OFFICE), Role.GOVERNOR | Role.REGISTRAR | Role.ANCHORER)
    assert chain.ledger.identifiers_issued() == 0


def test_members_titles_and_refusals(market):
    ledger, owner = market.ledger, market.address(OWNER)
    assert ledger.member(owner).roles == Role.LICENSOR
    assert (ledger.title(1).holder, ledger.title_of(word(4)), ledger.title_of(word(9))) == (owner, 1, None)
    with pytest.raises(AlreadyRegistered) as caught:
        market.do(OFFICE, "ModelTitles.register", owner, word(3), word(4), word(5), [], 0, False)
    assert caught.value.params["title"] == 1
    with pytest.raises(NotTitleHolder):
        market.do(LICENSEE, "Grants.offer", 1, word(7), CONDITIONS)
    with pytest.raises(RightsError):
        market.do(OWNER, "Members.suspend", owner)
    with pytest.raises(NotFoundError):
        ledger.title(2)
    with pytest.raises(InputError):
        market.prepare(OFFICE, "Members.suspend", "0x12")


def test_offer_grant_and_revocation(market):
    market.do(OWNER, "Grants.offer", 1, word(7), CONDITIONS)
    window = (now() - 10, now() + 10_000)
    receipt = market.do(OWNER, "Grants.grant", 1, market.address(LICENSEE), word(8), word(9), *window)
    assert receipt.event("Granted")["markCommitment"] == word(9)
    assert market.ledger.permitted(1, now() + 5)
    with pytest.raises(RightsError):
        market.do(OWNER, "Grants.grant", 1, market.address(LICENSEE), word(8), word(10), *window)
    market.do(OWNER, "Grants.revoke", 1, word(11))
    assert not market.ledger.permitted(1, now() + 5)
    assert market.ledger.grant(1).revoked_at is not None
    with pytest.raises(GrantRevoked):
        market.do(OWNER, "Grants.revoke", 1, word(11))


def test_batches_anchors_and_events(chain):
    chain.do(OFFICE, "Grants.commitBatch", word(1), 1000)
    first = chain.do(OFFICE, "Anchors.anchor", word(2), 10, word(3), word(4))
    assert chain.ledger.identifiers_issued() == 1000
    anchor = chain.ledger.latest_anchor(word(2))
    assert (anchor.size, anchor.root, anchor.anchored_at) == (10, word(3), first.timestamp)
    with pytest.raises(ConflictError):
        chain.do(OFFICE, "Anchors.anchor", word(2), 10, word(3), word(4))
    (event,) = chain.ledger.events("Anchored")
    assert (event.transaction_hash, event.args["size"]) == (first.transaction_hash, 10)
    names = [event.name for event in chain.ledger.events()]
    assert names[-2:] == ["BatchCommitted", "Anchored"]
    assert [e.name for e in chain.ledger.events(from_block=first.block_number)] == ["Anchored"]


def test_receipts_prove_offline(chain):
    receipt = chain.do(OFFICE, "Grants.commitBatch", word(1), 5)
    proof = json.loads(json.dumps(chain.prove(receipt)))
    proven = verify_receipt(proof)
    assert (proven.block_number, proven.timestamp, proven.status) == (receipt.block_number, receipt.timestamp, 1)
    assert "0x" + proven.block_hash.hex() == receipt.block_hash
    place = bytes.fromhex(chain.ledger.deployment["contracts"]["Grants"][2:])
    assert proven.event("BatchCommitted", place)["issuedTotal"] == 5
    assert proof["genesis_hash"] == chain.ledger.deployment["genesis_hash"]
    with pytest.raises(NotFoundError):
        chain.ledger.prove("0x" + "00" * 32)


def test_a_proof_that_nobody_could_read_is_not_made(chain, monkeypatch):
    receipt, eth = chain.do(OFFICE, "Grants.commitBatch", word(1), 5), chain.ledger.web3.eth
    chain.prove(receipt)
    get = eth.get_block
    for change, reason in (({"baseFeePerGas": None}, "older than London"), ({"stateRoot": bytes(32)}, "does not hash")):
        changed = {k: v for k, v in {**get(receipt.block_number), **change}.items() if v is not None}
        monkeypatch.setattr(type(eth), "get_block", lambda *_, block=changed: block)
        with pytest.raises(LedgerError, match=reason):
            chain.ledger.prove(receipt.transaction_hash)


def test_submitting_is_idempotent_also_after_a_restart(chain):
    raw = chain.batch(1)
    first = chain.ledger.submit(raw)
    again = chain.reopen()
    try:
        assert again.submit(raw) == chain.ledger.submit(raw) == first == again.receipt(first.transaction_hash)
        assert again.deployment == chain.ledger.deployment
        assert again.identifiers_issued() == 1
    finally:
        again.close()


def test_a_turn_that_is_past_or_has_not_come(chain):
    first, second = chain.batch(1), chain.batch(2)
    chain.ledger.submit(first)
    with pytest.raises(StaleNonce):
        chain.ledger.submit(second)
    early = chain.batch(2)
    unsent = replace(chain, ledger=chain.reopen())
    turn = read_turn(early)[1]
    web3 = unsent.ledger.web3
    web3.eth.get_transaction_count = lambda *_: turn + 5
    ahead = unsent.batch(3)
    unsent.ledger.close()
    with pytest.raises(StaleNonce):
        chain.ledger.submit(ahead)
    chain.ledger.submit(early)
    assert chain.ledger.identifiers_issued() == 2


def test_a_refusal_that_shows_only_when_mined_is_named(market):
    market.do(OWNER, "Grants.offer", 1, word(7), CONDITIONS)
    window = (now() - 10, now() + 1000)
    granted = market.prepare(OWNER, "Grants.grant", 1, market.address(LICENSEE), word(8), word(9), *window)
    batch = market.batch(9)
    market.ledger.submit(granted)
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            market.ledger.submit(batch)
        assert caught.value.params["error"] == "CommitmentUsed"


def test_accounts_act_at_the_same_time(market):
    """Three accounts, each in its own order; nothing is lost or done twice."""

    def toggle(who):
        ledger = market.reopen()
        for number in range(5):
            call = (market.address(OFFICE), number % 2 == 0)
            ledger.submit(ledger.prepare_call(who, "Grants", "setApprovalForAll", call))
        ledger.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(toggle, (OWNER, LICENSEE)))
    assert len(market.ledger.events("ApprovalForAll")) == 10


@needs_node
def test_another_chain_is_refused(anvil):
    with on_node(anvil) as chain:
        known = chain.ledger.deployment
        with anvil(chain_id=5) as other, pytest.raises(LedgerError, match="serves chain 5"):
            Ledger.connect(other.url, known)
        with anvil("--timestamp", "1000") as same_id, pytest.raises(LedgerError, match="not chain"):
            Ledger.connect(same_id.url, known)
        swapped = {**known["contracts"], "Grants": known["contracts"]["Anchors"]}
        with pytest.raises(LedgerError, match="Grants is not deployed"):
            Ledger.connect(chain.node.url, {**known, "contracts": swapped})
        with pytest.raises(InputError, match="malformed"):
            Ledger.connect(chain.node.url, {"chain_id": 1})


@needs_node
@pytest.mark.parametrize("signed", [2, len(CONTRACTS)], ids=["before the third contract", "before the foundation"])
def test_deployment_is_paid_for_and_taken_up_where_it_stopped(anvil, monkeypatch, signed):
    records = []
    with anvil() as node:
        with pytest.raises(LedgerError, match="no coin on chain") as caught:
            Ledger.deploy(node.url, treasury=OFFICE, record=records.append)
        assert account(OFFICE) in caught.value.hint
        node.fund(account(OFFICE))
        sign, left = deploying.sign, [signed]

        def sign_until_killed(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return sign(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(deploying, "sign", sign_until_killed)
            with pytest.raises(KeyboardInterrupt):
                Ledger.deploy(node.url, treasury=OFFICE, known=records[-1], record=records.append)
        assert list(records[-1]["contracts"]) == list(CONTRACTS)[:signed]
        with pytest.raises(LedgerError, match="not founded" if signed == len(CONTRACTS) else "not deployed"):
            Ledger.connect(node.url, records[-1])
        ledger = Ledger.deploy(node.url, treasury=OFFICE, known=records[-1], record=records.append)
        assert int(node.ask("eth_blockNumber"), 16) == len(CONTRACTS) + 1, "nothing was deployed or founded twice"
        assert ledger.deployment == records[-1]
        ledger.close()


@needs_node
def test_gas_may_be_free(anvil):
    with on_node(anvil, *FREE, fund=False) as chain:
        assert chain.ledger.fee_float() == 0
        chain.do(OFFICE, "Grants.commitBatch", word(1), 1)
        sent = chain.ledger.web3.eth.get_transaction(chain.ledger.events("BatchCommitted")[0].transaction_hash)
        assert (sent["maxFeePerGas"], sent["maxPriorityFeePerGas"]) == (0, 0)


@needs_node
def test_legacy_fees(anvil):
    with on_node(anvil) as chain:
        chain.ledger._dialect = replace(chain.ledger._dialect, legacy=True)
        raw = chain.batch(1)
        assert raw[0] > 0x7F, "no type byte"
        receipt = chain.ledger.submit(raw)
        assert chain.ledger.submit(raw) == receipt
        assert chain.ledger.web3.eth.get_transaction(receipt.transaction_hash)["type"] == 0
        assert verify_receipt(chain.ledger.prove(receipt.transaction_hash)).status == 1
        assert chain.ledger.fee_float() > 0


@needs_node
def test_a_receipt_counts_when_it_is_deep_enough(anvil):
    with on_node(anvil, *HAND, confirmations=3, patience_s=60) as chain:
        raw = chain.batch(1)
        hasty = Ledger.connect(chain.node.url, chain.ledger.deployment, confirmations=3, patience_s=0.3)
        with pytest.raises(LedgerError, match="not final yet"):
            hasty.submit(raw)
        chain.node.ask("anvil_mine", "0x3")
        with pytest.raises(LedgerError, match="not final yet"):
            hasty.submit(raw)
        chain.node.ask("anvil_mine", "0x1")
        receipt = hasty.submit(raw)
        assert int(chain.node.ask("eth_blockNumber"), 16) - receipt.block_number == 3
        hasty.close()


@needs_node
def test_another_transaction_waiting_in_the_same_turn_keeps_the_first_one_alive(anvil):
    """Its turn is neither past nor early: the bytes stay good, and which of two is mined is the node's to say."""
    with on_node(anvil, *HAND, patience_s=0.2) as chain:
        first, second = chain.batch(1), chain.batch(2)
        for raw, reason in ((first, "not final yet"), (second, "did not take"), (first, "not final yet")):
            with pytest.raises(LedgerError, match=reason) as caught:
                chain.ledger.submit(raw)
            assert not isinstance(caught.value, StaleNonce)
        chain.node.ask("anvil_mine", "0x1")
        chain.ledger.submit(first)
        with pytest.raises(StaleNonce):
            chain.ledger.submit(second)


@needs_node
def test_a_reorganisation_before_finality_loses_nothing(anvil):
    with on_node(anvil, *HAND, confirmations=2, patience_s=60) as chain:
        raw, eth, sent = chain.batch(1), chain.ledger.web3.eth, []
        send = eth.send_raw_transaction
        eth.send_raw_transaction = lambda data: sent.append(data) or send(data)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(chain.ledger.submit, raw)
            while int(chain.node.ask("txpool_status")["pending"], 16) == 0:
                time.sleep(0.01)
            before = chain.node.ask("evm_snapshot")
            chain.node.ask("anvil_mine", "0x1")
            time.sleep(0.2)
            chain.node.ask("evm_revert", before)
            chain.node.ask("anvil_dropAllTransactions")
            with mining(chain.node, every=0.2):
                receipt = waiting.result(timeout=60)
        assert sent == [raw, raw]
        assert receipt.event("BatchCommitted")["issuedTotal"] == 1
        assert chain.ledger.identifiers_issued() == 1
        assert chain.ledger.submit(raw) == receipt


@needs_node
def test_an_anchor_that_a_rollback_took_is_brought_back_by_the_same_bytes(anvil):
    with on_node(anvil) as chain:
        raw = chain.batch(1)
        first = chain.ledger.submit(raw)
        chain.node.ask("anvil_rollback", 1)
        assert chain.ledger.identifiers_issued() == 0
        again = chain.ledger.submit(raw)
        assert again.transaction_hash == first.transaction_hash
        assert chain.ledger.identifiers_issued() == 1


@needs_node
def test_a_node_that_is_gone(anvil):
    with on_node(anvil) as chain:
        raw, known, url = chain.batch(1), chain.ledger.deployment, chain.node.url
        chain.node.stop()
        for act in (
            lambda: chain.ledger.submit(raw),
            lambda: chain.batch(2),
            chain.ledger.identifiers_issued,
            chain.ledger.events,
            chain.ledger.fee_float,
            lambda: Ledger.connect(url, known),
        ):
            with pytest.raises(NetworkError) as caught:
                act()
            assert "127.0.0.1" in str(caught.value)


@contextmanager
def answering(answer):
    """A web server that gives every question the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://someone:secret@127.0.0.1:{server.server_port}/key"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b"{}", b'"\xff"', b"[" * 100_000, b'{"result":"' + b"0" * (65 * 2**20) + b'"}'],
    ids=["empty", "html", "list", "object", "no-utf8", "deep", "endless"],
)
def test_what_is_not_a_node_is_a_network_error(answer):
    with answering(answer) as url, pytest.raises(NetworkError) as caught:
        Ledger.deploy(url, treasury=OFFICE)
    assert "secret" not in str(caught.value)
    assert "key" not in str(caught.value)


@pytest.mark.parametrize("result", [None, "0x", "0xzz", [], {}, "0x1", 1.5, {"hash": None}])
def test_a_node_that_answers_in_another_shape_is_a_ledger_error(result):
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    with answering(answer) as url, pytest.raises(LedgerError):
        Ledger.deploy(url, treasury=OFFICE)


@pytest.mark.parametrize(
    "url", ["", "ftp://host", "http://", "http://host:x", "http://[", "127.0.0.1:8545", "/tmp/ipc"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match="not the address"):
        check_url(url)
