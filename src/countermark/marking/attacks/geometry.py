"""Pixels moved: resized, cut, turned, bent.

Where the frame stays and nothing is left to show in it, the picture turns black.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from countermark.errors import InputError
from countermark.marking.attacks.pixels import Pixels, picture, pillow, resized, within

# Side of the squares, in pixels, in which a bend is taken to be bilinear.
_MESH = 16


def resize(image: Pixels, factor: float) -> Pixels:
    """Resize both sides by ``factor``, 0.05 to 8, with a Lanczos filter, rounding to whole pixels."""
    height, width = image.shape[:2]
    return resized(image, height * within(factor, 0.05, 8), width * factor)


def aspect(image: Pixels, factor: float) -> Pixels:
    """Resize the width alone by ``factor``, 0.2 to 5."""
    height, width = image.shape[:2]
    return resized(image, height, width * within(factor, 0.2, 5))


def long_side(image: Pixels, pixels: float) -> Pixels:
    """Resize so that the longer side has 16 to 16384 ``pixels``."""
    factor = within(pixels, 16, 16384) / max(image.shape[:2])
    height, width = image.shape[:2]
    return resized(image, height * factor, width * factor)


def shift(image: Pixels, pixels: float) -> Pixels:
    """Cut 0 to 1000 ``pixels`` off the top and off the left, as far as one row and one column are left."""
    top, left = (min(round(within(pixels, 0, 1000)), side - 1) for side in image.shape[:2])
    return image[top:, left:].copy()


def crop(image: Pixels, area: float, left: float = 0.6, top: float = 0.6) -> Pixels:
    """Keep the share ``area``, 0.001 to 1, of the picture; both sides shrink alike.

    ``left`` and ``top``, 0 to 1, say how much of what is cut off lies there; a half of each keeps the center.
    """
    rows, columns = _window(image, within(area, 0.001, 1), left, top)
    return image[rows, columns].copy()


def erase(image: Pixels, area: float, left: float = 0.4, top: float = 0.6) -> Pixels:
    """Blacken the share ``area``, 0 to 1, of the picture: a rectangle of its proportions, placed as in ``crop``."""
    erased = image.copy()
    if within(area, 0, 1) > 0:
        erased[_window(image, area, left, top)] = 0
    return erased


def hflip(image: Pixels) -> Pixels:
    """Mirror left and right."""
    return image[:, ::-1].copy()


def turn(image: Pixels, degrees: float) -> Pixels:
    """Turn counterclockwise by a multiple of 90 ``degrees``; the frame turns too and nothing is lost."""
    quarters, rest = divmod(within(degrees, -360, 360), 90)
    if rest:
        raise InputError("{degrees} degrees are no quarter turns", degrees=degrees)
    return np.rot90(image, int(quarters)).copy()


def rotate(image: Pixels, degrees: float) -> Pixels:
    """Turn counterclockwise about the center, bicubic; the frame stays."""
    return np.array(picture(image).rotate(within(degrees, -360, 360), pillow().Resampling.BICUBIC))


def shear(image: Pixels, degrees: float) -> Pixels:
    """Lean uprights by -45 to 45 ``degrees`` about the center, bicubic; the frame stays."""
    slope = math.tan(math.radians(within(degrees, -45, 45)))
    return _mapped(image, pillow().Transform.AFFINE, (1, slope, -slope * (image.shape[0] - 1) / 2, 0, 1, 0))


def perspective(image: Pixels, across: float, down: float = 0.0) -> Pixels:
    """Look at the picture from below and from the right, bicubic; the frame stays.

    The upper corners move inward by the share ``across`` of the width, the left ones by the share ``down`` of the
    height, 0 to 0.4 each.
    """
    height, width = image.shape[:2]
    x, y = within(across, 0, 0.4) * width, within(down, 0, 0.4) * height
    seen = ((x, y), (width - x, 0.0), (width, height), (0.0, height - y))
    return _mapped(
        image, pillow().Transform.PERSPECTIVE, _homography(seen, ((0, 0), (width, 0), (width, height), (0, height)))
    )


def warp(image: Pixels, pixels: float) -> Pixels:
    """Bend the picture: every point moves by up to ``pixels``, 0 to 20, along each axis, in one and a half sine waves.

    After StirMark's bending (Petitcolas, Anderson, Kuhn: Attacks on copyright marking systems, 1998).
    """
    height, width = image.shape[:2]
    margin = math.ceil(within(pixels, 0, 20)) + 1

    def bent(x: int, y: int) -> tuple[float, float]:
        sway, heave = math.sin(3 * math.pi * y / height), math.sin(3 * math.pi * x / width)
        return x + margin + pixels * sway, y + margin + pixels * heave

    mesh = [
        ((left, top, right, bottom), [*bent(left, top), *bent(left, bottom), *bent(right, bottom), *bent(right, top)])
        for top, bottom in pairwise([*range(0, height, _MESH), height])
        for left, right in pairwise([*range(0, width, _MESH), width])
    ]
    around = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    return _mapped(around, pillow().Transform.MESH, mesh, (width, height))


def _window(image: Pixels, area: float, left: float, top: float) -> tuple[slice, slice]:
    side = math.sqrt(area)
    height, width = (max(1, round(length * side)) for length in image.shape[:2])
    y = round(within(top, 0, 1) * (image.shape[0] - height))
    x = round(within(left, 0, 1) * (image.shape[1] - width))
    return slice(y, y + height), slice(x, x + width)


def _mapped(image: Pixels, kind: object, how: object, size: tuple[int, int] | None = None) -> Pixels:
    source = picture(image)
    return np.array(source.transform(size or source.size, kind, how, pillow().Resampling.BICUBIC))


def _homography(seen: tuple[tuple[float, float], ...], origin: tuple[tuple[float, float], ...]) -> tuple[float, ...]:
    """Return the eight numbers that carry four points ``seen`` to where they come from."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(seen, origin, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        wanted += [u, v]
    return tuple(np.linalg.solve(np.array(rows, dtype=np.float64), np.array(wanted, dtype=np.float64)).tolist())
