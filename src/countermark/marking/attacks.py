"""What happens to pictures on their way: named, deterministic attacks on (H, W, 3) uint8 RGB arrays.

An attack is written as a name and, in brackets, its argument: ``jpeg(50)``, ``crop(0.8)``, ``hflip``. Several in a row
are joined by ``+``: ``leak`` stands for ``crop(0.85)+resize(0.75)+jpeg(60)``, a picture trimmed, shrunk and compressed
as on its way through a social network.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require

Pixels = NDArray[np.uint8]

_NOISE_SEED = 20250101
_STEP = re.compile(r"([a-z0-9]+)(?:\((-?[0-9]+(?:\.[0-9]+)?)\))?")


def apply(name: str, image: Pixels) -> Pixels:
    """Return the attacked copy of a picture.

    Raises:
        InputError: an attack that does not exist, or an argument missing, too much or out of range.
        MissingExtra: Pillow is needed and not installed.
    """
    steps = [_parse(part) for part in COMBINED.get(name, name).split("+")]
    for attack, arguments in steps:
        image = attack(image, *arguments)
    return image


def clean(image: Pixels) -> Pixels:
    """Return a copy."""
    return image.copy()


def jpeg(image: Pixels, quality: float) -> Pixels:
    """Compress as JPEG with 4:2:0 chroma, quality 1 to 95."""
    return _recoded(image, "JPEG", quality=round(_within(quality, 1, 95)), subsampling=2)


def webp(image: Pixels, quality: float) -> Pixels:
    """Compress as lossy WebP, quality 1 to 100."""
    return _recoded(image, "WEBP", quality=round(_within(quality, 1, 100)))


def resize(image: Pixels, factor: float) -> Pixels:
    """Resize both sides by ``factor``, 0.05 to 8, with a Lanczos filter, rounding to whole pixels."""
    sides = [max(1, round(side * _within(factor, 0.05, 8))) for side in image.shape[1::-1]]
    return np.asarray(_picture(image).resize(sides, _pillow().Resampling.LANCZOS))


def crop(image: Pixels, area: float) -> Pixels:
    """Keep the share ``area``, above 0 to 1, of the picture: sides shrink alike, three fifths are cut top and left."""
    side = math.sqrt(_within(area, 0.001, 1))
    height, width = (max(1, round(length * side)) for length in image.shape[:2])
    top, left = (round(0.6 * (length - kept)) for length, kept in zip(image.shape, (height, width), strict=False))
    return image[top : top + height, left : left + width].copy()


def rotate(image: Pixels, degrees: float) -> Pixels:
    """Turn counterclockwise about the center, bicubic; the frame stays, corners turn black."""
    return np.asarray(_picture(image).rotate(_within(degrees, -360, 360), _pillow().Resampling.BICUBIC))


def hflip(image: Pixels) -> Pixels:
    """Mirror left and right."""
    return image[:, ::-1].copy()


def brightness(image: Pixels, factor: float) -> Pixels:
    """Multiply all levels by ``factor``, 0 to 10, and clip."""
    return _bytes(image * _within(factor, 0, 10))


def blur(image: Pixels, sigma: float) -> Pixels:
    """Blur by a Gaussian of ``sigma`` pixels, above 0 to 20."""
    reach = math.ceil(3 * _within(sigma, 0.01, 20))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    plane = image.astype(np.float64)
    for axis in (0, 1):
        padding = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        padded = np.pad(plane, padding, mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis)
        plane = views @ (kernel / kernel.sum())
    return _bytes(plane)


def noise(image: Pixels, sigma: float) -> Pixels:
    """Add Gaussian noise of ``sigma`` levels, 0 to 255, independent in the three channels; always the same noise."""
    generator = np.random.Generator(np.random.PCG64(_NOISE_SEED))
    return _bytes(image + generator.normal(0.0, _within(sigma, 0, 255), image.shape))


ATTACKS: dict[str, Callable[..., Pixels]] = {
    attack.__name__: attack for attack in (clean, jpeg, webp, resize, crop, rotate, hflip, brightness, blur, noise)
}
COMBINED = {"leak": "crop(0.85)+resize(0.75)+jpeg(60)"}


def _parse(text: str) -> tuple[Callable[..., Pixels], list[float]]:
    match = _STEP.fullmatch(text.strip())
    attack = ATTACKS.get(match[1]) if match else None
    if match is None or attack is None:
        raise InputError("no such attack: {name}", name=text, hint="Known are: {known}", known=", ".join(ATTACKS))
    wanted = attack.__code__.co_argcount - 1
    if (match[2] is not None) != bool(wanted):
        raise InputError("the attack {name} takes {count} numbers", name=match[1], count=wanted)
    return attack, [float(match[2])] if wanted else []


def _within(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise InputError("{value} is not between {low} and {high}", value=value, low=low, high=high)
    return value


def _pillow() -> Any:
    return require("PIL.Image", "image")


def _picture(image: Pixels) -> Any:
    return _pillow().fromarray(np.ascontiguousarray(image))


def _recoded(image: Pixels, container: str, **options: int) -> Pixels:
    file = io.BytesIO()
    _picture(image).save(file, container, **options)
    with _pillow().open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _bytes(values: NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
