"""The search for longest matches: of many starts at once, in the sorted suffixes of one part of a corpus.

A *probe* is one start in an output. All probes of a batch are sorted, sampled suffixes place each between two that are
a few apart, and one binary search for all at once, eight bytes a comparison and never again over bytes that are known
to agree (U. Manber, G. Myers, SIAM J. Comput. 22, 1993), ends between the two neighbors of the probe: the longer
agreement with one of them is the longest match.

Where only the longest match of a whole text is asked for, every eighth start is searched first. A match at i is at most
k longer than the one at i + k, so nearly all other starts are known to be no better and are left out; the answer is the
same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.errors import require

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: The byte that ends a document, and the one that ends an output; no UTF-8 text holds either.
END, BREAK = 0xFF, 0xFE
#: Every so many suffixes one is a key.
SAMPLED = 8
#: Bytes after a shard's text that may be read with its last.
PAD = 16

# Bytes of outputs that are searched at once, and how many starts are looked at first.
_BATCH, _STRIDE = 2**18, 8


class Match(NamedTuple):
    """The longest match of one text.

    Attributes:
        length: in bytes.
        start: where it begins in the text, in bytes of its form.
        document: number of the document, -1 of no match.
        offset: where it begins in the document, in bytes of its form.
    """

    length: int
    start: int
    document: int
    offset: int


@dataclass(frozen=True, eq=False)
class Shard:
    """One part of the corpus: ``text`` (n + 16,), ``suffixes`` (n,), ``keys`` of every eighth suffix."""

    text: Bytes
    suffixes: NDArray[np.int32]
    keys: Words
    first: int
    starts: Integers

    @property
    def words(self) -> Any:
        """Eight bytes from every byte on, as one big-endian number."""
        return words(self.text)


def batches(texts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield texts in groups that are searched at once."""
    held: list[bytes] = []
    size = 0
    for text in texts:
        if held and size + len(text) > _BATCH:
            yield held
            held, size = [], 0
        held.append(text)
        size += len(text) + 1
    if held:
        yield held


def joined_texts(texts: Sequence[bytes]) -> tuple[Bytes, Integers]:
    """Return texts in one row, each ended by a byte that no corpus holds, and where each ends."""
    joined = np.frombuffer(b"".join(text + bytes([BREAK]) for text in texts), dtype=np.uint8).copy()
    return joined, np.cumsum([len(text) + 1 for text in texts]) - 1


