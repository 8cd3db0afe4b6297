"""A registered diffusers pipeline as benchmarks use it: noise to pictures, and pictures back to noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import Secret
from countermark.marking.image.diffusion import DiffusionMark
from countermark.marking.image.noise import NoiseMark, latent_of

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

AT_ONCE = 32


def load(folder: Path) -> Any:
    """Return the pipeline in a folder, quiet."""
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline = DiffusionPipeline.from_pretrained(folder, use_safetensors=True, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Studio:
    """A pipeline with the plug-in in it. Noise is (n, *shape); what was read back is (n, size)."""

    def __init__(self, pipeline: Any, mark: NoiseMark, steps: int) -> None:
        self.pipeline, self.mark = pipeline, mark
        self.plug = DiffusionMark(pipeline, mark, steps=steps)
        self.shape, self.size = self.plug.shape, self.plug.size

    def marked(self, word: int, counter: int, count: int, seed: Secret) -> Floats:
        """Return the noise of some generations in a row that carry a word."""
        return np.stack([self.mark.noise(word, counter + i, self.shape, seed) for i in range(count)])

    def plain(self, count: int, generator: np.random.Generator) -> Floats:
        """Return noise without a mark."""
        return generator.standard_normal((count, *self.shape), dtype=np.float32)

    def render(self, noise: Floats) -> list[Pixels]:
        """Return the pictures that the pipeline makes of noise."""
        return [picture for part in _parts(noise) for picture in self.plug.render(part)]

    def invert(self, pictures: Iterable[Pixels]) -> Floats:
        """Return the noise that pictures were made from, as far as it can be told, as the noise mark reads it."""
        return np.concatenate([self.plug.invert(part) for part in _parts(list(pictures))])

    def values(self, inverted: Floats) -> Floats:
        """Return inverted noise in the pipeline's own coordinates, flat."""
        return np.stack([latent_of(row, self.shape).ravel() for row in inverted])


def _parts(items: Any) -> Iterator[Any]:
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
