"""The lattice mark: 64 bits in any photograph, found again after resize, crop, rotation, mirroring and compression.

**Writing.** One secret periodic tile (``pattern``) is added to the picture, its amplitude following local detail: more
where texture hides it, never less than a floor. The addition moves luma by the wanted amount with the smallest change
of RGB. **Reading.** In the spectrum of the leveled picture the tile shows as lines. Their magnitudes give rotation,
scale and mirroring (``geometry``); the pilots' phases give the offset of the tile; the picture's transform at exactly
the carriers' frequencies, weighted by the noise around each, gives the soft code symbols (``core.coding``).

**The null** is "this picture does not depend on the key". Then the key's pilot phases are independent and uniform,
whatever the picture. The statistic of a hypothesis (a matrix and an offset) is ``T = sum w_k cos(U_k)``, with U_k the
observed phase of pilot k less the key's phase less the offset's ramp, and w_k the pilot's magnitude over its noise.

1. Matrices and weights are functions of the picture and of the positions of pilots and carriers. Positions and phases
   come from independently derived keys. So, given picture and positions, the candidate matrices and the weights are
   fixed before the phases are drawn, and choosing them, out of however many, costs nothing.
2. For a fixed hypothesis the U_k are independent and uniform: each is a uniform angle less a constant. Each pilot is
   one frequency of a conjugate pair, so none is counted twice. ``cosine_sum_tail`` bounds P(T >= t).
3. Phases choose among the candidate matrices, their half turns and the offsets of a finite grid. Every one of these is
   counted in ``searched``, and the bound is multiplied by it. Refinement beyond the grid serves decoding alone.

Independence of the phases holds as far as ChaCha20 and BLAKE2 are pseudo-random. The null says nothing about a mark
copied onto a foreign picture, nor about pictures that somebody made with the key or by querying a detector.

Laws:
    ``recompute(detection.observations)`` equals the detection, without key and picture, bit for bit on one machine and
    up to the last bits of its exponential function on another;
    ``detect`` returns for every picture of at least ``MIN_READ_SIDE`` pixels a side, marked or not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.coding import SYMBOLS, decode, encode
from countermark.core.keys import Secret
from countermark.core.stats import cosine_sum_tail
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.image.geometry import Finder, Spectrum
from countermark.marking.image.pattern import BAND, PILOTS, REPEATS, TILE, Floats, Pattern
from countermark.marking.image.spectrum import LUMA, Plane, box, luma, transform

# Below these sides, in pixels, a picture is not marked, and not examined.
MIN_SIDE = 192
MIN_READ_SIDE = 64
# Multiplies the amplitude; set on the development set, where it gives 43 dB in the mean.
DEFAULT_STRENGTH = 1.0
# The tile grows with the picture: its pitch doubles where the short side reaches twice this, four times this, ...
_SPAN = 512
# What is larger after reduction to the tile's own pitch is read from a central window of this side.
_WINDOW = 2048
# Share of the tile's power that goes to the pilots.
_PILOT_SHARE = 0.36
# Offsets tried along each side of the tile, candidate matrices tried, starts refined per orientation.
_OFFSETS, _CANDIDATES, _STARTS = 256, 4, 4
_WEIGHT_CAP = 4.0
# Amplitude in levels at strength 1, and the detail that even the flattest part is credited with.
_GAIN, _FLAT = 0.82, np.float32(1.5)
_MAX_SEARCHED = 2**53
_OBSERVED = {"cosines": PILOTS, "weights": PILOTS, "symbols": SYMBOLS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What follows from soft observations alone; the fields mean what they mean in ``Detection``."""

    p_value: float
    statistic: float
    trials: int
    searched: int
    word: int
    words_tried: int


@dataclass(frozen=True, slots=True)
class _Fit:
    """One hypothesis after alignment: matrix A, offset in tile pixels, pilot cosines and weights."""

    matrix: Floats
    offset: Floats
    cosines: Floats
    weights: Floats
    score: float


