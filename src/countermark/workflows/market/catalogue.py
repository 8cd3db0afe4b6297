"""What is on sale, and what a purchase costs and to whom the money goes: what both sides see before they sign.

Laws:
    fee, royalties and proceeds of a quote add up to its price; they are what the contracts pay out to the last unit as
    long as no ruling, no split and no other Directory comes in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from countermark.core.exchange import SALE_STATES
from countermark.core.times import from_unix, show_time
from countermark.licensing import WHOLE_BPS
from countermark.workflows.market.files import file_sale_record, listing_record
from countermark.workflows.market.sales import sale_record
from countermark.workflows.office import Office

#: In the order of ``Market.Kind`` and ``Market.State``, without their first value.
KINDS = ("title", "license", "grant")
STATES = ("offered", "paid", "settled", "refunded", "withdrawn")
#: The time that a file sale stays in a state, by the name of the contract's constant.
_WINDOWS = {"delivered": "PAY_WINDOW", "paid": "REVEAL_WINDOW", "revealed": "COMPLAINT_WINDOW"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Royalty:
    """What goes to a title out of a price, and to whom that title's revenue belongs."""

    title: int
    holder: str
    bps: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a purchase costs, and where the money goes. Amounts are in the smallest unit, accounts addresses.

    Attributes:
        kind: ``title``, ``license``, ``grant`` (a resale) or ``file``.
        number: of the sale; of the offer for a license, of the listing for a file.
        title: what it is a title to, or a licence or file of.
        grant: the grant that is sold on, or None.
        offer: the offer whose terms the buyer accepts, or None.
        seller: who gets the proceeds.
        price: what is shared out.
        bond: what a licensee leaves beside the price until the grant has ended.
        fee_bps: the platform's share of the price.
        fee: the same as an amount.
        royalties: of the parent models, or of the title on a resale.
        proceeds: what is left for the seller, and for whom the seller lets share.
        until: first moment at which the offer no longer stands, or None.
    """

    kind: str
    number: int
    title: int
    grant: int | None
    offer: int | None
    seller: str
    price: int
    bond: int
    fee_bps: int
    fee: int
    royalties: tuple[Royalty, ...]
    proceeds: int
    until: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the quote as a JSON object."""
        return {**asdict(self), "royalties": [asdict(royalty) for royalty in self.royalties]}


def quote_offer(office: Office, offer: int) -> Quote:
    """Return what a licence under an offer costs.

    Raises:
        NotFoundError: no such offer.
    """
    found = office.ledger.record("Grants", "offerRecord", offer)
    conditions, title = found["conditions"], int(found["title_id"])
    return _quote(
        office,
        kind="license",
        number=offer,
        title=title,
        offer=offer,
        seller=holder_of(office, title),
        price=int(conditions["price"]),
        bond=int(conditions["bond"]),
        fee_bps=int(found["fee_bps"]),
        royalties=parent_royalties(office, title, int(conditions["price"])),
        until=int(conditions["expires_at"]),
    )


def quote_sale(office: Office, sale: int) -> Quote:
    """Return what a sale of a title, a licence or a grant costs, whatever its state.

    Raises:
        NotFoundError: no such sale.
    """
    found = sale_record(office, sale)
    kind, price = KINDS[found["kind"] - 1], int(found["price"])
    read = {"title": _title_sold, "license": _license_sold, "grant": _grant_sold}[kind]
    return _quote(
        office,
        kind=kind,
        number=sale,
        seller=found["seller"],
        price=price,
        fee_bps=int(found["fee_bps"]),
        until=int(found["deadline"]),
        **read(office, found),
    )


def quote_listing(office: Office, listing: int) -> Quote:
    """Return what a copy of a listed model costs now; fee and price are fixed when it is delivered.

    Raises:
        NotFoundError: no such listing.
    """
    fee_bps = int(office.ledger.view("Directory", "parameter", _name("market.fee")))
    found = listing_record(office, listing)
    return _quote_copy(office, listing, price=int(found["price"]), fee_bps=fee_bps)


def quote_file_sale(office: Office, sale: int) -> Quote:
    """Return what a copy costs that was delivered, whatever became of it; ``number`` is that of its listing.

    Raises:
        NotFoundError: no such file sale.
    """
    found = file_sale_record(office, sale)
    return _quote_copy(office, int(found["listing_id"]), price=int(found["price"]), fee_bps=int(found["fee_bps"]))


def file_sale_facts(office: Office, sale: int) -> dict[str, Any]:
    """Return what the quote of a file sale does not say, in JSON values. ``deadline`` is that of the present state.

    Raises:
        NotFoundError: no such file sale.
    """
    found = file_sale_record(office, sale)
    state = SALE_STATES[found["state"] - 1]
    window = int(office.ledger.view("FileSales", _WINDOWS[state])) if state in _WINDOWS else None
    return {
        "sale": sale,
        "grant": int(found["grant_id"]),
        "state": state,
        "mark": found["mark_digest"].hex() if any(found["mark_digest"]) else "unmarked",
        "buyer": found["buyer"],
        "service": found["service"],
        "service_bond": int(found["bond"]),
        "seller_bond": int(listing_record(office, int(found["listing_id"]))["bond"]),
        "deadline": show_time(from_unix(int(found["since"]) + window)) if window else None,
        "blocks": int(found["blocks"]),
        "plain_root": found["plain_root"].hex(),
        "cipher_root": found["cipher_root"].hex(),
        "attestation": found["attestation_digest"].hex(),
    }


