"""Where the tile may lie in a picture: the search over turns, sizes, stretches and perspective, from magnitudes alone.

A picture shows the tile through a *placement*: pixel x shows the tile at ``u ~ P (x, 1)`` with a homogeneous 3x3 ``P``
whose translation is left open here. In a spectrum the sync line k stands at ``J' k / TILE`` cycles per pixel, J being
the placement's Jacobian. On a log-polar map, turns and sizes are shifts, so that one correlation by FFT scores all of
them, and a second one all mirrored ones. The best cells are then climbed from, on the power at the lines: four
parameters for an affine placement, and two more for perspective, where each block of the picture has its own Jacobian.

Only the lines' *positions* and the spectrum's *magnitudes* enter here, never a phase.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from countermark.marking.image.pattern import BAND, TILE, Floats, Places
from countermark.marking.image.spectrum import NORM, Plane, local_mean

# Sizes of the picture, relative to the marked original, at which the tile is looked for in one pass.
SCALES = (0.38, 2.2)
# Stretches of the width against the height, and leans of perspective, that are tried where nothing was found.
STRETCHES = (0.79, 0.84, 0.89, 0.94, 1.0, 1.06, 1.12, 1.19, 1.26)
LEANS = tuple((0.07 * x, 0.07 * y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y)
# Blocks: large ones tell turns and sizes apart best, small ones bear stretches and perspective; of these a few do.
_LARGE, _SMALL, _FEW = 640, 224, 3
# One strong line of the picture itself must not outvote the others.
_CAP = 4.0
_MIRRORS = (np.eye(2), np.diag((-1.0, 1.0)))
# Turn, size, stretch and shear, then perspective across and down: the directions of a climb.
_MOVES = np.array(
    (
        (0, -1, 1, 0, 0, 0),
        (1, 0, 0, 1, 0, 0),
        (1, 0, 0, -1, 0, 0),
        (0, 1, 1, 0, 0, 0),
        (0, 0, 0, 0, 1, 0),
        (0, 0, 0, 0, 0, 1),
    ),
    dtype=np.float64,
)
_BENDS = np.array(
    [(stretch, 0, 0, 1, 0, 0) for stretch in STRETCHES]
    + [(stretch, 0, 0, 1, *lean) for stretch in (0.97, 1.03) for lean in LEANS]
)
# Logarithms of the map's least radius, in cycles per pixel, and of how many times larger its largest is.
_NEAREST = float(np.log(BAND[0] / SCALES[1]))
_REACH = float(np.log(BAND[1] / SCALES[0])) - _NEAREST
# The logarithm of how much a bend makes the frequencies of a block grow or shrink, at most; and no bend at all.
_BENT = 0.5
_SAME = np.eye(2)[None]


@dataclass(frozen=True, slots=True)
class Blocks:
    """How much stands out at every frequency in blocks of a picture.

    ``excess`` (n, side, side): power over the local mean power, capped, about zero where nothing stands out, at the
    frequencies ``i / side`` cycles per pixel in FFT order. ``centers`` (n, 2): x and y of the blocks' centers from the
    picture's, in units of ``radius`` pixels.
    """

    excess: Plane
    centers: Floats
    radius: float

    @classmethod
    def of(cls, plane: Plane, block: int, *, together: bool) -> Blocks:
        """Cut a leveled plane into blocks of at most ``block`` pixels; ``together`` adds up their powers into one."""
        parts, centers = _cut(plane, block)
        side = _padded(max(max(part.shape) for part in parts))
        spectra = (np.fft.rfft2(part, s=(side, side), norm=NORM) for part in parts)
        powers: list[Plane] = [np.asarray(s.real**2 + s.imag**2, dtype=np.float32) for s in spectra]
        if together:
            powers, centers = [functools.reduce(np.add, powers)], np.zeros((1, 2))
        radius = float(np.hypot(*plane.shape)) / 2
        return cls(np.stack([_excess(power) for power in powers]), centers / radius, radius)

    def score(self, placements: Floats, lines: Floats) -> Floats:
        """Return the excess at all lines, added up, for (m, 6) placements: (m,)."""
        jacobians = self.jacobians(placements)
        frequencies = (lines / TILE).astype(np.float32) @ jacobians.astype(np.float32)
        return np.asarray(_lookup(self.excess, frequencies).sum(axis=(1, 2), dtype=np.float64))

    def jacobians(self, placements: Floats) -> Floats:
        """Return the (m, blocks, 2, 2) Jacobians at the centers; parameters are four of B, two of perspective."""
        linear, lean = placements[:, :4].reshape(-1, 2, 2), placements[:, 4:]
        depth = 1 + lean @ self.centers.T
        moved = np.einsum("mij,bj->mbi", linear, self.centers)
        numerator = linear[:, None] * depth[..., None, None] - moved[..., None] * lean[:, None, None, :]
        return np.asarray(numerator / depth[..., None, None] ** 2)


class Chart:
    """The log-polar map of one resolution and what the lines look like on it.

    Half a turn goes into as many rows, and the logarithm of the radius into as many columns, as there are ``cells``.
    A linear map takes rays to rays and stretches each evenly, so that a bent map consists of rows of the unbent one,
    moved. That one is drawn once per block, ``finer`` times as dense and somewhat wider, for rows to be taken from.
    """

    def __init__(self, lines: Floats, cells: int, finer: int = 1) -> None:
        self._cells, self._step, self._finer, self._margin = cells, _REACH / cells, finer, _margin(cells, finer)
        self._shifts = np.arange(int(-np.log(SCALES[1]) / self._step), int(-np.log(SCALES[0]) / self._step) + 1)
        self._kernels = [np.conj(np.fft.rfft2(self._drawn(lines @ mirror), norm=NORM)) for mirror in _MIRRORS]
        angle = np.pi / cells * np.arange(cells)
        self._directions = np.stack((np.cos(angle), np.sin(angle)), axis=1)

    def maps(self, blocks: Blocks) -> Plane:
        """Draw what stands out in each block on the unbent map: (n, rows, columns)."""
        places = _places(blocks.excess.shape[1], self._cells, self._finer)
        return np.stack([np.append(excess, np.float32(0.0))[places] for excess in blocks.excess])

    def starts(self, maps: Plane, jacobians: Floats, count: int) -> list[tuple[float, Floats]]:
        """Score all turns and sizes, of the picture and its mirror image, after one bend.

        Args:
            maps: of the picture's blocks; one for all where their Jacobians are the same.
            jacobians: (n, 2, 2) of the bend, at the centers of the blocks.
            count: peaks of each of the two maps to return.

        Returns:
            Pairs of a score, in standard deviations of its map, and the matrix (2, 2) that goes before the bend's own.
        """
        seen = sum(self._bent(each, jacobian) for each, jacobian in zip(maps, jacobians, strict=True))
        image = np.fft.rfft2(seen, norm=NORM)
        found: list[tuple[float, Floats]] = []
        for kernel, mirror in zip(self._kernels, _MIRRORS, strict=True):
            scores = np.fft.irfft2(image * kernel, s=(self._cells, self._cells), norm=NORM)
            scores = scores[:, self._shifts % self._cells]
            scores = (scores - scores.mean()) / (scores.std() + 1e-9)
            for row, column in _peaks(scores, count):
                found.append((float(scores[row, column]), mirror @ self._similarity(row, column).T))
        return found

    def _bent(self, drawn: Plane, jacobian: Floats) -> Plane:
        """Return a block's map (cells, cells) with its frequencies unbent."""
        rays = self._directions @ jacobian
        angle = np.arctan2(rays[:, 1], rays[:, 0]) * (self._finer * self._cells / np.pi)
        growth = np.log(np.hypot(rays[:, 0], rays[:, 1])) * (self._finer / self._step)
        rows = np.rint(angle).astype(np.intp) % len(drawn)
        moves = np.clip(np.rint(growth).astype(np.intp) + self._margin, 0, 2 * self._margin)
        windows = sliding_window_view(drawn, self._finer * (self._cells - 1) + 1, axis=1)[..., :: self._finer]
        return np.asarray(windows[rows, moves])

    def _drawn(self, points: Floats) -> Plane:
        """Draw the lines on the map, each shared by its four nearest cells."""
        row = np.arctan2(points[:, 1], points[:, 0]) % np.pi * (self._cells / np.pi)
        column = (np.log(np.hypot(points[:, 0], points[:, 1]) / TILE) - _NEAREST) / self._step
        chart = np.zeros((self._cells, self._cells), dtype=np.float32)
        for rows, row_share in _shares(row):
            for columns, column_share in _shares(column):
                np.add.at(chart, (rows % self._cells, columns % self._cells), row_share * column_share)
        return chart

    def _similarity(self, row: int, column: int) -> Floats:
        """Return the turn and growth of frequencies that a cell of the correlation stands for."""
        turn, growth = np.pi * row / self._cells, float(np.exp(self._shifts[column] * self._step))
        return np.array(((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn)))) * growth


