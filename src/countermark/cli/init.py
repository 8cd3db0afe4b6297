"""``countermark init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.session import current, read_file
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.bootstrap import LedgerNode
    from countermark.core.keys import Secret

_ROOT_LIMIT = 64 * 1024
_KEY_LIMIT = 1024


@click.command(cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--name", default="Countermark Office", show_default=True, help="Name of the office, for people.")
@click.option(
    "--tsa", metavar="URL", help="Outside RFC 3161 time-stamp authority; by default one of its own, for trial."
)
@click.option(
    "--tsa-root", type=click.Path(path_type=Path), metavar="FILE", help="PEM certificate of that authority's root."
)
@click.option(
    "--ledger",
    metavar="URL",
    help="JSON-RPC of a node of an Ethereum chain to use as ledger; by default one of its own.",
)
@click.option(
    "--confirmations", type=click.IntRange(0, 10_000), default=0, show_default=True,
    help="Blocks that must stand on a transaction's own there before it counts; 0 where a mined block is final.",
)  # fmt: skip
@click.option(
    "--ledger-key", type=click.Path(path_type=Path), metavar="FILE",
    help="Private key of the account that pays there, as 64 hex digits; by default a new account.",
)  # fmt: skip
def init(
    directory: Path | None,
    name: str,
    tsa: str | None,
    tsa_root: Path | None,
    ledger: str | None,
    confirmations: int,
    ledger_key: Path | None,
) -> None:
    """Make a workspace: keys, store, evidence log, and a ledger with its contracts.

    The passphrase protects every key of the office. It is asked for twice, or read from file or environment; without
    it the keys are lost. DIR is ./countermark-workspace unless it, -w or COUNTERMARK_WORKSPACE names another.

    On another chain than its own (--ledger) the office pays fees. Where its account has no coin, init names the
    account and stops; send coin to it and repeat the command, which goes on from there.

    Example:
      countermark init --name "Registry of the Academy"
      countermark init --ledger http://127.0.0.1:8545 --confirmations 12
      countermark init --tsa https://tsa.example/ --tsa-root tsa-root.pem
    """
    from countermark.bootstrap import create_office
    from countermark.registry import check_name

    session, authority, node = current(), _authority(tsa, tsa_root), _node(ledger, confirmations, ledger_key)
    session.workspace = str(directory) if directory else session.workspace
    target = session.settings.workspace
    passphrase, chosen = session.passphrase(confirm=True), check_name(name)
    with session.progress() as progress:
        made = create_office(target, passphrase, name=chosen, progress=progress, authority=authority, node=node)
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


def _node(url: str | None, confirmations: int, key: Path | None) -> LedgerNode | None:
    from countermark.bootstrap import LedgerNode

    if url is None:
        if confirmations or key is not None:
            raise InputError("--confirmations and --ledger-key belong to --ledger")
        return None
    return LedgerNode(url=url, confirmations=confirmations, key=None if key is None else _read_key(key))


def _read_key(path: Path) -> Secret:
    from countermark.core.keys import Secret

    try:
        return Secret(bytes.fromhex(read_file(path, limit=_KEY_LIMIT).decode("ascii").strip().removeprefix("0x")))
    except ValueError as error:
        raise InputError("{path} holds no private key of 64 hex digits", path=path) from error
