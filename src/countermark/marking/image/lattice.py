"""The lattice mark: 64 bits in any photograph, found again after resize, crop, rotation, perspective and compression.

**Writing.** A secret tile (``pattern``), one of a family that the picture's own pixels choose from, is added to the
picture, its amplitude following what each place bears (``visibility``). The writer reads its own draft back and puts
more where the picture works against a symbol, less where it helps. The addition moves luma with the smallest change of
RGB. **Reading.** Magnitudes and phases of the sync lines tell how the picture was bent and cropped (``geometry``,
``alignment``). The pilots say which pattern it carries, and how surely; the carriers, weighted by the noise around
each, give the soft code symbols (``core.coding``).

What a detection proves, and the null under which, is in ``observations``.

Laws:
    ``detect`` returns for every picture of at least ``MIN_READ_SIDE`` pixels a side, marked or not;
    ``embed`` is a function of key, strength, picture and word: the same again gives the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from countermark.core.coding import SYMBOLS, encode
from countermark.core.keys import Secret, derive_key
from countermark.core.stats import cosine_sum_tail
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.image import alignment as align
from countermark.marking.image.alignment import CAP, WINDOW, Alignment, TileSpectrum
from countermark.marking.image.cells import Cell, agreement
from countermark.marking.image.geometry import Finder
from countermark.marking.image.observations import hypotheses, recompute
from countermark.marking.image.pattern import (
    ANCHORS,
    BAND,
    HANDS,
    PATTERNS,
    PILOTS,
    SYNC,
    TILE,
    Floats,
    Pattern,
    Singles,
)
from countermark.marking.image.spectrum import LUMA, Plane, leveled, luma, reduced, waves
from countermark.marking.image.visibility import visibility

# Below these sides, in pixels, a picture is not marked, and not examined.
MIN_SIDE = 192
MIN_READ_SIDE = 64
# Multiplies the amplitude; set on the development set, where it gives 43 dB in the mean.
DEFAULT_STRENGTH = 1.0
# The tile grows with the picture: its pitch doubles where the short side reaches twice this, four times this, ...
_SPAN = 512
# Shares of the tile's power.
_SYNC_SHARE, _PILOT_SHARE = 0.30, 0.16
# A reading of pilots with a p-value whose logarithm is below this ends the search.
_SURE = -20.0
# How much of what the picture adds to a symbol the writer takes off, and between which limits.
_INFORMED, _GAINS = 0.8, (0.5, 1.6)
# Rows that are marked at once, and rows around them that visibility looks at.
_ROWS, _MARGIN = 1024, 16


@dataclass(frozen=True, slots=True)
class _Reading:
    """One alignment after the pilots: the best nonce, its pilots' cosines and weights, and all lines."""

    alignment: Alignment
    nonce: int
    cosines: Floats
    weights: Floats
    values: NDArray[np.complex64]
    floor: Singles

    @property
    def score(self) -> float:
        return float(self.weights @ self.cosines) / math.sqrt(float(self.weights @ self.weights) / 2 + 1e-12)

    @property
    def log_p(self) -> float:
        """About the logarithm of the pilots' p-value: a cosine of weight w is as narrow as a normal variable."""
        return math.log(hypotheses(anchored=self.alignment.anchored)) - max(0.0, self.score) ** 2 / 2


