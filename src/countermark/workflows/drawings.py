"""Draw where in a suspect a lattice mark lies, as an answer about it can be looked at by people who read no statistics.

A drawing is made anew from suspect and key, and is no part of the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from countermark.core.canonical import show_digest
from countermark.core.payload import permute, read_identifier
from countermark.errors import InputError, StorageError
from countermark.marking import Detection
from countermark.marking.image.cells import Cell
from countermark.marking.image.files import content_digest, read_pixels
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.preview import Box, lattice, write_drawing
from countermark.marking.image.samples import Pixels
from countermark.registry import Grant, Title
from countermark.tracing import ATTRIBUTED, NOT_ATTRIBUTABLE
from countermark.workflows.office import Office, load
from countermark.workflows.trace import Trace


def draw_marks(office: Office, suspects: Sequence[Path], traces: Sequence[Trace], folder: Path) -> dict[str, Path]:
    """Write a drawing of each suspect in which a lattice mark was found, as NAME.lattice.png.

    Args:
        office: where.
        suspects: the files that were traced.
        traces: the answers about them, of ``workflows.trace``.
        folder: made if missing.

    Returns:
        The drawing of each trace that has one, by the trace's id; of a pool, the first of its pictures.

    Raises:
        InputError: two suspects have the same name.
        StorageError: the folder cannot be made, or a drawing not be written.
    """
    if len({suspect.name.lower() for suspect in suspects}) < len(suspects):
        raise InputError("two files have the same name", hint="Draw them into different folders.")
    drawings: dict[str, Path] = {}
    for suspect in suspects:
        digest = show_digest(content_digest(suspect))
        answers = [trace for trace in traces if _shows(trace, digest)]
        if answers:
            target = folder / f"{suspect.name}.lattice.png"
            _make(folder)
            _draw(office, read_pixels(suspect), answers, target)
            drawings |= {trace.id: target for trace in answers if trace.id not in drawings}
    return drawings


def _shows(trace: Trace, digest: str) -> bool:
    """Whether an answer is about a file, alone or in a pool, and says that a lattice mark is in it."""
    examined = [picture["suspect"] for picture in trace.pictures if picture["examined"]]
    is_found = trace.verdict in (ATTRIBUTED, NOT_ATTRIBUTABLE) and trace.method == LatticeMark.METHOD
    return is_found and digest in (trace.suspect, *examined)


def _draw(office: Office, pixels: Pixels, answers: Sequence[Trace], target: Path) -> None:
    cells: list[Cell] = []
    for trace in answers:
        left, top, right, bottom = trace.region or (0, 0, pixels.shape[1], pixels.shape[0])
        found = _cells(office, pixels[top:bottom, left:right], trace)
        cells += [replace(cell, corners=np.add(cell.corners, (left, top))) for cell in found]
    boxes: list[Box] = [(box[0], box[1], box[2], box[3]) for box in (trace.region for trace in answers) if box]
    write_drawing(lattice(pixels, cells, boxes), target)


def _cells(office: Office, part: Pixels, trace: Trace) -> list[Cell]:
    """Read a suspect again, and hold each of its cells against the word of the grant, or else the word read."""
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", trace.title))
        grant = None if trace.grant is None else Grant.from_json(load(transaction, "grant", trace.grant))
    key = office.detection_key(title.weights_root, LatticeMark.METHOD, trace.epoch or 0)
    mark = LatticeMark(key.embedding, key_id=key.key_id)
    seen = mark.detect(part)
    if not isinstance(seen, Detection):
        return []
    if grant is not None:
        seen = replace(seen, word=permute(key.permutation, read_identifier(grant.identifier)))
    return mark.cells(part, seen)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot make the folder {path}", path=folder) from error
