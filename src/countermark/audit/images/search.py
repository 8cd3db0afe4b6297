"""Exact nearest training images: distances are whole numbers, found by integer matrix products.

The squared distance of two pictures of bytes is an integer, and ``|q - t|^2 = |q|^2 + |t|^2 - 2 q.t`` needs one product
of matrices of 8-bit integers (bytes minus 128). A block of images is multiplied with so few queries that the products
stay in the cache; the least score of every 64 images is compared with what each query has found so far, so that
sorting costs little beside the product. Threads take blocks by turns and share the limits they have found. Nothing is
copied but one block a thread: the images may lie in files that are mapped into memory.

Where 8-bit products are slow (the self-test says so), 32-bit floats do it, exact as well (see ``products``). faiss is
the third engine: its rounded distances choose candidates, a bound on the rounding certifies them, and their distances
are computed again; queries that are not certified are searched by the second engine.

Laws:
    every engine, block size and number of threads gives the same answer as comparing all pairs in Python integers;
    distances ascend along a row, and of equal distances the lower index comes first;
    same-label search equals the search among the images of that label alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.products import (
    Bytes,
    Float32,
    Int8,
    Integers,
    Kernel,
    exact_distances,
    int8_is_exact,
    score_type,
    squared_norms,
)
from countermark.audit.images.scan import NO_KEY, Block, Scan
from countermark.core.progress import Progress
from countermark.errors import InputError, require

Engine = Literal["auto", "int8", "faiss", "numpy"]

# Queries that one pass over the images answers.
_CHUNK = 4096
# How many candidates faiss gives beyond those asked for.
_SPARE = 16


class Store(Protocol):
    """What a search needs of a store of images; ``ImageStore`` is one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of every image."""
        ...

    @property
    def count(self) -> int:
        """How many images there are."""
        ...

    @property
    def labels(self) -> Integers | None:
        """One label per image, or none."""
        ...

    def take(self, indices: Any) -> Bytes:
        """Return these images, (n, h, w, c)."""
        ...

    def shards(self) -> Iterator[tuple[int, Bytes]]:
        """Yield (number of the first image, images as rows (n, h*w*c)), in order."""
        ...


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest training images of every query.

    Attributes:
        squared: (q, k) sums of squared differences of bytes, exact, ascending along a row.
        index: (q, k) which training image; of equal distances the lower index first.
    """

    squared: Integers
    index: Integers


class Index(Protocol):
    """Something that finds the nearest training images."""

    @property
    def name(self) -> str:
        """What reports call it: how it searches, and what its answer depends on."""
        ...

    @property
    def count(self) -> int:
        """How many images are searched."""
        ...

    @property
    def dims(self) -> int:
        """Bytes per image."""
        ...

    def nearest(
        self, queries: Bytes, k: int, *, labels: Integers | None = None, progress: Progress | None = None
    ) -> Neighbours:
        """Return the ``k`` nearest images of every query (q, dims); with ``labels`` (q,), among those of its label."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine and its block: so many queries by so many images at a time."""

    engine: Literal["int8", "faiss", "numpy"]
    queries: int
    images: int


PLANS = {
    "int8": Plan("int8", 256, 1024),
    "numpy": Plan("numpy", 512, 2048),
    "faiss": Plan("faiss", _CHUNK, 65_536),
}


def rmse(squared: NDArray[Any], dims: int) -> NDArray[np.float64]:
    """Return root mean squared errors in [0, 1] (1: all bytes differ by 255) of squared distances over ``dims`` bytes.

    What some reports call "L2 per dimension" is ``rmse(squared, dims) / sqrt(dims)``.
    """
    return np.sqrt(np.asarray(squared, np.float64) / dims) / 255


def available_threads() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exact_index(store: Store, *, engine: Engine = "auto", threads: int | None = None) -> Index:
    """Return an index that finds the true nearest images.

    Args:
        store: the training images; read where they lie, not copied.
        engine: ``auto`` takes what a self-test of at most 0.3 s finds fastest here, once per process.
        threads: how many; default all processors of this process.

    Raises:
        InputError: an empty store, an unknown engine, no thread, or more images and bytes than 62 bits can number.
        MissingExtra: an engine was named whose package is not installed.
    """
    threads = available_threads() if threads is None else threads
    return index_of(store, plan_for(engine, threads), threads)


def plan_for(engine: Engine, threads: int) -> Plan:
    """Return the plan of an engine, or that of the self-test.

    Raises:
        InputError: an unknown engine, or no thread.
    """
    from countermark.audit.images.trial import best_plan

    if threads < 1 or engine not in ("auto", *PLANS):
        raise InputError("no search engine {engine!r} with {threads} threads", engine=engine, threads=threads)
    return best_plan(threads) if engine == "auto" else PLANS[engine]


def torch_for(engine: Engine, threads: int) -> Any:
    """Return torch where its 8-bit products are to be used on the processor, else ``None``."""
    plan = plan_for(engine, threads)
    return require("torch", "audit") if plan.engine == "int8" and int8_is_exact("cpu") else None


