"""``countermark anchor``."""

from __future__ import annotations

import click

from countermark.cli.session import current
from countermark.cli.shell import Command
from countermark.cli.text import card


@click.command(cls=Command)
def anchor() -> None:
    """Anchor the log: sign its head, have it time-stamped, put size and root on the ledger.

    Where nothing was appended since the last anchor, that one is shown again.

    Example:
      countermark anchor
    """
    from countermark.workflows.anchor import anchor_log

    session = current()
    with session.office() as office:
        made = anchor_log(office)
    rows = [
        (session.tr("checkpoint"), session.tr("{size} entries", size=made["size"])),
        (session.tr("root"), made["root"]),
        (session.tr("transaction"), made["transaction"]),
        (session.tr("anchored"), made["anchored_at"]),
    ]
    session.answer("anchor", made, card(rows))
