"""Drawings: what is enlarged, what is laid side by side, and where they are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from countermark.errors import StorageError
from countermark.marking.image.preview import AMPLIFIED, difference, fitted, lattice, preview, sheet, write_drawing


@dataclass(frozen=True)
class Square:
    """A cell of the lattice, upright."""

    corners: NDArray[np.float64]
    evidence: float


def square(left: float, top: float, evidence: float, side: float = 100.0) -> Square:
    corners = np.array([(left, top), (left + side, top), (left + side, top + side), (left, top + side)])
    return Square(corners, evidence)


def test_a_difference_is_enlarged_about_grey() -> None:
    before = np.full((2, 3, 3), 100, np.uint8)
    after = before.copy()
    after[0, 0], after[1, 2] = (101, 98, 100), (0, 255, 100)
    shown = difference(before, after)
    assert shown[0, 0].tolist() == [128 + AMPLIFIED, 128 - 2 * AMPLIFIED, 128]
    assert shown[1, 2].tolist() == [0, 255, 128]
    assert (shown[0, 1:] == 128).all()


@pytest.mark.parametrize(("shape", "size"), [((100, 60), (60, 100)), ((800, 400), (100, 200)), ((10, 2000), (300, 2))])
def test_pictures_shrink_to_a_frame_and_never_grow(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert fitted(np.zeros((*shape, 3), np.uint8), 300, 200).size == size


@pytest.mark.parametrize(("side", "rows"), [(300, 1), (1500, 2)])
def test_a_preview_shows_original_copy_and_difference(side: int, rows: int) -> None:
    before = np.full((side, side, 3), 60, np.uint8)
    drawn = np.asarray(preview(before, before + np.uint8(3), 38.6))
    middle = drawn.shape[1] // 6
    for row in range(rows):
        y = drawn.shape[0] * (2 * row + 1) // (2 * rows)
        assert [drawn[y, x, 0] for x in (middle, 3 * middle, 5 * middle)] == [60, 63, 128 + 3 * AMPLIFIED]
    assert (drawn[-1] == 255).all()


def test_cells_are_coloured_by_their_evidence() -> None:
    """On a grey ground; a cell may lie partly outside, and one without evidence has an outline alone."""
    cells = [square(-50, 0, -9.0), square(50, 0, 3.5), square(150, 0, 8.0), square(250, 0, 99.0), square(9000, 0, 9.0)]
    drawn = np.asarray(lattice(np.full((200, 400, 3), (200, 90, 90), np.uint8), cells)).astype(int)
    left, row = 400 + 2 * 16, 16 + 50
    none, yellow, orange, magenta, free = (drawn[row, left + x] for x in (20, 100, 200, 300, 380))
    assert np.ptp(none) == np.ptp(free) == 0
    assert none.tolist() == free.tolist()
    assert yellow[1] > orange[1] > free[1] > magenta[1]
    assert min(magenta[0], magenta[2]) > magenta[1] + 20
    assert (drawn[row, 16:400] == (200, 90, 90)).all()


def test_boxes_are_numbered_outlines() -> None:
    suspect = np.full((300, 1440, 3), 128, np.uint8)
    bare, boxed = (np.asarray(lattice(suspect, [], boxes)).astype(int) for boxes in ((), [(200, 40, 800, 240)]))
    differs = np.argwhere(np.abs(bare - boxed).max(axis=2) > 3)
    top, left = differs.min(axis=0)
    bottom, right = differs.max(axis=0)
    origin = 720 + 2 * 16  # shown at half its size
    assert np.allclose([left - origin, top - 16, right - origin, bottom - 16], [100, 20, 400, 120], atol=3)
    inside = boxed[16 + 24 : 16 + 60, origin + 104 : origin + 150] - 128
    assert inside.max() > 60


def test_captions_stand_under_their_panels_and_are_never_cut() -> None:
    panel = Image.new("RGB", (40, 30), "red")
    one, three = sheet([[(panel, "a")]]), sheet([[(panel, "a rather long caption\nof two lines")] * 3])
    assert three.width > 3 * 100
    assert three.height > one.height
    dark = (np.asarray(three) < 100).all(axis=2)
    assert dark.any()
    assert not dark[:, [0, -1]].any()
    assert not dark[[0, -1]].any()


def test_drawings_are_png_whatever_the_name(tmp_path: Path) -> None:
    write_drawing(Image.new("RGB", (4, 3)), tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(StorageError, match="cannot write"):
        write_drawing(Image.new("RGB", (4, 3)), tmp_path / "missing" / "a.png")
