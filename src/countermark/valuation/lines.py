"""What a title earned, line by line, with totals that add up.

Every payment that is shared out leaves a run of ``Credited`` and ``Withheld`` events in its transaction, beside the
event that says what was paid for, the *occasion*. The run's sum is the amount that was shared out. So each line follows
from the ledger alone: the platform's fee, the shares of ancestors, and what belongs to the title itself.

Laws:
    for every line, ``amount == fee + royalties + own`` and ``withheld <= own``;
    totals are the sums of their lines, whether taken by kind or by month;
    over all time, what a title's lines call its own is what was credited for it, plus what is withheld or forfeited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Protocol

from countermark.core.times import from_unix, show_time
from countermark.errors import LedgerError, ProofInvalid

#: What a title earns by: its own sale, licences, their renewal and their resale, reported revenue, copies of its file,
#: and its share in models derived from it.
KINDS = ("title-sale", "license-sale", "renewal", "resale", "revenue-report", "file-sale", "derivative-royalty")
#: The events that lines are made from.
EVENTS = ("Paid", "Settled", "GrantRenewed", "Reported", "Credited", "Withheld", "WithheldReleased", "Forfeited")

_SALES = {1: "title-sale", 2: "license-sale", 3: "resale"}  # Market.Kind
_FEE, _FORFEIT = 1, 5  # Revenue.Reason
_SUMS = ("price", "amount", "fee", "royalties", "own", "withheld", "seller_fee")


class Event(Protocol):
    """An event of the ledger as the index keeps it."""

    @property
    def contract(self) -> str:
        """Name of the contract."""

    @property
    def name(self) -> str:
        """Name of the event."""

    @property
    def args(self) -> Mapping[str, Any]:
        """Its arguments; large integers as decimal text."""

    @property
    def block_number(self) -> int:
        """Height of its block."""

    @property
    def block_time(self) -> int:
        """Time of its block, unix seconds."""

    @property
    def transaction_hash(self) -> str:
        """Hex with ``0x``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One payment that a title had a part in. Amounts in the smallest unit.

    Attributes:
        time: of its block.
        kind: one of ``KINDS``.
        about: what was paid for: ``sale:1``, ``grant:1`` or ``file-sale:1``.
        price: what the buyer paid; of a report, the revenue that the licensee reported; of a derived model, 0.
        amount: what was shared out for the title: the price, the royalty, or the share due.
        fee: of the platform, off the amount.
        royalties: of the title's ancestors, off the amount.
        own: what belongs to the title.
        withheld: the part of it that was withheld under a ruling.
        seller_fee: the platform's fee that another seller bore, on a resale.
        transaction: where it stands on the ledger.
        block: height of its block.
    """

    time: str
    kind: str
    about: str
    price: int
    amount: int
    fee: int
    royalties: int
    own: int
    withheld: int
    seller_fee: int
    transaction: str
    block: int

    def to_json(self) -> dict[str, Any]:
        """Return the line as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An amount that was shared out: the event that says what for, and the events of its sharing."""

    occasion: Event
    kind: str
    about: str
    price: int
    amount: int
    seller_fee: int = 0
    shares: tuple[Event, ...] = ()

    def sum(self, *, title: int | None = None, withheld: bool = False) -> int:
        """Return what went to one title, or as the fee where ``title`` is None; ``withheld`` counts only that."""
        found = (each for each in self.shares if _is_fee(each) == (title is None))
        return sum(
            int(each.args["amount"])
            for each in found
            if title in (None, int(each.args["titleId"])) and (each.name == "Withheld" or not withheld)
        )

    def line(self, title: int, *, own: bool) -> Line:
        """Return the line of a title: whose amount this is (``own``), or that had a share in it as an ancestor."""
        belongs, fee = self.sum(title=title), self.sum()
        return Line(
            time=show_time(from_unix(self.occasion.block_time)),
            kind=self.kind if own else "derivative-royalty",
            about=self.about,
            price=self.price if own else 0,
            amount=self.amount if own else belongs,
            fee=fee if own else 0,
            royalties=self.amount - fee - belongs if own else 0,
            own=belongs,
            withheld=self.sum(title=title, withheld=True),
            seller_fee=self.seller_fee if own else 0,
            transaction=self.occasion.transaction_hash,
            block=self.occasion.block_number,
        )


def lines_of(title: int, about: Iterable[Event], events: Sequence[Event]) -> list[Line]:
    """Return a title's lines, oldest first.

    Args:
        title: number of the title.
        about: the ledger's events about it and what began under it.
        events: all of the ledger's events of the names in ``EVENTS``, oldest first.

    Raises:
        LedgerError: the events do not add up.
    """
    mine = {_place(event) for event in about}
    found = ((each, _place(each.occasion) in mine) for each in distributions(events))
    return [each.line(title, own=own) for each, own in found if own or each.sum(title=title)]


def royalties_by_title(title: int, about: Iterable[Event], events: Sequence[Event]) -> dict[int, int]:
    """Return what a title's ancestors got of its amounts, withheld or not. Arguments and errors as of ``lines_of``."""
    mine = {_place(event) for event in about}
    found: dict[int, int] = {}
    for each in distributions(events):
        for share in each.shares if _place(each.occasion) in mine else ():
            ancestor = int(share.args["titleId"])
            if ancestor != title:
                found[ancestor] = found.get(ancestor, 0) + int(share.args["amount"])
    return found


