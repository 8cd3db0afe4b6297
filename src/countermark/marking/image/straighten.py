"""Lay a suspect back onto the frame of its original, as far as a placement knows it: up to whole periods of the tile.

What was cropped away is filled with the mean color. The lattice repeats with its pitch, so a fragment may lie at
several places of the original; each is one candidate, and whoever reads them counts them.

Laws:
    a picture of the frame's own size under the identity comes back alone, and unchanged;
    a crop comes with a candidate in which it lies where it was cut, if it was cut at whole pixels
    and the places are at most ``MAX_CANDIDATES``.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require
from countermark.marking.image.samples import Pixels

Floats = NDArray[np.float64]

#: Candidates at most: those nearest to the frame's middle.
MAX_CANDIDATES = 16
#: How far a fragment may reach over the frame, as a share of its sides: placements are estimates.
_SLACK = 0.02


def straighten(pixels: Pixels, placement: Floats, pitch: float, side: tuple[int, int]) -> list[Pixels]:
    """Return a suspect on every place of the original's frame that it may have come from.

    Args:
        pixels: the suspect, (H, W, 3) uint8.
        placement: (3, 3), takes homogeneous pixel positions (x, y, 1) of the suspect to such of the original, up to
            whole pitches.
        pitch: the tile's period in pixels of the original.
        side: height and width of the original.

    Raises:
        InputError: a placement that has no inverse, or is not finite.
        MissingExtra: Pillow is not installed.
    """
    if not np.isfinite(placement).all() or abs(float(np.linalg.det(placement))) < 1e-12 or pitch <= 0:
        raise InputError("the placement of the picture is malformed")
    low, high = _box(placement, pixels.shape[:2])
    shifts = [_shifts(low[axis], high[axis], pitch, float(side[1 - axis])) for axis in (0, 1)]
    places = sorted(product(*shifts), key=lambda move: _distance(low, high, move, side))
    return [_laid(pixels, _moved(placement, move), side) for move in places[:MAX_CANDIDATES]]


def _box(placement: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the least and the largest x and y that the suspect covers."""
    height, width = shape
    corners = np.array(((0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)), dtype=np.float64) @ placement.T
    corners = corners[:, :2] / corners[:, 2:]
    return corners.min(axis=0), corners.max(axis=0)


def _shifts(low: float, high: float, pitch: float, length: float) -> list[float]:
    """Return the moves by whole pitches that bring an interval into the frame; the best one where none does."""
    slack = _SLACK * length
    first, last = math.ceil((-slack - low) / pitch), math.floor((length + slack - high) / pitch)
    middle = round((length / 2 - (low + high) / 2) / pitch)
    return [k * pitch for k in range(first, last + 1)] or [middle * pitch]


def _distance(low: Floats, high: Floats, move: tuple[float, ...], side: tuple[int, int]) -> float:
    center = (low + high) / 2 + np.array(move)
    return float(np.hypot(center[0] - side[1] / 2, center[1] - side[0] / 2))


def _moved(placement: Floats, move: tuple[float, ...]) -> Floats:
    return np.array(((1.0, 0.0, move[0]), (0.0, 1.0, move[1]), (0.0, 0.0, 1.0))) @ placement


def _laid(pixels: Pixels, placement: Floats, side: tuple[int, int]) -> Pixels:
    """Draw the suspect on a canvas of the original's size."""
    image = require("PIL.Image", "image")
    # Pillow asks where each pixel of the canvas comes from, and both count pixels by their corners.
    back = np.linalg.inv(placement)
    back = back / back[2, 2]
    fill = tuple(int(value) for value in np.rint(pixels.reshape(-1, 3).mean(axis=0)))
    source = image.fromarray(pixels)
    drawn = source.transform(
        side[::-1], image.Transform.PERSPECTIVE, back.ravel()[:8].tolist(), image.Resampling.BICUBIC, fillcolor=fill
    )
    return np.array(drawn)
