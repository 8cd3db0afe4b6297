"""Which files a model directory holds, and which directories are refused.

Nothing is followed out of the directory, nothing is unpickled, and a name that another file system would confuse with
a second one is refused, so that the manifest means the same files everywhere.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from countermark.artifact.safetensors import Header, TensorSpan, is_plain, read_header
from countermark.core.canonical import parse_json
from countermark.errors import HostileFile, InputError

MAX_FILES = 100_000
MAX_DEPTH = 16
MAX_PATH_CHARACTERS = 1024
MAX_TOTAL_BYTES = 2**44
MAX_TENSORS = 1_000_000
IGNORED = frozenset({".git", ".cache", ".DS_Store", "__pycache__"})
"""Directories and files that tools leave behind; not part of the model."""
LAYOUTS = ("causal-lm", "diffusers", "safetensors", "transformers")
"""What a directory is laid out as; "causal-lm" is transformers' for a language model, with its ``TOKENIZER``."""
TOKENIZER = "tokenizer.json"

_PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"})
_SNIFF_BYTES = 4096
_CONFIG_LIMIT = 64 * 2**20
_NUMPY_OBJECTS = re.compile(rb"'descr':[^}]*?['\"][|<>=]?O")

_Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a model: its ``path`` in the manifest (relative, ``/``), where it lies, its size and identity."""

    path: str
    location: Path
    size: int
    identity: _Identity

    @property
    def is_safetensors(self) -> bool:
        """Whether the file holds tensors; decided by its name, then checked by its content."""
        return self.path.lower().endswith(".safetensors")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The surveyed directory: ``files`` sorted by path, ``layout`` one of ``LAYOUTS``."""

    root: Path
    name: str
    layout: str
    files: tuple[SourceFile, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def survey(directory: Path) -> ModelFiles:
    """List the files of a model directory and check what can be checked without reading the weights.

    Every safetensors header is parsed; shards that an index names must be there with the tensors it promises.

    Raises:
        InputError: no such directory, no tensors, a shard missing.
        HostileFile: a link out of the directory, a special file, a pickle or an archive, a malformed header, a name
            that is not portable, or more files, depth or bytes than the limits.
    """
    try:
        root = directory.resolve(strict=True)
        files = tuple(sorted(_walk(root), key=lambda file: file.path))
    except (OSError, RuntimeError) as error:
        raise InputError("cannot read the directory {path}: {reason}", path=directory, reason=error) from error
    if not root.name or not is_plain(root.name):
        raise InputError("the directory's name cannot name a model", hint="Rename it.")
    _check_case(files)
    _check_content(files)
    return ModelFiles(root, root.name, _layout(files), files)


def open_source(file: SourceFile) -> BinaryIO:
    """Open a surveyed file for reading, unbuffered; it must still be the file that was surveyed.

    Raises:
        InputError: unreadable, or replaced since.
    """
    try:
        # Non-blocking, so that a pipe put in the file's place cannot hang us; no effect on regular files.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(file.location, flags), "rb", buffering=0)
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=file.path, reason=error) from error
    try:
        check_unchanged(file, stream)
    except InputError:
        stream.close()
        raise
    return stream


def check_unchanged(file: SourceFile, stream: BinaryIO) -> None:
    """Return if the open file has the identity that was surveyed (device, inode, size, time of last change).

    Raises:
        InputError: the file was changed or replaced.
    """
    if _identity(os.fstat(stream.fileno())) != file.identity:
        raise InputError(
            "{path} changed while it was read", hint="Stop what writes to it and try again.", path=file.path
        )


def _walk(root: Path) -> Iterator[SourceFile]:
    count = total = 0
    for path, entry in _entries(root, root, 0):
        check_path(path)  # before anything else can print it
        file = _source(root, path, entry)
        count, total = count + 1, total + file.size
        if count > MAX_FILES or total > MAX_TOTAL_BYTES:
            raise HostileFile("the directory holds more than {files} files or 16 TiB", files=MAX_FILES)
        yield file


def _entries(root: Path, directory: Path, depth: int) -> Iterator[tuple[str, os.DirEntry[str]]]:
    if depth > MAX_DEPTH:
        raise HostileFile("directories are nested deeper than {depth}", depth=MAX_DEPTH)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in IGNORED:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(root, Path(entry.path), depth + 1)
            else:
                yield Path(entry.path).relative_to(root).as_posix(), entry


def _source(root: Path, path: str, entry: os.DirEntry[str]) -> SourceFile:
    location = Path(entry.path)
    if entry.is_symlink():
        location = location.resolve()
        if not location.is_relative_to(root):
            raise HostileFile(
                "{path} is a link out of the directory",
                hint="Copy the model with its content: cp -rL DIRECTORY COPY",
                path=path,
            )
    try:
        status = location.lstat()
    except FileNotFoundError as error:
        raise HostileFile("{path} is a link to nothing", path=path) from error
    if not stat.S_ISREG(status.st_mode):
        raise HostileFile("{path} is not a regular file", hint="Copy it with cp -rL, or move it away.", path=path)
    return SourceFile(path, location, status.st_size, _identity(status))


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_case(files: tuple[SourceFile, ...]) -> None:
    spelled: dict[str, str] = {}
    for path in (PurePosixPath(file.path) for file in files):
        for part in (path, *list(path.parents)[:-1]):
            if spelled.setdefault(str(part).casefold(), str(part)) != str(part):
                raise HostileFile("{path} differs from another name only in case", path=str(part))


