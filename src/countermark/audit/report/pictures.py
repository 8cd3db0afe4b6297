"""Pictures of a report: enlarged without smoothing, inside the page, and the difference of two.

Laws:
    ``difference(a, a, gain)`` is black; ``difference(a, b, gain) == difference(b, a, gain)``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.errors import CountermarkError, require

Image = NDArray[np.uint8]
#: A picture is stored with at most this many pixels a side; larger ones are averaged down.
_STORED = 256
_GAINS = (1, 2, 4, 8, 16)


class Pictures(Protocol):
    """Where a report takes its pictures from; both return uint8 (h, w, c), c 1 or 3."""

    def sample(self, item: int, /) -> Image:
        """Return an image that the model made, by its number in the audit."""
        ...

    def training(self, nearest: int, /) -> Image:
        """Return a training image by its number in the data set."""
        ...


def fetch(source: Callable[[int], Image] | None, number: int | None) -> Image | None:
    """Return a picture, or None where there is none: a report is drawn also where pictures have gone."""
    if source is None or number is None:
        return None
    try:
        return _picture(np.asarray(source(number)))
    except (LookupError, ValueError, TypeError, OSError, CountermarkError):
        return None


def _picture(image: Image) -> Image | None:
    if image.ndim == 2:
        return _picture(image[:, :, None])
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[2] not in (1, 3) or 0 in image.shape:
        return None
    return image


def difference(one: Image, other: Image, gain: int) -> Image | None:
    """Return the absolute difference of two pictures times ``gain``, clipped at 255; None where the shapes differ."""
    if one.shape != other.shape:
        return None
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
    shown: Image = np.clip(apart * gain, 0, 255).astype(np.uint8)
    return shown


def changed(training: Image, *, mirror: bool, across: int, down: int, gain: float, offset: float) -> Image:
    """Return a training image as a transform has it: mirrored, then moved, then lit; black where nothing was moved to.

    Args:
        training: uint8 (h, w, c).
        mirror: left and right change places.
        across: to the right, in pixels.
        down: likewise.
        gain: of brightness.
        offset: added to it, in units of the full range.
    """
    height, width = training.shape[:2]
    across, down = (int(np.clip(by, -size, size)) for by, size in ((across, width), (down, height)))
    turned = (training[:, ::-1] if mirror else training).astype(np.float64)
    lit = np.clip(np.nan_to_num(turned * gain + 255.0 * offset), 0, 255).round().astype(np.uint8)
    moved = np.zeros_like(training)
    moved[max(down, 0) : height + min(down, 0), max(across, 0) : width + min(across, 0)] = lit[
        max(-down, 0) : height + min(-down, 0), max(-across, 0) : width + min(-across, 0)
    ]
    return moved


def gain_for(rmse: Sequence[float]) -> int:
    """Return one gain for all the differences of a page, such that the largest of them is not washed out.

    One for all, because a gain for each would show a close copy and a stranger equally bright.
    """
    largest = max(rmse, default=1.0)
    return max((gain for gain in _GAINS if gain * largest <= 0.5), default=1)


def picture(image: Image | None, wide: int, words: str) -> str:
    """Return an ``<img>`` that carries its picture, or a frame with the words where there is none.

    Args:
        image: uint8 (h, w, c).
        wide: about how wide it is shown, in CSS pixels; a small picture is enlarged by a whole number.
        words: what it shows, escaped already; read out to who cannot see it.
    """
    if image is None:
        return f'<span class="nopic" role="img" aria-label="{words}">?</span>'
    height, width = image.shape[:2]
    scale = max(1, wide // max(height, width)) if max(height, width) <= wide else wide / max(height, width)
    size = f'width="{max(1, round(width * scale))}" height="{max(1, round(height * scale))}"'
    return f'<img {size} alt="{words}" src="data:image/png;base64,{base64.b64encode(_png(image)).decode()}">'


def _png(image: Image) -> bytes:
    pillow = require("PIL.Image", "image")
    drawn = pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    factor = -(-max(drawn.size) // _STORED)
    out = io.BytesIO()
    (drawn if factor == 1 else drawn.reduce(factor)).save(out, "PNG", optimize=True)
    return out.getvalue()
