"""Near copies: which training passage shares most of its wording with an output, whatever was changed in between.

A text is folded (``reading.fold``) and cut into passages of 512 characters, each beginning half of that after the one
before; a shorter text is one passage. A passage is the set of its *shingles*, all runs of eight characters. Its sketch
is by one-permutation hashing (P. Li, A. Owen, C.-H. Zhang, NeurIPS 2012): the least hash in each of 126 bins, empty
bins filled from others by hashing (A. Shrivastava, Optimal densification, ICML 2017), so that two sketches agree in a
bin with a probability of the two sets' Jaccard coefficient. Passages that agree in all bins of one of 42 bands of three
are candidates; of those with the most equal bins the coefficient is counted exactly, from the shingles themselves.

Laws:
    ``jaccard`` is symmetric, 1 for equal sets, 0 for sets without a common shingle;
    the share of bins in which two sketches agree has the Jaccard coefficient as its mean;
    whatever ``NearIndex.nearest`` says of a coefficient is exact; only which passage it finds is a matter of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.audit.text.reading import Corpus, fold
from countermark.core.progress import Progress
from countermark.errors import InputError

Words = NDArray[np.uint64]
Sketches = NDArray[np.uint32]

SHINGLE, PASSAGE = 8, 512
#: A sketch has so many bins, in bands of three: passages with a coefficient of 0.5 meet with a probability of 0.996.
BINS, _BAND = 126, 3
# Corpora above this do not fit: passages are kept in memory, about twice the bytes of the text.
MAX_BYTES = 2 * 2**30

_STEP = PASSAGE // 2
_EMPTY = np.uint32(0xFFFFFFFF)
# Candidates whose coefficient is counted exactly, and the attempts to fill an empty bin before any other will do.
_RECHECKED, _ATTEMPTS = 16, 64
# Characters whose shingles are hashed at once.
_BLOCK = 2**18
# Odd numbers of splitmix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014).
_GOLDEN, _FIRST, _SECOND = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Near(NamedTuple):
    """The passage that an output shares most with: number of its document, where in its folded text, Jaccard."""

    document: int
    offset: int
    jaccard: float


class NearIndex:
    """Sketches of all passages of a corpus.

    Args:
        corpus: its documents.
        progress: in documents.

    Raises:
        InputError: a corpus over ``MAX_BYTES``.
    """

    def __init__(self, corpus: Corpus, progress: Progress | None = None) -> None:
        if corpus.size > MAX_BYTES:
            raise InputError("near copies are searched in corpora of at most {limit} bytes", limit=MAX_BYTES)
        self._texts: list[str] = []
        places, sketches = [], []
        for number, document in enumerate(corpus.documents()):
            text = fold(document.text)
            self._texts.append(text)
            starts = passages(text)
            places.append(np.stack([np.full(len(starts), number), starts], axis=1))
            sketches.append(sketch(text, starts))
            if progress is not None:
                progress(number + 1, corpus.count, "documents")
        self._places = np.concatenate(places) if places else np.zeros((0, 2), dtype=np.int64)
        self._sketches = np.concatenate(sketches) if sketches else np.zeros((0, BINS), dtype=np.uint32)
        keys = _bands(self._sketches)
        self._order = np.argsort(keys, axis=0, kind="stable").astype(np.int32)
        self._keys = np.take_along_axis(keys, self._order.astype(np.int64), axis=0)

    def nearest(self, text: str, *, least: float = 0.5) -> Near | None:
        """Return the passage of the corpus most like any passage of a text, or None where none is ``least`` like it."""
        folded = fold(text)
        best: Near | None = None
        starts = passages(folded)
        for start, row in zip(starts.tolist(), sketch(folded, starts), strict=True):
            ours = shingles(folded[start : start + PASSAGE])
            for passage in self._candidates(row):
                document, offset = (int(value) for value in self._places[passage])
                theirs = shingles(self._texts[document][offset : offset + PASSAGE])
                found = Near(document, offset, jaccard(ours, theirs))
                if found.jaccard >= least and (best is None or found.jaccard > best.jaccard):
                    best = found
        return best

    def _candidates(self, row: Sketches) -> list[int]:
        """Return passages that share a band with a sketch, those with the most equal bins first."""
        found: list[NDArray[np.int32]] = []
        for band, key in enumerate(_bands(row[None, :])[0]):
            column = self._keys[:, band]
            start, end = np.searchsorted(column, key, "left"), np.searchsorted(column, key, "right")
            found.append(self._order[start:end, band])
        rows = np.unique(np.concatenate(found))
        equal = (self._sketches[rows] == row).sum(axis=1)
        return [int(each) for each in rows[np.argsort(-equal, kind="stable")][:_RECHECKED]]


def passages(text: str) -> NDArray[np.int64]:
    """Return where the passages of a folded text begin, (n,); none in a text shorter than a shingle."""
    if len(text) < SHINGLE:
        return np.zeros(0, dtype=np.int64)
    last = max(0, len(text) - PASSAGE)
    return np.array([*range(0, last, _STEP), last], dtype=np.int64)


def shingles(text: str) -> frozenset[str]:
    """Return all runs of eight characters of a text."""
    return frozenset(text[at : at + SHINGLE] for at in range(len(text) - SHINGLE + 1))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return how many shingles two sets share, of all that either has; 0 of empty sets."""
    both = len(first | second)
    return len(first & second) / both if both else 0.0


