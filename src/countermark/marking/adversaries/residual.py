"""What an adversary looks at: the detail of a picture, made equally strong everywhere, and its spectrum.

An additive mark follows local activity, so dividing by activity makes it even, and takes from the picture's own detail
the say that loud parts would have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]

# Radius in pixels of the mean that detail is measured against: keeps waves of up to some 20 pixels.
RADIUS = 6
# Waves between these frequencies, in cycles per pixel, are suspected: slower ones show, faster ones die in compression.
BAND = (0.04, 0.35)
_LUMA = (0.299, 0.587, 0.114)
# Activity that even the flattest part is credited with, in levels.
_QUIET = 2.0
# The local floor of a spectrum is a mean over squares of this many lines to each side.
_AROUND = 8


def split(image: Pixels) -> tuple[Plane, Plane]:
    """Return the leveled detail and the activity of a picture's luma, (H, W) each: their product is the detail."""
    luma = image @ np.array(_LUMA)
    detail = luma - box(luma, RADIUS)
    activity = box(np.abs(detail), RADIUS + 2) + _QUIET
    return detail / activity, activity


def fold(plane: Plane, pitch: int) -> Plane:
    """Return the sum of a plane's tiles of ``pitch`` pixels a side; what is missing of the last ones counts as 0.

    The transform of the result is that of the plane at all multiples of ``1 / pitch`` cycles per pixel.

    Raises:
        InputError: the pitch is not above 0.
    """
    if pitch < 1:
        raise InputError("{value} is not above 0", value=pitch)
    height, width = plane.shape
    rows, columns = -(-height // pitch), -(-width // pitch)
    whole = np.zeros((rows * pitch, columns * pitch))
    whole[:height, :width] = plane
    return np.asarray(whole.reshape(rows, pitch, columns, pitch).sum(axis=(0, 2)))


def tiled(tile: Plane, shape: tuple[int, ...]) -> Plane:
    """Return a plane of ``shape`` laid out with a tile from the upper left corner."""
    copies = [-(-side // size) for side, size in zip(shape, tile.shape, strict=True)]
    return np.tile(tile, copies)[: shape[0], : shape[1]]


def amplitudes(plane: Plane, frequencies: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the complex amplitudes (n,) of the waves of ``frequencies`` (n, 2), as (x, y) in cycles per pixel."""
    across, down = _turns(frequencies, plane.shape)
    return np.asarray(np.einsum("kx,kx->k", down.conj() @ plane, across.conj()) * (2 / plane.size))


def waves(amplitudes: NDArray[np.complex128], frequencies: NDArray[np.float64], shape: tuple[int, ...]) -> Plane:
    """Return the plane of ``shape`` that is the sum of waves; its inverse, but for overlaps, is ``amplitudes``."""
    across, down = _turns(frequencies, shape)
    return np.asarray(((down * amplitudes[:, None]).T @ across).real)


def _turns(frequencies: NDArray[np.float64], shape: tuple[int, ...]) -> list[NDArray[np.complex128]]:
    return [np.exp(2j * np.pi * np.outer(frequencies[:, i], np.arange(shape[1 - i]))) for i in (0, 1)]


def prominence(spectrum: NDArray[np.complex128]) -> Plane:
    """Return the power of each line over the mean power around it: 1 on average where nothing stands out."""
    power = np.abs(spectrum) ** 2
    around = box(np.pad(power, _AROUND, mode="wrap"), _AROUND)[_AROUND:-_AROUND, _AROUND:-_AROUND]
    return np.asarray(power / (around + 1e-12))


def in_band(pitch: int) -> NDArray[np.bool_]:
    """Say which multiples of ``1 / pitch`` cycles per pixel are in ``BAND``: (pitch, pitch), one of each pair."""
    each = np.fft.fftfreq(pitch)
    radius = np.hypot(each[:, None], each)
    half = (each > 0) | ((each == 0) & (each[:, None] > 0))
    return np.asarray((radius > BAND[0]) & (radius < BAND[1]) & half)


def changed(image: Pixels, change: Plane) -> Pixels:
    """Add a change of luma, in levels, to a picture: the same to all three channels."""
    return np.asarray(np.clip(np.rint(image + change[..., None]), 0, 255), dtype=np.uint8)


def at_psnr(change: Plane, psnr_db: float) -> Plane:
    """Scale a change of luma so that the changed picture has a PSNR of ``psnr_db``, above 0, before rounding.

    Raises:
        InputError: the PSNR is not above 0.
    """
    if not psnr_db > 0:
        raise InputError("{value} is not above 0", value=psnr_db)
    size = float(np.sqrt(np.mean(change**2)))
    return change * (255 * 10 ** (-psnr_db / 20) / size) if size else change


def box(plane: NDArray[Any], radius: int) -> Plane:
    """Return the mean over squares of ``2 radius + 1`` pixels, edges repeated."""
    for _ in range(2):
        padded = np.pad(plane, ((radius + 1, radius), (0, 0)), mode="edge").cumsum(axis=0, dtype=np.float64)
        plane = ((padded[2 * radius + 1 :] - padded[: -2 * radius - 1]) / (2 * radius + 1)).T
    return np.asarray(plane)
