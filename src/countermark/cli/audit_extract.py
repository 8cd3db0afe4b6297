"""``countermark audit extract``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.session import Session, current, read_file, write_file, write_json
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.audit.extraction import Extraction
    from countermark.audit.images.batches import ImageSource
    from countermark.audit.images.store import ImageStore

FOUND, NOTHING = 0, 1
_PATH = click.Path(path_type=Path)
_PROMPTS_LIMIT = 2**20
_SHEET_ROWS = 20


@click.command(cls=Command)
@click.argument("model")
@click.option("--train", required=True, metavar="DATA", help="What the model was trained on.")
@click.option("--held-out", required=True, metavar="DATA", help="Data of the same source that it never saw.")
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="Folder for the result.")
@click.option(
    "--draws", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True, help="Outputs to draw at most."
)
@click.option("--batch", type=click.IntRange(1, 100_000), default=256, show_default=True, help="Outputs drawn at once.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of the first batch.")
@click.option("--level", type=float, default=0.05, show_default=True, help="Bound on the chance of a false yes.")
@click.option(
    "--rule", type=click.Choice(["simes", "evidence"]), default="simes", show_default=True,
    help="What ends it: simes, that there are copies; evidence, which needs more outputs, that one is named.",
)  # fmt: skip
@click.option("--align", is_flag=True, help="Find copies that were mirrored, moved up to 2 pixels or re-lit, too.")
@click.option("--prompts", type=_PATH, metavar="FILE", help="Prompts for a model that takes them, one a line.")
@click.option("--index", type=_PATH, metavar="DIR", help="Folder for what is kept between audits of the same data.")
def extract(
    model: str, train: str, held_out: str, out: Path, draws: int, batch: int, seed: int, level: float, rule: str,
    align: bool, prompts: Path | None, index: Path | None,
) -> int:  # fmt: skip
    """Draw many outputs, look first at what is drawn again and again, and stop once copies are proven.

    Near-equal outputs are gathered, and the largest groups are looked at first. The level is for all outputs that are
    planned, whatever is looked at first and however often, so it may stop at any look.

    The folder gets extraction.json and sheet.png: an output of each of the largest groups beside its nearest training
    image.

    Exit status: 0 copies were found; 1 none.

    Example:
      countermark audit extract model --train photos.npz:train --held-out photos.npz:test --draws 20000 --out found
    """
    from countermark.adapters.samplers import open_sampler
    from countermark.audit.extraction import extract as draw_and_look
    from countermark.workflows.memorization import Measure, prepare_images

    session = current()
    generator = open_sampler(model, prompts=_prompts(prompts))
    sources = [_open(data, generator.shape) for data in (train, held_out)]
    with session.progress() as progress:
        measure = Measure(align=align)
        examiner = prepare_images(sources[0], sources[1], index or out / "index", measure, progress=progress)
        found = draw_and_look(
            generator, examiner, draws=draws, batch=batch, look=batch, seed=seed, level=level, rule=rule,
            progress=progress("draw"),
        )  # fmt: skip
    files = [out / "extraction.json"]
    document = {
        **found.to_json(),
        "data": {"train": examiner.train.digest, "held_out": examiner.prepared.held_out.digest},
    }
    write_json(files[0], document)
    if found.cliques:
        files.append(out / "sheet.png")
        write_file(files[1], sheet(found, examiner.train))
    session.answer("extraction", {**document, "files": [str(file) for file in files]}, _describe(session, found, files))
    return FOUND if found.stop == "copies-found" else NOTHING


def sheet(found: Extraction, train: ImageStore) -> bytes:
    """Return a PNG: a row for each of the largest 20 cliques, its leader beside the nearest training image."""
    from countermark.audit.extraction import contact_sheet

    shown = found.cliques[:_SHEET_ROWS]
    beside = [None if each.nearest is None else train.take([each.nearest])[0] for each in shown]
    return contact_sheet(found.pictures[: len(shown)], beside)


def _open(data: str, shape: tuple[int, int, int]) -> ImageSource:
    from countermark.audit.images.reading import open_images

    return open_images(data, size=shape[:2], channels=shape[2])


def _prompts(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        text = read_file(path, limit=_PROMPTS_LIMIT).decode()
    except UnicodeDecodeError as error:
        raise InputError("{path} is not UTF-8 text", path=path) from error
    return tuple(line for line in text.splitlines() if line.strip())


def _describe(session: Session, found: Extraction, files: list[Path]) -> str:
    sizes = ", ".join(str(each.size) for each in found.cliques[:5]) or session.tr("none")
    rows = [
        (session.tr("answer"), _answer(session, found)),
        (session.tr("drawn"), session.tr("{drawn} of {planned}", drawn=found.drawn, planned=found.planned)),
        (
            session.tr("looks"),
            session.tr("{looks}, at {count} outputs", looks=len(found.looks), count=len(found.order)),
        ),
        (session.tr("p-value"), f"{found.p_value:.2g}"),
        (
            session.tr("near-equal outputs"),
            session.tr("{count}; largest groups: {sizes}", count=found.grouped, sizes=sizes),
        ),
        (session.tr("called copies"), _named(session, found)),
        (session.tr("files"), ", ".join(map(str, files))),
    ]
    return card(rows)


def _named(session: Session, found: Extraction) -> str:
    if found.stop == "copies-found" and not found.copies:
        return session.tr("none alone as yet, only all outputs together; --rule evidence goes on until one is")
    return str(len(found.copies))


def _answer(session: Session, found: Extraction) -> str:
    if found.stop == "copies-found":
        return session.tr("copies of training items were found")
    return session.tr("no copies were found")
