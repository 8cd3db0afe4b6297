"""The denoiser whose answer is known: the exact minimizer of the denoising loss on given images.

For images x_1 … x_n and a noisy y = s x + r e, the guess with the least expected squared error is the mean of the x_i
weighted by exp(-|y - s x_i|^2 / (2 r^2)) (Vincent, 2011; Karras et al., 2022, eq. 57). Nothing is trained. Sampled to
the end, the weights gather on one image, so that what is drawn is a training image: an audit that does not say so is
broken.

Law: every sample is, up to rounding, one of the images that were given, or the mean of several that are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.models.diffusion import SAMPLING_STEPS, Denoiser, mixture
from countermark.audit.models.networks import Tensor
from countermark.audit.models.training import centered, check_images
from countermark.errors import require


class AnalyticModel(Denoiser):
    """The exact denoiser of images (n, h, w, c) of bytes; a guess costs one product with all of them.

    Raises:
        InputError: images that cannot be denoised to.
    """

    def __init__(self, name: str, images: NDArray[np.uint8], steps: int = SAMPLING_STEPS) -> None:
        check_images(images, None, 0)
        shape = (images.shape[1], images.shape[2], images.shape[3])
        super().__init__(name, shape, self._weighted_mean, steps=steps)
        self.images, self._clean = images, centered(images)
        self._squares = self._clean.square().sum(dim=1)

    def config(self) -> dict[str, Any]:
        """Return what ``config.json`` holds beside kind and shape."""
        return {"steps": self.steps}

    def _weighted_mean(self, noisy: Tensor, times: Tensor, _labels: Tensor | None) -> Tensor:
        torch = require("torch", "train")
        signal, spread = mixture(float(times[0]))  # DDIM and the loss ask for one time at once
        closeness = signal * noisy @ self._clean.T - 0.5 * signal**2 * self._squares
        return torch.softmax(closeness / max(spread, 1e-6) ** 2, dim=1) @ self._clean
