"""``countermark key``."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.register import show_title
from countermark.cli.session import current, write_json
from countermark.cli.shell import Group
from countermark.cli.text import card
from countermark.errors import ConflictError


@click.group(cls=Group)
def key() -> None:
    """Rotate the office's keys, open epochs of detection keys, disclose an old one to an expert.

    Example:
      countermark key rotate log
    """


@key.command("rotate")
@click.argument("role", type=click.Choice(["platform", "log"]))
def rotate(role: str) -> None:
    """Put a new platform or log key in office.

    What the old key signed in its time stays valid. Export the trust file again afterwards: verifiers with an older one
    reject what the new key signs.

    Example:
      countermark key rotate platform
    """
    from countermark.workflows.keys import rotate_key

    session = current()
    with session.office() as office:
        period = rotate_key(office, role)
    rows = [
        (session.tr("role"), period["role"]),
        (session.tr("public key"), period["key"]),
        (session.tr("in office from"), period["from"]),
    ]
    text = card(rows) + "\n" + session.tr("Now export the trust file again: countermark trust export")
    session.answer("key-period", period, text)


@key.command("epoch")
@click.argument("title", type=int)
def epoch(title: int) -> None:
    """Open the next epoch of a model's detection keys: new outputs are marked with a new key.

    Earlier epochs stay readable; a trace tries every one. Do this when a key may be known to others, and before one is
    disclosed.

    Example:
      countermark key epoch 1
    """
    from countermark.workflows.register import rotate_epoch

    session = current()
    with session.office() as office:
        changed = rotate_epoch(office, title)
    rows = [
        (session.tr("title"), f"{changed.id}  ({changed.name})"),
        (session.tr("epoch"), str(changed.epoch)),
        (session.tr("detection key"), changed.key_id),
        (session.tr("transaction"), changed.epochs[str(changed.epoch)]),
    ]
    session.answer("epoch", show_title(changed), card(rows))


@key.command("disclose")
@click.argument("title", type=int)
@click.option("--epoch", "number", required=True, type=int, metavar="N", help="An epoch that is not in use any more.")
@click.option(
    "--method", type=click.Choice(["lattice", "noise", "sampling"]),
    help="Which of the epoch's keys; the lattice's by default, or of a language model the sampling mark's.",
)  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File to write.")
def disclose(title: int, number: int, method: str | None, out: Path) -> None:
    """Write an old epoch's embedding key for an expert, who can then read a suspect again. The log records it.

    Whoever has the key can forge marks of that epoch: hand it to the expert alone, and never in a bundle. With the
    lattice's or the sampling mark's, verify --key repeats the reading that is otherwise the office's word.

    Example:
      countermark key disclose 1 --epoch 0 --out disclosed.json
    """
    from countermark.workflows.keys import disclose_key

    session = current()
    if out.exists():
        raise ConflictError("{path} exists", hint="Keys are never overwritten.", path=out)
    with session.office() as office:
        disclosed = disclose_key(office, title, number, method=method)
    write_json(out, disclosed, mode=0o600)
    shown = {name: value for name, value in disclosed.items() if name != "key"}
    text = session.tr("Key of title {title}, epoch {epoch}: {path}", title=title, epoch=number, path=out)
    session.answer("disclosure", {**shown, "path": str(out)}, text)
