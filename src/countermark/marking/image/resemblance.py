"""Which recorded output does a suspect come from? A lead by likeness, not a statistic.

The mark names the grant; the grant may have thousands of outputs. Each output leaves a *sketch*: its luma at a fixed
small scale. A suspect, put upright by the mark's recovered geometry, is slid over every sketch of the grant, and the
one with the highest normalized cross-correlation is named. Nothing is concluded from the value: a report shows it as a
lead.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.marking.image.lattice import magnification
from countermark.marking.image.samples import Pixels

Plane = NDArray[np.float64]

#: Pixels of the output per pixel of its sketch.
SCALE = 16
_MAX_SIDE = 512
# Blocks along the longer side, up to twice as many, that two pictures are compared by; pixels of a band of rows.
_COMPARED, _BAND = 128, 2**20


def sketch(image: Pixels) -> dict[str, Any]:
    """Return a JSON sketch of an (H, W, 3) uint8 image: mean luma of 16x16 blocks, one byte each, base64."""
    part = image[: _MAX_SIDE * SCALE, : _MAX_SIDE * SCALE]
    small = np.rint(_luma(part, SCALE)).astype(np.uint8)
    height, width = small.shape
    return {"height": height, "width": width, "data": base64.b64encode(small.tobytes()).decode()}


def resemblance(suspect: Pixels, geometry: Mapping[str, float | bool], recorded: Mapping[str, Any]) -> float:
    """Return the likeness, -1 to 1, of a suspect (H, W, 3) uint8 and a recorded sketch.

    Args:
        suspect: the picture as found.
        geometry: from the detection: ``scale`` (suspect pixels per pixel of the plain tile), ``rotation_deg``.
        recorded: what ``sketch`` returned for the output.
    """
    plate = np.frombuffer(base64.b64decode(recorded["data"]), np.uint8).astype(np.float64)
    plate = plate.reshape(int(recorded["height"]), int(recorded["width"]))
    # Exact, as magnification steps at multiples of 512 pixels and a sketch counts whole blocks.
    resized = (float(geometry.get("scale", 1.0)) or 1.0) / magnification(SCALE * plate.shape[0], SCALE * plate.shape[1])
    # Large pictures are compared by larger blocks, and blocks sampled no finer than those of a small one.
    coarser = max(1, max(plate.shape) // _COMPARED)
    step = SCALE * coarser * resized
    reduction = max(1, int(step) // SCALE)
    pieces = _upright(_luma(suspect, reduction), float(geometry.get("rotation_deg", 0.0)), step / reduction)
    plate = _reduce(plate, coarser)
    return max(_best_correlation(plate, piece) for piece in pieces)


def _upright(luma: Plane, degrees: float, step: float) -> list[Plane]:
    """Sample a suspect every ``step`` pixels with its rotation undone, in both senses of rotation and mirror."""
    angle = np.deg2rad(degrees)
    blurred = _box(luma, max(1, round(step)))
    height, width = luma.shape
    span = int(np.ceil(np.hypot(height, width) / step))
    pieces = []
    # The sketch's blocks start anywhere on the suspect: half-block shifts keep the overlap of blocks above three
    # quarters.
    for sign, down, right in product((1.0, -1.0), (0.0, 0.5), (0.0, 0.5)):
        rows, columns = np.mgrid[0:span, 0:span] - (span - 1) / 2 + np.array([down, right])[:, None, None]
        y = step * (np.cos(angle) * rows + sign * np.sin(angle) * columns) + (height - 1) / 2
        x = step * (-sign * np.sin(angle) * rows + np.cos(angle) * columns) + (width - 1) / 2
        inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
        values = blurred[np.clip(np.rint(y), 0, height - 1).astype(int), np.clip(np.rint(x), 0, width - 1).astype(int)]
        piece = np.where(inside, values, np.nan)
        pieces += [piece, piece[:, ::-1]]
    return pieces


def _best_correlation(plate: Plane, piece: Plane) -> float:
    """Slide a piece (NaN where unknown) over a plate; return the best normalized correlation over their overlap."""
    known = np.isfinite(piece)
    least = 0.5 * known.sum()
    shape = tuple(a + b - 1 for a, b in zip(plate.shape, piece.shape, strict=True))
    values = np.where(known, piece - np.nanmean(piece), 0.0)
    centered = plate - plate.mean()

    def slide(a: Plane, b: Plane) -> Plane:
        spectrum = np.fft.rfft2(a, shape) * np.fft.rfft2(b[::-1, ::-1], shape)
        return np.asarray(np.fft.irfft2(spectrum, shape))

    mask, ones = known.astype(np.float64), np.ones_like(plate)
    count = np.maximum(slide(ones, mask), 1.0)
    mean_a, mean_b = slide(centered, mask) / count, slide(ones, values) / count
    spread_a = slide(centered**2, mask) / count - mean_a**2
    spread_b = slide(ones, values**2) / count - mean_b**2
    covariance = slide(centered, values) / count - mean_a * mean_b
    likeness = covariance / np.sqrt(np.maximum(spread_a, 1.0) * np.maximum(spread_b, 1.0))
    return float(np.max(np.where(count >= max(least, 4.0), likeness, -1.0)))


def _luma(image: Pixels, factor: int) -> Plane:
    """Return the mean luma of squares of ``factor`` pixels a side, band by band, as large pictures fill memory."""
    height = image.shape[0] // factor * factor or image.shape[0]
    rows = factor * max(1, _BAND // (factor * image.shape[1]))
    weights = np.array([0.299, 0.587, 0.114])
    parts = (image[top : min(top + rows, height), :, :3] for top in range(0, height, rows))
    return np.concatenate([_reduce(part.astype(np.float64) @ weights, factor) for part in parts])


def _reduce(plane: Plane, factor: int) -> Plane:
    height, width = (max(1, side // factor) for side in plane.shape)
    part = plane[: height * factor, : width * factor]
    if part.shape != (height * factor, width * factor):
        return np.asarray(plane.mean(keepdims=True))
    return np.asarray(part.reshape(height, factor, width, factor).mean(axis=(1, 3)))


def _box(plane: Plane, size: int) -> Plane:
    """Return the mean over size x size windows, by a summed-area table; edges use what there is of the window."""
    height, width = plane.shape
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = plane.cumsum(0).cumsum(1)
    top, bottom = _window(height, size)
    left, right = _window(width, size)
    total = (
        table[np.ix_(bottom, right)]
        - table[np.ix_(top, right)]
        - table[np.ix_(bottom, left)]
        + table[np.ix_(top, left)]
    )
    return np.asarray(total / np.outer(bottom - top, right - left))


def _window(length: int, size: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    places = np.arange(length)
    return np.clip(places - size // 2, 0, length), np.clip(places - size // 2 + size, 0, length)
