"""Where the tile lies in a picture: the search over rotation, scale and mirroring, from magnitudes alone.

In a rotated and resized picture the line k stands at the frequency ``A k / TILE`` for one 2x2 matrix ``A``. On a
log-polar map of the power spectrum, rotation and scale are shifts, so that one correlation by FFT scores all of them,
and a second one all mirrored ones. The best cells are then refined to full affine matrices (unequal scales and shear
included) by climbing on the power at the lines.

Only the lines' *positions* and the spectrum's *magnitudes* enter here, never the pilots' phases: the null of the
detector (``lattice``) depends on it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.marking.image.pattern import BAND, TILE, Floats
from countermark.marking.image.spectrum import Plane, box

# Sizes of the picture, relative to the marked original, at which the tile is looked for.
SCALES = (0.38, 2.2)
# The log-polar map: half a turn in as many rows, the logarithm of the radius in as many columns.
_CELLS = 1024
# Pictures are searched in blocks of at most this side: precision beyond that is left to the refinement.
_BLOCK = 640
# One strong line of the picture itself must not outvote the pilots.
_CAP = 4.0
# Expectation of the logarithm of a unit exponential variable is minus Euler's constant.
_EULER = 0.5772
# The map's columns: first logarithm and step; and the shifts, in columns, that the scales amount to.
_LOW = float(np.log(BAND[0] / SCALES[1]))
_STEP = (float(np.log(BAND[1] / SCALES[0])) - _LOW) / _CELLS
_SHIFTS = np.arange(int(-np.log(SCALES[1]) / _STEP), int(-np.log(SCALES[0]) / _STEP) + 1)
_UNCHANGED = (np.eye(2), np.diag((-1.0, 1.0)))
# Rotation, scale, aspect and shear: the directions of a climb.
_MOVES = np.array([((0, -1), (1, 0)), ((1, 0), (0, 1)), ((1, 0), (0, -1)), ((0, 1), (1, 0))], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Power of a leveled picture on the grid ``i / side`` cycles per pixel, in FFT order; both arrays (side, side).

    ``floor`` is the local mean power: what the picture itself contributes. ``excess`` is power over floor, capped, and
    about zero where nothing stands out.
    """

    floor: Plane
    excess: Plane

    @classmethod
    def of(cls, plane: Plane, block: int) -> Spectrum:
        """Add up the power of blocks of at most ``block`` pixels a side, each padded to about 1.5 times its side."""
        side = _padded(min(max(plane.shape), block))
        power = np.zeros((side, side // 2 + 1), dtype=np.float32)
        for part in _blocks(plane, block):
            power += np.abs(np.fft.rfft2(part, s=(side, side))) ** 2
        floor = _local_mean(power)
        excess = np.minimum(power / floor, _CAP)
        return cls(_unfold(floor), _unfold(excess - excess.mean()))

    def floor_at(self, frequencies: Floats) -> Floats:
        """Return the local mean power at (n, 2) frequencies in cycles per pixel: (n,)."""
        place = np.rint(frequencies * len(self.floor)).astype(np.intp) % len(self.floor)
        return self.floor[place[:, 1], place[:, 0]].astype(np.float64)

    def excess_at(self, frequencies: Floats) -> Floats:
        """Return the excess at (..., 2) frequencies, bilinear between grid points; 0 beyond the Nyquist limit."""
        side = len(self.excess)
        low = np.floor(frequencies * side).astype(np.intp)
        u, v = np.moveaxis(frequencies * side - low, -1, 0)
        x, y = np.moveaxis(low % side, -1, 0)
        x_next, y_next = (x + 1) % side, (y + 1) % side
        upper = self.excess[y, x] * (1 - u) + self.excess[y, x_next] * u
        lower = self.excess[y_next, x] * (1 - u) + self.excess[y_next, x_next] * u
        inside = (np.abs(frequencies) < 0.5).all(axis=-1)
        return np.where(inside, upper * (1 - v) + lower * v, 0.0)


class Finder:
    """The geometry search for one set of lines; keeps what does not depend on the picture.

    Args:
        lines: (n, 2) lattice frequencies in cycles per tile.
        weights: (n,) what the excess at each line counts: the power that the mark puts there.
    """

    def __init__(self, lines: Floats, weights: Floats) -> None:
        self._lines, self._weights = lines, weights
        self._kernels = [np.conj(np.fft.rfft2(self._chart_lines(m))) for m in _UNCHANGED]

    def find(self, plane: Plane, *, starts: int, keep: int) -> tuple[list[Floats], Spectrum]:
        """Return the ``keep`` most likely matrices A, best first, and the spectrum of the whole plane.

        The two matrices of a picture that was neither turned nor resized, mirrored or not, are added to them.

        Args:
            plane: leveled picture (H, W).
            starts: cells of each log-polar map that are refined.
            keep: number of matrices to return, at most ``2 starts``.
        """
        coarse = Spectrum.of(plane, _BLOCK)
        found = [self._climb(coarse, start, 1.0 / len(coarse.floor)) for start in self._starts(coarse, starts)]
        found = sorted(found, key=lambda pair: -pair[0])[:keep]
        if max(plane.shape) <= _BLOCK:
            return [*(matrix for _, matrix in found), *_UNCHANGED], coarse
        fine = Spectrum.of(plane, max(plane.shape))
        climbed = [self._climb(fine, matrix, 1.0 / len(fine.floor))[1] for _, matrix in found]
        return [*climbed, *_UNCHANGED], fine

    def _starts(self, spectrum: Spectrum, count: int) -> list[Floats]:
        chart = np.append(spectrum.excess, np.float32(0.0))[_chart_places(len(spectrum.excess))]
        image = np.fft.rfft2(chart)
        matrices: list[Floats] = []
        for kernel, mirror in zip(self._kernels, _UNCHANGED, strict=True):
            scores = np.fft.irfft2(image * kernel, s=(_CELLS, _CELLS))[:, _SHIFTS % _CELLS]
            matrices += [_matrix(row, column) @ mirror for row, column in _peaks(scores, count)]
        return matrices

    def _chart_lines(self, mirror: Floats) -> Plane:
        """Draw the lines on the log-polar map, each shared by its four nearest cells."""
        points = self._lines @ mirror
        row = np.arctan2(points[:, 1], points[:, 0]) % np.pi * (_CELLS / np.pi)
        column = (np.log(np.hypot(points[:, 0], points[:, 1]) / TILE) - _LOW) / _STEP
        chart = np.zeros((_CELLS, _CELLS), dtype=np.float32)
        for rows, row_share in _shares(row):
            for columns, column_share in _shares(column):
                np.add.at(chart, (rows, columns), row_share * column_share * self._weights)
        return chart

    def _climb(self, spectrum: Spectrum, matrix: Floats, step: float) -> tuple[float, Floats]:
        """Climb on the weighted excess at the lines; ``step`` in cycles per pixel at the outer edge of the band."""
        best = self._score(spectrum, matrix[None])[0]
        size = step * TILE / float(np.hypot(*self._lines.T).max())
        for _ in range(40):
            trials = matrix + size * np.concatenate((_MOVES, -_MOVES))
            scores = self._score(spectrum, trials)
            top = int(np.argmax(scores))
            if scores[top] > best:
                best, matrix = scores[top], trials[top]
            elif size * len(spectrum.floor) < 0.1:
                break
            else:
                size /= 2
        return float(best), matrix

    def _score(self, spectrum: Spectrum, matrices: Floats) -> Floats:
        frequencies = np.einsum("mij,kj->mki", matrices, self._lines) / TILE
        return np.asarray(spectrum.excess_at(frequencies) @ self._weights)


@functools.lru_cache(maxsize=4)
def _chart_places(side: int) -> NDArray[np.int32]:
    """Return, for every cell of the map, the nearest point of a raveled spectrum; its size where there is none."""
    radius = (np.exp(_LOW + _STEP * np.arange(_CELLS)) * side).astype(np.float32)
    angle = (np.pi / _CELLS * np.arange(_CELLS)).astype(np.float32)
    x = np.rint(np.outer(np.cos(angle), radius)).astype(np.int32)
    y = np.rint(np.outer(np.sin(angle), radius)).astype(np.int32)
    inside = (np.abs(x) < side // 2) & (y < side // 2)
    return np.where(inside, y * side + x % side, np.int32(side * side))


def _matrix(row: int, column: int) -> Floats:
    """Return the turn and growth of frequencies that a cell of the correlation stands for."""
    turn, growth = np.pi * row / _CELLS, np.exp(_SHIFTS[column] * _STEP)
    return np.asarray(((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))), dtype=np.float64) * float(growth)


def _peaks(scores: NDArray[np.floating[Any]], count: int) -> list[tuple[int, int]]:
    """Return the cells of the ``count`` highest peaks that are at least four cells apart."""
    scores, found = scores.copy(), []
    for _ in range(count):
        row, column = divmod(int(np.argmax(scores)), scores.shape[1])
        found.append((row, column))
        rows = np.arange(row - 3, row + 4) % _CELLS
        scores[rows, max(0, column - 3) : column + 4] = -np.inf
    return found


def _shares(places: Floats) -> list[tuple[NDArray[np.intp], Floats]]:
    low = np.floor(places).astype(np.intp)
    part = places - low
    return [(low % _CELLS, 1.0 - part), ((low + 1) % _CELLS, part)]


def _blocks(plane: Plane, block: int) -> list[Plane]:
    rows = np.array_split(plane, -(-plane.shape[0] // block), axis=0)
    return [part for row in rows for part in np.array_split(row, -(-plane.shape[1] // block), axis=1)]


def _padded(size: int) -> int:
    """Return the FFT side: a multiple of 256, which has small factors only, of at least 1.5 times the size."""
    return 256 * -(-3 * size // 512)


def _local_mean(power: Plane) -> Plane:
    """Estimate the mean power around each point of a half spectrum.

    The mean of logarithms is used, as lines barely lift it. The half plane's edges are repeated instead of mirrored.
    """
    logs = np.log(power + np.float32(1e-6) * power.mean() + np.float32(1e-12))
    return np.asarray(np.exp(box(logs, max(3, len(power) // 64)) + np.float32(_EULER)), dtype=np.float32)


def _unfold(half: Plane) -> Plane:
    """Complete the half spectrum of a real plane by its symmetry."""
    rest = np.roll(half[::-1, 1:-1], 1, axis=0)[:, ::-1]
    return np.concatenate((half, rest), axis=1)
