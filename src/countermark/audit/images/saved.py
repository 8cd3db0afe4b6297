"""A store of images in a directory: built in shards, each finished for good; opened only as it was built.

A directory holds, with N for five digits::

    image-store.json      what it is built from, so that a build cannot go on with other data
    shard-N.pixels        images, h*w*c bytes each
    shard-N.names         their names, a JSON list
    shard-N.json          while building: the shard is finished; beside it .digests and .labels
    digests.bin           when built: 16 bytes per image, BLAKE2b-128 of its pixels
    labels.bin            when built: little-endian int64 per image, if there are labels
    contents.json         when built: shape, count, digest, SHA-256 of every file

Laws: those of ``store``.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.batches import Batch, Changes, ImageSource, Shape, check_shape
from countermark.audit.images.store import DIGEST_BYTES, ImageStore, Rows, batch_images, digest_of, digest_rows, tell
from countermark.core.canonical import canonical_json, parse_json, read_digest, show_digest
from countermark.core.progress import Progress
from countermark.errors import HostileFile, IndexMismatch, InputError, NotFoundError, StorageError, WorkspaceBusy

_TYPE: Final = "countermark.image-store/1"
_SHARD_BYTES = 64 * 2**20
_SHARD_IMAGES = 2**16
# Mapped at a time: enough for any access pattern, and far from the limit on open files.
_OPEN_SHARDS = 64
_JSON_LIMIT = 256 * 2**20


class SavedImages(ImageStore):
    """A store in a directory."""

    def __init__(self, directory: Path) -> None:
        summary = _read_summary(directory)
        self.directory = directory
        self._summary = summary
        shape: Shape = tuple(summary["shape"])
        records = summary["shards"]
        dims = shape[0] * shape[1] * shape[2]
        for number, record in enumerate(records):
            _check_size(_shard(directory, number, "pixels"), record["count"] * dims)
            _check_size(_shard(directory, number, "names"), record["names_bytes"])
        count = summary["count"]
        _check_size(directory / "digests.bin", count * DIGEST_BYTES)
        labels = None
        if summary["labels"] is not None:
            _check_size(directory / "labels.bin", count * 8)
            labels = np.memmap(directory / "labels.bin", dtype="<i8", mode="r")

        @lru_cache(_OPEN_SHARDS)
        def block(number: int) -> Rows:
            path = _shard(directory, number, "pixels")
            return np.memmap(path, dtype=np.uint8, mode="r", shape=(records[number]["count"], dims))

        @lru_cache(2)
        def names(number: int) -> list[str]:
            return _read_names(_shard(directory, number, "names"), records[number]["count"])

        super().__init__(
            shape,
            [record["count"] for record in records],
            block,
            labels=labels,
            names=names,
            label_names=None if summary["label_names"] is None else tuple(summary["label_names"]),
            data_name=summary["name"],
            notes=tuple(summary["notes"]),
        )

    @cached_property
    def digest(self) -> str:
        """As ``ImageStore``, read from the summary."""
        return str(self._summary["digest"])

    @cached_property
    def image_digests(self) -> NDArray[np.void]:
        """As ``ImageStore``, memory-mapped."""
        return np.memmap(self.directory / "digests.bin", dtype=f"V{DIGEST_BYTES}", mode="r")

    def check(self, *, progress: Progress | None = None) -> None:
        """As ``ImageStore``."""
        for number, record in enumerate(self._summary["shards"]):
            for kind in ("pixels", "names"):
                _check_content(_shard(self.directory, number, kind), record[kind])
            start, stop = int(self._starts[number]), int(self._starts[number + 1])
            if digest_rows(self.rows(start, stop)) != self.image_digests[start:stop].tobytes():
                raise _changed(self.directory / "digests.bin")
            tell(progress, stop, self.count)
        if digest_of(self.shape, self.image_digests) != self.digest:
            raise _changed(self.directory / "contents.json")
        if self.labels is not None:
            _check_content(self.directory / "labels.bin", self._summary["labels"])


class Build:
    """One run of a build."""

    def __init__(self, source: ImageSource, directory: Path, shard_images: int | None) -> None:
        check_shape(source.shape)
        self.source, self.directory = source, directory
        self.batch = batch_images(source.shape)
        if shard_images is not None:
            if shard_images < 1:
                raise InputError("a shard holds at least one image")
            self.batch = min(self.batch, shard_images)
        self.dims = source.shape[0] * source.shape[1] * source.shape[2]
        wanted = shard_images or max(1, min(_SHARD_IMAGES, _SHARD_BYTES // self.dims))
        self.batches_per_shard = -(-wanted // self.batch)

    def run(self, progress: Progress | None) -> ImageStore:
        """Go on to the end; see ``ImageStore.build``."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with _alone(self.directory):
                self._begin()
                if not (self.directory / "contents.json").exists():
                    self._write_shards(progress)
                    self._finish()
                self._clean()
        except OSError as error:
            raise StorageError("cannot write {path}", path=self.directory) from error
        return ImageStore.open(self.directory)

    def _begin(self) -> None:
        """Write down what is built, or see that it is the same as before."""
        source = self.source
        begun = canonical_json(
            {
                "type": _TYPE,
                "name": source.name,
                "origin": source.origin,
                "shape": list(source.shape),
                "labels": source.has_labels,
                "label_names": None if source.label_names is None else list(source.label_names),
                "shard": self.batch * self.batches_per_shard,
            }
        )
        path = self.directory / "image-store.json"
        if path.exists():
            if path.read_bytes() != begun:
                raise IndexMismatch(
                    "{path} was begun from other data, or to be stored in another way",
                    hint="Remove the directory, or give another one.",
                    path=self.directory,
                )
        elif any(child.name != "lock" and not child.name.endswith(".part") for child in self.directory.iterdir()):
            raise InputError(
                "{path} holds other files",
                hint="Give a new directory for the stored images.",
                path=self.directory,
            )
        else:
            _write(path, begun)

    def _write_shards(self, progress: Progress | None) -> None:
        number = next(n for n in itertools.count() if not _shard(self.directory, n, "json").exists())
        size = self.batches_per_shard * self.batch
        batches = self.source.batches(self.batch, start=number * size)
        while held := list(itertools.islice(batches, self.batches_per_shard)):
            self._write_shard(number, held)
            number += 1
            tell(progress, number * size, self.source.count)

    def _write_shard(self, number: int, batches: list[Batch]) -> None:
        hashed, digests, count = hashlib.sha256(), [], 0
        with _written(_shard(self.directory, number, "pixels")) as file:
            for batch in batches:
                if batch.images.shape[1:] != self.source.shape or batch.images.dtype != np.uint8:
                    raise InputError("{name} gave images of another shape than it promised", name=self.source.name)
                rows = np.ascontiguousarray(batch.images).reshape(len(batch.images), self.dims)
                hashed.update(rows.reshape(-1).data)
                file.write(rows.reshape(-1).data)
                digests.append(digest_rows(rows))
                count += len(rows)
        names = json.dumps([name for batch in batches for name in batch.names]).encode()
        labels = [np.asarray(batch.labels, dtype="<i8") for batch in batches if batch.labels is not None]
        changes = sum((batch.changes for batch in batches), Changes())
        _write(_shard(self.directory, number, "names"), names)
        _write(_shard(self.directory, number, "digests"), b"".join(digests))
        _write(_shard(self.directory, number, "labels"), b"".join(part.tobytes() for part in labels))
        record = {
            "count": count,
            "pixels": show_digest(hashed.digest()),
            "names": show_digest(hashlib.sha256(names).digest()),
            "names_bytes": len(names),
            "changes": asdict(changes),
        }
        # Last, as it says that the others are whole.
        _write(_shard(self.directory, number, "json"), canonical_json(record))

    def _finish(self) -> None:
        numbers = list(itertools.takewhile(lambda n: _shard(self.directory, n, "json").exists(), itertools.count()))
        records = [parse_json(_shard(self.directory, number, "json").read_bytes()) for number in numbers]
        changes = sum((_changes(record.pop("changes")) for record in records), Changes())
        count = sum(record["count"] for record in records)
        if not count:
            raise InputError("{name} holds no image", name=self.source.name)
        self._join(numbers, "digests")
        labels = show_digest(self._join(numbers, "labels")) if self.source.has_labels else None
        digests = np.memmap(self.directory / "digests.bin", dtype=f"V{DIGEST_BYTES}", mode="r")
        begun = parse_json((self.directory / "image-store.json").read_bytes())
        summary = {
            "type": _TYPE,
            "name": begun["name"],
            "shape": begun["shape"],
            "count": count,
            "digest": digest_of(self.source.shape, digests),
            "labels": labels,
            "label_names": begun["label_names"],
            "notes": list(changes.notes(self.source.shape)),
            "shards": records,
        }
        _write(self.directory / "contents.json", canonical_json(summary))

    def _join(self, numbers: list[int], kind: str) -> bytes:
        """Put the shards' parts into one file; returns its SHA-256."""
        hashed = hashlib.sha256()
        with _written(self.directory / f"{kind}.bin") as file:
            for number in numbers:
                part = _shard(self.directory, number, kind).read_bytes()
                hashed.update(part)
                file.write(part)
        return hashed.digest()

    def _clean(self) -> None:
        for pattern in ("shard-*.json", "shard-*.digests", "shard-*.labels", "*.part"):
            for path in self.directory.glob(pattern):
                path.unlink()


