"""``countermark bundle``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from countermark.cli.session import current, write_file
from countermark.cli.shell import Command
from countermark.cli.text import card


@click.command(cls=Command)
@click.argument("matter", metavar="TRACE|AUDIT")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Zip file to write.")
@click.option("--case", metavar="TEXT", help="Case that the statement is for; the id of trace or audit by default.")
@click.option("--audience", default="any", show_default=True, metavar="TEXT", help="Whom the statement is for.")
def bundle(matter: str, out: Path, case: str | None, audience: str) -> None:
    """Put the evidence of an attributed trace, or a recorded audit, into one file that a stranger verifies offline.

    The signed statement binds the suspect file, case, audience and date, so that it cannot be used for another. With
    the defaults it is bound to this trace or audit and to no audience; name both for a court.

    The bundle of a trace discloses the names of both parties, the terms, and the mark identifier of this one grant.
    That of an audit discloses its document, with every score and the texts that match, and whose title the model's is.

    Example:
      countermark bundle t-0f3a5c9b2d41 --out case.zip --case 2026-017 --audience "Court of Appeal"
      countermark bundle a-0f3a5c9b2d417e60 --out audit.zip --audience "Market supervision"
    """
    from countermark.workflows.audit import make_audit_bundle
    from countermark.workflows.bundle import make_bundle

    session, kind = current(), "audit" if matter.startswith("a-") else "trace"
    make = make_audit_bundle if kind == "audit" else make_bundle
    with session.office() as office:
        data = make(office, matter, case=case or matter, audience=audience)
    write_file(out, data)
    document = {
        "path": str(out),
        kind: matter,
        "case": case or matter,
        "audience": audience,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    rows = [
        (session.tr("bundle"), f"{out}  ({len(data) / 1000:.0f} kB)"),
        (session.tr("case"), case or matter),
        (session.tr("audience"), audience),
    ]
    text = session.tr("Send the trust file by another way than this bundle.")
    session.answer("bundle", document, card(rows) + "\n" + text)
