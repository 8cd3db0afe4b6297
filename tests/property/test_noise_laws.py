"""The laws that ``marking.image.noise`` and ``rademacher_sum_tail`` state."""

import dataclasses
import functools
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.keys import Secret
from countermark.core.stats import binomial_tail, rademacher_sum_tail
from countermark.errors import InputError
from countermark.marking.image import noise
from countermark.marking.image.noise import NoiseMark, coefficients, collision_bound, latent_of, recompute

keys = st.binary(min_size=32, max_size=32).map(Secret)
words = st.integers(0, 2**64 - 1)
counters = st.integers(0, 2**24 - 1)
shapes = st.sampled_from([(1, 32, 32), (3, 24, 20), (4, 32, 32), (3, 37, 41), (16, 16, 18), (1, 1, 48, 30)])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=30)
@given(keys, counters, st.sampled_from([1024, 4095, 4096, 16384]))
def test_counter_undoes_nonce(key, counter, size):
    mark = NoiseMark(key)
    assert mark.counter(mark.nonce(counter, size), size) == counter


@settings(max_examples=15)
@given(keys, words, words, counters, shapes, keys)
def test_noise_has_its_signs_and_magnitudes_do_not_know_the_word(key, word, other, counter, shape, seed):
    mark, size = NoiseMark(key), math.prod(shape)
    values = coefficients(mark.noise(word, counter, shape, seed))
    clear = np.abs(values) > 1e-3  # rounding of float32 can turn the smallest
    assert (np.sign(values) == mark.signs(word, counter, size))[clear].all()
    assert clear.mean() > 0.99
    others = coefficients(mark.noise(other, counter, shape, seed))
    assert np.allclose(np.abs(values), np.abs(others), atol=1e-4)


@settings(max_examples=15)
@given(keys, words, counters, shapes, keys, st.floats(1e-3, 1e3), st.sampled_from([0.0, 0.1]))
def test_what_was_written_is_read_and_recomputed(key, word, counter, shape, seed, factor, flips):
    mark = NoiseMark(key, flips=flips)
    seen = mark.read(coefficients(factor * mark.noise(word, counter, shape, seed)))
    assert seen.word == word
    assert mark.counter(seen.nonce, math.prod(shape)) == counter
    assert seen.significant(1e-6)
    again = recompute(json.loads(json.dumps(seen.observations)))
    assert dataclasses.asdict(again).items() <= dataclasses.asdict(seen).items()


@settings(max_examples=15)
@given(shapes, st.integers(0, 2**32))
def test_coefficients_are_a_rotation(shape, seed):
    latent = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)
    values = coefficients(latent)
    assert np.allclose(latent_of(values, shape), latent, atol=1e-4)
    assert math.isclose(float(values @ values), float((latent**2).sum()), rel_tol=1e-4)


@functools.cache
def parities(size):
    """The parity that each sign of the nonce share takes of the whole nonce, as a number of so many bits."""
    plan = NoiseMark(Secret(bytes(range(32))))._plan(size)
    bits, width = plan.counts.nonce_bits, noise.WINDOW
    rows = []
    for i, masks in enumerate(plan.masks.tolist()):
        for mask in masks:
            places = [(i - age) % bits for age in range(width) if mask >> age & 1]
            rows.append(sum(1 << place for place in places))
    return rows


@pytest.mark.parametrize("size", [1024, 4096, 16384])
def test_no_one_two_or_three_parities_cancel(size):
    """So any three signs are independent and fair over all nonces: linear forms that are linearly independent."""
    rows = parities(size)
    assert 0 not in rows
    assert len(set(rows)) == len(rows)
    # Three cancel only where their weights, all odd, have an even sum.
    assert all(row.bit_count() % 2 for row in rows)


def test_signs_of_the_nonce_share_are_those_parities():
    size, nonce = 1024, 0xABCDE5
    plan = NoiseMark(Secret(bytes(range(32))))._plan(size)
    bits = plan.counts.nonce_bits
    flipped = int(f"{nonce:0{bits}b}"[::-1], 2)  # bit i of a row is the nonce's i-th from the top
    expected = [1 - 2 * ((row & flipped).bit_count() & 1) for row in parities(size)]
    assert (noise._encode_nonce(nonce, plan) * plan.nonce_pad == expected).all()


