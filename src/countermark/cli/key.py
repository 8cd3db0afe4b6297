"""``countermark key``."""

from __future__ import annotations

import click

from countermark.cli.session import current
from countermark.cli.shell import Group
from countermark.cli.text import card


@click.group(cls=Group)
def key() -> None:
    """Rotate the office's own keys.

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
