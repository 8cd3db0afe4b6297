"""Pictures in tables: Parquet files as the Hugging Face hub has them, and directories of ``Dataset.save_to_disk``.

A column of pictures is binary, or a struct with the field ``bytes`` (the hub's: ``{bytes, path}``). A path is never
followed: a stranger's table could name any file of this machine. Labels are integers, with names from the table's
metadata where the hub's ``ClassLabel`` left them, or texts, numbered in the order of the alphabet. Sources:
https://huggingface.co/docs/datasets/about_dataset_features; Apache Arrow columnar format 1.5, section "IPC".

One group of rows of a Parquet file is in memory at a time, of at most 4 GiB; of an Arrow stream a few rows. Every
record batch is validated in full before a value is taken from it, as offsets in a malformed one could point anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from countermark.audit.images.decoding import Decoded, decode
from countermark.core.canonical import parse_json
from countermark.errors import CountermarkError, HostileFile, InputError, require

PARQUET_MAGIC = b"PAR1"
#: How a stream of record batches begins.
ARROW_MAGIC = b"\xff\xff\xff\xff"

# A few, as each may be of 512 MiB and stand in a few bytes of the file.
_ROWS = 8
_MAX_GROUP_BYTES = 4 * 2**30
_MAX_CLASSES = 2**16
_MAX_METADATA = 2**20
_IMAGE_COLUMNS = ("image", "img", "picture", "pixel_values")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A row of a table.

    Attributes:
        path: the table's file.
        number: which row of it.
        data: the picture, encoded; or why there is none.
        name: what the picture's file was called, or "".
        label: its label, or None.
    """

    path: Path
    number: int
    data: bytes | InputError
    name: str
    label: int | None

    def decoder(self, path: Path) -> Callable[[], Decoded]:
        """Return the function that decodes the picture; its errors name ``path``."""

        def decoded() -> Decoded:
            if isinstance(self.data, InputError):
                raise self.data
            return decode(self.data, path)

        return decoded


