"""Where in a suspect a mark lies: agreement with the tile, square by square."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from countermark.marking.image.alignment import straighten
from countermark.marking.image.pattern import TILE, Floats
from countermark.marking.image.spectrum import Plane

_SIDE = 64
Whole = NDArray[np.intp]
# Places of the tile where a square does not lie: what agrees with them agrees by chance.
_ELSEWHERE = tuple((37 * i % TILE, 411 * i % TILE) for i in range(1, 25))


@dataclass(frozen=True, slots=True)
class Cell:
    """A square of the tile as it lies in a suspect.

    ``corners`` (4, 2): x and y in pixels. ``evidence``: how well it agrees with the tile, in standard deviations of its
    agreement with other places of the tile.
    """

    corners: Floats
    evidence: float


def agreement(plane: Plane, placement: Floats, tile: Plane) -> list[Cell]:
    """Compare a picture with a tile, square by square.

    Args:
        plane: leveled picture (H, W).
        placement: (3, 3), the picture's pixels to the tile's.
        tile: (TILE, TILE) with the word and pattern that were read.

    Returns:
        The squares that lie in the picture at least by half, in rows.
    """
    straight, chosen = straighten(plane, placement)
    back, shift = np.linalg.inv(chosen), (placement @ np.linalg.inv(chosen))[:2, 2]
    starts = (range(0, size - _SIDE // 2, _SIDE) for size in straight.shape)
    found = []
    for top, left in product(*starts):
        part = straight[top : top + _SIDE, left : left + _SIDE]
        if np.count_nonzero(part) < _SIDE**2 / 2:
            continue
        rows = np.arange(part.shape[0]) + top + round(shift[1])
        columns = np.arange(part.shape[1]) + left + round(shift[0])
        right, bottom = left + part.shape[1], top + part.shape[0]
        square = np.array(((left, top, 1), (right, top, 1), (right, bottom, 1), (left, bottom, 1))) @ back.T
        found.append(Cell(square[:, :2] / square[:, 2:], _evidence(part, tile, rows, columns)))
    return found


def _evidence(part: Plane, tile: Plane, rows: Whole, columns: Whole) -> float:
    places = [((rows + down) % TILE, (columns + across) % TILE) for down, across in ((0, 0), *_ELSEWHERE)]
    here, *elsewhere = (float((part * tile[np.ix_(*place)]).sum()) for place in places)
    spread = math.sqrt(sum(value * value for value in elsewhere) / len(elsewhere))
    return here / spread if spread else 0.0