def sale_facts(office: Office, sale: int) -> dict[str, Any]:
    """Return what a quote does not say: ``state``, ``buyer`` (an address) and ``result`` (title or new grant), or None.

    Raises:
        NotFoundError: no such sale.
    """
    found = sale_record(office, sale)
    return {
        "state": STATES[found["state"] - 1],
        "buyer": found["buyer"] if int(found["buyer"], 16) else None,
        "result": int(found["result_id"]) or None,
    }


def on_sale(office: Office) -> list[Quote]:
    """Return everything that can be bought now: licences, titles, grants and files, in that order."""
    office.index.follow()
    return [*_licenses(office), *_sales(office), *_files(office)]


def parent_royalties(office: Office, title: int, amount: int) -> tuple[Royalty, ...]:
    """Return what a title's parent models get out of its revenue; the running sum rounds down, as on the ledger."""
    royalties, bps, paid = [], 0, 0
    for share in office.ledger.view("ModelTitles", "royaltyStack", title):
        bps += int(share["bps"])
        parent, due = int(share["title_id"]), amount * bps // WHOLE_BPS
        royalties.append(
            Royalty(title=parent, holder=holder_of(office, parent), bps=int(share["bps"]), amount=due - paid)
        )
        paid = due
    return tuple(royalties)


def holder_of(office: Office, title: int) -> str:
    """Return the address of a title's holder."""
    return str(office.ledger.view("ModelTitles", "ownerOf", title))


def _quote(
    office: Office,
    *,
    kind: str,
    number: int,
    title: int,
    seller: str,
    price: int,
    fee_bps: int,
    royalties: tuple[Royalty, ...],
    until: int,
    bond: int = 0,
    offer: int | None = None,
    grant: int | None = None,
) -> Quote:
    fee = price * fee_bps // WHOLE_BPS if _has_fee_account(office) else 0
    return Quote(
        kind=kind,
        number=number,
        title=title,
        grant=grant,
        offer=offer,
        seller=seller,
        price=price,
        bond=bond,
        fee_bps=fee_bps,
        fee=fee,
        royalties=royalties,
        proceeds=price - fee - sum(royalty.amount for royalty in royalties),
        until=show_time(from_unix(until)) if until else None,
    )


def _quote_copy(office: Office, listing: int, *, price: int, fee_bps: int) -> Quote:
    found = listing_record(office, listing)
    title = int(found["title_id"])
    return _quote(
        office,
        kind="file",
        number=listing,
        title=title,
        seller=found["seller"],
        price=price,
        fee_bps=fee_bps,
        royalties=parent_royalties(office, title, price),
        until=int(found["expires_at"]),
    )


def _title_sold(office: Office, found: dict[str, Any]) -> dict[str, Any]:
    title = int(found["subject_id"])
    return {"title": title, "royalties": parent_royalties(office, title, int(found["price"]))}


def _license_sold(office: Office, found: dict[str, Any]) -> dict[str, Any]:
    offer = int(found["subject_id"])
    title = int(office.ledger.record("Grants", "offerRecord", offer)["title_id"])
    royalties = parent_royalties(office, title, int(found["price"]))
    return {"title": title, "offer": offer, "bond": int(found["bond"]), "royalties": royalties}


def _grant_sold(office: Office, found: dict[str, Any]) -> dict[str, Any]:
    """A resale owes one royalty, to the title; the title's own parents have theirs of it."""
    grant = int(found["subject_id"])
    window = office.ledger.record("Grants", "windowOf", grant)
    offer, title = int(window["offer_id"]), int(window["title_id"])
    conditions = office.ledger.record("Grants", "offerRecord", offer)["conditions"]
    bps = int(conditions["resale_bps"])
    royalty = Royalty(
        title=title, holder=holder_of(office, title), bps=bps, amount=int(found["price"]) * bps // WHOLE_BPS
    )
    return {
        "title": title,
        "offer": offer,
        "grant": grant,
        "bond": int(found["bond"]) or int(conditions["bond"]),
        "royalties": (royalty,) if bps else (),
    }


def _has_fee_account(office: Office) -> bool:
    return int(office.ledger.view("Directory", "parameter", _name("market.fee.account"))) != 0


def _name(parameter: str) -> bytes:
    return parameter.encode().ljust(32, b"\0")


def _licenses(office: Office) -> Iterator[Quote]:
    now = int(office.clock().timestamp())
    for event in office.index.named("Offered"):
        offer = int(event.args["offerId"])
        found = office.ledger.record("Grants", "offerRecord", offer)
        conditions = found["conditions"]
        ended = conditions["expires_at"] and conditions["expires_at"] <= now
        if conditions["on_market"] and not found["withdrawn"] and not ended:
            yield quote_offer(office, offer)


def _sales(office: Office) -> Iterator[Quote]:
    now = int(office.clock().timestamp())
    for event in office.index.named("TitleOffered", "GrantOffered"):
        sale = int(event.args["saleId"])
        found = sale_record(office, sale)
        if STATES[found["state"] - 1] == "offered" and found["deadline"] > now:
            yield quote_sale(office, sale)


def _files(office: Office) -> Iterator[Quote]:
    now = int(office.clock().timestamp())
    for event in office.index.named("Listed"):
        found = listing_record(office, int(event.args["listingId"]))
        held_still = holder_of(office, int(found["title_id"])) == found["seller"]
        if not found["withdrawn"] and found["expires_at"] > now and held_still:
            yield quote_listing(office, int(event.args["listingId"]))
