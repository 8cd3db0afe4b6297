"""The laws that ``marking.image.lattice`` states, over keys, words and observations."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.coding import SYMBOLS
from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import Detection
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.observations import recompute
from countermark.marking.image.pattern import PATTERNS, PILOTS, SYNC

keys = st.binary(min_size=32, max_size=32).map(Secret)
words = st.integers(0, 2**64 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@functools.cache
def photograph():
    return skimage.data.astronaut()[:384, :384]


@settings(max_examples=6)
@given(keys, words)
def test_what_was_embedded_is_read_and_recomputed(key, word):
    mark = LatticeMark(key)
    seen = mark.detect(mark.embed(photograph(), word))
    assert seen.word == word
    assert seen.significant(1e-6)
    again = recompute(json.loads(json.dumps(seen.observations)))
    assert dataclasses.asdict(again).items() <= dataclasses.asdict(seen).items()


@settings(max_examples=8)
@given(keys, st.integers(64, 200), st.integers(64, 200), st.integers(0, 2**32))
def test_detect_returns_for_any_picture(key, height, width, seed):
    picture = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    seen = LatticeMark(key).detect(picture)
    assert isinstance(seen, Detection)
    assert 0 < seen.p_value <= 1
    assert seen.p_value > 1e-6


@given(st.integers(0, 2**32), st.floats(0, 4), st.integers(0, PATTERNS - 1), st.integers(1, 8_000), st.booleans())
@settings(max_examples=30)
def test_recompute_takes_all_numbers_in_range(seed, heaviest, nonce, windows, anchored):
    generator = np.random.Generator(np.random.PCG64(seed))
    result = recompute(
        {
            "cosines": generator.uniform(-1, 1, PILOTS).tolist(),
            "weights": generator.uniform(0, heaviest, PILOTS).tolist(),
            "sync_cosines": generator.uniform(-1, 1, SYNC).tolist(),
            "sync_weights": generator.uniform(0, heaviest, SYNC).tolist(),
            "symbols": generator.normal(0, 1e5, SYMBOLS).tolist(),
            "nonce": nonce,
            "windows": windows,
            "anchored": anchored,
        }
    )
    assert 0 <= result.p_value <= 1
    assert result.word == result.words[0]
    assert len(set(result.words)) == result.words_tried
    # Canonical JSON has no larger whole numbers.
    assert result.searched < 2**53


NAMES = ["cosines", "weights", "sync_cosines", "sync_weights", "symbols", "nonce", "windows", "anchored"]


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_recompute_refuses_any_other_json(observations):
    with pytest.raises(InputError):
        recompute(observations)
