"""``countermark market buy``: what a purchase costs is shown and agreed to before anything is paid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import answer_act, figures
from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import Row, card
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.workflows.market.catalogue import Quote
    from countermark.workflows.office import Office

_PATH = click.Path(path_type=Path)
_AS = click.option("--as", "buyer", required=True, metavar="NAME", help="Who buys: name or id.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Group)
def buy() -> None:
    """Buy a licence, a title, or a grant second-hand.

    Price, platform fee, royalties, bond and terms are shown, and agreed to, before anything is paid.

    Example:
      countermark market buy license 1 --as "Agency North"
    """


@buy.command("license")
@click.argument("offer", type=int)
@click.option("--as", "buyer", metavar="NAME", help="A licensee whose key the office holds: name or id.")
@click.option("--acceptance", type=_PATH, metavar="FILE", help="The acceptance that the licensee signed.")
@click.option("--starts", metavar="TIME", help="Start of the grant, with --as; now by default.")
@click.option("--order", metavar="KEY", help="Your name for this act: repeated with it, nothing is paid twice.")
@_YES
def buy_license(
    offer: int, buyer: str | None, acceptance: Path | None, starts: str | None, order: str | None, yes: bool
) -> None:
    """Accept an offer on the market, and pay price and bond into escrow.

    The money waits there until the licence is delivered, and comes back if it is not. While a purchase waits, the same
    command pays nothing more; an --order keeps it so for good.

    Example:
      countermark market buy license 1 --as "Agency North"
      countermark market buy license 1 --as "Agency North" --order "PO 4711" --yes
      countermark market buy license 1 --acceptance acceptance.json
    """
    from countermark.cli.license import read_acceptance
    from countermark.core.times import read_time
    from countermark.workflows.market.catalogue import quote_offer
    from countermark.workflows.market.sales import buy_license as accept_and_pay
    from countermark.workflows.market.sales import pay_license

    if (buyer is None) == (acceptance is None):
        raise InputError("give either --as or --acceptance")
    session, first = current(), None if starts is None else read_time(starts)
    envelope = read_acceptance(acceptance, offer) if acceptance else None
    with session.office() as office:
        _agree(session, office, quote_offer(office, offer), yes)
        done = (
            pay_license(office, envelope, order=order)
            if envelope is not None
            else accept_and_pay(office, offer, str(buyer), starts=first, order=order)
        )
        _answer_paid(session, office, done)


@buy.command("title")
@click.argument("sale", type=int)
@_AS
@_YES
def buy_title(sale: int, buyer: str, yes: bool) -> None:
    """Pay for a title and take it over, in one transaction.

    Example:
      countermark market buy title 2 --as "Example Holdings"
    """
    from countermark.workflows.market.catalogue import quote_sale
    from countermark.workflows.market.sales import buy_title as pay

    session = current()
    with session.office() as office:
        quote = quote_sale(office, sale)
        _agree(session, office, quote, yes)
        done = pay(office, sale, buyer)
        rows = _shared_out(session, office, done)
    text = session.tr("{buyer} holds title {title} now.", buyer=buyer, title=quote.title)
    answer_act(session, done, text, rows)


@buy.command("grant")
@click.argument("sale", type=int)
@_AS
@_YES
def buy_grant(sale: int, buyer: str, yes: bool) -> None:
    """Accept a licensee's resale, and pay price and bond into escrow.

    Example:
      countermark market buy grant 3 --as "Agency South"
    """
    from countermark.workflows.market.catalogue import quote_sale
    from countermark.workflows.market.sales import buy_grant as pay

    session = current()
    with session.office() as office:
        quote = quote_sale(office, sale)
        _agree(session, office, quote, yes)
        done = pay(office, sale, buyer)
        _answer_paid(session, office, done)


def _agree(session: Session, office: Office, quote: Quote, yes: bool) -> None:
    from countermark.cli.license import terms_rows
    from countermark.cli.quotes import quote_rows
    from countermark.licensing import Terms
    from countermark.workflows.office import load

    shown = figures(session, office)
    rows = quote_rows(session, shown, quote)
    if quote.bond:
        rows.append((session.tr("to pay now"), shown.money(quote.price + quote.bond)))
    if quote.offer is not None:
        with office.store.transaction() as transaction:
            terms = Terms.from_json(load(transaction, "offer", quote.offer)["terms"])
        said = {session.tr("price"), session.tr("bond")}
        rows += [row for row in terms_rows(session, terms) if row[0] not in said]
    session.confirm(session.tr("Buy it?"), card(rows), yes=yes)


def _answer_paid(session: Session, office: Office, done: dict[str, Any]) -> None:
    shown, sale = figures(session, office), done["sale_id"]
    text = session.tr(
        "Paid {amount} into escrow: sale {sale}. Deliver it with: countermark market deliver {sale}",
        amount=shown.money(done["price"] + done["bond"]),
        sale=sale,
    )
    answer_act(session, done, text)


def _shared_out(session: Session, office: Office, done: dict[str, Any]) -> list[Row]:
    shown = figures(session, office)
    return [
        (session.tr("platform fee"), shown.money(done["fee"])),
        (session.tr("royalties"), shown.money(done["royalty"])),
        (session.tr("to the seller"), shown.money(done["proceeds"])),
    ]
