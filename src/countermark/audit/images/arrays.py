"""Arrays of images in NumPy files (.npy, .npz) and IDX files (the format of MNIST), read row by row.

Nothing is unpickled. Everything a header promises is held against the size of what is there before a byte of memory is
taken for it, and rows are decompressed as a stream, so a file can neither run code nor fill the memory. An NPZ member
that decompresses to more than 200 times its size, and to more than 64 MiB, is refused.

Which numbers are pixels: uint8 as they are; bool as 0 and 255; other integers if they lie in 0 to 255; 16 bits without
sign as fractions of 65535; floats as fractions of 1. Which axes: (n, h, w), (n, h, w, c), (n, c, h, w) with c of 1, 3
or 4 (transparency on white), or (n, h*h). Source of IDX: LeCun, Cortes and Burges, "The MNIST database".

Laws:
    what ``numpy.save``, ``savez`` or ``savez_compressed`` wrote of uint8 images is read back bit for bit, from every
    start; a file cut anywhere, or with a header that promises something else than there is, raises an InputError.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.batches import Images
from countermark.errors import CountermarkError, HostileFile, InputError
from countermark.marking.image.samples import to_8_bits, view

Read = Callable[[int], NDArray[Any]]

_MAX_ROW_PIXELS = 200_000_000
_MAX_RATIO = 200
_SMALL = 64 * 2**20
_STEP_BYTES = 16 * 2**20
# What deflate can do at best.
_DEFLATE_RATIO = 1032
_MAX_MEMBERS = 10_000
_MAX_DIRECTORY = 16 * 2**20
_IDX_TYPES: Final = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_NPY: Final = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class Stream:
    """An array that lies in a file, compressed or not.

    Attributes:
        path: the file.
        member: the array's name in an NPZ, else "".
        shape: as stored.
        dtype: as stored.
        offset: where its first number stands in the decompressed bytes.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def where(self) -> str:
        """The file, and the array in it, for messages."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """What an image of it is called, before ``[position]``."""
        return self.member or self.path.name.partition(".")[0]

    @contextlib.contextmanager
    def at(self, start: int) -> Iterator[Read]:
        """Open at a row; yields a function that returns the next so many rows, as stored.

        Raises:
            HostileFile: truncated or damaged.
        """
        row = self.dtype.itemsize * math.prod(self.shape[1:])

        def read(count: int) -> NDArray[Any]:
            with _readable(self.where):
                data = file.read(count * row)
            if len(data) != count * row:
                raise _truncated(self.where)
            return np.frombuffer(data, dtype=self.dtype).reshape(count, *self.shape[1:])

        with contextlib.ExitStack() as stack:
            with _readable(self.where):
                file = stack.enter_context(_opened(self.path, self.member))
                file.seek(self.offset + start * row)
            yield read


@dataclass(frozen=True, slots=True)
class ArrayImages:
    """The images of an array, and their labels."""

    stream: Stream
    labels: NDArray[np.int64] | None
    native: tuple[int, int, int]

    @classmethod
    def of(cls, stream: Stream, labels: Stream | None) -> ArrayImages:
        """Look at an array's shape and first numbers.

        Raises:
            InputError: no shape of images, no numbers of pixels, or labels that do not fit.
        """
        native = _native(stream)
        images = cls(stream, None, native)
        with stream.at(0) as read:
            _check_range(read(min(images.step, stream.shape[0])), stream.where)
        return cls(stream, None if labels is None else read_labels(labels, stream.shape[0]), native)

    @property
    def count(self) -> int:
        """Number of images."""
        return self.stream.shape[0]

    @property
    def step(self) -> int:
        """How many to read at a time, about 16 MiB."""
        height, width, channels = self.native
        return max(1, min(4096, _STEP_BYTES // (height * width * channels * self.stream.dtype.itemsize)))

    def names(self, start: int, stop: int) -> list[str]:
        """Return the names of images ``start`` to ``stop``."""
        name = self.stream.name
        return [f"{name}[{position}]" for position in range(start, stop)]

    @contextlib.contextmanager
    def at(self, start: int) -> Iterator[Callable[[int], Images]]:
        """Open at an image; yields a function that returns the next so many, (n, h, w, c) uint8."""
        with self.stream.at(start) as read:
            yield lambda count: _pixels(read(count), self.stream.where)

    @property
    def scaled(self) -> bool:
        """Whether numbers are rounded to 8 bits."""
        return self.stream.dtype.kind == "f" or _is_deep(self.stream.dtype)


def open_npy(path: Path) -> Stream:
    """Read the header of a .npy file.

    Raises:
        HostileFile: Python objects, or a header that does not fit the file.
    """
    with _readable(str(path)), path.open("rb") as file:
        return _from_header(file, path, "", path.stat().st_size)


def open_npz(path: Path) -> dict[str, Stream | InputError]:
    """Read the headers of all arrays in an .npz file; one that cannot be read is its error, as it may not be wanted.

    Raises:
        HostileFile: not a readable archive, too many members, or none of them an array.
    """
    streams: dict[str, Stream | InputError] = {}
    _check_directory(path)
    with _readable(str(path)), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            name = info.filename[:-4]
            try:
                streams[name] = _member(archive, info, path, name)
            except InputError as error:
                streams[name] = error
    if not streams:
        raise HostileFile("{path} holds no arrays", path=path)
    return streams


def open_idx(path: Path) -> Stream:
    """Read the header of an IDX file, gzipped or not.

    Raises:
        HostileFile: the header does not fit the file.
    """
    with _readable(str(path)), _opened(path, "") as file:
        head = file.read(4)
        if len(head) != 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or not 1 <= head[3] <= 4:
            raise HostileFile("{path} is not an IDX file", path=path)
        axes = file.read(4 * head[3])
        if len(axes) != 4 * head[3]:
            raise _truncated(str(path))
        shape = tuple(int(axis) for axis in np.frombuffer(axes, dtype=">u4"))
        is_packed = isinstance(file, gzip.GzipFile)
    stream = Stream(path, "", shape, np.dtype(_IDX_TYPES[head[2]]), 4 + 4 * head[3])
    wanted, there = _bytes_of(stream), path.stat().st_size
    if wanted > there * _DEFLATE_RATIO if is_packed else wanted != there:
        raise _misfit(str(path))
    return stream


def read_labels(stream: Stream, count: int) -> NDArray[np.int64]:
    """Read the labels of ``count`` images.

    Raises:
        InputError: not whole numbers, not one per image.
    """
    if stream.dtype.kind not in "iu" or stream.dtype == np.uint64 or stream.shape != (count,):
        raise InputError(
            "{where} does not hold one whole number per image",
            hint="Labels are integers, as many as there are images.",
            where=stream.where,
        )
    with stream.at(0) as read:
        return read(count).astype(np.int64)


def kind_of(path: Path) -> str:
    """Tell a file of arrays by its first bytes: "npz", "npy", "idx" or "".

    Raises:
        InputError: unreadable.
    """
    with _readable(str(path)), path.open("rb") as file:
        head = file.read(6)
        if head[:2] == b"\x1f\x8b":
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as packed:
                return "idx" if _is_idx(packed.read(4)) else ""
    if head == _NPY:
        return "npy"
    return "npz" if head[:4] == b"PK\3\4" else "idx" if _is_idx(head) else ""


def _is_idx(head: bytes) -> bool:
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 4


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, name: str) -> Stream:
    where = f"{path}:{name}"
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise HostileFile("{where} is encrypted, or packed in a way that NumPy does not write", where=where)
    if info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size):
        raise HostileFile(
            "{where} would unpack to {size} bytes from {packed}",
            where=where,
            size=info.file_size,
            packed=info.compress_size,
        )
    with _readable(where), archive.open(info) as file:
        return _from_header(file, path, name, info.file_size)


def _from_header(file: IO[bytes], path: Path, member: str, size: int) -> Stream:
    where = f"{path}:{member}" if member else str(path)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise HostileFile("{where} is a NumPy file of an unknown version", where=where)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = header(file)
    if dtype.hasobject:
        raise HostileFile(
            "{where} holds Python objects, which are not read as they could run code",
            hint="Save a plain array of numbers.",
            where=where,
        )
    if by_columns and len(shape) > 1:
        raise InputError(
            "{where} is stored column by column and cannot be read as a stream",
            hint="Save numpy.ascontiguousarray of it.",
            where=where,
        )
    stream = Stream(path, member, tuple(shape), dtype, file.tell())
    if any(axis < 0 for axis in stream.shape) or _bytes_of(stream) != size:
        raise _misfit(where)
    return stream


def _bytes_of(stream: Stream) -> int:
    return stream.offset + stream.dtype.itemsize * math.prod(stream.shape)


def _native(stream: Stream) -> tuple[int, int, int]:
    """Return height, width and channels of an array's images."""
    count, *axes = stream.shape or (0,)
    side = math.isqrt(axes[0]) if len(axes) == 1 else 0
    if len(axes) == 1 and side * side == axes[0]:
        native = (side, side, 1)
    elif len(axes) == 2:
        native = (axes[0], axes[1], 1)
    elif len(axes) == 3 and axes[2] in (1, 3, 4):
        native = (axes[0], axes[1], min(axes[2], 3))
    elif len(axes) == 3 and axes[0] in (1, 3, 4):
        native = (axes[1], axes[2], min(axes[0], 3))
    else:
        native = (0, 0, 0)
    is_numbers = stream.dtype.kind in "buif" and stream.dtype.itemsize <= 8
    if not is_numbers or count < 1 or not 0 < native[0] * native[1] <= _MAX_ROW_PIXELS:
        raise InputError(
            "{where} is an array {shape} of {dtype}, not of images",
            hint="Images are numbers (n, height, width), (n, height, width, channels) or (n, channels, height, width).",
            where=stream.where,
            shape=stream.shape,
            dtype=str(stream.dtype)[:40],
        )
    return native


