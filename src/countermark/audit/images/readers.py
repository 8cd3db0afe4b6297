"""Which reader a file or folder wants, and the readers: images by position, each kind behind one interface."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images import arrays
from countermark.audit.images.arrays import ArrayImages, Stream
from countermark.audit.images.batches import Images, Shape
from countermark.audit.images.decoding import Decoded, decode
from countermark.audit.images.store import ImageStore
from countermark.audit.images.tables import ARROW_MAGIC, PARQUET_MAGIC, Table
from countermark.core.canonical import parse_json
from countermark.errors import InputError
from countermark.marking.image import files

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"))
_IDX_PARTS = {"train": "train-", "test": "t10k-"}
_MAX_STATE = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Consecutive images as they come.

    Attributes:
        images: an array of them; or one picture, decoded when called.
        labels: one per image, or None.
        names: one per image.
        path: what errors about them name.
        is_scaled: whether the array had more than 8 bits per number.
    """

    images: Images | Callable[[], Decoded]
    labels: Sequence[int] | NDArray[np.int64] | None
    names: list[str]
    path: Path
    is_scaled: bool = False


class Reader(Protocol):
    """Images of one kind of file."""

    @property
    def count(self) -> int:
        """How many positions there are."""

    @property
    def step(self) -> int:
        """How many images a run holds at most; 1 where they are pictures to be decoded."""

    @property
    def jumps(self) -> bool:
        """Whether opening at any position costs nothing."""

    @property
    def native(self) -> Shape | None:
        """The images' shape, where all have one and it is known without decoding."""

    @property
    def has_labels(self) -> bool:
        """Whether runs have labels."""

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What the labels are called, where known."""

    @property
    def origin(self) -> list[Any]:
        """What changes when the files change: names, sizes and times."""

    def at(self, start: int) -> contextlib.AbstractContextManager[Callable[[int], Run]]:
        """Open at a position; the function given returns the next run of so many images, at most ``step``."""


def find_reader(path: Path, part: str | None, labels: str | Path | None) -> Reader:
    """Look at what a path holds.

    Raises:
        InputError: no images, or a part or labels that it does not have.
    """
    if isinstance(labels, str) and labels != "folders" and Path(labels).is_file():
        labels = Path(labels)
    with readable(path):
        return _find(path, part, labels)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say that a path cannot be read where the system says so."""
    try:
        yield
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=path, reason=error.strerror) from error


def _find(path: Path, part: str | None, labels: str | Path | None) -> Reader:
    if not path.is_dir():
        return _of_file(path, part, labels)
    if (path / "image-store.json").exists():
        _refuse_part(path, part)
        return _Stored(ImageStore.open(path))
    tables = _saved_tables(path, part) or _hub_tables(path, part)
    if tables:
        return _table(tables, labels)
    idx = _idx_file(path, part)
    return _of_file(idx, None, labels) if idx else _folder(path, part, labels)


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Images of an array."""

    images: ArrayImages
    jumps = False
    label_names = None

    @property
    def count(self) -> int:
        return self.images.count

    @property
    def step(self) -> int:
        return self.images.step

    @property
    def native(self) -> Shape:
        return self.images.native

    @property
    def has_labels(self) -> bool:
        return self.images.labels is not None

    @property
    def origin(self) -> list[Any]:
        return [_facts(self.images.stream.path), self.images.stream.member, _label_facts(self.images.labels)]

    @contextlib.contextmanager
    def at(self, start: int) -> Iterator[Callable[[int], Run]]:
        at, images = start, self.images

        def read(count: int) -> Run:
            nonlocal at
            first, at = at, at + count
            labels = None if images.labels is None else images.labels[first:at]
            return Run(pixels(count), labels, images.names(first, at), images.stream.path, images.scaled)

        with images.at(start) as pixels:
            yield read


@dataclass(frozen=True, slots=True)
class _Folder:
    """Pictures in files."""

    folder: Path
    files: list[str]
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...] | None
    step = 1
    jumps = True
    native = None

    @property
    def count(self) -> int:
        return len(self.files)

    @property
    def has_labels(self) -> bool:
        return self.labels is not None

    @property
    def origin(self) -> list[Any]:
        hashed = hashlib.sha256()
        for name in self.files:
            hashed.update(repr((name, *_facts(self.folder / name))).encode())
        return [hashed.hexdigest(), _label_facts(self.labels)]

    @contextlib.contextmanager
    def at(self, start: int) -> Iterator[Callable[[int], Run]]:
        places = iter(range(start, self.count))

        def read(_count: int) -> Run:
            place = next(places)
            path = self.folder / self.files[place]
            labels = None if self.labels is None else self.labels[place : place + 1]
            return Run(lambda: decode(files.read_bytes(path), path), labels, [self._name(place)], path)

        yield read

    def _name(self, place: int) -> str:
        # A name need not be text; a report must.
        return self.files[place].replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Pictures in rows of tables."""

    table: Table
    step = 1
    jumps = False
    native = None

    @property
    def count(self) -> int:
        return self.table.count

    @property
    def has_labels(self) -> bool:
        return self.table.label is not None

    @property
    def label_names(self) -> tuple[str, ...] | None:
        return self.table.classes

    @property
    def origin(self) -> list[Any]:
        return [[_facts(path) for path in self.table.files], self.table.image, self.table.label]

    @contextlib.contextmanager
    def at(self, start: int) -> Iterator[Callable[[int], Run]]:
        with contextlib.closing(self.table.rows(start)) as rows:

            def read(_count: int) -> Run:
                row = next(rows)
                name = PurePosixPath(row.name).name or f"{row.path.name}[{row.number}]"
                path = row.path.with_name(f"{row.path.name}[{row.number}]")
                return Run(row.decoder(path), None if row.label is None else [row.label], [name], path)

            yield read


