"""Images by descriptions: which have the greatest product of unit vectors with one of a query's variants.

A description is a short unit vector, here as bytes: 127 times its values, around 128. A query may have many variants
(shifts, mirroring, zooms); its likeness to an image is the greatest of their products. Products are those of
``products``, 8-bit integers where they are fast, and the greatest over variants is taken block by block before
anything is sorted.

Laws:
    the images chosen are those of the greatest products over variants, ties by the lower index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.products import LOT, Bytes, Float32, Int8, Integers
from countermark.audit.images.scan import Block, Scan
from countermark.audit.images.search import Store

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_IMAGES_AT_ONCE, _VARIANTS_AT_ONCE = 1024, 400


def quantized(vectors: NDArray[Any]) -> Bytes:
    """Return unit vectors as bytes around 128."""
    return np.asarray(np.rint(vectors * 127) + 128, np.uint8)


def products(torch: Any, ones: Singles, others: Singles) -> Singles:
    """Return (q, v, m) products of rows (q, v, length) and (q, m, length).

    By torch where there is one: its threads can be told to keep apart, and small products wait for nobody.
    """
    if torch is None:
        return ones @ others.transpose(0, 2, 1)
    return np.asarray(torch.bmm(torch.from_numpy(ones), torch.from_numpy(others).transpose(1, 2)).numpy())


@dataclass(frozen=True, slots=True)
class Likeness:
    """Descriptions of images, to be searched.

    Attributes:
        rows: (n, length) descriptions as bytes.
        torch: for products of 8-bit integers; ``None`` for floats.
        threads: how many search.
    """

    rows: Bytes
    torch: Any
    threads: int

    @classmethod
    def of(cls, store: Store, describe: Callable[[Bytes], Bytes], torch: Any, threads: int) -> Likeness:
        """Describe all images of a store; ``describe`` turns (n, h, w, c) into (n, length) bytes."""
        parts = [
            describe(shard[at : at + 2048].reshape(-1, *store.shape))
            for _, shard in store.shards()
            for at in range(0, len(shard), 2048)
        ]
        return cls(np.concatenate(parts), torch, threads)

    def closest(self, queries: Bytes, k: int) -> Integers:
        """Return (q, k) images of the greatest products with one of the variants (q, variants, length)."""
        count, (_, variants, length) = len(self.rows), queries.shape
        scan = Scan(
            queries=queries,
            # a product is at most 127^2, more only by rounding
            norms=np.full(len(queries), 127**2 + 255 * length),
            k=k,
            piece=max(1, _VARIANTS_AT_ONCE // variants),
            shift=count.bit_length(),
            kind=np.int32,
            kernel=lambda: _Greatest(Float32() if self.torch is None else Int8(self.torch), variants),
            threads=self.threads if self.torch is not None else 1,
            torch=self.torch,
        )
        blocks = [
            Block(self.rows[at : at + _IMAGES_AT_ONCE].view, min(_IMAGES_AT_ONCE, count - at), at)
            for at in range(0, count, _IMAGES_AT_ONCE)
        ]
        return scan.over(blocks, np.zeros(count, np.int64), lambda _: None) & ((1 << scan.shift) - 1)


class _Greatest:
    """Scores of queries with variants: less the greatest product of a variant with an image's description."""

    def __init__(self, inner: Int8 | Float32, variants: int) -> None:
        self._inner, self._variants = inner, variants

    def queries(self, rows: Bytes) -> Any:
        # by variant, then by query, so that the variants of all queries are one axis
        turned = np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(-1, rows.shape[2])
        return self._inner.queries(turned)

    def images(self, rows: Bytes, norms: Integers) -> tuple[Any, Any]:
        return self._inner.images(rows, norms)

    def scores(self, queries: Any, images: tuple[Any, Any]) -> NDArray[np.int32]:
        products = np.asarray(self._inner.products(queries, images))
        scores = -products.reshape(self._variants, -1, products.shape[1]).max(axis=0)
        scores[:, np.count_nonzero(np.asarray(images[1]) == 0) :] = np.iinfo(np.int32).max
        return np.asarray(scores, np.int32)

    def head(self, scores: Any, columns: int) -> NDArray[Any]:
        return np.asarray(scores[:, :columns])

    def lows(self, scores: Any) -> NDArray[Any]:
        return np.asarray(scores.reshape(len(scores), -1, LOT).min(2))

    def lots(self, scores: Any, which: Integers) -> NDArray[Any]:
        return np.asarray(scores.reshape(-1, LOT)[which])


def cosines(side: int, count: int) -> Floats:
    """Return (count, side) the lowest rows of the orthonormal cosine transform (DCT-II)."""
    frequencies, places = np.arange(count)[:, None], np.arange(side)[None]
    rows = np.cos(np.pi * (places + 0.5) * frequencies / side) * np.sqrt(2 / side)
    rows[0] = np.sqrt(1 / side)
    return np.asarray(rows)


def sandwich(down: Singles, values: Singles, right: Singles) -> Singles:
    """Return (n, dy, dx, c, i, j) coefficients of (n, c, h, w) values."""
    (ys, i, height), (xs, j, width) = down.shape, right.shape
    product = down.reshape(-1, height) @ values @ right.reshape(-1, width).T
    n, channels = values.shape[:2]
    return np.ascontiguousarray(product.reshape(n, channels, ys, i, xs, j).transpose(0, 2, 4, 1, 3, 5))
