"""Longest matches of texts in a corpus, exact, over a suffix array on disk.

The corpus lies as bytes in shards, documents ended by 0xFF, which no UTF-8 text holds. Beside each shard lie its
suffixes in order (pydivsufsort, Y. Mori's divsufsort) and the first eight bytes of every eighth of them as one number.
How they are searched, ``matching`` says.

Laws:
    ``statistics(text)[i]`` is the length of the longest start of ``text[i:]`` that stands in some document;
    ``longest(text)`` is the largest of them, at the first start that has it;
    no match crosses the end of a document; neither depends on how the corpus is cut into shards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from countermark.audit.text.matching import (
    END,
    PAD,
    SAMPLED,
    Bytes,
    Integers,
    Match,
    Shard,
    batches,
    joined_texts,
    longest_in,
    search,
    sorted_starts,
    words,
)
from countermark.audit.text.reading import Corpus, Document, fold
from countermark.core.canonical import canonical_json, parse_json, show_digest
from countermark.core.progress import Progress
from countermark.errors import IndexMismatch, InputError, require

FORMS = ("bytes", "folded")
#: The file of a directory that says what is in it; written last.
INDEX = "index.json"
# A shard's positions are 32-bit; building one takes nine times its bytes of memory.
SHARD_BYTES = 256 * 2**20
MAX_SHARD_BYTES = 2**31 - 64

_TYPE = "countermark.suffix-index/1"


class SuffixIndex:
    """The suffixes of a corpus, in memory or memory-mapped.

    Attributes:
        form: ``bytes`` as they are, or ``folded`` (``reading.fold``).
        digest: of the corpus that it was made from.
        name, documents, size: of the corpus: its name, how many documents, bytes in this form.
    """

    def __init__(self, shards: Sequence[Shard], about: dict[str, Any], names: Sequence[str] = ()) -> None:
        self._shards, self._names, self._described = tuple(shards), tuple(names), about["shards"]
        self.form: str = about["form"]
        self.digest: str = about["corpus"]
        self.name: str = about["name"]
        self.documents: int = about["documents"]
        self.size: int = about["bytes"]

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        directory: Path | None = None,
        *,
        form: str = "bytes",
        shard_bytes: int = SHARD_BYTES,
        progress: Progress | None = None,
    ) -> SuffixIndex:
        """Sort the suffixes of a corpus.

        Args:
            corpus: of any size; read twice.
            directory: where the index is kept, made if need be; shards that an earlier run finished there are not
                sorted again. None: in memory.
            form: one of ``FORMS``.
            shard_bytes: of a shard, at most ``MAX_SHARD_BYTES``; a larger document is refused.
            progress: in documents.

        Raises:
            InputError: no such form, an empty corpus, a document over the limit, or what reading raises.
            MissingExtra: without pydivsufsort.
        """
        if form not in FORMS or not 0 < shard_bytes <= MAX_SHARD_BYTES:
            raise InputError(
                "an index is of the form {forms}, in shards of at most {limit} bytes",
                forms="|".join(FORMS),
                limit=MAX_SHARD_BYTES,
            )
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / INDEX).unlink(missing_ok=True)
        shards: list[Shard] = []
        names: list[str] = []
        for number, (first, documents) in enumerate(_shared_out(corpus, form, shard_bytes)):
            data = [each for _name, each in documents]
            shards.append(_sorted(first, data) if directory is None else _kept(directory, number, first, data))
            names += [name for name, _data in documents]
            if progress is not None:
                progress(len(names), corpus.count, "documents")
        if not names:
            raise InputError("the corpus {name} holds no text", name=corpus.name)
        about = {
            "type": _TYPE,
            "form": form,
            "corpus": corpus.digest,
            "name": corpus.name,
            "documents": len(names),
            "bytes": sum(len(each.suffixes) for each in shards) - len(names),
            "shards": [_described(each) for each in shards],
        }
        if directory is not None:
            _write(directory / "names.json", canonical_json(names))
            _write(directory / INDEX, canonical_json(about))
        return cls(shards, about, names)

    @classmethod
    def open(cls, directory: Path, corpus: Corpus | None = None) -> SuffixIndex:
        """Map a kept index.

        Args:
            directory: that ``build`` wrote.
            corpus: that it has to be of; read once for its digest. None: not checked.

        Raises:
            IndexMismatch: of another corpus, or files are missing or of another size than it says.
            InputError: no index.
        """
        about = _about(directory)
        try:
            names = parse_json((directory / "names.json").read_bytes(), limit=2**30)
            shards = [_mapped(directory, number, each) for number, each in enumerate(about["shards"])]
            index = cls(shards, about, names)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexMismatch("the index in {path} is damaged: {reason}", path=directory, reason=error) from error
        if corpus is not None:
            index.require(corpus)
        return index

    def require(self, corpus: Corpus) -> None:
        """Return if this is the index of a corpus.

        Raises:
            IndexMismatch: it is of another.
        """
        if self.digest != corpus.digest:
            raise IndexMismatch(
                "the index is of the corpus {indexed}, not of {name}, which is {digest}",
                hint="Build the index anew, or name the corpus that it was built from.",
                indexed=self.digest, name=corpus.name, digest=corpus.digest,
            )  # fmt: skip

    def check(self) -> None:
        """Read all shards and hold them against their digests and their order.

        Raises:
            IndexMismatch: changed since.
        """
        for shard, about in zip(self._shards, self._described, strict=True):
            if _described(shard) != about or not _is_sorted(shard) or not _is_parted(shard):
                raise IndexMismatch("the index is damaged: it is not as it was built")

    def name_of(self, document: int) -> str:
        """Return a document's name."""
        return self._names[document] if 0 <= document < len(self._names) else f"[{document}]"

    def text_at(self, document: int, offset: int, length: int) -> bytes:
        """Return ``length`` bytes of a document, fewer at its end.

        Raises:
            InputError: no such place.
        """
        shard = next((each for each in self._shards if 0 <= document - each.first < len(each.starts) - 1), None)
        if shard is None or offset < 0:
            raise InputError("the corpus has no such place")
        place, end = (int(shard.starts[document - shard.first + k]) for k in (0, 1))
        return shard.text[place + offset : min(place + offset + length, end - 1)].tobytes()

    def statistics(self, texts: Sequence[bytes], progress: Progress | None = None) -> list[Integers]:
        """Return for each text (n,) the longest match from each of its bytes on, in bytes.

        Texts are in the index's form, see ``encoded``.
        """
        found: list[Integers] = []
        for batch in batches(texts):
            joined, ends = joined_texts(batch)
            best = np.zeros(len(joined), dtype=np.int64)
            for shard in self._shards:
                starts = sorted_starts(joined)
                lengths, _places = search(shard, joined, starts)
                best[starts] = np.maximum(best[starts], lengths)
            found += [best[start:end] for start, end in zip([0, *(ends[:-1] + 1)], ends, strict=True)]
            _report(progress, len(found), len(texts))
        return found

    def longest(self, texts: Sequence[bytes], progress: Progress | None = None) -> list[Match]:
        """Return the longest match of each text; texts are in the index's form, see ``encoded``."""
        found: list[Match] = []
        for batch in batches(texts):
            joined, ends = joined_texts(batch)
            answers = [longest_in(shard, joined, ends) for shard in self._shards]
            # max returns the first of equals, so the earliest shard.
            found += [max(row, key=lambda match: match.length) for row in zip(*answers, strict=True)]
            _report(progress, len(found), len(texts))
        return found

    def encoded(self, text: str) -> bytes:
        """Return a text in this index's form."""
        return encoded(text, self.form)


