"""Offers as a buyer sees them: what they cost, who gets what, until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countermark.cli.figures import Figures, share
from countermark.cli.session import Session
from countermark.cli.text import Row, table

if TYPE_CHECKING:
    from countermark.workflows.market.catalogue import Quote


def quote_rows(session: Session, figures: Figures, quote: Quote) -> list[Row]:
    """Return the rows of a card: what it is, what it costs, and where the money goes."""
    return [
        (session.tr("on sale"), sold(session, quote)),
        (session.tr("seller"), figures.who(quote.seller)),
        *price_rows(session, figures, quote),
        *bond_rows(session, figures, quote),
        *([(session.tr("stands until"), quote.until)] if quote.until else []),
    ]


def price_rows(session: Session, figures: Figures, quote: Quote) -> list[Row]:
    """Return the price, and under it what it is shared out into."""
    rows = [
        (session.tr("price"), figures.money(quote.price)),
        (_part(session.tr("platform fee")), f"{share(quote.fee_bps)}  {figures.money(quote.fee)}"),
    ]
    for royalty in quote.royalties:
        to = session.tr("title {title}, {holder}", title=royalty.title, holder=figures.who(royalty.holder))
        rows.append((_part(session.tr("royalty")), f"{share(royalty.bps)}  {figures.money(royalty.amount)}  {to}"))
    return [*rows, (_part(session.tr("to the seller")), figures.money(quote.proceeds))]


def bond_rows(session: Session, figures: Figures, quote: Quote) -> list[Row]:
    """Return what a buyer leaves beside the price, if anything."""
    return [(session.tr("bond, comes back"), figures.money(quote.bond))] if quote.bond else []


def quote_table(session: Session, figures: Figures, quotes: list[Quote]) -> str:
    """Return everything on sale as a table."""
    head = [
        session.tr("to buy"),
        session.tr("title"),
        session.tr("price"),
        session.tr("bond"),
        session.tr("platform fee"),
        session.tr("royalties"),
        session.tr("seller"),
        session.tr("until"),
    ]
    rows = [
        [
            f"{quote.kind} {quote.number}",
            quote.title,
            figures.money(quote.price),
            figures.money(quote.bond) if quote.bond else "-",
            share(quote.fee_bps),
            " + ".join(f"{share(royalty.bps)} ({royalty.title})" for royalty in quote.royalties) or "-",
            figures.who(quote.seller),
            quote.until or "-",
        ]
        for quote in quotes
    ]
    return table(head, rows)


def sold(session: Session, quote: Quote) -> str:
    """Return what is sold in words."""
    if quote.kind == "title":
        return session.tr("title {title} itself, with all rights", title=quote.title)
    if quote.kind == "grant":
        return session.tr(
            "grant {grant}, a licence of title {title}, second-hand", grant=quote.grant, title=quote.title
        )
    if quote.kind == "file":
        return session.tr("the file of title {title}, unmarked", title=quote.title)
    return session.tr("a licence of title {title} under offer {offer}", title=quote.title, offer=quote.offer)


def _part(label: str) -> str:
    return f"  {label}"
