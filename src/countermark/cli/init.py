"""``countermark init``."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.session import current
from countermark.cli.shell import Command
from countermark.cli.text import card


@click.command(cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--name", default="Countermark Office", show_default=True, help="Name of the office, for people.")
def init(directory: Path | None, name: str) -> None:
    """Make a workspace: keys, store, evidence log, and a ledger of its own with its contracts.

    The passphrase protects every key of the office. It is asked for twice, or read from file or environment; without
    it the keys are lost. DIR is ./countermark-workspace unless it, -w or COUNTERMARK_WORKSPACE names another.

    Example:
      countermark init --name "Registry of the Academy"
    """
    from countermark.bootstrap import create_office
    from countermark.registry import check_name

    session = current()
    session.workspace = str(directory) if directory else session.workspace
    target = session.settings.workspace
    passphrase, chosen = session.passphrase(confirm=True), check_name(name)
    with session.progress() as progress:
        made = create_office(target, passphrase, name=chosen, progress=progress)
    document = {**{key: made[key] for key in ("id", "name", "origin", "created")}, "workspace": str(target)}
    deployment = made["deployment"]
    text = [
        session.tr("The office is open: {workspace}", workspace=target),
        card(
            [
                (session.tr("office"), f"{made['name']}  ({made['id']})"),
                (session.tr("log"), made["origin"]),
                (session.tr("ledger"), f"{deployment['engine']}, {deployment['chain_id']}"),
                *((f"  {contract}", address) for contract, address in deployment["contracts"].items()),
            ]
        ),
        session.tr("Keep the passphrase: without it the keys are lost."),
    ]
    session.answer("workspace", {**document, "deployment": deployment}, "\n".join(text))
