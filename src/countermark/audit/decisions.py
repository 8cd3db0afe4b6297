"""What nearness proves: p-values calibrated on unseen data, and what follows from them. Pure functions of numbers.

A score is one fixed function of one output; the less, the more suspicious. The null hypothesis of an output is that its
score is exchangeable with those of held-out items: that it lies no nearer to the training data than unseen data of the
same source do. Nothing else is assumed, no law of distances above all.

Laws:
    ``conformal_p`` of one more item of the calibration's own source is at most t with probability at most t, any t;
    it rises with the score and is never 0;
    ``benjamini_hochberg`` keeps the order of p-values and never lowers one; q <= a is what the step-up procedure
    rejects at level a, and over p-values that share one calibration it holds the false discovery rate a;
    fewer than ``smallest_flaggable`` outputs are never flagged, and as many at the floor of p are;
    ``rank_test`` has P(p <= t) <= t where the training set is exchangeable with the unseen sets;
    ``share`` covers with at least the stated confidence, whatever the law of scores and however many lie below.

Sources: conformal p-values and their false discovery rate: S. Bates, E. Candes, L. Lei, Y. Romano, M. Sesia, Testing
for outliers with conformal p-values, Ann. Statist. 51, 2023, section 2 (they are positively regression dependent on
each null, theorem 2); Y. Benjamini, Y. Hochberg, J. R. Statist. Soc. B 57, 1995; Y. Benjamini, D. Yekutieli, Ann.
Statist. 29, 2001. The ratio to the neighbours after the nearest: N. Carlini et al., Extracting training data from
diffusion models, USENIX Security 2023, section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.core.stats import clopper_pearson
from countermark.errors import InputError

Floats = NDArray[np.float64]

#: What the ratio counts beside the distance: as much. Chosen on MNIST alone, from a plateau: with 0.5, 1, 2 and 4 all
#: planted copies are found (noise 3/255 and 15/255) and 94.0 to 94.4 % of the outputs of a model that memorized 300
#: images; with 0 no copy under noise 15/255 is. ``benchmarks/memorization_decisions.py`` prints the table.
RATIO_WEIGHT = 1.0
#: Added to the score of the aligned distance before the lesser of the two decides: nothing. On MNIST the 0.1 %
#: quantiles of both over unseen images lie 0.26 apart; no offset from -0.5 to 1.5 changes which moved copies are found.
ALIGNED_OFFSET = 0.0
#: Distances below this count as this: no logarithm of 0. Below the least distance of two images that differ at all.
LEAST_DISTANCE = 1e-6
#: Neighbours after the nearest that make its ratio.
NEIGHBOURS = 50
#: Shares of unseen items below the thresholds at which the share of copies is bounded. One, and far out, on purpose:
#: outputs that are blurred, or of few motifs, lie somewhat nearer to any images than unseen images do. At 1 and 5 %
#: that looks like copying (of a memorizing model's outputs, 3 to 4 and 8 to 11 % lie below, against images that it
#: never saw); at 0.1 % it does not (0 to 0.1 %).
TAILS = (0.001,)
CONFIDENCE = 0.95
#: Two-sided confidence that leaves each of three bounds at each threshold its part of one side.
_SIDE = 1.0 - 2.0 * (1.0 - CONFIDENCE) / (3 * len(TAILS))
#: A two-sample p-value below this says that held-out and training items differ.
SAME_SOURCE_LEVEL = 0.01
#: The cut-offs of the source demonstration, each in the two units in which its numbers can be read.
SOURCE_CUTOFFS = (
    ("near copy", 0.006, "rmse"),
    ("perfect copy", 0.0009, "rmse"),
    ("near copy", 0.006, "l2/dims"),
    ("perfect copy", 0.0009, "l2/dims"),
)
COPIES, NO_COPIES = "copies-found", "no-copies-found"


def rounded(values: ArrayLike) -> Floats:
    """Round to 9 significant digits: what a document states, and what everything else is computed from."""
    array = np.asarray(values, dtype=np.float64)
    return np.array([float(f"{value:.9g}") for value in array.ravel()], dtype=np.float64).reshape(array.shape)


def statistic(nearest: ArrayLike, mean_next: ArrayLike, *, weight: float = RATIO_WEIGHT) -> Floats:
    """Return the score of distances: log d + weight log(d / m), the one statistic for all data, fixed beforehand.

    Args:
        nearest: d, distance to the nearest training item, at least 0.
        mean_next: m, mean distance to the next ``NEIGHBOURS``, at least d; d itself where there are no more.
        weight: what an audit uses is fixed; others are for the benchmark that shows how it was chosen.

    Returns:
        Scores, rounded to 9 significant digits; the less, the more suspicious.
    """
    near = np.log(np.maximum(np.asarray(nearest, dtype=np.float64), LEAST_DISTANCE))
    rest = np.log(np.maximum(np.asarray(mean_next, dtype=np.float64), LEAST_DISTANCE))
    return rounded(near + weight * (near - rest))


def statistic_name(*, aligned: bool = False, descriptor: bool = False) -> str:
    """Return the name of the statistic with every constant in it: what a document says was computed."""
    distance = "1 - cosine of the descriptor" if descriptor else "RMSE"
    plain = f"nearness/1: log d + {RATIO_WEIGHT:g} log(d/m), d {distance}, m mean of the next {NEIGHBOURS}"
    return plain + (f"; the lesser of raw and aligned + {ALIGNED_OFFSET:g}" if aligned else "")


def conformal_p(scores: ArrayLike, calibration: ArrayLike) -> Floats:
    """Return p-values: (1 + held-out items that score at most as much) / (1 + held-out items).

    Raises:
        InputError: no calibration, or a score that is not finite.
    """
    values, known = (np.asarray(data, dtype=np.float64).ravel() for data in (scores, calibration))
    if not len(known) or not (np.isfinite(values).all() and np.isfinite(known).all()):
        raise InputError("scores are finite, and at least one held-out item is needed to calibrate them")
    return (1 + np.searchsorted(np.sort(known), values, side="right")) / (1 + len(known))


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return q: the least false discovery rate at which the step-up procedure rejects each hypothesis."""
    p = np.asarray(p_values, dtype=np.float64).ravel()
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) / np.arange(1, len(p) + 1))
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return q


