"""``countermark mark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.license import read_document
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import table

if TYPE_CHECKING:
    from countermark.workflows.mark import Marked


@click.command(cls=Command)
@click.argument("grant", type=int)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the marked copies."
)
@click.option(
    "--request", type=click.Path(path_type=Path), metavar="FILE", help="The request that the licensee signed."
)
def mark(grant: int, images: tuple[Path, ...], out: Path, request: Path | None) -> None:
    """Mark images under a grant; each output gets a log entry.

    PNG, JPEG and WebP with 8 bits keep their format, size, orientation and profile. --request may be left out where the
    office holds the licensee's key; then the request proves no more than the office's word.

    Example:
      countermark mark 1 photo.jpg --out marked
    """
    from countermark.workflows.mark import mark_images

    session = current()
    envelope = read_document(request) if request else None
    with session.office() as office:
        marked = mark_images(office, grant, images, out, request=envelope)
    outputs = [
        {
            "path": str(each.path),
            "content": each.output.content_digest,
            "source": each.output.source_digest,
            "psnr_db": each.output.psnr_db,
            "log_index": each.output.log_index,
            "time": each.output.time,
        }
        for each in marked
    ]
    session.answer("marking", {"grant": grant, "outputs": outputs}, _describe(session, marked))


def _describe(session: Session, marked: list[Marked]) -> str:
    head = [session.tr("marked copy"), session.tr("PSNR"), session.tr("log entry"), session.tr("content")]
    rows = [
        [each.path, f"{each.output.psnr_db:.2f} dB", each.output.log_index, each.output.content_digest[:23] + "…"]
        for each in marked
    ]
    return table(head, rows)