@dataclass(frozen=True, slots=True)
class _Stored:
    """Images that were stored before."""

    store: ImageStore
    step = 1024
    jumps = True

    @property
    def count(self) -> int:
        return self.store.count

    @property
    def native(self) -> Shape:
        return self.store.shape

    @property
    def has_labels(self) -> bool:
        return self.store.labels is not None

    @property
    def label_names(self) -> tuple[str, ...] | None:
        return self.store.label_names

    @property
    def origin(self) -> list[Any]:
        return [self.store.digest, _label_facts(self.store.labels)]

    @contextlib.contextmanager
    def at(self, start: int) -> Iterator[Callable[[int], Run]]:
        at, store = start, self.store

        def read(count: int) -> Run:
            nonlocal at
            first, at = at, at + count
            images = store.rows(first, at).reshape(-1, *store.shape)
            labels = None if store.labels is None else store.labels[first:at]
            return Run(images, labels, [store.name(place) for place in range(first, at)], Path(store.data_name))

        yield read


def _of_file(path: Path, part: str | None, labels: str | Path | None) -> Reader:
    if not path.is_file():
        raise InputError("{path} is not a regular file", path=path)
    with path.open("rb") as file:
        is_table = file.read(4) in (PARQUET_MAGIC, ARROW_MAGIC)
    kind = "" if is_table else arrays.kind_of(path)
    if kind == "npz":
        return _of_npz(path, part, labels)
    _refuse_part(path, part)
    if is_table:
        return _table([path], labels)
    if kind:
        stream = arrays.open_npy(path) if kind == "npy" else arrays.open_idx(path)
        sister = _sister(path) if kind == "idx" else None
        return _Arrays(ArrayImages.of(stream, _labels_file(labels) or sister))
    return _Folder(path.parent, [path.name], None, None)


def _of_npz(path: Path, part: str | None, labels: str | Path | None) -> Reader:
    arrays_there = arrays.open_npz(path)
    images = _images_name(path, arrays_there, part)
    if labels is None or labels in arrays_there:
        name = _labels_beside(arrays_there, images) if labels is None else str(labels)
        beside = None if name is None else _good(arrays_there[name])
    else:
        beside = _labels_file(labels)
    return _Arrays(ArrayImages.of(_good(arrays_there[images]), beside))


def _good(stream: Stream | InputError) -> Stream:
    if isinstance(stream, InputError):
        raise stream
    return stream


def _images_name(path: Path, there: Mapping[str, Stream | InputError], part: str | None) -> str:
    """Return the name of the array of images that a part means; without a part there must be one that is it."""
    images = [name for name, stream in there.items() if isinstance(stream, InputError) or len(stream.shape) >= 2]
    forms = ("{}", "x_{}", "X_{}", "{}_x", "{}_images", "images_{}")
    wanted = ["x", "X", "images", "arr_0"] if part is None else [form.format(part) for form in forms]
    found = images if part is None and len(images) == 1 else [name for name in wanted if name in there]
    if not found:
        raise InputError(
            "{path}: which array holds the images?",
            hint="Name one after a colon; there are: {names}",
            path=path,
            names=", ".join(sorted(images))[:400],
        )
    return found[0]


def _labels_beside(there: Mapping[str, Stream | InputError], images: str) -> str | None:
    """Return the name of the array that must be the labels of an array of images, or None."""
    pairs = (("x_", "y_"), ("X_", "y_"), ("_x", "_y"), ("images", "labels"), ("x", "y"), ("X", "y"))
    names = [images.replace(ours, theirs, 1) for ours, theirs in pairs if ours in images]
    return next((name for name in (*names, f"{images}_labels") if name in there), None)


def _labels_file(labels: str | Path | None) -> Stream | None:
    """Open a file of labels; a name instead of a path is none that these data know."""
    if labels is None:
        return None
    if labels == "folders":
        raise InputError("only a folder of pictures has labels by folders")
    if isinstance(labels, str):
        raise InputError("these data have no labels called {name}", name=labels)
    kind = arrays.kind_of(labels) if labels.is_file() else ""
    if kind not in ("npy", "idx"):
        raise InputError("{path} is not a .npy or IDX file of labels", path=labels)
    return arrays.open_npy(labels) if kind == "npy" else arrays.open_idx(labels)


def _sister(path: Path) -> Stream | None:
    """Open the labels that belong to an IDX file of images, if they lie beside it."""
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for sister in (path.with_name(name), path.with_name(f"{name}.gz")):
        if sister != path and sister.is_file():
            return arrays.open_idx(sister)
    return None


