"""Blocks of exact scalar products between pictures of bytes, by the engines that a search can use.

A score is ``|t|^2 - 2 q.t`` over bytes minus 128: the squared distance of query and image less the query's own squared
norm, which orders images alike. Scores are whole numbers whatever the engine.

Laws:
    all kernels give the same scores, for any shape and any values;
    a column that pads a block has a score above every true one.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.errors import require

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

# Columns whose least score is looked at first; blocks are padded to multiples of it.
LOT = 64
# A sum of so many products of centered bytes stays below 2^24: whole numbers that float32 holds.
FLOAT_DIMS = 1024
# Up to so many bytes an image |t|^2 - 2 q.t fits in 32 bits.
INT32_DIMS = 40_960


class Kernel(Protocol):
    """Products of one engine, with buffers of its own: one kernel per thread."""

    def queries(self, rows: Bytes) -> Any:
        """Return queries as :meth:`scores` takes them."""
        ...

    def images(self, rows: Bytes, norms: Integers) -> tuple[Any, Any]:
        """Return images and their squared norms as :meth:`scores` takes them, until the next call."""
        ...

    def scores(self, queries: Any, images: tuple[Any, Any]) -> Any:
        """Return scores, (queries, images padded to a multiple of ``LOT``), until the next call."""
        ...

    def head(self, scores: Any, columns: int) -> NDArray[Any]:
        """Return the first columns of the scores."""
        ...

    def lows(self, scores: Any) -> NDArray[Any]:
        """Return the least score of every ``LOT`` columns."""
        ...

    def lots(self, scores: Any, which: Integers) -> NDArray[Any]:
        """Return these lots (numbered along the rows) of scores, (which, LOT)."""
        ...


def score_type(dims: int) -> type[np.int32] | type[np.int64]:
    """Return the integers that hold the scores of images of ``dims`` bytes."""
    return np.int32 if dims <= INT32_DIMS else np.int64


def squared_norms(rows: Bytes) -> Integers:
    """Return (n,) squared norms of bytes minus 128."""
    total = np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), 4096):
        for at in range(0, rows.shape[1], FLOAT_DIMS):
            part = rows[start : start + 4096, at : at + FLOAT_DIMS].astype(np.float32) - np.float32(128)
            total[start : start + 4096] += np.einsum("ij,ij->i", part, part).astype(np.int64)
    return total


def exact_distances(query: Bytes, rows: Bytes) -> Integers:
    """Return (n,) squared distances of one query (dims,) to rows (n, dims)."""
    total = np.zeros(len(rows), np.int64)
    for at in range(0, rows.shape[1], FLOAT_DIMS):
        part = slice(at, at + FLOAT_DIMS)
        image, asked = rows[:, part].astype(np.float32), query[part].astype(np.float32)
        image -= np.float32(128)
        asked -= np.float32(128)
        total += np.einsum("ij,ij->i", image, image).astype(np.int64) + np.int64(asked @ asked)
        total -= 2 * (image @ asked).astype(np.int64)
    return total


def padded_norms(norms: Integers, dims: int) -> NDArray[Any]:
    """Return norms for a block padded to a multiple of ``LOT``: the padding's are greatest."""
    kind = score_type(dims)
    whole = np.full(-(-len(norms) // LOT) * LOT, np.iinfo(kind).max, kind)
    whole[: len(norms)] = norms
    return whole


class Int8:
    """Products of 8-bit integers by torch (oneDNN on processors, cuBLAS on a GPU)."""

    def __init__(self, torch: Any, device: str = "cpu") -> None:
        self._torch, self._device = torch, device
        # cuBLAS wants more than 16 queries
        self._least = 1 if device == "cpu" else 32
        self._bytes, self._scores = np.empty((0, 0), np.uint8), torch.empty(0)

    def queries(self, rows: Bytes) -> Any:
        """Return (at least ``m``, dims) signed bytes, and ``m``."""
        centered = np.zeros((max(len(rows), self._least), _wide(rows)), np.uint8)
        return self._signed(rows, centered), len(rows)

    def images(self, rows: Bytes, norms: Integers) -> tuple[Any, Any]:
        """Return (n padded, dims) signed bytes in a buffer that is used again, and norms."""
        size = (-(-len(rows) // LOT) * LOT, _wide(rows))
        if self._bytes.shape != size:
            self._bytes = np.zeros(size, np.uint8)
        self._bytes[len(rows) :] = 0
        whole = self._torch.from_numpy(padded_norms(norms, rows.shape[1]))
        return self._signed(rows, self._bytes), whole.to(self._device)

    def _signed(self, rows: Bytes, into: Bytes) -> Any:
        np.bitwise_xor(rows, 128, out=into[: len(rows), : rows.shape[1]])
        return self._torch.from_numpy(into.view(np.int8)).to(self._device)

    def scores(self, queries: Any, images: tuple[Any, Any]) -> Any:
        """Return the scores; wide images are added up in parts, in 64 bits."""
        (rows, count), (columns, norms), torch = queries, images, self._torch
        if norms.dtype is torch.int32:
            products = self.products(queries, images)
            return torch.sub(norms, products, alpha=2, out=products)
        total = norms.expand(len(rows), -1).clone()
        for part, column_part in zip(rows.split(INT32_DIMS, 1), columns.split(INT32_DIMS, 1), strict=True):
            total.sub_(torch._int_mm(part.contiguous(), column_part.contiguous().t()), alpha=2)
        return total[:count]

    def products(self, queries: Any, images: tuple[Any, Any]) -> Any:
        """Return (m, n padded) products of images of at most ``INT32_DIMS`` bytes, until the next call."""
        (rows, count), (columns, _), torch = queries, images, self._torch
        if self._scores.shape != (len(rows), len(columns)):
            self._scores = torch.empty((len(rows), len(columns)), dtype=torch.int32, device=self._device)
        return torch._int_mm(rows, columns.t(), out=self._scores)[:count]

    def head(self, scores: Any, columns: int) -> NDArray[Any]:
        """Return the first columns of the scores."""
        return np.asarray(scores[:, :columns].cpu().numpy())

    def lows(self, scores: Any) -> NDArray[Any]:
        """Return the least score of every lot."""
        return np.asarray(scores.view(len(scores), -1, LOT).amin(2).cpu().numpy())

    def lots(self, scores: Any, which: Integers) -> NDArray[Any]:
        """Return these lots."""
        if self._device == "cpu":
            return np.asarray(scores.numpy().reshape(-1, LOT)[which])
        return np.asarray(scores.view(-1, LOT)[self._torch.from_numpy(which).to(self._device)].cpu().numpy())


def _wide(rows: Bytes) -> int:
    """Return a multiple of 8: cuBLAS wants it, and torch 2.13 leaves products of single bytes out."""
    return -(-int(rows.shape[1]) // 8) * 8


@cache
def int8_is_exact(device: str) -> bool:
    """Return whether torch's 8-bit products are right on this machine, extremes and odd sizes among them."""
    torch = require("torch", "audit")
    generator = np.random.default_rng(0)
    for asked, count, dims in ((1, 1, 1), (40, 70, 9), (33, 130, 784)):
        queries, rows = (generator.choice([0, 1, 127, 128, 255], (n, dims)).astype(np.uint8) for n in (asked, count))
        norms, kernel = squared_norms(rows), Int8(torch, device)
        scores = kernel.head(kernel.scores(kernel.queries(queries), kernel.images(rows, norms)), count)
        products = (queries.astype(np.int64) - 128) @ (rows.astype(np.int64) - 128).T
        if not np.array_equal(scores, norms - 2 * products):
            return False
    return True


class Float32:
    """Products of 32-bit floats by numpy, in parts short enough to be exact."""

    def queries(self, rows: Bytes) -> Any:
        """Return parts (m, at most 1,024) of centered values."""
        return _parts(rows)

    def images(self, rows: Bytes, norms: Integers) -> tuple[Any, Any]:
        """Return parts (n padded, at most 1,024) of centered values, and norms."""
        return _parts(rows, LOT), padded_norms(norms, rows.shape[1])

    def scores(self, queries: Any, images: tuple[Any, Any]) -> Any:
        """Return the scores."""
        return images[1] - 2 * self.products(queries, images)

    def products(self, queries: Any, images: tuple[Any, Any]) -> Any:
        """Return (m, n padded) products."""
        columns, norms = images
        parts = (np.matmul(part, other.T) for part, other in zip(queries, columns, strict=True))
        total = next(parts).astype(norms.dtype)
        for part in parts:
            total += part.astype(norms.dtype)
        return total

    def head(self, scores: Any, columns: int) -> NDArray[Any]:
        """Return the first columns of the scores."""
        return np.asarray(scores[:, :columns])

    def lows(self, scores: Any) -> NDArray[Any]:
        """Return the least score of every lot."""
        return np.asarray(scores.reshape(len(scores), -1, LOT).min(2))

    def lots(self, scores: Any, which: Integers) -> NDArray[Any]:
        """Return these lots."""
        return np.asarray(scores.reshape(-1, LOT)[which])


def _parts(rows: Bytes, multiple: int = 1) -> list[NDArray[np.float32]]:
    size = -(-len(rows) // multiple) * multiple
    centered = np.zeros((size, rows.shape[1]), np.float32)
    np.subtract(rows, np.float32(128), out=centered[: len(rows)])
    return [
        np.ascontiguousarray(centered[:, at : at + FLOAT_DIMS]) for at in range(0, max(rows.shape[1], 1), FLOAT_DIMS)
    ]
