"""The laws of stored samples and what is seen of them, and of PNG with 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from countermark.marking.image import deep, samples
from countermark.marking.image.containers import png_key, png_key_chunk, png_with
from countermark.marking.image.samples import Key, moved, to_8_bits, view

Array = NDArray[Any]
sides = st.integers(1, 7)
shapes = st.tuples(sides, sides, st.integers(1, 4))
#: Few values, so that alpha 0, full alpha, the key and its neighbours all occur.
few = {np.uint8: st.sampled_from([0, 1, 2, 127, 254, 255]), np.uint16: st.sampled_from([0, 1, 256, 257, 40000, 65535])}
stored: st.SearchStrategy[Array] = st.sampled_from(list(few)).flatmap(
    lambda dtype: arrays.arrays(dtype, shapes, elements=few[dtype] | st.integers(0, int(np.iinfo(dtype).max)))
)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Array, Key, Array]:
    """Return samples, the transparent colour where there is room for one, and pixels to be seen instead."""
    picture = draw(stored)
    key = None
    if picture.shape[2] in (1, 3) and draw(st.booleans()):
        key = tuple(picture[0, 0].tolist())
    shape = (*picture.shape[:2], 1 if picture.shape[2] < 3 else 3)
    pixels = draw(arrays.arrays(np.uint8, shape, elements=few[np.uint8] | st.integers(0, 255)))
    return picture, key, np.ascontiguousarray(np.broadcast_to(pixels, (*shape[:2], 3)))


def transparency(picture: Array, key: Key) -> Array:
    if key is not None:
        return np.where((picture == np.array(key)).all(axis=2), 0, np.iinfo(picture.dtype).max)
    opaque = np.full(picture.shape[:2], np.iinfo(picture.dtype).max)
    return picture[..., -1] if picture.shape[2] in (2, 4) else opaque


@given(pictures())
def test_no_change_changes_nothing(drawn: tuple[Array, Key, Array]) -> None:
    picture, key, _ = drawn
    seen = view(picture, key)
    assert np.array_equal(moved(picture, key, seen, seen), picture)


@given(pictures())
def test_what_is_opaque_is_seen_as_asked(drawn: tuple[Array, Key, Array]) -> None:
    picture, key, asked = drawn
    changed = moved(picture, key, view(picture, key), asked)
    off = np.abs(view(changed, key).astype(int) - asked).max(axis=2)
    opaque = transparency(picture, key) == np.iinfo(picture.dtype).max
    took_it = opaque & (key is not None) & (off > 0)
    assert (off[opaque & ~took_it] == 0).all()
    if key is not None:
        beside = np.abs(changed.astype(int) - np.array(key))
        assert (off[took_it] == 1).all()
        assert (beside[took_it].sum(axis=1) == 1).all()


@given(pictures())
def test_transparency_and_what_it_hides_are_kept(drawn: tuple[Array, Key, Array]) -> None:
    picture, key, asked = drawn
    changed = moved(picture, key, view(picture, key), asked)
    before, after = transparency(picture, key), transparency(changed, key)
    assert np.array_equal(before, after)
    assert np.array_equal(changed[before == 0], picture[before == 0])
    assert (view(picture, key)[before == 0] == 255).all()


@given(pictures(), st.integers(1, 30))
def test_bands_do_not_matter(drawn: tuple[Array, Key, Array], size: int) -> None:
    picture, key, asked = drawn
    whole = view(picture, key), moved(picture, key, view(picture, key), asked)
    usual, samples._BAND = samples._BAND, size
    try:
        assert np.array_equal(view(picture, key), whole[0])
        assert np.array_equal(moved(picture, key, whole[0], asked), whole[1])
        if picture.dtype == np.uint16:
            assert np.array_equal(deep.read(deep.encode(picture)), picture)
    finally:
        samples._BAND = usual


def test_16_bits_are_rounded_to_8() -> None:
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(every), np.rint(every / 257).astype(np.uint8))


@given(arrays.arrays(np.uint16, shapes))
def test_a_deep_png_round_trips(picture: Array) -> None:
    assert np.array_equal(deep.read(deep.encode(picture)), picture)


@given(arrays.arrays(np.uint16, st.tuples(sides, sides, st.sampled_from([1, 3]))))
def test_the_transparent_colour_round_trips(picture: Array) -> None:
    key = tuple(picture[-1, -1].tolist())
    assert png_key(png_with(deep.encode(picture), [png_key_chunk(key)])) == key
