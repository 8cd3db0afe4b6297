"""How often many looks say "copies" of a model that copies nothing: at most as often as stated, with dependence between
looks of several kinds; and that they do say so of a model that copies more and more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from countermark.audit.extraction import extract
from countermark.audit.sequential import Plan, e_values, simes
from countermark.core.stats import binomial_tail, clopper_pearson

HELD_OUT, LOOKS, OUTPUTS, LEVEL = 1999, 8, 24, 0.1
RULES = ("spending", "evidence")


def conformal(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    return (1 + np.searchsorted(np.sort(calibration), scores, side="right")) / (1 + len(calibration))


def series(kind: str, rng: np.random.Generator) -> list[np.ndarray]:
    """The p-values of all looks of one run; every run has held-out scores of its own, shared by its looks."""
    calibration = rng.normal(size=HELD_OUT)
    if kind == "same outputs":  # the model no longer changes
        scores = np.repeat(rng.normal(size=(1, OUTPUTS)), LOOKS, axis=0)
    elif kind == "drifting":  # checkpoints resemble those before
        steps = rng.normal(size=(LOOKS, OUTPUTS))
        scores = np.array([steps[0], *(np.zeros((LOOKS - 1, OUTPUTS)))])
        for k in range(1, LOOKS):
            scores[k] = 0.9 * scores[k - 1] + np.sqrt(1 - 0.81) * steps[k]
    elif kind == "collapsed":  # all outputs of a look are one picture
        scores = np.repeat(rng.normal(size=(LOOKS, 1)), OUTPUTS, axis=1)
    else:
        scores = rng.normal(size=(LOOKS, OUTPUTS))
    return [conformal(row, calibration) for row in scores]


def stops(plan: Plan, looks: list[np.ndarray]) -> bool:
    total = 0.0
    for number, values in enumerate(looks, start=1):
        look = plan.judge(number, number, total, values)
        if look.stop:
            return True
        total = look.total
    return False


@pytest.mark.parametrize("kind", ["independent", "same outputs", "drifting", "collapsed"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("looks", [LOOKS, None])
def test_runs_that_copy_nothing_are_stopped_at_most_as_often_as_stated(kind: str, rule: Any, looks: int | None) -> None:
    rng, plan = np.random.default_rng([1, len(kind)]), Plan(LEVEL, looks, rule, 1 / (1 + HELD_OUT))
    runs = 1500
    false = sum(stops(plan, series(kind, rng)) for _ in range(runs))
    assert binomial_tail(false, runs, LEVEL) > 1e-4, (false, clopper_pearson(false, runs))


def test_a_product_of_e_values_would_stop_too_often() -> None:
    """Why evidence is added: looks that share held-out data are not independent, and their product has no mean of 1."""
    rng, floor, runs = np.random.default_rng(3), 1 / (1 + HELD_OUT), 1500
    false = 0
    for _ in range(runs):
        looks = np.array([e_values(values, floor).mean() for values in series("same outputs", rng)])
        false += bool((np.cumprod(looks) >= 1 / LEVEL).any())
    assert clopper_pearson(false, runs)[0] > LEVEL


@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_copies_more_and_more_is_stopped(rule: Any) -> None:
    rng, plan, stopped, runs = np.random.default_rng(5), Plan(LEVEL, LOOKS, rule, 1 / 1000), 0, 200
    for _ in range(runs):
        calibration = rng.normal(size=999)
        scores = [
            np.where(rng.random(64) < 0.1 * k, -6.0, rng.normal(size=64)) for k in range(LOOKS)
        ]  # of look k a share 0.1 k is copied
        stopped += stops(plan, [conformal(row, calibration) for row in scores])
    assert clopper_pearson(stopped, runs)[0] > 0.95


class Gray:
    """An examiner of pictures of one byte: the darker, the nearer to the training data."""

    def __init__(self, calibration: np.ndarray) -> None:
        self.calibration = SimpleNamespace(scores=calibration)

    def audit(self, samples: np.ndarray, *, subject: Any) -> Any:
        values = conformal(samples.ravel().astype(float), self.calibration.scores)
        return SimpleNamespace(items=[SimpleNamespace(p=value, nearest=0) for value in values])


class Source:
    """A model that has learnt the source and copies nothing. Dark pictures are frequent: so cliques are of the dark."""

    name = "source"

    def sample(self, count: int, *, seed: int) -> np.ndarray:
        return draw(np.random.default_rng([7, seed]), count).reshape(count, 1, 1, 1)


def draw(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.where(rng.random(count) < 0.06, 0, rng.integers(6, 256, count)).astype(np.uint8)


@pytest.mark.parametrize("rule", ["simes", "evidence"])
def test_looking_at_the_largest_cliques_first_does_not_accuse_a_clean_model(rule: str) -> None:
    runs, false, naive = 300, 0, 0
    for run in range(runs):
        examiner = Gray(draw(np.random.default_rng([8, run]), 199).astype(float))
        found = extract(
            Source(), examiner, draws=120, batch=40, look=8, seed=1000 * run, level=LEVEL, near=0.02, rule=rule
        )
        false += found.stop == "copies-found"
        chosen = Source().sample(40, seed=1000 * run).ravel()[list(found.order[:2])]
        naive += simes(conformal(chosen.astype(float), examiner.calibration.scores)) <= LEVEL
    assert binomial_tail(false, runs, LEVEL) > 1e-4, (false, clopper_pearson(false, runs))
    # What is chosen because it is frequent is no fair sample: judged by itself it accuses far too often.
    assert naive > 2 * LEVEL * runs