def _idx_file(folder: Path, part: str | None) -> Path | None:
    found = sorted(path for path in folder.glob("*images*idx3*") if path.is_file())
    wanted = [path for path in found if path.name.startswith(_IDX_PARTS.get(part or "", part or ""))]
    if found and len(wanted) != 1:
        raise InputError(
            "{path} holds {count} files of images that fit",
            hint="Name one of: {names}",
            path=folder,
            count=len(wanted),
            names=", ".join(path.name for path in found)[:400],
        )
    return wanted[0] if found else None


def _folder(folder: Path, part: str | None, labels: str | Path | None) -> Reader:
    if part is not None:
        _one_of(part, [child.name for child in folder.iterdir() if child.is_dir()], folder)
        folder = folder / part
    names = _pictures(folder)
    if not names:
        raise InputError(
            "{path} holds no images that are known here",
            hint="Give a folder of pictures, an .npz, .npy, IDX or Parquet file, or a saved data set.",
            path=folder,
        )
    if labels != "folders":
        given = _labels_file(labels)
        return _Folder(folder, names, None if given is None else arrays.read_labels(given, len(names)), None)
    tops = [name.split(os.sep, 1)[0] if os.sep in name else "" for name in names]
    if "" in tops:
        raise InputError("{path} lies in no folder that could be its label", path=folder / names[tops.index("")])
    classes = sorted(set(tops))
    numbers = {name: number for number, name in enumerate(classes)}
    shown = tuple(name.encode("utf-8", "backslashreplace").decode() for name in classes)
    return _Folder(folder, names, np.array([numbers[top] for top in tops], dtype=np.int64), shown)


def _pictures(folder: Path) -> list[str]:
    """Return the pictures below a folder by their names in it, in order; what is hidden is passed over."""
    names = []
    for here, folders, found in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(here, folder)
        for name in found:
            if os.path.splitext(name)[1].lower() in _SUFFIXES and not name.startswith("."):
                names.append(name if inside == "." else os.path.join(inside, name))
    return sorted(names)


def _saved_tables(folder: Path, part: str | None) -> list[Path]:
    """Return the files of a ``save_to_disk`` directory, or none if it is none."""
    if (folder / "dataset_dict.json").is_file():
        splits = [child.name for child in folder.iterdir() if (child / "state.json").is_file()]
        if part is not None or len(splits) != 1:
            _one_of(part, splits, folder)
        folder, part = folder / (part or splits[0]), None
    if not (folder / "state.json").is_file():
        return []
    _refuse_part(folder, part)
    return _listed(folder)


def _listed(folder: Path) -> list[Path]:
    """Return the Arrow files that state.json lists; names that lead out of the folder are none of its."""
    path = folder / "state.json"
    try:
        state = parse_json(files.read_bytes(path), limit=_MAX_STATE)
        names = [str(entry["filename"]) for entry in state["_data_files"]]
        is_picked = bool(state.get("_indices_data_files"))
    except (KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError("{path} is not the state of a saved data set", path=path) from error
    if is_picked:
        raise InputError(
            "{path} is a selection of its rows, which is not read here",
            hint="Save it after flatten_indices().",
            path=folder,
        )
    there = {child.name for child in folder.iterdir() if child.is_file()}
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise InputError("{path} lists files that are not there", path=path)
    return [folder / name for name in names]


def _hub_tables(folder: Path, part: str | None) -> list[Path]:
    """Return the Parquet files of one part of a folder, or none if it has no such files."""
    found = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
    parts = {path: _part_of(path, folder) for path in found}
    names = sorted(set(parts.values()))
    if found and (part is not None or len(names) > 1):
        _one_of(part, names, folder)
    return [path for path in found if part is None or parts[path] == part]


def _part_of(path: Path, folder: Path) -> str:
    """Return the split that the hub's rules give a file: its folder, or the beginning of its name."""
    above = path.parent.name
    return above if path.parent != folder and above != "data" else path.stem.partition("-")[0]


def _table(paths: list[Path], labels: str | Path | None) -> Reader:
    if isinstance(labels, Path) or labels == "folders":
        raise InputError("labels of a table are a column of it", hint="Name the column.")
    return _Rows(Table.of(paths, label=labels))


def _one_of(part: str | None, there: list[str], path: Path) -> None:
    if part not in there:
        raise InputError(
            "{path} has several parts, or not the one that is named",
            hint="Name one after a colon; there are: {names}",
            path=path,
            names=", ".join(sorted(there))[:400],
        )


def _refuse_part(path: Path, part: str | None) -> None:
    if part is not None:
        raise InputError("{path} has no parts, and {part} was asked for", path=path, part=part)


def _facts(path: Path) -> list[Any]:
    with readable(path):
        about = path.stat()
    return [path.name, about.st_size, str(about.st_mtime_ns)]


def _refuse(error: OSError) -> None:
    raise error


def _label_facts(labels: NDArray[np.int64] | None) -> str | None:
    return None if labels is None else hashlib.sha256(np.ascontiguousarray(labels).data).hexdigest()