def smallest_flaggable(outputs: int, calibration: int, fdr: float) -> int:
    """Return how many outputs at the floor of p are needed before any is flagged; above ``outputs``: none ever is.

    Raises:
        InputError: counts below 1, or a rate outside (0, 1).
    """
    if outputs < 1 or calibration < 1 or not 0.0 < fdr < 1.0:
        raise InputError("outputs and held-out items are at least 1, and the false discovery rate is between 0 and 1")
    # Near the solution, then by the very comparison that flags, so that rounding cannot part the two.
    floor, count = float(rounded(1 / (1 + calibration))), max(1, math.floor(outputs / (fdr * (1 + calibration))) - 1)
    while float(rounded(floor * (outputs / count))) > fdr:
        count += 1
    return count


@dataclass(frozen=True)
class RankTest:
    """Whether outputs lie nearer to the training set than to sets that the model never saw.

    Attributes:
        p_value: rank / (sets + 1).
        rank: of the training set among all sets, 1 the nearest; ties count against it.
        sets: K, unseen sets.
        floor: 1 / (K + 1), the least p-value that K sets can give.
    """

    p_value: float
    rank: int
    sets: int
    floor: float


def rank_test(of_train: float, of_unseen: Sequence[float]) -> RankTest:
    """Rank the training set's mean log distance among those of the unseen sets; exact if all are exchangeable.

    Raises:
        InputError: no unseen sets.
    """
    if not of_unseen:
        raise InputError("a rank needs at least one unseen set")
    rank, sets = 1 + sum(value <= of_train for value in of_unseen), len(of_unseen)
    return RankTest(rank / (sets + 1), rank, sets, 1 / (sets + 1))


@dataclass(frozen=True)
class Share:
    """How large a part of what a sampler draws is copied; all bounds hold at once with ``CONFIDENCE``.

    Attributes:
        at_least: lower bound of the share of copies: what unseen items do not explain, if outputs that are no copies
            lie no nearer than these.
        interval: of the share of outputs that are copies and lie below the threshold. What lies above it, the upper
            end does not bound.
        threshold: which one: of ``TAILS``, that with the greatest lower bound.
        below: outputs below it.
        null_rate: upper bound of the share of unseen items below it.
    """

    at_least: float
    interval: tuple[float, float]
    threshold: float
    below: int
    null_rate: float


