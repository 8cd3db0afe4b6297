"""``countermark init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_DEPLOYMENT_LIMIT = 64 * 1024
_CURRENCY = "CNY"


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
@click.option(
    "--join", type=click.Path(path_type=Path), metavar="FILE",
    help="The deployment there of another office, by its file, instead of one of its own.",
)  # fmt: skip
@click.option(
    "--platform-fee", type=click.IntRange(0, 1000), default=0, show_default=True, metavar="BPS",
    help="Basis points of every price on the market that go to the office; fixed in each offer when it is made.",
)  # fmt: skip
@click.option("--currency", default=_CURRENCY, show_default=True, help="Symbol of the settlement token.")
def init(
    directory: Path | None,
    name: str,
    tsa: str | None,
    tsa_root: Path | None,
    ledger: str | None,
    confirmations: int,
    ledger_key: Path | None,
    join: Path | None,
    platform_fee: int,
    currency: str,
) -> None:
    """Make a workspace: keys, store, evidence log, and a ledger with its contracts.

    The passphrase protects every key of the office. It is asked for twice, or read from file or environment; without
    it the keys are lost. DIR is ./countermark-workspace unless it, -w or COUNTERMARK_WORKSPACE names another.

    On another chain than its own (--ledger) the office pays fees. Where its account has no coin, init names the
    account and stops; send coin to it and repeat the command, which goes on from there.

    With --join it works on the contracts of another office, whose file `countermark ledger deployment` wrote. They are
    checked, and nothing is deployed or sent. The office can act there once a governor has admitted its account, with
    the address and the public key that are printed.

    Example:
      countermark init --name "Registry of the Academy"
      countermark init --ledger http://127.0.0.1:8545 --confirmations 12
      countermark init --ledger http://127.0.0.1:8545 --join deployment.json
      countermark init --tsa https://tsa.example/ --tsa-root tsa-root.pem
    """
    from countermark.bootstrap import create_office
    from countermark.registry import check_name

    session, authority, node = current(), _authority(tsa, tsa_root), _node(ledger, confirmations, ledger_key, join)
    _check_market(join, platform_fee, currency)
    session.workspace = str(directory) if directory else session.workspace
    target = session.settings.workspace
    passphrase, chosen = session.passphrase(confirm=True), check_name(name)
    with session.progress() as progress:
        made = create_office(
            target,
            passphrase,
            name=chosen,
            progress=progress,
            authority=authority,
            node=node,
            platform_fee_bps=platform_fee,
            currency=currency,
        )
    shown = ("id", "name", "origin", "created", "market", "account", "public_key")
    document = {**{key: made[key] for key in shown}, "workspace": str(target)}
    deployment = made["deployment"]
    text = [
        session.tr("The office is open: {workspace}", workspace=target),
        card(
            [
                (session.tr("office"), f"{made['name']}  ({made['id']})"),
                (session.tr("log"), made["origin"]),
                (session.tr("ledger"), f"{deployment['engine']}, {deployment['chain_id']}"),
                (session.tr("ledger account"), made["account"]),
                (session.tr("public key"), made["public_key"]),
                (session.tr("settlement token"), made["market"]["currency"]),
                (session.tr("platform fee"), f"{made['market']['platform_fee_bps'] / 100:g} %"),
                *((f"  {contract}", address) for contract, address in deployment["contracts"].items()),
            ]
        ),
        session.tr("Keep the passphrase: without it the keys are lost."),
    ]
    if join is not None:
        text.append(session.tr("It can act on the ledger once a governor has admitted that account as operator."))
    session.answer("workspace", {**document, "deployment": deployment}, "\n".join(text))


def _authority(url: str | None, root: Path | None) -> tuple[str, str] | None:
    if (url is None) != (root is None):
        raise InputError(
            "give --tsa and --tsa-root together", hint="Stamps are believed only under the authority's root."
        )
    if url is None or root is None:
        return None
    return url, read_file(root, limit=_ROOT_LIMIT).decode("utf-8", "replace")


def _node(url: str | None, confirmations: int, key: Path | None, join: Path | None) -> LedgerNode | None:
    from countermark.bootstrap import LedgerNode

    if url is None:
        if confirmations or key is not None or join is not None:
            raise InputError("--confirmations, --ledger-key and --join belong to --ledger")
        return None
    return LedgerNode(
        url=url,
        confirmations=confirmations,
        key=None if key is None else _read_key(key),
        join=None if join is None else _read_deployment(join),
    )


def _read_deployment(path: Path) -> dict[str, Any]:
    from countermark.core.canonical import parse_json
    from countermark.governance import DEPLOYMENT_FORMAT

    document = parse_json(read_file(path, limit=_DEPLOYMENT_LIMIT))
    if not isinstance(document, dict) or document.get("format") != DEPLOYMENT_FORMAT:
        raise InputError(
            "{path} is not a deployment's file",
            hint="Make one with: countermark ledger deployment --out FILE",
            path=path,
        )
    return document


def _check_market(join: Path | None, platform_fee: int, currency: str) -> None:
    if join is not None and (platform_fee or currency != _CURRENCY):
        raise InputError("--platform-fee and --currency are the deployment's already, where an office joins one")


def _read_key(path: Path) -> Secret:
    from countermark.core.keys import Secret

    try:
        return Secret(bytes.fromhex(read_file(path, limit=_KEY_LIMIT).decode("ascii").strip().removeprefix("0x")))
    except ValueError as error:
        raise InputError("{path} holds no private key of 64 hex digits", path=path) from error