class LatticeMark:
    """Embeds and detects the lattice mark of one key.

    Args:
        secret: the embedding half of a detection key.
        key_id: public name of the key, repeated in detections.
        strength: above 0; multiplies the amplitude. The detector does not depend on it, so it is not part of METHOD.
    """

    METHOD = (
        f"image.lattice/2;tile={TILE};sync={SYNC};pilots={PILOTS}-{ANCHORS};patterns={PATTERNS};band={BAND[0]}-{BAND[1]}"
        f";code=k9r4tb;shares={_SYNC_SHARE}-{_PILOT_SHARE};span={_SPAN}"
    )

    def __init__(self, secret: Secret, *, key_id: str = "", strength: float = DEFAULT_STRENGTH) -> None:
        if not 0 < strength < math.inf:
            raise InputError("strength is above 0")
        self.key_id, self._strength = key_id, strength
        self._pattern = Pattern.derive(secret)
        self._nonce_key = derive_key(secret, "lattice", "nonce")
        self._finder = Finder(self._pattern.sync)
        # Conjugate phases of all pilots, by which readings are turned back.
        self._hands = np.exp(-1j * self._pattern.hand_phases)
        self._turns = np.exp(-1j * self._pattern.turn_phases).T

    def embed(self, image: NDArray[np.uint8], word: int) -> NDArray[np.uint8]:
        """Return a copy of an RGB picture (H, W, 3) that carries the 64-bit ``word``.

        Raises:
            InputError: another shape or type, a side under ``MIN_SIDE`` pixels, not a 64-bit word.
        """
        _check_picture(image, colors=True)
        if min(image.shape[:2]) < MIN_SIDE:
            raise InputError("a picture needs at least {side} pixels a side", side=MIN_SIDE)
        code = encode(word).astype(np.float32)
        nonce, factor = self.nonce(image, word), magnification(*image.shape[:2])
        plane = _canonical(image, factor)
        draft = plane + self._strength * visibility(plane) * self._tile(code, nonce, *plane.shape)
        tile = self._tile(code * self._gains(draft, code, nonce), nonce, *plane.shape)
        # The shortest RGB step that moves luma by one is along the luma weights.
        steps = LUMA * np.float32(self._strength / float(LUMA @ LUMA))
        marked = np.empty_like(image)
        for top in range(0, len(image), _ROWS):
            rows = slice(top, min(top + _ROWS, len(image)))
            change = _visible(image, rows) * _magnified(tile, factor, rows, image.shape[1])
            for i, step in enumerate(steps):
                marked[rows, :, i] = np.clip(np.rint(image[rows, :, i] + change * step), 0, 255)
        return marked

    def nonce(self, image: NDArray[np.uint8], word: int) -> int:
        """Return which pattern a picture (H, W, 3) is marked with for a word: drawn from both and the key."""
        hasher = hashlib.blake2b(word.to_bytes(8, "big"), key=self._nonce_key.reveal(), digest_size=8)
        hasher.update(np.ascontiguousarray(image).data)
        return int.from_bytes(hasher.digest(), "big") % PATTERNS

    def detect(self, image: NDArray[np.uint8]) -> Detection | NotExamined:
        """Look for the mark in a picture (H, W, 3) or (H, W).

        Raises:
            InputError: another shape or type.
        """
        _check_picture(image, colors=False)
        if min(image.shape[:2]) < MIN_READ_SIDE:
            return NotExamined("too-small", f"the picture has a side of less than {MIN_READ_SIDE} pixels")
        factor = magnification(*image.shape[:2])
        sync, best = self._search(leveled(_central(_canonical(image, factor))))
        seen = self._report(sync, best, factor)
        return replace(seen, geometry={**seen.geometry, "placement": _placement(best, image.shape, factor)})

    def detect_regions(self, image: NDArray[np.uint8]) -> list[tuple[tuple[int, int, int, int], Detection]]:
        """Look for marks in overlapping windows, each by itself: pasted fragments, mosaics of marked pictures.

        Returns:
            A window (left, top, right, bottom) in pixels and what was seen in it, for every window that was examined,
            best first. All windows are counted in the p-values.
        """
        _check_picture(image, colors=False)
        windows = _windows(*image.shape[:2])
        seen = [(window, self.detect(image[window[1] : window[3], window[0] : window[2]])) for window in windows]
        found = [(window, _corrected(each, len(windows))) for window, each in seen if isinstance(each, Detection)]
        return sorted(found, key=lambda pair: pair[1].p_value)

    def cells(self, image: NDArray[np.uint8], detection: Detection) -> list[Cell]:
        """Say where in a suspect the mark that was detected in it lies, square by square of the tile."""
        if detection.word is None or detection.nonce is None:
            return []
        tile = self._tile(encode(detection.word).astype(np.float32), detection.nonce, TILE, TILE)
        return agreement(leveled(luma(image)), np.reshape(detection.geometry["placement"], (3, 3)), tile)

    def tails_at(self, image: NDArray[np.uint8], nonces: Iterable[int]) -> list[float]:
        """Return the bounds for hypotheses fixed beforehand: the picture as it stands, with each of these nonces.

        They test the bound before anything is searched, and are not detections.
        """
        plane = leveled(_central(_canonical(image, magnification(*image.shape[:2]))))
        standing = Alignment.as_marked(TileSpectrum.of(plane))
        readings = [self._read(standing, nonce) for nonce in nonces]
        return [cosine_sum_tail(each.weights, float(each.weights @ each.cosines)) for each in readings]

    def _tile(self, symbols: Singles, nonce: int, height: int, width: int) -> Plane:
        """Return the tile that carries 256 symbols, repeated to (height, width): mean 0, root mean square about 1."""
        pattern = self._pattern
        hand, phases = pattern.pilots(nonce)
        parts = symbols[pattern.symbols] * pattern.signs(nonce)
        carried = (1 - _SYNC_SHARE - _PILOT_SHARE) / 2 / (len(parts) - PILOTS)
        lines = (parts[:, 0] + 1j * parts[:, 1]) * np.float32(math.sqrt(carried))
        lines[hand] = np.exp(1j * phases) * math.sqrt(_PILOT_SHARE / PILOTS)
        sync = np.exp(1j * pattern.sync_phases) * math.sqrt(_SYNC_SHARE / SYNC)
        places, values = np.concatenate((pattern.lines, pattern.sync)), np.concatenate((lines, sync))
        return waves(places, values, TILE, height, width) * np.float32(TILE / math.sqrt(2))

    def _gains(self, draft: Plane, code: Singles, nonce: int) -> Singles:
        """Read a draft and return what each symbol's amplitude is to be multiplied with: about 1 in the mean square."""
        read = self._symbols(self._read(Alignment.as_marked(TileSpectrum.of(leveled(_central(draft)))), nonce)) * code
        surplus = read / max(float(read.mean()), 0.1) - 1
        gains = np.clip(1 - _INFORMED * surplus, *_GAINS)
        return np.asarray(gains / math.sqrt(float(gains @ gains) / SYMBOLS), dtype=np.float32)

    def _search(self, plane: Plane) -> tuple[Alignment, _Reading]:
        """Read alignments, the cheap ones first, until they are sure; return the best by sync lines and by pilots."""
        best: tuple[Alignment, _Reading] | None = None
        for alignments in self._alignments(plane):
            readings = [self._read(alignment) for alignment in alignments]
            if best is not None:
                alignments, readings = [best[0], *alignments], [best[1], *readings]
            best = max(alignments, key=lambda each: each.score), min(readings, key=lambda each: each.log_p)
            if best[1].log_p < _SURE:
                break
        if best is None:
            raise AssertionError("a picture has an alignment")
        return best

    def _alignments(self, plane: Plane) -> Iterator[list[Alignment]]:
        """Yield up to ``MAX_ALIGNMENTS`` alignments in groups, found by the sync lines alone, and some by anchors."""
        standing = align.as_it_stands(plane, self._pattern)
        yield standing
        yield self._placed(plane, self._finder.similar(plane, keep=4))
        # A piece of a large picture has a larger tile than a picture of its size.
        for factor in (2, 4):
            small = reduced(plane, factor)
            if min(small.shape) >= MIN_SIDE:
                found = self._placed(small, self._finder.similar(small, keep=4))
                shrink = np.diag((1 / factor, 1 / factor, 1.0))
                yield [replace(each, placement=each.placement @ shrink) for each in found]
        yield align.anchored(standing[0].spectrum, self._pattern)
        yield self._placed(plane, self._finder.bent(plane, keep=4))

    def _placed(self, plane: Plane, placements: list[Floats]) -> list[Alignment]:
        """Align under each placement; return the best two, and the best followed into its bends."""
        found = [each for placement in placements for each in align.placed(plane, placement, self._pattern)]
        found = sorted(found, key=lambda each: -each.score)[:2]
        followed = align.follow(plane, found[0], self._pattern)
        return [*found, followed] if followed else found

    def _read(self, alignment: Alignment, nonce: int | None = None) -> _Reading:
        """Read all lines, and find the nonce whose pilots agree best, unless it is given."""
        pattern = self._pattern
        values, floor = alignment.read(pattern.lines)
        sizes = np.abs(values)
        weights = np.minimum(sizes / np.sqrt(floor), CAP).round(3)
        if nonce is None:
            dealt = weights[: HANDS * PILOTS].reshape(HANDS, PILOTS)
            turned = (values / np.maximum(sizes, np.float32(1e-20)))[: HANDS * PILOTS].reshape(HANDS, PILOTS) * dealt
            turned = turned * self._hands
            scores = turned[:, :ANCHORS].real.sum(axis=1, keepdims=True) + (turned[:, ANCHORS:] @ self._turns).real
            nonce = int(np.argmax(scores / (np.sqrt((dealt**2).sum(axis=1, keepdims=True)) + np.float32(1e-9))))
        hand, phases = pattern.pilots(nonce)
        cosines = np.cos(np.angle(values[hand]).astype(np.float64) - phases)
        # Rounded down, so that the recomputed statistic is never above the observed one.
        cosines = np.floor(cosines * 1e4) / 1e4
        return _Reading(alignment, nonce, cosines, weights[hand].astype(np.float64).round(3), values, floor)

    def _symbols(self, reading: _Reading) -> Floats:
        """Return the 256 soft code symbols, whitening undone, scaled to a root mean square of 1 and rounded."""
        pattern = self._pattern
        values = reading.values / reading.floor
        values[pattern.pilots(reading.nonce)[0]] = 0
        parts = np.stack((values.real, values.imag), axis=1) * pattern.signs(reading.nonce)
        sums = np.bincount(pattern.symbols.ravel(), weights=parts.ravel(), minlength=SYMBOLS)
        return np.asarray(np.round(sums / math.sqrt(float(sums @ sums) / SYMBOLS + 1e-30), 4))

    def _report(self, sync: Alignment, reading: _Reading, factor: int) -> Detection:
        observations = {
            "sync_cosines": sync.cosines.tolist(),
            "sync_weights": sync.weights.tolist(),
            "cosines": reading.cosines.tolist(),
            "weights": reading.weights.tolist(),
            "symbols": self._symbols(reading).tolist(),
            "nonce": reading.nonce,
            "anchored": reading.alignment.anchored,
            "windows": 1,
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
            words=result.words,
            words_tried=result.words_tried,
            nonce=result.nonce,
            geometry=_describe(reading.alignment.whole, factor),
            observations=observations,
        )