@dataclass(frozen=True, slots=True)
class Table:
    """Pictures in table files of one schema.

    Attributes:
        files: in order.
        counts: rows of each.
        is_parquet: else Arrow streams.
        image: the column of pictures.
        label: the column of labels, or None.
        classes: names of the labels, where known.
        numbered: whether the column has the names themselves.
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]
    is_parquet: bool
    image: str
    label: str | None
    classes: tuple[str, ...] | None
    numbered: bool

    @classmethod
    def of(cls, files: Sequence[Path], *, label: str | None) -> Table:
        """Look at the schemas of table files.

        Args:
            files: at least one, all Parquet or all Arrow.
            label: the column of labels; None takes the one that is called so.

        Raises:
            InputError: no column of pictures, no such column of labels, or schemas that differ.
            HostileFile: a file cannot be read.
            MissingExtra: pyarrow is not installed.
        """
        with _readable(files[0]), files[0].open("rb") as file:
            is_parquet = file.read(4) == PARQUET_MAGIC
        opened = [_parquet_head(path) if is_parquet else _arrow_head(path) for path in files]
        schema = opened[0][0]
        for path, (other, _) in zip(files, opened, strict=True):
            if not schema.equals(other):
                raise InputError("{path} has other columns than the files before it", path=path)
        with _readable(files[0]):
            image = _image_column(schema, files[0])
            chosen, classes = _label_column(schema, label, files[0])
        table = cls(tuple(files), tuple(count for _, count in opened), is_parquet, image, chosen, classes, False)
        if chosen is None or not _is_text(schema.field(chosen).type):
            return table
        names = tuple(sorted(table._texts(chosen)))
        return cls(table.files, table.counts, is_parquet, image, chosen, names, True)

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(self.counts)

    def rows(self, start: int) -> Generator[Row]:
        """Yield the rows from ``start`` on.

        Raises:
            HostileFile: malformed; a row without a picture is no reason, its error takes the picture's place.
        """
        columns = [self.image] if self.label is None else [self.image, self.label]
        numbers = {name: number for number, name in enumerate(self.classes or ())} if self.numbered else None
        for path, count in zip(self.files, self.counts, strict=True):
            if start >= count:
                start -= count
                continue
            at = start
            for batch in self._record_batches(path, columns, start):
                for picture, label in _pairs(batch, columns, path):
                    data, name = _picture(picture, path, at)
                    yield Row(path, at, data, name, _label(label, numbers, path, at, self.label))
                    at += 1
            if at != count:
                raise HostileFile("{path} has other rows than it promises", path=path)
            start = 0

    def _record_batches(self, path: Path, columns: list[str], start: int) -> Iterator[Any]:
        batches = _parquet_batches(path, columns, start) if self.is_parquet else _arrow_batches(path, columns, start)
        with _readable(path):
            for batch in batches:
                batch.validate(full=True)
                yield from (batch.slice(row, _ROWS) for row in range(0, batch.num_rows, _ROWS))

    def _texts(self, column: str) -> set[str]:
        texts: set[str] = set()
        for path in self.files:
            for batch in self._record_batches(path, [column], 0):
                with _readable(path):
                    texts.update(text for text in batch.column(0).unique().to_pylist() if isinstance(text, str))
                if len(texts) > _MAX_CLASSES:
                    raise InputError(
                        "{path}: the column {column} has too many different texts to be labels",
                        path=path,
                        column=column,
                    )
        return texts


def _parquet_head(path: Path) -> tuple[Any, int]:
    parquet = _parquet()
    with _readable(path), parquet.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
        if rows < 0 or any(not 0 <= size <= _MAX_GROUP_BYTES for size in sizes):
            raise HostileFile(
                "{path}: a group of rows has more than 4 GiB", hint="Write it with smaller row groups.", path=path
            )
        return file.schema_arrow, rows


def _parquet_batches(path: Path, columns: list[str], start: int) -> Iterator[Any]:
    with _parquet().ParquetFile(path, buffer_size=2**20) as file:
        for group in range(file.num_row_groups):
            held = file.metadata.row_group(group).num_rows
            if start < held:
                # One group at a time: asked for several, Arrow keeps them all until the last is read.
                yield from _from(start, file.iter_batches(_ROWS, [group], columns))
            start = max(0, start - held)


def _arrow_head(path: Path) -> tuple[Any, int]:
    pyarrow = require("pyarrow", "audit")
    with _readable(path), pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
        return stream.schema, sum(batch.num_rows for batch in stream)


def _arrow_batches(path: Path, columns: list[str], start: int) -> Iterator[Any]:
    pyarrow = require("pyarrow", "audit")
    with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
        for batch in stream:
            if start < batch.num_rows:
                # Validated before it is cut: cutting reads nothing, taking a value does.
                yield batch.select(columns).slice(start)
            start = max(0, start - batch.num_rows)


def _from(start: int, batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if start < batch.num_rows:
            yield batch.slice(start)
        start = max(0, start - batch.num_rows)


def _pairs(batch: Any, columns: list[str], path: Path) -> Iterator[tuple[Any, Any]]:
    pictures = batch.column(batch.schema.get_field_index(columns[0]))
    labels = batch.column(batch.schema.get_field_index(columns[1])) if len(columns) == 2 else None
    for row in range(batch.num_rows):
        with _readable(path):
            pair = pictures[row].as_py(), None if labels is None else labels[row].as_py()
        yield pair


def _picture(value: Any, path: Path, row: int) -> tuple[bytes | InputError, str]:
    fields = value if isinstance(value, dict) else {"bytes": value}
    data, name = fields.get("bytes"), str(fields.get("path") or "")
    if isinstance(data, bytes) and data:
        return data, name
    if name:
        return InputError(
            "{path}[{row}] names a file instead of holding a picture",
            hint="Embed the pictures in the table (datasets: embed_external_files).",
            path=path,
            row=row,
        ), ""
    return InputError("{path}[{row}] holds no picture", path=path, row=row), ""


def _label(value: Any, numbers: dict[str, int] | None, path: Path, row: int, column: str | None) -> int | None:
    if column is None:
        return None
    label = value if numbers is None else numbers.get(value)
    if not isinstance(label, int) or abs(label) >= 2**63:
        raise InputError("{path}[{row}] has no label", path=path, row=row)
    return int(label)


def _image_column(schema: Any, path: Path) -> str:
    """Return the column that the hub calls an image, else one that is called so, else the first that could be one."""
    features = _features(schema)
    fitting = [field.name for field in schema if _holds_bytes(field.type)]
    marked = [name for name in fitting if features.get(name, {}).get("_type") == "Image"]
    named = [name for name in _IMAGE_COLUMNS if name in fitting]
    for name in (*marked, *named, *fitting):
        if len(schema.get_all_field_indices(name)) == 1:
            return str(name)
    raise InputError(
        "{path} has no column of pictures",
        hint="A column of encoded pictures is binary, or a struct with the field bytes.",
        path=path,
    )


def _label_column(schema: Any, wanted: str | None, path: Path) -> tuple[str | None, tuple[str, ...] | None]:
    types, features = require("pyarrow", "audit").types, _features(schema)
    fitting = [field.name for field in schema if types.is_integer(field.type) or _is_text(field.type)]
    marked = [name for name in fitting if features.get(name, {}).get("_type") == "ClassLabel"]
    if wanted is not None and (wanted not in fitting or len(schema.get_all_field_indices(wanted)) != 1):
        raise InputError("{path} has no column {column} of integers or texts", path=path, column=wanted)
    named = [name for name in _LABEL_COLUMNS if name in fitting]
    chosen = wanted or next(iter((*(name for name in named if name in marked), *marked, *named)), None)
    if chosen is None or len(schema.get_all_field_indices(chosen)) != 1:
        return None, None
    names = features.get(chosen, {}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return chosen, None
    return chosen, tuple(names[:_MAX_CLASSES])


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Return what the hub wrote about the columns; what is not as the hub writes it counts as nothing."""
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = parse_json(written, limit=_MAX_METADATA)["info"]["features"]
        return {name: about for name, about in features.items() if isinstance(about, dict)}
    except (InputError, KeyError, TypeError, AttributeError):
        return {}


def _holds_bytes(kind: Any) -> bool:
    types = require("pyarrow", "audit").types
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    types = require("pyarrow", "audit").types
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _parquet() -> Any:
    require("pyarrow", "audit")
    return require("pyarrow.parquet", "audit")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever Arrow raises on malformed bytes into ours."""
    try:
        yield
    except CountermarkError:
        raise
    except Exception as error:
        raise HostileFile("{path} cannot be read: {reason}", path=path, reason=str(error)[:200]) from error