def _shard(directory: Path, number: int, kind: str) -> Path:
    return directory / f"shard-{number:05}.{kind}"


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Any]:
    """Open a file that gets its name when it is whole and on the disk."""
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _write(path: Path, data: bytes) -> None:
    with _written(path) as file:
        file.write(data)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory against other builds; the lock of a killed one is gone with it."""
    import fcntl

    with (directory / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceBusy("another process works in {path}", path=directory) from error
        yield


def _changes(record: dict[str, Any]) -> Changes:
    return Changes(**{**record, "named": tuple(record["named"])})


def _changed(path: Path) -> IndexMismatch:
    return IndexMismatch(
        "{path} is not what was stored",
        hint="Remove the directory and build it again from the data.",
        path=path,
    )


def _check_size(path: Path, size: int) -> None:
    if not path.is_file() or path.stat().st_size != size:
        raise _changed(path)


def _check_content(path: Path, wanted: str) -> None:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != read_digest(wanted):
            raise _changed(path)


def _read_names(path: Path, count: int) -> list[str]:
    try:
        names = parse_json(path.read_bytes(), limit=_JSON_LIMIT)
    except InputError as error:
        raise _changed(path) from error
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise _changed(path)
    return names


def _read_summary(directory: Path) -> dict[str, Any]:
    path = directory / "contents.json"
    if not path.is_file():
        raise NotFoundError(
            "there are no stored images in {path}, or storing them was not finished",
            hint="Store them with the same command again; it goes on where it stopped.",
            path=directory,
        )
    try:
        summary = parse_json(path.read_bytes(), limit=_JSON_LIMIT)
        _check_summary(summary)
    except (InputError, OSError, KeyError, TypeError, ValueError) as error:
        raise HostileFile("{path} is not the summary of stored images", path=path) from error
    return dict(summary)


def _check_summary(summary: Any) -> None:
    if summary["type"] != _TYPE:
        raise ValueError(summary["type"])
    height, width, channels = (_whole(side) for side in summary["shape"])
    check_shape((height, width, channels))
    counts = [_whole(record["count"]) for record in summary["shards"]]
    if sum(counts) != _whole(summary["count"]) or not sum(counts):
        raise ValueError("count")
    for record in summary["shards"]:
        read_digest(record["pixels"])
        read_digest(record["names"])
        _whole(record["names_bytes"])
    read_digest(summary["digest"])
    if summary["labels"] is not None:
        read_digest(summary["labels"])
    for text in (summary["name"], *summary["notes"], *(summary["label_names"] or ())):
        if not isinstance(text, str):
            raise TypeError("text")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("not a whole number")
    return value
