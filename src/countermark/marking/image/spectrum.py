"""Pictures as the detector sees them: luma, leveled residual, and spectra on the lattice of a square tile.

Transforms here are unitary (``NORM``). numpy computes those of single precision in single precision; with its default
norm it turns to double precision on the way there, which costs seven times as much.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
NORM: Final = "ortho"

# Rec. 601 luma, which JPEG and WebP code apart from colour.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Expectation of the logarithm of a unit exponential variable is minus Euler's constant.
_EULER = np.float32(0.5772)


def luma(image: NDArray[np.uint8]) -> Plane:
    """Return the luma plane (H, W), 0 to 255, of an (H, W, 3) or (H, W) picture."""
    if image.ndim == 2:
        return image.astype(np.float32)
    red, green, blue = (image[..., i] * weight for i, weight in enumerate(LUMA))
    return np.asarray(red + green + blue, dtype=np.float32)


def leveled(plane: Plane) -> Plane:
    """Take away the local mean and divide by local activity, so that parts count by their reliability."""
    rest = plane - box(plane, 6)
    return np.asarray(rest / (box(np.abs(rest), 8) + np.float32(2.0)))


def box(plane: Plane, radius: int) -> Plane:
    """Return the mean over squares of ``2 radius + 1`` pixels, edges repeated."""
    width = 2 * radius + 1
    padded = np.pad(plane, radius, mode="edge")
    sums = _running_sums(_running_sums(padded, width).T, width).T
    return np.asarray(sums * np.float32(1 / width**2))


def reduced(plane: Plane, factor: int) -> Plane:
    """Average squares of ``factor`` pixels a side; what does not fill a square is left out."""
    if factor == 1:
        return plane
    height, width = (size // factor for size in plane.shape)
    squares = plane[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.asarray(squares.mean(axis=(1, 3)), dtype=np.float32)


def forward(plane: Plane, side: int, reach: int) -> NDArray[np.complex64]:
    """Return the low part of a plane's unitary Fourier transform, the plane folded into a square first.

    Args:
        plane: (H, W); what is beyond ``side`` pixels is added to what is before.
        side: of the square; the frequency k stands for ``k / side`` cycles per pixel.
        reach: frequencies x from 0 to ``reach - 1`` and y from ``-reach`` to ``reach - 1`` are computed.

    Returns:
        (2 reach, reach), row ``y + reach``, column ``x``.
    """
    rows = np.fft.rfft(_folded(plane, side), n=side, axis=1, norm=NORM)[:, :reach]
    values = np.fft.fft(rows, n=side, axis=0, norm=NORM)
    return np.concatenate((values[-reach:], values[:reach]))


def backward(values: NDArray[np.complex64], side: int, height: int, width: int) -> Plane:
    """Return the part (height, width), at most ``side`` each, of the real square whose low spectrum is given.

    The inverse of ``forward`` for a square that has no other frequencies.
    """
    reach = values.shape[1]
    columns = np.zeros((side, reach), dtype=np.complex64)
    columns[-reach:], columns[:reach] = values[:reach], values[reach:]
    rows = np.fft.ifft(columns, axis=0, norm=NORM)[:height]
    return np.asarray(np.fft.irfft(rows, n=side, axis=1, norm=NORM)[:, :width])


def waves(lines: NDArray[np.intp], values: NDArray[np.complex64], side: int, height: int, width: int) -> Plane:
    """Return the real waves of ``values`` at (n, 2) lines x >= 0 of a square, added up, over (height, width) pixels.

    The square repeats beyond ``side`` pixels. A value of size 1 gives a wave of amplitude ``2 / side``.
    """
    reach = int(np.abs(lines).max()) + 1
    spectrum = np.zeros((2 * reach, reach), dtype=np.complex64)
    spectrum[lines[:, 1] + reach, lines[:, 0]] = values
    # Of frequencies x = 0 the transform wants both of a conjugate pair.
    spectrum[1:, 0] += spectrum[:0:-1, 0].conj()
    square = backward(spectrum, side, min(height, side), min(width, side))
    if max(height, width) <= side:
        return square
    return square[np.ix_(np.arange(height) % side, np.arange(width) % side)]


def local_mean(power: Plane, radius: int) -> Plane:
    """Return the mean power in squares around each point, taken of logarithms, as lone lines barely lift it."""
    logs = np.log(power + np.float32(1e-6) * power.mean() + np.float32(1e-12))
    return np.asarray(np.exp(box(logs, radius) + _EULER), dtype=np.float32)


def _folded(plane: Plane, side: int) -> Plane:
    if max(plane.shape) <= side:
        return plane
    folded = np.zeros((side, side), dtype=np.float32)
    for top in range(0, plane.shape[0], side):
        for left in range(0, plane.shape[1], side):
            part = plane[top : top + side, left : left + side]
            folded[: part.shape[0], : part.shape[1]] += part
    return folded


def _running_sums(plane: Plane, width: int) -> Plane:
    """Return the sums of ``width`` rows from each row on, by doubling: sums of 1, 2, 4, ... rows, added up."""
    count = len(plane) - width + 1
    total, power, start, size = np.zeros((count, plane.shape[1]), dtype=np.float32), plane, 0, 1
    while size <= width:
        if width & size:
            total += power[start : start + count]
            start += size
        power = power[:-size] + power[size:]
        size *= 2
    return total