def encoded(text: str, form: str) -> bytes:
    """Return a text as the bytes of a form; what UTF-8 cannot carry becomes a question mark."""
    return (fold(text) if form == "folded" else text).encode(errors="replace")


def _shared_out(corpus: Corpus, form: str, shard_bytes: int) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """Yield the documents of each shard, with the number of its first."""
    held: list[tuple[str, bytes]] = []
    first = size = 0
    for document in corpus.documents():
        data = _document_bytes(document, form, shard_bytes)
        if held and size + len(data) + 1 > shard_bytes:
            yield first, held
            first, held, size = first + len(held), [], 0
        held.append((document.name, data))
        size += len(data) + 1
    if held:
        yield first, held


def _document_bytes(document: Document, form: str, limit: int) -> bytes:
    data = encoded(document.text, form)
    if len(data) >= limit:
        raise InputError("the document {name} is over the limit of {limit} bytes", name=document.name, limit=limit)
    return data


def _joined_documents(documents: Sequence[bytes]) -> tuple[Bytes, Integers]:
    """Return documents in one row (n + 16,), and where each begins, with the end of the last."""
    size = sum(map(len, documents)) + len(documents)
    text = np.zeros(size + PAD, dtype=np.uint8)
    text[:size] = np.frombuffer(b"".join(data + bytes([END]) for data in documents), dtype=np.uint8)
    return text, np.cumsum([0, *(len(data) + 1 for data in documents)], dtype=np.int64)


