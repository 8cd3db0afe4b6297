"""A fragment comes back to where it was cut; what is whole stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from countermark.errors import InputError
from countermark.marking.image.straighten import MAX_CANDIDATES, straighten

PICTURE = np.ascontiguousarray(data.astronaut()[:256, :320])


def at(x: float, y: float) -> np.ndarray:
    return np.array(((1.0, 0.0, x), (0.0, 1.0, y), (0.0, 0.0, 1.0)))


def test_a_whole_picture_stays_alone_and_as_it_is() -> None:
    (laid,) = straighten(PICTURE, at(0, 0), 64, (256, 320))
    assert np.array_equal(laid, PICTURE)


@settings(max_examples=30)
@given(st.integers(0, 120), st.integers(0, 100), st.integers(100, 136), st.integers(100, 180), st.integers(-3, 3))
def test_a_crop_lies_where_it_was_cut_in_one_candidate(left: int, top: int, height: int, width: int, k: int) -> None:
    piece = PICTURE[top : top + height, left : left + width]
    candidates = straighten(piece, at(left % 64 + 64 * k, top % 64 - 64 * k), 64, (256, 320))
    assert 1 <= len(candidates) <= MAX_CANDIDATES
    inside = [laid[top : top + height, left : left + piece.shape[1]] for laid in candidates]
    assert any(np.array_equal(part, piece) for part in inside)


@given(st.floats(0.5, 2.0), st.booleans())
@settings(max_examples=20)
def test_scale_and_mirror_are_undone(scale: float, mirrored: bool) -> None:
    from PIL import Image

    size = round(320 * scale), round(256 * scale)
    suspect = np.array(Image.fromarray(PICTURE).resize(size, Image.Resampling.LANCZOS))
    placement = np.diag((320 / size[0], 256 / size[1], 1.0))
    if mirrored:
        suspect = np.ascontiguousarray(suspect[:, ::-1])
        placement = np.array(((-1.0, 0.0, 320.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))) @ placement
    (laid,) = straighten(suspect, placement, 128, (256, 320))
    error = np.abs(laid[8:-8, 8:-8].astype(float) - PICTURE[8:-8, 8:-8]).mean()
    assert error < (12 if scale < 1 else 6)


def test_what_is_larger_than_the_frame_has_one_candidate() -> None:
    assert len(straighten(PICTURE, at(10, 10), 64, (128, 128))) == 1


@pytest.mark.parametrize("placement", [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_a_malformed_placement_is_refused(placement: np.ndarray) -> None:
    with pytest.raises(InputError):
        straighten(PICTURE, placement, 64, (128, 128))
