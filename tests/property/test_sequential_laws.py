"""The laws that ``audit.sequential`` and ``audit.cliques`` state."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from countermark.audit.cliques import Cliques, tile_distance
from countermark.audit.sequential import REACH, Plan, e_bh, e_values, share, simes

probabilities = st.floats(0.0, 1.0)
lists = st.lists(probabilities, min_size=1, max_size=30)
floors = st.floats(1e-6, 0.5)


@given(st.one_of(st.none(), st.integers(1, 200)), st.integers(1, 400))
def test_shares_are_not_negative_and_sum_to_at_most_one(looks, number):
    shares = [share(k, looks) for k in range(1, number + 1)]
    assert all(value >= 0 for value in shares)
    assert sum(shares) <= 1 + 1e-12


@given(lists, st.data())
def test_simes_rises_with_each_p_value_and_stays_in_its_bounds(values, data):
    at = data.draw(st.integers(0, len(values) - 1))
    raised = [*values[:at], data.draw(st.floats(values[at], 1.0)), *values[at + 1 :]]
    assert min(values) <= simes(values) <= min(1.0, len(values) * min(values))
    assert simes(values) <= simes(raised)


@given(probabilities, st.integers(1, 50))
def test_simes_of_equal_p_values_is_theirs(value, count):
    assert simes([value] * count) == pytest.approx(value)


@given(floors)
def test_an_e_value_has_mean_one_over_the_uniform_law(floor):
    """Integrated on each side of its kinks; on the right a substitution makes the integrand constant."""
    reach = max(REACH, floor)
    below = floor * float(e_values([floor / 2], floor)[0])
    points = floor * (reach / floor) ** ((np.arange(500) + 0.5) / 500)
    between = float(np.mean(points * e_values(points, floor))) * np.log(reach / floor)
    assert below + between == pytest.approx(1.0, rel=1e-9)
    assert e_values([reach + 1e-9, 1.0], floor).tolist() == [0.0, 0.0]


@given(floors, probabilities, probabilities)
def test_e_values_fall_in_p_and_are_never_negative(floor, a, b):
    low, high = e_values(sorted((a, b)), floor)
    assert low >= high >= 0


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=40), st.floats(0.01, 0.5))
def test_e_bh_names_a_top_set_each_of_enough_evidence(values, level):
    chosen = set(e_bh(values, level).tolist())
    if chosen:
        least = min(values[i] for i in chosen)
        assert least * len(chosen) >= len(values) / level * (1 - 1e-12)
        assert all(values[i] <= least for i in range(len(values)) if i not in chosen)
    assert set(e_bh([*values, 0.0], level).tolist()) <= chosen


@given(st.lists(lists, min_size=1, max_size=12), st.sampled_from(["spending", "evidence"]))
def test_evidence_never_falls_and_the_level_is_never_overdrawn(series, rule):
    plan = Plan(0.05, 8, rule, 1e-4)
    total, spent = 0.0, 0.0
    for number, values in enumerate(series, start=1):
        look = plan.judge(number, number, total, values)
        assert look.total >= total
        assert number <= 8 or (look.spent == 0 and (rule == "evidence" or not look.stop))
        total, spent = look.total, spent + look.spent
    assert spent <= 0.05 + 1e-12


shapes = st.tuples(st.integers(1, 12), st.just(6), st.just(5), st.just(1))
pictures = arrays(np.uint8, shapes, elements=st.sampled_from([0, 20, 40, 200]))


@given(pictures, st.floats(0.02, 0.9), st.integers(1, 5))
def test_members_are_near_equals_are_together_and_batches_do_not_matter(images, near, batch):
    cliques, whole = Cliques(near), Cliques(near)
    for start in range(0, len(images), batch):
        cliques.add(images[start : start + batch])
    whole.add(images)
    assert cliques.of.tolist() == whole.of.tolist()
    assert len(cliques.of) == len(images)
    for i, j in itertools.combinations(range(len(images)), 2):
        distance = tile_distance(images[i : i + 1], images[j : j + 1])[0]
        assert distance <= near + 1e-9 or cliques.of[i] != cliques.of[j]
        assert distance > 0 or cliques.of[i] == cliques.of[j]


@given(pictures)
def test_the_tile_distance_is_a_metric_and_at_least_the_root_mean_square(images):
    n = len(images)
    pairs = np.array(list(itertools.product(range(n), range(n), range(n))))
    a, b, c = (images[column] for column in pairs.T)
    ab = tile_distance(a, b)
    assert (ab <= tile_distance(a, c) + tile_distance(c, b) + 1e-12).all()
    assert (ab == tile_distance(b, a)).all()
    whole = np.sqrt(((a.astype(float) - b) ** 2).mean(axis=(1, 2, 3))) / 255
    assert (ab >= whole - 1e-12).all()