def _sorted(first: int, documents: Sequence[bytes]) -> Shard:
    divsufsort = require("pydivsufsort", "audit").divsufsort
    text, starts = _joined_documents(documents)
    suffixes = np.asarray(divsufsort(text[: starts[-1]].copy()), dtype=np.int32)
    keys = words(text)[suffixes[::SAMPLED]].astype(np.uint64)
    return Shard(text, suffixes, keys, first, starts)


_PARTS = ("text", "suffixes", "keys", "starts")


def _kept(directory: Path, number: int, first: int, documents: Sequence[bytes]) -> Shard:
    """Return a shard in a directory, sorted now unless it was before."""
    text, starts = _joined_documents(documents)
    about = _about_shard(first, text, starts)
    done = directory / f"shard-{number:04d}.json"
    if not done.is_file() or done.read_bytes() != canonical_json(about):
        done.unlink(missing_ok=True)
        shard = _sorted(first, documents)
        for part in _PARTS:
            path = _file(directory, number, part)
            with path.with_suffix(".part").open("wb") as stream:
                np.save(stream, getattr(shard, part), allow_pickle=False)
            os.replace(path.with_suffix(".part"), path)
        _write(done, canonical_json(about))
    return _mapped(directory, number, about)


def _about_shard(first: int, text: Bytes, starts: Integers) -> dict[str, Any]:
    digest = show_digest(hashlib.sha256(text.data).digest())
    return {"first": first, "documents": len(starts) - 1, "bytes": len(text) - PAD, "text": digest}


def _described(shard: Shard) -> dict[str, Any]:
    return _about_shard(shard.first, shard.text, shard.starts)


def _mapped(directory: Path, number: int, about: dict[str, Any]) -> Shard:
    text, suffixes, keys, starts = (
        np.load(_file(directory, number, part), mmap_mode="r", allow_pickle=False) for part in _PARTS
    )
    size = about["bytes"]
    shapes = {
        "text": (text, np.uint8, size + PAD),
        "suffixes": (suffixes, np.int32, size),
        "keys": (keys, np.uint64, -(-size // SAMPLED)),
        "starts": (starts, np.int64, about["documents"] + 1),
    }
    for part, (array, kind, length) in shapes.items():
        if array.dtype != kind or array.shape != (length,):
            raise ValueError(f"{part} of shard {number} is of another size")
    return Shard(text, suffixes, keys, about["first"], np.asarray(starts))


def _file(directory: Path, number: int, part: str) -> Path:
    return directory / f"{part}-{number:04d}.npy"


def _about(directory: Path) -> dict[str, Any]:
    try:
        about = parse_json((directory / INDEX).read_bytes())
    except OSError as error:
        raise InputError("{path} is no index of a corpus", path=directory) from error
    known = isinstance(about, dict) and about.get("type") == _TYPE and about.get("form") in FORMS
    if not known or not isinstance(about.get("shards"), list):
        raise InputError("{path} is no index of a corpus", path=directory)
    return dict(about)


def _write(path: Path, data: bytes) -> None:
    path.with_suffix(".part").write_bytes(data)
    os.replace(path.with_suffix(".part"), path)


def _is_sorted(shard: Shard) -> bool:
    """Check suffixes, keys and text against each other: a permutation whose first bytes rise."""
    size = len(shard.suffixes)
    seen = np.zeros(size, dtype=bool)
    if not size or int(shard.suffixes.min()) < 0 or int(shard.suffixes.max()) >= size:
        return False
    seen[shard.suffixes] = True
    keys = shard.words[np.asarray(shard.suffixes)].astype(np.uint64)
    same = np.array_equal(keys[::SAMPLED], shard.keys)
    return bool(seen.all() and same and (keys[1:] >= keys[:-1]).all())


def _is_parted(shard: Shard) -> bool:
    """Check that documents begin where the ones before end."""
    ends = np.flatnonzero(shard.text[: len(shard.suffixes)] == END)
    return np.array_equal(np.concatenate([[0], ends + 1]), shard.starts)


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total, "texts")
