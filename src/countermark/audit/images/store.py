"""Images as a search needs them: uint8 rows in memory-mapped shards, each image with its digest.

A store is built once from a source, in shards that are finished one by one: after a kill the build goes on with the
first shard that is not finished. All numbers are those of the images; how many shards they stand in, or whether they
stand in memory, changes nothing that is computed from a store.

Laws, for equal images in equal order, however they are stored and in shards of whatever size:
    ``digest`` is equal, and so are ``take(i)``, ``rows(a, b)`` and the shards put together;
    ``build`` after any number of kills gives the same files as a build that was let run;
    ``check`` refuses a directory of which any byte of an image, name, label or digest has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.batches import Batch, Changes, Images, ImageSource, Shape, check_shape
from countermark.core.canonical import canonical_json, show_digest
from countermark.core.progress import Progress
from countermark.errors import InputError

#: (n, h*w*c) uint8: one image per row.
Rows = NDArray[np.uint8]

DIGEST_BYTES = 16
_BATCH_BYTES = 4 * 2**20
_BLOCK = 2**20


class ImageStore:
    """Images of one shape, in order.

    Attributes:
        shape: height, width, channels (1 or 3).
        count: number of images.
        dims: bytes per image, h*w*c.
        labels: (count,) int64, memory-mapped where stored; None without labels.
        label_names: what the labels are called, where known.
        data_name: what a report calls the data.
        notes: what was done to the images when they were read, in English sentences.
    """

    def __init__(
        self,
        shape: Shape,
        counts: Sequence[int],
        block: Callable[[int], Rows],
        *,
        labels: NDArray[np.int64] | None = None,
        names: Callable[[int], Sequence[str]] | None = None,
        label_names: tuple[str, ...] | None = None,
        data_name: str = "images",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.shape = shape
        self.dims = shape[0] * shape[1] * shape[2]
        self.labels = labels
        self.label_names = label_names
        self.data_name = data_name
        self.notes = notes
        self._starts = np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])
        self.count = int(self._starts[-1])
        self._block = block
        self._names = names

    def __len__(self) -> int:
        return self.count

    @classmethod
    def of(
        cls,
        images: NDArray[np.uint8],
        labels: NDArray[Any] | Sequence[int] | None = None,
        *,
        names: Sequence[str] | None = None,
        data_name: str = "images",
    ) -> ImageStore:
        """Return a store in memory of (n, h, w) or (n, h, w, c) uint8 images; the array is used, not copied.

        Raises:
            InputError: another type or shape, no image, or another number of labels or names than of images.
        """
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) == 0:
            raise InputError("images are an array (n, height, width, channels) of uint8 with n of at least 1")
        height, width = images.shape[1:3]
        shape = (height, width, 1 if images.ndim == 3 else images.shape[3])
        check_shape(shape)
        for given in (labels, names):
            if given is not None and len(given) != len(images):
                raise InputError("{given} labels or names for {count} images", given=len(given), count=len(images))
        rows = np.ascontiguousarray(images).reshape(len(images), -1).view()
        rows.setflags(write=False)
        return cls(
            shape,
            [len(rows)],
            lambda _shard: rows,
            labels=None if labels is None else np.asarray(labels, dtype=np.int64),
            names=None if names is None else lambda _shard: names,
            data_name=data_name,
        )

    @classmethod
    def read(cls, source: ImageSource, *, limit: int = 2**32, progress: Progress | None = None) -> ImageStore:
        """Read a source into memory, at most ``limit`` bytes of pixels.

        Raises:
            InputError: more than that, no image, or what reading the source raises.
        """
        parts: list[Batch] = []
        size, held, done = batch_images(source.shape), 0, 0
        for batch in source.batches(size):
            held, done = held + batch.images.nbytes, done + size
            if held > limit:
                raise InputError(
                    "{name} does not fit into {limit} bytes of memory",
                    hint="Give a directory to build a store in.",
                    name=source.name,
                    limit=limit,
                )
            parts.append(batch)
            tell(progress, done, source.count)
        if not held:
            raise InputError("{name} holds no image", name=source.name)
        labels = [batch.labels for batch in parts if batch.labels is not None]
        store = cls.of(
            np.concatenate([batch.images for batch in parts]),
            np.concatenate(labels) if labels else None,
            names=[name for batch in parts for name in batch.names],
            data_name=source.name,
        )
        store.label_names = source.label_names
        store.notes = sum((batch.changes for batch in parts), Changes()).notes(source.shape)
        return store

    @classmethod
    def build(
        cls,
        source: ImageSource,
        directory: Path,
        *,
        progress: Progress | None = None,
        shard_images: int | None = None,
    ) -> ImageStore:
        """Store a source in a directory; called again it goes on where it was killed, and does nothing when built.

        Args:
            source: what to read; its ``origin`` must be the same when a build goes on.
            directory: new, empty, or with a build of the same source.
            progress: told positions read.
            shard_images: positions per shard, rounded up to whole batches; by default about 64 MiB of pixels.

        Raises:
            IndexMismatch: the directory is built, or being built, from other data or into shards of another size.
            InputError: the directory holds something else, the source holds no image, or cannot be read.
            WorkspaceBusy: another process builds there.
            StorageError: the disk is full or refuses.
        """
        from countermark.audit.images.saved import Build

        return Build(source, directory, shard_images).run(progress)

    @classmethod
    def open(cls, directory: Path) -> ImageStore:
        """Open a directory that ``build`` finished; sizes of all files are checked, contents by ``check``.

        Raises:
            NotFoundError: there is no store, or its build was not finished.
            HostileFile: contents.json is malformed.
            IndexMismatch: a file is missing, or longer or shorter than it was.
        """
        from countermark.audit.images.saved import SavedImages

        return SavedImages(directory)

    @cached_property
    def digest(self) -> str:
        """``sha256:`` over shape, count and the images' digests in order."""
        return digest_of(self.shape, self.image_digests)

    @cached_property
    def image_digests(self) -> NDArray[np.void]:
        """(count,) of 16 bytes (``V16``): BLAKE2b-128 of each image's bytes."""
        joined = b"".join(digest_rows(rows) for _, rows in self.shards())
        return np.frombuffer(joined, dtype=f"V{DIGEST_BYTES}")

    def name(self, index: int) -> str:
        """Return the name of an image: its file, or ``array[position]``."""
        self._within(index, index + 1)
        if self._names is None:
            return f"{self.data_name}[{index}]"
        shard = self._shard_of(index)
        return self._names(shard)[index - int(self._starts[shard])]

    def shards(self) -> Iterator[tuple[int, Rows]]:
        """Yield (index of the first, its images as rows) of every shard, in order."""
        for shard, start in enumerate(self._starts[:-1].tolist()):
            if self._starts[shard + 1] > start:
                yield start, self._block(shard)

    def rows(self, start: int, stop: int) -> Rows:
        """Return images ``start`` to ``stop`` as rows: a view where one shard holds them, a copy across shards.

        Raises:
            InputError: not ``0 <= start <= stop <= count``.
        """
        self._within(start, stop)
        parts: list[Rows] = []
        while start < stop:
            shard = self._shard_of(start)
            first, end = int(self._starts[shard]), min(stop, int(self._starts[shard + 1]))
            parts.append(self._block(shard)[start - first : end - first])
            start = end
        if not parts:
            return np.empty((0, self.dims), dtype=np.uint8)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def take(self, indices: NDArray[Any] | Sequence[int]) -> Images:
        """Return the images (n, h, w, c) at ``indices``, in their order, repeats included.

        Raises:
            InputError: an index outside ``0 <= i < count``.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(wanted):
            self._within(int(wanted.min()), int(wanted.max()) + 1)
        result = np.empty((len(wanted), self.dims), dtype=np.uint8)
        shards = np.searchsorted(self._starts, wanted, side="right") - 1
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            result[places] = self._block(shard)[wanted[places] - self._starts[shard]]
        return result.reshape(len(wanted), *self.shape)

    def check(self, *, progress: Progress | None = None) -> None:
        """Read everything again and compare; images in memory have nothing to be compared with.

        Raises:
            IndexMismatch: naming the file that changed.
        """

    def _shard_of(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1

    def _within(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.count:
            raise InputError("images {start} to {stop} of {count}", start=start, stop=stop, count=self.count)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Images of one store that stand byte for byte in another.

    Attributes:
        count: how many of the first store do.
        pairs: (index in the first, least index in the second) of the first hundred.
    """

    count: int
    pairs: tuple[tuple[int, int], ...]