def _check_range(first: NDArray[Any], where: str) -> None:
    """Refuse what would be read as black: 8-bit numbers in an array of 16 bits."""
    if _is_deep(first.dtype) and 0 < int(first.max()) <= 255:
        raise InputError(
            "{where} has 16 bits per sample and none of the first is over 255",
            hint="Convert it to uint8 if its numbers go from 0 to 255.",
            where=where,
        )


def _pixels(rows: NDArray[Any], where: str) -> Images:
    """Return stored rows as (n, h, w, 1 or 3) uint8."""
    rows = _eight_bits(rows, where)
    if rows.ndim == 2:
        side = math.isqrt(rows.shape[1])
        rows = rows.reshape(-1, side, side)
    if rows.ndim == 3:
        return rows[..., np.newaxis]
    if rows.shape[3] not in (1, 3, 4):
        rows = np.ascontiguousarray(rows.transpose(0, 2, 3, 1))
    if rows.shape[3] != 4:
        return rows
    count, height, width, _ = rows.shape
    return view(rows.reshape(count * height, width, 4)).reshape(count, height, width, 3)


def _eight_bits(rows: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if rows.dtype == np.uint8:
        return rows
    if rows.dtype == np.bool_:
        return rows.astype(np.uint8) * np.uint8(255)
    if _is_deep(rows.dtype):
        return to_8_bits(rows.astype(np.uint16))
    top = 1 if rows.dtype.kind == "f" else 255
    # Not-a-number lies in no range.
    if not bool(((rows >= 0) & (rows <= top)).all()):
        raise InputError(
            "{where} holds numbers outside 0 to {top}",
            hint="Pixels are integers from 0 to 255, or fractions from 0 to 1.",
            where=where,
            top=top,
        )
    return np.rint(rows.astype(np.float64) * 255).astype(np.uint8) if top == 1 else rows.astype(np.uint8)


def _is_deep(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "u" and dtype.itemsize == 2


def _check_directory(path: Path) -> None:
    """Refuse an archive whose list of members is large, before it is read."""
    with _readable(str(path)), path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - 22 - 2**16 - 20))
        tail = file.read()
    at = len(tail) - 22
    if tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise HostileFile("{path} is not a whole archive", path=path)
    members = int.from_bytes(tail[at + 10 : at + 12], "little")
    listed = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
        members, listed = _long_directory(path, int.from_bytes(tail[at - 12 : at - 4], "little"))
    if members > _MAX_MEMBERS or listed > _MAX_DIRECTORY:
        raise HostileFile("{path} lists {members} members, which is no file of arrays", path=path, members=members)


def _long_directory(path: Path, at: int) -> tuple[int, int]:
    """Return number of members and bytes of the list, of an archive of 4 GiB or more."""
    with _readable(str(path)), path.open("rb") as file:
        file.seek(at)
        record = file.read(56)
    if len(record) != 56 or record[:4] != b"PK\6\6":
        raise HostileFile("{path} is not a whole archive", path=path)
    return int.from_bytes(record[32:40], "little"), int.from_bytes(record[40:48], "little")


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        if member:
            archive = stack.enter_context(zipfile.ZipFile(path))
            yield stack.enter_context(archive.open(f"{member}.npy"))
            return
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if is_packed:
            file = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
        yield file


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turn whatever zip, gzip and NumPy raise on malformed bytes into ours."""
    try:
        yield
    except CountermarkError:
        raise
    except FileNotFoundError as error:
        raise InputError("{where} does not exist", where=where) from error
    except Exception as error:
        raise HostileFile("{where} cannot be read: {reason}", where=where, reason=str(error)[:200]) from error


def _truncated(where: str) -> HostileFile:
    return HostileFile("{where} ends before its header says", where=where)


def _misfit(where: str) -> HostileFile:
    return HostileFile("{where}: the header promises another size than there is", where=where)
