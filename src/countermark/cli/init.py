"""``countermark init``."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.session import current, read_file
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import InputError

_ROOT_LIMIT = 64 * 1024


@click.command(cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--name", default="Countermark Office", show_default=True, help="Name of the office, for people.")
@click.option(
    "--tsa", metavar="URL", help="Outside RFC 3161 time-stamp authority; by default one of its own, for trial."
)
@click.option(
    "--tsa-root", type=click.Path(path_type=Path), metavar="FILE", help="PEM certificate of that authority's root."
)
def init(directory: Path | None, name: str, tsa: str | None, tsa_root: Path | None) -> None:
    """Make a workspace: keys, store, evidence log, and a ledger of its own with its contracts.

    The passphrase protects every key of the office. It is asked for twice, or read from file or environment; without
    it the keys are lost. DIR is ./countermark-workspace unless it, -w or COUNTERMARK_WORKSPACE names another.

    Example:
      countermark init --name "Registry of the Academy"
      countermark init --tsa https://tsa.example/ --tsa-root tsa-root.pem
    """
    from countermark.bootstrap import create_office
    from countermark.registry import check_name

    session, authority = current(), _authority(tsa, tsa_root)
    session.workspace = str(directory) if directory else session.workspace
    target = session.settings.workspace
    passphrase, chosen = session.passphrase(confirm=True), check_name(name)
    with session.progress() as progress:
        made = create_office(target, passphrase, name=chosen, progress=progress, authority=authority)
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


def _authority(url: str | None, root: Path | None) -> tuple[str, str] | None:
    if (url is None) != (root is None):
        raise InputError(
            "give --tsa and --tsa-root together", hint="Stamps are believed only under the authority's root."
        )
    if url is None or root is None:
        return None
    return url, read_file(root, limit=_ROOT_LIMIT).decode("utf-8", "replace")
