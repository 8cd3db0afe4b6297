"""``countermark audit list`` and ``audit show``, and how recorded audits are shown beside their titles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, write_file
from countermark.cli.shell import Command
from countermark.cli.text import Row, card, table

if TYPE_CHECKING:
    from countermark.registry import Audit


@click.command(cls=Command)
@click.option("--title", type=int, metavar="TITLE", help="Only those of this title's weights.")
def list_audits(title: int | None) -> None:
    """List the recorded audits: of which model, with what result.

    Example:
      countermark audit list
      countermark audit list --title 1
    """
    from countermark.workflows.audit import audits, audits_of
    from countermark.workflows.office import load

    session = current()
    with session.office() as office, office.store.transaction() as transaction:
        chosen = (
            audits(transaction)
            if title is None
            else audits_of(transaction, load(transaction, "title", title)["weights_root"])
        )
        found = list(chosen)
    head = [session.tr(label) for label in ("audit", "model", "title", "result", "flagged", "recorded")]
    rows = [
        [a.id, a.findings["name"], a.title or "-", verdict(session, a.findings), _flagged(a), a.audited_at]
        for a in found
    ]
    text = table(head, rows) if rows else session.tr("No audit has been recorded yet.")
    session.answer("audits", {"audits": shown_audits(found)}, text)


@click.command(cls=Command)
@click.argument("audit", metavar="AUDIT")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the audit's document to a file.")
def show_audit(audit: str, out: Path | None) -> None:
    """Show a recorded audit: what was audited, what was found, and where it stands in the log.

    Example:
      countermark audit show a-0f3a5c9b2d417e60 --out audit.json
    """
    from countermark.cli.register import prove_entry
    from countermark.registry import Audit
    from countermark.workflows.audit import audit_document
    from countermark.workflows.office import load

    session = current()
    with session.office() as office:
        with office.store.transaction() as transaction:
            found = Audit.from_json(load(transaction, "audit", audit))
            document = audit_document(transaction, audit)
        proof = prove_entry(office, found.log_index)
    if out is not None:
        write_file(out, json.dumps(document, ensure_ascii=False).encode())
    included = session.tr(
        "entry {index} of {size}; inclusion proof of {count} hashes verified",
        index=proof["index"],
        size=proof["size"],
        count=len(proof["proof"]),
    )
    rows = [
        *_rows(session, found),
        (session.tr("log"), included),
        *([(session.tr("document"), str(out))] if out is not None else []),
    ]
    session.answer("audit", {**found.to_json(), "inclusion": proof}, card(rows))


def shown_audits(found: Sequence[Audit]) -> list[dict[str, Any]]:
    """Return what a listing shows of audits: everything but the signed record."""
    return [{name: value for name, value in audit.to_json().items() if name != "envelope"} for audit in found]


def audit_rows(session: Session, found: Sequence[Audit]) -> list[Row]:
    """Return the rows of a title's card that say which audits of its weights are recorded, or that none is."""
    lines = [_line(session, audit) for audit in found] or [session.tr("none recorded")]
    return [(session.tr("memorization audits") if at == 0 else "", line) for at, line in enumerate(lines)]


def _line(session: Session, audit: Audit) -> str:
    return session.tr(
        "{verdict}: {flagged} of {items} flagged  ({audit}, {time})",
        verdict=verdict(session, audit.findings),
        flagged=audit.findings["flagged"],
        items=audit.findings["items"],
        audit=audit.id,
        time=audit.audited_at,
    )


def verdict(session: Session, found: Mapping[str, Any]) -> str:
    """Return what an audit found, in words: of its findings (``evidence.audits.describe``)."""
    from countermark.audit.decisions import COPIES
    from countermark.evidence.audits import could_find

    if found["verdict"] == COPIES:
        return session.tr("copies found")
    if could_find(found):
        return session.tr("no copies found")
    return session.tr("could not tell: too few data to flag any")


def finding_rows(session: Session, found: Mapping[str, Any]) -> list[Row]:
    """Return the rows for the findings of an audit (``evidence.audits.describe``)."""
    least, rank = found["at_least"], found["model_p"]
    of_images = found["kind"] == "images"
    outputs = (
        session.tr("{count} images", count=found["items"])
        if of_images
        else session.tr("{count} texts", count=found["items"])
    )
    return [
        (session.tr("model"), found["name"]),
        (session.tr("outputs"), outputs),
        (session.tr("flagged"), session.tr("{count}, at a false discovery rate of {fdr} %", count=found["flagged"],
                                           fdr=f"{100 * found['fdr']:g}")),
        *([(session.tr("copied at least"), f"{100 * least:.2g} %")] if least is not None else []),
        *([(session.tr("rank test of the model"), f"p = {rank:.3g}")] if rank is not None else []),
    ]  # fmt: skip


def _rows(session: Session, audit: Audit) -> list[Row]:
    about = dict(audit.about)
    document, weights, samples = (about.pop(name) for name in ("document", "weights", "samples"))
    return [
        (session.tr("audit"), audit.id),
        (session.tr("result"), verdict(session, audit.findings)),
        *finding_rows(session, audit.findings),
        (session.tr("title"), str(audit.title or "-")),
        (session.tr("weights"), weights or "-"),
        (session.tr("samples"), samples or "-"),
        (session.tr("document"), str(document)),
        *((name, str(digest)) for name, digest in about.items()),
        (session.tr("recorded"), audit.audited_at),
    ]


def _flagged(audit: Audit) -> str:
    return f"{audit.findings['flagged']} / {audit.findings['items']}"
