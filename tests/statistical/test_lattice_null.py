"""The null of the lattice mark: unmarked crops, a fresh key each. The bound is one-sided, so only excess counts."""

import numpy as np
import pytest
import skimage.data

from countermark.core.keys import Secret
from countermark.core.stats import binomial_tail, cosine_sum_tail
from countermark.marking.image.alignment import TileSpectrum, anchored
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.observations import hypotheses
from countermark.marking.image.spectrum import leveled, luma

NAMES = ("astronaut", "coffee", "chelsea", "rocket")


def p_values(count, seed):
    """Examine random crops under fresh keys; crops overlap, keys do not, and the null is about keys."""
    generator = np.random.Generator(np.random.PCG64(seed))
    photographs = [getattr(skimage.data, name)() for name in NAMES]
    values = []
    for i in range(count):
        image = photographs[i % len(photographs)]
        size = generator.integers(128, 301, 2)
        top, left = (int(generator.integers(0, full - part)) for full, part in zip(image.shape, size, strict=False))
        mark = LatticeMark(Secret(generator.bytes(32)))
        values.append(mark.detect(image[top : top + size[0], left : left + size[1]]).p_value)
    return np.array(values)


def assert_no_excess(values):
    for level in (1e-6, 1e-3, 1e-2, 0.1, 0.5):
        false = int((values <= level).sum())
        # A level-alpha test is allowed alpha false alarms: fail only where that many would be a 1e-6 accident.
        assert binomial_tail(false, len(values), level) > 1e-6, (level, false)


def test_unmarked_crops_are_not_found():
    assert_no_excess(p_values(24, seed=11))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_unmarked_crops_are_not_found():
    values = p_values(1000, seed=12)
    assert_no_excess(values)
    assert values.min() > 1e-6


@pytest.mark.parametrize(
    ("lines", "draws", "shares"),
    [("sync_weights", 200_000, (1e-1, 1e-2, 1e-3, 1e-4)), ("weights", 20_000, (1e-1, 1e-2))],
)
def test_the_bound_holds_for_one_hypothesis_of_real_weights(lines, draws, shares):
    """Fixed hypothesis, fresh phases, against the bound at levels that so many draws can reach."""
    generator = np.random.Generator(np.random.PCG64(13))
    mark = LatticeMark(Secret(generator.bytes(32)))
    weights = np.array(mark.detect(skimage.data.chelsea()).observations[lines])
    sums = np.cos(generator.uniform(0, 2 * np.pi, (draws, len(weights))).astype(np.float32)) @ weights
    for share in shares:
        threshold = float(np.quantile(sums, 1 - share))
        low = share - 5 * np.sqrt(share / len(sums))
        assert low <= cosine_sum_tail(weights, threshold) <= 40 * share


def test_one_hypothesis_of_fresh_keys_is_as_bounded():
    """Before anything is searched: one nonce, the picture as it stands, a fresh key each time; only excess counts."""
    generator = np.random.Generator(np.random.PCG64(15))
    picture = skimage.data.rocket()[100:300, 200:420]
    tails = np.array([LatticeMark(Secret(generator.bytes(32))).tails_at(picture, [i])[0] for i in range(150)])
    for level in (1e-3, 1e-2, 0.1, 0.3):
        assert binomial_tail(int((tails <= level).sum()), len(tails), level) > 1e-6


def test_what_anchors_choose_is_as_bounded():
    """The best of all hands, turns and offsets by pilots alone, a fresh key each time; only excess counts."""
    generator = np.random.Generator(np.random.PCG64(16))
    spectrum = TileSpectrum.of(leveled(luma(skimage.data.rocket()[100:300, 200:420])))
    values = []
    for _ in range(40):
        mark = LatticeMark(Secret(generator.bytes(32)))
        for alignment in anchored(spectrum, mark._pattern):
            seen = mark._read(alignment)
            values.append(hypotheses(anchored=True) * cosine_sum_tail(seen.weights, float(seen.weights @ seen.cosines)))
    for level in (1e-3, 1e-2, 0.1, 0.5):
        assert binomial_tail(int((np.array(values) <= level).sum()), len(values), level) > 1e-6
    # It is far above chance for one hypothesis, so that the count is needed.
    assert np.median(values) < 1e-4 * hypotheses(anchored=True)


def test_the_bound_holds_in_the_far_tail_by_importance_sampling():
    """Draw the angles from their tilted law (von Mises), where sums near the threshold are common, and weigh back."""
    generator = np.random.Generator(np.random.PCG64(14))
    weights = generator.uniform(0.3, 2.0, 96)
    tilt = 0.8
    angles = generator.vonmises(0.0, tilt * weights, (100_000, 96))
    sums = np.cos(angles) @ weights
    threshold = float(np.mean(sums))
    log_ratio = np.log(np.i0(tilt * weights)).sum() - tilt * sums
    tail = float(np.mean(np.where(sums >= threshold, np.exp(log_ratio), 0.0)))
    assert tail < 1e-8
    assert tail <= cosine_sum_tail(weights, threshold) <= 60 * tail
