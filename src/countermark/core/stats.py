"""Tails, intervals and corrections: what stands behind every p-value. Pure functions of numbers; no scipy.

Laws:
    ``cosine_sum_tail(w, t)`` is at least P(sum of w_i cos U_i >= t) for independent U_i uniform on the circle;
    ``binomial_tail`` is exact up to rounding, and falls in ``successes``;
    ``clopper_pearson(k, n)`` contains k / n and covers the true rate with at least the stated confidence;
    ``fisher_product`` of two independent uniform variables is uniform;
    ``holm`` keeps the order of p-values and never lowers one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.core.payload import WORD_BITS
from countermark.errors import InputError

_BISECTIONS = 60
_GOLDEN_STEP = 3e-5


def cosine_sum_tail(weights: ArrayLike, threshold: float) -> float:
    """Bound P(sum of ``weights[i] * cos U_i >= threshold``) for independent uniform angles U_i.

    Chernoff's inequality (H. Chernoff, Ann. Math. Statist. 23, 1952) with the exact moment generating function of
    w cos U, the modified Bessel function I_0(s w): the smallest exp(-s t) prod I_0(s w_i) over s >= 0. Any s gives a
    valid bound, so an inexact minimum costs tightness and nothing else.

    Args:
        weights: finite, at least 0, any number of them; fixed independently of the angles.
        threshold: finite.

    Returns:
        A value in (0, 1]; 0 where no angles can reach the threshold, or below the smallest float.

    Raises:
        InputError: a weight that is negative or not finite, or such a threshold.
    """
    values = np.asarray(weights, dtype=np.float64).ravel()
    if not (np.isfinite(values).all() and math.isfinite(threshold) and (values >= 0).all()):
        raise InputError("weights are finite and not negative, and the threshold is finite")
    total = float(values.sum())
    if threshold <= 0:
        return 1.0
    if threshold > total * (1 + 1e-12):
        return 0.0
    return math.exp(min(0.0, _smallest_exponent(values / total, threshold / total)))


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """Return P(X >= successes) for X binomial(``trials``, ``rate``), summed away from the mean until nothing is added.

    Relative rounding error below 1e-9 for a million trials; below the mean it is that of the other tail.
    """
    _check_counts(0, trials)
    if successes <= 0:
        return 1.0
    if successes > trials or rate <= 0.0:
        return 0.0
    if rate >= 1.0:
        return 1.0
    odds = rate / (1.0 - rate)
    if successes > trials * rate:
        steps = ((trials - k) / (k + 1) * odds for k in range(successes, trials))
        return min(1.0, _falling_sum(_binomial_term(successes, trials, rate), steps))
    steps = (k / (trials - k + 1) / odds for k in range(successes - 1, 0, -1))
    return max(0.0, 1.0 - _falling_sum(_binomial_term(successes - 1, trials, rate), steps))


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a binomial rate (C. J. Clopper, E. S. Pearson, Biometrika 26, 1934).

    Raises:
        InputError: no trials, counts out of range, or a confidence outside (0, 1).
    """
    _check_counts(successes, trials)
    if trials == 0 or not 0.0 < confidence < 1.0:
        raise InputError("an interval needs at least one trial and a confidence between 0 and 1")
    side = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else _crossing(lambda rate: binomial_tail(successes, trials, rate), side)
    if successes == trials:
        return low, 1.0
    misses = trials - successes
    return low, 1.0 - _crossing(lambda rate: binomial_tail(misses, trials, rate), side)


def innocent_p(issued: int, tried: int, *, tails: float = 0.0) -> float:
    """Return p_innocent, rule 7 of the identity rules: min(1, N D 2**-64), of a soft read min(1, N (D 2**-64 + tails)).

    Args:
        issued: N, all identifiers ever issued, expired and revoked ones included.
        tried: D, distinct words that were looked up.
        tails: of a soft read, the bound on what one random code word does, times the readings that were matched.

    Raises:
        InputError: a negative count or tail.
    """
    if issued < 0 or tried < 0 or not tails >= 0:
        raise InputError("counts are not negative")
    return min(1.0, issued * (tried / float(1 << WORD_BITS) + tails))


def recorded_p(issued: int, tried: int, ledgers: int, p_value: float) -> float:
    """Return p_innocent of a recorded generation: min(1, N D 2**-64 + ``ledgers`` ``p_value``).

    Args:
        issued: N, as in ``innocent_p``.
        tried: D, as there.
        ledgers: noise ledgers in which a generation was found.
        p_value: bound on the probability that the best wrong record of one ledger fits as well.
    """
    return min(1.0, innocent_p(issued, tried) + ledgers * p_value)


