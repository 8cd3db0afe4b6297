"""Lines of valuation records over a ledger on which everything happened once: they agree with the vault's own state."""

from __future__ import annotations

import shutil
from contextlib import closing

import pytest

from countermark.adapters.index import EventIndex
from countermark.adapters.ledger import Ledger
from countermark.adapters.store import SqlStore
from countermark.valuation.lines import EVENTS, distributions, lines_of, withheld_of

REVENUE, ROYALTY, SPLIT = 2, 3, 4


@pytest.fixture
def ledger(tmp_path, day):
    with closing(Ledger.open(shutil.copy(day.path, tmp_path / "ledger.db"), clock=day.clock)) as opened:
        yield opened


@pytest.fixture
def index(tmp_path, ledger):
    with closing(SqlStore(tmp_path / "store.db")) as store:
        made = EventIndex(store, ledger.web3, ledger.deployment["contracts"])
        made.follow()
        yield made


def titles(index):
    return [int(event.args["titleId"]) for event in index.named("TitleRegistered")]


def test_what_a_title_owns_is_credited_or_withheld_or_forfeited(index, ledger):
    events = index.named(*EVENTS)
    seen = set()
    for title in titles(index):
        lines, withheld = lines_of(title, index.about(f"title:{title}"), events), withheld_of(title, events)
        seen |= {line.kind for line in lines}
        credited = sum(
            int(event.args["amount"])
            for event in events
            if event.name == "Credited"
            and int(event.args["titleId"]) == title
            and int(event.args["reason"]) in (REVENUE, ROYALTY, SPLIT)
        )
        assert withheld["now"] == ledger.view("Revenue", "withheld", title)
        assert sum(line.own for line in lines) == credited + withheld["now"] + withheld["forfeited"]
        assert sum(line.withheld for line in lines) == withheld["withheld"]
        assert all(line.amount == line.fee + line.royalties + line.own for line in lines)
    assert seen >= {"title-sale", "license-sale", "renewal", "resale", "revenue-report"}


def test_every_share_belongs_to_one_distribution_or_was_released(index):
    events = index.named(*EVENTS)
    shared = [share for each in distributions(events) for share in each.shares]
    released = {event.transaction_hash for event in events if event.name == "WithheldReleased"}
    shares = [
        event
        for event in events
        if (event.name == "Withheld" or (event.name == "Credited" and int(event.args["reason"]) in (1, 2, 3, 4)))
        and event.transaction_hash not in released
    ]
    assert shared == shares
