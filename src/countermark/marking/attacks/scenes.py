"""Pictures put among other things: on a screen, under a caption, beside other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from countermark.errors import InputError, require
from countermark.marking.attacks.pixels import Pixels, picture, resized, within

_PAPER, _INK, _BAR = (246, 246, 248), (52, 54, 60), (28, 30, 36)


def screenshot(image: Pixels, factor: float, border: float = 0.06) -> Pixels:
    """Show the picture at ``factor``, 0.1 to 4, of its size in a program's window, and keep the whole window.

    Around it stays a light margin of the share ``border``, 0 to 0.5, of its longer side, with a dark status bar above
    and a line of text below.
    """
    height, width = image.shape[:2]
    shown = resized(image, height * within(factor, 0.1, 4), width * factor)
    margin = round(within(border, 0, 0.5) * max(shown.shape[:2]))
    height, width = shown.shape[:2]
    page = np.full((height + 4 * margin, width + 2 * margin, 3), _PAPER, dtype=np.uint8)
    page[2 * margin : 2 * margin + height, margin : margin + width] = shown
    page[:margin] = _BAR
    if margin >= 8:
        page = _written(page, "09:41   photos   1 / 24", (margin, margin // 4), margin // 2, _PAPER)
        page = _written(page, "shared with you   today", (margin, page.shape[0] - 3 * margin // 2), margin // 2, _INK)
    return page


def overlay(image: Pixels, opacity: float) -> Pixels:
    """Lay a caption over the picture: a dark band of ``opacity``, 0 to 1, with white text, and a solid badge.

    The band is the fifth of the height above the lowest tenth; the badge is a disc of a sixth of the shorter side in
    the upper right corner.
    """
    height, width = image.shape[:2]
    covered = image.copy()
    band = slice(round(0.7 * height), round(0.9 * height))
    covered[band] = np.rint(image[band] + within(opacity, 0, 1) * (np.array(_BAR) - image[band].astype(np.float64)))
    covered = _written(covered, "weekend edition", (width // 20, round(0.74 * height)), max(8, height // 9), (255,) * 3)
    radius = min(height, width) / 12
    y, x = np.ogrid[:height, :width]
    covered[(x - width + 1.5 * radius) ** 2 + (y - 1.5 * radius) ** 2 <= radius**2] = (214, 40, 40)
    return covered


def mosaic(pictures: Sequence[Pixels], columns: int = 2, gap: int = 8) -> Pixels:
    """Lay pictures out in rows of ``columns``, pixel for pixel, ``gap`` pixels apart on a light ground.

    Raises:
        InputError: no picture, no column, or a negative gap.
    """
    if not pictures or columns < 1 or gap < 0:
        raise InputError("a mosaic needs a picture, a column and no negative gap")
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    joined = [_joined(row, 1, gap) for row in rows]
    return _joined(joined, 0, gap)


def paste(fragment: Pixels, onto: Pixels, left: float = 0.5, top: float = 0.5) -> Pixels:
    """Put a ``fragment`` into a larger picture; ``left`` and ``top``, 0 to 1, share out the room beside it.

    Raises:
        InputError: the fragment is larger than the picture.
    """
    room = [outer - inner for outer, inner in zip(onto.shape[:2], fragment.shape[:2], strict=True)]
    if min(room) < 0:
        raise InputError("the fragment is larger than the picture")
    y, x = round(within(top, 0, 1) * room[0]), round(within(left, 0, 1) * room[1])
    pasted = onto.copy()
    pasted[y : y + fragment.shape[0], x : x + fragment.shape[1]] = fragment
    return pasted


def _joined(pictures: Sequence[Pixels], axis: int, gap: int) -> Pixels:
    """Put pictures one after the other along an axis, on ground as wide as the widest."""
    shape = [max(each.shape[side] for each in pictures) for side in (0, 1)]
    shape[axis] = sum(each.shape[axis] for each in pictures) + gap * (len(pictures) - 1)
    ground = np.full((*shape, 3), _PAPER, dtype=np.uint8)
    at = [0, 0]
    for each in pictures:
        ground[at[0] : at[0] + each.shape[0], at[1] : at[1] + each.shape[1]] = each
        at[axis] += each.shape[axis] + gap
    return ground


def _written(image: Pixels, text: str, place: tuple[int, int], size: int, color: tuple[int, ...]) -> Pixels:
    page: Any = picture(image)
    font = require("PIL.ImageFont", "image").load_default(size)
    require("PIL.ImageDraw", "image").Draw(page).text(place, text, fill=color, font=font)
    return np.array(page)
