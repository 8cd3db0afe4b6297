"""``countermark register``."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.audit_records import audit_rows, shown_audits
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.core.progress import Progress
    from countermark.registry import Audit, Title
    from countermark.workflows.office import Office

_MAX_BPS = 5_000  # ModelTitles.MAX_STACK_BPS


@click.command(cls=Command)
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--owner", required=True, metavar="NAME", help="Party that gets the title: name or id.")
@click.option(
    "--derived-from", "parents", multiple=True, metavar="TITLE:BPS",
    help="A registered model that this one is derived from, and its share of this one's revenue. May be given again.",
)  # fmt: skip
@click.option(
    "--derivatives", default="closed", show_default=True, metavar="BPS|closed",
    help="Share that models derived from this one owe it; closed: each needs your approval.",
)  # fmt: skip
def register(model_dir: Path, owner: str, parents: tuple[str, ...], derivatives: str) -> None:
    """Register a model directory: digest it, sign its manifest, mint its title, log it.

    MODEL_DIR holds safetensors as transformers or diffusers write them, shards included; it is read as a stream and
    never loaded. Pickles and links that leave the directory are refused. The same weights are registered once.

    A model that holds most tensors of a registered one is derived from it and has to name it. Shares are in basis
    points: 500 are 5 %. They are fixed for good, with those of the parents' own parents, at 50 % in all.

    Recorded memorization audits of the same weights are shown, whenever they were made.

    Example:
      countermark register examples/fashion-mnist --owner "Example Studio"
      countermark register tuned --owner "Atelier" --derived-from 1:500 --derivatives 300
    """
    from countermark.workflows.audit import audits_of
    from countermark.workflows.register import register_model

    session, meter = current(), _Meter()
    declared, owed = [_read_parent(text) for text in parents], read_derivatives(derivatives)
    with session.office(meter.watch) as office:
        title = register_model(office, model_dir, owner, parents=declared, derivatives=owed)
        proof = prove_entry(office, title.log_index)
        with office.store.transaction() as transaction:
            audits = audits_of(transaction, title.weights_root)
    document = {
        **show_title(title),
        **_roots(title),
        "audits": shown_audits(audits),
        "inclusion": proof,
        "megabytes_per_second": round(meter.size / 1e6 / max(meter.seconds, 1e-6), 3),
    }
    session.answer("registration", document, _describe(session, title, audits, proof, meter))


def _read_parent(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,15}):(\d{1,5})", text, re.ASCII)
    if found is None:
        raise InputError("a parent is written TITLE:BPS, not {text}", text=text[:40])
    return int(found[1]), int(found[2])


def read_derivatives(text: str) -> int | None:
    """Read basis points, or ``closed`` as None.

    Raises:
        InputError: neither, or over 5,000.
    """
    if text == "closed":
        return None
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or int(text) > _MAX_BPS:
        raise InputError(
            "derivatives owe 0 to {limit} basis points, or are closed; not {text}", limit=_MAX_BPS, text=text[:40]
        )
    return int(text)


def show_parents(session: Session, title: Title) -> str:
    """Return the declared parents of a title with their shares, for people."""
    shown = (f"{parent['title']} ({parent['bps'] / 100:g} %)" for parent in title.parents)
    return ", ".join(shown) or session.tr("none")


def show_derivatives(session: Session, title: Title) -> str:
    """Return what derived models owe a title, for people."""
    if title.derivatives is None:
        return session.tr("by approval only")
    return session.tr("anybody's, at {share} %", share=f"{title.derivatives / 100:g}")


class _Meter:
    """Watches the digest's progress, for the rate that it ran at."""

    def __init__(self) -> None:
        self.size, self.seconds = 0, 0.0

    def watch(self, label: str, progress: Progress) -> Progress:
        started = time.monotonic()

        def report(done: int, total: int, unit: str) -> None:
            if label == "digest":
                self.size, self.seconds = done, time.monotonic() - started
            progress(done, total, unit)

        return report


def prove_entry(office: Office, index: int) -> dict[str, Any]:
    """Return the inclusion proof of a log entry in the present log, verified.

    Raises:
        NotFoundError: no such entry.
        ProofInvalid: the log is damaged.
    """
    from countermark.core.merkle import leaf_hash, verify_inclusion
    from countermark.evidence import log

    with office.store.transaction() as transaction:
        size = transaction.tiles.head().size
        leaf = leaf_hash(log.entry(transaction.tiles, index))
        proof = log.prove_inclusion(transaction.tiles, index, size)
        root = log.root(transaction.tiles, size)
    verify_inclusion(leaf, index, size, proof, root)
    return {
        "index": index,
        "size": size,
        "leaf": leaf.hex(),
        "root": root.hex(),
        "proof": [node.hex() for node in proof],
    }


def show_title(title: Title) -> dict[str, Any]:
    """Return what a listing shows of a title: everything but the manifest."""
    return {name: value for name, value in title.to_json().items() if name != "registration"}


def _roots(title: Title) -> dict[str, Any]:
    from countermark.artifact import ModelManifest
    from countermark.core.dsse import read_unverified

    manifest = ModelManifest.from_json(read_unverified(title.registration)["manifest"])
    return {
        "layout": manifest.layout,
        "files": len(manifest.files),
        "tensors": len(manifest.tensors),
        "files_root": manifest.files_root.hex(),
        "tensors_root": manifest.weights_root.hex(),
    }


def _describe(session: Session, title: Title, audits: Sequence[Audit], proof: dict[str, Any], meter: _Meter) -> str:
    from countermark.cli.progress import show_rate

    roots = _roots(title)
    digested = session.tr(
        "{files} files, {tensors} tensors, {parameters} parameters, {megabytes} MB at {rate}",
        files=roots["files"],
        tensors=roots["tensors"],
        parameters=f"{title.parameters:,}",
        megabytes=f"{title.total_bytes / 1e6:.1f}",
        rate=show_rate(meter.size, meter.seconds),
    )
    included = session.tr(
        "entry {index} of {size}; inclusion proof of {count} hashes verified",
        index=proof["index"],
        size=proof["size"],
        count=len(proof["proof"]),
    )
    rows = [
        (session.tr("title"), f"{title.id}  ({title.name})"),
        (session.tr("digested"), digested),
        (session.tr("manifest"), title.manifest_digest),
        (session.tr("weights"), title.weights_root),
        (session.tr("files root"), roots["files_root"]),
        (session.tr("tensors root"), roots["tensors_root"]),
        (session.tr("derived from"), show_parents(session, title)),
        (session.tr("derivatives"), show_derivatives(session, title)),
        *audit_rows(session, audits),
        (session.tr("detection key"), title.key_id),
        (session.tr("transaction"), title.transaction),
        (session.tr("log"), included),
    ]
    return card(rows)
