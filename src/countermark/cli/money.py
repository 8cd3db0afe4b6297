"""``countermark money``: deposits, balances, credits, shares and reports of revenue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import AMOUNT, Figures, answer_act, figures, holder, share
from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import card, table
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.workflows.office import Office


@click.group(cls=Group)
def money() -> None:
    """Issue and redeem settlement money, claim credits, share and report revenue.

    Amounts are whole numbers of the smallest unit: 12345 is 123.45. The office, which gets the platform's fees, is
    named like a party.

    Example:
      countermark money issue "Agency North" 500000 --reference "bank 2027-0117"
      countermark money balance
    """


@money.command("issue")
@click.argument("name")
@click.argument("amount", type=AMOUNT)
@click.option("--reference", required=True, metavar="TEXT", help="The bank's reference; each counts once.")
def issue(name: str, amount: int, reference: str) -> None:
    """Issue tokens to a party for what it paid in at the bank, as treasurer.

    A token is a claim on that deposit. The ledger holds a digest of the reference, and takes each one once: a repeated
    command issues nothing more. NAME may be the ledger account (0x...) of a party that another office serves.

    Example:
      countermark money issue "Agency North" 500000 --reference "bank 2027-0117"
    """
    from countermark.workflows.market.money import issue_money

    session = current()
    with session.office() as office:
        done = issue_money(office, holder(office, name), amount, reference)
        shown = figures(session, office)
    text = session.tr("Issued {amount} to {name}.", amount=shown.money(done["amount"]), name=name)
    answer_act(session, done, text)


@money.command("redeem")
@click.argument("name")
@click.argument("amount", type=AMOUNT)
@click.option("--reference", required=True, metavar="TEXT", help="The bank's reference; each counts once.")
def redeem(name: str, amount: int, reference: str) -> None:
    """Give a party's tokens back for money that the bank pays out to it.

    Example:
      countermark money redeem "Example Studio" 120000 --reference "bank 2027-0203"
    """
    from countermark.workflows.market.money import redeem_money

    session = current()
    with session.office() as office:
        done = redeem_money(office, holder(office, name), amount, reference)
        shown = figures(session, office)
    text = session.tr("Redeemed {amount} of {name}.", amount=shown.money(done["amount"]), name=name)
    answer_act(session, done, text)


@money.command("balance")
@click.argument("name", required=False)
def show_balance(name: str | None) -> None:
    """Show what the office and the parties have: tokens in their accounts, and credit that they can claim.

    Example:
      countermark money balance
      countermark money balance "Example Studio"
    """
    session = current()
    with session.office() as office:
        found = _balances(office, name)
        shown = figures(session, office)
    document = {"currency": shown.currency, "balances": found}
    session.answer("balances", document, _describe_balances(session, shown, found))


@money.command("claim")
@click.argument("name")
def claim(name: str) -> None:
    """Move a party's whole credit into its account, as that party.

    Whoever is owed takes it; nothing is ever pushed. A held account can claim when it is released.

    Example:
      countermark money claim "Example Studio"
    """
    from countermark.workflows.market.money import claim as claim_credit

    session = current()
    with session.office() as office:
        done = claim_credit(office, holder(office, name))
        shown = figures(session, office)
    text = session.tr("{name} claimed {amount}.", name=name, amount=shown.money(done["amount"]))
    answer_act(session, done, text)


@money.command("splits")
@click.argument("title", type=int)
@click.argument("shares", metavar="NAME:BPS...", nargs=-1, required=True)
def splits(title: int, shares: tuple[str, ...]) -> None:
    """Share a title's revenue with other parties, as its holder; replaces the shares that stand.

    A share is in basis points (2500 is a quarter) of what is left after platform fee and parent models; the rest stays
    with the holder. At most eight parties. The shares end when the title changes hands.

    Example:
      countermark money splits 1 "Ming Zhao:2500" "Data Cooperative:1000"
    """
    from countermark.workflows.market.money import set_splits

    session, parsed = current(), [_read_share(text) for text in shares]
    with session.office() as office:
        done = set_splits(office, title, parsed)
    rows = [(name, share(bps)) for name, bps in parsed]
    rows.append((session.tr("the holder"), share(10_000 - sum(bps for _, bps in parsed))))
    text = session.tr("Revenue of title {title} is shared, after fee and parent models:", title=title)
    answer_act(session, done, text, rows)


@money.command("report")
@click.argument("grant", type=int)
@click.option("--from", "since", required=True, metavar="DATE", help="First day or moment of the period.")
@click.option("--to", "until", required=True, metavar="DATE", help="First day or moment after the period.")
@click.option(
    "--gross", required=True, type=click.IntRange(min=0), metavar="AMOUNT",
    help="What was earned, in the smallest unit; 0 is a report too.",
)  # fmt: skip
@click.option("--note", default="", metavar="TEXT", help="Statement behind it; the ledger holds its salted digest.")
def report(grant: int, since: str, until: str, gross: int, note: str) -> None:
    """Report what a licensee earned under a grant, and pay the share that the terms ask.

    Example:
      countermark money report 1 --from 2027-01-01 --to 2027-04-01 --gross 2500000 --note "first quarter"
    """
    from countermark.core.times import read_time
    from countermark.workflows.market.money import report_revenue

    session, first, last = current(), read_time(since), read_time(until)
    with session.office() as office:
        done = report_revenue(office, grant, since=first, until=last, gross=gross, note=note)
        shown = figures(session, office)
    text = session.tr(
        "Reported {gross} under grant {grant}, and paid {due}.",
        gross=shown.money(done["gross"]),
        grant=grant,
        due=shown.money(done["due"]),
    )
    answer_act(session, done, text)


def _balances(office: Office, name: str | None) -> list[dict[str, Any]]:
    from countermark.workflows.market.acts import read_party
    from countermark.workflows.market.money import balance

    own = {"party": office.id, "name": office.name}
    if name is None:
        with office.store.transaction() as transaction:
            known = [own, *({"party": body["id"], "name": body["name"]} for body in transaction.all("party"))]
    elif holder(office, name) is None:
        known = [own]
    else:
        party = read_party(office, name)
        known = [{"party": party.id, "name": party.name}]
    return [{**each, **balance(office, holder(office, each["party"]))} for each in known]


def _describe_balances(session: Session, shown: Figures, found: list[dict[str, Any]]) -> str:
    if len(found) == 1:
        (only,) = found
        return card(
            [
                (session.tr("party"), f"{only['name']}  ({only['party']})"),
                (session.tr("tokens"), shown.money(only["tokens"])),
                (session.tr("credit to claim"), shown.money(only["credit"])),
            ]
        )
    head = [session.tr("party"), session.tr("tokens"), session.tr("credit to claim")]
    rows = [[each["name"], shown.money(each["tokens"]), shown.money(each["credit"])] for each in found]
    return table(head, rows)


def _read_share(text: str) -> tuple[str, int]:
    name, _, bps = text.rpartition(":")
    if not name or not (bps.isascii() and bps.isdigit()):
        raise InputError("a share is written NAME:BPS, such as Studio:2500; not {text}", text=text[:80])
    return name, int(bps)
