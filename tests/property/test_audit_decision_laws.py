"""The laws that ``audit.decisions`` and ``audit.shapes`` state."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.audit.decisions import (
    TAILS,
    benjamini_hochberg,
    conformal_p,
    rank_test,
    rounded,
    share,
    smallest_flaggable,
    statistic,
    tail_rank,
    tail_rate,
    two_sample,
)
from countermark.errors import InputError

scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=60)
p_values = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=60)


@given(scores, scores)
def test_conformal_p_counts_and_rises(outputs, held_out):
    p = conformal_p(outputs, held_out)
    for score, value in zip(outputs, p, strict=True):
        assert value == (1 + sum(c <= score for c in held_out)) / (1 + len(held_out))
    ordered = p[np.argsort(outputs, kind="stable")]
    assert (np.diff(ordered) >= 0).all()
    assert p.min() > 0


@given(st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=60), st.floats(0.0, 1.0))
def test_conformal_p_is_valid_for_every_set(values, level):
    # Leave each item out in turn: of n items, at most t n have p <= t. That is validity given the set, ties or not.
    p = [conformal_p([value], values[:i] + values[i + 1 :])[0] for i, value in enumerate(values)]
    assert sum(value <= level for value in p) <= level * len(values) + 1e-9


@given(p_values, st.floats(0.001, 0.5))
def test_benjamini_hochberg_is_the_step_up_procedure(p, rate):
    q = benjamini_hochberg(p)
    ordered = sorted(p)
    most = max((k for k, value in enumerate(ordered, 1) if value <= rate * k / len(p)), default=0)
    limit = ordered[most - 1] if most else -1.0
    for value, adjusted in zip(p, q, strict=True):
        # Rounding may part the two where p k / m meets the rate to the last bit, and nowhere else.
        assert (adjusted <= rate) == (value <= limit) or math.isclose(adjusted, rate, rel_tol=1e-12)
        assert value <= adjusted * (1 + 1e-12) <= 1 + 1e-12
    assert all(a <= b for a, b in itertools.pairwise(q[np.argsort(p, kind="stable")]))


@given(st.integers(1, 400), st.integers(1, 4000), st.floats(0.01, 0.5))
def test_fewer_than_the_smallest_flaggable_are_never_flagged(outputs, held_out, rate):
    needed = smallest_flaggable(outputs, held_out, rate)
    for count in (needed - 1, needed):
        if not 0 < count <= outputs:
            continue
        p = conformal_p([-1.0] * count + [1.0] * (outputs - count), [0.0] * held_out)
        flagged = rounded(benjamini_hochberg(rounded(p))) <= rate
        assert int(flagged.sum()) == (count if count >= needed else 0)


@given(st.integers(-5, 5), st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_rank_test_is_exact_under_exchange(of_train, of_unseen):
    sets = [of_train, *of_unseen]
    p = [rank_test(float(sets[i]), [float(v) for j, v in enumerate(sets) if j != i]).p_value for i in range(len(sets))]
    for level in p:
        assert sum(value <= level for value in p) <= level * len(sets) + 1e-9
    assert rank_test(-6.0, [float(v) for v in of_unseen]).p_value == 1 / len(sets)


@given(st.integers(1, 500), st.integers(1, 20_000), st.data())
def test_share_never_claims_more_than_was_seen(outputs, held_out, data):
    below = sorted(data.draw(st.lists(st.integers(0, outputs), min_size=len(TAILS), max_size=len(TAILS))))
    found = share(below, [tail_rate(tail, held_out) for tail in TAILS], outputs)
    assert 0 <= found.interval[0] <= found.at_least <= found.below / outputs <= found.interval[1] <= 1
    assert found.null_rate >= (tail_rank(found.threshold, held_out) - 1) / held_out


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1.0, 10.0))
def test_statistic_rises_with_the_distance_and_falls_with_the_neighbourhood(near, more, factor):
    low, high = sorted((near, more))
    assert statistic(low, 1.0) <= statistic(high, 1.0)
    assert statistic(near, 0.1 * factor) <= statistic(near, 0.1) + 1e-9


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50))
def test_rounding_twice_is_rounding_once(values):
    once = rounded(values)
    assert (rounded(once) == once).all()


def test_two_sample_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.Generator(np.random.PCG64(1))
    for sizes, shift in (((150, 4000), 0.0), ((1000, 9000), 0.05), ((40, 60), 0.5)):
        a, b = generator.normal(size=sizes[0]), generator.normal(size=sizes[1]) + shift
        p, distance = two_sample(a, b)
        theirs = stats.ks_2samp(a, b, method="exact" if sizes[0] < 100 else "asymp")
        assert distance == pytest.approx(theirs.statistic)
        assert p == pytest.approx(theirs.pvalue, rel=0.25, abs=0.01)


@pytest.mark.parametrize("bad", [[float("nan")], [float("inf")]])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(InputError):
        conformal_p(bad, [0.0])
    with pytest.raises(InputError):
        conformal_p([0.0], bad)
    with pytest.raises(InputError):
        conformal_p([0.0], [])