def withheld_of(title: int, events: Iterable[Event]) -> dict[str, int]:
    """Return what was ever withheld for a title, released of it and forfeited, and what still is."""
    names = {"Withheld": "withheld", "WithheldReleased": "released", "Forfeited": "forfeited"}
    sums = dict.fromkeys(names.values(), 0)
    for event in events:
        if event.name in names and int(event.args["titleId"]) == title:
            sums[names[event.name]] += int(event.args["amount"])
    return {**sums, "now": sums["withheld"] - sums["released"] - sums["forfeited"]}


def distributions(events: Sequence[Event]) -> Iterator[Distribution]:
    """Return everything that was ever shared out, oldest first.

    A sale or a renewal says what it was for after the sharing, a report before it.

    Raises:
        LedgerError: the events do not add up.
    """
    paid = {(event.contract, int(event.args["saleId"])): event for event in events if event.name == "Paid"}
    for _, transaction in groupby(events, key=lambda event: event.transaction_hash):
        waiting: list[Event] = []
        report: Distribution | None = None
        for event in transaction:
            if _is_share(event):
                waiting.append(event)
            elif event.name == "Reported":
                waiting, report = [], _report(event)
            elif event.name in ("Settled", "GrantRenewed"):
                found = _sale(event, paid) if event.name == "Settled" else _renewal(event)
                yield _with_run(found, waiting, at_end=True)
                waiting = []
            if report is not None and sum(int(each.args["amount"]) for each in waiting) == report.amount:
                yield _with_run(report, waiting)
                waiting, report = [], None
        if report is not None:
            yield _with_run(report, waiting)


def totals(lines: Iterable[Line]) -> dict[str, int]:
    """Return how many lines there are and the sums of their amounts."""
    found = list(lines)
    return {"lines": len(found), **{name: sum(getattr(line, name) for line in found) for name in _SUMS}}


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the totals of all lines, by kind, and by month in UTC."""
    months = sorted({line.time[:7] for line in lines})
    return {
        "all": totals(lines),
        "by_kind": {
            kind: totals(line for line in lines if line.kind == kind)
            for kind in KINDS
            if any(line.kind == kind for line in lines)
        },
        "by_month": {month: totals(line for line in lines if line.time[:7] == month) for month in months},
    }


def check_record(record: Mapping[str, Any]) -> list[Line]:
    """Add a record's totals up again, and return its lines.

    Raises:
        ProofInvalid: a line or a total is not what it should be.
    """
    try:
        lines = [Line(**line) for line in record["lines"]]
        wrong = [line for line in lines if not _adds_up(line)]
        same = summary(lines) == record["totals"]
    except (KeyError, TypeError, ValueError) as error:
        raise ProofInvalid("the valuation record is malformed: {reason}", reason=error) from error
    if wrong:
        raise ProofInvalid("the line about {about} does not add up", about=wrong[0].about)
    if not same:
        raise ProofInvalid("the totals of the valuation record are not the sums of its lines")
    return lines


def _adds_up(line: Line) -> bool:
    amounts = [getattr(line, name) for name in _SUMS]
    whole = all(type(amount) is int and amount >= 0 for amount in amounts)
    return whole and line.kind in KINDS and line.amount == line.fee + line.royalties + line.own >= line.withheld


def _sale(event: Event, paid: Mapping[tuple[str, int], Event]) -> Distribution:
    number = int(event.args["saleId"])
    payment = paid[event.contract, number]
    price = int(payment.args["price"])
    on_market = event.contract == "Market"
    kind = _SALES[int(payment.args["kind"])] if on_market else "file-sale"
    resale = kind == "resale"
    return Distribution(
        occasion=event,
        kind=kind,
        about=f"{'sale' if on_market else 'file-sale'}:{number}",
        price=price,
        amount=int(event.args["royalty"]) if resale else price,
        seller_fee=int(event.args["fee"]) if resale else 0,
    )


def _renewal(event: Event) -> Distribution:
    price = int(event.args["price"])
    about = f"grant:{event.args['grantId']}"
    return Distribution(occasion=event, kind="renewal", about=about, price=price, amount=price)


def _report(event: Event) -> Distribution:
    gross, due = int(event.args["gross"]), int(event.args["due"])
    about = f"grant:{event.args['grantId']}"
    return Distribution(occasion=event, kind="revenue-report", about=about, price=gross, amount=due)


def _with_run(found: Distribution, shares: Sequence[Event], *, at_end: bool = False) -> Distribution:
    """Return a distribution with its run: the first of ``shares``, or the last, that together are its amount."""
    rest, run = found.amount, list[Event]()
    for share in reversed(shares) if at_end else shares:
        if rest <= 0:
            break
        run.insert(0 if at_end else len(run), share)
        rest -= int(share.args["amount"])
    if rest != 0:
        raise LedgerError(
            "what was shared out in transaction {transaction} does not add up",
            transaction=found.occasion.transaction_hash,
        )
    return replace(found, shares=tuple(run))


def _is_share(event: Event) -> bool:
    if event.name == "Withheld":
        return True
    return event.name == "Credited" and int(event.args["titleId"]) > 0 and int(event.args["reason"]) != _FORFEIT


def _is_fee(event: Event) -> bool:
    return event.name == "Credited" and int(event.args["reason"]) == _FEE


def _place(event: Event) -> tuple[Any, ...]:
    """Return what tells an event of ``EVENTS`` from every other one."""
    number = event.args.get("saleId", event.args.get("grantId"))
    return event.transaction_hash, event.contract, event.name, number
