"""Corpora of texts, read document by document, however large they are.

A corpus is a file or a folder of them: plain text and Markdown, lines of JSON, these in gzip too, and Parquet. A plain
file is one document, unless lines of ``<|doc|>`` part it, or blank lines where the corpus was opened so. Of a line of
JSON and a row of Parquet the field ``text`` is the document. White space around a document is not part of it, and empty
ones are none.

Laws:
    ``documents()`` gives the same documents in the same order each time;
    equal documents in equal order have equal digests, however they are stored;
    ``fold`` of a fold changes nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from countermark.core.canonical import parse_json, show_digest
from countermark.errors import HostileFile, InputError, require
from countermark.marking.text.files import decode_text

SEPARATOR = "<|doc|>"
SPLITS = ("separator", "blank", "none")
MAX_DOCUMENT_BYTES = 64 * 2**20
# What all files of a corpus may unpack to.
MAX_CORPUS_BYTES = 64 * 2**30
MAX_DOCUMENTS = 100_000_000

_PLAIN = (".txt", ".md", ".text")
_LINES = (".jsonl", ".ndjson")
_TABLES = (".parquet",)
# With these beside them, texts are only about the pictures.
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".npy", ".npz"})
_HEAD = 64 * 1024
_DOMAIN = b"countermark/texts/1\0"


class Document(NamedTuple):
    """One text of a corpus; ``name`` is its file and, where that holds several, its number in it."""

    name: str
    text: str


class Measure(NamedTuple):
    """What one pass over a corpus finds: documents, bytes as UTF-8, documents that repeat another, digest."""

    documents: int
    size: int
    duplicates: int
    digest: str


class Corpus:
    """Texts that can be gone through again and again; see ``open_corpus`` and ``Corpus.of``.

    Attributes:
        name: for reports.
    """

    def __init__(self, name: str, source: Callable[[], Iterable[Document]]) -> None:
        self.name = name
        self._source = source

    @classmethod
    def of(cls, texts: Sequence[str], name: str = "texts") -> Corpus:
        """Return texts in memory as a corpus; empty ones are left out."""
        kept = [Document(f"{name}[{i}]", text.strip()) for i, text in enumerate(texts) if text.strip()]
        return cls(name, lambda: kept)

    def documents(self) -> Iterator[Document]:
        """Go through all documents.

        Raises:
            InputError: a file cannot be read, or holds no text where one should be.
            HostileFile: a document of more than ``MAX_DOCUMENT_BYTES``, or more in all than ``MAX_CORPUS_BYTES``.
            MissingExtra: a Parquet file without pyarrow.
        """
        size = 0
        for document in self._source():
            size += len(document.text)
            if size > MAX_CORPUS_BYTES:
                raise HostileFile("{path} is over the limit of {limit} bytes", path=self.name, limit=MAX_CORPUS_BYTES)
            yield document

    @cached_property
    def measure(self) -> Measure:
        """Count and digest the documents, in one pass."""
        digest, seen, count, size = hashlib.sha256(_DOMAIN), set(), 0, 0
        for document in self.documents():
            data = document.text.encode(errors="replace")
            digest.update(len(data).to_bytes(8, "big") + data)
            seen.add(hashlib.blake2b(data, digest_size=16).digest())
            count, size = count + 1, size + len(data)
        return Measure(count, size, count - len(seen), show_digest(digest.digest()))

    @property
    def digest(self) -> str:
        """Of the documents' bytes in order, ``sha256:`` and hex."""
        return self.measure.digest

    @property
    def count(self) -> int:
        """How many documents there are."""
        return self.measure.documents

    @property
    def size(self) -> int:
        """How many bytes of UTF-8 they have together."""
        return self.measure.size


def open_corpus(path: Path, *, field: str = "text", split: str = "separator") -> Corpus:
    """Return the corpus in a file or a folder; files of a folder go by their path, others than texts are left alone.

    Args:
        path: ``.txt``, ``.md``, ``.jsonl``, ``.parquet``, the first three also with ``.gz``; or a folder of them.
        field: of a line of JSON or a row of Parquet that holds the text.
        split: what parts the documents of a plain file: lines of ``<|doc|>``, blank lines, or nothing.

    Raises:
        InputError: no such file, or of another kind; no text in a folder; no such split.
    """
    if split not in SPLITS:
        raise InputError("documents are parted by one of {known}, not by {split}", known="|".join(SPLITS), split=split)
    files = _files(path)
    base = path if path.is_dir() else path.parent

    def source() -> Iterator[Document]:
        for file in files:
            yield from _read(file, file.relative_to(base).as_posix(), field, split)

    return Corpus(path.name, source)


def holds_texts(path: Path) -> bool:
    """Whether a file or a folder holds texts rather than images: by names, and of Parquet files by their columns."""
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    if not path.exists() or any(each.suffix.lower() in _IMAGES for each in files):
        return False
    kinds = [(each, _kind(each)) for each in files]
    tables = [each for each, kind in kinds if kind in _TABLES]
    return _has_texts(tables[0]) if tables else any(kind for _each, kind in kinds)


def fold(text: str) -> str:
    """Return a text without what an author may vary: compatibility forms, case, and the amount of white space.

    Unicode's NFKC, full case folding, and every run of white space as one blank.
    """
    # Folding can undo NFKC and the other way round; two rounds are stable (Unicode, definition D146).
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).casefold()
    return " ".join(unicodedata.normalize("NFKC", once).split())


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.is_file() and _kind(each))
        if not found:
            raise InputError("{path} holds no texts", hint="Texts are .txt, .md, .jsonl and .parquet, also in .gz.",
                             path=path)  # fmt: skip
        return found
    if not path.is_file():
        raise InputError("cannot read {path}: {reason}", path=path, reason="no such file")
    if not _kind(path):
        raise InputError("{path} is of no kind that texts are read from",
                         hint="Texts are .txt, .md, .jsonl and .parquet, also in .gz.", path=path)  # fmt: skip
    return [path]


