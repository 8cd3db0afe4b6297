"""The laws of ``marking.text.codewords``, held against slow enumerations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.stats import binomial_tail
from countermark.marking.text.codewords import CHUNKS, SYMBOLS, evidence, innocent_tail, likeliest, symbols

words = st.integers(0, 2**64 - 1)
seeds = st.integers(0, 2**32)


def table(seed, coarse=False):
    """Return a table of sums of scores; ``coarse`` ones have many equal entries."""
    generator = np.random.Generator(np.random.PCG64(seed))
    values = generator.gamma(generator.integers(1, 30, (CHUNKS, 1)), size=(CHUNKS, SYMBOLS))
    return values.round() if coarse else values


@given(words)
def test_symbols_are_the_bytes_of_a_word(word):
    assert symbols(np.array([word], dtype=np.uint64))[0].tobytes() == word.to_bytes(8, "big")


@given(seeds, st.lists(words, min_size=1, max_size=5))
def test_evidence_is_the_sum_over_symbols(seed, some):
    found = evidence(table(seed), np.array(some, dtype=np.uint64))
    slow = [sum(table(seed)[j, byte] for j, byte in enumerate(word.to_bytes(8, "big"))) for word in some]
    assert found == pytest.approx(slow)


@settings(max_examples=20)
@given(seeds, st.booleans(), st.integers(1, 200))
def test_the_list_is_distinct_falls_and_is_a_prefix(seed, coarse, size):
    values = table(seed, coarse)
    found = likeliest(values, size)
    assert len(set(found)) == size
    falling = evidence(values, np.array(found, dtype=np.uint64))
    assert (np.diff(falling) <= 1e-9).all()
    assert likeliest(values, size + 1)[:size] == found


@settings(max_examples=20)
@given(seeds)
def test_no_word_outside_the_list_has_more_evidence(seed):
    """Only the best three symbols of a chunk can be among the best few words: enumerate them all."""
    values = table(seed)
    best = np.argsort(-values, axis=1)[:, :3]
    every = [
        bytes(best[j, rank] for j, rank in enumerate(ranks)) for ranks in itertools.product(range(3), repeat=CHUNKS)
    ]
    numbers = np.array([int.from_bytes(one, "big") for one in every], dtype=np.uint64)
    highest = np.sort(evidence(values, numbers))[::-1][:3]
    assert evidence(values, np.array(likeliest(values, 3), dtype=np.uint64)) == pytest.approx(highest)


@settings(max_examples=20)
@given(seeds, st.booleans(), st.floats(-10, 500), st.floats(0, 100))
def test_the_tail_falls_and_is_at_least_that_of_one_word(seed, coarse, threshold, more):
    values = table(seed, coarse)
    tail = innocent_tail(values, threshold)
    highest = float(values.max(axis=1).sum())
    assert 0 <= tail <= 1
    assert innocent_tail(values, threshold + more) <= tail
    assert (tail >= 2.0**-64) == (threshold <= highest)
    assert innocent_tail(values, highest) >= 2.0**-64 * (1 - 1e-9)


@settings(max_examples=5)
@given(seeds, st.booleans())
def test_the_tail_is_at_least_what_random_words_do(seed, coarse):
    generator = np.random.Generator(np.random.PCG64(seed))
    values, drawn = table(seed, coarse), generator.integers(0, 2**64, 50_000, dtype=np.uint64)
    found = evidence(values, drawn)
    for share in (0.5, 0.1, 1e-3):
        threshold = float(np.quantile(found, 1 - share))
        tail = innocent_tail(values, threshold)
        assert binomial_tail(int((found >= threshold).sum()), len(found), tail) > 1e-7
        assert coarse or tail <= 1.2 * share + 5e-4


def test_the_tail_of_the_best_word_is_its_share():
    values = table(1)
    values[range(CHUNKS), range(CHUNKS)] += 100.0
    assert innocent_tail(values, float(values.max(axis=1).sum())) == pytest.approx(2.0**-64)
