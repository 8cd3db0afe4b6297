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
from countermark.marking.image.lattice import LatticeMark, recompute
from countermark.marking.image.pattern import PILOTS

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


@given(
    st.lists(st.floats(-1, 1), min_size=PILOTS, max_size=PILOTS),
    st.lists(st.floats(0, 4), min_size=PILOTS, max_size=PILOTS),
    st.lists(st.floats(-1e6, 1e6), min_size=SYMBOLS, max_size=SYMBOLS),
    st.integers(1, 2**40),
)
@settings(max_examples=30)
def test_recompute_takes_all_numbers_in_range(cosines, weights, symbols, searched):
    result = recompute({"cosines": cosines, "weights": weights, "symbols": symbols, "searched": searched})
    assert 0 <= result.p_value <= 1
    assert 0 <= result.word < 2**64


@given(st.dictionaries(st.sampled_from(["cosines", "weights", "symbols", "searched"]), json_values))
def test_recompute_refuses_any_other_json(observations):
    with pytest.raises(InputError):
        recompute(observations)
