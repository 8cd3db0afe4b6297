"""``countermark market sell``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import AMOUNT, DAYS, answer_act, figures
from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import Row

if TYPE_CHECKING:
    from countermark.workflows.office import Office

_PRICE = click.option("--price", required=True, type=AMOUNT, metavar="AMOUNT", help="In the smallest unit.")
_FOR = click.option("--days", required=True, type=DAYS, metavar="N", help="How long the offer stands.")


@click.group(cls=Group)
def sell() -> None:
    """Offer a title, a grant second-hand, or the file of a model for sale.

    A licence is offered with license offer, under terms that say on_market.

    Example:
      countermark market sell title 1 --price 900000000 --days 30 --deed "Assignment of 2027-03-01"
    """


@sell.command("title")
@click.argument("title", type=int)
@_PRICE
@_FOR
@click.option("--deed", required=True, metavar="TEXT", help="The deed; the ledger holds its salted digest.")
def sell_title(title: int, price: int, days: int, deed: str) -> None:
    """Offer a title, as its holder. Until it is sold or withdrawn it moves in no other way.

    Example:
      countermark market sell title 1 --price 900000000 --days 30 --deed "Assignment of 2027-03-01"
    """
    from countermark.workflows.market.sales import sell_title as offer

    session = current()
    with session.office() as office:
        done = offer(office, title, price=price, until=_until(office, days), deed=deed)
        _answer(session, office, done)


@sell.command("grant")
@click.argument("grant", type=int)
@_PRICE
@_FOR
def sell_grant(grant: int, price: int, days: int) -> None:
    """Offer a grant for resale, as its licensee, where the terms allow it.

    The buyer gets a grant of its own for the rest of the time, with its own mark; the royalty leaves the price first.

    Example:
      countermark market sell grant 1 --price 200000 --days 14
    """
    from countermark.workflows.market.sales import resell

    session = current()
    with session.office() as office:
        done = resell(office, grant, price=price, until=_until(office, days))
        _answer(session, office, done)


@sell.command("file")
@click.argument("title", type=int)
@_PRICE
@_FOR
@click.option("--bond", required=True, type=AMOUNT, metavar="AMOUNT", help="What you answer with for the master file.")
@click.option("--terms", default="as granted", show_default=True, metavar="TEXT", help="What binds the file's use.")
def sell_file(title: int, price: int, days: int, bond: int, terms: str) -> None:
    """Offer copies of a title's model to its licensees, as the title holder.

    The marking service seals and delivers each copy. Your bond answers for the master, and stands until the listing is
    withdrawn.

    Example:
      countermark market sell file 1 --price 5000000 --bond 1000000 --days 30
    """
    from countermark.cli.quotes import quote_rows
    from countermark.workflows.market.catalogue import quote_listing
    from countermark.workflows.market.files import sell_file as offer_file

    session = current()
    with session.office() as office:
        done = offer_file(office, title, price=price, bond=bond, until=_until(office, days), terms=terms)
        shown = figures(session, office)
        rows = quote_rows(session, shown, quote_listing(office, done["listing_id"]))
    rows.append((session.tr("bond of the seller"), shown.money(bond)))
    answer_act(session, done, session.tr("On sale as listing {listing}.", listing=done["listing_id"]), rows)


def _until(office: Office, days: int) -> datetime:
    return office.clock() + timedelta(days=days)


def _answer(session: Session, office: Office, done: dict[str, Any]) -> None:
    from countermark.cli.quotes import quote_rows
    from countermark.workflows.market.catalogue import quote_sale

    rows: list[Row] = quote_rows(session, figures(session, office), quote_sale(office, done["sale_id"]))
    answer_act(session, done, session.tr("On sale as sale {sale}.", sale=done["sale_id"]), rows)