def _margin(cells: int, finer: int) -> int:
    """Return how many columns a drawn map has on either side of what scores need: none where nothing is bent."""
    return int(_BENT * cells / _REACH) * finer if finer > 1 else 0


@functools.lru_cache(maxsize=8)
def _places(side: int, cells: int, finer: int) -> NDArray[np.int32]:
    """Return, for every cell of a drawn map, the nearest point of a raveled spectrum; its size where there is none."""
    margin = _margin(cells, finer)
    columns = np.arange(finer * (cells - 1) + 1 + 2 * margin) - margin
    radius = side * np.exp(_NEAREST + _REACH / (finer * cells) * columns)
    angle = np.pi / (finer * cells) * np.arange(finer * cells)
    x, y = (np.rint(np.outer(ray(angle), radius)).astype(np.int32) for ray in (np.cos, np.sin))
    inside = (np.abs(x) < side // 2) & (np.abs(y) < side // 2)
    return np.where(inside, y % side * side + x % side, np.int32(side * side))


class Finder:
    """The geometry search for one set of sync lines; keeps what does not depend on the picture.

    Args:
        lines: (n, 2) lattice frequencies in cycles per tile.
    """

    def __init__(self, lines: Places) -> None:
        self._lines = lines.astype(np.float64)
        self._outer = float(np.hypot(*self._lines.T).max()) / TILE
        self._chart = functools.cache(functools.partial(Chart, self._lines))

    def similar(self, plane: Plane, *, keep: int) -> list[Floats]:
        """Return the ``keep`` likeliest placements (3, 3) of a picture that was turned and resized, best first.

        Small stretches and shears, up to about one percent, are climbed to.
        """
        coarse = Blocks.of(plane, _LARGE, together=True)
        chart = self._chart(1024, 1)
        starts = [linear for _, linear in chart.starts(chart.maps(coarse), _SAME, 4)]
        found = [self._climb(coarse, np.append(linear.ravel(), (0, 0)), moves=4) for linear in starts]
        found = sorted(found, key=lambda pair: -pair[0])[:keep]
        if max(plane.shape) > _LARGE:
            fine = Blocks.of(plane, max(plane.shape), together=True)
            found = [self._climb(fine, start, moves=4) for _, start in found]
        return [_homogeneous(start, plane, coarse.radius) for _, start in found]

    def bent(self, plane: Plane, *, keep: int) -> list[Floats]:
        """Return the ``keep`` likeliest placements (3, 3) of a picture that was stretched or seen at an angle too."""
        blocks = Blocks.of(plane, _SMALL, together=False)
        starts = list(self._bent_starts(blocks))
        starts = sorted(starts, key=lambda pair: -pair[0])[: 3 * keep]
        climbed = sorted((self._climb(blocks, start, moves=6) for _, start in starts), key=lambda pair: -pair[0])
        return [_homogeneous(start, plane, blocks.radius) for _, start in _distinct(climbed)[:keep]]

    def _bent_starts(self, blocks: Blocks) -> Iterator[tuple[float, Floats]]:
        """Yield the best turn and size, unmirrored and mirrored, with its score for every bend that is tried."""
        chart = self._chart(512, 2)
        maps = chart.maps(blocks)
        together = maps.sum(axis=0, keepdims=True)
        for bend in _BENDS:
            leaning = bool(bend[4:].any())
            jacobians = blocks.jacobians(bend[None])[0]
            found = chart.starts(maps, jacobians, 1) if leaning else chart.starts(together, jacobians[:1], 1)
            for score, linear in found:
                yield score, np.append((linear @ bend[:4].reshape(2, 2)).ravel(), bend[4:])

    def _climb(self, blocks: Blocks, start: Floats, *, moves: int) -> tuple[float, Floats]:
        """Climb on the excess at the lines in ``moves`` directions; return the score and the place reached."""
        side = blocks.excess.shape[1]
        steps = np.concatenate((_MOVES[:moves], -_MOVES[:moves]))
        best, size = blocks.score(start[None], self._lines)[0], 1.0 / side / self._outer
        for _ in range(40):
            trials = start + size * steps
            scores = blocks.score(trials, self._lines)
            top = int(np.argmax(scores))
            if scores[top] > best:
                best, start = scores[top], trials[top]
            elif size * side * self._outer < 0.1:
                break
            else:
                size /= 2
        return float(best), start


def _homogeneous(parameters: Floats, plane: Plane, radius: float) -> Floats:
    """Return the placement with the picture's center at the origin."""
    matrix = np.eye(3)
    matrix[:2, :2] = parameters[:4].reshape(2, 2)
    matrix[2, :2] = parameters[4:] / radius
    height, width = plane.shape
    return np.asarray(matrix @ np.array(((1, 0, -width / 2), (0, 1, -height / 2), (0, 0, 1))))


def _distinct(found: Sequence[tuple[float, Floats]]) -> list[tuple[float, Floats]]:
    """Leave out what is like an earlier one to one percent."""
    kept: list[tuple[float, Floats]] = []
    for pair in found:
        if all(np.abs(pair[1] - other).max() > 0.01 for _, other in kept):
            kept.append(pair)
    return kept


def _lookup(excess: Plane, frequencies: Plane) -> Plane:
    """Return the excess of each block at its (m, blocks, n, 2) frequencies: (m, blocks, n).

    Bilinear between grid points; 0 beyond the Nyquist limit.
    """
    side = excess.shape[1]
    places = frequencies * np.float32(side)
    low = np.floor(places)
    u, v = np.moveaxis(places - low, -1, 0)
    x, y = np.moveaxis(low.astype(np.intp), -1, 0)
    left, right = x % side, (x + 1) % side
    block = np.arange(len(excess))[:, None] * side
    top, bottom = (block + y % side) * side, (block + (y + 1) % side) * side
    values = excess.ravel()
    upper = values[top + left] * (1 - u) + values[top + right] * u
    lower = values[bottom + left] * (1 - u) + values[bottom + right] * u
    inside = (np.abs(frequencies) < 0.5).all(axis=-1)
    return np.where(inside, upper * (1 - v) + lower * v, np.float32(0.0))


def _peaks(scores: NDArray[np.floating[Any]], count: int) -> list[tuple[int, int]]:
    """Return the cells of the ``count`` highest peaks that are at least four cells apart."""
    scores, found = scores.copy(), []
    for _ in range(count):
        row, column = divmod(int(np.argmax(scores)), scores.shape[1])
        found.append((row, column))
        rows = np.arange(row - 3, row + 4) % len(scores)
        scores[rows, max(0, column - 3) : column + 4] = -np.inf
    return found


def _shares(places: Floats) -> list[tuple[NDArray[np.intp], Floats]]:
    low = np.floor(places).astype(np.intp)
    part = places - low
    return [(low, 1.0 - part), (low + 1, part)]


def _cut(plane: Plane, block: int) -> tuple[list[Plane], Floats]:
    """Cut a plane into blocks; return them and their centers (n, 2), x and y from the plane's center.

    Small blocks are spread evenly over a large plane and leave parts of it out, as nine of them place it well enough.
    """
    height, width = plane.shape
    spans = [_spans(size, block) for size in (height, width)]
    boxes = [(*rows, *columns) for rows in spans[0] for columns in spans[1]]
    centers = [((left + right - width) / 2, (top + bottom - height) / 2) for top, bottom, left, right in boxes]
    return [plane[top:bottom, left:right] for top, bottom, left, right in boxes], np.array(centers)


def _spans(size: int, block: int) -> list[tuple[int, int]]:
    count = -(-size // block)
    if block == _SMALL and count > _FEW:
        return [(start, start + block) for start in np.linspace(0, size - block, _FEW).astype(int).tolist()]
    edges = np.linspace(0, size, count + 1).astype(int).tolist()
    return list(pairwise(edges))


def _padded(size: int) -> int:
    """Return the FFT side: a multiple of 128, which has small factors only, of at least 1.5 times the size."""
    return 128 * -(-3 * size // 256)


def _excess(power: Plane) -> Plane:
    """Divide the power of a half spectrum by its local mean, cap, center, and complete it by symmetry.

    The half plane's edges are repeated, not mirrored.
    """
    half = np.minimum(power / local_mean(power, max(3, len(power) // 64)), np.float32(_CAP))
    half -= half.mean()
    rest = np.roll(half[::-1, 1:-1], 1, axis=0)[:, ::-1]
    return np.concatenate((half, rest), axis=1)
