"""Photographs for benchmarks of image marks: which of a folder, how large, and how far a copy is from its original."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# Every method marks a picture of this side; invisible-watermark asks for 256 by 256.
SMALLEST = 256
LARGE_PIXELS, SMALL_PIXELS = 350_000, 120_000


def photographs(folders: Sequence[str | Path], *, limit: int = 0, skip: int = 0) -> list[Path]:
    """Return, of each folder and by name, up to ``limit`` pictures after the first ``skip`` (0: no limit).

    Only pictures that every method can mark count; what is left out is said on stderr.
    """
    chosen: list[Path] = []
    for folder in folders:
        usable = [path for path in _pictures(Path(folder)) if _is_usable(path)]
        chosen += usable[skip : skip + limit if limit else None]
    return chosen


def few_of_each_folder(paths: Sequence[Path], limit: int) -> list[Path]:
    """Return the first ``limit`` of each folder."""
    seen: dict[Path, int] = {}
    kept = []
    for path in paths:
        seen[path.parent] = seen.get(path.parent, 0) + 1
        if seen[path.parent] <= limit:
            kept.append(path)
    return kept


def open_picture(path: Path) -> Pixels:
    """Return a picture as RGB bytes (H, W, 3)."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def size_class(image: Pixels) -> str:
    """Return ``large`` from 0.35 megapixel on, ``small`` from 0.12, ``tiny`` below."""
    pixels = image.shape[0] * image.shape[1]
    return "large" if pixels >= LARGE_PIXELS else "small" if pixels >= SMALL_PIXELS else "tiny"


def random_crop(image: Pixels, generator: np.random.Generator, least: int = 192) -> Pixels:
    """Return a crop of random place and sides, each of ``least`` pixels or more where the picture has them."""
    full = image.shape[:2]
    height, width = (int(generator.integers(min(side, least), side + 1)) for side in full)
    top, left = int(generator.integers(0, full[0] - height + 1)), int(generator.integers(0, full[1] - width + 1))
    return image[top : top + height, left : left + width]


def psnr(one: Pixels, other: Pixels) -> float:
    """Return the peak signal-to-noise ratio in decibels over all channels; 99 for equal pictures."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / error) if error else 99.0


def ssim(one: Pixels, other: Pixels) -> float:
    """Return the structural similarity, mean of the channels, with scikit-image's windows."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(one, other, channel_axis=2))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _is_usable(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            usable = min(picture.size) >= SMALLEST
    except (OSError, Image.DecompressionBombError):
        usable = False
    if not usable:
        print(f"left out: {path.name} cannot be read, or has under {SMALLEST} pixels a side", file=sys.stderr)
    return usable
