"""The error rates that the memorization audit states, on laws whose truth is known.

Distances are made, not searched for: clusters of near-duplicates, heavy tails, ties. Scores that share one calibration
are dependent; the counts below are over independent calibrations, so that binomial bounds hold.
"""

import numpy as np
import pytest

from countermark.audit.decisions import benjamini_hochberg, conformal_p, rank_test, two_sample
from countermark.audit.result import decide, judged
from countermark.core.stats import binomial_tail, clopper_pearson

LEVELS = (0.01, 0.05, 0.1, 0.5)


def law(name, generator, size):
    """Return scores of unseen items; ``duplicates`` has a few that lie far below all others, as real data do."""
    if name == "duplicates":
        near = generator.random(size) < 0.002
        return np.where(near, -8 + generator.normal(size=size), generator.normal(size=size))
    if name == "ties":
        return generator.poisson(2.0, size).astype(float)
    return generator.standard_t(2, size)


@pytest.mark.parametrize("name", ["duplicates", "ties", "heavy"])
def test_one_p_value_per_calibration_is_never_too_small(name):
    generator = np.random.Generator(np.random.PCG64(11))
    p = np.array([conformal_p(law(name, generator, 1), law(name, generator, 99))[0] for _ in range(2000)])
    for level in LEVELS:
        false = int((p <= level).sum())
        assert binomial_tail(false, len(p), level) > 1e-6, (level, false)
    if name == "heavy":
        # Exact where nothing ties: not conservative either.
        assert abs((p <= 0.5).mean() - 0.5) < 0.06


def false_shares(name, runs, *, outputs=400, copies=20, held_out=2000, rate=0.1, seed=12):
    generator = np.random.Generator(np.random.PCG64(seed))
    shares, found = [], []
    for _ in range(runs):
        unseen, known = law(name, generator, outputs - copies), law(name, generator, held_out)
        scores = np.concatenate([np.full(copies, -6.0) + generator.normal(size=copies), unseen])
        flagged = benjamini_hochberg(conformal_p(scores, known)) <= rate
        shares.append(flagged[copies:].sum() / max(1, flagged.sum()))
        found.append(flagged[:copies].sum())
    return np.array(shares), np.array(found)


@pytest.mark.parametrize("name", ["duplicates", "heavy"])
def test_the_false_discovery_rate_is_held(name):
    shares, _ = false_shares(name, 300)
    # A fresh calibration each: independent runs, so the mean has a standard error.
    assert shares.mean() <= 0.1 + 4 * shares.std() / len(shares) ** 0.5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["duplicates", "ties", "heavy"])
def test_the_false_discovery_rate_is_held_over_four_thousand_runs(name):
    shares, _ = false_shares(name, 4000, seed=13)
    assert shares.mean() <= 0.1 + 3 * shares.std() / len(shares) ** 0.5


def test_without_copies_any_flag_is_as_rare_as_stated():
    generator = np.random.Generator(np.random.PCG64(14))
    runs = 400
    alarms = 0
    for _ in range(runs):
        q = judged(law("duplicates", generator, 200), law("duplicates", generator, 1000))[1]
        alarms += bool((q <= 0.05).any())
    assert binomial_tail(alarms, runs, 0.05) > 1e-4, alarms


def missed(runs, copied, seed):
    """Return how often the bounds miss: copies score so low that all lie below every threshold."""
    generator = np.random.Generator(np.random.PCG64(seed))
    count = 0
    for _ in range(runs):
        known, outputs = law("duplicates", generator, 1500), 500
        copy = generator.random(outputs) < copied
        scores = np.where(copy, -30.0, law("duplicates", generator, outputs))
        found = decide(scores, known, [False] * outputs, 0.05)
        count += found.at_least > copied or not found.interval[0] <= copied <= found.interval[1]
    return count


@pytest.mark.parametrize("copied", [0.0, 0.02, 0.5])
def test_the_bounds_of_the_share_hold(copied):
    count = missed(100, copied, seed=15)
    assert binomial_tail(count, 100, 0.05) > 1e-4, count


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("copied", [0.0, 0.005, 0.1, 0.9])
def test_the_bounds_of_the_share_hold_over_two_thousand_runs(copied):
    count = missed(2000, copied, seed=19)
    assert binomial_tail(count, 2000, 0.05) > 1e-4, count


def test_the_bound_of_the_share_is_of_use():
    generator = np.random.Generator(np.random.PCG64(16))
    known = law("heavy", generator, 5000)
    for copied, wanted in ((0.02, 0.005), (0.6, 0.5)):
        scores = np.where(np.arange(2000) < copied * 2000, -200.0, law("heavy", generator, 2000))
        assert decide(scores, known, [False] * 2000, 0.05).at_least > wanted


def test_a_model_that_knows_nothing_of_the_assignment_ranks_anywhere():
    # Outputs near one of the pooled sets, which by lot is training or not: the rank is uniform.
    generator = np.random.Generator(np.random.PCG64(17))
    ranks = []
    for _ in range(1500):
        sets = generator.normal(size=20)
        order = generator.permutation(20)
        ranks.append(rank_test(sets[order[0]], list(sets[order[1:]])).rank)
    low, high = clopper_pearson(sum(rank == 1 for rank in ranks), len(ranks), 0.9999)
    assert low <= 1 / 20 <= high


def test_the_two_sample_check_is_level():
    generator = np.random.Generator(np.random.PCG64(18))
    p = np.array([two_sample(generator.normal(size=100), generator.normal(size=900))[0] for _ in range(1000)])
    for level in (0.01, 0.05, 0.2):
        false = int((p <= level).sum())
        assert binomial_tail(false, len(p), level * 1.1) > 1e-6, (level, false)
