"""Laws of the sums that other schemes' detectors count, against exact enumeration with whole numbers."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.stats import binomial_tail
from countermark.errors import InputError
from countermark.marking.text.foreign.nulls import hypergeometric_tail, weighted_tail
from countermark.marking.text.foreign.registry import parse_schemes


def convolve(one: list[Fraction], other: list[Fraction]) -> list[Fraction]:
    total = [Fraction(0)] * (len(one) + len(other) - 1)
    for (i, a), (j, b) in itertools.product(enumerate(one), enumerate(other)):
        total[i + j] += a * b
    return total


def exact_law(groups: dict[int, int], population: int, marked: int) -> list[Fraction]:
    law = [Fraction(1)]
    for size, number in groups.items():
        whole = math.comb(population, size)
        one = [
            Fraction(math.comb(marked, k) * math.comb(population - marked, size - k), whole) for k in range(size + 1)
        ]
        for _ in range(number):
            law = convolve(law, one)
    return law


@given(
    st.dictionaries(st.integers(1, 6), st.integers(1, 4), min_size=1, max_size=3),
    st.integers(6, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))),
    st.integers(0, 40),
)
def test_groups_have_the_exact_tail(groups: dict[int, int], population: tuple[int, int], threshold: int) -> None:
    law = exact_law(groups, *population)
    tail = hypergeometric_tail(groups, *population, threshold)
    assert tail == pytest.approx(float(sum(law[threshold:])), rel=1e-9, abs=1e-250)
    assert tail >= hypergeometric_tail(groups, *population, threshold + 1)


@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 99))
def test_groups_of_one_are_coin_flips(trials: int, successes: int, marked: int) -> None:
    tail = hypergeometric_tail({1: trials}, 100, marked, successes)
    assert tail == pytest.approx(binomial_tail(successes, trials, marked / 100), rel=1e-7, abs=1e-250)


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(any),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.integers(-3, 320),
)
def test_weighted_sums_are_bounded_tightly(counts: list[int], weights: list[int], threshold: int) -> None:
    law = {0: Fraction(1)}
    for weight in weights:
        moved: dict[int, Fraction] = {}
        for (total, chance), (value, count) in itertools.product(law.items(), enumerate(counts)):
            place = total + weight * value
            moved[place] = moved.get(place, Fraction(0)) + chance * Fraction(count, sum(counts))
        law = moved
    exact = float(sum(chance for total, chance in law.items() if total >= threshold))
    tail = weighted_tail(counts, weights, threshold)
    assert tail >= exact * (1 - 1e-9)
    # On so fine a grid rounding up reaches nothing that is a whole unit away.
    assert tail == pytest.approx(exact, rel=1e-9, abs=1e-250)


def test_the_smallest_tails_are_never_none() -> None:
    assert 0 < hypergeometric_tail({1: 4000}, 1000, 10, 4000) <= 1e-280
    assert 0 < weighted_tail([65535, 1], [1] * 64, 64) < 1e-270


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.text(), deeper, max_size=4),
    max_leaves=6,
)
FIELDS = ["vocabulary", "greenlist_ratio", "bias", "hashing_key", "seeding_scheme", "context_width", "device", "keys",
          "ngram_len", "sampling_table_size", "eos", "key", "prf", "dual_key", "tokenizer", "name"]  # fmt: skip


@given(st.sampled_from(["kgw", "synthid", "gumbel"]), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5))
def test_a_list_raises_nothing_but_input_errors(kind: str, changes: dict[str, object]) -> None:
    required = {"kgw": {"vocabulary": 50}, "synthid": {"ngram_len": 5, "keys": [1, 2]}, "gumbel": {"key": 1}}[kind]
    with contextlib.suppress(InputError):
        (candidate,) = parse_schemes(json.dumps([{"name": "x", "scheme": kind} | required | changes]).encode())
        assert candidate.scheme.method.startswith("text.")
