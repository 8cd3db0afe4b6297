"""The laws that ``core.stats`` states."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.stats import binomial_tail, clopper_pearson, cosine_sum_tail, fisher_product, holm, innocent_p

probabilities = st.floats(0.0, 1.0)


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=30), probabilities, probabilities)
def test_cosine_sum_tail_falls_and_is_a_probability(weights, a, b):
    low, high = sorted((a * sum(weights), b * sum(weights)))
    assert 0.0 <= cosine_sum_tail(weights, high) <= cosine_sum_tail(weights, low) * (1 + 1e-6) <= 1 + 1e-6


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30), st.floats(0.0, 1.0))
def test_cosine_sum_tail_is_below_hoeffding(weights, share):
    threshold = share * sum(weights)
    hoeffding = math.exp(-(threshold**2) / (2 * math.fsum(w * w for w in weights)))
    assert cosine_sum_tail(weights, threshold) <= hoeffding * (1 + 1e-6)


@given(st.integers(1, 300), st.data())
def test_clopper_pearson_contains_the_observed_rate(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = clopper_pearson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    # Its ends are where the tails reach the stated level: coverage by construction.
    assert successes == 0 or math.isclose(binomial_tail(successes, trials, low), 0.025, rel_tol=1e-6)


@given(st.integers(1, 200), st.floats(0.01, 0.99))
def test_binomial_tail_falls_in_successes(trials, rate):
    tails = [binomial_tail(k, trials, rate) for k in range(trials + 2)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(tails))


@given(st.integers(0, 2**40), st.integers(0, 2**20), probabilities, probabilities)
def test_innocent_p_is_a_probability_and_never_below_the_exact_read(issued, tried, a, b):
    low, high = sorted((a, b))
    exact, soft = innocent_p(issued, tried), innocent_p(issued, tried, tails=low)
    assert exact <= soft <= innocent_p(issued, tried, tails=high) <= 1.0
    assert soft <= innocent_p(issued + 1, tried + 1, tails=low)


@given(st.lists(probabilities, max_size=20))
def test_holm_keeps_the_order_and_never_lowers(p_values):
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    for i, p in enumerate(p_values):
        assert all(adjusted[i] <= adjusted[j] for j, q in enumerate(p_values) if p < q)


@given(st.floats(1e-3, 1.0))
def test_fisher_product_of_two_uniform_variables_is_uniform(level):
    """The area of the unit square where it is at most ``level``, cell by cell."""
    cells = [(i + 0.5) / 200 for i in range(200)]
    area = sum(fisher_product(one, other) <= level for one, other in itertools.product(cells, cells)) / len(cells) ** 2
    assert abs(area - level) < 0.01


@given(probabilities, probabilities)
def test_fisher_product_is_symmetric_and_one_sided(one, other):
    assert fisher_product(one, other) == fisher_product(other, one)
    assert fisher_product(one, 1.0) >= one