def check_path(path: str) -> None:
    """Return if a path may stand in a manifest: relative, portable, NFC, without control or formatting characters.

    Raises:
        HostileFile: it may not.
    """
    parts = path.split("/")
    if len(path) > MAX_PATH_CHARACTERS or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise HostileFile("not a portable relative path: {path}", path=ascii(path)[:80])
    if not is_plain(path):
        raise HostileFile("a file name holds control or formatting characters: {path}", path=ascii(path)[:80])
    if not unicodedata.is_normalized("NFC", path):
        raise HostileFile("a file name is not in Unicode form NFC: {path}", path=ascii(path)[:80])


def _check_content(files: tuple[SourceFile, ...]) -> None:
    tensors: dict[str, tuple[TensorSpan, ...]] = {}
    count = 0
    for file in files:
        if not file.is_safetensors:
            _refuse_code(file)
            continue
        tensors[file.path] = _read_tensors(file)
        count += len(tensors[file.path])
        if count > MAX_TENSORS:
            raise HostileFile("the model holds more than {limit} tensors", limit=MAX_TENSORS)
    if not any(span.end > span.begin for spans in tensors.values() for span in spans):
        raise InputError(
            "the directory holds no tensors in safetensors files",
            hint="Give the directory that holds the model's *.safetensors files.",
        )
    held = {path: {span.name for span in spans} for path, spans in tensors.items()}
    for file in files:
        if file.path.endswith(".safetensors.index.json"):
            _check_index(file, held)


def _read_tensors(file: SourceFile) -> tuple[TensorSpan, ...]:
    with open_source(file) as stream:
        return read_named_header(file, stream).tensors


def read_named_header(file: SourceFile, stream: BinaryIO) -> Header:
    """Read the header of an open file, and name the file where it is refused.

    Raises:
        HostileFile: as ``read_header``.
    """
    try:
        return read_header(stream, file.size)
    except HostileFile as error:
        raise HostileFile("{path}: {reason}", path=file.path, reason=error) from error


def _refuse_code(file: SourceFile) -> None:
    with open_source(file) as stream:
        start = stream.read(_SNIFF_BYTES)
    if PurePosixPath(file.path).suffix.lower() in _PICKLE_SUFFIXES or _is_pickle(start):
        raise HostileFile(
            "{path} is a pickle, which runs code when it is loaded",
            hint="Convert it to safetensors, or move it out of the directory.",
            path=file.path,
        )
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        raise HostileFile(
            "{path} is a zip archive, which may hold a pickle",
            hint="Unpack it; convert weights to safetensors.",
            path=file.path,
        )


def _is_pickle(start: bytes) -> bool:
    """Pickle protocols 2 to 5 begin with PROTO and the number; NumPy pickles arrays of objects inside .npy files."""
    protocol = len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5
    return protocol or (start.startswith(b"\x93NUMPY") and _NUMPY_OBJECTS.search(start) is not None)


def _check_index(file: SourceFile, held: Mapping[str, Set[str]]) -> None:
    """An index promises tensors in shards beside it; a download that stopped half-way shows here."""
    index = _read_json(file)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise HostileFile("{path} is not an index of shards", path=file.path)
    for tensor, shard in shards.items():
        if tensor not in held.get(str(PurePosixPath(file.path).parent / shard), ()):
            raise InputError(
                "{path} names the tensor {tensor} in {shard}, which does not hold it",
                hint="Complete the download, or remove the index.",
                path=file.path,
                tensor=ascii(tensor)[:200],
                shard=ascii(shard)[:200],
            )


def _read_json(file: SourceFile) -> Any:
    if file.size > _CONFIG_LIMIT:
        raise HostileFile("{path} is too large for JSON", path=file.path)
    with open_source(file) as stream:
        try:
            return parse_json(stream.read(), limit=_CONFIG_LIMIT)
        except InputError as error:
            raise HostileFile("{path}: {reason}", path=file.path, reason=error) from error


def _layout(files: tuple[SourceFile, ...]) -> str:
    top = {file.path: file for file in files if "/" not in file.path}
    if "model_index.json" in top:
        return "diffusers"
    try:
        config = _read_json(top["config.json"])
    except (KeyError, HostileFile):  # a config that is not strict JSON (it may hold NaN) does not make it hostile
        return "safetensors"
    known = config.keys() if isinstance(config, dict) else ()
    if "_diffusers_version" in known:
        return "diffusers"
    if not {"model_type", "architectures"} & set(known):
        return "safetensors"
    return "causal-lm" if TOKENIZER in top and _writes_text(config.get("architectures")) else "transformers"


def _writes_text(architectures: Any) -> bool:
    names = architectures if isinstance(architectures, list) else []
    return bool(names) and all(isinstance(name, str) and name.endswith("ForCausalLM") for name in names)
