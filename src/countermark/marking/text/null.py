"""The null of the sampling mark: what scores of unmarked text sum up to.

Under "this text does not depend on the key", the keyed uniform numbers of distinct pairs of context and token are
independent, whatever the text is, and the score -ln(1 - r) of each is a standard exponential variable. So

* n scores add up to a Gamma(n, 1) variable, whose tail is a Poisson distribution's (``gamma_tail``);
* in a chunk of n tokens each of the 256 symbols has such a sum, independent of the others, and the evidence of the
  best word is the sum over the chunks of the largest of 256 (``best_word_tail``). That is computed on a grid to which
  each largest sum is rounded up.

Both hold for repeated text only if each pair of context and token counts once.

Laws:
    ``gamma_tail(n, x)`` is P(X >= x) for X ~ Gamma(n, 1), up to rounding, and falls in x;
    ``best_word_tail`` is at least the probability that it bounds, and falls in x.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from countermark.marking.text.codewords import SYMBOLS

Floats = NDArray[np.float64]
_GRID = 2048


def gamma_tail(count: int, threshold: float) -> float:
    """Return P(a sum of ``count`` standard exponential variables is at least ``threshold``), 1 of no variables."""
    if threshold <= 0 or count == 0:
        return 1.0 if threshold <= 0 else 0.0
    # P(Poisson(x) < count), from its largest term: all terms are positive, so nothing cancels.
    steps = np.arange(1, count)
    logs = np.concatenate(([0.0], np.cumsum(math.log(threshold) - np.log(steps)))) - threshold
    highest = float(logs.max())
    return math.exp(min(0.0, highest + math.log(math.fsum(np.exp(logs - highest).tolist()))))


def best_word_tail(counts: Sequence[int], threshold: float) -> float:
    """Bound P(the best word's evidence is at least ``threshold``) for chunks of so many tokens each."""
    if threshold <= 0:
        return 1.0
    step = threshold / _GRID
    chances = np.zeros(_GRID + 1)
    chances[0] = 1.0
    for count in counts:
        if count:
            chances = _added(chances, _largest(count, step))
    return min(1.0, float(chances[-1]))


@functools.lru_cache(maxsize=64)
def _largest(count: int, step: float) -> Floats:
    """Return the law of the largest of 256 sums of ``count`` variables, rounded up to steps; the last cell: or more."""
    log_tails = _log_tails(count, np.arange(_GRID + 1.0) * step)
    with np.errstate(divide="ignore"):  # a tail of 1 is certain for the largest, too
        above = -np.expm1(SYMBOLS * np.log1p(-np.exp(np.minimum(log_tails, 0.0))))
    # Cell k holds what is in ((k - 1) step, k step], the last one all above the one before.
    return np.concatenate(([0.0], above[:-2] - above[1:-1], [above[-2]]))


def _added(one: Floats, other: Floats) -> Floats:
    """Return the law of a sum of two independent cells, all beyond the last in the last."""
    total = np.convolve(one, other)
    return np.append(total[:_GRID], total[_GRID:].sum())


def _log_tails(count: int, thresholds: Floats) -> Floats:
    """Return ln P(Gamma(count, 1) >= x): of a Poisson variable of mean x, that it is below ``count``."""
    with np.errstate(divide="ignore"):
        logs = np.log(thresholds)
    highest = np.full(len(thresholds), -np.inf)
    total = np.zeros(len(thresholds))
    log_term = -thresholds
    for k in range(count):
        if k:
            log_term = log_term + (logs - math.log(k))
        larger = np.maximum(highest, log_term)
        total = total * np.exp(np.where(np.isfinite(highest), highest - larger, -np.inf)) + np.exp(log_term - larger)
        highest = larger
    return np.asarray(highest + np.log(total))
