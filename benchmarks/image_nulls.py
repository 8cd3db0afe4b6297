"""The other side of a mark: does it find itself in unmarked pictures, and does a damaged copy name a stranger?

``measure_null`` compares how often unmarked crops, a fresh key each, get a p-value below a level with that level: for
the p-value itself, which is corrected for everything that was searched, and for the bound of one hypothesis fixed
beforehand, before any such correction. What is too rare to be met is sampled where it is common: pilots' angles are
drawn from their tilted law (von Mises) and weighed back, and the probability found is compared with the bound.

``measure_traces`` asks registers of a million strangers about damaged copies, with list and soft decoding, as an office
does. Whoever is named is innocent.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from benchmarks.image_bars import share
from benchmarks.image_trials import ALPHA, drawn
from benchmarks.photographs import open_picture, random_crop
from benchmarks.workers import each
from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute
from countermark.core.stats import binomial_tail, cosine_sum_tail, innocent_p
from countermark.marking import Detection
from countermark.marking.attacks import apply
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.reading import recompute
from countermark.tracing import ATTRIBUTED, Roster, Sighting, attribute

Row = dict[str, Any]
Floats = NDArray[np.float64]

LEVELS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5)
# Hypotheses fixed beforehand that a crop is asked: each nonce has pilots of its own.
NONCES = 8
RARE = (1e-6, 1e-9, 1e-12, 1e-18)
SAMPLED_CROPS, SAMPLES = 12, 4000
DAMAGES = ("crop(0.15)", "nlmeans(10)", "webp(15)", "jpeg(10)", "blur(4)", "resize(0.3)+jpeg(40)")
STRANGERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Unmarked:
    """What one unmarked crop gave: its p-value, the bounds of fixed hypotheses, its pilots' weights."""

    p_value: float
    fixed: list[float]
    weights: list[float]


def measure_null(paths: Sequence[Path], given: Namespace) -> tuple[list[Row], Row]:
    """Examine random crops of unmarked photographs, a fresh key each."""
    tasks = [(paths[i % len(paths)], i) for i in range(given.null)]
    crops = list(each(examine, tasks, jobs=given.jobs, name="unmarked"))
    values = np.array([crop.p_value for crop in crops])
    rows = [*_levels("p-value", values), *_levels("one hypothesis", np.concatenate([crop.fixed for crop in crops]))]
    weights = [np.array(crop.weights) for crop in crops if crop.weights]
    rows += [_rare_row(level, weights[:SAMPLED_CROPS]) for level in RARE if weights]
    return rows, {"method": LatticeMark.METHOD, "crops": len(values), "smallest_p": float(values.min())}


def examine(task: tuple[Path, int]) -> Unmarked:
    """Examine a random crop of an unmarked photograph under a fresh key; both depend on a number."""
    path, number = task
    generator = np.random.Generator(np.random.PCG64([7, number]))
    crop = random_crop(open_picture(path), generator)
    mark = LatticeMark(Secret(generator.bytes(32)))
    seen = mark.detect(crop)
    fixed = mark.tails_at(crop, range(NONCES))
    if not isinstance(seen, Detection):
        return Unmarked(1.0, fixed, [])
    return Unmarked(seen.p_value, fixed, seen.observations["weights"] if number < SAMPLED_CROPS else [])


def sampled_tail(weights: Floats, tilt: float, generator: np.random.Generator) -> tuple[float, float]:
    """Return P(sum of weights * cos U >= t) by importance sampling, and ``t``, which the tilted sums have as mean."""
    threshold = float(weights @ (ive(1, tilt * weights) / ive(0, tilt * weights)))
    sums = np.cos(generator.vonmises(0.0, tilt * weights, (SAMPLES, len(weights)))) @ weights
    log_moment = float(np.sum(np.log(ive(0, tilt * weights)) + tilt * weights))
    return float(np.mean(np.where(sums >= threshold, np.exp(log_moment - tilt * sums), 0.0))), threshold


