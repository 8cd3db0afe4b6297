"""The one way from an image to its score, the same for held-out and for generated images.

Law: the score of an image depends on that image and the training images alone, not on the others it is measured with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import ALIGNED_OFFSET, NEIGHBOURS, Floats, rounded, statistic, statistic_name
from countermark.audit.documents import Likeness, Method, Plugin, Transform
from countermark.audit.images.search import Engine, Index, exact_index, rmse
from countermark.audit.images.store import ImageStore
from countermark.core.progress import Progress
from countermark.errors import IndexMismatch, InputError

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

# Images that are measured at once, and between two reports of progress; alignment takes longer.
_BLOCK, _ALIGNED_BLOCK = 2048, 256


class Descriptor(Protocol):
    """Something that describes images by unit vectors; its name and digest go into the document."""

    name: str
    digest: str

    def __call__(self, images: Bytes) -> NDArray[np.float32]:
        """Return (n, dims) unit rows of (n, h, w, c) images."""
        ...


@dataclass(frozen=True)
class Measured:
    """What the index says of some images, in their order; numbers rounded as a document states them.

    Attributes:
        nearest: the nearest training image as it stands.
        rmse: the distance to it.
        next: mean distance to the next.
        scores: what decides.
        listed: (n, k) neighbours as they stand, and their squared distances.
        squared: (n, k) sums of squared differences of bytes.
        changed: distances by alignment or descriptor, where they are used.
        transforms: per image, where an alignment decided.
        likenesses: per image, where a descriptor is used.
    """

    nearest: Integers
    rmse: Floats
    next: Floats
    scores: Floats
    listed: Integers
    squared: Integers
    changed: tuple[Floats, Floats] | None
    transforms: tuple[Transform | None, ...]
    likenesses: tuple[Likeness | None, ...]


def way_of(
    train: ImageStore,
    same_label: bool,
    align: bool,
    descriptor: Descriptor | None,
    engine: Engine,
    index: Index | None,
) -> tuple[Way, Method]:
    """Return the one way that every image goes, and its name."""
    if align and descriptor is not None:
        raise InputError("either alignment or a descriptor decides, not both")
    if same_label and train.labels is None:
        raise InputError("the search by label needs labels of the training, the held-out and the examined images")
    index = index or exact_index(train, engine=engine)
    if (index.count, index.dims) != (train.count, train.dims):
        raise IndexMismatch("the index holds other images than the training data")
    group = int(np.unique(np.asarray(train.labels), return_counts=True)[1].min()) if same_label else train.count
    asked = min(NEIGHBOURS + 1, group)
    way = Way(train, index, asked, _aligned_way(train) if align else None, _described_way(train, descriptor))
    plugin = None if descriptor is None else Plugin(descriptor.name, descriptor.digest)
    name = statistic_name(aligned=align, descriptor=descriptor is not None)
    return way, Method(name, index.name, asked - 1, align, same_label, plugin, 0.05)


@dataclass(frozen=True)
class Way:
    """From images to scores; ``labels`` are given where the search is by label."""

    train: ImageStore
    index: Index
    asked: int
    aligned: Callable[[Bytes, int], tuple[Floats, Callable[[int], Transform]]] | None
    described: Callable[[Bytes, int], tuple[Floats, Integers]] | None

    def __call__(self, store: ImageStore, labels: Integers | None, progress: Progress | None) -> Measured:
        """Measure all images of a store.

        Raises:
            InputError: a label that no training image has.
        """
        labels = None if labels is None else np.asarray(labels)
        self._check_labels(labels)
        parts, step = [], _BLOCK if self.aligned is None else _ALIGNED_BLOCK
        for start in range(0, store.count, step):
            stop = min(start + step, store.count)
            parts.append(self._block(store.rows(start, stop), None if labels is None else labels[start:stop]))
            if progress is not None:
                progress(stop, store.count, "images")
        return _joined(parts)

    def plain(self) -> Way:
        """Return the way through the index alone, without alignment or descriptor."""
        return replace(self, aligned=None, described=None)

    def _check_labels(self, labels: Integers | None) -> None:
        strange = set() if labels is None else set(np.unique(labels)) - set(np.unique(np.asarray(self.train.labels)))
        if strange:
            raise InputError("no training image has the label {label}", label=min(strange))

    def _block(self, rows: Bytes, labels: Integers | None) -> Measured:
        found = self.index.nearest(rows, self.asked, labels=labels)
        distance = rmse(found.squared, self.train.dims)
        near, rest = _near_and_next(distance)
        scores, count = statistic(near, rest), len(rows)
        transforms: tuple[Transform | None, ...] = (None,) * count
        likenesses: tuple[Likeness | None, ...] = (None,) * count
        changed = None
        images = rows.reshape(count, *self.train.shape)
        if self.aligned is not None:
            residual, transform = self.aligned(images, self.asked)
            changed = _near_and_next(residual)
            other = rounded(statistic(*changed) + ALIGNED_OFFSET)
            transforms = tuple(transform(i) if other[i] < scores[i] else None for i in range(count))
            scores = np.minimum(scores, other)
        if self.described is not None:
            cosine, places = self.described(images, self.asked)
            changed = _near_and_next(cosine)
            scores = statistic(*changed)
            likenesses = tuple(
                Likeness(int(place), float(d), float(m)) for place, d, m in zip(places[:, 0], *changed, strict=True)
            )
        return Measured(
            found.index[:, 0], near, rest, scores, found.index, found.squared, changed, transforms, likenesses
        )


def _near_and_next(distance: Floats) -> tuple[Floats, Floats]:
    """Return distances to the nearest and means of the next, rounded; where there is one neighbour, it is both."""
    near = rounded(distance[:, 0])
    return near, rounded(distance[:, 1:].mean(axis=1)) if distance.shape[1] > 1 else near


def _aligned_way(train: ImageStore) -> Callable[[Bytes, int], tuple[Floats, Callable[[int], Transform]]]:
    from countermark.audit.images.alignment import AlignedIndex

    index = AlignedIndex(train)

    def measure(images: Bytes, asked: int) -> tuple[Floats, Callable[[int], Transform]]:
        found = index.nearest(images, asked)
        near, rest = _near_and_next(found.residual)

        def transform(i: int) -> Transform:
            gain, offset = rounded([found.gain[i, 0], found.offset[i, 0] / 255])
            return Transform(
                nearest=int(found.index[i, 0]),
                mirror=bool(found.mirror[i, 0]),
                dx=int(found.dx[i, 0]),
                dy=int(found.dy[i, 0]),
                gain=float(gain),
                offset=float(offset),
                rmse=float(near[i]),
                next=float(rest[i]),
            )

        return found.residual, transform

    return measure


def _described_way(
    train: ImageStore, descriptor: Descriptor | None
) -> Callable[[Bytes, int], tuple[Floats, Integers]] | None:
    if descriptor is None:
        return None
    from countermark.audit.images.descriptors import DescriptorIndex

    index = DescriptorIndex(train, descriptor)

    def measure(images: Bytes, asked: int) -> tuple[Floats, Integers]:
        found = index.nearest(images, asked)
        return np.maximum(np.asarray(found.distance, dtype=np.float64), 0.0), found.index

    return measure


def _joined(parts: list[Measured]) -> Measured:
    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    pairs = [part.changed for part in parts if part.changed is not None]
    return Measured(
        nearest=column("nearest"),
        rmse=column("rmse"),
        next=column("next"),
        scores=column("scores"),
        listed=column("listed"),
        squared=column("squared"),
        changed=(np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])) if pairs else None,
        transforms=tuple(entry for part in parts for entry in part.transforms),
        likenesses=tuple(entry for part in parts for entry in part.likenesses),
    )
