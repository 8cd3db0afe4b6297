"""The nearest training image after gain, offset, mirroring and shifts of up to two pixels are undone.

The middle of every training image, all but a border of two pixels, is compared with the 25 crops of that size of the
sample and with those of its mirror image, all brought to mean 0 and norm 1. With the correlation ``rho`` of two such
crops, ``1 - rho^2`` is the share of one crop's variance that the best gain and offset of the other leave: a shift,
a mirroring or a change of light is undone exactly, whatever it moved out of the picture.

Search is in two steps. Every crop is described by its lowest cosine coefficients and, as one coefficient more, by the
norm of what remains; by the inequality of Cauchy and Schwarz the product of two such unit vectors is at least ``rho``.
These products, in 8-bit integers and the greatest of the 50 for every pair, choose candidates; their correlations are
then computed from the pixels in integers. A training image that is left out has a correlation below the last
candidate's product (but for the rounding to 8 bits), so a copy, whose correlation is near 1, is not lost.

Laws:
    a copy under gain, offset, mirroring and a shift within the margin has residual 0 but for its rounding to bytes;
    a description is a unit vector, and the product of two is at least the correlation of the crops;
    the best transform of a pair is that of trying all 50, in Python integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.likeness import Likeness, cosines, products, quantized, sandwich
from countermark.audit.images.products import Bytes, Integers
from countermark.audit.images.scan import single_threaded
from countermark.audit.images.search import Engine, Store, available_threads, torch_for
from countermark.core.progress import Progress
from countermark.errors import InputError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Pixels that a copy may be shifted by, and the least side of an image.
MARGIN, MIN_SIDE = 2, 8
_SHIFTS = 2 * MARGIN + 1
_VARIANTS = 2 * _SHIFTS**2
# Coefficients of a description; a multiple of 8.
_COEFFICIENTS = 128
# Candidates whose correlations are computed, at least, and per neighbour asked for.
_LEAST_CANDIDATES, _PER_NEIGHBOUR = 64, 2
_FITTED_AT_ONCE, _SPARE = 8, 16


@dataclass(frozen=True, slots=True)
class AlignedNeighbours:
    """The nearest training images of every sample, each under its best transform; all arrays are (q, k).

    The sample, mirrored back if ``mirror``, is about ``gain * training + offset``, moved ``dx`` pixels to the right
    and ``dy`` down.

    Attributes:
        residual: root mean squared error, in [0, 1], that the best gain and offset leave between the training image's
            middle and the sample's crop, measured on the one of more contrast; ascending along a row.
        index: which training image.
        mirror: whether the sample is mirrored left to right.
        dx: pixels to the right, -2 to 2.
        dy: pixels down, -2 to 2.
        gain: above 0 for a positive correlation; 0 where nothing could be fitted.
        offset: in bytes.
    """

    residual: Floats
    index: Integers
    mirror: NDArray[np.bool_]
    dx: Integers
    dy: Integers
    gain: Floats
    offset: Floats


class AlignedIndex:
    """Search for training images under gain, offset, mirroring and shifts.

    Args:
        store: the training images.
        engine: that of the products: ``int8``, ``numpy``, or what a self-test finds faster.
        threads: how many; default all processors of this process.

    Raises:
        InputError: images of fewer than 8 pixels a side.
    """

    def __init__(self, store: Store, *, engine: Engine = "auto", threads: int | None = None) -> None:
        height, width, channels = store.shape
        if min(height, width) < MIN_SIDE:
            raise InputError("images of {height}x{width} pixels are too small to align", height=height, width=width)
        self.count, self._store = store.count, store
        self._threads = available_threads() if threads is None else threads
        self._torch = torch_for(engine, self._threads)
        self._describe = _Describer(height, width, channels)
        self.name = f"aligned {_VARIANTS} transforms, {self._describe.length} cosine coefficients"

    @cached_property
    def _likeness(self) -> Likeness:
        """The training images' middles, described once."""
        return Likeness.of(self._store, self._describe.middles, self._torch, self._threads)

    def nearest(self, samples: Bytes, k: int, *, progress: Progress | None = None) -> AlignedNeighbours:
        """Return the ``k`` nearest training images of every sample.

        Args:
            samples: (q, h, w, c) uint8, of the training images' shape.
            k: how many, from 1 to the number of training images.
            progress: told how many samples are done.

        Raises:
            InputError: samples of another kind or shape, ``k`` out of range.
        """
        samples = np.asarray(samples)
        if samples.dtype != np.uint8 or samples.shape[1:] != self._store.shape:
            raise InputError("samples of shape {shape} cannot be aligned here", shape=list(samples.shape))
        if not 1 <= k <= self.count:
            raise InputError("{k} neighbours were asked for among {size} images", k=k, size=self.count)
        found = [_nothing(k)]
        for start in range(0, len(samples), 512):
            part = samples[start : start + 512]
            candidates = self._candidates(part, min(self.count, max(_LEAST_CANDIDATES, _PER_NEIGHBOUR * k)))
            few = [slice(at, at + _FITTED_AT_ONCE) for at in range(0, len(part), _FITTED_AT_ONCE)]
            with single_threaded(self._torch, self._threads) as pool:
                found += pool.map(lambda some: self._fitted(part[some], candidates[some], k), few)  # noqa: B023
            if progress is not None:
                progress(start + len(part), len(samples), "images")
        return AlignedNeighbours(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def _candidates(self, samples: Bytes, k: int) -> Integers:
        """Return (q, k) training images whose descriptions have the greatest products with one of the variants'."""
        return self._likeness.closest(self._describe.variants(samples), k)

    def _fitted(self, samples: Bytes, candidates: Integers, k: int) -> tuple[NDArray[Any], ...]:
        """Return the fields of the ``k`` nearest of each sample's candidates, (q, k) each."""
        shape = candidates.shape
        middles = _middle(self._store.take(candidates.reshape(-1))).reshape(*shape, -1)
        crops = _crops(samples)
        correlations = products(self._torch, _units(crops), _units(middles))
        best, rows = correlations.argmax(1), np.arange(len(samples))[:, None]
        # by single floats first: a correlation is off by some 1e-6, so a few more are computed in integers
        rough = (1 - correlations.max(1)) * np.maximum(middles.var(2), crops.var(2).max(1)[:, None])
        few = np.argsort(rough, axis=1, kind="stable")[:, : k + _SPARE]
        best, candidates = best[rows, few], candidates[rows, few]
        residual, gain, offset = _fit(middles[rows, few], crops[rows, best])
        order = np.lexsort((candidates, residual))[:, :k]
        mirror, place = np.divmod(best[rows, order], _SHIFTS**2)
        dy, dx = np.divmod(place, _SHIFTS)
        fitted = (residual[rows, order], candidates[rows, order], mirror.astype(bool), dx - MARGIN, dy - MARGIN)
        return (*fitted, gain[rows, order], offset[rows, order])


def _nothing(k: int) -> tuple[NDArray[Any], ...]:
    kinds = (np.float64, np.int64, np.bool_, np.int64, np.int64, np.float64, np.float64)
    return tuple(np.empty((0, k), kind) for kind in kinds)


def _middle(images: Bytes) -> Bytes:
    return images[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _crops(samples: Bytes) -> Bytes:
    """Return (q, 50, dims) crops of samples and of their mirror images, in order of mirror, dy, dx."""
    height, width = samples.shape[1] - 2 * MARGIN, samples.shape[2] - 2 * MARGIN
    both = (samples, samples[:, :, ::-1])
    places = [(dy, dx) for dy in range(_SHIFTS) for dx in range(_SHIFTS)]
    crops = [each[:, dy : dy + height, dx : dx + width] for each in both for dy, dx in places]
    return np.stack(crops, axis=1).reshape(len(samples), _VARIANTS, -1)


def _units(rows: Bytes) -> Singles:
    """Return rows (last axis) brought to mean 0 and norm 1; constant rows become 0."""
    centered = rows.astype(np.float32)
    centered -= centered.mean(-1, dtype=np.float64)[..., None].astype(np.float32)
    norms = np.sqrt(np.einsum("...i,...i->...", centered, centered))[..., None]
    return np.asarray(np.divide(centered, norms, out=np.zeros_like(centered), where=norms > 0.5), np.float32)


def _fit(training: Bytes, crops: Bytes) -> tuple[Floats, Floats, Floats]:
    """Return what remains of rows fitted by one another, and gain and offset from training row to crop.

    What remains is the root mean square of the row with the greater variance less its fit by the other: a flat row
    fits nothing and is fitted by nothing. A negative correlation fits nothing. Sums are whole numbers below 2^53.
    """
    x, y, n = training.astype(np.float64), crops.astype(np.float64), training.shape[-1]
    sum_x, sum_y = x.sum(-1), y.sum(-1)
    var_x = n * np.einsum("...i,...i->...", x, x) - sum_x**2
    var_y = n * np.einsum("...i,...i->...", y, y) - sum_y**2
    covariance = np.maximum(n * np.einsum("...i,...i->...", x, y) - sum_x * sum_y, 0)
    less, greater = np.minimum(var_x, var_y), np.maximum(var_x, var_y)
    explained = np.divide(covariance, less, out=np.zeros_like(less), where=less > 0) * covariance
    gain = np.divide(covariance, var_x, out=np.zeros_like(var_x), where=var_x > 0)
    residual = np.sqrt(np.maximum(greater - explained, 0)) / n / 255
    return np.asarray(residual), np.asarray(gain), np.asarray((sum_y - gain * sum_x) / n)


class _Describer:
    """Descriptions of crops: lowest cosine coefficients of the crop at mean 0 and norm 1, and the rest's norm.

    A crop shifted within the image is a product with other rows of the same matrix, and mirroring turns the sign of
    every odd coefficient, so all 50 descriptions cost little more than one.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        inner = (height - 2 * MARGIN, width - 2 * MARGIN)
        most = int(np.sqrt((_COEFFICIENTS - 2) / channels))
        self._sizes = (min(most, inner[0]), min(most, inner[1]))
        if most < 1:
            raise InputError("images of {channels} channels cannot be aligned", channels=channels)
        self._dims = inner[0] * inner[1] * channels
        self._corner = float(np.sqrt(inner[0] * inner[1]))
        self._used = self._sizes[0] * self._sizes[1] * channels
        self.length = -(-(self._used + 1) // 8) * 8
        # (shifts, coefficients, side): row s takes the crop that begins at s
        self._down = _shifted(cosines(inner[0], self._sizes[0]), height)
        self._right = _shifted(cosines(inner[1], self._sizes[1]), width)
        self._row, self._column = _shifted(np.ones((1, inner[0])), height), _shifted(np.ones((1, inner[1])), width)

    def middles(self, images: Bytes) -> Bytes:
        """Return (n, length) descriptions of the middles of images, as bytes around 128."""
        return quantized(self.exactly(images, slice(MARGIN, MARGIN + 1))).reshape(len(images), self.length)

    def variants(self, images: Bytes) -> Bytes:
        """Return (n, 50, length) descriptions of all crops of images and of their mirror images."""
        every = self.exactly(images, slice(None))
        signs = np.ones(self.length, np.float32)
        pattern = np.where(np.arange(self._sizes[1]) % 2, -1, 1)
        signs[: self._used] = np.tile(pattern, self._used // len(pattern))
        # the crop at dx of the mirror image is the mirrored crop at -dx
        mirrored = every[:, :, ::-1] * signs
        both = np.stack([every, mirrored], axis=1)
        return quantized(both).reshape(len(images), _VARIANTS, self.length)

    def exactly(self, images: Bytes, shifts: slice) -> Singles:
        """Return (n, dy, dx, length) unit vectors: coefficients by channel, row and column, then what remains."""
        values = np.moveaxis(images, 3, 1).astype(np.float32)
        raw = sandwich(self._down[shifts], values, self._right[shifts])
        sums = sandwich(self._row[shifts], values, self._column[shifts])[..., 0, 0].sum(-1, dtype=np.float64)
        squares = sandwich(self._row[shifts], values**2, self._column[shifts])[..., 0, 0].sum(-1, dtype=np.float64)
        mean = sums / self._dims
        norm = np.sqrt(np.maximum(squares - sums * mean, 0))
        raw[..., 0, 0] -= (mean * self._corner)[..., None]
        scale = np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0.5)
        vectors = np.zeros((*norm.shape, self.length), np.float32)
        vectors[..., : self._used] = raw.reshape(*norm.shape, self._used) * scale[..., None]
        kept = np.einsum("...i,...i->...", vectors, vectors)
        vectors[..., self._used] = np.sqrt(np.maximum(1 - kept, 0)) * (scale > 0)
        return vectors


def _shifted(rows: Floats, side: int) -> Singles:
    """Return (shifts, rows, side): the rows laid over a longer line, beginning at every shift."""
    whole = np.zeros((_SHIFTS, len(rows), side), np.float32)
    for shift in range(_SHIFTS):
        whole[shift, :, shift : shift + rows.shape[1]] = rows
    return whole
