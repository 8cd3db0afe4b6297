"""Nearest training images among many: inverted lists of short codes choose candidates, the pixels decide.

faiss finds candidates in 64 principal components, 16 bytes of code an image (inverted lists, product quantization of
what is left of a vector by its list's center, 4-bit codes that are scanned in registers). Their distances are then
computed from the images themselves, in integers. What is found has its exact distance; what may be missed is a
neighbour whose code was not among the candidates. A copy is far nearer than anything else, so it is among them. The
calibration goes through the same index and misses alike, which costs power and not validity.

An index is a directory: ``quantizer.faiss`` learned from a sample of the images, one file per part of the images, and
``index.json`` with their digests, rewritten after every part. Building again goes on where it was broken off.

Laws:
    every distance is exact, and rows ascend by distance, then by index;
    an index opened again, or built with interruptions, answers as the one built at once;
    an index of other images, or whose files were changed, is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.products import Bytes, Integers, exact_distances
from countermark.audit.images.scan import NO_KEY, single_threaded
from countermark.audit.images.search import (
    Engine,
    Index,
    Neighbours,
    Store,
    available_threads,
    exact_index,
    flat_queries,
)
from countermark.core.progress import Progress
from countermark.errors import IndexMismatch, InputError, require

FORMAT = "countermark.image-index/1"
# Exact search of so many images takes seconds per thousand queries; above, an approximate index pays.
ABOVE = 500_000
_COMPONENTS, _SAMPLE_PER_LIST, _LARGEST_SAMPLE, _PCA_SAMPLE = 64, 40, 200_000, 4096
_PART, _LEAST_IMAGES = 1 << 18, 1000
# Candidates whose distances are computed: at least, and per neighbour asked for.
_LEAST_CANDIDATES, _PER_NEIGHBOUR = 128, 4
_QUERIES_AT_ONCE = 64


class DigestedStore(Store, Protocol):
    """A store that says which images it holds."""

    @property
    def digest(self) -> str:
        """Digest over all images."""
        ...


def choose_index(
    store: DigestedStore,
    *,
    above: int = ABOVE,
    directory: Path | None = None,
    engine: Engine = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Index:
    """Return an exact index, or, for more than ``above`` images and a directory to keep it in, an approximate one.

    Raises:
        InputError: as :func:`exact_index`.
        IndexMismatch: the directory holds an index of other images.
        MissingExtra: faiss is not installed, and the approximate index needs it.
    """
    if directory is None or store.count <= above:
        return exact_index(store, engine=engine, threads=threads)
    return ApproximateIndex(store, directory, threads=threads, progress=progress)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an index of so many images of so many bytes is made; fixed by these two numbers."""

    components: int
    lists: int
    sample: int

    @classmethod
    def of(cls, count: int, dims: int) -> Recipe:
        """Return the recipe: 64 components, about 3 lists per root of the count, 40 training images per list."""
        lists = max(1, min(1 << int(np.log2(3 * np.sqrt(count))), count // _SAMPLE_PER_LIST))
        return cls(min(_COMPONENTS, dims // 4 * 4), lists, min(count, max(_PCA_SAMPLE, lists * _SAMPLE_PER_LIST)))

    def __str__(self) -> str:
        return f"PCAR{self.components},IVF{self.lists},PQ{self.components // 2}x4fsr"


class ApproximateIndex:
    """Nearest images by inverted lists of codes, with exact distances; kept in a directory, built on first use.

    Args:
        store: the training images; candidates are read where they lie.
        directory: where the index is or will be.
        threads: how many; default all processors of this process.
        probes: inverted lists looked into per query.
        progress: told how many images are coded while it is built.

    Raises:
        InputError: fewer than 1,000 images, or of fewer than 4 bytes.
        IndexMismatch: the directory holds an index of other images, or a file of it was changed.
        MissingExtra: faiss is not installed.
    """

    def __init__(
        self,
        store: DigestedStore,
        directory: Path,
        *,
        threads: int | None = None,
        probes: int = 16,
        progress: Progress | None = None,
    ) -> None:
        self.count, self.dims = store.count, int(np.prod(store.shape))
        if self.count < _LEAST_IMAGES or self.dims < 4:
            raise InputError(
                "{count} images of {dims} bytes are too few or too small for an approximate index",
                hint="Search them exactly.",
                count=self.count,
                dims=self.dims,
            )
        self._store, self._faiss = store, require("faiss", "audit")
        self._threads = available_threads() if threads is None else threads
        self._probes, self._shift = probes, self.count.bit_length()
        recipe = Recipe.of(self.count, self.dims)
        self.name = f"{recipe} probes {probes}, exact re-rank"
        self._files = _Files(directory, store.digest, str(recipe), self._faiss)
        self._parts = [self._part(number, recipe, progress) for number in range(-(-self.count // _PART))]
        self._shards = list(store.shards())

    def nearest(
        self, queries: Bytes, k: int, *, labels: Integers | None = None, progress: Progress | None = None
    ) -> Neighbours:
        """Return the ``k`` nearest images among each query's candidates, with exact distances.

        With ``labels``, the images of that label alone are searched, exactly: the codes know no labels.

        Raises:
            InputError: queries of another kind or size, ``k`` out of range, labels that are not there.
        """
        if labels is not None:
            return exact_index(self._store, threads=self._threads).nearest(queries, k, labels=labels, progress=progress)
        rows = flat_queries(queries, self.dims)
        if not 1 <= k <= self.count:
            raise InputError("{k} neighbours were asked for among {size} images", k=k, size=self.count)
        keys = np.full((len(rows), k), NO_KEY)
        cuts = [slice(at, at + 1024) for at in range(0, len(rows), 1024)]
        for cut in cuts:
            keys[cut] = self._search(rows[cut], k)
            if progress is not None:
                progress(min(cut.stop, len(rows)), len(rows), "images")
        missing = np.flatnonzero(keys[:, -1] == NO_KEY)
        found = Neighbours(keys >> self._shift, keys & ((1 << self._shift) - 1))
        if len(missing):  # too few images in the lists that were looked into
            whole = exact_index(self._store, threads=self._threads).nearest(rows[missing], k)
            found.squared[missing], found.index[missing] = whole.squared, whole.index
        return found

    def _search(self, queries: Bytes, k: int) -> Integers:
        candidates = self._candidates(queries, max(_LEAST_CANDIDATES, _PER_NEIGHBOUR * k))
        cuts = [slice(at, at + _QUERIES_AT_ONCE) for at in range(0, len(queries), _QUERIES_AT_ONCE)]
        with single_threaded(None, self._threads) as pool:
            return np.concatenate(list(pool.map(lambda cut: self._exactly(queries[cut], candidates[cut], k), cuts)))

    def _candidates(self, queries: Bytes, asked: int) -> Integers:
        """Return (q, asked) images that may be nearest, -1 where there are no more."""
        vectors, before = queries.astype(np.float32), self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(self._threads)
        try:
            found = [part.search(vectors, asked) for part in self._parts]
        finally:
            self._faiss.omp_set_num_threads(before)
        distances, images = (np.concatenate(each, axis=1) for each in zip(*found, strict=True))
        best = np.argsort(np.where(images < 0, np.inf, distances), axis=1, kind="stable")[:, :asked]
        return np.asarray(np.take_along_axis(images, best, 1), np.int64)

    def _exactly(self, queries: Bytes, candidates: Integers, k: int) -> Integers:
        """Return (q, k) keys of the nearest candidates by the pixels."""
        keys = np.full((len(queries), k), NO_KEY)
        for row, (query, own) in enumerate(zip(queries, candidates, strict=True)):
            own = own[own >= 0]
            distances = exact_distances(query, self._rows(own))
            best = np.sort(distances << self._shift | own)[:k]
            keys[row, : len(best)] = best
        return keys

    def _rows(self, images: Integers) -> Bytes:
        if len(self._shards) == 1:
            return self._shards[0][1][images]
        return self._store.take(images).reshape(len(images), -1)

    def _part(self, number: int, recipe: Recipe, progress: Progress | None) -> Any:
        """Return the index of one part of the images, from its file or coded now."""
        part = self._files.read(f"part-{number:05}.faiss")
        if part is None:
            part = self._quantizer(recipe)
            start, stop = number * _PART, min(self.count, (number + 1) * _PART)
            for at, rows in self._between(start, stop):
                part.add_with_ids(rows.astype(np.float32), np.arange(at, at + len(rows)))
                if progress is not None:
                    progress(at + len(rows), self.count, "images")
            self._files.write(f"part-{number:05}.faiss", part)
        self._faiss.extract_index_ivf(part).nprobe = self._probes
        return part

    def _between(self, start: int, stop: int) -> Iterator[tuple[int, Bytes]]:
        """Yield (number of the first, rows) of the images from ``start`` to ``stop``."""
        for first, rows in self._store.shards():
            low, high = max(start - first, 0), min(stop - first, len(rows))
            for at in range(low, high, 16_384):
                yield first + at, rows[at : min(at + 16_384, high)]

    def _quantizer(self, recipe: Recipe) -> Any:
        """Return an index that is trained and empty, from its file or trained now."""
        index = self._files.read("quantizer.faiss")
        if index is None:
            index = self._trained(recipe)
            self._files.write("quantizer.faiss", index)
        return index

    def _trained(self, recipe: Recipe) -> Any:
        faiss = self._faiss
        chosen = np.sort(np.random.default_rng(0).permutation(self.count)[: min(recipe.sample, _LARGEST_SAMPLE)])
        few = np.sort(np.random.default_rng(1).permutation(chosen)[: max(_PCA_SAMPLE, recipe.components)])
        # turned at random, so that no pair of components has more variance than its 4-bit code can tell apart
        transform = faiss.PCAMatrix(self.dims, recipe.components, 0, True)
        transform.train(self._vectors(few))
        reduced = np.concatenate(
            [transform.apply(self._vectors(chosen[at : at + 8192])) for at in range(0, len(chosen), 8192)]
        )
        lists = faiss.IndexFlatL2(recipe.components)
        codes = faiss.IndexIVFPQFastScan(lists, recipe.components, recipe.lists, recipe.components // 2, 4)
        codes.by_residual = True
        codes.cp.niter, codes.cp.min_points_per_centroid = 10, 1
        codes.train(reduced)
        return faiss.IndexPreTransform(transform, _kept(codes, lists))

    def _vectors(self, images: NDArray[Any]) -> NDArray[np.float32]:
        return self._store.take(images).reshape(len(images), -1).astype(np.float32)


def _kept(index: Any, *parts: Any) -> Any:
    """Return an index that keeps what it is made of from being collected."""
    index.referenced_objects = [*getattr(index, "referenced_objects", []), *parts]
    return index


class _Files:
    """The files of an index and ``index.json``, which names the images, the recipe, and the digest of every file."""

    def __init__(self, directory: Path, images: str, recipe: str, faiss: Any) -> None:
        self._directory, self._faiss = directory, faiss
        self._state: dict[str, Any] = {"type": FORMAT, "images": images, "recipe": recipe, "files": {}}
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "index.json"
        if not path.exists():
            return
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._mismatch("index.json") from error
        if not isinstance(state, dict) or {**self._state, "files": 0} != {**state, "files": 0}:
            raise IndexMismatch(
                "the index in {directory} is not of these images",
                hint="Give another directory, or delete this one to build the index again.",
                directory=str(directory),
            )
        self._state = state

    def read(self, name: str) -> Any:
        """Return the index in a file, or ``None`` if it was not finished."""
        digest = self._state["files"].get(name)
        if digest is None:
            return None
        try:
            data = (self._directory / name).read_bytes()
        except OSError as error:
            raise self._mismatch(name) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise self._mismatch(name)
        return self._faiss.deserialize_index(np.frombuffer(data, np.uint8))

    def write(self, name: str, index: Any) -> None:
        """Write a file and then its digest; a file without one is written again."""
        data = self._faiss.serialize_index(index).tobytes()
        self._replace(name, data)
        self._state["files"][name] = hashlib.sha256(data).hexdigest()
        self._replace("index.json", json.dumps(self._state, indent=1).encode())

    def _replace(self, name: str, data: bytes) -> None:
        draft = self._directory / f"{name}.draft"
        draft.write_bytes(data)
        os.replace(draft, self._directory / name)

    def _mismatch(self, name: str) -> IndexMismatch:
        return IndexMismatch(
            "the file {name} of the index in {directory} was changed or is missing",
            hint="Delete the directory to build the index again.",
            name=name,
            directory=str(self._directory),
        )
