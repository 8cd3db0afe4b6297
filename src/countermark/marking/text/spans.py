"""The part of a text that shows most of a mark: windows of all sizes over its scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.marking.text.codewords import CHUNKS, SYMBOLS
from countermark.marking.text.observations import span_p_value

# Windows are at least so many contexts long, begin at quarters of their length, and blocks are what they are made of.
SHORTEST, _BLOCKS = 16, 1024
# Exact p-values are computed for the few windows that look best.
_LOOKED_AT = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a text, context by context, in order.

    ``places`` (n,): of the tokens. ``chunks`` (n,): CHUNKS for detect contexts. ``plain``: of detect contexts, in
    order; ``table`` (k, SYMBOLS): of the others.
    """

    places: NDArray[np.intp]
    chunks: NDArray[np.intp]
    plain: Floats
    table: Floats


@dataclass(frozen=True, slots=True)
class Span:
    """Sums over the contexts of a part of a text, first and last token's places included."""

    first: int
    last: int
    detect: float
    detect_count: int
    counts: list[int]
    table: Floats
    windows: int


def best_span(scores: Scores, *, search: bool) -> Span:
    """Return the window with the least p-value, of those that look best, or the whole text without ``search``."""
    size = len(scores.places)
    block = max(4, -(-size // _BLOCKS))
    blocks = -(-size // block)
    sums, counts, detect = _blocks(scores, block, blocks)
    windows = list(_windows(blocks, max(1, SHORTEST // block))) if search else [(0, blocks)]
    ends = np.array(windows)
    table = sums[ends[:, 1]] - sums[ends[:, 0]]
    number = counts[ends[:, 1]] - counts[ends[:, 0]]
    total = detect[ends[:, 1]] - detect[ends[:, 0]]
    looks = _exponent(total, number[:, CHUNKS]) + np.maximum(
        0.0, _exponent(table.max(axis=2), number[:, :CHUNKS]) - np.log(SYMBOLS)
    ).sum(axis=1)
    best = min(
        np.argsort(-looks, kind="stable")[:_LOOKED_AT].tolist(),
        key=lambda i: span_p_value(total[i], int(number[i, CHUNKS]), table[i], number[i, :CHUNKS].tolist()),
    )
    first, last = int(ends[best, 0]) * block, min(size, int(ends[best, 1]) * block) - 1
    return Span(
        first=int(scores.places[first]),
        last=int(scores.places[last]),
        detect=float(total[best]),
        detect_count=int(number[best, CHUNKS]),
        counts=number[best, :CHUNKS].tolist(),
        table=table[best],
        windows=len(windows),
    )


def _blocks(scores: Scores, block: int, blocks: int) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Return running sums over blocks: of the table (blocks + 1, CHUNKS, SYMBOLS), of contexts, of detect scores."""
    at = np.arange(len(scores.chunks)) // block
    coded = scores.chunks < CHUNKS
    sums = np.zeros((blocks + 1, CHUNKS, SYMBOLS))
    np.add.at(sums, (at[coded] + 1, scores.chunks[coded]), scores.table)
    counts = np.zeros((blocks + 1, CHUNKS + 1), dtype=np.intp)
    np.add.at(counts, (at + 1, scores.chunks), 1)
    detect = np.zeros(blocks + 1)
    np.add.at(detect, at[~coded] + 1, scores.plain)
    return sums.cumsum(axis=0), counts.cumsum(axis=0), detect.cumsum(axis=0)


def _windows(blocks: int, shortest: int) -> Iterator[tuple[int, int]]:
    """Yield the whole, and windows of half the length, a quarter, ..., each length at quarters of itself."""
    length = blocks
    while True:
        step = max(1, length // 4)
        yield from ((start, start + length) for start in range(0, blocks - length + 1, step))
        if (blocks - length) % step:
            yield blocks - length, blocks
        if length // 2 < shortest:
            return
        length //= 2


def _exponent(sums: Floats, counts: NDArray[np.intp]) -> Floats:
    """Return -ln of about the tail of Gamma(count, 1) at a sum (H. Cramér): n (m - 1 - ln m) at a mean m above 1."""
    mean = np.maximum(1.0, sums / np.maximum(counts, 1))
    return np.asarray(counts * (mean - 1 - np.log(mean)))
