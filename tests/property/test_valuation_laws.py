"""Lines of a valuation record against a slow, obvious model of the vault that keeps the sums while it writes events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.canonical import canonical_json, parse_json
from countermark.errors import InputError, LedgerError, ProofInvalid
from countermark.valuation.costs import COST_KINDS, CostItem, cost_totals, costs_to_json, read_costs
from countermark.valuation.lines import (
    KINDS,
    Line,
    check_record,
    distributions,
    lines_of,
    royalties_by_title,
    summary,
    withheld_of,
)

HOUR = 3600
# Title 1 derives from nothing, 2 from 1, 3 from 2 (and so from 1).
STACKS = {1: {}, 2: {1: 1000}, 3: {1: 500, 2: 2000}}
ACTS = ("title-sale", "license-sale", "renewal", "resale", "revenue-report", "file-sale", "release", "forfeit", "bond")


@dataclass(frozen=True)
class FakeEvent:
    contract: str
    name: str
    args: Mapping[str, Any]
    block_number: int
    block_time: int
    transaction_hash: str
    title: int


@dataclass
class Vault:
    """What ``Revenue`` does, told slowly: its events, and beside them the sums that a record has to find again."""

    fee_bps: int
    splits: dict[int, int]
    tagged: set[int] = field(default_factory=set)
    events: list[FakeEvent] = field(default_factory=list)
    clock: int = 1_800_000_000
    numbers: int = 0
    pots: Counter[int] = field(default_factory=Counter)
    own: Counter[tuple[int, str]] = field(default_factory=Counter)
    fees: Counter[tuple[int, str]] = field(default_factory=Counter)
    royalties: Counter[tuple[int, str]] = field(default_factory=Counter)
    to: Counter[tuple[int, int]] = field(default_factory=Counter)
    credited: Counter[int] = field(default_factory=Counter)
    forfeited: Counter[int] = field(default_factory=Counter)

    def emit(self, contract: str, name: str, title: int, **args: Any) -> None:
        shown = {key: str(value) if isinstance(value, int) and value >= 2**53 else value for key, value in args.items()}
        number = self.clock // HOUR
        self.events.append(FakeEvent(contract, name, shown, number, self.clock, f"0x{number:064x}", title))

    def credit(self, title: int, amount: int, reason: int) -> None:
        if amount:
            self.emit("Revenue", "Credited", title, account="0x1", amount=amount, titleId=title, reason=reason)
            self.credited[title] += amount if reason in (2, 3, 4) else 0

    def is_clear(self, title: int) -> bool:
        return not {title, *STACKS[title]} & self.tagged

    def pay(self, title: int, amount: int, reason: int) -> None:
        if amount == 0:
            return
        if not self.is_clear(title):
            self.pots[title] += amount
            self.emit("Revenue", "Withheld", title, titleId=title, amount=amount)
            return
        part = amount * self.splits.get(title, 0) // 10_000
        self.credit(title, part, 4)
        self.credit(title, amount - part, reason)

    def distribute(self, title: int, amount: int, fee_bps: int, kind: str) -> tuple[int, int]:
        fee, before, bps = amount * fee_bps // 10_000, 0, 0
        self.credit(title, fee, 1)
        for ancestor, share in STACKS[title].items():
            bps += share
            now = amount * bps // 10_000
            self.pay(ancestor, now - before, 3)
            self.own[ancestor, "derivative-royalty"] += now - before
            self.to[title, ancestor] += now - before
            before = now
        self.pay(title, amount - fee - before, 2)
        self.own[title, kind] += amount - fee - before
        self.fees[title, kind] += fee
        self.royalties[title, kind] += before
        return fee, before

    def act(self, act: str, title: int, amount: int, *, joined: bool = False) -> None:
        """One transaction, or two for a sale; ``joined`` to the last one, as by an account that is a contract."""
        self.clock += 0 if joined else HOUR
        self.numbers += 1
        number = self.numbers
        if act in ("title-sale", "license-sale", "resale"):
            kind = {"title-sale": 1, "license-sale": 2, "resale": 3}[act]
            self.emit("Market", "Paid", title, saleId=number, kind=kind, subjectId=1, price=amount, bond=7)
            self.clock += HOUR if act != "title-sale" else 0
            if act == "resale":
                fee, royalty = amount * self.fee_bps // 10_000, amount // 20
                self.credit(0, fee, 0)
                if royalty:
                    self.distribute(title, royalty, 0, act)
                self.credit(0, amount - fee - royalty, 0)
            else:
                fee, royalty = self.distribute(title, amount, self.fee_bps, act) if amount else (0, 0)
            self.emit("Market", "Settled", title, saleId=number, subjectId=9, fee=fee, royalty=royalty)
        elif act == "file-sale":
            self.emit("FileSales", "Paid", title, saleId=number, price=amount)
            self.clock += HOUR
            self.credit(0, 5, 0)
            if amount:
                self.distribute(title, amount, self.fee_bps, act)
            self.emit("FileSales", "Settled", title, saleId=number)
        elif act == "renewal":
            if amount:
                self.distribute(title, amount, self.fee_bps, act)
            self.emit("Market", "GrantRenewed", title, grantId=number, price=amount)
        elif act == "revenue-report":
            due = amount // 10
            self.emit("Revenue", "Reported", title, grantId=number, titleId=title, gross=amount, due=due)
            if due:
                self.distribute(title, due, self.fee_bps, act)
        elif act == "release" and self.is_clear(title) and self.pots[title]:
            amount, self.pots[title] = self.pots[title], 0
            self.emit("Revenue", "WithheldReleased", title, titleId=title, amount=amount)
            self.pay(title, amount, 2)
        elif act == "forfeit" and self.pots[title]:
            amount, self.pots[title] = self.pots[title], 0
            self.forfeited[title] += amount
            self.emit("Revenue", "Forfeited", title, titleId=title, amount=amount, to="0x2")
            self.credit(title, amount, 5)
        elif act == "bond":
            self.credit(0, amount, 0)

    def about(self, title: int) -> list[FakeEvent]:
        return [event for event in self.events if event.title == title]


acts = st.tuples(
    st.sampled_from(ACTS),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 40) | st.integers(0, 2**53 - 1),
    st.sampled_from([set(), {1}, {2}, {3}]),
    st.booleans(),
)


@st.composite
def vaults(draw: st.DrawFn) -> Vault:
    vault = Vault(draw(st.sampled_from([0, 250, 1000])), draw(st.dictionaries(st.integers(1, 3), st.just(3000))))
    for act, title, amount, tagged, joined in draw(st.lists(acts, max_size=25)):
        vault.tagged = tagged
        vault.act(act, title, amount, joined=joined)
    return vault


@given(vaults())
@settings(max_examples=150, deadline=None)
def test_lines_are_what_the_vault_did(vault):
    for title in STACKS:
        lines = lines_of(title, vault.about(title), vault.events)
        assert all(line.amount == line.fee + line.royalties + line.own >= line.withheld for line in lines)
        for kind in KINDS:
            found = [line for line in lines if line.kind == kind]
            assert sum(line.own for line in found) == vault.own[title, kind]
            assert sum(line.fee for line in found) == vault.fees[title, kind]
            assert sum(line.royalties for line in found) == vault.royalties[title, kind]
        assert [line.time for line in lines] == sorted(line.time for line in lines)
        paid = royalties_by_title(title, vault.about(title), vault.events)
        assert paid == {a: vault.to[title, a] for a in STACKS[title] if vault.to[title, a]}


@given(vaults())
@settings(max_examples=100, deadline=None)
def test_what_is_its_own_was_credited_or_is_withheld_or_forfeited(vault):
    for title in STACKS:
        lines, withheld = lines_of(title, vault.about(title), vault.events), withheld_of(title, vault.events)
        assert withheld["now"] == vault.pots[title]
        assert withheld["forfeited"] == vault.forfeited[title]
        assert sum(line.withheld for line in lines) == withheld["withheld"]
        assert sum(line.own for line in lines) == vault.credited[title] + vault.pots[title] + vault.forfeited[title]


@given(vaults())
@settings(max_examples=50, deadline=None)
def test_totals_are_sums_by_kind_and_by_month(vault):
    lines = lines_of(2, vault.about(2), vault.events)
    record = {"lines": [line.to_json() for line in lines], "totals": summary(lines)}
    assert check_record(parse_json(canonical_json(record))) == lines
    for part in ("by_kind", "by_month"):
        summed = Counter()
        for row in record["totals"][part].values():
            summed.update(row)
        assert {name: summed[name] for name in record["totals"]["all"]} == record["totals"]["all"]


def a_sale() -> Vault:
    vault = Vault(250, {})
    vault.act("license-sale", 3, 100_000)
    return vault


def test_a_missing_share_is_noticed():
    vault = a_sale()
    for at, event in enumerate(vault.events):
        if event.name == "Credited":
            with pytest.raises(LedgerError, match="does not add up"):
                list(distributions(vault.events[:at] + vault.events[at + 1 :]))


def test_a_report_without_its_sharing_is_noticed():
    vault = Vault(0, {})
    vault.act("revenue-report", 1, 1000)
    with pytest.raises(LedgerError):
        list(distributions(vault.events[:1]))
    assert [each.amount for each in distributions(vault.events)] == [100]


@pytest.mark.parametrize(
    "change", [{"own": 1}, {"fee": -1}, {"kind": "gift"}, {"withheld": 10**9}, {"amount": 1.5}, {"more": 1}]
)
def test_a_record_that_does_not_add_up_is_refused(change):
    vault = a_sale()
    (line,) = lines_of(3, vault.about(3), vault.events)
    assert (line.price, line.fee, line.royalties, line.own) == (100_000, 2500, 25_000, 72_500)
    with pytest.raises(ProofInvalid):
        check_record({"lines": [line.to_json() | change], "totals": summary([line])})
    with pytest.raises(ProofInvalid):
        check_record({"lines": [], "totals": summary([line])})
    doubled = replace(line, own=line.own + 1, amount=line.amount + 1)
    with pytest.raises(ProofInvalid):
        check_record({"lines": [doubled.to_json()], "totals": summary([line])})
    assert check_record({"lines": [line.to_json()], "totals": summary([line])}) == [Line(**line.to_json())]


items = st.builds(
    CostItem,
    kind=st.sampled_from(COST_KINDS),
    start=st.just("2026-01-01T00:00:00Z"),
    end=st.just("2026-04-01T00:00:00Z"),
    amount=st.integers(1, 2**40),
    currency=st.sampled_from(["CNY", "EUR"]),
    evidence=st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}"),
)


@given(st.lists(items, min_size=1, max_size=20))
def test_costs_round_trip_and_add_up(declared):
    assert read_costs(costs_to_json(declared)) == tuple(declared)
    sums = cost_totals(declared)
    for currency, row in sums.items():
        assert row["all"] == sum(item.amount for item in declared if item.currency == currency)
        assert row["all"] == sum(amount for kind, amount in row.items() if kind != "all")


GOOD = {
    "kind": "compute", "from": "2026-01-01", "to": "2026-04-01", "amount": 5, "currency": "CNY",
    "evidence": "sha256:" + "0" * 64,
}  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        None, [], {"items": []}, {"items": [GOOD], "note": 1}, {"items": [GOOD] * 1001}, {"items": [{**GOOD, "x": 1}]},
        {"items": [{**GOOD, "kind": "love"}]}, {"items": [{**GOOD, "to": "2026-01-01"}]}, {"items": GOOD},
        {"items": [{**GOOD, "amount": 0}]}, {"items": [{**GOOD, "amount": 1.5}]}, {"items": [{**GOOD, "amount": True}]},
        {"items": [{**GOOD, "amount": 2**53}]}, {"items": [{**GOOD, "currency": "yuan"}]},
        {"items": [{**GOOD, "evidence": "invoice"}]}, {"items": [{**GOOD, "from": "soon"}]},
        {"items": [{"kind": "data"}]}, {"format": "countermark.costs/2", "items": [GOOD]},
    ],
)  # fmt: skip
def test_wrong_costs_are_refused(value):
    assert read_costs({"items": [GOOD]})[0].start == "2026-01-01T00:00:00Z"
    with pytest.raises(InputError):
        read_costs(value)
