"""``countermark market``: titles, licences and model files at a fixed price."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import Figures, answer_act, figures
from countermark.cli.market_buy import buy
from countermark.cli.market_file import file
from countermark.cli.market_sell import sell
from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import card

if TYPE_CHECKING:
    from countermark.workflows.market.catalogue import Quote


@click.group(cls=Group)
def market() -> None:
    """Sell and buy titles, licences and model files; money waits in escrow until what was paid for is there.

    A licence is bought, then delivered by the marking service, which shares the price out; before that it can be
    refunded. A title changes hands as it is paid. Amounts are whole numbers of the smallest unit.

    Example:
      countermark market list
      countermark market buy license 1 --as "Agency North"
      countermark market deliver 1
    """


@market.command("list")
def list_() -> None:
    """List what can be bought now: licences, titles, grants second-hand, files.

    Fees and royalties are parts of the price, not on top of it. In brackets the title that a royalty goes to.

    Example:
      countermark market list
    """
    from countermark.cli.quotes import quote_table
    from countermark.workflows.market.catalogue import on_sale

    session = current()
    with session.office() as office:
        quotes = on_sale(office)
        shown = figures(session, office)
    empty = session.tr("Nothing is on sale.")
    document = {"currency": shown.currency, "on_sale": [quote.to_json() for quote in quotes]}
    session.answer("market", document, quote_table(session, shown, quotes) if quotes else empty)


market.add_command(sell)
market.add_command(buy)


@market.command("deliver")
@click.argument("sale", type=int)
@click.option(
    "--acceptance", type=click.Path(path_type=Path), metavar="FILE",
    help="What the buyer signed, where it paid from an account of its own.",
)  # fmt: skip
def deliver(sale: int, acceptance: Path | None) -> None:
    """Deliver a paid licence or resale: the grant comes into being, and the price is shared out.

    The marking service commits to the buyer's mark identifier, so that a later leak names this buyer.

    Example:
      countermark market deliver 1
    """
    from countermark.cli.license import answer_grant, read_document, show_grant
    from countermark.workflows.market.sales import deliver_license

    session, envelope = current(), None if acceptance is None else read_document(acceptance)
    with session.office() as office:
        shown = show_grant(office, deliver_license(office, sale, acceptance=envelope))
    answer_grant(session, shown)


@market.command("refund")
@click.argument("sale", type=int)
def refund(sale: int) -> None:
    """Give price and bond of a paid and undelivered sale back to its buyer. A hold does not stop it.

    Example:
      countermark market refund 1
    """
    from countermark.workflows.market.sales import refund as give_back

    session = current()
    with session.office() as office:
        done = give_back(office, sale)
        shown = figures(session, office)
    text = session.tr(
        "{buyer} is credited with {amount} for sale {sale}.",
        buyer=shown.who(done["buyer"]),
        amount=shown.money(done["amount"]),
        sale=sale,
    )
    answer_act(session, done, text)


@market.command("withdraw")
@click.argument("sale", type=int)
def withdraw(sale: int) -> None:
    """Take an offer of a title or of a grant back, as its seller.

    Example:
      countermark market withdraw 2
    """
    from countermark.workflows.market.sales import withdraw_sale

    session = current()
    with session.office() as office:
        done = withdraw_sale(office, sale)
    answer_act(session, done, session.tr("Sale {sale} is withdrawn.", sale=sale))


@market.command("renew")
@click.argument("grant", type=int)
@click.option("--order", metavar="KEY", help="Your name for this act: repeated with it, nothing is paid twice.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def renew(grant: int, order: str | None, yes: bool) -> None:
    """Extend a grant by its length at its price, as its licensee, where the terms say renewable.

    Example:
      countermark market renew 1 --yes
    """
    from countermark.cli.quotes import price_rows
    from countermark.workflows.market.catalogue import quote_offer
    from countermark.workflows.market.sales import renew as extend
    from countermark.workflows.office import load

    session = current()
    with session.office() as office:
        with office.store.transaction() as transaction:
            offer = int(load(transaction, "grant", grant)["offer"])
        shown, quote = figures(session, office), quote_offer(office, offer)
        matter = card(price_rows(session, shown, quote))
        session.confirm(session.tr("Renew grant {grant}?", grant=grant), matter, yes=yes)
        done = extend(office, grant, order=order)
    text = session.tr("Grant {grant} is renewed until {until}.", grant=grant, until=_time(done["expires_at"]))
    answer_act(session, done, text)


@market.command("bond")
@click.argument("grant", type=int)
def bond(grant: int) -> None:
    """Give the bond of a grant back that has ended, after 30 days of grace and with no case about it open.

    Example:
      countermark market bond 1
    """
    from countermark.workflows.market.sales import return_bond

    session = current()
    with session.office() as office:
        done = return_bond(office, grant)
        shown = figures(session, office)
    text = session.tr(
        "{name} is credited with the bond of grant {grant}: {amount}.",
        name=shown.who(done["to"]),
        grant=grant,
        amount=shown.money(done["amount"]),
    )
    answer_act(session, done, text)


@market.command("show")
@click.argument("sale", type=int)
def show(sale: int) -> None:
    """Show a sale: its state, its parties, every amount and who gets it, its deadline.

    Example:
      countermark market show 1
    """
    from countermark.workflows.market.catalogue import quote_sale, sale_facts

    session = current()
    with session.office() as office:
        quote, facts = quote_sale(office, sale), sale_facts(office, sale)
        shown = figures(session, office)
    document = {**quote.to_json(), **facts, "currency": shown.currency}
    session.answer("sale", document, card(_rows(session, shown, quote, facts)))


market.add_command(file)


def _rows(session: Session, shown: Figures, quote: Quote, facts: dict[str, Any]) -> list[tuple[str, str]]:
    from countermark.cli.quotes import bond_rows, price_rows, sold

    state, result = facts["state"], facts["result"]
    rows = [
        (session.tr("sale"), f"{quote.number}  ({sold(session, quote)})"),
        (session.tr("state"), _states(session)[state]),
        (session.tr("seller"), shown.who(quote.seller)),
        (session.tr("buyer"), shown.who(facts["buyer"]) if facts["buyer"] else session.tr("nobody yet")),
        *price_rows(session, shown, quote),
        *bond_rows(session, shown, quote),
    ]
    if state == "offered":
        rows.append((session.tr("stands until"), str(quote.until)))
    if state == "paid":
        rows.append((session.tr("buyer may take it back from"), str(quote.until)))
    if result and quote.kind != "title":
        rows.append((session.tr("delivered as"), session.tr("grant {number}", number=result)))
    return rows


def _states(session: Session) -> dict[str, str]:
    return {
        "offered": session.tr("offered"),
        "paid": session.tr("paid, in escrow"),
        "settled": session.tr("settled"),
        "refunded": session.tr("refunded"),
        "withdrawn": session.tr("withdrawn"),
    }


def _time(seconds: int) -> str:
    from countermark.cli.words import time_of

    return time_of(seconds)