def index_of(store: Store, plan: Plan, threads: int) -> Index:
    """Return the exact index of one plan; see :func:`exact_index`."""
    if store.count < 1:
        raise InputError("there is no training image to search")
    if plan.engine == "int8":
        torch = require("torch", "audit")
        if not int8_is_exact("cuda" if torch.cuda.is_available() else "cpu"):
            raise InputError("the 8-bit products of torch {version} are wrong here", version=torch.__version__)
        return ScanIndex(store, plan, threads, lambda device: Int8(torch, device), torch)
    if plan.engine == "numpy":
        return ScanIndex(store, plan, 1, lambda _: Float32())
    return FaissIndex(store, plan, threads, require("faiss", "audit"))


class ExactIndex:
    """What exact engines share: checks, groups of one label, and keys (squared distance and index in 63 bits)."""

    def __init__(self, store: Store, plan: Plan, threads: int) -> None:
        self.count = store.count
        self.dims = int(np.prod(store.shape))
        self.plan, self.threads = plan, threads
        self.shift = self.count.bit_length()
        if (self.dims * 255**2).bit_length() + self.shift > 62:
            raise InputError("{count} images of {dims} bytes are too many", count=self.count, dims=self.dims)
        self._store, self._shards = store, list(store.shards())

    @property
    def name(self) -> str:
        """Engine and block."""
        return f"exact {self.plan.engine} {self.plan.queries}x{self.plan.images}"

    def nearest(
        self, queries: Bytes, k: int, *, labels: Integers | None = None, progress: Progress | None = None
    ) -> Neighbours:
        """Return the nearest images of every query.

        Args:
            queries: (q, dims) uint8, or (q, h, w, c).
            k: how many, from 1 to the number of images searched.
            labels: (q,) search only among images of the query's label; neighbours of another label are lost.
            progress: told how many queries are done, as a share of the work.

        Raises:
            InputError: queries of another kind or size, ``k`` out of range, labels that are not there.
        """
        rows = flat_queries(queries, self.dims)
        report = _Report(progress, len(rows))
        keys = np.zeros((len(rows), max(k, 0)), np.int64)
        for members, blocks in self._groups(len(rows), labels):
            size = sum(block.size for block in blocks)
            if not 1 <= k <= size:
                raise InputError("{k} neighbours were asked for among {size} images", k=k, size=size)
            for start in range(0, len(members), _CHUNK):
                chunk = members[start : start + _CHUNK]
                keys[chunk] = self.search(rows[chunk], k, blocks, report.share(len(chunk)))
        report.finish()
        return Neighbours(keys >> self.shift, keys & ((1 << self.shift) - 1))

    def search(self, queries: Bytes, k: int, blocks: Sequence[Block], say: Callable[[float], None]) -> Integers:
        """Return (q, k) ascending keys over the blocks; ``say`` is told the share done."""
        raise NotImplementedError

    def _groups(self, queries: int, labels: Integers | None) -> Iterator[tuple[Integers, list[Block]]]:
        """Yield (which queries, blocks to search): one group, or one per label."""
        if labels is None:
            yield np.arange(queries), [block for shard in self._shards for block in self._cut(*shard)]
            return
        of_images, labels = self._store.labels, np.asarray(labels)
        if of_images is None:
            raise InputError("the training images have no labels to search by")
        if labels.shape != (queries,):
            raise InputError("{labels} labels were given for {queries} queries", labels=labels.size, queries=queries)
        of_images = np.asarray(of_images)
        for label in np.unique(labels):
            yield np.flatnonzero(labels == label), self._gathered(np.flatnonzero(of_images == label))

    def _cut(self, start: int, rows: Bytes) -> Iterator[Block]:
        for at in range(0, len(rows), self.plan.images):
            part = rows[at : at + self.plan.images]
            yield Block(part.view, len(part), start + at)

    def _gathered(self, indices: Integers) -> list[Block]:
        parts = [indices[at : at + self.plan.images] for at in range(0, len(indices), self.plan.images)]
        return [Block(lambda p=part: self._store.take(p).reshape(len(p), -1), len(part), part) for part in parts]  # type: ignore[misc]


def flat_queries(queries: Bytes, dims: int) -> Bytes:
    """Return queries as contiguous rows (q, dims).

    Raises:
        InputError: not bytes, or not ``dims`` of them each.
    """
    queries = np.asarray(queries)
    if queries.dtype != np.uint8 or queries.ndim < 2 or int(np.prod(queries.shape[1:])) != dims:
        raise InputError(
            "queries are {kind} of shape {shape}; {dims} bytes each are searched for",
            kind=str(queries.dtype),
            shape=list(queries.shape),
            dims=dims,
        )
    return np.ascontiguousarray(queries.reshape(len(queries), dims))


