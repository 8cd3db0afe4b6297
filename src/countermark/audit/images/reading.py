"""Any data set of images as a stream of batches: folders, arrays, tables, stores.

What can be given, told by content and never by name:

* a folder of pictures (PNG, JPEG, WebP, GIF, BMP, TIFF), searched to any depth; other files in it are passed over;
* ``.npz``, ``.npy`` and IDX files, gzipped or not, and a folder of IDX files (``arrays``);
* a Parquet file or Arrow stream, a folder of Parquet files as on the Hugging Face hub, a ``save_to_disk`` directory
  (``tables``);
* a directory that ``ImageStore.build`` made.

One shape for all: that of the first image where it has at most 64 pixels a side, else 64 x 64, by area averaging
(``decoding``); grey if a sample of 32 pictures is grey, and as stored for arrays. ``size`` and ``channels`` ask for
another, as for data that are to be compared with others. What was done is counted in each batch's ``changes``.

Labels are those that belong to the data: the array ``y_train`` beside ``x_train``, the labels' IDX file, the column
``label``; for a folder its subfolders, if ``labels="folders"`` asks for them. A broken picture is an error that names
it, or is skipped, counted and named, if ``skip_broken`` asks for it.

Laws:
    ``parse_data(str(spec)) == spec`` for every spec of a path that holds no colon or bracket;
    those of ``batches``, for every source of ``open_images``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from countermark.audit.images.batches import Batch, Changes, Images, ImageSource, Shape, check_shape
from countermark.audit.images.decoding import fit_all, is_grey, reason
from countermark.audit.images.readers import Reader, Run, find_reader
from countermark.core.canonical import canonical_json, show_digest
from countermark.errors import InputError

__all__ = ["Batch", "Changes", "DataSpec", "ImageSource", "Images", "Shape", "Span", "open_images", "parse_data"]

#: First position, and the one after the last or None for all.
Span = tuple[int, int | None]

_DEFAULT_SIDE = 64
_SAMPLE = 32
_SPEC = re.compile(r"(?P<path>.+?)(?::(?P<part>\w[\w.-]*))?(?:\[(?P<start>\d{0,18}):(?P<stop>\d{0,18})\])?", re.DOTALL)
_BAD_SLICE = re.compile(r"\[[-\d:,\s]*\]$")


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What a user calls a data set: ``path:part[start:stop]``.

    Attributes:
        path: file or folder.
        part: array of an .npz, split of a table, subfolder; None where there is only one.
        span: positions to take; (0, None) are all.
    """

    path: Path
    part: str | None = None
    span: Span = (0, None)

    def __str__(self) -> str:
        return self._said(str(self.path))

    @property
    def name(self) -> str:
        """The same without the folders that lead there: what a report may say."""
        return self._said(self.path.name or "images")

    def _said(self, path: str) -> str:
        start, stop = self.span
        part = "" if self.part is None else f":{self.part}"
        cut = "" if self.span == (0, None) else f"[{start}:{'' if stop is None else stop}]"
        return f"{path}{part}{cut}"


def parse_data(text: str) -> DataSpec:
    """Read ``path``, ``path:part``, ``path[start:stop]`` or ``path:part[start:stop]``; either bound may be left out.

    A path that exists as it is written is a path, whatever it holds.

    Raises:
        InputError: empty, or brackets that are no slice from the start of the data.
    """
    found = _SPEC.fullmatch(text)
    # One letter before a colon is a drive.
    if found is None or os.path.exists(text) or (found["part"] and len(found["path"]) == 1):
        spec = DataSpec(Path(text))
    else:
        span = (int(found["start"] or 0), int(found["stop"]) if found["stop"] else None)
        spec = DataSpec(Path(found["path"]), found["part"], span)
    path = str(spec.path)
    if not text or "\0" in path or (_BAD_SLICE.search(path) and not os.path.exists(path)):
        raise InputError(
            "not a data set: {text}",
            hint="Write a path, and after it :part and [start:stop] if needed, as in images.npz:train[0:300].",
            text=text[:200],
        )
    return spec


def open_images(
    data: str | Path | DataSpec,
    *,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    labels: str | Path | None = None,
    skip_broken: bool = False,
) -> ImageSource:
    """Open a data set; only headers, and a few pictures for the shape, are read.

    Args:
        data: where it is; a string may have a part and a slice, see ``parse_data``.
        part: as in a ``DataSpec``; "train" finds the array ``x_train`` or the files ``train-*``.
        size: height and width to bring all images to, instead of the data's own.
        channels: 1 or 3, instead of the data's own.
        labels: "folders"; the name of an array or column; or the path of a .npy or IDX file.
        skip_broken: leave out pictures that cannot be read.

    Raises:
        NotFoundError: a directory in which storing images was not finished.
        InputError: nothing there, no images, a part or slice that it does not have, labels that do not fit.
        HostileFile: malformed, or larger than it may be.
        MissingExtra: Pillow or pyarrow is not installed, and needed.
    """
    spec = parse_data(data) if isinstance(data, str) else DataSpec(data) if isinstance(data, Path) else data
    if part is not None:
        spec = replace(spec, part=part)
    if not spec.path.exists():
        raise InputError("{path} does not exist", path=spec.path)
    return _Source(spec, find_reader(spec.path, spec.part, labels), size, channels, skip_broken)


