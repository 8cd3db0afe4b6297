"""``countermark mark``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.license import read_document
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import table
from countermark.errors import InputError

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
@click.option(
    "--preview",
    "with_previews",
    is_flag=True,
    help="Beside each copy NAME also NAME.preview.png: original, copy, and what differs, enlarged.",
)
def mark(grant: int, images: tuple[Path, ...], out: Path, request: Path | None, with_previews: bool) -> None:
    """Mark images under a grant; each output gets a log entry.

    PNG (8 or 16 bits), JPEG and WebP keep their format, size, transparency, orientation and profile. --request may be
    left out where the office holds the licensee's key; then the request proves no more than the office's word.

    Example:
      countermark mark 1 photo.jpg --out marked
    """
    from countermark.workflows.mark import mark_images

    session = current()
    envelope = read_document(request) if request else None
    previews = _previews(images, out) if with_previews else [None] * len(images)
    with session.office() as office:
        marked = mark_images(office, grant, images, out, request=envelope)
    for source, each, preview in zip(images, marked, previews, strict=True):
        if preview is not None:
            _draw(source, each, preview)
        if each.had_palette:
            session.note(session.tr("{path}: its palette was replaced by full colors", path=each.path))
    outputs = [
        {
            "path": str(each.path),
            "content": each.output.content_digest,
            "source": each.output.source_digest,
            "psnr_db": each.output.psnr_db,
            "log_index": each.output.log_index,
            "time": each.output.time,
            "had_palette": each.had_palette,
            "preview": preview and str(preview),
        }
        for each, preview in zip(marked, previews, strict=True)
    ]
    session.answer("marking", {"grant": grant, "outputs": outputs}, _describe(session, marked))


def _previews(images: Sequence[Path], out: Path) -> list[Path]:
    """Name the drawings, and refuse to write one in the place of a picture that is marked, or of its copy."""
    previews, names = [out / f"{image.name}.preview.png" for image in images], {image.name.lower() for image in images}
    for preview in previews:
        if preview.name.lower() in names:
            raise InputError(
                "{path} would be overwritten", hint="Mark it without --preview, or rename it.", path=preview
            )
    return previews


def _draw(source: Path, marked: Marked, target: Path) -> None:
    from countermark.marking.image.files import read_pixels
    from countermark.marking.image.preview import preview, write_drawing

    write_drawing(preview(read_pixels(source), read_pixels(marked.path), marked.output.psnr_db), target)


def _describe(session: Session, marked: list[Marked]) -> str:
    head = [session.tr("marked copy"), session.tr("PSNR"), session.tr("log entry"), session.tr("content")]
    rows = [
        [each.path, f"{each.output.psnr_db:.2f} dB", each.output.log_index, each.output.content_digest[:23] + "…"]
        for each in marked
    ]
    return table(head, rows)