def longest_in(shard: Shard, joined: Bytes, ends: Integers) -> list[Match]:
    """Return the longest match of each text of a batch in one shard."""
    order = sorted_starts(joined)
    lengths = np.full(len(joined), -1, dtype=np.int64)
    places = np.zeros(len(joined), dtype=np.int64)

    def look(starts: Integers) -> None:
        lengths[starts], places[starts] = search(shard, joined, starts)

    look(order[order % _STRIDE == 0])
    begins = np.concatenate([[0], ends[:-1] + 1])
    best = np.maximum.reduceat(lengths, begins)
    # The next start that was looked at: beyond the row there is nothing to match.
    gap = -np.arange(len(joined)) % _STRIDE
    following = np.append(lengths[::_STRIDE], 0)[(np.arange(len(joined)) + gap) // _STRIDE]
    text_of = np.repeat(np.arange(len(ends)), ends - begins + 1)
    # At least as long as the best so far, so that the first start of several is found.
    open_ = (lengths < 0) & (gap + following >= np.maximum(best[text_of], 1))
    look(order[open_[order]])
    return [_match(shard, lengths[a : b + 1], places[a : b + 1]) for a, b in zip(begins, ends, strict=True)]


def search(shard: Shard, joined: Bytes, starts: Integers) -> tuple[Integers, Integers]:
    """Return the longest match from each of some starts on (m,), and where it stands in the shard.

    Args:
        shard: to search.
        joined: texts in one row, see ``joined_texts``.
        starts: (m,), in the order of what begins there, so that neighbors walk the same way through the suffixes.
    """
    if not len(starts):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    asked = words(np.concatenate([joined, np.full(PAD, BREAK, dtype=np.uint8)]))
    low, high, at_low, at_high = _bracket(shard, asked[starts].astype(np.uint64))
    found_low, found_high = at_low.copy(), at_high.copy()
    rank_low, rank_high = low.copy(), high.copy()
    corpus, suffixes = shard.words, shard.suffixes
    rows = np.flatnonzero(high - low > 1)
    place, low, high, at_low, at_high = (each[rows] for each in (starts, low, high, at_low, at_high))
    while len(rows):
        middle = (low + high) >> 1
        known = np.minimum(at_low, at_high)
        agreed, is_less = _compare(corpus, suffixes[middle], asked, place, known)
        low, at_low = np.where(is_less, middle, low), np.where(is_less, agreed, at_low)
        high, at_high = np.where(is_less, high, middle), np.where(is_less, at_high, agreed)
        is_done = high - low <= 1
        done = rows[is_done]
        rank_low[done], rank_high[done] = low[is_done], high[is_done]
        found_low[done], found_high[done] = at_low[is_done], at_high[is_done]
        rows, place, low, high, at_low, at_high = (each[~is_done] for each in (rows, place, low, high, at_low, at_high))
    is_low = found_low >= found_high
    rank = np.clip(np.where(is_low, rank_low, rank_high), 0, len(suffixes) - 1)
    return np.where(is_low, found_low, found_high), suffixes[rank].astype(np.int64)


def sorted_starts(joined: Bytes) -> Integers:
    """Return all starts of a row of texts, in the order of what begins there."""
    order = require("pydivsufsort", "audit").divsufsort(joined)
    return np.asarray(order, dtype=np.int64)


def words(data: Bytes) -> Any:
    """Return the eight bytes from every byte on as one big-endian number, (n - 7,), without a copy."""
    return np.ndarray((len(data) - 7,), dtype=">u8", buffer=data, strides=(1,))


def _match(shard: Shard, lengths: Integers, places: Integers) -> Match:
    start = int(lengths.argmax())
    length, place = int(lengths[start]), int(places[start])
    if length <= 0:
        return Match(0, 0, -1, 0)
    document = int(np.searchsorted(shard.starts, place, side="right")) - 1
    return Match(length, start, shard.first + document, place - int(shard.starts[document]))


def _bracket(shard: Shard, wanted: Words) -> tuple[Integers, Integers, Integers, Integers]:
    """Return ranks of a suffix before and one after each probe, and how many bytes of theirs agree with it."""
    size, count = len(shard.suffixes), len(shard.keys)
    before = np.searchsorted(shard.keys, wanted, side="left") - 1
    after = np.searchsorted(shard.keys, wanted, side="right")
    none = np.zeros(len(wanted), dtype=np.int64)
    at_low = np.where(before >= 0, _agreeing(shard.keys[np.maximum(before, 0)] ^ wanted), none)
    at_high = np.where(after < count, _agreeing(shard.keys[np.minimum(after, count - 1)] ^ wanted), none)
    low = np.where(before >= 0, before * SAMPLED, -1)
    return low, np.where(after < count, after * SAMPLED, size), at_low, at_high


def _compare(
    corpus: Any, suffixes: NDArray[np.int32], asked: Any, places: Integers, known: Integers
) -> tuple[Integers, NDArray[np.bool_]]:
    """Return how many bytes of suffixes and probes agree, and which suffixes come first; ``known`` agree already."""
    agreed = known.copy()
    theirs = corpus[suffixes + known].astype(np.uint64)
    ours = asked[places + known].astype(np.uint64)
    same = np.flatnonzero(theirs == ours)
    while len(same):
        agreed[same] += 8
        theirs[same] = corpus[suffixes[same] + agreed[same]]
        ours[same] = asked[places[same] + agreed[same]]
        same = same[theirs[same] == ours[same]]
    return agreed + _agreeing(theirs ^ ours), theirs < ours


def _agreeing(difference: Words) -> Integers:
    """Return how many leading bytes of eight are zero, (n,); 8 where all are.

    Of each number only the highest bit is left, roughly: so that rounding to a float cannot carry into the next one.
    """
    top = (difference & ~(difference >> np.uint64(1))).astype(np.float64)
    exponent = (top.view(np.int64) >> 52) - 1023
    return np.where(difference == 0, 8, 7 - (exponent >> 3))