def overlap(a: ImageStore, b: ImageStore) -> Overlap:
    """Return which images of ``a`` stand in ``b``; needs memory for the digests of ``a`` and reads ``b``'s as a stream.

    Raises:
        InputError: the stores' shapes differ.
    """
    if a.shape != b.shape:
        shapes = ("x".join(map(str, store.shape)) for store in (a, b))
        raise InputError("images of {a} cannot be compared with images of {b}", a=next(shapes), b=next(shapes))
    # As bytes, because these are sorted fast; all have 16, so the padding of this type means nothing.
    ours, inverse = np.unique(a.image_digests.view(f"S{DIGEST_BYTES}"), return_inverse=True)
    first = np.full(len(ours), -1, dtype=np.int64)
    theirs = b.image_digests.view(f"S{DIGEST_BYTES}")
    for start in range(0, b.count, _BLOCK):
        part = theirs[start : start + _BLOCK]
        places = np.minimum(np.searchsorted(ours, part), len(ours) - 1)
        hits = np.flatnonzero(ours[places] == part)[::-1]
        fresh = hits[first[places[hits]] < 0]
        # Written last to first, so that the least index stays.
        first[places[fresh]] = start + fresh
    matched = first[inverse]
    found = np.flatnonzero(matched >= 0)
    return Overlap(len(found), tuple((int(i), int(matched[i])) for i in found[:100]))


def duplicates(store: ImageStore) -> int:
    """Return how many images repeat an earlier one byte for byte."""
    return store.count - len(np.unique(store.image_digests.view(f"S{DIGEST_BYTES}")))


def batch_images(shape: Shape) -> int:
    """Return how many images are read at a time, about 4 MiB."""
    return max(1, min(1024, _BATCH_BYTES // (shape[0] * shape[1] * shape[2])))


def tell(progress: Progress | None, done: int, total: int | None) -> None:
    """Report progress where somebody listens and the end is known."""
    if progress is not None and total is not None:
        progress(min(done, total), total, "images")


def digest_rows(rows: Rows) -> bytes:
    """Return 16 bytes for each row, joined."""
    size, data = rows.shape[1], np.ascontiguousarray(rows).reshape(-1).data
    blake = hashlib.blake2b
    return b"".join(
        [blake(data[at : at + size], digest_size=DIGEST_BYTES).digest() for at in range(0, len(data), size)]
    )


def digest_of(shape: Shape, digests: NDArray[np.void]) -> str:
    """Return the digest of a store of such images."""
    hashed = hashlib.sha256(b"countermark/images/1\0")
    hashed.update(canonical_json({"count": len(digests), "shape": list(shape)}))
    for start in range(0, len(digests), _BLOCK):
        hashed.update(np.ascontiguousarray(digests[start : start + _BLOCK]).view(np.uint8).data)
    return show_digest(hashed.digest())
