"""What the contracts of the market promise, as a slow and obvious Python model: the machine's yardstick.

Every act returns the set of reasons for which it has to be refused, by the names of the contracts' errors; the act took
place if the set is empty. Nothing here knows how the contracts do it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

DAY, WHOLE, MAX_AMOUNT = 86_400, 10_000, 2**53 - 1
DELIVERY, GRACE = 7 * DAY, 30 * DAY
ROLES = {
    "office": {"GOVERNOR", "REGISTRAR", "TREASURER"},
    "platform": {"LICENSOR"},
    "regulator": {"REGULATOR"},
    "maker": {"LICENSOR"},
    "owner": {"LICENSOR"},
    "heir": {"LICENSOR", "LICENSEE"},
    "partner": {"EXPERT"},
    "licensee": {"LICENSEE"},
    "second": {"LICENSEE"},
}
Subject = tuple[str, Any]
Reasons = set[str]


@dataclass
class Title:
    holder: str
    stack: dict[int, int]  # basis points of each ancestor
    tagged: bool = False
    lock: int = 0
    split_by: str = ""
    splits: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Offer:
    title: int
    fee: int
    terms: dict[str, Any]
    withdrawn: bool = False


@dataclass
class Grant:
    offer: int
    holder: str
    starts: int
    expires: int
    revoked: int = 0
    reported: int = 0
    sale: int = 0
    resale: int = 0

    @property
    def ends(self) -> int:
        return min(self.expires, self.revoked) if self.revoked else self.expires


@dataclass
class Sale:
    kind: str
    state: str
    seller: str
    price: int
    fee: int
    subject: int
    deadline: int
    buyer: str = ""
    bond: int = 0
    starts: int = 0
    pot: int = 0


class Model:
    """The whole market. Numbers of titles, offers, grants and sales count from 1, as on the ledger."""

    def __init__(self, now: int, fee: int) -> None:
        self.now, self.fee = now, fee
        self.tokens: Counter[str] = Counter()
        self.credit: Counter[str] = Counter()
        self.allowed: dict[str, int] = {}
        self.withheld: Counter[int] = Counter()
        self.titles: dict[int, Title] = {}
        self.offers: dict[int, Offer] = {}
        self.grants: dict[int, Grant] = {}
        self.sales: dict[int, Sale] = {}
        self.held: dict[Subject, int] = {}
        self.pending: set[int] = set()
        self.suspended: set[str] = set()
        self.references: set[tuple[str, int]] = set()
        self.marks: set[int] = set()

    # What is so

    @property
    def pots(self) -> int:
        return sum(sale.pot for sale in self.sales.values()) + self.withheld.total()

    def clear(self, title: int) -> bool:
        return not any(self.titles[one].tagged for one in (title, *self.titles[title].stack))

    def permitted(self, grant: int) -> bool:
        return self.grants[grant].starts <= self.now < self.grants[grant].ends

    def royalty(self, title: int, amount: int) -> int:
        return amount * sum(self.titles[title].stack.values()) // WHOLE

    def terms_of(self, grant: int) -> dict[str, Any]:
        return self.offers[self.grants[grant].offer].terms

    def title_of(self, grant: int) -> int:
        return self.offers[self.grants[grant].offer].title

    def end_of(self, offer: int, starts: int) -> int:
        terms = self.offers[offer].terms
        ends = [starts + terms["duration"]] if terms["duration"] else []
        return min(ends + ([terms["expires_at"]] if terms["expires_at"] else []))

    # Reasons that several acts share

    def hold_on(self, kind: str, what: Any) -> Reasons:
        return {"OnHold"} if self.held.get((kind, what), 0) > self.now else set()

    def role(self, who: str, role: str = "") -> Reasons:
        member = who in ROLES and who not in self.suspended
        return set() if member and (not role or role in ROLES[who]) else {"MissingRole"}

    def party(self, who: str, role: str) -> Reasons:
        return self.role(who, role) | self.hold_on("account", who)

    def tradable(self, title: int) -> Reasons:
        return self.hold_on("title", title) | (set() if self.clear(title) else {"TitleTagged"})

    def purse(self, who: str, amount: int) -> Reasons:
        if amount == 0:
            return set()
        reasons = {"AmountOutOfRange"} if amount > MAX_AMOUNT else set()
        reasons |= {"ShortPayment"} if min(self.tokens[who], self.allowed.get(who, 0)) < amount else set()
        return reasons | self.hold_on("account", who)

    def running(self, grant: int) -> Reasons:
        given = self.grants[grant]
        ended = {"GrantEnded"} if self.now >= given.expires else set()
        return ended | ({"AlreadyRevoked"} if given.revoked else set())

    def resalable(self, grant: int) -> Reasons:
        reasons = self.hold_on("grant", grant) | self.tradable(self.title_of(grant))
        reasons |= {"CasePending"} if grant in self.pending else set()
        return reasons | (set() if self.permitted(grant) else {"GrantNotInForce"})

    # Money

    def pay(self, who: str, amount: int) -> int:
        self.tokens[who] -= amount
        if self.allowed.get(who, 0) < 2**256 - 1:
            self.allowed[who] = self.allowed.get(who, 0) - amount
        return amount

    def share(self, title: int, amount: int, fee: int) -> None:
        taken = amount * fee // WHOLE
        self.credit["platform"] += taken
        ancestors = list(self.titles[title].stack.items())
        sums = [sum(bps for _, bps in ancestors[:at]) * amount // WHOLE for at in range(len(ancestors) + 1)]
        for at, (ancestor, _) in enumerate(ancestors):
            self.earn(ancestor, sums[at + 1] - sums[at])
        self.earn(title, amount - taken - sums[-1])

    def earn(self, title: int, amount: int) -> None:
        if not self.clear(title):
            self.withheld[title] += amount
            return
        record = self.titles[title]
        splits = record.splits if record.split_by == record.holder else []
        parts = [(who, amount * bps // WHOLE) for who, bps in splits]
        for who, part in parts:
            self.credit[who] += part
        self.credit[record.holder] += amount - sum(part for _, part in parts)

    def mint(self, who: str, to: str, amount: int, reference: int) -> Reasons:
        reasons = self.role(who, "TREASURER") | self.role(to) | self._booking("", amount, reference)
        if self.tokens.total() + self.credit.total() + self.pots + amount > MAX_AMOUNT:
            reasons.add("AmountOutOfRange")
        if not reasons:
            self.references.add(("", reference))
            self.tokens[to] += amount
        return reasons

    def redeem(self, who: str, amount: int, reference: int) -> Reasons:
        reasons = self._booking(who, amount, reference) | self._sending(who, amount)
        if not reasons:
            self.references.add((who, reference))
            self.tokens[who] -= amount
        return reasons

    def transfer(self, who: str, to: str, amount: int) -> Reasons:
        reasons = self._sending(who, amount) | self.role(to)
        if not reasons:
            self.tokens[who] -= amount
            self.tokens[to] += amount
        return reasons

    def _booking(self, who: str, amount: int, reference: int) -> Reasons:
        used = {"ReferenceUsed"} if (who, reference) in self.references else set()
        return used | ({"ZeroAmount"} if amount == 0 else set())

    def _sending(self, who: str, amount: int) -> Reasons:
        short = {"ERC20InsufficientBalance"} if amount > self.tokens[who] else set()
        return short | self.hold_on("account", who)

    def claim(self, who: str) -> Reasons:
        nothing = {"NothingToClaim"} if not self.credit[who] else set()
        reasons = nothing | self.hold_on("account", who) | self.role(who)
        if not reasons:
            self.tokens[who] += self.credit.pop(who)
        return reasons

    def set_splits(self, who: str, title: int, splits: list[tuple[str, int]]) -> Reasons:
        record = self.titles[title]
        reasons = set() if record.holder == who else {"NotTitleHolder"}
        reasons |= self.party(who, "LICENSOR") | self.hold_on("title", title)
        reasons |= set().union(*(self.role(account) for account, _ in splits))
        parts = [bps for _, bps in splits]
        if len(splits) > 8 or 0 in parts or sum(parts) > WHOLE:
            reasons.add("InvalidSplits")
        if not reasons:
            record.split_by, record.splits = who, splits
        return reasons

    def report(self, who: str, grant: int, start: int, end: int, gross: int) -> Reasons:
        given, offer = self.grants[grant], self.offers[self.grants[grant].offer]
        reasons = set() if given.holder == who else {"NotGrantHolder"}
        if not max(given.starts, given.reported) <= start < end <= self.now:
            reasons.add("InvalidPeriod")
        if gross > MAX_AMOUNT:
            return reasons | {"AmountOutOfRange"}
        due = gross * offer.terms["revenue_bps"] // WHOLE
        reasons |= set() if offer.terms["revenue_bps"] else {"NoRevenueShare"}
        reasons |= self.purse(who, due)
        if not reasons:
            given.reported = end
            self.share(offer.title, self.pay(who, due), offer.fee)
        return reasons

    def release_withheld(self, title: int) -> Reasons:
        reasons = self.tradable(title) | ({"ZeroAmount"} if not self.withheld[title] else set())
        if not reasons:
            self.earn(title, self.withheld.pop(title))
        return reasons

    def forfeit(self, who: str, title: int, to: str) -> Reasons:
        if who != "Disputes":
            return {"NotTheContract"}
        self.credit[to] += self.withheld.pop(title, 0)
        return set()

    # Titles and offers

    def register(self, to: str, parents: list[tuple[int, int]]) -> Reasons:
        stack: dict[int, int] = {}
        for parent, bps in parents:
            for ancestor, share in [(parent, bps), *self.titles[parent].stack.items()]:
                stack[ancestor] = max(share, stack.get(ancestor, 0))
        reasons = self.role(to, "LICENSOR")
        reasons |= {"TooManyAncestors"} if len(stack) > 8 else set()
        reasons |= {"RoyaltyTooHigh"} if sum(stack.values()) > 5_000 else set()
        reasons |= set() if all(self.clear(parent) for parent, _ in parents) else {"TitleTagged"}
        if not reasons:
            self.titles[len(self.titles) + 1] = Title(to, stack)
        return reasons

    def transfer_by_deed(self, who: str, title: int, to: str) -> Reasons:
        record = self.titles[title]
        reasons = set() if record.holder == who else {"ERC721InsufficientApproval"}
        reasons |= {"TitleLocked"} if record.lock else set()
        reasons |= self.hold_on("title", title) | self.party(record.holder, "LICENSOR") | self.party(to, "LICENSOR")
        if not reasons:
            record.holder = to
        return reasons

    def offer(self, who: str, title: int, terms: dict[str, Any]) -> Reasons:
        reasons = set() if self.titles[title].holder == who else {"NotTitleHolder"}
        reasons |= self.party(self.titles[title].holder, "LICENSOR") | self.role(who, "LICENSOR") | self.tradable(title)
        if not reasons:
            self.offers[len(self.offers) + 1] = Offer(title, self.fee, terms)
        return reasons

    def withdraw_offer(self, who: str, offer: int) -> Reasons:
        holder = self.titles[self.offers[offer].title].holder
        reasons = (set() if holder == who else {"NotTitleHolder"}) | self.role(who, "LICENSOR")
        reasons |= {"OfferNotOpen"} if self.offers[offer].withdrawn else set()
        if not reasons:
            self.offers[offer].withdrawn = True
        return reasons

    # Sales

    def offer_title(self, who: str, title: int, price: int, expires: int) -> Reasons:
        record = self.titles[title]
        reasons = set() if record.holder == who else {"NotTitleHolder"}
        reasons |= self.party(who, "LICENSOR") | self.tradable(title) | self._listing(price, expires)
        reasons |= {"TitleLocked"} if record.lock else set()
        if not reasons:
            record.lock = self._add(Sale("title", "offered", who, price, self.fee, title, expires))
        return reasons

    def buy_title(self, who: str, number: int, most: int) -> Reasons:
        sale = self.sales[number]
        if sale.kind != "title":
            return {"WrongKind"}
        reasons = self._buying(number, most) | self.party(sale.seller, "LICENSOR") | self.party(who, "LICENSOR")
        reasons |= self.tradable(sale.subject) | self.purse(who, sale.price)
        if not reasons:
            sale.state, sale.buyer = "settled", who
            self.share(sale.subject, self.pay(who, sale.price), sale.fee)
            self.titles[sale.subject].lock, self.titles[sale.subject].holder = 0, who
        return reasons

    def buy_license(self, who: str, number: int, starts: int, most: int, fee: int) -> Reasons:
        offer, terms = self.offers[number], self.offers[number].terms
        seller = self.titles[offer.title].holder
        over = terms["expires_at"] and terms["expires_at"] <= self.now
        reasons = {"NotOnMarket"} if offer.withdrawn or over or not terms["on_market"] else set()
        reasons |= {"PriceChanged"} if terms["price"] > most else set()
        reasons |= {"FeeChanged"} if offer.fee > fee else set()
        late = starts + 86_400 < self.now or not max(starts, self.now) < self.end_of(number, starts)
        reasons |= {"InvalidWindow"} if late else set()
        reasons |= self.tradable(offer.title) | self.party(seller, "LICENSOR") | self.party(who, "LICENSEE")
        reasons |= self.purse(who, terms["price"] + terms["bond"])
        if not reasons:
            sale = Sale("license", "paid", seller, terms["price"], offer.fee, number, self.now + DELIVERY)
            sale.buyer, sale.bond, sale.starts = who, terms["bond"], starts
            sale.pot = self.pay(who, sale.price + sale.bond)
            self._add(sale)
        return reasons

    def offer_grant(self, who: str, grant: int, price: int, expires: int) -> Reasons:
        given = self.grants[grant]
        reasons = set() if given.holder == who else {"NotGrantHolder"}
        reasons |= self.party(who, "LICENSEE") | self.resalable(grant) | self._listing(price, expires)
        reasons |= set() if self.terms_of(grant)["resale"] else {"ResaleNotAllowed"}
        reasons |= {"AlreadyOffered"} if given.resale else set()
        if not reasons:
            given.resale = self._add(Sale("resale", "offered", who, price, self.fee, grant, expires))
        return reasons

    def buy_grant(self, who: str, number: int, most: int) -> Reasons:
        sale = self.sales[number]
        if sale.kind != "resale":
            return {"WrongKind"}
        bond = self.terms_of(sale.subject)["bond"]
        reasons = self._buying(number, most) | self.resalable(sale.subject)
        reasons |= self.party(sale.seller, "LICENSEE") | self.party(who, "LICENSEE")
        reasons |= self.purse(who, sale.price + bond)
        if not reasons:
            sale.state, sale.buyer, sale.bond, sale.deadline = "paid", who, bond, self.now + DELIVERY
            sale.pot = self.pay(who, sale.price + bond)
        return reasons

    def withdraw(self, who: str, number: int) -> Reasons:
        sale = self.sales[number]
        reasons = set() if sale.state == "offered" else {"SaleNotOpen"}
        reasons |= {"NotSeller"} if who != sale.seller and self.now < sale.deadline else set()
        if not reasons:
            sale.state = "withdrawn"
            self._unbind(sale)
        return reasons

    def deliver(self, who: str, number: int, mark: int) -> Reasons:
        sale = self.sales[number]
        reasons = self.role(who, "REGISTRAR") | (set() if sale.state == "paid" else {"SaleNotPaid"})
        if reasons:
            return reasons
        reasons = self.hold_on("sale", number) | self.party(sale.buyer, "LICENSEE")
        reasons |= {"CommitmentUsed"} if mark in self.marks else set()
        reasons |= self._license_ready(sale) if sale.kind == "license" else self._resale_ready(sale)
        if not reasons:
            self.marks.add(mark)
            sale.state, sale.pot = "settled", sale.bond
            (self._deliver_license if sale.kind == "license" else self._deliver_resale)(number, sale)
        return reasons

    def _license_ready(self, sale: Sale) -> Reasons:
        title = self.offers[sale.subject].title
        ended = not max(sale.starts, self.now) < self.end_of(sale.subject, sale.starts)
        reasons = self.tradable(title) | self.party(self.titles[title].holder, "LICENSOR")
        return reasons | ({"InvalidWindow"} if ended else set())

    def _resale_ready(self, sale: Sale) -> Reasons:
        reasons = self.party(sale.seller, "LICENSEE") | self.hold_on("grant", sale.subject)
        reasons |= {"CasePending"} if sale.subject in self.pending else set()
        return reasons | self.tradable(self.title_of(sale.subject)) | self.running(sale.subject)

    def _deliver_license(self, number: int, sale: Sale) -> None:
        ends = self.end_of(sale.subject, sale.starts)
        self._grant(Grant(sale.subject, sale.buyer, sale.starts, ends, sale=number))
        self.share(self.offers[sale.subject].title, sale.price, sale.fee)

    def _deliver_resale(self, number: int, sale: Sale) -> None:
        old, title = self.grants[sale.subject], self.title_of(sale.subject)
        self._unbind(sale)
        old.revoked = self.now
        self._grant(Grant(old.offer, sale.buyer, max(old.starts, self.now), old.expires, sale=number))
        fee = sale.price * sale.fee // WHOLE
        royalty = sale.price * self.terms_of(sale.subject)["resale_bps"] // WHOLE
        self.credit["platform"] += fee
        self.share(title, royalty, 0)
        self.credit[sale.seller] += sale.price - fee - royalty

    def refund(self, who: str, number: int) -> Reasons:
        sale = self.sales[number]
        if sale.state != "paid":
            return {"SaleNotPaid"}
        if self.role(who, "REGISTRAR"):
            if who not in (sale.buyer, sale.seller):
                return {"NotBuyer"}
            if self.now < sale.deadline:
                return {"TooEarly"}
        sale.state = "refunded"
        self._unbind(sale)
        self.credit[sale.buyer] += sale.pot
        sale.pot = 0
        return set()

    def _listing(self, price: int, expires: int) -> Reasons:
        reasons = {"ZeroAmount"} if price == 0 else set()
        reasons |= {"AmountOutOfRange"} if price > MAX_AMOUNT else set()
        return reasons | ({"InvalidExpiry"} if expires <= self.now else set())

    def _buying(self, number: int, most: int) -> Reasons:
        sale = self.sales[number]
        reasons = self.hold_on("sale", number) | (set() if sale.state == "offered" else {"SaleNotOpen"})
        reasons |= {"OfferExpired"} if self.now >= sale.deadline else set()
        return reasons | ({"PriceChanged"} if sale.price > most else set())

    def _add(self, sale: Sale) -> int:
        self.sales[len(self.sales) + 1] = sale
        return len(self.sales)

    def _grant(self, given: Grant) -> None:
        self.grants[len(self.grants) + 1] = given

    def _unbind(self, sale: Sale) -> None:
        if sale.kind == "title":
            self.titles[sale.subject].lock = 0
        elif sale.kind == "resale":
            self.grants[sale.subject].resale = 0

    # Grants and bonds

    def renew(self, who: str, grant: int, most: int) -> Reasons:
        given, offer = self.grants[grant], self.offers[self.grants[grant].offer]
        price, ends = offer.terms["price"], self.end_of(given.offer, given.expires)
        reasons = set() if given.holder == who else {"NotGrantHolder"}
        reasons |= {"PriceChanged"} if price > most else set()
        reasons |= set() if offer.terms["renewable"] else {"NotRenewable"}
        reasons |= {"InvalidWindow"} if ends <= given.expires else set()
        reasons |= self.running(grant) | self.hold_on("grant", grant) | self.tradable(offer.title)
        reasons |= self.party(self.titles[offer.title].holder, "LICENSOR") | self.party(who, "LICENSEE")
        reasons |= self.purse(who, price)
        if not reasons:
            given.expires = ends
            self.share(offer.title, self.pay(who, price), offer.fee)
        return reasons

    def revoke(self, who: str, grant: int) -> Reasons:
        given, terms = self.grants[grant], self.terms_of(grant)
        holder = self.titles[self.title_of(grant)].holder
        reasons = (set() if holder == who else {"NotTitleHolder"}) | self.role(who, "LICENSOR") | self.running(grant)
        reasons |= set() if terms["revocable"] else {"NotRevocable"}
        if not reasons:
            given.revoked = self.now + terms["notice"]
        return reasons

    def strike(self, grant: int) -> None:
        given = self.grants[grant]
        if not given.revoked or given.revoked > self.now:
            given.revoked = self.now

    def bond(self, grant: int) -> int:
        return self.sales[self.grants[grant].sale].pot

    def return_bond(self, grant: int) -> Reasons:
        reasons = set() if self.bond(grant) else {"NoBond"}
        reasons |= {"TooEarly"} if self.now < self.grants[grant].ends + GRACE else set()
        reasons |= {"CasePending"} if grant in self.pending else set()
        if not reasons:
            self._award(grant, self.sales[self.grants[grant].sale].buyer)
        return reasons

    def slash(self, who: str, grant: int, to: str) -> Reasons:
        if who != "Disputes":
            return {"NotTheContract"}
        self._award(grant, to)
        return set()

    def _award(self, grant: int, to: str) -> None:
        self.credit[to] += self.bond(grant)
        self.sales[self.grants[grant].sale].pot = 0
