"""``countermark history``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click

from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import pad, plain, wrap

if TYPE_CHECKING:
    from countermark.workflows.market.history import Step

_COLUMNS = 110
_TIME = len("2027-01-31T00:00:00Z") + 2


@click.command(cls=Command)
@click.argument("subject")
@click.option(
    "--all", "everything", is_flag=True, help="Also what only prepares an act, or is told to wallets beside it."
)
def history(subject: str, everything: bool) -> None:
    """Tell what happened to something, oldest first: one sentence for each event of the ledger.

    A SUBJECT is written title:1, offer:1, grant:1, sale:1, listing:1, file-sale:1, case:1, proposal:1 or account:NAME.
    What began under it belongs to it: a title's history holds that of its grants. Names and texts come from the
    workspace; the ledger has neither.

    Example:
      countermark history title:1
      countermark history "account:Agency North" --json
    """
    from countermark.cli.document import Documents
    from countermark.cli.figures import figures
    from countermark.cli.sentences import Reader, worth_telling
    from countermark.workflows.market.history import history as read_history

    session = current()
    with session.office() as office:
        steps = read_history(office, subject)
        reader = Reader(session, figures(session, office), Documents(session, office))
        chosen = steps if everything else worth_telling(steps)
        told = [(step, reader.read(step.contract, step.event, step.facts)) for step in chosen]
    document = {"subject": subject, "events": [{**asdict(step), "sentence": text} for step, text in told]}
    acts = groupby(told, key=lambda pair: pair[0].transaction)
    session.answer("history", document, "\n".join(_tell(session, list(act)) for _, act in acts))


def _tell(session: Session, act: list[tuple[Step, str]]) -> str:
    """Return one transaction: when, what, where."""
    first = act[0][0]
    lines = [line for _, text in act for line in wrap(plain(text), _COLUMNS - _TIME)]
    lines.append(session.tr("block {number}, {transaction}", number=first.block, transaction=first.transaction))
    return "\n".join(pad(first.time if at == 0 else "", _TIME) + line for at, line in enumerate(lines))
