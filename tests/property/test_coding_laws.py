"""The laws of the convolutional code, and a slow decoder written from the definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.coding import CORRECTABLE, GENERATORS, MEMORY, SYMBOLS, WORD_BITS, decode, encode
from countermark.errors import InputError

words = st.integers(0, 2**WORD_BITS - 1)


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
    with pytest.raises(InputError):
        decode(symbols)


@pytest.mark.parametrize("word", [-1, 2**64])
def test_encode_refuses_what_is_not_a_word(word):
    with pytest.raises(InputError):
        encode(word)
