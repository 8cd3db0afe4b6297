"""File sales against a plain model, step by step: anyone tries any act on any sale at any time, held or in dispute.

After each step every party has what the model says, the sale is where the model says, and the vault's balance is its
credits and pots. What the model does not allow is refused and moves nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from countermark.errors import CountermarkError

from ..chain.file_desk import (
    BOND,
    BOND_GRACE,
    COMPLAINT_WINDOW,
    DAY,
    FEE_BPS,
    MONEY,
    PAY_WINDOW,
    PRICE,
    REVEAL_WINDOW,
    SELLER_BOND,
    close_desk,
    copy,
    file_sale,
    give_grant,
    moved,
    offer,
    open_desk,
    state,
    word,
)

WINDOWS = {
    "delivered": PAY_WINDOW,
    "paid": REVEAL_WINDOW,
    "revealed": COMPLAINT_WINDOW,
}
STATES = ("none", "delivered", "paid", "revealed", "settled", "refunded", "aborted")
PARTIES = ("owner", "licensee", "second", "marker", "stranger")
ACTS = ("pay", "reveal", "complain about the wrong block", "complain about a right block", "settle", "abort")
#: How often each is tried: the next step of some sale by whose it is, any act by anyone, and what lies around them.
WEIGHTS = {
    "go_on": 16,
    "act": 8,
    "deliver": 7,
    "wait": 4,
    "offer": 2,
    "hold": 2,
    "dispute": 2,
    "withdraw": 1,
    "slash": 1,
}
WAITS = (60, 60, 60, DAY - 60, DAY, 3 * DAY, 31 * DAY)
BLOCKS, GRANT_DAYS, LISTING_DAYS, MOST_SALES, MOST_LISTINGS = 10, 300, 30, 12, 6
STEPS, DONE = Counter[str](), Counter[str]()


@dataclass
class Sale:
    listing: int
    buyer: str
    sealed: object
    wrong: int | None
    since: int
    state: str = "delivered"
    held: bool = False
    pending: bool = False


@dataclass
class Listing:
    expires: int
    bond: int = SELLER_BOND
    withdrawn: bool = False
    free_from: int = 0


class FileSaleMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bare = open_desk()
        self.start = self.bare.now
        title = self.bare.title()
        self.title = title
        self.grants = {who: give_grant(self.bare, title, who, who) for who in ("licensee", "second")}
        self.listings: list[Listing] = []
        self.sales: list[Sale] = []
        self.money = Counter[str]()

    @rule(seed=st.integers(0, 2**64 - 1))
    def step(self, seed: int) -> None:
        draw = Random(seed)
        (name,) = draw.choices(list(WEIGHTS), WEIGHTS.values())
        getattr(self, name)(draw)

    # --- what begins something, or lets time pass

    def offer(self, _draw: Random) -> None:
        if len(self.listings) < MOST_LISTINGS:
            self.listings.append(Listing(self.bare.now + LISTING_DAYS * DAY))
            self.money["owner"] -= SELLER_BOND
            offer(self.bare, self.title)

    def deliver(self, draw: Random) -> None:
        if not self.listings or len(self.sales) == MOST_SALES:
            return
        number, buyer = draw.randrange(len(self.listings)), draw.choice(("licensee", "second"))
        listing, wrong = self.listings[number], draw.choice((None, 0, 9))
        sealed = copy(BLOCKS, f"key {len(self.sales)}", () if wrong is None else (wrong,))
        allowed = not listing.withdrawn and self.bare.now < listing.expires and self.in_force()
        call = ("marker", "FileSales.deliver", number + 1, self.grants[buyer], *sealed.delivery(), BOND)
        if self.attempt("deliver", allowed, *call):
            self.sales.append(Sale(number, buyer, sealed, wrong, self.bare.now))
            self.money["marker"] -= BOND

    def wait(self, draw: Random) -> None:
        self.bare.turn(draw.choice(WAITS))
        for sale in self.sales:
            sale.held = False  # a hold of a minute

    def hold(self, draw: Random) -> None:
        if self.sales:
            number = draw.randrange(len(self.sales))
            args = (file_sale(number + 1), self.bare.now + 60, word("case"), word("reason"))
            self.bare.do("regulator", "Members.hold", *args)
            self.sales[number].held = True

    def dispute(self, draw: Random) -> None:
        if self.sales:
            number = draw.randrange(len(self.sales))
            self.sales[number].pending = not self.sales[number].pending
            self.bare.set_pending(file_sale(number + 1), self.sales[number].pending)

    def withdraw(self, draw: Random) -> None:
        if not self.listings:
            return
        number, who = draw.randrange(len(self.listings)), draw.choice(("owner", "owner", "marker"))
        listing = self.listings[number]
        mine = [sale for sale in self.sales if sale.listing == number]
        free = self.bare.now >= listing.free_from and not any(s.pending or s.state in WINDOWS for s in mine)
        bond = listing.bond if free else 0
        allowed = who == "owner" and (bond > 0 or not listing.withdrawn)
        if self.attempt("withdraw", allowed, who, "FileSales.withdrawListing", number + 1):
            listing.withdrawn = True
            listing.bond -= bond
            self.money["owner"] += bond

    def slash(self, draw: Random) -> None:
        if not self.sales:
            return
        number, who = draw.randrange(len(self.sales)), draw.choice(("Disputes", "owner", "office"))
        sale, listing = self.sales[number], self.listings[self.sales[number].listing]
        call = (who, "FileSales.slash", number + 1, self.bare.address("stranger"))
        if self.attempt("slash", who == "Disputes", *call):
            self.money["stranger"] += listing.bond
            listing.bond, listing.withdrawn = 0, True
            if sale.state in ("paid", "revealed"):
                self.close(sale, "refunded", **{sale.buyer: PRICE, "marker": BOND})

    # --- what is tried on a sale

    def go_on(self, draw: Random) -> None:
        numbers = [number for number, sale in enumerate(self.sales) if sale.state in WINDOWS]
        if numbers:
            number = draw.choice(numbers)
            sale = self.sales[number]
            late = "settle" if self.bare.now >= sale.since + WINDOWS[sale.state] else "complain about the wrong block"
            what = {"delivered": "pay", "paid": "reveal"}.get(sale.state, late)
            self.act_on(number, what, "marker" if what == "reveal" else sale.buyer)

    def act(self, draw: Random) -> None:
        if self.sales:
            self.act_on(draw.randrange(len(self.sales)), draw.choice(ACTS), draw.choice(PARTIES))

    def act_on(self, number: int, what: str, who: str) -> None:
        sale = self.sales[number]
        name, args = self.call(sale, what)
        if self.attempt(what, self.allowed(sale, what, who), who, f"FileSales.{name}", number + 1, *args):
            self.follow(sale, name)
        assert STATES[state(self.bare, number + 1)] == sale.state

    def call(self, sale: Sale, what: str) -> tuple[str, tuple[object, ...]]:
        if what.startswith("complain"):
            index = (sale.wrong or 0) if "wrong" in what else (5 if sale.wrong != 5 else 4)
            return "complain", sale.sealed.complaint(index)  # type: ignore[attr-defined]
        return what, {"pay": (PRICE,), "reveal": (sale.sealed.key,)}.get(what, ())  # type: ignore[attr-defined]

    def allowed(self, sale: Sale, what: str, who: str) -> bool:
        in_time = sale.state in WINDOWS and self.bare.now < sale.since + WINDOWS[sale.state]
        match what:
            case "pay":
                open_ = not self.listings[sale.listing].withdrawn and self.in_force() and not sale.held
                return sale.state == "delivered" and who == sale.buyer and in_time and open_
            case "reveal":
                return sale.state == "paid" and who == "marker" and in_time and not sale.held
            case "settle":
                return sale.state == "revealed" and not in_time and not sale.held and not sale.pending
            case "abort":
                return sale.state in ("delivered", "paid") and (who == "marker" or not in_time)
            case "complain about the wrong block":
                return sale.state == "revealed" and who == sale.buyer and in_time and sale.wrong is not None
        return False

    def follow(self, sale: Sale, name: str) -> None:
        fee = PRICE * FEE_BPS // 10_000
        if name == "pay":
            self.money[sale.buyer] -= PRICE
            sale.state, sale.since = "paid", self.bare.now
        elif name == "reveal":
            sale.state, sale.since = "revealed", self.bare.now
        elif name == "settle":
            self.close(sale, "settled", owner=PRICE - fee, platform=fee, marker=BOND)
        elif name == "complain":
            self.close(sale, "refunded", **{sale.buyer: PRICE + BOND})
        else:
            self.close(sale, "aborted", **{sale.buyer: PRICE if sale.state == "paid" else 0, "marker": BOND})

    def close(self, sale: Sale, state: str, **credited: int) -> None:
        sale.state, sale.since = state, self.bare.now
        self.listings[sale.listing].free_from = self.bare.now + BOND_GRACE
        self.money.update(credited)

    def in_force(self) -> bool:
        return bool(self.bare.now < self.start + GRANT_DAYS * DAY)

    def attempt(self, what: str, allowed: bool, *call: object) -> bool:
        """Try an act; it succeeds if and only if the model allows it."""
        STEPS[what] += 1
        try:
            self.bare.do(*call)
        except CountermarkError:
            assert not allowed, (what, call)
            return False
        assert allowed, (what, call)
        DONE[what] += 1
        return True

    @invariant()
    def everyone_has_what_the_model_says(self) -> None:
        found = dict(zip(PARTIES, moved(self.bare, *PARTIES), strict=True))
        found["stranger"] += MONEY  # began with nothing
        assert found == {who: self.money[who] for who in PARTIES}
        assert self.bare.credit("platform") == self.money["platform"]
        credits, pots = self.bare.read("Revenue.totalCredits"), self.bare.read("Revenue.totalPots")
        assert self.bare.tokens("Revenue") == credits + pots

    def teardown(self) -> None:
        for number, sale in enumerate(self.sales, 1):
            assert STATES[state(self.bare, number)] == sale.state
        close_desk(self.bare)


def run(examples: int, steps: int, phases: tuple[Phase, ...]) -> None:
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, phases=phases, deadline=None, report_multiple_bugs=False
    )
    run_state_machine_as_test(FileSaleMachine, settings=chosen)


def test_file_sales_do_what_the_model_says() -> None:
    run(12, 50, tuple(Phase))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_many_file_sales_do_what_the_model_says(capsys: pytest.CaptureFixture[str]) -> None:
    for counter in (STEPS, DONE):
        counter.clear()
    while STEPS.total() < 4_000:
        run(20, 150, (Phase.generate,))
    with capsys.disabled():
        print("\ndone of tried: " + ", ".join(f"{name} {DONE[name]}/{count}" for name, count in STEPS.most_common()))
    assert all(DONE[what] >= 5 for what in STEPS if what != "complain about a right block")
    assert DONE["complain about a right block"] == 0