class LatticeMark:
    """Embeds and detects the lattice mark of one key.

    Args:
        secret: the embedding half of a detection key.
        key_id: public name of the key, repeated in detections.
        strength: above 0; multiplies the amplitude. The detector does not depend on it, so it is not part of METHOD.
    """

    METHOD = (
        f"image.lattice/1;tile={TILE};pilots={PILOTS};band={BAND[0]}-{BAND[1]};code=k9r4tb;repeats={REPEATS}"
        f";share={_PILOT_SHARE};span={_SPAN}"
    )

    def __init__(self, secret: Secret, *, key_id: str = "", strength: float = DEFAULT_STRENGTH) -> None:
        if not 0 < strength < math.inf:
            raise InputError("strength is above 0")
        self.key_id, self._strength = key_id, strength
        self._pattern = Pattern.derive(secret)
        self._finder: Finder | None = None

    def embed(self, image: NDArray[np.uint8], word: int) -> NDArray[np.uint8]:
        """Return a copy of an RGB picture (H, W, 3) that carries the 64-bit ``word``.

        Raises:
            InputError: another shape or type, a side under ``MIN_SIDE`` pixels, not a 64-bit word.
        """
        _check_picture(image, colors=True)
        if min(image.shape[:2]) < MIN_SIDE:
            raise InputError("a picture needs at least {side} pixels a side", side=MIN_SIDE)
        plane = luma(image)
        tile = self._tile(word, magnification(*plane.shape)).astype(np.float32)
        copies = [-(-size // len(tile)) for size in plane.shape]
        change = _visibility(plane) * np.tile(tile, copies)[: plane.shape[0], : plane.shape[1]]
        # The shortest RGB step that moves luma by one is along the luma weights. One channel at a time saves memory.
        step = LUMA * np.float32(self._strength / float(LUMA @ LUMA))
        marked = np.empty_like(image)
        for i in range(3):
            marked[..., i] = np.clip(np.rint(image[..., i] + change * step[i]), 0, 255)
        return marked

    def detect(self, image: NDArray[np.uint8]) -> Detection | NotExamined:
        """Look for the mark in a picture (H, W, 3) or (H, W).

        Raises:
            InputError: another shape or type.
        """
        _check_picture(image, colors=False)
        if min(image.shape[:2]) < MIN_READ_SIDE:
            return NotExamined("too-small", f"the picture has a side of less than {MIN_READ_SIDE} pixels")
        reduction = magnification(*image.shape[:2])
        plane = _leveled(_reduced(luma(image), reduction))
        if self._finder is None:
            self._finder = _finder(self._pattern)
        matrices, spectrum = self._finder.find(plane, starts=_STARTS, keep=_CANDIDATES)
        fits = [fit for matrix in matrices for fit in self._align(plane, spectrum, matrix)]
        best = max(fits, key=lambda fit: fit.score)
        symbols = self._symbols(plane, spectrum, best)
        return self._report(best, symbols, searched=len(fits) * _OFFSETS**2, reduction=reduction)

    def _tile(self, word: int, magnified: int) -> Floats:
        """Return the tile of a word, ``magnified * TILE`` pixels a side: mean 0, root mean square 1."""
        pattern = self._pattern
        parts = encode(word)[pattern.symbols] * pattern.signs
        carriers = (parts[:, 0] + 1j * parts[:, 1]) * math.sqrt((1 - _PILOT_SHARE) / 2 / len(parts))
        pilots = np.exp(1j * pattern.phases) * math.sqrt(_PILOT_SHARE / PILOTS)
        places = np.concatenate((pattern.carriers, pattern.pilots)).astype(np.intp)
        side = magnified * TILE
        spectrum = np.zeros((side, side), dtype=np.complex128)
        spectrum[places[:, 1], places[:, 0]] = np.concatenate((carriers, pilots))
        return np.fft.ifft2(spectrum).real * (math.sqrt(2) * side**2)

    def _align(self, plane: Plane, spectrum: Spectrum, matrix: Floats) -> list[_Fit]:
        """Find the best offset of the tile for a matrix and for its half turn, which has the same magnitudes."""
        frequencies = self._pattern.pilots @ matrix.T / TILE
        values = transform(plane, frequencies)
        weights = np.abs(values) / np.sqrt(spectrum.floor_at(frequencies))
        weights = np.asarray(np.round(np.minimum(weights, _WEIGHT_CAP), 4), dtype=np.float64)
        angles = np.angle(values)
        return [self._fit(matrix, angles, weights), self._fit(-matrix, -angles, weights)]

    def _fit(self, matrix: Floats, angles: Floats, weights: Floats) -> _Fit:
        """Score every offset of the grid by one FFT and keep the best."""
        turns = angles - self._pattern.phases
        place = self._pattern.pilots.astype(np.intp) % _OFFSETS
        grid = np.zeros((_OFFSETS, _OFFSETS), dtype=np.complex128)
        grid[place[:, 1], place[:, 0]] = weights * np.exp(1j * turns)
        y, x = divmod(int(np.argmax(np.fft.fft2(grid).real)), _OFFSETS)
        offset = np.array((x, y)) * (TILE / _OFFSETS)
        cosines = np.cos(turns - 2 * np.pi / TILE * (self._pattern.pilots @ offset))
        # Rounded down, so that the recomputed statistic is never above the observed one.
        cosines = np.asarray(np.floor(cosines * 1e4) / 1e4, dtype=np.float64)
        score = float(weights @ cosines) / math.sqrt(float(weights @ weights) / 2 + 1e-12)
        return _Fit(matrix, self._polish(turns, weights, offset), cosines, weights, score)

    def _polish(self, turns: Floats, weights: Floats, offset: Floats) -> Floats:
        """Refine an offset between the points of the grid, for decoding only."""
        step = TILE / _OFFSETS
        moves = np.stack(np.meshgrid((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0)), axis=-1).reshape(-1, 2)
        for _ in range(4):
            step /= 2
            trials = offset + step * moves
            ramps = 2 * np.pi / TILE * (trials @ self._pattern.pilots.T)
            offset = trials[int(np.argmax(np.cos(turns - ramps) @ weights))]
        return offset

    def _symbols(self, plane: Plane, spectrum: Spectrum, fit: _Fit) -> Floats:
        """Return the 256 soft code symbols, whitening undone, scaled to a root mean square of 1 and rounded."""
        pattern = self._pattern
        frequencies = pattern.carriers @ fit.matrix.T / TILE
        values = transform(plane, frequencies) / spectrum.floor_at(frequencies)
        values = values * np.exp(-2j * np.pi / TILE * (pattern.carriers @ fit.offset))
        values[(np.abs(frequencies) >= 0.5).any(axis=1)] = 0.0
        parts = np.stack((values.real, values.imag), axis=1) * pattern.signs
        sums = np.bincount(pattern.symbols.ravel(), weights=parts.ravel(), minlength=SYMBOLS)
        return np.round(sums / math.sqrt(float(sums @ sums) / SYMBOLS + 1e-30), 4)

    def _report(self, fit: _Fit, symbols: Floats, *, searched: int, reduction: int) -> Detection:
        observations = {
            "cosines": fit.cosines.tolist(),
            "weights": fit.weights.tolist(),
            "symbols": symbols.tolist(),
            "searched": searched,
        }
        result = recompute(observations)
        return Detection(
            method=self.METHOD,
            key_id=self.key_id,
            p_value=result.p_value,
            statistic=result.statistic,
            trials=result.trials,
            searched=result.searched,
            word=result.word,
            words_tried=result.words_tried,
            geometry=_describe(fit, reduction),
            observations=observations,
        )


def magnification(height: int, width: int) -> int:
    """Return by how much the tile of a picture is magnified: 1 below 1,024 pixels of short side, doubling with it.

    Large pictures are shared at a fraction of their size, and what is fine to their pixels is lost then. A detection's
    ``scale`` is in pixels per pixel of the plain tile: the original's magnification times how much it was resized.
    """
    return int(1 << max(0, (min(height, width) // _SPAN).bit_length() - 1))


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return p-value, statistic and word from a detection's soft observations, without key and picture.

    Args:
        observations: ``cosines`` and ``weights`` of the pilots at the best hypothesis, the 256 soft code
            ``symbols`` and ``searched``, the number of hypotheses.

    Raises:
        InputError: a list of another length, a value that is not a finite number or out of range.
    """
    lists = {name: _numbers(observations, name, count) for name, count in _OBSERVED.items()}
    cosines, weights = lists["cosines"], lists["weights"]
    searched = observations.get("searched")
    if not isinstance(searched, int) or isinstance(searched, bool) or not 1 <= searched <= _MAX_SEARCHED:
        raise InputError("the observations do not say how many hypotheses were searched")
    if (np.abs(cosines) > 1).any() or (weights < 0).any() or (weights > _WEIGHT_CAP).any():
        raise InputError("pilot observations are out of range")
    # math.fsum rounds once, so that the order of a machine's additions does not matter.
    total = math.fsum(w * c for w, c in zip(weights.tolist(), cosines.tolist(), strict=True))
    spread = math.sqrt(math.fsum(w * w for w in weights.tolist()) / 2)
    return Recomputed(
        p_value=min(1.0, searched * cosine_sum_tail(weights, total)),
        statistic=total / spread if spread else 0.0,
        trials=PILOTS,
        searched=searched,
        word=decode(lists["symbols"]),
        words_tried=1,
    )


def _finder(pattern: Pattern) -> Finder:
    lines = np.concatenate((pattern.pilots, pattern.carriers))
    powers = np.full(len(lines), (1 - _PILOT_SHARE) / len(pattern.carriers))
    powers[:PILOTS] = _PILOT_SHARE / PILOTS
    return Finder(lines, powers / powers[0])


def _numbers(observations: Mapping[str, Any], name: str, count: int) -> Floats:
    values = observations.get(name)
    if not isinstance(values, list) or len(values) != count:
        raise InputError("the observations need {count} {name}", count=count, name=name)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= 1e6 for v in values):
        raise InputError("{name} holds something that is not a number in range", name=name)
    return np.array(values, dtype=np.float64)


def _check_picture(image: NDArray[np.uint8], *, colors: bool) -> None:
    if image.dtype != np.uint8 or image.shape[2:] not in ([(3,)] if colors else [(3,), ()]) or image.ndim < 2:
        raise InputError("a picture is an array of bytes, height by width by three colors")


def _reduced(plane: Plane, factor: int) -> Plane:
    """Average squares of ``factor`` pixels a side, and keep the central window of the result."""
    height, width = (size // factor for size in plane.shape)
    squares = plane[: height * factor, : width * factor].reshape(height, factor, width, factor)
    small = plane if factor == 1 else squares.mean(axis=(1, 3))
    top, left = (max(0, size - _WINDOW) // 2 for size in small.shape)
    return np.asarray(small[top : top + _WINDOW, left : left + _WINDOW])


def _leveled(plane: Plane) -> Plane:
    """Take away the local mean and divide by local activity, so that parts count by their reliability."""
    rest = plane - box(plane, 6)
    return np.asarray(rest / (box(np.abs(rest), 8) + np.float32(2.0)))


def _visibility(plane: Plane) -> Plane:
    """Return the root-mean-square change of luma, in levels, that is put into each pixel of a luma plane.

    It grows with the square root of local detail, from a floor in flat parts. Detail is the squared local mean of
    square roots: a lone edge beside a flat area, around which a mark would show, raises it less than even texture
    does. Dark parts get less, as screens show their steps more.
    """
    mean = box(plane, 3)
    detail = box(np.sqrt(np.abs(plane - mean)), 5) ** 2
    light = np.float32(0.6) + np.float32(0.4) * np.minimum(mean / np.float32(50.0), 1.0)
    return np.asarray(_GAIN * light * np.sqrt(detail + _FLAT), dtype=np.float32)


def _describe(fit: _Fit, reduction: int) -> dict[str, float | bool]:
    """Say in plain numbers how the picture was turned, resized and shifted against the tile (see ``magnification``)."""
    inverse = np.linalg.inv(fit.matrix.T) * reduction
    scale = math.sqrt(abs(float(np.linalg.det(inverse))))
    mirrored = bool(np.linalg.det(inverse) < 0)
    turned = inverse @ np.diag((-1.0, 1.0)) if mirrored else inverse
    degrees = math.degrees(math.atan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1]))
    return {
        "rotation_deg": round(degrees, 2),
        "scale": round(scale, 4),
        "mirrored": mirrored,
        "offset_x": round(float(fit.offset[0]) % TILE, 2),
        "offset_y": round(float(fit.offset[1]) % TILE, 2),
    }