def magnification(height: int, width: int) -> int:
    """Return by how much the tile of a picture is magnified: 1 below 1,024 pixels of short side, doubling with it.

    Large pictures are shared at a fraction of their size, and what is fine to their pixels is lost then. A detection's
    ``scale`` is in pixels per pixel of the plain tile: the original's magnification times how much it was resized.
    """
    return int(1 << max(0, (min(height, width) // _SPAN).bit_length() - 1))


def _canonical(image: NDArray[np.uint8], factor: int) -> Plane:
    """Return the luma of a picture, reduced by ``factor``, row by row of bands, as large pictures fill memory."""
    step = _ROWS // factor * factor
    return np.concatenate([reduced(luma(image[top : top + step]), factor) for top in range(0, len(image), step)])


def _central(plane: Plane) -> Plane:
    top, left = (max(0, size - WINDOW) // 2 for size in plane.shape)
    return plane[top : top + WINDOW, left : left + WINDOW]


def _decentral(points: Floats, shape: tuple[int, ...], factor: int) -> Floats:
    """Take (n, 2) points of the central part of a reduced picture back to the picture's own pixels."""
    left, top = (max(0, size // factor - WINDOW) // 2 for size in (shape[1], shape[0]))
    return np.asarray((points + np.array((left, top))) * factor)


def _placement(reading: _Reading, shape: tuple[int, ...], factor: int) -> list[float]:
    """Return the homogeneous 3x3 matrix, row by row, from the picture's pixels to the tile's, both by corners."""
    low = _decentral(np.zeros((1, 2)), shape, factor)[0]
    inward = np.array(((1 / factor, 0, -0.5 - low[0] / factor), (0, 1 / factor, -0.5 - low[1] / factor), (0, 0, 1)))
    outward = np.array(((1.0, 0, 0.5), (0, 1.0, 0.5), (0, 0, 1)))
    whole = outward @ reading.alignment.whole @ inward
    return [round(float(value), 9) for value in (whole / whole[2, 2]).ravel()]


def _visible(image: NDArray[np.uint8], rows: slice) -> Plane:
    """Return the visibility of some rows, seen with their surroundings."""
    top, bottom = max(0, rows.start - _MARGIN), min(len(image), rows.stop + _MARGIN)
    return visibility(luma(image[top:bottom]))[rows.start - top : rows.stop - top]


def _magnified(tile: Plane, factor: int, rows: slice, width: int) -> Plane:
    """Return some rows of a tile that is magnified, with smooth interpolation."""
    if factor == 1:
        return tile[rows]
    from PIL import Image

    part = (0.0, rows.start / factor, width / factor, rows.stop / factor)
    padded = np.pad(tile, ((0, 1), (0, 1)), mode="edge")
    size = (width, rows.stop - rows.start)
    return np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC, box=part))


def _windows(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Return the whole picture, and squares of half its short side, at least 256 pixels, half overlapping."""
    side = max(256, min(height, width) // 2)
    tops, lefts = (
        np.linspace(0, max(0, size - side), 1 + max(0, -(-2 * (size - side) // side))).astype(int).tolist()
        for size in (height, width)
    )
    squares = [(left, top, min(left + side, width), min(top + side, height)) for top in tops for left in lefts]
    return [(0, 0, width, height), *(square for square in squares if square != (0, 0, width, height))]


def _corrected(seen: Detection, windows: int) -> Detection:
    """Return a detection in one window of several."""
    observations = {**seen.observations, "windows": windows}
    result = recompute(observations)
    return replace(seen, p_value=result.p_value, searched=result.searched, observations=observations)


def _check_picture(image: NDArray[np.uint8], *, colors: bool) -> None:
    if image.dtype != np.uint8 or image.shape[2:] not in ([(3,)] if colors else [(3,), ()]) or image.ndim < 2:
        raise InputError("a picture is an array of bytes, height by width by three colors")


def _describe(whole: Floats, factor: int) -> dict[str, float | bool]:
    """Say in plain numbers how the picture's center was turned, resized, stretched and shifted against the tile.

    ``scale`` is in pixels per pixel of the plain tile (see ``magnification``); ``stretch`` is width over height;
    ``lean`` is how much size changes from one pixel to the next by perspective, in parts per million of a pixel.
    """
    inverse = np.linalg.inv(whole[:2, :2] / whole[2, 2]) * factor
    scale = math.sqrt(abs(float(np.linalg.det(inverse))))
    mirrored = bool(np.linalg.det(inverse) < 0)
    turned = inverse @ np.diag((-1.0, 1.0)) if mirrored else inverse
    degrees = math.degrees(math.atan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1]))
    across, down = np.linalg.norm(inverse, axis=1)
    offset = whole[:2, 2] / whole[2, 2]
    return {
        "rotation_deg": round(degrees, 2),
        "scale": round(scale, 4),
        "mirrored": mirrored,
        "stretch": round(float(across / max(down, 1e-9)), 4),
        "lean": round(float(np.hypot(*whole[2, :2]) / abs(whole[2, 2])) * 1e6, 1),
        "offset_x": round(float(offset[0]) % TILE, 2),
        "offset_y": round(float(offset[1]) % TILE, 2),
    }
