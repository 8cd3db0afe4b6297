"""Levels and colors changed, every pixel by itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from countermark.marking.attacks.pixels import Pixels, gray, to_bytes, within


def brightness(image: Pixels, factor: float) -> Pixels:
    """Multiply all levels by ``factor``, 0 to 10, and clip."""
    return to_bytes(image * within(factor, 0, 10))


def contrast(image: Pixels, factor: float) -> Pixels:
    """Multiply the distance of all levels from the picture's mean luma by ``factor``, 0 to 10, and clip."""
    middle = gray(image).mean()
    return to_bytes(middle + within(factor, 0, 10) * (image - middle))


def gamma(image: Pixels, exponent: float) -> Pixels:
    """Raise all levels, taken as 0 to 1, to ``exponent``, 0.1 to 10: below 1 is lighter."""
    levels = 255 * (np.arange(256) / 255) ** within(exponent, 0.1, 10)
    return to_bytes(levels)[image]


def saturation(image: Pixels, factor: float) -> Pixels:
    """Multiply the distance of every pixel from its gray by ``factor``, 0 to 10, and clip."""
    plain = gray(image)
    return to_bytes(plain + within(factor, 0, 10) * (image - plain))


def grayscale(image: Pixels) -> Pixels:
    """Replace colors by their luma."""
    return saturation(image, 0)


def hue(image: Pixels, turn: float) -> Pixels:
    """Move hues by ``turn``, -1 to 1 of the color circle, with saturation and value of HSV kept."""
    value, chroma = image.max(axis=2).astype(np.float64), np.ptp(image, axis=2).astype(np.float64)
    sixths = _hue(image.astype(np.float64), value, chroma) + 6 * within(turn, -1, 1)
    # In HSV each channel is the value, less the chroma by how far its own hue is away, between one and two sixths.
    away = [(sixths + start) % 6 for start in (5, 3, 1)]
    return to_bytes(np.stack([value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1) for k in away], axis=2))


def _hue(image: NDArray[np.float64], value: NDArray[np.float64], chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return hues in sixths of the circle, red at 0; grays have 0."""
    red, green, blue = np.moveaxis(image, 2, 0)
    spread = np.where(chroma > 0, chroma, 1)
    from_red, from_green, from_blue = (green - blue) / spread, (blue - red) / spread + 2, (red - green) / spread + 4
    hues = np.where(value == red, from_red, np.where(value == green, from_green, from_blue))
    return np.asarray(np.where(chroma > 0, hues, 0.0))
