"""``countermark history``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click

from countermark.cli.audit_records import shown_audits, verdict
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import pad, plain, wrap

if TYPE_CHECKING:
    from countermark.registry import Audit
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

    Recorded audits of a title's model are told too; they stand in the log and not on the ledger.

    Example:
      countermark history title:1
      countermark history "account:Agency North" --json
    """
    from countermark.cli.document import Documents
    from countermark.cli.figures import figures
    from countermark.cli.sentences import Reader, worth_telling
    from countermark.workflows.market.history import audits_about
    from countermark.workflows.market.history import history as read_history

    session = current()
    with session.office() as office:
        steps = read_history(office, subject)
        reader = Reader(session, figures(session, office), Documents(session, office))
        chosen = steps if everything else worth_telling(steps)
        told = [(step, reader.read(step.contract, step.event, step.facts)) for step in chosen]
        audits = audits_about(office, subject)
    document = {
        "subject": subject,
        "events": [{**asdict(step), "sentence": text} for step, text in told],
        "audits": shown_audits(audits),
    }
    acts = [list(act) for _, act in groupby(told, key=lambda pair: pair[0].transaction)]
    lines = [(act[0][0].time, _tell(session, act)) for act in acts]
    lines += [(audit.audited_at, _tell_audit(session, audit)) for audit in audits]
    session.answer("history", document, "\n".join(text for _, text in sorted(lines, key=lambda line: line[0])))


def _tell(session: Session, act: list[tuple[Step, str]]) -> str:
    """Return one transaction: when, what, where."""
    first = act[0][0]
    lines = [line for _, text in act for line in wrap(plain(text), _COLUMNS - _TIME)]
    lines.append(session.tr("block {number}, {transaction}", number=first.block, transaction=first.transaction))
    return _paragraph(first.time, lines)


def _tell_audit(session: Session, audit: Audit) -> str:
    """Return one audit: when, what, where."""
    told = session.tr(
        "A memorization audit was recorded, {audit}: {verdict}, {flagged} of {items} flagged.",
        audit=audit.id,
        verdict=verdict(session, audit.findings),
        flagged=audit.findings["flagged"],
        items=audit.findings["items"],
    )
    where = session.tr("log entry {index}", index=audit.log_index)
    return _paragraph(audit.audited_at, [*wrap(plain(told), _COLUMNS - _TIME), where])


def _paragraph(time: str, lines: list[str]) -> str:
    return "\n".join(pad(time if at == 0 else "", _TIME) + line for at, line in enumerate(lines))
