"""Read a model once and digest it; check a directory against a manifest.

Every byte of a safetensors file goes through SHA-256 twice: into the file's digest, so that ``sha256sum`` and other
signing tools agree with the manifest, and into its tensor's digest, so that sharding does not matter. A digest of the
file made from its tensors' digests would save one pass and be comparable to nothing. Instead the two run in two
threads (hashlib releases the interpreter's lock), and several files are read at once where there are processors.
Memory: two chunks per file being read, plus one parsed header.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from countermark.artifact.directory import (
    ModelFiles,
    SourceFile,
    check_unchanged,
    open_source,
    read_named_header,
    survey,
)
from countermark.artifact.manifest import FileRecord, ModelManifest, TensorRecord
from countermark.artifact.safetensors import TensorSpan
from countermark.core.progress import Progress
from countermark.errors import InputError, ManifestMismatch

CHUNK_BYTES = 2 * 2**20
_MAX_WORKERS = 8

_Digested = tuple[FileRecord, list[TensorRecord]]


def digest_model(files: ModelFiles, progress: Progress | None = None, workers: int | None = None) -> ModelManifest:
    """Read every file once and return the manifest.

    Args:
        files: what ``survey`` returned.
        progress: told the bytes read so far, from worker threads, one call at a time.
        workers: files read at once; by default one per two processors, at most 8.

    Raises:
        InputError: unreadable, or a file changed since the survey or during the reading.
        HostileFile: a safetensors file broke the format.
    """
    meter = _Meter(files.total_bytes, progress)
    pool = ThreadPoolExecutor(workers or min(_MAX_WORKERS, max(1, (os.cpu_count() or 1) // 2)))
    try:
        digested = list(pool.map(lambda file: _digest_file(file, meter), files.files))
    finally:
        meter.stopped.set()  # after an error or Ctrl-C the other files are not read to their ends
        pool.shutdown(cancel_futures=True)
    records, tensors = (record for record, _ in digested), (tensor for _, found in digested for tensor in found)
    return ModelManifest.of(files.name, files.layout, records, tensors)


def verify_directory(directory: Path, manifest: ModelManifest, progress: Progress | None = None) -> ModelFiles:
    """Return the surveyed files of ``directory`` if they are exactly those of the manifest.

    Names and sizes are compared before anything is read; the directory's own name does not matter.

    Raises:
        ManifestMismatch: names the first file, by path, that is missing, new or different.
        InputError: as ``survey`` and ``digest_model``.
    """
    files = survey(directory)
    _compare({record.path: record.size for record in manifest.files}, {file.path: file.size for file in files.files})
    found = digest_model(files, progress)
    _compare(
        {record.path: record.sha256 for record in manifest.files},
        {record.path: record.sha256 for record in found.files},
    )
    return files


class _Meter:
    """Counts bytes over all threads, and stops them."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.stopped = threading.Event()
        self._total, self._done, self._progress = total, 0, progress
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        if self.stopped.is_set():
            raise InputError("the reading was interrupted")
        with self._lock:
            self._done += size
            if self._progress:
                self._progress(self._done, self._total, "bytes")


class _TensorHasher:
    """SHA-256 of each span, from the bytes of all of them in order."""

    def __init__(self, component: str, spans: tuple[TensorSpan, ...], position: int) -> None:
        self.records: list[TensorRecord] = []
        self._component, self._spans, self._position = component, iter(spans), position
        self._hash = hashlib.sha256()
        self._span = next(self._spans, None)
        self._finish_spans()

    def update(self, data: memoryview) -> None:
        while self._span and data:
            taken = data[: self._span.end - self._position]
            self._hash.update(taken)
            self._position += len(taken)
            data = data[len(taken) :]
            self._finish_spans()

    def _finish_spans(self) -> None:
        """Record every span that ends here; empty ones end where they begin."""
        while self._span and self._span.end == self._position:
            span, digest = self._span, self._hash.digest()
            self.records.append(TensorRecord(self._component, span.name, span.dtype, span.shape, digest))
            self._span, self._hash = next(self._spans, None), hashlib.sha256()


def _digest_file(file: SourceFile, meter: _Meter) -> _Digested:
    try:
        with open_source(file) as stream:
            digested = (
                _digest_tensors(file, stream, meter) if file.is_safetensors else _digest_bytes(file, stream, meter)
            )
            check_unchanged(file, stream)
            return digested
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=file.path, reason=error) from error


def _digest_bytes(file: SourceFile, stream: BinaryIO, meter: _Meter) -> _Digested:
    whole = hashlib.sha256()
    for chunk in _chunks(stream, file.size, meter):
        whole.update(chunk)
    return FileRecord(file.path, file.size, whole.digest()), []


def _digest_tensors(file: SourceFile, stream: BinaryIO, meter: _Meter) -> _Digested:
    header = read_named_header(file, stream)
    meter.add(len(header.raw))
    whole, start = hashlib.sha256(header.raw), len(header.raw)
    component = str(PurePosixPath(file.path).parent)
    tensors = _TensorHasher("" if component == "." else component, header.tensors, start)
    with ThreadPoolExecutor(1) as beside:
        pending: Future[None] | None = None
        for chunk in _chunks(stream, file.size - start, meter):
            if pending:
                pending.result()
            pending = beside.submit(whole.update, chunk)
            tensors.update(chunk)
        if pending:
            pending.result()
    return FileRecord(file.path, file.size, whole.digest()), tensors.records


def _chunks(stream: BinaryIO, size: int, meter: _Meter) -> Iterator[memoryview]:
    """Yield ``size`` bytes in chunks from two buffers in turn: a chunk is valid until the one after the next."""
    for buffer in cycle([bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)]):
        if size == 0:
            return
        taken = stream.readinto(memoryview(buffer)[: min(size, CHUNK_BYTES)])  # type: ignore[attr-defined]
        if not taken:
            raise InputError("a file became shorter while it was read")
        yield memoryview(buffer)[:taken]
        meter.add(taken)
        size -= taken


def _compare(expected: dict[str, object], found: dict[str, object]) -> None:
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            raise ManifestMismatch("{path} is missing", path=path)
        if path not in expected:
            raise ManifestMismatch("{path} is not in the manifest", path=path)
        if expected[path] != found[path]:
            raise ManifestMismatch("{path} is not the file of the manifest", path=path)
