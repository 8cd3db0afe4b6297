"""Whatever the picture, an adversary gives one of the same shape and type, the same every time, and harms no input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.marking.adversaries import (
    Surrogate,
    average_removal,
    copy_forgery,
    fold_forgery,
    line_removal,
    mean_detail,
    notch,
    standing_lines,
)

Adversary = Callable[[np.ndarray, np.ndarray], np.ndarray]
ADVERSARIES: dict[str, Adversary] = {
    "average": lambda one, other: average_removal(mean_detail([one, other]), one),
    "folded average": lambda one, other: average_removal(mean_detail([other], pitch=7), one),
    "lines": lambda one, other: line_removal(standing_lines([one, other], pitch=64, count=9), one),
    "notch": lambda one, _: notch(one),
    "surrogate": lambda one, other: Surrogate.train([one], [other], pitch=32).evade(one),
    "copy": lambda one, other: copy_forgery(other, one),
    "fold": lambda one, other: fold_forgery(other, one, 9),
}


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    return generator.integers(low, high, (height, width, 3), dtype=np.uint8, endpoint=True)


@pytest.mark.parametrize("name", ADVERSARIES)
@given(one=pictures(), other=pictures())
@settings(max_examples=10, deadline=None)
def test_an_adversary_keeps_shape_and_type_and_gives_the_same_every_time(
    name: str, one: np.ndarray, other: np.ndarray
) -> None:
    before = one.copy(), other.copy()
    changed = ADVERSARIES[name](one, other)
    assert changed.shape == one.shape
    assert changed.dtype == np.uint8
    assert (changed == ADVERSARIES[name](one, other)).all()
    assert (one == before[0]).all()
    assert (other == before[1]).all()
