"""A classifier of the adversary's own, and steps in the picture against it.

The adversary has pictures marked under one key and pictures that are not marked, as many as it likes, and no detector.
It learns to tell them apart and changes a picture until its own classifier calls it unmarked, hoping that the detector
does too (An et al.: WAVES, 2024, section 3; Saberi et al.: Robustness of AI-image detectors, 2024).

The classifier is linear in the logarithms of the power of all waves in a band, which do not depend on where a picture
was cropped: of a mark in the spectrum it needs to see far fewer pictures than a network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError
from countermark.marking.adversaries.residual import (
    Pixels,
    Plane,
    at_psnr,
    changed,
    fold,
    in_band,
    prominence,
    split,
    tiled,
)

_STEPS = 20
# A wave counts if its mean power differs between the kinds by so many standard errors.
_TELLING = 3.0

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A trained classifier.

    Attributes:
        weights: (pitch, pitch) of the waves of all multiples of ``1 / pitch`` cycles per pixel.
        bias: added to the weighted sum; above 0 a picture is called marked.
    """

    weights: Plane
    bias: float

    @classmethod
    def train(cls, marked: Sequence[Pixels], unmarked: Sequence[Pixels], *, pitch: int = 1024) -> Surrogate:
        """Learn from pictures of both kinds.

        Raises:
            InputError: none of one kind, or a pitch that is not above 0.
        """
        if not marked or not unmarked:
            raise InputError("a classifier needs pictures of both kinds")
        band = in_band(pitch)
        features = np.stack([_features(_spectrum(each, pitch))[band] for each in (*marked, *unmarked)])
        labels = np.repeat((1.0, -1.0), (len(marked), len(unmarked)))
        means = [part.mean(axis=0) for part in (features[: len(marked)], features[len(marked) :])]
        middle, telling = (means[0] + means[1]) / 2, _telling(means[0] - means[1], features)
        found = np.zeros(len(middle))
        found[telling] = _ridge((features - middle)[:, telling], labels)
        weights = np.zeros((pitch, pitch))
        weights[band] = found
        return cls(weights, -float(found @ middle))

    def score(self, image: Pixels) -> float:
        """Return how marked a picture looks: about 1 for marked ones, -1 for others, over the training pictures."""
        return float((self.weights * _features(_spectrum(image, len(self.weights)))).sum() + self.bias)

    def evade(self, image: Pixels, *, psnr_db: float = 36.0) -> Pixels:
        """Walk downhill to where the classifier sees no mark, as far as a PSNR of ``psnr_db`` allows before rounding.

        Raises:
            InputError: a PSNR that is not above 0.
        """
        leveled, activity = split(image)
        change = np.zeros_like(leveled)
        for _ in range(_STEPS):
            spectrum = np.fft.fft2(fold(leveled + change / activity, len(self.weights)))
            power = np.abs(spectrum) ** 2
            # The logarithm of a wave's power rises along the wave itself, the faster the weaker it is.
            slope = np.fft.ifft2(self.weights * spectrum / (power + 0.1 * power.mean() + 1e-12)).real
            change -= at_psnr(tiled(slope, leveled.shape) * activity, psnr_db) / _STEPS
        return changed(image, at_psnr(change, psnr_db))


def _spectrum(image: Pixels, pitch: int) -> NDArray[np.complex128]:
    return np.asarray(np.fft.fft2(fold(split(image)[0], pitch)))


def _features(spectrum: NDArray[np.complex128]) -> Singles:
    return np.log(prominence(spectrum) + 0.1).astype(np.float32)


def _telling(difference: Singles, features: Singles) -> NDArray[np.bool_]:
    """Say which features differ between the kinds by more than chance, or all if none does."""
    error = features.std(axis=0) * 2 / np.sqrt(len(features))
    telling = np.asarray(np.abs(difference) > _TELLING * error)
    return telling if telling.any() else ~telling


def _ridge(features: Singles, labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of a linear classifier, from far fewer pictures (n, d) than features; heavily damped."""
    products = (features @ features.T).astype(np.float64)
    damping = products.trace() / len(products) + 1e-9
    return np.asarray(np.linalg.solve(products + damping * np.eye(len(products)), labels) @ features)
