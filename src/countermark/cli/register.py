"""``countermark register``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import card

if TYPE_CHECKING:
    from countermark.core.progress import Progress
    from countermark.registry import Title
    from countermark.workflows.office import Office


@click.command(cls=Command)
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--owner", required=True, metavar="NAME", help="Party that gets the title: name or id.")
def register(model_dir: Path, owner: str) -> None:
    """Register a model directory: digest it, sign its manifest, mint its title, log it.

    MODEL_DIR holds safetensors as transformers or diffusers write them, shards included; it is read as a stream and
    never loaded. Pickles and links that leave the directory are refused. The same weights are registered once.

    Example:
      countermark register examples/fashion-mnist --owner "Example Studio"
    """
    from countermark.workflows.register import register_model

    session, meter = current(), _Meter()
    with session.office(meter.watch) as office:
        title = register_model(office, model_dir, owner)
        proof = prove_entry(office, title.log_index)
    document = {
        **show_title(title),
        **_roots(title),
        "inclusion": proof,
        "megabytes_per_second": round(meter.size / 1e6 / max(meter.seconds, 1e-6), 1),
    }
    session.answer("registration", document, _describe(session, title, proof, meter))


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


def _describe(session: Session, title: Title, proof: dict[str, Any], meter: _Meter) -> str:
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
        (session.tr("detection key"), title.key_id),
        (session.tr("transaction"), title.transaction),
        (session.tr("log"), included),
    ]
    return card(rows)
