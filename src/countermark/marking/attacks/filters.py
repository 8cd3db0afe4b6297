"""Neighborhoods mixed: blur, sharpening, denoising; and the noise that they take away."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from countermark.errors import require
from countermark.marking.attacks.pixels import Pixels, picture, to_bytes, within

_NOISE_SEED = 20250101
# Sides in pixels of the patches that non-local means compares, and of the square that it looks through.
_PATCH, _SEARCH = 5, 13
# A patch that counts less than this is left out, which keeps the many unlike ones from adding up.
_LEAST_WEIGHT = 1e-3
_BAND = 128
# Where CIELAB's cube root gives way to a line, and the slope of that.
_KNEE, _SLOPE = (6 / 29) ** 3, (29 / 6) ** 2 / 3
# Linear RGB to CIE XYZ over the white of D65 (IEC 61966-2-1).
_XYZ = np.array([[0.433953, 0.376219, 0.189828], [0.212671, 0.715160, 0.072169], [0.017758, 0.109477, 0.872766]])

Floats = NDArray[np.float32]


def blur(image: Pixels, sigma: float) -> Pixels:
    """Blur by a Gaussian of ``sigma`` pixels, 0.01 to 20."""
    return to_bytes(_blurred(image, within(sigma, 0.01, 20)))


def sharpen(image: Pixels, amount: float, sigma: float = 1.0) -> Pixels:
    """Add ``amount``, 0 to 5, times what a Gaussian blur of ``sigma`` pixels, 0.01 to 20, takes away (unsharp mask)."""
    return to_bytes(image + within(amount, 0, 5) * (image - _blurred(image, within(sigma, 0.01, 20))))


def noise(image: Pixels, sigma: float) -> Pixels:
    """Add Gaussian noise of ``sigma`` levels, 0 to 255, independent in the three channels; always the same noise."""
    generator = np.random.Generator(np.random.PCG64(_NOISE_SEED))
    return to_bytes(image + generator.normal(0.0, within(sigma, 0, 255), image.shape))


def median(image: Pixels, side: float) -> Pixels:
    """Replace each level by the median of the square of ``side`` pixels, 1 to 9 and odd, around it."""
    size = 2 * (round(within(side, 1, 9)) // 2) + 1
    if size == 1:  # Pillow 12 divides by zero here, and takes the process with it
        return image.copy()
    return np.array(picture(image).filter(require("PIL.ImageFilter", "image").MedianFilter(size)))


def nlmeans(image: Pixels, strength: float) -> Pixels:
    """Denoise by non-local means of ``strength`` levels, 1 to 50: lightness, and the two colors of CIELAB together.

    Each pixel becomes the mean of those in a square of 13 pixels around it, weighted by how alike the squares of 5
    pixels about them are (Buades, Coll, Morel: A non-local algorithm for image denoising, 2005; in the form that
    OpenCV gave it, RGB taken as linear).
    """
    lab = np.rint(_to_lab(image))
    within(strength, 1, 50)
    calm = [_nlmeans(lab[..., part], strength) for part in (slice(0, 1), slice(1, 3))]
    return to_bytes(_from_lab(np.rint(np.concatenate(calm, axis=2))))


def _blurred(image: Pixels, sigma: float) -> NDArray[np.float64]:
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    plane = image.astype(np.float64)
    for axis in (0, 1):
        padding = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        padded = np.pad(plane, padding, mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis)
        plane = views @ (kernel / kernel.sum())
    return plane


def _nlmeans(planes: Floats, strength: float) -> Floats:
    """Denoise planes (H, W, C) together, in bands of rows that fit a processor's cache."""
    margin = _SEARCH // 2 + _PATCH // 2
    padded = np.pad(planes, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    bands = (padded[top : top + _BAND + 2 * margin] for top in range(0, len(planes), _BAND))
    return np.concatenate([_band_means(np.moveaxis(band, 2, 0), strength) for band in bands], axis=1).transpose(1, 2, 0)


def _band_means(planes: Floats, strength: float) -> Floats:
    """Denoise planes (C, H, W) but for the margin that they come with. The weight of a pair of pixels serves both."""
    reach, patch = _SEARCH // 2, _PATCH // 2
    core = np.ascontiguousarray(planes[:, patch:-patch, patch:-patch])
    total, weights = core.copy(), np.ones(core.shape[1:], dtype=np.float32)
    scale = np.float32(-1 / (_PATCH**2 * len(planes) * strength**2))
    for down in range(reach + 1):
        for right in range(-reach if down else 1, reach + 1):
            here, there = _pair(core.shape, down, right), _pair(core.shape, -down, -right)
            far, near = _pair(planes.shape, down, right), _pair(planes.shape, -down, -right)
            alike = np.exp(scale * _patch_sums(((planes[:, *far] - planes[:, *near]) ** 2).sum(axis=0)))
            alike[alike < _LEAST_WEIGHT] = 0
            weights[here] += alike
            weights[there] += alike
            total[:, *here] += alike * core[:, *there]
            total[:, *there] += alike * core[:, *here]
    return (total / weights)[:, reach:-reach, reach:-reach]


def _pair(shape: tuple[int, ...], down: int, right: int) -> tuple[slice, slice]:
    """Return where a pixel can be whose partner is ``down`` and ``right`` of it."""
    rows, columns = (
        slice(max(0, -move), size - max(0, move)) for move, size in zip((down, right), shape[1:], strict=True)
    )
    return rows, columns


def _patch_sums(plane: Floats) -> Floats:
    """Return the sums over squares of 5 pixels that lie in the plane: two, then four, then five of a row."""
    for _ in range(2):
        two = plane[1:] + plane[:-1]
        plane = (two[2:-1] + two[:-3] + plane[4:]).T
    return plane


def _to_lab(image: Pixels) -> Floats:
    """Return CIELAB (CIE 15), 0 to 255 each: lightness stretched, the colors moved by 128."""
    ratios = (image / 255.0) @ _XYZ.T
    roots = np.where(ratios > _KNEE, np.cbrt(ratios), ratios * _SLOPE + 16 / 116)
    x, y, z = np.moveaxis(roots, 2, 0)
    return np.stack(((116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128), axis=2).astype(np.float32)


def _from_lab(lab: Floats) -> NDArray[np.float64]:
    """Return levels of RGB, which may lie outside 0 to 255."""
    light, a, b = np.moveaxis(lab.astype(np.float64), 2, 0)
    y = (light / 2.55 + 16) / 116
    roots = np.stack((y + (a - 128) / 500, y, y - (b - 128) / 200), axis=2)
    ratios = np.where(roots**3 > _KNEE, roots**3, (roots - 16 / 116) / _SLOPE)
    return np.asarray(255 * ratios @ np.linalg.inv(_XYZ).T)
