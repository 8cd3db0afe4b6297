"""What every attack needs: bounds of its arguments, pictures of Pillow, levels back to bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require

Pixels = NDArray[np.uint8]

# Rec. 601 luma, the gray that JPEG codes and that picture editors show.
_LUMA = (0.299, 0.587, 0.114)


def within(value: float, low: float, high: float) -> float:
    """Return ``value``.

    Raises:
        InputError: it is not from ``low`` to ``high``.
    """
    if not low <= value <= high:
        raise InputError("{value} is not between {low} and {high}", value=value, low=low, high=high)
    return value


def gray(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return the luma plane (H, W, 1) of a picture (H, W, 3)."""
    return np.asarray(image @ np.array(_LUMA))[..., None]


def to_bytes(values: NDArray[np.floating[Any]]) -> Pixels:
    """Round levels and clip them to 0 to 255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def pillow() -> Any:
    """Return ``PIL.Image``.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    return require("PIL.Image", "image")


def picture(image: Pixels) -> Any:
    """Return pixels as a picture of Pillow."""
    return pillow().fromarray(np.ascontiguousarray(image))


def resized(image: Pixels, height: float, width: float) -> Pixels:
    """Resize with a Lanczos filter to whole pixels, at least one."""
    sides = (max(1, round(width)), max(1, round(height)))
    return np.array(picture(image).resize(sides, pillow().Resampling.LANCZOS))
