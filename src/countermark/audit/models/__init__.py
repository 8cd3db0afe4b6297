"""Small generators with recipes, to try an audit on: two that learn and one whose answer is known.

``diffusion`` is a denoiser that memorizes a few hundred images in minutes and tens of thousands not at all; ``gan`` is
a plain adversarial pair; ``analytic`` is the exact minimizer of the denoising loss, whose samples are its training
images: nothing is trained, and every audit has to say so. ``files`` keeps them in directories without code.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from countermark.core.progress import Progress


class Generator(Protocol):
    """What an audit draws from.

    ``name`` is for people; ``shape`` is (height, width, channels), channels 1 or 3.
    """

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of every image."""

    def sample(self, count: int, *, seed: int, progress: Progress | None = None) -> NDArray[np.uint8]:
        """Return images (count, height, width, channels).

        Image i depends on ``seed`` and i only, so that the first k of more images are the k images; ``seed`` is 0 or
        more. The example models and the pipelines keep this law on one machine; what a user gives may not.
        """

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """Return the labels that the first ``count`` images are drawn for, None where there are none."""


@runtime_checkable
class WithLoss(Protocol):
    """A generator that says how badly it explains an image: what membership is read from."""

    def loss(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return one loss an image (n, height, width, channels); the same images give the same losses."""