class _Source:
    """A reader's images from a span, in one shape."""

    def __init__(
        self, spec: DataSpec, reader: Reader, size: tuple[int, int] | None, channels: int | None, skip_broken: bool
    ) -> None:
        self._spec, self._reader, self._skips = spec, reader, skip_broken
        start, stop = spec.span
        self._start, self._stop = start, reader.count if stop is None else min(stop, reader.count)
        if self._start >= self._stop:
            raise InputError(
                "{name} has {count} images, and none of them was asked for", name=spec.name, count=reader.count
            )
        self.shape = self._shape(size, channels)
        check_shape(self.shape)

    @property
    def count(self) -> int:
        return self._stop - self._start

    @property
    def has_labels(self) -> bool:
        return self._reader.has_labels

    @property
    def label_names(self) -> tuple[str, ...] | None:
        return self._reader.label_names

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def origin(self) -> str:
        asked = [self._spec.part, self._start, self._stop, list(self.shape), self._skips]
        return show_digest(hashlib.sha256(canonical_json([*asked, self._reader.origin])).digest())

    def batches(self, size: int = 1024, *, start: int = 0) -> Iterator[Batch]:
        if size < 1 or start < 0:
            raise InputError("a batch has at least one position, and the first is 0")
        at = self._start + start
        with contextlib.ExitStack() as stack:
            if at < self._stop:
                read = stack.enter_context(self._reader.at(at))
            while at < self._stop:
                end = min(at + size, self._stop)
                parts = []
                while at < end:
                    count = min(self._reader.step, end - at)
                    parts.append(self._fitted(read(count)))
                    at += count
                yield parts[0] if len(parts) == 1 else self._joined(parts)

    def _fitted(self, run: Run) -> Batch:
        labels = None if run.labels is None else np.asarray(run.labels, dtype=np.int64)
        if isinstance(run.images, np.ndarray):
            images, changes = fit_all(run.images, self.shape)
            return Batch(images, labels, run.names, changes + Changes(scaled=len(images) * run.is_scaled))
        try:
            images, changes = fit_all([run.images()], self.shape)
        except InputError as error:
            if not self._skips:
                raise
            skipped = Changes(skipped=1, named=(reason(error, run.path, run.names[0]),))
            return Batch(np.empty((0, *self.shape), np.uint8), None if labels is None else labels[:0], [], skipped)
        return Batch(images, labels, run.names, changes)

    def _joined(self, parts: list[Batch]) -> Batch:
        labels = [part.labels for part in parts if part.labels is not None]
        return Batch(
            np.concatenate([part.images for part in parts]),
            np.concatenate(labels) if labels else None,
            [name for part in parts for name in part.names],
            sum((part.changes for part in parts), Changes()),
        )

    def _shape(self, size: tuple[int, int] | None, channels: int | None) -> Shape:
        native = self._reader.native
        if native is None and (size is None or channels is None):
            native = self._sampled()
        own = native or (0, 0, 0)
        fits = max(own[:2]) <= _DEFAULT_SIDE
        height, width = size or (own[:2] if fits else (_DEFAULT_SIDE, _DEFAULT_SIDE))
        return height, width, channels or own[2]

    def _sampled(self) -> Shape:
        """Return the first readable picture's size, and 1 channel if none of a sample of pictures has colours."""
        own, seen = None, 0
        for run in self._sample():
            if seen == _SAMPLE or isinstance(run.images, np.ndarray):
                break
            try:
                picture = run.images()
            except InputError:
                if self._skips:
                    continue
                raise
            own, seen = own or picture.pixels.shape[:2], seen + 1
            if not is_grey(picture.pixels):
                return (*own, 3)
        if own is None:
            raise InputError("{name} holds no readable picture", name=self.name)
        return (*own, 1)

    def _sample(self) -> Iterator[Run]:
        """Yield single pictures: spread over the span where one can jump, and all in order in case they are broken."""
        if self._reader.jumps:
            places = np.linspace(self._start, self._stop - 1, min(_SAMPLE, self.count)).astype(int).tolist()
            for place in places:
                with self._reader.at(place) as read:
                    yield read(1)
        with self._reader.at(self._start) as read:
            for _ in range(self.count if self._skips else min(_SAMPLE, self.count)):
                yield read(1)
