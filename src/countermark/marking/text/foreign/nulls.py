"""Tails of what the schemes of others count: sums of independent draws, added up exactly or rounded up.

All additions are of positive numbers, so that the smallest tails keep their digits. What falls below the least numbers
that a computer tells apart is replaced by more than it can be.

Laws:
    ``hypergeometric_tail`` is P(X >= t) up to rounding, and falls in t; with groups of one it is a binomial tail;
    ``weighted_tail`` is at least the probability that it bounds, and falls in its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Chances below the first are left out while adding up; all of them together are less than the second.
_NOTHING, _LEFT_OUT = 1e-290, 1e-280
# Points of the grid between the least possible sum and the threshold.
_GRID = 2**14


def hypergeometric_tail(groups: Mapping[int, int], population: int, marked: int, threshold: int) -> float:
    """Return P(all groups together have at least ``threshold`` marked members).

    Args:
        groups: how many groups there are of each size. Each is drawn from a population of its own, without putting
            back, independently of the others.
        population: of every group.
        marked: how many of a population are marked.
        threshold: from 0 on.
    """
    if threshold <= 0:
        return 1.0
    law = np.ones(1)
    for size, number in sorted(groups.items()):
        law = _added(law, _power(_hypergeometric(size, population, marked), number))
    return min(1.0, math.fsum(law[threshold:].tolist()) + _LEFT_OUT)


def weighted_tail(counts: Sequence[int], weights: Sequence[int], threshold: int) -> float:
    """Bound P(sum of ``weights[i] * V_i`` is at least ``threshold``) for independent V_i of one law.

    Args:
        counts: V_i is j in ``counts[j]`` of ``sum(counts)`` cases.
        weights: from 1 on.
        threshold: any.
    """
    if threshold <= 0:
        return 1.0
    values = np.flatnonzero(np.array(counts))
    chances = np.array(counts, dtype=np.float64)[values] / sum(counts)
    law = np.zeros(_GRID + 1)
    law[0] = 1.0
    for weight in weights:
        # Every value is rounded up to the grid; the last cell holds what is at the threshold or beyond.
        cells = np.minimum(np.ceil(values * (weight * _GRID / threshold) * (1 - 1e-12)), _GRID).astype(np.intp)
        law = _moved(law, cells, chances)
    return min(1.0, float(law[-1]) + _LEFT_OUT)


def _moved(law: Floats, steps: NDArray[np.intp], chances: Floats) -> Floats:
    """Return the law of a cell after a random number of steps, all beyond the last cell in the last."""
    beyond = np.cumsum(law[::-1])
    total = np.zeros_like(law)
    for step, chance in zip(steps.tolist(), chances.tolist(), strict=True):
        total[step:] += chance * law[: len(law) - step]
        if step:
            total[-1] += chance * float(beyond[step - 1])
    return _clean(total)


def _hypergeometric(size: int, population: int, marked: int) -> Floats:
    """Return the chances of 0 to ``size`` marked members in a group."""
    others = population - marked
    whole = _log_choose(population, size)
    return np.array(
        [
            math.exp(_log_choose(marked, k) + _log_choose(others, size - k) - whole)
            if k <= marked and size - k <= others
            else 0.0
            for k in range(size + 1)
        ]
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _power(law: Floats, number: int) -> Floats:
    """Return the law of a sum of ``number`` independent draws, by squaring."""
    total = np.ones(1)
    while number:
        if number % 2:
            total = _added(total, law)
        number //= 2
        law = _added(law, law) if number else law
    return total


def _added(one: Floats, other: Floats) -> Floats:
    return _clean(np.convolve(one, other))


def _clean(law: Floats) -> Floats:
    return np.where(law < _NOTHING, 0.0, law)
