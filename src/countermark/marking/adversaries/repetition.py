"""Which tile repeats in a picture: the search of a detector for periodic marks, in the adversary's hands.

After Kutter: Watermarking resisting to translation, rotation and scaling, 1998. The tile's lattice may be turned and
stretched.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from countermark.marking.adversaries.residual import BAND, Plane, prominence

# Lags in pixels within which a picture resembles itself anyway, and beyond which a tile is not looked for.
_NEAR, _FAR = 24, 400
# How far a line may stand out, how many deviations a lattice must, how many peaks of the autocorrelation are tried.
_LOUDEST, _REPEATS, _PEAKS = 6.0, 8.0, 8


def repetition(leveled: Plane) -> NDArray[np.float64] | None:
    """Return two lags, (2, 2) as rows of (x, y) in pixels, at which leveled detail repeats; None if it does not.

    Pairs of the highest peaks of the autocorrelation are tried, and that pair is kept whose lattice of waves has the
    most power, measured in deviations of what as many waves would have by chance.
    """
    spectrum = np.fft.fft2(leveled)
    down, across = np.fft.fftfreq(leveled.shape[0]), np.fft.fftfreq(leveled.shape[1])
    radius = np.hypot(down[:, None], across)
    even = np.where((radius > BAND[0]) & (radius < BAND[1]), np.minimum(prominence(spectrum), _LOUDEST), 0)
    lags = _peaks(np.fft.ifft2(even).real)
    pairs = [np.array(pair) for pair in combinations(lags, 2) if abs(_sine(*pair)) > 0.5]
    scored = [(_lattice_power(even, pair), at) for at, pair in enumerate(pairs)]
    best, at = max(scored, default=(0.0, 0))
    return pairs[at] if best > _REPEATS else None


def lattice(lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies in the band that repeat after two lags, one of each conjugate pair: (n, 2) as (x, y)."""
    reach = int(BAND[1] * np.hypot(*lags.T).max()) + 1
    numbers = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    frequencies = numbers @ np.linalg.inv(lags).T
    radius = np.hypot(*frequencies.T)
    half = (frequencies[:, 0] > 1e-9) | ((np.abs(frequencies[:, 0]) <= 1e-9) & (frequencies[:, 1] > 0))
    return np.asarray(frequencies[half & (radius > BAND[0]) & (radius < BAND[1])])


def _peaks(alike: Plane) -> list[NDArray[np.float64]]:
    """Return the lags (x, y) of the highest peaks of an autocorrelation, in all directions, and their halves."""
    y, x = (np.fft.fftfreq(side, 1 / side) for side in alike.shape)
    distance = np.hypot(y[:, None], x)
    sought = (distance > _NEAR) & (distance < min(_FAR, 0.6 * min(alike.shape)))
    lags = _highest(np.where(sought, alike, 0), x, y)
    if lags:  # a picture with a pattern of its own may have all its peaks in one direction
        aside = np.abs(x * lags[0][1] - y[:, None] * lags[0][0]) > 0.5 * distance * np.hypot(*lags[0])
        lags += _highest(np.where(sought & aside, alike, 0), x, y)
    return [*lags, *(lag / 2 for lag in lags if np.hypot(*lag) > 2 * _NEAR)]


def _highest(rest: Plane, x: NDArray[np.float64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the lags of the highest peaks above 0; a peak's surroundings and its mirror image say nothing new."""
    lags: list[NDArray[np.float64]] = []
    while len(lags) < _PEAKS and rest.max() > 0:
        row, column = divmod(int(np.argmax(rest)), len(x))
        lags.append(np.array((x[column], y[row])))
        for sign in (1, -1):
            near = (np.abs(y - sign * y[row]) < 4)[:, None] & (np.abs(x - sign * x[column]) < 4)
            rest[near] = 0
    return lags


def _lattice_power(even: Plane, lags: NDArray[np.float64]) -> float:
    """Return by how many deviations the mean power on a lattice is above the mean of its band."""
    places = np.rint(lattice(lags) * (even.shape[1], even.shape[0])).astype(int)
    found = even[places[:, 1], places[:, 0]]
    band = even[even > 0]
    return float((found.mean() - band.mean()) / band.std() * np.sqrt(len(found))) if len(found) else 0.0


def _sine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float((one[0] * other[1] - one[1] * other[0]) / (np.hypot(*one) * np.hypot(*other)))