def tail_rank(tail: float, calibration: int) -> int:
    """Return r: outputs below the r-th least held-out score are counted, r = ceil(tail n), at least 1."""
    return max(1, math.ceil(round(tail * calibration, 6)))


@cache
def tail_rate(tail: float, calibration: int) -> float:
    """Return the upper bound of the share of unseen items below the r-th least of so many held-out scores."""
    return clopper_pearson(tail_rank(tail, calibration) - 1, calibration, _SIDE)[1]


def share(below: Sequence[int], null_rates: Sequence[float], outputs: int) -> Share:
    """Bound the share of copies from how many outputs lie below each threshold of ``TAILS``.

    A threshold is the r-th least of n held-out scores, fixed before any output is seen. The rate of unseen items below
    it is at most Beta(r, n - r + 1) distributed, ties included; the number of outputs below it is binomial, as outputs
    are independent draws. A mixture with a share a of copies has a rate of at most a + (1 - a) null, hence
    a >= (rate - null) / (1 - null). The bounds share what the confidence leaves (Bonferroni), so the best may be taken.
    The share that is *flagged* has no such interval: its cut-off moves with the outputs.

    Args:
        below: outputs below each threshold.
        null_rates: of each threshold, from ``tail_rate``.
        outputs: how many, at least 1.
    """
    rates = [clopper_pearson(count, outputs, _SIDE) for count in below]
    excess = [max(0.0, (low - null) / (1.0 - null)) for (low, _), null in zip(rates, null_rates, strict=True)]
    best = max(range(len(TAILS)), key=lambda i: excess[i])
    interval = max(0.0, rates[best][0] - null_rates[best]), rates[best][1]
    return Share(excess[best], interval, TAILS[best], below[best], null_rates[best])


def two_sample(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Return Kolmogorov and Smirnov's p-value and distance of two independent samples.

    By the limiting law with M. A. Stephens' correction (J. R. Statist. Soc. B 32, 1970).
    """
    a, b = (np.sort(np.asarray(data, dtype=np.float64).ravel()) for data in (first, second))
    both = np.concatenate([a, b])
    gaps = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    distance, root = float(np.abs(gaps).max()), math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    reach = (root + 0.12 + 0.11 / root) * distance
    if reach < 0.3:
        return 1.0, distance
    tail = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * reach) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, tail)), distance


@dataclass(frozen=True)
class Cutoff:
    """What a fixed cut-off says of the outputs, and what it says of images that the model never saw.

    Attributes:
        name: as the source calls what lies below it.
        value: below this.
        unit: ``rmse``, of pixels in [0, 1], or ``l2/dims``: the Euclidean distance divided by the number of values.
        flagged: outputs below it.
        of: outputs.
        false_positives: held-out items below it.
        false_positive_rate: their share.
        interval: Clopper and Pearson's of that rate.
    """

    name: str
    value: float
    unit: str
    flagged: int
    of: int
    false_positives: int
    false_positive_rate: float
    interval: tuple[float, float]


def source_cutoffs(outputs: ArrayLike, held_out: ArrayLike, dims: int) -> tuple[Cutoff, ...]:
    """Hold RMSE of outputs and of held-out items against the fixed cut-offs of the source, in both units."""
    return tuple(fixed_cutoff(name, value, unit, outputs, held_out, dims) for name, value, unit in SOURCE_CUTOFFS)


def fixed_cutoff(name: str, value: float, unit: str, outputs: ArrayLike, held_out: ArrayLike, dims: int) -> Cutoff:
    """Hold RMSE of outputs and of held-out items against one cut-off."""
    ours, unseen = (in_unit(np.asarray(data, dtype=np.float64).ravel(), unit, dims) for data in (outputs, held_out))
    flagged, false = int((ours < value).sum()), int((unseen < value).sum())
    rate, interval = float(rounded(false / len(unseen))), clopper_pearson(false, len(unseen), CONFIDENCE)
    return Cutoff(name, value, unit, flagged, len(ours), false, rate, _pair(interval))


def in_unit(rmse: Floats, unit: str, dims: int) -> Floats:
    """Return RMSE of pixels in [0, 1] in a unit of the cut-offs, rounded."""
    return rounded(rmse / math.sqrt(dims)) if unit == "l2/dims" else rmse


def _pair(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = rounded(interval)
    return float(low), float(high)
