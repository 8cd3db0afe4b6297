"""kill -9 at random moments during purchases, deliveries, refunds, claims, reports and mints in one office.

Laws:
    no acknowledged transaction is lost; nothing is paid twice: right after a kill the ledger's balances are those of
    the acknowledged acts, with or without the one that was interrupted, and once that is repeated exactly with it;
    the event index equals one that is rebuilt from block 0.
"""

import json
import random
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from countermark.adapters.ledger import Ledger
from countermark.bootstrap import create_office, open_office, utc_now
from countermark.licensing import Terms
from countermark.workflows import market
from countermark.workflows.check import check_office
from countermark.workflows.license import offer_terms
from countermark.workflows.register import add_party, register_model

from .killing import run_and_kill

WORKER = Path(__file__).with_name("market_worker.py")
PASSPHRASE = "a passphrase for tests"
KINDS = {"mint", "buy", "deliver", "refund", "claim", "report"}
PRICE, BOND, FEE_BPS, SHARE_BPS = 1003, 207, 250, 1000
BUYERS = ("alice", "bob")
TERMS = {
    "name": "Test", "scope": ["infer"], "price": PRICE, "bond": BOND, "currency": "CNY", "duration_days": 30,
    "seats": 0, "resale": False, "territory": "worldwide", "revocable": True, "on_market": True,
    "revenue_share_bps": SHARE_BPS,
}  # fmt: skip


class Books:
    """What everybody has after some acts: tokens and credits by name, and what stands in pots."""

    def __init__(self) -> None:
        self.tokens, self.credit, self.pots = Counter(), Counter(), 0

    def copy(self):
        books = Books()
        books.tokens, books.credit, books.pots = self.tokens.copy(), self.credit.copy(), self.pots
        return books

    def after(self, act):
        books = self.copy()
        getattr(books, f"_{act['kind']}")(act)
        return books

    def as_on_the_ledger(self):
        names = ("office", "owner", *BUYERS)
        return {name: (self.tokens[name], self.credit[name]) for name in names}, self.pots

    def _mint(self, act):
        self.tokens[act["to"]] += act["amount"]

    def _buy(self, act):
        self.tokens[act["buyer"]] -= PRICE + BOND
        self.pots += PRICE + BOND

    def _deliver(self, _):
        self.pots -= PRICE
        self._share(PRICE)

    def _refund(self, act):
        self.pots -= PRICE + BOND
        self.credit[act["buyer"]] += PRICE + BOND

    def _claim(self, act):
        self.tokens[act["who"]] += self.credit.pop(act["who"])

    def _report(self, act):
        due = act["gross"] * SHARE_BPS // 10_000
        self.tokens[act["who"]] -= due
        self._share(due)

    def _share(self, amount):
        fee = amount * FEE_BPS // 10_000
        self.credit["office"] += fee
        self.credit["owner"] += amount - fee


@pytest.fixture
def workspace(tmp_path):
    directory = tmp_path / "office"
    create_office(directory, PASSPHRASE, name="Test office", platform_fee_bps=FEE_BPS)
    return directory


@pytest.fixture
def opened(workspace, tmp_path):
    """The books after a mint and a delivered licence for each buyer, and the addresses of everybody."""
    books = Books()
    with open_office(workspace, PASSPHRASE) as office:
        places = {
            "office": office.ledger.address_of(office.account),
            "owner": add_party(office, "owner", ["owner"]).address,
        }
        register_model(office, write_model(tmp_path / "model"), "owner")
        offer_terms(office, 1, Terms.from_json(TERMS))
        for name in BUYERS:
            places[name] = add_party(office, name, ["licensee"]).address
            market.issue_money(office, name, 1_000_000, f"first of {name}")
            sale = market.buy_license(office, 1, name)["sale_id"]
            market.deliver_license(office, sale)
            for act in (
                {"kind": "mint", "to": name, "amount": 1_000_000},
                {"kind": "buy", "buyer": name},
                {"kind": "deliver"},
            ):
                books = books.after(act)
    return books, places


def write_model(directory):
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(256))
    return directory


def on_the_ledger(workspace, places):
    """Return what the ledger's file says, without opening the office: nothing is finished by looking."""
    with closing(Ledger.open(workspace / "ledger.db", clock=utc_now)) as ledger:
        view, contracts = ledger.view, ledger.deployment["contracts"]
        found = {
            name: (view("SettlementToken", "balanceOf", place), view("Revenue", "creditOf", place))
            for name, place in places.items()
        }
        pots, credits = view("Revenue", "totalPots"), view("Revenue", "totalCredits")
        assert view("SettlementToken", "balanceOf", contracts["Revenue"]) == pots + credits
        return found, pots


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_nothing_is_lost_or_paid_twice(workspace, opened, kills):
    chance, (books, places) = random.Random(20261121), opened
    acknowledged, interrupted, number = [], None, 0
    started = time.monotonic()
    # A busy machine may get nothing of some kind done between kills: then it goes on, with more time, until it has.
    while number < kills or {act["kind"] for act, _ in acknowledged} != KINDS:
        delay = chance.uniform(0.0, 1.5) if number < kills else 5.0
        done, interrupted = run_and_kill(WORKER, workspace, number, interrupted, delay)
        for act, _ in done:
            books = books.after(act)
        acknowledged += done
        allowed = [books.as_on_the_ledger(), *([books.after(interrupted).as_on_the_ledger()] if interrupted else [])]
        assert on_the_ledger(workspace, places) in allowed, (interrupted, done)
        number += 1
        assert time.monotonic() - started < 60 * kills
    confirm(workspace, acknowledged)


def confirm(workspace, acknowledged):
    with open_office(workspace, PASSPHRASE) as office:
        check_office(office)  # log and ledger agree
        for _, result in acknowledged:
            if "transaction" in result:
                assert office.ledger.receipt(result["transaction"]).events
        for kind, word in (("buy", "sale_id"), ("deliver", "grant")):
            made = [result[word] for act, result in acknowledged if act["kind"] == kind and word in result]
            assert len(set(made)) == len(made), f"no {kind} was done for two commands"
        office.index.follow()
        followed = office.index.named()
        office.index.rebuild()
        assert office.index.named() == followed
        paid = [event for event in followed if (event.contract, event.name) == ("Market", "Paid")]
        bought = [act for act, _ in acknowledged if act["kind"] == "buy"]
        assert len(bought) + len(BUYERS) <= len(paid) <= len(bought) + len(BUYERS) + 1
