"""Samples as a file stores them, and the 8-bit picture that a viewer shows of them on white.

Marks are computed on what is seen and put into what is stored. Stored are 8 or 16 bits per sample, grey or RGB, with
an alpha channel or one colour that counts as transparent (PNG's tRNS, the *key*) or neither. 16 bits are seen rounded
to 8, as the PNG specification asks (third edition, section 13.12), and grey as three equal channels.

Laws, for samples ``s``, ``v = view(s, key)``, any ``w`` of v's shape (equal channels for grey) and
``t = moved(s, key, v, w)``:
    ``moved(s, key, v, v)`` equals ``s``, in all 16 bits;
    ``view(t, key)`` equals ``w`` wherever s is opaque and t does not take the key's colour: there it is one level off;
    alpha, and what stands where nothing is seen (alpha 0, the key's colour), are in ``t`` as they are in ``s``;
    the same pixels are transparent in ``t`` as in ``s``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
#: (H, W, channels) uint8 or uint16: grey, grey and alpha, RGB, or RGB and alpha.
Samples = NDArray[Any]
#: The colour that counts as transparent, one sample per channel.
Key = tuple[int, ...] | None

# Work goes by bands of about this many pixels, so that large pictures need little beside themselves.
_BAND = 2**20
# Rec. 601 luma in 1/65536, rounded like the encoders' own.
_LUMA = np.array([19595, 38470, 7471], dtype=np.int32)


def view(samples: Samples, key: Key = None) -> Pixels:
    """Return what a viewer shows on white: (H, W, 3) uint8."""
    if samples.dtype == np.uint8 and samples.shape[2] == 3 and key is None:
        return samples
    seen = np.empty((*samples.shape[:2], 3), dtype=np.uint8)
    for rows in bands(samples):
        part = samples[rows]
        colors, alpha = to_8_bits(part[..., : _colors(samples)]), _alpha(part, key)
        seen[rows] = colors if alpha is None else _on_white(colors, to_8_bits(alpha))
    return seen


def moved(samples: Samples, key: Key, before: Pixels, after: Pixels) -> Samples:
    """Return a copy of ``samples`` changed as much as ``after`` differs from ``before``, their view, to 16 bits."""
    if before is samples:
        return after
    result, colors = samples.copy(), _colors(samples)
    top = int(np.iinfo(samples.dtype).max)
    for rows in bands(samples):
        old, alpha = samples[rows][..., :colors], _alpha(samples[rows], key)
        change = _levels(after[rows], colors) - _levels(before[rows], colors)
        new = np.clip(old + change * (top // 255), 0, top)
        if key is not None:
            _avoid(new, key, top)
        if alpha is not None:
            new = np.where(alpha == 0, old, new)
        result[rows, :, :colors] = new
    return result


def is_visible(samples: Samples, key: Key = None) -> bool:
    """Whether anything is seen: a mark in a picture that is transparent all over would be no mark."""
    alphas = (_alpha(samples[rows], key) for rows in bands(samples))
    return any(alpha is None or bool(alpha.any()) for alpha in alphas)


def to_8_bits(samples: Samples) -> Pixels:
    """Round 16-bit samples to 8 bits; 8-bit ones are returned as they are."""
    if samples.dtype == np.uint8:
        return samples
    return np.asarray((samples.astype(np.uint32) * 255 + 32895) >> 16, dtype=np.uint8)


def bands(array: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of rows that cover an array of a picture's shape, about a million pixels each."""
    rows = max(1, _BAND // max(1, array.shape[1]))
    for top in range(0, array.shape[0], rows):
        yield slice(top, top + rows)


def _colors(samples: Samples) -> int:
    """Return how many of the channels are colours: grey is one, alpha none."""
    return 1 if samples.shape[2] < 3 else 3


def _alpha(samples: Samples, key: Key) -> Samples | None:
    """Return the opacity of each pixel, (H, W, 1) in the samples' own range, or None where all is opaque."""
    if key is not None:
        shown = (samples != np.array(key, dtype=samples.dtype)).any(axis=2, keepdims=True)
        return np.asarray(shown * np.iinfo(samples.dtype).max, dtype=samples.dtype)
    return samples[..., -1:] if samples.shape[2] in (2, 4) else None


def _on_white(colors: Pixels, alpha: Pixels) -> Pixels:
    opacity = alpha.astype(np.uint32)
    return np.asarray((colors * opacity + 255 * (255 - opacity) + 127) // 255, dtype=np.uint8)


def _levels(pixels: Pixels, colors: int) -> NDArray[np.int32]:
    """Return the colours of a part of a picture, as luma where the samples are grey, (H, W, colors)."""
    if colors == 3:
        return pixels.astype(np.int32)
    return np.asarray((pixels @ _LUMA + 32768) >> 16, dtype=np.int32)[..., np.newaxis]


def _avoid(colors: NDArray[np.int32], key: tuple[int, ...], top: int) -> None:
    """Move by one level, in place, what would take the transparent colour."""
    colors[(colors == np.array(key)).all(axis=2), -1] += 1 if key[-1] < top else -1
