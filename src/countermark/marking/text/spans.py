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
_LOOKED_AT = 2

Floats = NDArray[np.float64]
Counts = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a text of n contexts, added up block by block.

    Attributes:
        places: (n,) of the tokens that follow the contexts, in order.
        block: contexts of a block.
        table: (blocks + 1, CHUNKS, SYMBOLS) running sums of coded contexts' scores for every symbol.
        counts: (blocks + 1, CHUNKS + 1) running numbers of contexts; the last column is the detect contexts'.
        detect: (blocks + 1,) running sums of the detect contexts' scores.
    """

    places: Counts
    block: int
    table: Floats
    counts: Counts
    detect: Floats


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


def block_size(contexts: int) -> int:
    """Return how many contexts of a text are a block."""
    return max(4, -(-contexts // _BLOCKS))


def whole(scores: Scores) -> Span:
    """Return the sums over the whole text."""
    return _span(scores, (0, len(scores.detect) - 1), windows=1)


def best_span(scores: Scores) -> Span | None:
    """Return the window with the least p-value, of those that look best; None where the whole is the only one."""
    blocks = len(scores.detect) - 1
    windows = list(_windows(blocks, max(1, SHORTEST // scores.block)))
    if len(windows) == 1:
        return None
    ends = np.array(windows)
    table = scores.table[ends[:, 1]] - scores.table[ends[:, 0]]
    number = scores.counts[ends[:, 1]] - scores.counts[ends[:, 0]]
    total = scores.detect[ends[:, 1]] - scores.detect[ends[:, 0]]
    looks = _exponent(total, number[:, CHUNKS]) + np.maximum(
        0.0, _exponent(table.max(axis=2), number[:, :CHUNKS]) - np.log(SYMBOLS)
    ).sum(axis=1)
    best = min(
        np.argsort(-looks, kind="stable")[:_LOOKED_AT].tolist(),
        key=lambda i: span_p_value(total[i], int(number[i, CHUNKS]), table[i], number[i, :CHUNKS].tolist()),
    )
    return _span(scores, windows[best], windows=len(windows))


def _span(scores: Scores, ends: tuple[int, int], windows: int) -> Span:
    start, end = ends
    counts = (scores.counts[end] - scores.counts[start]).tolist()
    return Span(
        first=int(scores.places[start * scores.block]),
        last=int(scores.places[min(len(scores.places), end * scores.block) - 1]),
        detect=float(scores.detect[end] - scores.detect[start]),
        detect_count=counts[CHUNKS],
        counts=counts[:CHUNKS],
        table=scores.table[end] - scores.table[start],
        windows=windows,
    )


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


def _exponent(sums: Floats, counts: Counts) -> Floats:
    """Return -ln of about the tail of Gamma(count, 1) at a sum (H. Cramér): n (m - 1 - ln m) at a mean m above 1."""
    mean = np.maximum(1.0, sums / np.maximum(counts, 1))
    return np.asarray(counts * (mean - 1 - np.log(mean)))
