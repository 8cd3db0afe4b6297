"""``countermark audit``."""

from __future__ import annotations

import click

from countermark.cli.audit_extract import extract
from countermark.cli.audit_membership import membership
from countermark.cli.audit_memorization import memorization
from countermark.cli.audit_records import list_audits, show_audit
from countermark.cli.audit_serve import serve
from countermark.cli.shell import Group


@click.group(cls=Group)
def audit() -> None:
    """Find out what a model memorized, and record the answer beside its title.

    Example:
      countermark audit memorization samples/ --train photos.npz:train --held-out photos.npz:test --out report
    """


audit.add_command(memorization)
audit.add_command(extract)
audit.add_command(membership)
audit.add_command(serve)
audit.add_command(list_audits, "list")
audit.add_command(show_audit, "show")
