"""``countermark hold``: the regulator stops a subject from moving, for a time."""

from __future__ import annotations

import click

from countermark.cli.figures import DAYS, answer_act, figures
from countermark.cli.session import current
from countermark.cli.shell import Group
from countermark.cli.text import card


@click.group(cls=Group)
def hold() -> None:
    """Place, lift and show holds: a subject does not move, for a time, for a stated reason.

    A SUBJECT is written title:1, grant:1, sale:1, file-sale:1 or account:NAME. A hold blocks transfer, sale and claim.
    It takes nothing away, ends by itself, and never blocks a refund or evidence.

    Example:
      countermark hold place title:1 --as Regulator --days 14 --case "2027-31" --reason "ownership in doubt"
    """


@hold.command("place")
@click.argument("subject")
@click.option("--as", "regulator", required=True, metavar="NAME", help="The regulator: name or id.")
@click.option("--days", required=True, type=DAYS, metavar="N", help="How long, 1 to 90 days.")
@click.option("--case", required=True, metavar="TEXT", help="The regulator's own name of the case.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger holds its salted digest.")
def place(subject: str, regulator: str, days: int, case: str, reason: str) -> None:
    """Hold a subject, as a regulator. Replaces a hold that stands.

    Example:
      countermark hold place title:1 --as Regulator --days 14 --case "2027-31" --reason "ownership in doubt"
      countermark hold place "account:Agency North" --as Regulator --days 3 --case "2027-32" --reason "court order"
    """
    from countermark.core.times import from_unix, show_time
    from countermark.workflows.market.holds import hold as place_hold

    session = current()
    with session.office() as office:
        done = place_hold(office, regulator, subject, days=days, case=case, reason=reason)
    until = show_time(from_unix(done["until"]))
    answer_act(session, done, session.tr("{subject} is held until {until}.", subject=subject, until=until))


@hold.command("lift")
@click.argument("subject")
@click.option("--as", "regulator", required=True, metavar="NAME", help="The regulator: name or id.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger holds its salted digest.")
def lift(subject: str, regulator: str, reason: str) -> None:
    """End a hold before its time, as a regulator.

    Example:
      countermark hold lift title:1 --as Regulator --reason "ownership shown"
    """
    from countermark.workflows.market.holds import release

    session = current()
    with session.office() as office:
        done = release(office, regulator, subject, reason=reason)
    answer_act(session, done, session.tr("{subject} is free again.", subject=subject))


@hold.command("show")
@click.argument("subject")
def show(subject: str) -> None:
    """Show the hold on a subject, if there is one.

    Example:
      countermark hold show title:1
    """
    from countermark.cli.document import Documents
    from countermark.workflows.market.holds import standing_hold

    session = current()
    with session.office() as office:
        found, documents = standing_hold(office, subject), Documents(session, office)
        if found is None:
            session.answer(
                "hold", {"subject": subject, "held": False}, session.tr("{subject} is free.", subject=subject)
            )
            return
        rows = [
            (session.tr("held"), subject),
            (session.tr("until"), found["until"]),
            (session.tr("regulator"), figures(session, office).who(found["regulator"])),
            (session.tr("case"), documents.show(found["case"])),
            (session.tr("reason"), documents.show(found["reason"])),
        ]
    session.answer("hold", {**found, "held": True}, card(rows))
