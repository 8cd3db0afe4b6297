"""The event index: complete, by subject, rebuilt to the same, and true to the chain whatever a node and crashes do."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import pytest

from countermark.adapters.contracts import CONTRACTS
from countermark.adapters.index import EventIndex
from countermark.adapters.ledger import Ledger
from countermark.adapters.store import SqlStore
from countermark.adapters.subjects import SUBJECTS
from countermark.errors import LedgerError, NetworkError


@pytest.fixture
def ledger(tmp_path, day):
    with closing(Ledger.open(shutil.copy(day.path, tmp_path / "ledger.db"), clock=day.clock)) as opened:
        yield opened


@pytest.fixture
def store(tmp_path):
    with closing(SqlStore(tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
def index(store, ledger):
    return over(store, ledger)


def over(store, ledger):
    return EventIndex(store, ledger.web3, ledger.deployment["contracts"])


def plain(value):
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and value >= 2**53:
        return str(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_every_event_is_there_once_and_in_order(index, ledger):
    told = ledger.events()
    assert index.follow() == len(told) > 100
    assert index.follow() == 0
    found = index.named()
    assert [(e.contract, e.name, e.args) for e in found] == [(e.contract, e.name, plain(e.args)) for e in told]
    for event in found:
        block = ledger.web3.eth.get_block(event.block_number)
        assert (event.block_hash, event.block_time) == (block["hash"].to_0x_hex(), block["timestamp"])
        assert json.loads(json.dumps(event.args)) == event.args
    assert [(e.transaction_hash, e.log_index) for e in found] == [(e.transaction_hash, e.log_index) for e in told]


def test_the_day_had_every_event_that_there_is(index):
    index.follow()
    seen = {(event.contract, event.name) for event in index.named()}
    never = {("Grants", "Approval"), ("Grants", "ApprovalForAll"), ("ModelTitles", "BatchMetadataUpdate")}
    assert {(contract, name) for contract in CONTRACTS for name in SUBJECTS[contract]} - seen == never


def test_a_rebuild_gives_the_same(index):
    index.follow()
    before = index.named()
    assert index.rebuild() == len(before)
    assert index.named() == before


def test_events_by_name_and_from_a_block(index):
    index.follow()
    granted = index.named("Granted")
    assert {event.name for event in granted} == {"Granted"}
    both = index.named("Granted", "Admitted", from_block=granted[0].block_number)
    assert [event.name for event in both][:1] == ["Granted"]
    assert both[-len(granted) :] == granted


def test_a_title_s_history_holds_what_began_under_it(index, day):
    index.follow()
    title = [event.name for event in index.about(f"title:{day.made['base']}")]
    grant = [event.name for event in index.about(f"grant:{day.made['grant']}")]
    sale = [event.name for event in index.about(f"sale:{day.made['sale']}")]
    assert {"TitleRegistered", "Offered", "Granted", "Renewed", "Paid", "Settled"} <= set(title)
    assert {"Paid", "Settled", "Granted", "Renewed", "Resold"} <= set(grant) <= set(title)
    assert {"Paid", "Settled"} <= set(sale) <= set(title)
    assert "TitleRegistered" not in grant
    assert index.about(f"title:{day.made['spare']}")[0].name == "Transfer"
    assert index.about("title:99") == []


def test_a_case_belongs_to_what_it_is_about(index, day):
    index.follow()
    case = [event.name for event in index.about(f"case:{day.made['case']}")]
    grant = index.about(f"grant:{day.made['resold']}")
    assert [name for name in case if name in ("CaseOpened", "StatementAdded", "Ruled", "Appealed", "Executed")] == [
        "CaseOpened",
        "StatementAdded",
        "StatementAdded",
        "Ruled",
        "Appealed",
        "Ruled",
        "Executed",
    ]
    assert set(case) <= {event.name for event in grant}
    assert "Struck" in case


def test_a_file_sale_belongs_to_its_listing_and_its_grant(index, day):
    index.follow()
    sale = [event.name for event in index.about(f"file-sale:{day.made['file']}")]
    assert sale[:4] == ["Delivered", "Paid", "KeyRevealed", "Settled"]
    assert {"CaseOpened", "Executed", "BondSlashed"} <= set(sale)
    for above in (f"listing:{day.made['listing']}", f"grant:{day.made['resold']}"):
        assert {*sale, "Complained", "Aborted"} <= {event.name for event in index.about(above)}


def test_an_account_s_history(index, day):
    index.follow()
    names = [event.name for event in index.about(f"account:{day.address('licensee').lower()}")]
    assert names[:3] == ["Admitted", "Suspended", "Admitted"]
    assert "Renewed" in names, "it names no account: the grant began under this one"
    assert "TitleRegistered" not in names


def asked(monkeypatch, ledger, change):
    """Let ``change(method, params, answer)`` change what the node answers."""
    provider = ledger.web3.provider
    ask = provider.make_request

    def make_request(method, params):
        return change(method, params, ask(method, params))

    monkeypatch.setattr(provider, "make_request", make_request)


def test_nodes_that_limit_a_question(index, ledger, monkeypatch):
    spans = []

    def limit(method, params, answer):
        if method == "eth_getLogs":
            first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
            spans.append(last - first + 1)
            if spans[-1] > 7:
                return {"error": {"code": -32005, "message": "query exceeds max block range"}}
        return answer

    asked(monkeypatch, ledger, limit)
    assert index.follow() == len(ledger.events())
    assert [span for span in spans if span > 7] == spans[: spans.index(4)], "it learns"


def test_nodes_that_do_not_say_a_block_s_time(index, ledger, monkeypatch):
    index.follow()
    before = index.named()

    def bare(method, params, answer):
        for log in answer["result"] if method == "eth_getLogs" else ():
            del log["blockTimestamp"]
        return answer

    asked(monkeypatch, ledger, bare)
    index.rebuild()
    assert index.named() == before


@pytest.mark.parametrize(
    "answer",
    [{"error": {"code": 1}}, {"result": None}, {"result": [{}]}, {"result": [{"address": 1}]}, {"result": "0x"}],
)
def test_logs_of_another_shape_are_a_ledger_error(index, ledger, monkeypatch, answer):
    asked(monkeypatch, ledger, lambda method, _, real: answer if method == "eth_getLogs" else real)
    with pytest.raises(LedgerError):
        index.follow()
    assert index.named() == []


def test_a_node_that_goes_away_in_the_middle_is_taken_up_again(index, ledger, store, monkeypatch):
    left = [3]

    def leave(method, _, answer):
        if method == "eth_getLogs":
            left[0] -= 1
            if left[0] < 0:
                raise NetworkError("gone")
        return answer

    index._span = 8
    with monkeypatch.context() as patch:
        asked(patch, ledger, leave)
        with pytest.raises(NetworkError):
            index.follow()
    part = index.named()
    assert part
    assert over(store, ledger).follow() == len(ledger.events()) - len(part)
    assert len(index.named()) == len(ledger.events())


def test_a_ledger_that_is_shorter_than_the_index_is_followed_back(index, ledger, store, day, tmp_path):
    shutil.copy(day.path, tmp_path / "other.db")
    with closing(Ledger.open(tmp_path / "other.db", clock=day.clock)) as longer:
        for number in range(3):
            raw = longer.prepare_call(day.secret("office"), "Grants", "commitBatch", (bytes([number + 1]) * 32, 1))
            longer.submit(raw)
        over(store, longer).follow()
    assert len(index.named("BatchCommitted")) == 1 + 3
    assert index.follow() == 0
    assert len(index.named("BatchCommitted")) == 1
    assert [event.args for event in index.named()] == [plain(event.args) for event in ledger.events()]


def test_a_chain_that_does_not_hold_still(index, ledger, monkeypatch):
    def flicker(method, _, answer):
        if method == "eth_getBlockByNumber":
            flicker.count += 1
            answer["result"]["hash"] = f"0x{flicker.count:064x}"
        return answer

    flicker.count = 0
    asked(monkeypatch, ledger, flicker)
    with pytest.raises(LedgerError, match="change faster"):
        index.follow()
    assert index.named() == []


def test_two_that_follow_write_nothing_twice(index, ledger, store, monkeypatch):
    """Another process finishes the page while this one still reads it."""
    other = []

    def overtake(method, _, answer):
        if method == "eth_getLogs" and not other:
            other.append(True)
            over(store, ledger).follow()
        return answer

    asked(monkeypatch, ledger, overtake)
    assert index.follow() == 0
    assert len(index.named()) == len(ledger.events())