class _Report:
    """Progress in queries, of work done in shares."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._before, self._said = 0.0, -1

    def share(self, queries: int) -> Callable[[float], None]:
        """Return what is told the share done of the next ``queries``."""
        begin, self._before = self._before, self._before + queries
        return lambda share: self._say(min(int(begin + share * queries), self._total - 1))

    def finish(self) -> None:
        self._say(self._total)

    def _say(self, done: int) -> None:
        if self._progress is not None and done > self._said:
            self._said = done
            self._progress(done, self._total, "images")


class ScanIndex(ExactIndex):
    """Exact search by blocks of products: 8-bit integers (torch) or 32-bit floats (numpy)."""

    def __init__(
        self, store: Store, plan: Plan, threads: int, kernel: Callable[[str], Kernel], torch: Any = None
    ) -> None:
        super().__init__(store, plan, threads)
        self._kernel, self._torch = kernel, torch
        self._device = "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
        self._norms: Integers | None = None

    @property
    def name(self) -> str:
        """Engine and block, and the GPU where it searches on one."""
        return super().name + (" cuda" if self._device == "cuda" else "")

    @property
    def norms(self) -> Integers:
        """(count,) squared norms of the centered images, computed once."""
        if self._norms is None:
            self._norms = np.concatenate([squared_norms(rows) for _, rows in self._shards])
        return self._norms

    def search(self, queries: Bytes, k: int, blocks: Sequence[Block], say: Callable[[float], None]) -> Integers:
        """Return (q, k) ascending keys over the blocks."""
        threads = self.threads if self._device == "cpu" else 1
        scan = Scan(
            queries=queries,
            norms=squared_norms(queries),
            k=k,
            piece=self.plan.queries,
            shift=self.shift,
            kind=score_type(self.dims),
            kernel=lambda: self._kernel(self._device),
            threads=threads,
            torch=self._torch,
        )
        return scan.over(blocks, self.norms, say)


class FaissIndex(ExactIndex):
    """Exact search by faiss's flat search in blocks, certified and computed again in integers."""

    def __init__(self, store: Store, plan: Plan, threads: int, faiss: Any) -> None:
        super().__init__(store, plan, threads)
        self._faiss = faiss
        self._other = ScanIndex(store, PLANS["numpy"], 1, lambda _: Float32())

    def search(self, queries: Bytes, k: int, blocks: Sequence[Block], say: Callable[[float], None]) -> Integers:
        """Return (q, k) ascending keys over the blocks."""
        keys = np.full((len(queries), k), NO_KEY)
        least_left = np.full(len(queries), np.inf)
        centered = _centered(queries)
        for number, block in enumerate(blocks, 1):
            images = block.fetch()
            columns, left = self._candidates(centered, _centered(images), k)
            exact = _recomputed(queries, images, columns)
            least_left = np.minimum(least_left, left)
            table = np.concatenate([keys, exact << self.shift | block.numbered(columns)], axis=1)
            keys = np.sort(table, axis=1)[:, :k]
            say(number / len(blocks))
        # what was not returned is at least as far as the last that was, give or take the rounding
        unsure = np.flatnonzero((keys[:, -1] >> self.shift) >= least_left - rounding_bound(self.dims))
        if len(unsure):
            keys[unsure] = self._other.search(queries[unsure], k, blocks, lambda _: None)
        return keys

    def _candidates(
        self, queries: NDArray[np.float32], images: NDArray[np.float32], k: int
    ) -> tuple[Integers, NDArray[np.float32]]:
        """Return columns of candidates, and the rounded distance that none left out is below."""
        asked = min(k + _SPARE, len(images))
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(self.threads)
        try:
            distances, columns = self._faiss.knn(queries, images, asked)
        finally:
            self._faiss.omp_set_num_threads(before)
        left = distances[:, -1] if asked < len(images) else np.full(len(queries), np.inf, np.float32)
        return columns.astype(np.int64), left


def rounding_bound(dims: int) -> float:
    """Return how far a squared distance of centered bytes in float32, by norms and a product, can be off.

    A sum of n products is off by at most n u (1 + n u) times the sum of their magnitudes, u = 2^-24 (Higham, Accuracy
    and Stability of Numerical Algorithms, section 3.1), whatever the order; here three such sums of magnitudes up to
    ``dims * 2^14``, one of them twice, and two additions. Up to 1,024 values the sums themselves are exact.
    """
    magnitude, unit = dims * 2.0**14, 2.0**-24
    terms = 0 if dims <= 1024 else dims * unit * (1 + dims * unit)
    return 4 * magnitude * terms + 8 * magnitude * unit


def _centered(rows: Bytes) -> NDArray[np.float32]:
    return np.subtract(rows, np.float32(128), dtype=np.float32)


def _recomputed(queries: Bytes, images: Bytes, columns: Integers) -> Integers:
    """Return (q, c) exact squared distances of the queries to these images."""
    pairs = zip(queries, columns, strict=True)
    return np.stack([exact_distances(query, images[own]) for query, own in pairs])