def fisher_product(first: float, second: float) -> float:
    """Join two p-values, the second of which holds given the first: min(1, q (1 - ln q)) of their product q.

    R. A. Fisher, Statistical Methods for Research Workers, section 21.1. 0 where either is 0.
    """
    product = first * second
    return min(1.0, product * (1 - math.log(product))) if product > 0 else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values (S. Holm, Scand. J. Statist. 6, 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def _smallest_exponent(weights: NDArray[np.float64], threshold: float) -> float:
    """Minimize the convex exponent over s by golden section over log s; ``weights`` sum to 1.

    As log I_0(x) <= x**2 / 4, the minimum lies at no s below that of the parabola, 2 t / sum of w**2.
    """
    low = math.log(2 * threshold / float(weights @ weights))
    high = low + math.log(2)
    while high < math.log(1e9) and _exponent(weights, threshold, high) < _exponent(weights, threshold, high - 0.1):
        low, high = high - 0.1, high + math.log(2)
    return golden_minimum(lambda log_s: _exponent(weights, threshold, log_s), low, high, _GOLDEN_STEP)


def golden_minimum(
    function: Callable[[float], float], low: float, high: float, step: float, *, enough: float = -math.inf
) -> float:
    """Return the least value met by golden section from ``low`` to ``high``, down to a bracket of ``step``.

    Of a function with one minimum. A value of ``enough`` ends the search.
    """
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > step and min(at_left, at_right) > enough:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return min(at_left, at_right)


def _exponent(weights: NDArray[np.float64], threshold: float, log_s: float) -> float:
    s = math.exp(log_s)
    return float(_log_bessel(s * weights).sum()) - s * threshold


def _log_bessel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log I_0(x), or above 500, where I_0 nears the largest float, an upper bound on it.

    The expansion of I_0 is exp(x) / sqrt(2 pi x) times 1 + 1/(8 x) + 9/(128 x^2) + ..., below exp(1/(4 x)) from 1 on.
    """
    small, large = np.minimum(x, 500.0), np.maximum(x, 500.0)
    return np.where(x < 500.0, np.log(np.i0(small)), large - 0.5 * np.log(2 * np.pi * large) + 0.25 / large)


def _binomial_term(k: int, trials: int, rate: float) -> float:
    choose = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
    return math.exp(choose + k * math.log(rate) + (trials - k) * math.log1p(-rate))


def _falling_sum(term: float, steps: Iterable[float]) -> float:
    """Sum terms of which each is the one before times a step, at most 1, that falls too."""
    total = term
    for step in steps:
        term *= step
        total += term
        if term <= total * 1e-18:
            break
    return total


def _crossing(rising: Callable[[float], float], level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return (low + high) / 2


def _check_counts(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise InputError("counts must satisfy 0 <= successes <= trials")


def rademacher_sum_tail(weights: ArrayLike, threshold: float, *, counts: ArrayLike = 1) -> float:
    """Bound P(sum of ``weights[i] * S_i >= threshold``) for independent fair signs S_i.

    Chernoff's inequality with the exact moment generating function of w S, cosh(s w): the smallest
    exp(-s t) prod cosh(s w_i) over s >= 0. Never above Hoeffding's exp(-t**2 / (2 sum w_i**2)) at the minimum; any s
    gives a valid bound, so an inexact minimum costs tightness and nothing else.

    Args:
        weights: finite, at least 0, any number of them; fixed independently of the signs.
        threshold: finite.
        counts: how many signs have each weight.

    Returns:
        A value in (0, 1]; 0 where no signs can reach the threshold, or below the smallest float.

    Raises:
        InputError: a weight or count that is negative or not finite, or such a threshold.
    """
    values, repeats = np.broadcast_arrays(np.asarray(weights, dtype=np.float64), np.asarray(counts, dtype=np.float64))
    known = np.isfinite(values).all() and np.isfinite(repeats).all() and math.isfinite(threshold)
    if not (known and (values >= 0).all() and (repeats >= 0).all()):
        raise InputError("weights are finite and not negative, and the threshold is finite")
    total = float((values * repeats).sum())
    if threshold <= 0:
        return 1.0
    if threshold > total * (1 + 1e-12):
        return 0.0
    values, slack = values / values.max(), max(0.0, (total - threshold) / float(values.max()))
    pull = threshold / total * float((values * repeats).sum())
    low, high = 0.0, 1.0
    while high < 1e9 and float((repeats * values * np.tanh(high * values)).sum()) < pull:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = float((repeats * values * np.tanh(middle * values)).sum()) >= pull
        low, high = (low, middle) if rising else (middle, high)
    # log cosh x = x + log(1 + exp(-2 x)) - log 2 for x >= 0; the x together with -s t make s times the slack.
    return math.exp(
        min(0.0, high * slack + float((repeats * (np.log1p(np.exp(-2 * high * values)) - math.log(2))).sum()))
    )