@pytest.mark.parametrize("seed", range(3))
def test_three_signs_are_exactly_uniform_over_all_nonces_of_a_small_circle(seed):
    """By rank: all seven combinations of three parities differ, and none is zero."""
    rows = np.random.Generator(np.random.PCG64(seed)).choice(np.array(parities(1024), dtype=np.int64), (200, 3))
    for a, b, c in rows.tolist():
        combined = {
            functools.reduce(int.__xor__, chosen, 0)
            for k in (1, 2, 3)
            for chosen in itertools.combinations((a, b, c), k)
        }
        assert len({a, b, c}) < 3 or (0 not in combined and len(combined) == 7)


def test_every_position_serves_once():
    for size in (1024, 4097, 12288, 262144):
        plan = NoiseMark(Secret(bytes(32)))._plan(size)
        at = np.concatenate((plan.nonce_at, plan.pilot_at, plan.word_at))
        assert (np.sort(at) == np.arange(size)).all()


@settings(max_examples=10)
@given(keys, st.integers(0, 2**32), st.sampled_from([1024, 3000, 5000]))
def test_reading_returns_for_any_latent_and_finds_nothing(key, seed, size):
    values = np.random.Generator(np.random.PCG64(seed)).standard_cauchy(size)
    seen = NoiseMark(key).read(values)
    assert 1e-6 < seen.p_value <= 1


@given(
    st.lists(st.integers(0, 2000), min_size=25, max_size=25),
    st.lists(st.integers(0, 2000), min_size=25, max_size=25),
    st.lists(st.floats(-1e6, 1e6), min_size=256, max_size=256),
    st.integers(1, 2**40),
    st.from_regex("[0-9a-f]{16}", fullmatch=True),
)
@settings(max_examples=20)
def test_recompute_takes_all_numbers_in_range(agree, disagree, symbols, searched, nonce):
    given = {"agree": agree, "disagree": disagree, "symbols": symbols, "searched": searched, "nonce": nonce}
    result = recompute(given)
    assert 0 < result.p_value <= 1
    assert result.words[0] == result.word
    assert result.nonce == int(nonce, 16)


@given(st.dictionaries(st.sampled_from(["agree", "disagree", "symbols", "searched", "nonce"]), json_values))
def test_recompute_refuses_any_other_json(observations):
    with pytest.raises(InputError):
        recompute(observations)


@given(st.integers(0, 2**40), st.sampled_from([1024, 4096]))
def test_the_collision_bound_is_the_birthday_bound(generations, size):
    bound = collision_bound(generations, size)
    assert 0 <= bound <= 1
    assert bound == min(1.0, generations * (generations - 1) / 2 / 2 ** (24 if size < 4096 else 64))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(-0.2, 1.2))
def test_rademacher_sum_tail_is_above_the_true_tail(weights, share):
    threshold = share * math.fsum(weights)
    signs = np.array(list(itertools.product((1, -1), repeat=len(weights))))
    exact = float(np.mean(signs @ np.array(weights) >= threshold + 1e-9))
    assert exact <= rademacher_sum_tail(weights, threshold) * (1 + 1e-9)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40), st.floats(0, 1))
def test_rademacher_sum_tail_is_below_hoeffding(weights, share):
    threshold = share * math.fsum(weights)
    hoeffding = math.exp(-(threshold**2) / (2 * math.fsum(w * w for w in weights)))
    assert rademacher_sum_tail(weights, threshold) <= hoeffding * (1 + 1e-6)


@given(st.integers(1, 400), st.data())
def test_rademacher_sum_tail_of_equal_weights_bounds_the_binomial(count, data):
    heads = data.draw(st.integers(count // 2 + 1, count))
    bound = rademacher_sum_tail([1.0], 2 * heads - count, counts=[count])
    exact = binomial_tail(heads, count, 0.5)
    assert exact <= bound * (1 + 1e-9)
    assert bound <= exact * 5 * math.sqrt(count) + 1e-300
    assert math.isclose(bound, rademacher_sum_tail([1.0] * count, 2 * heads - count), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("weights", "threshold", "counts"),
    [([-1.0], 1.0, 1), ([math.nan], 1.0, 1), ([1.0], math.inf, 1), ([1.0], 1.0, -1)],
)
def test_rademacher_sum_tail_refuses(weights, threshold, counts):
    with pytest.raises(InputError):
        rademacher_sum_tail(weights, threshold, counts=counts)
