"""The contracts of the market against the plain model, step by step: same refusals, same money, same rights.

After each step every account's tokens and credit, every pot and the vault's balance are what the model says, so nothing
moved but what it moved; the laws of the ledger are checked besides. Wrong callers and wrong moments are part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from countermark.core.rlp import keccak256
from countermark.errors import CountermarkError

from ..chain.bare import CAST, CONDITIONS, DAY, FEE_BPS, FOREVER, fresh, word
from .market_model import ROLES, Model

HERE = Path(__file__)
word, CONDITIONS, DAY, MAX_AMOUNT = word, CONDITIONS, DAY, 2**53 - 1
EVERYBODY = tuple(ROLES)
HOLDERS, BUYERS = ("maker", "owner", "heir"), ("licensee", "second", "heir")
ALL = 2**256 - 1
STEP = 2**64 + 13

TERMS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"price": 1, "bond": 0, "resale_bps": 5_000},
    {"price": 0, "revenue_bps": 10_000, "notice": 4 * DAY},
    {"price": 333_333, "bond": 7, "revenue_bps": 1, "resale_bps": 0},
    {"renewable": False, "resale": False, "revocable": False, "revenue_bps": 0},
    {"on_market": False},
    {"duration": 0, "renewable": False, "days": 20},
    {"days": 50, "price": 99},
)
#: How often each act is tried.
WEIGHTS = {
    "buy_license": 8,
    "deliver": 9,
    "offer_grant": 6,
    "buy_grant": 7,
    "offer_title": 4,
    "buy_title": 5,
    "report": 6,
    "renew": 3,
    "claim": 4,
    "wait": 3,
    "tag": 2,
    "hold": 2,
    "release": 2,
    "suspend": 3,
    "case": 1,
    "mint": 1,
    "withdraw": 2,
    "refund": 3,
    "offer": 2,
    "register": 2,
    "transfer_by_deed": 2,
    "set_splits": 2,
    "release_withheld": 4,
    "return_bond": 2,
    "slash": 1,
    "strike": 1,
    "revoke": 1,
    "forfeit": 1,
    "redeem": 1,
    "transfer": 1,
    "approve": 1,
    "withdraw_offer": 1,
    "change_fee": 1,
    "intrude": 3,
}
STEPS: Counter[str] = Counter()
DONE: Counter[str] = Counter()
REFUSED: Counter[str] = Counter()


@cache
def slot(key: bytes, at: int) -> int:
    """Where a mapping at a storage slot keeps the value of a key."""
    return int.from_bytes(keccak256(key.rjust(32, b"\0") + at.to_bytes(32, "big")), "big")


class MarketMachine(RuleBasedStateMachine):
    """One rule and a seed for each step: every example can do everything, and reaches deep states."""

    def __init__(self) -> None:
        super().__init__()
        self.bare = fresh()
        self.model = Model(self.bare.now, FEE_BPS)
        self.random = Random(0)
        self.count = 0
        self.last_pots: dict[int, int] = {}
        for at, who in enumerate(BUYERS):
            self.mint("office", who, 10**6, 1_000 + at)
            self.approve(who, ALL)
        self.register("maker", [])
        self.register("owner", [(1, 1_000)])
        self.offer("owner", 2, 0)

    @rule(seed=st.integers(0, 2**64))
    def step(self, seed: int) -> None:
        self.random = Random(seed + STEP * self.count)  # equal seeds are frequent, equal steps must not be
        self.count += 1
        before = STEPS.total()
        while STEPS.total() == before:  # some acts find nothing to act on
            (name,) = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            getattr(self, f"do_{name}")()

    # How an act is made

    def act(self, reasons: set[str], who: str, call: str, *args: Any) -> None:
        """Make a call; it is refused for one of the reasons, or done if there is none."""
        name = call.split(".")[1]
        STEPS[name] += 1
        try:
            self.bare.do(who, call, *args)
        except CountermarkError as refusal:
            found = str(refusal.params["error"])
            REFUSED[found] += 1
            assert found in reasons, f"{who} {call} {args}: refused for {found}, expected {reasons or 'no refusal'}"
        else:
            DONE[name] += 1
            assert not reasons, f"{who} {call} {args}: done, expected {reasons}"

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def someone(self, right: str) -> str:
        """Who may do it, or now and then anybody."""
        return right if self.chance(0.92) else self.random.choice(EVERYBODY)

    def pick(self, table: Mapping[int, Any], fits: Callable[[Any], bool] = lambda _: True) -> int:
        """Choose a record's number, mostly one that fits; 0 if there is none."""
        fitting = [number for number, record in table.items() if fits(record)]
        among = fitting if self.chance(0.9) else list(table)
        return self.random.choice(among) if among else 0

    def price(self) -> int:
        odd = (0, 1, 7, 99, 10_000, MAX_AMOUNT, MAX_AMOUNT + 1)
        return self.random.choice(odd) if self.chance(0.15) else self.random.randint(1, 10**5)

    def agreed(self) -> int:
        return 2**53 if self.chance(0.9) else 5_000

    def address(self, who: str) -> str:
        return str(self.bare.address(who))

    # Money comes and goes

    def mint(self, who: str, to: str, amount: int, reference: int) -> None:
        reasons = self.model.mint(who, to, amount, reference)
        self.act(reasons, who, "SettlementToken.mint", self.address(to), amount, word(f"b{reference}"))

    def approve(self, who: str, amount: int) -> None:
        self.model.allowed[who] = amount
        self.act(set(), who, "SettlementToken.approve", self.address("Revenue"), amount)

    def do_mint(self) -> None:
        self.mint(self.someone("office"), self.random.choice(EVERYBODY), self.price(), self.random.randint(0, 99))

    def do_approve(self) -> None:
        self.approve(self.random.choice(EVERYBODY), self.random.choice([ALL, ALL, ALL, 0, 13_000, 10**5]))

    def do_redeem(self) -> None:
        who, amount, reference = self.random.choice(EVERYBODY), self.price(), self.random.randint(0, 9)
        reasons = self.model.redeem(who, amount, reference)
        self.act(reasons, who, "SettlementToken.redeem", amount, word(f"b{reference}"))

    def do_transfer(self) -> None:
        who, to = self.random.choice(BUYERS), self.random.choice([*EVERYBODY, "stranger"])
        amount = self.price()
        self.act(self.model.transfer(who, to, amount), who, "SettlementToken.transfer", self.address(to), amount)

    def do_claim(self) -> None:
        owed = [who for who in EVERYBODY if self.model.credit[who]]
        who = self.random.choice(owed or EVERYBODY)
        self.act(self.model.claim(who), who, "Revenue.claim")

    # Titles and offers

    def register(self, to: str, parents: list[tuple[int, int]]) -> None:
        args = (self.address(to), word("m"), word(f"w{STEPS.total()}"), word("k"), parents, 0, True)
        self.act(self.model.register(to, parents), "office", "ModelTitles.register", *args)

    def do_register(self) -> None:
        shares = [1, 333, 1_000, 1_000, 2_500, 5_000]
        count = self.random.randint(0, 3)
        parents = [(self.pick(self.model.titles, self.is_clear) or 1, self.random.choice(shares)) for _ in range(count)]
        self.register(self.someone(self.random.choice(HOLDERS)), parents)

    def do_transfer_by_deed(self) -> None:
        title = self.pick(self.model.titles, lambda title: not title.lock) or 1
        who, to = self.someone(self.model.titles[title].holder), self.someone(self.random.choice(HOLDERS))
        reasons = self.model.transfer_by_deed(who, title, to)
        self.act(reasons, who, "ModelTitles.transferByDeed", title, self.address(to), word("d"))

    def offer(self, who: str, title: int, kind: int) -> None:
        terms = CONDITIONS | TERMS[kind]
        days = terms.pop("days", 0)
        terms["expires_at"] = self.bare.now + days * DAY if days else 0
        reasons = self.model.offer(who, title, terms)
        self.act(reasons, who, "Grants.offer", title, word("t"), tuple(terms.values()))

    def do_offer(self) -> None:
        title = self.pick(self.model.titles, self.is_clear) or 1
        self.offer(self.someone(self.model.titles[title].holder), title, self.random.randrange(len(TERMS)))

    def do_withdraw_offer(self) -> None:
        if not self.model.offers or self.chance(0.5):
            return
        offer = self.pick(self.model.offers, lambda offer: not offer.withdrawn) or 1
        who = self.someone(self.model.titles[self.model.offers[offer].title].holder)
        self.act(self.model.withdraw_offer(who, offer), who, "Grants.withdrawOffer", offer)

    # Sales

    def do_offer_title(self) -> None:
        title = self.pick(self.model.titles, lambda title: not title.lock and self.is_clear(title)) or 1
        who, price = self.someone(self.model.titles[title].holder), self.price()
        expires = self.bare.now + self.random.choice([0, 5, 40, 40, 40, 40, 40, 40]) * DAY
        reasons = self.model.offer_title(who, title, price, expires)
        self.act(reasons, who, "Market.offerTitle", title, price, word("d"), expires)

    def do_buy_title(self) -> None:
        sale, who, most = self.pick(self.model.sales, open_sale("title")), self.someone("heir"), self.agreed()
        if sale:
            self.act(self.model.buy_title(who, sale, most), who, "Market.buyTitle", sale, most)

    def do_buy_license(self) -> None:
        offer, who = self.pick(self.model.offers, self.is_sold), self.buyer()
        if not offer:
            return
        starts = self.bare.now + self.random.choice([0, 0, 0, 0, 0, 0, 0, 0, -1, -2, 8, 60]) * DAY
        most, fee = self.agreed(), self.random.choice([10_000, 10_000, 10_000, 10_000, 10_000, 250, 99])
        reasons = self.model.buy_license(who, offer, starts, most, fee)
        self.act(reasons, who, "Market.buyLicense", offer, word("a"), starts, most, fee)

    def do_offer_grant(self) -> None:
        grant = self.pick(
            self.model.grants,
            lambda grant: (
                not grant.resale and self.is_running(grant) and self.model.offers[grant.offer].terms["resale"]
            ),
        )
        if not grant:
            return
        who, price = self.someone(self.model.grants[grant].holder), self.price()
        expires = self.bare.now + self.random.choice([0, 5, 40, 40, 40, 40, 40, 40]) * DAY
        reasons = self.model.offer_grant(who, grant, price, expires)
        self.act(reasons, who, "Market.offerGrant", grant, price, expires)

    def do_buy_grant(self) -> None:
        sale, who, most = self.pick(self.model.sales, open_sale("resale")), self.buyer(), self.agreed()
        if sale:
            self.act(self.model.buy_grant(who, sale, most), who, "Market.buyGrant", sale, word("a"), most)

    def do_withdraw(self) -> None:
        sale = self.pick(self.model.sales, lambda sale: sale.state == "offered")
        if sale:
            who = self.someone(self.model.sales[sale].seller)
            self.act(self.model.withdraw(who, sale), who, "Market.withdraw", sale)

    def do_deliver(self) -> None:
        sale, who = self.pick(self.model.sales, lambda sale: sale.state == "paid"), self.someone("office")
        mark = self.random.randint(0, 10**4)
        if sale:
            self.act(self.model.deliver(who, sale, mark), who, "Market.deliver", sale, word(f"i{mark}"))

    def do_refund(self) -> None:
        sale = self.pick(self.model.sales, lambda sale: sale.state == "paid")
        if sale:
            found = self.model.sales[sale]
            who = self.someone(self.random.choice(["office", found.buyer or found.seller, found.seller]))
            self.act(self.model.refund(who, sale), who, "Market.refund", sale)

    def buyer(self) -> str:
        return self.someone(self.random.choice(BUYERS))

    # Grants, reports, splits, bonds

    def do_renew(self) -> None:
        if grant := self.pick(self.model.grants, self.is_running):
            who, most = self.someone(self.model.grants[grant].holder), self.agreed()
            self.act(self.model.renew(who, grant, most), who, "Market.renew", grant, most)

    def do_revoke(self) -> None:
        if grant := self.pick(self.model.grants, self.is_running):
            who = self.someone(self.model.titles[self.model.title_of(grant)].holder)
            self.act(self.model.revoke(who, grant), who, "Grants.revoke", grant, word("r"))

    def do_report(self) -> None:
        grant = self.pick(self.model.grants, lambda grant: max(grant.starts, grant.reported) < self.model.now)
        disputed = [one for one in self.model.grants if not self.model.clear(self.model.title_of(one))]
        if disputed and self.chance(0.5):
            grant = self.random.choice(disputed)
        if not grant:
            return
        given, gross = self.model.grants[grant], self.price()
        who = self.someone(given.holder)
        start, end = max(given.starts, given.reported), self.bare.now
        start, end = self.random.choice([(start, end)] * 9 + [(start - 1, end), (start, end + 1), (start, start)])
        reasons = self.model.report(who, grant, start, end, gross)
        self.act(reasons, who, "Revenue.report", grant, start, end, gross, word("r"))

    def do_set_splits(self) -> None:
        title = self.pick(self.model.titles)
        who, parts = self.someone(self.model.titles[title].holder), [1, 333, 2_500, 5_000]
        count = self.random.choice([0, 1, 2, 3, 9])
        splits = [(self.random.choice(EVERYBODY), self.random.choice(parts)) for _ in range(count)]
        splits += [("partner", 0)] * self.chance(0.1)
        accounts, shares = [self.address(one) for one, _ in splits], [share for _, share in splits]
        self.act(self.model.set_splits(who, title, splits), who, "Revenue.setSplits", title, accounts, shares)

    def do_release_withheld(self) -> None:
        waiting = [title for title, amount in self.model.withheld.items() if amount and self.model.clear(title)]
        if not waiting and self.chance(0.9):
            return
        title = self.random.choice(waiting * 9 + [*self.model.withheld] + [1])
        self.act(self.model.release_withheld(title), "partner", "Revenue.releaseWithheld", title)

    def do_return_bond(self) -> None:
        ended = lambda grant: grant.ends + 30 * DAY <= self.model.now and self.model.sales[grant.sale].pot  # noqa: E731
        if grant := self.pick(self.model.grants, ended):
            self.act(self.model.return_bond(grant), "partner", "Market.returnBond", grant)

    # Rulings, holds, governance, time

    def do_tag(self) -> None:
        tagged = [title for title, record in self.model.titles.items() if record.tagged]
        licensed = [self.model.title_of(grant) for grant in self.model.grants]
        title = self.random.choice(tagged * 4 + licensed + [*self.model.titles])
        self.model.titles[title].tagged = self.chance(0.2 if tagged else 0.9)
        self.act(set(), "Disputes", "ModelTitles.setTag", title, self.model.titles[title].tagged, 1)

    def do_forfeit(self) -> None:
        if self.chance(0.7):
            return
        title = self.random.choice([*self.model.withheld, *self.model.titles])
        who, to = self.someone("Disputes"), self.random.choice(EVERYBODY)
        self.act(self.model.forfeit(who, title, to), who, "Revenue.forfeit", title, self.address(to))

    def do_slash(self) -> None:
        who, to = self.someone("Disputes"), self.random.choice(EVERYBODY)
        if grant := self.pick(self.model.grants, lambda grant: self.model.sales[grant.sale].pot):
            self.act(self.model.slash(who, grant, to), who, "Market.slash", grant, self.address(to))

    def do_strike(self) -> None:
        if grant := self.pick(self.model.grants):
            self.model.strike(grant)
            self.act(set(), "Disputes", "Grants.strike", grant, 1)

    def do_case(self) -> None:
        grant = self.random.choice([*self.model.pending] * 4 + [*self.model.grants]) if self.model.grants else 0
        if grant:
            pending = self.chance(0.3)
            (self.model.pending.add if pending else self.model.pending.discard)(grant)
            self.bare.set_pending(self.bare.subject("grant", grant), pending)

    def do_hold(self) -> None:
        who, until = self.someone("regulator"), self.model.now + self.random.randint(1, 9) * DAY
        tables = {"title": self.model.titles, "grant": self.model.grants, "sale": self.model.sales}
        kind = self.random.choice(["account", *tables])
        what = self.random.choice(EVERYBODY) if kind == "account" else self.pick(tables[kind])
        if not what:
            return
        reasons = self.model.role(who, "REGULATOR")
        if not reasons:
            self.model.held[kind, what] = until
        self.act(reasons, who, "Members.hold", self.bare.subject(kind, what), until, word("c"), word("r"))

    def do_release(self) -> None:
        standing = [subject for subject, until in self.model.held.items() if until > self.model.now]
        if standing:
            kind, what = self.random.choice(standing)
            self.model.held.pop((kind, what))
            self.act(set(), "regulator", "Members.release", self.bare.subject(kind, what), word("r"))

    def do_suspend(self) -> None:
        if self.model.suspended:
            who = self.random.choice(sorted(self.model.suspended))
            self.model.suspended.remove(who)
            args = (self.address(who), word(who), word("key"), int(CAST[who]), FOREVER)
            self.act(set(), "office", "Members.admit", *args)
        elif self.chance(0.3):
            who = self.random.choice([*HOLDERS, *BUYERS])
            self.model.suspended.add(who)
            self.act(set(), "office", "Members.suspend", self.address(who))

    def do_change_fee(self) -> None:
        self.model.fee = self.random.choice([0, 1, 250, 1_000])
        self.bare.set_parameter("market.fee", self.model.fee)

    def do_wait(self) -> None:
        STEPS["wait"] += 1
        seconds = self.random.choice([1, 3_600, 3_600, DAY, DAY, 3 * DAY, 8 * DAY, 31 * DAY])
        self.bare.turn(seconds)
        self.model.now += seconds

    def do_intrude(self) -> None:
        """Nobody speaks for a contract, empties another's pot, or takes what it was not allowed."""
        who, victim = self.random.choice([*EVERYBODY, "Grants", "Disputes"]), self.random.choice(BUYERS)
        me, pot, title = self.address(who), self.random.randint(1, 5).to_bytes(32, "big"), self.pick(self.model.titles)
        calls: list[tuple[Any, ...]] = [
            ("Revenue.payOut", "ShortPot", pot, me, 1),
            ("Revenue.distribute", "ShortPot", pot, title, 1, 0),
            ("ModelTitles.lockForSale", "NotTheContract", title, 1),
            ("ModelTitles.unlock", "NotTheContract", title),
            ("ModelTitles.assignBySale", "NotTheContract", title, me, word("d")),
            ("Grants.issue", "NotTheContract", 1, me, word("a"), word("m"), self.bare.now),
            ("Grants.resell", "NotTheContract", 1, me, word("a"), word("m")),
            ("Grants.renew", "NotTheContract", 1),
            ("SettlementToken.transferFrom", "ERC20InsufficientAllowance", self.address(victim), me, 1),
            ("SettlementToken.mint", "MissingRole", me, 1, word("x")),
        ]
        if who != "Disputes":
            calls += [("Revenue.fund", "NotTheContract", pot, self.address(victim), 1)]
            calls += [("ModelTitles.setTag", "NotTheContract", title, True, 1)]
        call, reason, *args = self.random.choice(calls)
        if (call, who) != ("SettlementToken.mint", "office"):
            self.act({reason}, who, call, *args)

    def is_clear(self, title: Any) -> bool:
        return not title.tagged and not any(self.model.titles[one].tagged for one in title.stack)

    def is_sold(self, offer: Any) -> bool:
        return not offer.withdrawn and offer.terms["on_market"] and self.model.clear(offer.title)

    def is_running(self, grant: Any) -> bool:
        return bool(grant.starts <= self.model.now < grant.ends and not grant.revoked)

    # Laws

    @invariant()
    def laws(self) -> None:
        self.every_unit_of_money_is_where_the_model_has_it()
        self.pots_belong_to_their_sales()
        self.a_title_is_in_at_most_one_sale()
        self.royalties_stay_within_their_cap()
        self.an_ended_grant_is_never_permitted()

    def stored(self, contract: str, place: int) -> int:
        return int(self.bare.state.get_storage(self.bare.addresses[contract], place))

    def every_unit_of_money_is_where_the_model_has_it(self) -> None:
        for who in EVERYBODY:
            key = self.bare.raw(who)
            assert self.stored("SettlementToken", slot(key, 0)) == self.model.tokens[who], who
            assert self.stored("Revenue", slot(key, 3)) == self.model.credit[who], who
        credits, pots = self.stored("Revenue", 1), self.stored("Revenue", 2)
        assert credits == self.model.credit.total()
        assert pots == self.model.pots
        assert self.stored("SettlementToken", slot(self.bare.raw("Revenue"), 0)) == credits + pots

    def pots_belong_to_their_sales(self) -> None:
        pots = {number: sale.pot for number, sale in self.model.sales.items()}
        for number in (number for number, pot in pots.items() if self.last_pots.get(number, 0) != pot):
            assert self.bare.pot(number) == pots[number]
        self.last_pots = pots

    def a_title_is_in_at_most_one_sale(self) -> None:
        listed = [sale.subject for sale in self.model.sales.values() if open_sale("title")(sale)]
        assert len(listed) == len(set(listed))

    def royalties_stay_within_their_cap(self) -> None:
        assert all(sum(title.stack.values()) <= 5_000 for title in self.model.titles.values())

    def an_ended_grant_is_never_permitted(self) -> None:
        for number in list(self.model.grants)[-3:]:
            given, allowed = self.model.grants[number], self.bare.read("Grants.permitted", number, self.bare.now)
            assert allowed == self.model.permitted(number)
            assert not (allowed and (self.model.now >= given.expires or 0 < given.revoked <= self.model.now))

    def teardown(self) -> None:
        """Compare all that a step does not, through the contracts' own views."""
        bare, model = self.bare, self.model
        bare.check_books()
        for number, title in model.titles.items():
            assert bare.read("ModelTitles.ownerOf", number) == bare.address(title.holder).lower()
            assert bare.read("ModelTitles.lockOf", number) == title.lock
            assert dict(bare.read("ModelTitles.royaltyStack", number)) == title.stack
            assert bare.read("ModelTitles.isClear", number) == model.clear(number)
            assert bare.read("Revenue.withheld", number) == model.withheld[number]
            assert bare.read("ModelTitles.royaltyInfo", number, 99_999)[1] == model.royalty(number, 99_999)
        for number, given in model.grants.items():
            assert bare.read("Grants.ownerOf", number) == bare.address(given.holder).lower()
            assert bare.read("Grants.permitted", number, bare.now) == model.permitted(number)
            assert bare.read("Grants.expiresAt", number) == given.ends
            assert bare.read("Market.bondOf", number) == model.bond(number)
            assert bare.read("Market.resaleOf", number) == given.resale
            assert bare.read("Revenue.reportedUntil", number) == given.reported
        states = ["none", "offered", "paid", "settled", "refunded", "withdrawn"]
        for number, sale in model.sales.items():
            assert states[bare.read("Market.saleRecord", number)[1]] == sale.state
            assert bare.pot(number) == sale.pot


def open_sale(kind: str) -> Callable[[Any], bool]:
    return lambda sale: (sale.kind, sale.state) == (kind, "offered")


def run(examples: int, steps: int, phases: tuple[Phase, ...]) -> None:
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, phases=phases, deadline=None, report_multiple_bugs=False
    )
    run_state_machine_as_test(MarketMachine, settings=chosen)


def test_the_market_does_what_the_model_says() -> None:
    before = STEPS.total()
    run(6, 60, tuple(Phase))
    assert STEPS.total() - before >= 300


@pytest.mark.slow
@pytest.mark.timeout(2_400)
def test_twenty_thousand_steps(capsys: pytest.CaptureFixture[str]) -> None:
    for counter in (STEPS, DONE, REFUSED):
        counter.clear()
    while STEPS.total() < 20_000:
        run(20, 150, (Phase.generate,))
    with capsys.disabled():
        print(f"\n{STEPS.total()} steps, {REFUSED.total()} of them refused; done of tried:")
        print(", ".join(f"{name} {DONE[name]}/{count}" for name, count in STEPS.most_common()))
        print("refusals: " + ", ".join(f"{name} {count}" for name, count in REFUSED.most_common()))
