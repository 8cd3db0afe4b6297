"""Laws of pooled p-values: valid however the pictures depend on one another, and strong where they do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.stats import cosine_sum_tail
from countermark.marking.image.observations import recompute
from countermark.marking.image.pattern import PATTERNS, PILOTS, SYNC, TURNS
from countermark.marking.image.pooled import _of_different_hands, pooled_p_value


def observed(nonce, strength, seed, anchored=False):
    """Return observations whose pilots agree with the key by ``strength``; 0 is chance."""
    generator = np.random.Generator(np.random.PCG64(seed))
    cosines = [np.cos(generator.vonmises(0.0, strength, count)) for count in (PILOTS, SYNC)]
    return {
        "cosines": (np.floor(cosines[0] * 1e4) / 1e4).tolist(),
        "weights": generator.uniform(0.3, 2.0, PILOTS).round(3).tolist(),
        "sync_cosines": (np.floor(cosines[1] * 1e4) / 1e4).tolist(),
        "sync_weights": generator.uniform(0.3, 2.0, SYNC).round(3).tolist(),
        "symbols": generator.normal(size=256).round(4).tolist(),
        "nonce": nonce,
        "windows": 1,
        "anchored": anchored,
    }


pictures = st.builds(
    observed, st.integers(0, PATTERNS - 1), st.sampled_from((0.0, 0.3, 0.5)), st.integers(0, 2**32), st.booleans()
)
pools = st.lists(pictures, min_size=1, max_size=4)


@settings(max_examples=10)
@given(pictures)
def test_a_pool_of_one_is_that_one(picture):
    assert pooled_p_value([picture]) == recompute(picture).p_value


@settings(max_examples=6)
@given(pools, st.randoms())
def test_order_does_not_count_and_bonferroni_is_near(pool, random):
    shuffled = pool.copy()
    random.shuffle(shuffled)
    p_value = pooled_p_value(pool)
    assert pooled_p_value(shuffled) == pytest.approx(p_value, rel=1e-9)
    assert 0 < p_value <= 2 * len(pool) * min(recompute(each).p_value for each in pool)


@settings(max_examples=6)
@given(pools, st.integers(0, 4), st.integers(1, 6))
def test_copies_never_help(pool, which, copies):
    more = [*pool, *[pool[which % len(pool)]] * copies]
    assert pooled_p_value(more) >= pooled_p_value(pool) * (1 - 1e-9)


def test_weak_pictures_of_different_patterns_add_up():
    weak = [observed(nonce, 0.36, nonce) for nonce in (5, 700, 1400, 3000)]
    alone = [recompute(each).p_value for each in weak]
    assert min(alone) > 1e-9
    assert pooled_p_value(weak) < 1e-3 * min(alone)
    assert pooled_p_value([{**each, "nonce": 5} for each in weak]) >= min(alone)


def test_of_the_pictures_of_one_hand_the_first_stays():
    nonces = [hand * TURNS + turn for hand, turn in ((0, 0), (0, 1), (1, 0), (1, 1), (7, 9), (0, 0))]
    kept = _of_different_hands([{"nonce": nonce} for nonce in nonces])
    assert [each["nonce"] for each in kept] == [nonces[i] for i in (0, 2, 4)]


def test_the_bound_holds_for_copies_under_different_hands_and_one_turn():
    """One picture, its spectrum fixed, read under patterns of three hands, two of one turn; 200,000 keys."""
    generator = np.random.Generator(np.random.PCG64(21))
    keys, pilots, anchors = 200_000, 6, 3
    angles, weights = generator.uniform(0, 2 * np.pi, pilots), generator.uniform(0.3, 2.0, pilots)
    hands, turns = (
        generator.uniform(0, 2 * np.pi, (3, keys, pilots)),
        generator.uniform(0, 2 * np.pi, (2, keys, pilots)),
    )
    turns[..., :anchors] = 0.0
    sums = sum(np.cos(angles - hands[a] - turns[b]) @ weights for a, b in ((0, 0), (1, 0), (2, 1)))
    for share in (1e-1, 1e-2, 1e-3, 1e-4):
        threshold = float(np.quantile(sums, 1 - share))
        assert share - 5 * np.sqrt(share / keys) <= cosine_sum_tail(np.tile(weights, 3), threshold) <= 40 * share
