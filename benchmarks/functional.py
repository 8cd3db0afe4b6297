"""Marked pictures in the hands of networks: the registered pipeline, one tuned from it, and a foreign one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.editing import Edit, editor, foreign, inpainted, tuned
from benchmarks.noise_trials import Row, Task, compared, our_read, rate_row, secret
from benchmarks.photographs import photographs
from benchmarks.studio import Studio
from countermark.core.keys import Secret
from countermark.core.payload import WORD_BITS
from countermark.marking.image.lattice import LatticeMark

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]

STRENGTHS = (0.2, 0.4)
TUNED_ON, LATTICE_SIDE = 20, 256


def functional(task: Task) -> Iterator[Row]:
    """Let networks edit marked pictures: the registered one, one tuned from it, and one that is foreign to it."""
    generator, count, steps = task.generator(), task.given.edited, task.given.steps
    studio = task.studio(generator, steps)
    words = [int(word) for word in generator.integers(0, 2**64, count, dtype=np.uint64)]
    noise = np.concatenate([studio.marked(word, i, 1, secret(generator)) for i, word in enumerate(words)])
    paths = photographs([task.given.photographs], limit=TUNED_ON + count)
    small = [_square(path, studio.plug.side[0]) for path in paths[:TUNED_ON]]
    tuned_pipeline = tuned(studio.pipeline, small, task.given.updates)
    made = Studio(tuned_pipeline, studio.mark, steps).render(noise)
    read = partial(our_read, studio.mark)
    yield rate_row("noise mark", "made by the tuned pipeline", WORD_BITS, map(read, studio.invert(made), words))
    networks = {
        "registered": editor(studio.pipeline, steps),
        "tuned": editor(tuned_pipeline, steps),
        "foreign": foreign,
    }
    pictures = studio.render(noise)
    for edit, change in _edits(networks):
        yield rate_row("noise mark", edit, WORD_BITS, map(read, studio.invert(map(change, pictures)), words))
    if studio.shape[0] == 3:
        yield from _lattice_rows([_square(path, LATTICE_SIDE) for path in paths[TUNED_ON:]], _edits(networks), words)


def _lattice_rows(images: list[Pixels], edits: Iterator[tuple[str, Change]], words: list[int]) -> Iterator[Row]:
    mark = LatticeMark(Secret.random())
    marked = [mark.embed(image, word) for image, word in zip(images, words, strict=False)]
    for edit, change in edits:
        seen = [mark.detect(change(picture)) for picture in marked]
        yield rate_row("lattice", edit, WORD_BITS, map(compared, seen, words))


def _edits(networks: Mapping[str, Edit]) -> Iterator[tuple[str, Change]]:
    for name, edit in networks.items():
        for strength in STRENGTHS:
            yield f"image to image {strength}, {name}", partial(edit, strength=strength)
        yield f"inpainting, {name}", partial(inpainted, edit)


def _square(path: Path, side: int) -> Pixels:
    """Return the middle square of a photograph, resized."""
    with Image.open(path) as picture:
        return np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS))