def measure_traces(paths: Sequence[Path], given: Namespace) -> tuple[list[Row], Row]:
    """Trace damaged copies, a fresh key and licensee each, among strangers alone."""
    tasks = [(paths[i % len(paths)], i, DAMAGES[i % len(DAMAGES)], given.strength) for i in range(given.trace)]
    trials = list(each(trace, tasks, jobs=given.jobs, name="traces"))
    groups = {damage: [trial for trial in trials if trial["attack"] == damage] for damage in DAMAGES[: len(trials)]}
    wrong = sum(trial["wrong"] for trial in trials)
    rows = [_trace_row(damage, group) for damage, group in (groups | {"all": trials}).items()]
    return rows, {"method": LatticeMark.METHOD, "strangers": STRANGERS, "wrong": wrong}


def trace(task: tuple[Path, int, str, float]) -> Row:
    """Mark, damage, read, and ask the register, as an office does."""
    path, number, damage, strength = task
    master, identifier = drawn(path, number)
    key = DetectionKey.derive(master, method="benchmark", model="0" * 64, epoch=0)
    word = permute(key.permutation, identifier)
    mark = LatticeMark(key.embedding, strength=strength)
    seen = mark.detect(apply(damage, mark.embed(open_picture(path), word)))
    strangers = _strangers()
    answer = attribute(
        [Sighting(0, 0, key, seen)],
        alpha=ALPHA,
        identifiers_issued=STRANGERS,
        issued_to=lambda one: "grant:stranger" if _holds(strangers, one) else None,
        roster=Roster(lambda: iter([strangers])),
    )
    found = isinstance(seen, Detection) and seen.p_value <= ALPHA
    return {"attack": damage, "found": found, "wrong": answer.verdict == ATTRIBUTED} | _right(seen, word)


def _right(seen: Any, word: int) -> Row:
    """Say whether the right licensee would have been named, by the list or by soft symbols, were it registered."""
    if not isinstance(seen, Detection) or seen.p_value > ALPHA:
        return {"listed": False, "named": False}
    listed = word in seen.words and innocent_p(STRANGERS, seen.words_tried) <= ALPHA
    named = listed or STRANGERS * recompute(seen.method, seen.observations).tail(word) <= ALPHA
    return {"listed": listed, "named": named}


def _trace_row(damage: str, trials: Sequence[Row]) -> Row:
    rates = {column: share(trial[column] for trial in trials) for column in ("found", "listed", "named", "wrong")}
    row = {"attack": damage, "n": len(trials)} | {column: rate["rate"] for column, rate in rates.items()}
    return row | {"wrong_low": rates["wrong"]["low"], "wrong_high": rates["wrong"]["high"]}


def _levels(statistic: str, values: Floats) -> Iterator[Row]:
    """Yield how many values are at most each level, and how likely as many are if the level is their rate."""
    for level in LEVELS:
        below = share(value <= level for value in values)
        accident = binomial_tail(int((values <= level).sum()), len(values), level)
        yield {"statistic": statistic, "level": level} | below | {"accident": accident}


def _rare_row(level: float, crops: Sequence[Floats]) -> Row:
    """Compare sampled probabilities with the bound where it is about ``level``: none may be above, up to its error."""
    generator = np.random.Generator(np.random.PCG64([8, round(-math.log10(level))]))
    ratios = []
    for weights in crops:
        tail, threshold = sampled_tail(weights, _tilt(weights, level), generator)
        ratios.append(tail / cosine_sum_tail(weights, threshold))
    return {
        "statistic": "one hypothesis, sampled",
        "level": level,
        "n": len(crops),
        "tail_to_bound": round(float(np.mean(ratios)), 4),
        "largest": round(max(ratios), 4),
    }


def _tilt(weights: Floats, level: float) -> float:
    """Return the tilt at which Chernoff's bound is ``level``: it falls as the tilt grows."""

    def log_bound(tilt: float) -> float:
        parts = tilt * weights
        return float(np.sum(np.log(ive(0, parts)) + parts - parts * ive(1, parts) / ive(0, parts)))

    low, high = 0.0, 1.0
    while log_bound(high) > math.log(level):
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if log_bound(middle) > math.log(level) else (low, middle)
    return high


def _holds(register: NDArray[np.uint64], identifier: int) -> bool:
    place = int(np.searchsorted(register, np.uint64(identifier)))
    return place < len(register) and int(register[place]) == identifier


@cache
def _strangers() -> NDArray[np.uint64]:
    generator = np.random.Generator(np.random.PCG64(9))
    return np.unique(generator.integers(0, 2**64, STRANGERS, dtype=np.uint64))
