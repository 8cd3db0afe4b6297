"""Removal without the key: take away what many marked pictures share, or what stands out in the spectrum of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError
from countermark.marking.adversaries.repetition import lattice, repetition
from countermark.marking.adversaries.residual import (
    Pixels,
    Plane,
    amplitudes,
    changed,
    fold,
    in_band,
    prominence,
    split,
    tiled,
    waves,
)


def mean_detail(pictures: Sequence[Pixels], *, pitch: int | None = None) -> Plane:
    """Estimate the mark that pictures share: the mean of their leveled details, laid upon each other at the top left.

    Args:
        pictures: what the adversary was given under one grant.
        pitch: side in pixels of the mark's tile, if it has one and the adversary knows it: every picture is folded.

    Returns:
        (pitch, pitch), or as large as the longest side among the pictures.

    Raises:
        InputError: no pictures, or a pitch that is not above 0.
    """
    if not pictures:
        raise InputError("averaging needs pictures")
    side = max(max(each.shape[:2]) for each in pictures) if pitch is None else pitch
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for each in pictures:
        leveled = split(each)[0]
        total += fold(leveled, side)
        count += fold(np.ones_like(leveled), side)
    spectrum = np.where(in_band(side), np.fft.fft2(total / count.clip(1)), 0)
    return np.asarray(2 * np.fft.ifft2(spectrum).real)


def average_removal(mark: Plane, target: Pixels, *, gain: float = 1.0) -> Pixels:
    """Take an estimated ``mark`` (see ``mean_detail``) from ``target``, to where the two no longer correlate.

    Averaging is the attack of Cox, Kilian, Leighton, Shamoon (Secure spread spectrum watermarking for multimedia,
    1997) turned against the mark instead of the code.

    Args:
        mark: side by side, repeated as far as the target reaches.
        target: the picture to be cleaned.
        gain: 1 takes away all the correlation; more overshoots.
    """
    leveled, activity = split(target)
    common = tiled(mark, leveled.shape)
    share = float((leveled * common).sum() / ((common**2).sum() + 1e-12))
    return changed(target, -gain * share * common * activity)


def alike(pictures: Sequence[Pixels], target: Pixels, keep: int) -> list[Pixels]:
    """Return the ``keep`` pictures whose leveled detail correlates most with the target's, the likeliest first.

    Where a grant's pictures carry different marks, these are the most likely to carry the target's.
    """
    own = split(target)[0]

    def cosine(picture: Pixels) -> float:
        height, width = (min(sides) for sides in zip(picture.shape[:2], own.shape, strict=True))
        theirs, ours = split(picture[:height, :width])[0], own[:height, :width]
        return float((theirs * ours).sum() / np.sqrt((theirs**2).sum() * (ours**2).sum() + 1e-12))

    return sorted(pictures, key=cosine, reverse=True)[:keep]


def standing_lines(pictures: Sequence[Pixels], *, pitch: int = 1024, count: int = 100) -> NDArray[np.float64]:
    """Return the waves that stand out most in the mean power spectrum of pictures: (n, 2) as (x, y).

    Phases do not matter, so the pictures may be cropped, and their marks may differ in all but the frequencies in use.

    Args:
        pictures: as in ``mean_detail``; with one alone, the notch filter's own search.
        pitch: waves of all multiples of ``1 / pitch`` cycles per pixel are looked at.
        count: how many are returned, at most.

    Raises:
        InputError: no pictures, or a pitch that is not above 0.
    """
    if not pictures:
        raise InputError("averaging needs pictures")
    standing = sum(prominence(np.fft.fft2(fold(split(each)[0], pitch))) for each in pictures)
    return _strongest(np.where(in_band(pitch), standing, 0), count)


def line_removal(frequencies: NDArray[np.float64], target: Pixels) -> Pixels:
    """Take waves of ``frequencies`` (n, 2), as (x, y) in cycles per pixel, out of a picture's leveled detail.

    The template removal of Herrigel, Voloshynovskiy, Rytsar (The watermark template attack, 2001).
    """
    leveled, activity = split(target)
    rest = leveled
    for _ in range(2):  # neighboring waves are not quite orthogonal over a picture
        rest = rest - waves(amplitudes(rest, frequencies), frequencies, rest.shape)
    return changed(target, (rest - leveled) * activity)


def notch(image: Pixels) -> Pixels:
    """Find the tile that repeats in one picture, and take away every wave of its lattice.

    From a picture in which nothing repeats, the hundred waves are taken that stand out most.
    """
    lags = repetition(split(image)[0])
    return line_removal(standing_lines([image]) if lags is None else lattice(lags), image)


def _strongest(standing: Plane, count: int) -> NDArray[np.float64]:
    """Return the frequencies of the highest peaks of a spectrum, at most ``count``: (n, 2) as (x, y)."""
    around = standing
    for axis in (0, 1):
        around = np.maximum(around, np.maximum(np.roll(around, 1, axis), np.roll(around, -1, axis)))
    y, x = np.nonzero((standing == around) & (standing > 0))
    highest = np.argsort(-standing[y, x], kind="stable")[:count]
    y, x = y[highest], x[highest]
    each = np.fft.fftfreq(len(standing))
    return np.stack((each[x], each[y]), axis=1)
