"""``countermark trust``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from countermark.cli.session import current, write_json
from countermark.cli.shell import Group
from countermark.cli.text import card


@click.group(cls=Group)
def trust() -> None:
    """Export what a verifier must know of this office.

    Example:
      countermark trust export --out trust.json
    """


@trust.command("export")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it; stdout by default.")
def export(out: Path | None) -> None:
    """Anchor the log and write the trust file: public keys, log, ledger, time-stamp roots.

    It travels to the verifier by another way than any bundle: on the office's web site, in a contract, by hand.

    Example:
      countermark trust export --out trust.json
    """
    from countermark.workflows.keys import export_trust

    session = current()
    with session.office() as office:
        made = export_trust(office)
    document = made.to_json()
    if out is None:
        session.answer("trust", document, json.dumps(document, ensure_ascii=False, indent=1))
        return
    write_json(out, document)
    rows = [
        (session.tr("trust file"), str(out)),
        (session.tr("office"), f"{made.name}  ({made.office})"),
        (session.tr("platform keys"), str(len(made.platform_keys))),
        (session.tr("log keys"), str(len(made.log_keys))),
        (session.tr("ledger"), f"{made.engine}, {made.chain_id}"),
        (session.tr("checkpoints"), str(len(made.checkpoints))),
    ]
    session.answer("trust", {**document, "path": str(out)}, card(rows))