def _kind(path: Path) -> str:
    """Return the suffix that says how a file is read, or nothing."""
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    suffix = next((each for each in (*_PLAIN, *_LINES, *_TABLES) if plain.endswith(each)), "")
    return "" if suffix in _TABLES and plain != name else suffix


def _read(path: Path, name: str, field: str, split: str) -> Iterator[Document]:
    kind = _kind(path)
    if kind in _TABLES:
        texts = _rows(path, field)
    else:
        texts = _streamed(path, (lambda lines: _objects(path, lines, field)) if kind in _LINES else _parts(path, split))
    number = 0
    for text in texts:
        clean = text.strip()
        if clean:
            yield Document(f"{name}[{number}]", clean)
            number += 1


def _streamed(path: Path, read: Callable[[Iterator[str]], Iterator[str]]) -> Iterator[str]:
    """Read a text file line by line, in the encoding that its head is in."""
    try:
        with _opened(path) as stream:
            yield from read(_lines(stream, path))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("cannot read {path}: {reason}", path=path, reason=error) from error
    except UnicodeError as error:
        raise InputError("{path} is no text: {reason}", path=path, reason=error) from error


def _opened(path: Path) -> TextIO:
    # Non-blocking, so that a pipe cannot hang us before it is refused; no effect on regular files.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    raw = os.fdopen(descriptor, "rb")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError("{path} is not a regular file", path=path)
        packed: Any = _Unpacked(raw) if path.name.lower().endswith(".gz") else raw
        stream = io.BufferedReader(packed) if isinstance(packed, io.RawIOBase) else packed
        return io.TextIOWrapper(stream, encoding=_encoding(stream.peek(_HEAD)[:_HEAD]), newline="\n")
    except BaseException:
        raw.close()
        raise


class _Unpacked(io.RawIOBase):
    """A gzip file that closes what it reads from, too."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._packed = raw, gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._packed.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
            self._raw.close()
        super().close()


def _encoding(head: bytes) -> str:
    """Return the encoding of a file's head; one that none fits is read as UTF-8 and refused where it is not."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # The head may end inside a character: up to its last line it does not.
    whole = head[: head.rfind(b"\n") + 1] or head
    try:
        whole.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(whole) - 4 and decode_text(whole) is not None:
            return "gb18030"
    return "utf-8-sig"


def _lines(stream: TextIO, path: Path) -> Iterator[str]:
    while line := stream.readline(MAX_DOCUMENT_BYTES):
        if len(line) >= MAX_DOCUMENT_BYTES:
            raise _too_large(path)
        if "\0" in line:
            raise InputError("{path} is no text: {reason}", path=path, reason="it holds NUL")
        yield line


def _parts(path: Path, split: str) -> Callable[[Iterator[str]], Iterator[str]]:
    ends = {"separator": SEPARATOR, "blank": ""}

    def read(lines: Iterator[str]) -> Iterator[str]:
        held: list[str] = []
        size = 0
        for line in lines:
            if line.strip() == ends.get(split):
                yield "".join(held)
                held, size = [], 0
                continue
            held.append(line)
            size += len(line)
            if size > MAX_DOCUMENT_BYTES:
                raise _too_large(path)
        yield "".join(held)

    return read


def _objects(path: Path, lines: Iterator[str], field: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = parse_json(line.encode(errors="replace"))
            except InputError as error:
                raise InputError("line {line} of {path} is no JSON: {reason}", line=number, path=path,
                                 reason=error) from error  # fmt: skip
            text = value.get(field) if isinstance(value, dict) else value
            if not isinstance(text, str):
                raise InputError("line {line} of {path} has no text in its field {field}", line=number, path=path,
                                 field=field)  # fmt: skip
            yield text


def _has_texts(path: Path) -> bool:
    arrow, parquet = require("pyarrow", "audit"), require("pyarrow.parquet", "audit")
    try:
        types = [each.type for each in parquet.read_schema(path)]
    except (OSError, ValueError):  # pyarrow's errors are of these
        return False
    is_text = [arrow.types.is_string(each) or arrow.types.is_large_string(each) for each in types]
    has_bytes = any(arrow.types.is_struct(each) or arrow.types.is_binary(each) for each in types)
    return any(is_text) and not has_bytes


def _rows(path: Path, field: str) -> Iterator[str]:
    parquet = require("pyarrow.parquet", "audit")
    try:
        with parquet.ParquetFile(path) as table:
            if field not in table.schema_arrow.names:
                raise InputError("{path} has no column {field}", path=path, field=field)
            for batch in table.iter_batches(batch_size=256, columns=[field]):
                for text in batch.column(0).to_pylist():
                    if text is not None and not isinstance(text, str):
                        raise InputError("the column {field} of {path} holds no texts", path=path, field=field)
                    if text is not None and len(text) > MAX_DOCUMENT_BYTES:
                        raise _too_large(path)
                    yield text or ""
    except InputError:
        raise
    except Exception as error:  # pyarrow raises its own classes, ValueError, OSError and more
        raise InputError("cannot read {path}: {reason}", path=path, reason=error) from error


def _too_large(path: Path) -> HostileFile:
    return HostileFile("{path} holds a document over the limit of {limit} bytes", path=path, limit=MAX_DOCUMENT_BYTES)
