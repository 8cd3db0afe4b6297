"""The null of the noise mark, and what marked noise shows without the key. Bounds are one-sided: excess counts."""

import itertools
import math

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.core.stats import binomial_tail
from countermark.marking.image.noise import NoiseMark, _counts, coefficients

SHAPE, SIZE = (1, 32, 32), 1024


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def assert_no_excess(values):
    for level in (1e-6, 1e-3, 1e-2, 0.1, 0.5):
        false = int((values <= level).sum())
        assert binomial_tail(false, len(values), level) > 1e-6, (level, false)


def unmarked(count, seed, size=SIZE):
    """P-values of latents with structure and outliers, a fresh key each."""
    random = generator(seed)
    slope = np.linspace(3, 0.1, size)
    latents = (random.standard_t(3, size) * slope for _ in range(count))
    return np.array([NoiseMark(Secret(random.bytes(32))).read(latent).p_value for latent in latents])


def marked_by_others(count, seed):
    random = generator(seed)
    values = []
    for i in range(count):
        latent = NoiseMark(Secret(random.bytes(32))).noise(i, i, SHAPE, Secret(random.bytes(32)))
        values.append(NoiseMark(Secret(random.bytes(32))).read(coefficients(latent)).p_value)
    return np.array(values)


def test_unmarked_latents_and_those_of_other_keys_are_not_found():
    assert_no_excess(unmarked(60, seed=1))
    assert_no_excess(marked_by_others(60, seed=2))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_unmarked_latents_are_not_found():
    values = np.concatenate((unmarked(3000, seed=3), unmarked(300, seed=4, size=12288), marked_by_others(3000, seed=5)))
    assert_no_excess(values)
    assert values.min() > 1e-6


def pictures(count, seed):
    """Noise of many pictures under one key, with one word: what a service gives to one licensee."""
    random = generator(seed)
    mark = NoiseMark(Secret(random.bytes(32)))
    made = [mark.noise(77, i, SHAPE, Secret(random.bytes(32))) for i in range(count)]
    return mark, np.stack(made).reshape(count, -1)


def kolmogorov_p(sample):
    """Asymptotic p-value of the two-sided test against the standard normal (series of A. Kolmogorov, 1933)."""
    ordered = np.sort(sample)
    law = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in ordered.tolist()])
    n = len(ordered)
    steps = np.arange(n + 1) / n
    distance = max(np.max(steps[1:] - law), np.max(law - steps[:-1]))
    scaled = math.sqrt(n) * distance
    return min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled**2) for k in range(1, 60)))


def test_noise_is_normal_in_its_own_and_in_turned_coordinates():
    _mark, made = pictures(60, seed=6)
    turned = np.stack([coefficients(one.reshape(SHAPE)) for one in made])
    assert kolmogorov_p(made.ravel()) > 1e-4
    assert kolmogorov_p(turned.ravel()) > 1e-4


def test_means_and_covariances_over_pictures_are_those_of_plain_noise():
    """Largest of all products of two positions, over 400 pictures of one word: no pair repeats a sign."""
    _mark, made = pictures(400, seed=7)
    signs = np.sign(np.stack([coefficients(one.reshape(SHAPE)) for one in made]))
    sums = np.abs(signs.sum(axis=0))
    pairs = np.abs(signs.T @ signs)[np.triu_indices(SIZE, 1)]
    # Hoeffding with the union over all of them at 1e-6.
    assert sums.max() <= math.sqrt(2 * 400 * math.log(2 * SIZE / 1e-6))
    assert pairs.max() <= math.sqrt(2 * 400 * math.log(2 * len(pairs) / 1e-6))


def test_products_of_three_signs_of_the_nonce_share_are_fair():
    mark, made = pictures(400, seed=8)
    signs = np.sign(np.stack([coefficients(one.reshape(SHAPE)) for one in made]))[:, mark._plan(SIZE).nonce_at[:40]]
    sums = [
        abs(float((signs[:, a] * signs[:, b] * signs[:, c]).sum())) for a, b, c in itertools.combinations(range(40), 3)
    ]
    assert max(sums) <= math.sqrt(2 * 400 * math.log(2 * len(sums) / 1e-6))


def test_repetition_would_have_been_seen():
    """The power of the tests above: with a repeated nonce, as a fixed key has, pairs stand out at once."""
    mark, _made = pictures(1, seed=9)
    signs = np.stack([mark.signs(77, 5, SIZE) for _ in range(40)]).astype(float)
    assert np.abs(signs.T @ signs)[np.triu_indices(SIZE, 1)].max() == 40


def test_the_shares_are_as_stated():
    for size in (1024, 12288):
        counts = _counts(size)
        assert 0.1 < counts.pilots / size < 0.2
        assert counts.nonce + counts.pilots + counts.word == size
