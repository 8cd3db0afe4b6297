"""Tails and intervals against scipy, and against simulation where scipy has no such thing."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from countermark.core.stats import binomial_tail, clopper_pearson, cosine_sum_tail, holm, innocent_p
from countermark.errors import InputError


@pytest.mark.parametrize(("successes", "trials", "rate"), [(0, 5, 0.3), (5, 5, 0.3), (59, 64, 0.5), (40, 1000, 0.01)])
def test_binomial_tail_agrees_with_scipy(successes, trials, rate):
    assert binomial_tail(successes, trials, rate) == pytest.approx(reference.binom.sf(successes - 1, trials, rate))


def test_binomial_tail_at_its_ends():
    assert binomial_tail(-1, 4, 0.5) == 1.0
    assert binomial_tail(5, 4, 0.5) == 0.0
    assert binomial_tail(1, 4, 0.0) == 0.0
    assert binomial_tail(4, 4, 1.0) == 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (1, 3), (95, 100), (37, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_clopper_pearson_agrees_with_scipy(successes, trials, confidence):
    expected = reference.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert clopper_pearson(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials", "confidence"), [(1, 0, 0.95), (0, 0, 0.95), (-1, 3, 0.9), (1, 2, 1.0)])
def test_clopper_pearson_refuses_nonsense(successes, trials, confidence):
    with pytest.raises(InputError):
        clopper_pearson(successes, trials, confidence)


def test_cosine_sum_tail_bounds_a_simulation():
    generator = np.random.Generator(np.random.PCG64(1))
    weights = generator.uniform(0.2, 3.0, 12)
    sums = np.cos(generator.uniform(0, 2 * np.pi, (400_000, 12))) @ weights
    for level in (0.1, 1e-2, 1e-3, 1e-4):
        threshold = float(np.quantile(sums, 1 - level))
        assert level * 0.8 <= cosine_sum_tail(weights, threshold) <= 40 * level


def test_cosine_sum_tail_bounds_the_exact_tail_of_one_angle():
    for threshold in (0.1, 0.5, 0.9, 0.999):
        assert cosine_sum_tail([1.0], threshold) >= math.acos(threshold) / math.pi


def test_cosine_sum_tail_is_tight_to_a_small_factor_far_out():
    # The normal tail is the limit for many equal weights: z = 7 for 4,000 angles.
    bound = cosine_sum_tail(np.ones(4000), 7 * math.sqrt(2000))
    assert 1 <= bound / reference.norm.sf(7) <= 25


def test_cosine_sum_tail_at_its_ends():
    assert cosine_sum_tail([1.0, 2.0], 0.0) == 1.0
    assert cosine_sum_tail([1.0, 2.0], -1.0) == 1.0
    assert cosine_sum_tail([1.0, 2.0], 3.01) == 0.0
    assert 0 < cosine_sum_tail([1.0, 2.0], 3.0) < 1e-6
    assert cosine_sum_tail([], 1.0) == 0.0
    assert cosine_sum_tail([0.0, 0.0], 0.0) == 1.0


def test_cosine_sum_tail_does_not_depend_on_the_unit():
    assert cosine_sum_tail([1e-9, 2e-9], 2e-9) == pytest.approx(cosine_sum_tail([1e6, 2e6], 2e6))


@pytest.mark.parametrize(("weights", "threshold"), [([-1.0], 0.5), ([math.nan], 0.5), ([1.0], math.inf)])
def test_cosine_sum_tail_refuses_nonsense(weights, threshold):
    with pytest.raises(InputError):
        cosine_sum_tail(weights, threshold)


def test_innocent_p_is_the_union_bound_and_stays_a_probability():
    assert innocent_p(1000, 1) == 1000 / 2**64
    assert innocent_p(2**40, 2**30) == 1.0
    assert innocent_p(0, 5) == 0.0
    assert innocent_p(1000, 4, tails=1e-12) == pytest.approx(1e-9)
    for counts in ((-1, 1, 0.0), (1, -1, 0.0), (1, 1, -0.1), (1, 1, math.nan)):
        with pytest.raises(InputError):
            innocent_p(*counts[:2], tails=counts[2])


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
