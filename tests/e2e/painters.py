"""A stand-in for diffusion pipelines: each noise value is the shade of one square of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking.image.noise import NoiseMark
from countermark.workflows.pipelines import Order, Pixels, Way


@dataclass
class GridPainter:
    """Draws pictures of 64 by 64 squares; ``square`` is their side in pixels."""

    square: int = 1
    drawn: int = 0

    @property
    def size(self) -> int:
        return 64 * 64

    @property
    def side(self) -> tuple[int, int]:
        return 64 * self.square, 64 * self.square

    def check(self, order: Order) -> None:
        if order.prompt is not None:
            raise InputError("this model takes no prompt")

    def paint(
        self,
        mark: NoiseMark,
        word: int,
        counter: int,
        order: Order,
        *,
        count: int,
        seed: Secret,
        source: Pixels | None,
    ) -> list[Pixels]:
        pictures = []
        for i in range(count):
            values = np.abs(np.random.default_rng([counter + i, seed.reveal()[0]]).normal(size=self.size))
            shades = np.clip(128 + 40 * values * mark.signs(word, counter + i, self.size), 0, 255).astype(np.uint8)
            grey = shades.reshape(64, 64).repeat(self.square, 0).repeat(self.square, 1)
            pictures.append(np.stack([grey] * 3, axis=2))
            self.drawn += 1
        return pictures

    def invert(self, pictures: Sequence[Pixels], way: Way) -> NDArray[np.float32]:
        small = [Image.fromarray(each).convert("L").resize((64, 64), Image.Resampling.BOX) for each in pictures]
        return np.stack([np.asarray(each, dtype=np.float32).ravel() - 128 for each in small])


@dataclass
class GridPainters:
    """Opens every directory as the same painter."""

    painter: GridPainter

    def open(self, directory: Path) -> GridPainter:
        return self.painter