def sketch(text: str, starts: NDArray[np.int64]) -> Sketches:
    """Return the sketches of a folded text's passages (n, 126)."""
    if not len(starts):
        return np.zeros((0, BINS), dtype=np.uint32)
    characters = np.frombuffer(text.encode("utf-32-le", errors="replace"), dtype=np.uint32).astype(np.uint64)
    hashes = _hashes(characters)
    inside = min(PASSAGE, len(characters)) - SHINGLE + 1
    bins, values = (hashes % np.uint64(BINS)).astype(np.int64), (hashes >> np.uint64(33)).astype(np.uint32)
    rows = []
    step = max(1, _BLOCK // inside)
    for first in range(0, len(starts), step):
        part = starts[first : first + step]
        at = part[:, None] + np.arange(inside)
        least = np.full((len(part), BINS), _EMPTY, dtype=np.uint32)
        np.minimum.at(least, (np.arange(len(part))[:, None], bins[at]), values[at])
        rows.append(_filled(least))
    return np.concatenate(rows)


def _hashes(characters: Words) -> Words:
    """Return a 64-bit hash of each run of eight characters (n - 7,)."""
    count = len(characters) - SHINGLE + 1
    total = np.zeros(count, dtype=np.uint64)
    for place in range(SHINGLE):
        total = total * _GOLDEN + _mixed(characters[place : place + count] + np.uint64(place + 1))
    return _mixed(total)


def _mixed(values: Words) -> Words:
    """Return splitmix64's finalizer of each value."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def _filled(least: Sketches) -> Sketches:
    """Fill empty bins from bins that a fixed hash of bin and attempt names, the first of them that is not empty."""
    filled = least.copy()
    rows, bins = np.nonzero(least == _EMPTY)
    for attempt in range(_ATTEMPTS):
        if not len(rows):
            break
        chosen = (_mixed((bins * _ATTEMPTS + attempt + 1).astype(np.uint64) * _GOLDEN) % np.uint64(BINS)).astype(
            np.int64
        )
        values = least[rows, chosen]
        filled[rows, bins] = values
        rows, bins = rows[values == _EMPTY], bins[values == _EMPTY]
    if len(rows):
        filled[rows, bins] = least.min(axis=1)[rows]
    return filled


def _bands(sketches: Sketches) -> Words:
    """Return one number for each band of three bins, (n, 42)."""
    parts = sketches.astype(np.uint64).reshape(len(sketches), BINS // _BAND, _BAND)
    total = np.zeros(parts.shape[:2], dtype=np.uint64)
    for place in range(_BAND):
        total = _mixed(total * _GOLDEN + parts[:, :, place] + np.uint64(1))
    return total


def agreement(first: Sketches, second: Sketches) -> float:
    """Return the share of bins in which two sketches (126,) agree: an estimate of the Jaccard coefficient."""
    return float((first == second).mean())


def like(texts: Sequence[str], index: NearIndex, *, least: float = 0.5) -> list[Near | None]:
    """Return ``nearest`` of each text."""
    return [index.nearest(text, least=least) for text in texts]
