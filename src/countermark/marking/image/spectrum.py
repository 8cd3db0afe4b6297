"""Pictures as the detector sees them: luma, leveled residual, spectrum at arbitrary frequencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

# Rec. 601 luma, which JPEG and WebP code apart from colour.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def luma(image: NDArray[np.uint8]) -> Plane:
    """Return the luma plane (H, W), 0 to 255, of an (H, W, 3) or (H, W) picture."""
    if image.ndim == 2:
        return image.astype(np.float32)
    red, green, blue = (image[..., i] * weight for i, weight in enumerate(LUMA))
    return np.asarray(red + green + blue, dtype=np.float32)


def box(plane: Plane, radius: int) -> Plane:
    """Return the mean over squares of ``2 radius + 1`` pixels, edges repeated."""
    return _slide(_slide(plane, radius).T, radius).T


def _slide(plane: Plane, radius: int) -> Plane:
    width = 2 * radius + 1
    padded = np.pad(plane, ((radius + 1, radius), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    return np.asarray((sums[width:] - sums[:-width]) / width, dtype=np.float32)


def transform(plane: Plane, frequencies: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the discrete-time Fourier transform of ``plane`` at any frequencies, exactly.

    Two matrix products replace resampling the picture: nothing is interpolated and no pixel is left out.

    Args:
        plane: (H, W); its pixel (0, 0) is the origin.
        frequencies: (n, 2) as (x, y) in cycles per pixel.

    Returns:
        (n,) sums of ``plane * exp(-2 pi i f.x)``.
    """
    height, width = plane.shape
    cos_y, sin_y = _waves(frequencies[:, 1], height)
    cos_x, sin_x = _waves(frequencies[:, 0], width)
    cos_rows, sin_rows = np.split(np.concatenate((cos_y, sin_y)) @ plane, 2)
    real = np.einsum("kx,kx->k", cos_rows, cos_x) - np.einsum("kx,kx->k", sin_rows, sin_x)
    imaginary = np.einsum("kx,kx->k", sin_rows, cos_x) + np.einsum("kx,kx->k", cos_rows, sin_x)
    return np.asarray(real - 1j * imaginary, dtype=np.complex128)


def _waves(frequencies: NDArray[np.float64], size: int) -> tuple[Plane, Plane]:
    # Whole turns are taken off in double precision; the rest is precise enough in single.
    turns = np.outer(frequencies, np.arange(size))
    angles = ((turns - np.rint(turns)) * (2 * np.pi)).astype(np.float32)
    return np.cos(angles), np.sin(angles)
