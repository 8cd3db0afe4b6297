"""The event index over a real node: what a reorganisation takes is forgotten, whatever it puts in its place."""

from __future__ import annotations

from contextlib import closing, contextmanager

import pytest

from countermark.adapters.index import EventIndex
from countermark.adapters.ledger import Ledger
from countermark.adapters.store import SqlStore

pytestmark = pytest.mark.tool("npm")


def word(number):
    return number.to_bytes(32, "big")


@contextmanager
def office(anvil, workload, tmp_path):
    secret = workload.secret("office")
    with anvil() as node, closing(SqlStore(tmp_path / "store.db")) as store:
        node.fund(account(secret))
        with closing(Ledger.deploy(node.url, treasury=secret)) as ledger:
            index = EventIndex(store, ledger.web3, ledger.deployment["contracts"])
            yield (
                node,
                index,
                lambda n: ledger.submit(ledger.prepare_call(secret, "Grants", "commitBatch", (word(n), 1))),
            )


def account(secret):
    from countermark.adapters.transactions import account_of

    return account_of(secret).address


def roots(index):
    index.follow()
    found = index.named()
    index.rebuild()
    assert index.named() == found
    return [int(event.args["root"], 16) for event in found if event.name == "BatchCommitted"]


def test_a_reorganisation_is_followed(anvil, workload, tmp_path):
    with office(anvil, workload, tmp_path) as (node, index, commit):
        commit(1)
        assert roots(index) == [1]
        before = node.ask("evm_snapshot")
        for number in (2, 3):
            commit(number)
        assert roots(index) == [1, 2, 3]
        node.ask("evm_revert", before)
        assert roots(index) == [1], "a shorter chain"
        before = node.ask("evm_snapshot")
        commit(4)
        node.ask("anvil_mine", "0x3")
        assert roots(index) == [1, 4]
        node.ask("evm_revert", before)
        for number in (5, 6, 7, 8, 9):
            commit(number)
        assert roots(index) == [1, 5, 6, 7, 8, 9], "other blocks at the same heights"


def test_a_reorganisation_between_two_questions(anvil, workload, tmp_path, monkeypatch):
    with office(anvil, workload, tmp_path) as (node, index, commit):
        commit(1)
        index.follow()
        before = node.ask("evm_snapshot")
        commit(2)
        provider, turned = index._web3.provider, []
        ask = provider.make_request

        def turn(method, params):
            answer = ask(method, params)
            if method == "eth_getLogs" and not turned:
                turned.append(True)
                node.ask("evm_revert", before)
                commit(3)
            return answer

        monkeypatch.setattr(provider, "make_request", turn)
        assert roots(index) == [1, 3]
