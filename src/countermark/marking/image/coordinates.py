"""The coordinates in which the noise mark's signs stand: cosine transforms of a latent's planes, ordered by frequency.

The turn is orthonormal, so plain noise stays plain noise. What compression, blur and inversion do to a latent, they do
by frequency, and to differences of color before they do it to grey: in these coordinates signs that survive stand apart
from those that are lost.

Laws:
    ``latent_of(coefficients(x), x.shape)`` is ``x``, and both have the same sum of squares, up to rounding.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.errors import InputError

Floats = NDArray[np.float64]


def coefficients(latent: ArrayLike) -> NDArray[np.float32]:
    """Return a latent in the coordinates of the signs, from what survives best to what is lost first.

    Args:
        latent: shape (..., height, width), one latent.

    Raises:
        InputError: fewer than two axes.
    """
    planes = np.asarray(latent, dtype=np.float64)
    if planes.ndim < 2:
        raise InputError("a latent has at least two axes, height and width")
    planes = planes.reshape(-1, *planes.shape[-2:])
    rows, columns = _cosines(planes.shape[1]), _cosines(planes.shape[2])
    turned = np.tensordot(_colors(len(planes)), rows @ planes @ columns.T, axes=1)
    ordered: NDArray[np.float32] = turned.ravel()[_order(*planes.shape)].astype(np.float32)
    return ordered


def latent_of(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the latent of ``shape`` that has these coefficients: the inverse of ``coefficients``."""
    height, width = shape[-2:]
    turned = np.empty(values.size)
    turned[_order(values.size // (height * width), height, width)] = values
    planes = np.tensordot(_colors(values.size // (height * width)).T, turned.reshape(-1, height, width), axes=1)
    latent: NDArray[np.float32] = (_cosines(height).T @ planes @ _cosines(width)).reshape(shape).astype(np.float32)
    return latent


def _colors(channels: int) -> Floats:
    """Return the turn of the channels: of three, which are colors, the first becomes grey."""
    return _cosines(3) if channels == 3 else np.eye(channels)


@functools.lru_cache(maxsize=8)
def _order(channels: int, height: int, width: int) -> NDArray[np.intp]:
    """Return the order of coefficients: by frequency, differences of color as if at three times theirs."""
    down, across = np.arange(height)[:, None] * width, np.arange(width) * height
    frequency = np.broadcast_to(down**2 + across**2, (channels, height, width)).copy()
    if channels == 3:
        frequency[1:] *= 9
    return np.argsort(frequency.ravel(), kind="stable")


@functools.lru_cache(maxsize=8)
def _cosines(side: int) -> Floats:
    """Return the orthonormal matrix of the cosine transform of ``side`` values."""
    at = np.arange(side)
    matrix = np.cos(np.pi / side * np.outer(at, at + 0.5)) * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix
