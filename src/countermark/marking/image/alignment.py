"""From a placement to the tile: straighten the picture, find the tile's offset, follow its bends, read any line.

A *placement* is a homogeneous 3x3 matrix that takes pixels of the picture to pixels of the tile. ``geometry`` leaves
its translation open; here the sync lines' phases find it. Only where they do not, as somebody filtered them out of a
picture that was cropped, do the anchors' phases, which the count of hypotheses pays for (``observations``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from countermark.errors import require
from countermark.marking.image.pattern import ANCHORS, BAND, PILOTS, SYNC, TILE, Floats, Pattern, Places, Singles
from countermark.marking.image.spectrum import NORM, Plane, forward, local_mean, reduced, waves

# One strong line of the picture itself must not outvote the others.
CAP = 4.0
# What is larger than this after straightening is read from its central part.
WINDOW = 2048
REACH = int(BAND[1] * TILE) + 48
# The eight ways to lay a square on itself, by what they do to frequencies' magnitudes: each stands for itself and for
# its half turn.
_FRAMES = tuple(np.array(rows) for rows in (((1, 0), (0, 1)), ((-1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, -1), (1, 0))))
# How a picture is laid on the tile where the anchors find its offset, and the finest part of a pixel looked at.
ANCHORED_FRAMES, FINEST = _FRAMES[:2], 4
# Bends are measured in squares of this side, as moves of at most this many pixels; at least so many must be sure.
_SQUARE, _MOVE, _SURE = 160, 12, 4.6
_NEIGHBORS = np.array(tuple(product((-1.0, 0.0, 1.0), repeat=2)))


@dataclass(frozen=True, slots=True)
class TileSpectrum:
    """The spectrum of a straightened picture on the tile's own lattice, and the power of the picture around each line.

    Both (2 REACH, REACH): ``values`` complex as ``spectrum.forward`` returns them; ``floor`` their local mean power.
    """

    values: NDArray[np.complex64]
    floor: Singles

    @classmethod
    def of(cls, plane: Plane) -> TileSpectrum:
        """Transform a straightened plane."""
        values = forward(plane, TILE, REACH)
        power = values.real**2 + values.imag**2
        # Lines of a small picture are as broad as the picture is small.
        radius = int(np.clip(11 * TILE / min(*plane.shape, TILE), 12, 40))
        return cls(values, local_mean(power, radius))

    def at(self, lines: Places) -> tuple[NDArray[np.complex64], Singles]:
        """Return the values at (n, 2) lines, and their local mean power."""
        x, y = lines[:, 0], lines[:, 1]
        negative = x < 0
        place = np.where(negative, -y, y) + REACH, np.abs(x)
        values = self.values[place]
        return np.where(negative, values.conj(), values), self.floor[place]


@dataclass(frozen=True, slots=True)
class Alignment:
    """A hypothesis: where the tile lies, and what a line reads there.

    ``frame`` (2, 2): turn by quarters and mirror from the straightened picture to the tile; ``offset`` (x, y) in tile
    pixels; ``placement`` (3, 3) takes the picture's pixels to the straightened picture's. ``cosines`` and ``weights``
    (SYNC,): the sync lines' agreement at the nearest whole pixel, zero where the placement was chosen by it.
    ``anchored``: the anchors chose the offset, not the sync lines.
    """

    spectrum: TileSpectrum
    placement: Floats
    frame: Places
    offset: Floats
    cosines: Floats
    weights: Floats
    anchored: bool = False

    @classmethod
    def as_marked(cls, spectrum: TileSpectrum) -> Alignment:
        """Take a leveled picture for the tile itself, neither cropped nor changed in size."""
        return cls(spectrum, np.eye(3), _FRAMES[0], np.zeros(2), np.zeros(SYNC), np.zeros(SYNC))

    @property
    def score(self) -> float:
        """The sync lines' agreement in standard deviations of one hypothesis."""
        return float(self.weights @ self.cosines) / float(np.sqrt(self.weights @ self.weights / 2 + 1e-12))

    def read(self, lines: Places) -> tuple[NDArray[np.complex64], Singles]:
        """Return the values at (n, 2) lines as the tile has them, and the local mean power."""
        values, floor = self.spectrum.at(lines @ self.frame)
        return values * np.exp((2j * np.pi / TILE) * (lines @ self.offset)).astype(np.complex64), floor

    @property
    def whole(self) -> Floats:
        """The placement from the picture's pixels to the tile's, translation and frame included."""
        last = np.eye(3)
        last[:2, :2], last[:2, 2] = self.frame, -self.offset
        return last @ self.placement


def as_it_stands(plane: Plane, pattern: Pattern) -> list[Alignment]:
    """Return alignments of a picture that was at most cropped, mirrored or turned by quarters.

    The frame is chosen by the magnitudes at the sync lines; the last alignment takes the picture as the tile itself.
    """
    spectrum, placement = TileSpectrum.of(plane), np.eye(3)
    likely = max(_FRAMES, key=lambda frame: _standing_out(spectrum, pattern.sync @ frame))
    found = [find_offset(spectrum, placement, pattern, sense * likely) for sense in (1, -1)]
    return [*found, Alignment.as_marked(spectrum)]


def placed(plane: Plane, placement: Floats, pattern: Pattern) -> list[Alignment]:
    """Return the alignments of a picture under a placement, as it is and turned by half a turn."""
    straight, placement = straighten(plane, placement)
    spectrum = TileSpectrum.of(straight)
    return [find_offset(spectrum, placement, pattern, sense * _FRAMES[0]) for sense in (1, -1)]


def anchored(spectrum: TileSpectrum, pattern: Pattern) -> list[Alignment]:
    """Return the best alignments, by any hand's anchors, of a picture that was at most cropped or mirrored."""
    return [_by_anchors(spectrum, pattern, frame) for frame in ANCHORED_FRAMES]


def _by_anchors(spectrum: TileSpectrum, pattern: Pattern, frame: Places) -> Alignment:
    best, offset = -np.inf, np.zeros(2)
    for hand, phases in enumerate(pattern.hand_phases[:, :ANCHORS]):
        lines = pattern.lines[hand * PILOTS :][:ANCHORS]
        weights, turns = _against(spectrum, lines @ frame, phases)
        # The band ends below half of Nyquist's limit, so that every second pixel shows all of it.
        scores = waves(lines, weights * np.exp(1j * turns), TILE // 2, TILE // 2, TILE // 2)
        y, x = divmod(int(np.argmax(scores)), TILE // 2)
        score = float(scores[y, x]) / math.sqrt(float(weights @ weights) + 1e-12)
        if score > best:
            best, offset = score, _refined(turns, weights, lines, np.array((2.0 * x, 2.0 * y)), (1.0, 0.5, 1 / FINEST))
    return Alignment(spectrum, np.eye(3), frame, offset, np.zeros(SYNC), np.zeros(SYNC), anchored=True)


def _against(spectrum: TileSpectrum, lines: Places, phases: Singles) -> tuple[Floats, Floats]:
    """Return the weights of lines, and by how much their phases differ from the key's, (n,) each."""
    values, floor = spectrum.at(lines)
    weights = np.minimum(np.abs(values) / np.sqrt(floor), CAP).astype(np.float64).round(3)
    return weights, np.angle(values).astype(np.float64) - phases


def _refined(turns: Floats, weights: Floats, lines: Places, offset: Floats, steps: tuple[float, ...]) -> Floats:
    """Climb from an offset to where lines agree best, by one move of each of the steps."""
    for step in steps:
        trials = offset + step * _NEIGHBORS
        sums = np.cos(turns + 2 * np.pi / TILE * (trials @ lines.T)) @ weights
        offset = trials[int(np.argmax(sums))]
    return offset


def find_offset(spectrum: TileSpectrum, placement: Floats, pattern: Pattern, frame: Places) -> Alignment:
    """Find the offset at which the sync lines' phases agree best: over all pixels by one FFT, then between them."""
    weights, turns = _against(spectrum, pattern.sync @ frame, pattern.sync_phases)
    scores = waves(pattern.sync, weights * np.exp(1j * turns), TILE, TILE, TILE)
    y, x = divmod(int(np.argmax(scores)), TILE)
    offset = np.array((x, y), dtype=np.float64)
    # Rounded down, so that the recomputed statistic is never above the observed one.
    cosines = np.floor(np.cos(turns + 2 * np.pi / TILE * (pattern.sync @ offset)) * 1e4) / 1e4
    offset = _refined(turns, weights, pattern.sync, offset, (0.5, 0.25, 0.125, 0.0625))
    return Alignment(spectrum, placement, frame, offset, cosines, weights)


def straighten(plane: Plane, placement: Floats) -> tuple[Plane, Floats]:
    """Resample a picture on the tile's pixel grid.

    Args:
        plane: leveled picture (H, W).
        placement: (3, 3), picture pixels to tile pixels; its translation is free.

    Returns:
        The straightened plane, zero where the picture is not, and the placement with the translation that was chosen.
    """
    height, width = plane.shape
    corners = np.array(((0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1))) @ placement.T
    corners = corners[:, :2] / corners[:, 2:]
    low, size = corners.min(axis=0), np.ptp(corners, axis=0)
    low = low + np.maximum(0.0, size - WINDOW) / 2
    sides = np.maximum(1, np.ceil(np.minimum(size, WINDOW))).astype(int)
    chosen = np.array(((1, 0, -low[0]), (0, 1, -low[1]), (0, 0, 1))) @ placement
    growth = float(np.sqrt(width * height / max(1.0, size[0] * size[1])))
    reduction = max(1, int(growth + 0.4))
    back = np.diag((1 / reduction, 1 / reduction, 1.0)) @ np.linalg.inv(chosen)
    back /= back[2, 2]
    pillow = require("PIL.Image", "image")
    leaning = float(np.abs(back[2, :2]).max()) > 1e-12
    kind = pillow.Transform.PERSPECTIVE if leaning else pillow.Transform.AFFINE
    source = pillow.fromarray(reduced(plane, reduction))
    numbers = tuple(back.ravel()[: 8 if leaning else 6].tolist())
    return np.asarray(source.transform(tuple(sides.tolist()), kind, numbers, pillow.Resampling.BICUBIC)), chosen


def follow(plane: Plane, alignment: Alignment, pattern: Pattern) -> Alignment | None:
    """Measure by the sync lines how far each part of a picture is from where it should be, and place it anew.

    Returns:
        The alignment under the corrected placement, or None where too little can be measured.
    """
    whole = alignment.whole
    straight, chosen = straighten(plane, whole)
    shift = (whole @ np.linalg.inv(chosen))[:2, 2]
    measured = np.array(list(_moves(straight, shift, pattern)))
    correction = _correction(measured, straight.shape) if len(measured) >= 4 else None
    if correction is None:
        return None
    straight, chosen = straighten(plane, correction @ chosen)
    found = find_offset(TileSpectrum.of(straight), chosen, pattern, _FRAMES[0])
    return replace(found, cosines=np.zeros(SYNC), weights=np.zeros(SYNC))


def sync_tile(pattern: Pattern) -> Plane:
    """Return the sync lines' part of the tile, (TILE, TILE), with a root mean square of 1."""
    tile = waves(pattern.sync, np.exp(1j * pattern.sync_phases), TILE, TILE, TILE)
    return np.asarray(tile / tile.std(), dtype=np.float32)


def _standing_out(spectrum: TileSpectrum, lines: Places) -> float:
    values, floor = spectrum.at(lines)
    return float(np.minimum((values.real**2 + values.imag**2) / floor, CAP).sum())


def _moves(straight: Plane, shift: Floats, pattern: Pattern) -> Iterator[tuple[float, float, float, float, float]]:
    """Yield x and y of squares' centers in the straightened picture, their moves in x and y, and how sure, squared."""
    tile = sync_tile(pattern)
    height, width = straight.shape
    reach, side = np.arange(-_MOVE, _MOVE + 1), _SQUARE + 2 * _MOVE
    for top, left in product(_starts(height), _starts(width)):
        part = straight[top : top + _SQUARE, left : left + _SQUARE]
        power = float((part**2).sum())
        if power == 0.0:
            continue
        rows = (np.arange(side) + top - _MOVE + round(shift[1])) % TILE
        columns = (np.arange(side) + left - _MOVE + round(shift[0])) % TILE
        wanted = tile[np.ix_(rows, columns)]
        product_ = np.fft.rfft2(wanted, norm=NORM) * np.fft.rfft2(part, s=wanted.shape, norm=NORM).conj()
        agreement = np.fft.irfft2(product_, s=wanted.shape, norm=NORM)[: 2 * _MOVE + 1, : 2 * _MOVE + 1]
        agreement *= np.sqrt(wanted.size / power)
        y, x = divmod(int(np.argmax(agreement)), len(reach))
        if agreement[y, x] >= _SURE:
            yield left + part.shape[1] / 2, top + part.shape[0] / 2, reach[x], reach[y], float(agreement[y, x]) ** 2


def _starts(size: int) -> list[int]:
    count = max(1, -(-2 * (size - _SQUARE) // _SQUARE) + 1) if size > _SQUARE else 1
    return [round(start) for start in np.linspace(0, max(0, size - _SQUARE), count).tolist()]


def _correction(measured: Floats, shape: tuple[int, int]) -> Floats | None:
    """Fit the homography that moves the squares' centers as measured, by weighted least squares without outliers."""
    center, radius = np.array(shape[::-1]) / 2, float(np.hypot(*shape)) / 2
    at, move, weight = (measured[:, :2] - center) / radius, measured[:, 2:4] / radius, np.sqrt(measured[:, 4])
    kept = np.ones(len(at), dtype=bool)
    for _ in range(3):
        if kept.sum() < 4:
            return None
        columns = 8 if kept.sum() >= 8 else 6
        x, y, one, zero = at[:, 0], at[:, 1], np.ones(len(at)), np.zeros(len(at))
        across = np.stack((one, x, y, zero, zero, zero, x * x, x * y), axis=1)[:, :columns]
        down = np.stack((zero, zero, zero, one, x, y, x * y, y * y), axis=1)[:, :columns]
        scale = weight * kept
        matrix = np.concatenate((across * scale[:, None], down * scale[:, None]))
        found = np.linalg.lstsq(matrix, np.concatenate((move[:, 0] * scale, move[:, 1] * scale)), rcond=1e-6)[0]
        rest = np.hypot(across @ found - move[:, 0], down @ found - move[:, 1])
        kept = rest < max(2.0 / radius, 2.5 * float(np.median(rest[kept])))
    a = np.concatenate((found, np.zeros(8 - columns)))
    local = np.array(((1 + a[1], a[2], a[0]), (a[4], 1 + a[5], a[3]), (-a[6], -a[7], 1.0)))
    outward = np.array(((radius, 0, center[0]), (0, radius, center[1]), (0, 0, 1)))
    return np.asarray(outward @ local @ np.linalg.inv(outward))
