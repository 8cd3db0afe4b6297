"""``countermark log``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from countermark.cli.register import prove_entry
from countermark.cli.session import current
from countermark.cli.shell import Group
from countermark.cli.text import card


@click.group(cls=Group)
def log() -> None:
    """Check the evidence log, prove its entries, export it.

    Example:
      countermark log check
    """


@log.command("check")
def check() -> None:
    """Recompute the whole log, and hold it against the anchors and the ledger.

    Every hash of the log is computed again from its entries; every anchor must have the root of its size, here and on
    the ledger; every transaction that an entry names must be on the ledger, and every act on the ledger must have
    exactly one entry. The first contradiction is an error.

    Example:
      countermark log check
    """
    from countermark.workflows.check import check_office

    session = current()
    with session.office() as office:
        found = check_office(office)
    rows = [
        (session.tr("log"), session.tr("{size} entries", size=found["size"])),
        (session.tr("root"), found["root"]),
        (session.tr("anchors"), str(found["anchors"])),
        (session.tr("acts on the ledger"), str(found["acts"])),
        (session.tr("identifiers issued"), str(found["identifiers_issued"])),
    ]
    session.answer("check", found, session.tr("Log and ledger agree.") + "\n" + card(rows))


@log.command("prove")
@click.argument("index", type=click.IntRange(min=0))
def prove(index: int) -> None:
    """Show a log entry and prove that it is in the log.

    The proof leads to the root of the log as it stands now; a checkpoint over that root is made by anchor.

    Example:
      countermark log prove 3
    """
    from countermark.evidence.log import entry as read_entry

    session = current()
    with session.office() as office:
        proof = prove_entry(office, index)
        with office.store.transaction() as transaction:
            raw = read_entry(transaction.tiles, index)
    entry = json.loads(raw)
    rows = [
        *((name, str(value)) for name, value in entry.items()),
        (session.tr("log"), session.tr("entry {index} of {size}", index=index, size=proof["size"])),
        (session.tr("leaf"), proof["leaf"]),
        (session.tr("root"), proof["root"]),
        *((session.tr("proof") if at == 0 else "", node) for at, node in enumerate(proof["proof"])),
    ]
    session.answer("inclusion", {"entry": entry, **proof}, card(rows))


@log.command("export")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def export(directory: Path) -> None:
    """Anchor the log and write it as static files that any client of C2SP tlog-tiles can audit.

    Files of an earlier export stay as they are; the folder can be served by any web server.

    Example:
      countermark log export public/log
    """
    from countermark.workflows.anchor import anchor_log

    session = current()
    with session.office() as office:
        from countermark.adapters.tiles import export_tiles  # needs the extra that opening an office asks for

        anchor = anchor_log(office)
        with office.store.transaction() as transaction:
            written = export_tiles(transaction.tiles, anchor["checkpoint"], directory)
    document = {"path": str(directory), "size": anchor["size"], "root": anchor["root"], "files_written": written}
    text = session.tr(
        "{size} entries, {count} files written to {path}", size=anchor["size"], count=written, path=directory
    )
    session.answer("log-export", document, text)
