"""The laws of the convolutional code, and slow decoders written from the definition."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core import coding
from countermark.core.coding import (
    CORRECTABLE,
    GENERATORS,
    MEMORY,
    SYMBOLS,
    WORD_BITS,
    codeword_tail,
    correlate,
    decode,
    decode_list,
    encode,
    encode_many,
)
from countermark.core.stats import binomial_tail
from countermark.errors import InputError

words = st.integers(0, 2**WORD_BITS - 1)
seeds = st.integers(0, 2**32 - 1)


def draw(seed, noise):
    """Return a word and its code word under Gaussian noise."""
    generator = np.random.Generator(np.random.PCG64(seed))
    word = int(generator.integers(0, 2**WORD_BITS, dtype=np.uint64))
    return word, encode(word) + noise * generator.normal(size=SYMBOLS)


def short_gains(seed, bits):
    """Return gains of a circular code of few bits, and the correlation of each of its words."""
    generator = np.random.Generator(np.random.PCG64(seed))
    symbols = generator.normal(size=(bits, 4))
    gains = symbols @ coding._signs().T
    code = [slow_encode([word >> (bits - 1 - i) & 1 for i in range(bits)]) for word in range(2**bits)]
    return gains, (1 - 2 * np.array(code)) @ symbols.ravel()


def slow_encode(bits):
    """Shift-register encoding of a circular list of bits, one bit of one generator at a time."""
    out = []
    for i in range(len(bits)):
        register = [bits[i - age] for age in range(MEMORY + 1)]
        for generator in GENERATORS:
            taps = [generator >> (MEMORY - age) & 1 for age in range(MEMORY + 1)]
            out.append(sum(r & t for r, t in zip(register, taps, strict=True)) % 2)
    return out


def slow_decode(symbols, start):
    """Plain Viterbi from one state to itself; a state is the tuple of the last bits, newest first."""
    best = {start: (0.0, ())}
    for i in range(len(symbols) // 4):
        step = {}
        for (state, (score, path)), bit in itertools.product(best.items(), (0, 1)):
            register = (bit, *state)
            signs = [1 - 2 * (sum(r & g >> (MEMORY - a) & 1 for a, r in enumerate(register)) % 2) for g in GENERATORS]
            gained = score + sum(s * v for s, v in zip(signs, symbols[4 * i : 4 * i + 4], strict=True))
            if register[:-1] not in step or gained > step[register[:-1]][0]:
                step[register[:-1]] = (gained, (*path, bit))
        best = step
    return best[start]


def to_bits(word):
    return [word >> (WORD_BITS - 1 - i) & 1 for i in range(WORD_BITS)]


@given(words)
def test_encode_equals_the_shift_register(word):
    assert encode(word).tolist() == [1 - 2 * bit for bit in slow_encode(to_bits(word))]


@settings(max_examples=40)
@given(words, st.floats(1e-6, 1e6))
def test_decode_inverts_encode_at_any_scale(word, scale):
    assert decode(encode(word) * scale) == word


@settings(max_examples=40)
@given(words, st.sets(st.integers(0, SYMBOLS - 1), max_size=CORRECTABLE))
def test_decode_corrects_the_stated_number_of_flips(word, flips):
    symbols = encode(word)
    symbols[list(flips)] *= -1
    assert decode(symbols) == word


@given(st.lists(words, max_size=6), seeds)
def test_many_words_are_encoded_and_correlated_as_each_is(many, seed):
    array, symbols = np.array(many, dtype=np.uint64), draw(seed, 2.0)[1]
    code = encode_many(array)
    assert code.shape == (len(many), SYMBOLS)
    assert all((row == encode(word)).all() for row, word in zip(code, many, strict=True))
    assert correlate(symbols, array) == pytest.approx(code @ symbols, abs=1e-9)


@settings(max_examples=20)
@given(seeds, st.floats(0.1, 4.0), st.integers(1, 40), st.floats(1e-3, 1e3))
def test_a_list_is_distinct_ordered_and_grows_at_its_end(seed, noise, size, scale):
    symbols = draw(seed, noise)[1]
    listed = decode_list(symbols, size)
    scores = correlate(symbols, np.array(listed, dtype=np.uint64))
    assert len(set(listed)) == size
    assert (np.diff(scores) <= 2.0**-19 * np.abs(symbols).sum()).all()
    assert decode(symbols) == listed[0]
    assert decode_list(scale * symbols, size + 1)[:size] == listed


@settings(max_examples=15)
@given(seeds, st.integers(9, 11), st.integers(1, 60))
def test_a_list_holds_the_best_of_all_words(seed, bits, size):
    """Codes of 9 to 11 bits, whose words can all be tried."""
    gains, scores = short_gains(seed, bits)
    scaled = np.rint(gains * 2.0**16).astype(np.int32)
    leads, metric = coding._forward(scaled)
    listed = coding._list(leads, np.diagonal(metric).tolist(), size)
    assert len(set(listed)) == size
    assert scores[list(listed)] == pytest.approx(np.sort(scores)[::-1][:size], abs=1e-2)


@settings(max_examples=15)
@given(seeds, st.integers(9, 11), st.floats(0.01, 3.0))
def test_the_moment_generating_function_is_exact(seed, bits, tilt):
    gains, scores = short_gains(seed, bits)
    assert coding._log_moment(tilt * gains) == pytest.approx(math.log(np.exp(tilt * scores).mean()), abs=1e-9)


@settings(max_examples=6)
@given(seeds, st.floats(0.2, 4.0), st.floats(1e-3, 1e3))
def test_the_tail_falls_in_the_threshold_and_ignores_the_scale(seed, noise, scale):
    symbols = draw(seed, noise)[1]
    total = float(np.abs(symbols).sum())
    tails = [codeword_tail(symbols, share * total) for share in (-0.1, 0.1, 0.3, 0.5, 0.8, 1.1)]
    assert tails[0] == 1.0
    assert tails == sorted(tails, reverse=True)
    assert tails[-1] == 2.0**-WORD_BITS
    assert codeword_tail(scale * symbols, scale * 0.3 * total) == pytest.approx(tails[2], rel=1e-6)


def test_the_tail_of_a_clean_code_word_is_one_word_in_all():
    assert codeword_tail(encode(5), 256.0) == pytest.approx(2.0**-WORD_BITS, rel=1e-6)
    assert codeword_tail(np.zeros(SYMBOLS), 1.0) == 1.0


def test_the_tail_bounds_what_random_words_do():
    """Fixed damaged symbols, 400,000 words: never below what is seen, never far above."""
    generator = np.random.Generator(np.random.PCG64(17))
    symbols = draw(18, 3.0)[1] * generator.exponential(size=SYMBOLS)  # unequal reliabilities
    sums = correlate(symbols, generator.integers(0, 2**WORD_BITS, 400_000, dtype=np.uint64))
    for share in (1e-1, 1e-2, 1e-3, 1e-4):
        threshold = float(np.quantile(sums, 1 - share))
        bound = codeword_tail(symbols, threshold)
        assert binomial_tail(int((sums >= threshold).sum()), len(sums), bound) > 1e-6
        assert bound <= 40 * share


def test_the_tail_bounds_the_far_tail_by_importance_sampling():
    """Draw closed paths from the tilted law, where correlations near the threshold are common, and weigh back."""
    symbols, tilt, count = draw(19, 2.5)[1], 0.2, 20_000
    gains = tilt * (symbols.reshape(-1, 4) @ coding._signs().T)
    drawn = tilted_words(gains, count)
    sums = correlate(symbols, drawn)
    threshold = float(np.mean(sums))
    log_ratio = coding._log_moment(gains) - tilt * sums
    tail = float(np.mean(np.where(sums >= threshold, np.exp(log_ratio), 0.0)))
    assert tail < 1e-11
    assert tail <= codeword_tail(symbols, threshold) <= 60 * tail


def tilted_words(gains, count):
    """Draw words with probability in proportion to exp(sum of gains): sums forward, choices backward."""
    generator = np.random.Generator(np.random.PCG64(20))
    before, weights, factors = [], np.eye(256), np.exp(gains)
    for factor in factors:
        before.append(weights)
        twice = np.concatenate((weights, weights)) * factor[:, None]
        weights = twice[0::2] + twice[1::2]
    closed = np.diagonal(weights)
    start = generator.choice(256, count, p=closed / closed.sum())
    state, drawn = start.copy(), np.zeros(count, dtype=np.uint64)
    for i in reversed(range(len(gains))):
        drawn |= (state >> 7).astype(np.uint64) << np.uint64(len(gains) - 1 - i)
        even = before[i][2 * state % 256, start] * factors[i][2 * state]
        odd = before[i][(2 * state + 1) % 256, start] * factors[i][2 * state + 1]
        state = (2 * state + (generator.random(count) * (even + odd) >= even)) % 256
    assert (state == start).all()
    return drawn


def test_decode_finds_the_path_that_plain_viterbi_finds():
    generator = np.random.Generator(np.random.PCG64(3))
    word = int(generator.integers(0, 2**63))
    noisy = encode(word) + 2.0 * generator.normal(size=SYMBOLS)
    found = decode(noisy)
    bits = to_bits(found)
    # From the state that the found word begins in, no path of the slow decoder is better, and it is the same path.
    score, path = slow_decode(noisy.tolist(), tuple(bits[: -MEMORY - 1 : -1]))
    assert list(path) == bits
    assert score == pytest.approx(float(encode(found) @ noisy))
    assert score >= float(encode(word) @ noisy)


def test_the_code_has_the_distance_that_correctable_claims():
    """Least weight of a non-zero circular code word, by dynamic programming over all starts at once."""
    states = 2**MEMORY
    weights = [[(r & g).bit_count() & 1 for g in GENERATORS] for r in range(2 * states)]
    cost = np.array(weights).sum(axis=1)
    best = np.full((states, states), np.inf)
    np.fill_diagonal(best, 0.0)
    best[0, 0] = np.inf  # leave the zero path at the first step: a shift of any non-zero word does
    first = np.full((states, states), np.inf)
    first[states // 2, 0] = cost[states]
    for i in range(WORD_BITS):
        before = np.concatenate((best, best)) + cost[:, None]
        best = np.minimum(before[0::2], before[1::2])
        if i == 0:
            best = np.minimum(best, first)
    assert np.diagonal(best).min() == 2 * CORRECTABLE + 2


@pytest.mark.parametrize("symbols", [np.zeros(255), np.full(256, np.nan), np.zeros((4, 64))])
def test_decode_refuses_what_is_not_a_code_word(symbols):
    for ask in (decode, lambda values: codeword_tail(values, 1.0), lambda values: correlate(values, np.zeros(1, "u8"))):
        with pytest.raises(InputError):
            ask(symbols)


def test_a_list_and_a_threshold_have_limits():
    for size in (0, 2**16 + 1):
        with pytest.raises(InputError):
            decode_list(np.ones(SYMBOLS), size)
    with pytest.raises(InputError):
        codeword_tail(np.ones(SYMBOLS), math.inf)


@pytest.mark.parametrize("word", [-1, 2**64])
def test_encode_refuses_what_is_not_a_word(word):
    with pytest.raises(InputError):
        encode(word)
