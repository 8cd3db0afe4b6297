"""A 64-bit word as eight symbols of eight bits, read from a table of evidence for each symbol of each chunk.

A table (8, 256) holds in ``[j, s]`` how well a text agrees with symbol s in chunk j. A word's evidence is the sum over
its symbols. Words are permuted identifiers, so those of all licensees but the author are uniform and independent of
the text, and so of the table, however the text was made: the tail of a random word's evidence is the exact probability
that one innocent looks so guilty. It is computed by adding up eight independent values of 256 equally likely entries
each, on a grid to which entries are rounded up, so that the result is never too small.

Laws:
    ``evidence(table, words)[i]`` is ``sum(table[j, symbols(words)[i, j]] for j in range(8))``;
    ``likeliest(table, n)`` is distinct, falls in evidence, and is a prefix of ``likeliest(table, n + 1)``; no word
    outside it has more evidence than its last;
    ``innocent_tail(table, t)`` is at least P(evidence(table, W) >= t) for uniform ``W``, and at least 2**-64 wherever
    some word reaches t.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNKS, SYMBOLS = 8, 256

Table = NDArray[np.float64]
# Points of the grid that tails are computed on: each entry is rounded up by at most a part in so many of the threshold.
_GRID = 4096


def symbols(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the symbols (n, 8) of words (n,), the most significant byte first."""
    return words.astype(">u8").view(np.uint8).reshape(-1, CHUNKS)


def evidence(table: Table, words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the evidence (n,) that a table (8, 256) holds for words (n,)."""
    digits = symbols(words)
    total = np.zeros(len(words))
    for row, digit in zip(table, digits.T, strict=True):
        total += row[digit]
    return total


def likeliest(table: Table, size: int) -> tuple[int, ...]:
    """Return the ``size`` words with the most evidence, best first; of equals, the smaller symbols first."""
    order = np.argsort(-table, axis=1, kind="stable")
    ranked = np.take_along_axis(table, order, axis=1)
    found = []
    for ranks in _best_first(ranked):
        found.append(int.from_bytes(bytes(order[range(CHUNKS), ranks].astype(np.uint8)), "big"))
        if len(found) == size:
            break
    return tuple(found)


def innocent_tail(table: Table, threshold: float) -> float:
    """Bound P(evidence >= ``threshold``) for a word drawn uniformly: 0 where no word reaches it."""
    if threshold > float(table.max(axis=1).sum()):
        return 0.0
    low = table.min(axis=1, keepdims=True)
    rest = threshold - float(low.sum())
    if rest <= 0:
        return 1.0
    step = rest / _GRID
    # What is beyond the threshold is collected in the last cell.
    cells = np.minimum(np.ceil((table - low) / step * (1 - 1e-12)), _GRID).astype(np.intp)
    chances = np.zeros(_GRID + 1)
    chances[0] = 1.0
    for row in cells:
        chances = _shifted(chances, np.bincount(row, minlength=_GRID + 1) / SYMBOLS)
    return min(1.0, float(chances[-1]))


def _shifted(chances: NDArray[np.float64], shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the law of a sum of two independent cells; all additions are of positive numbers, so small ones hold."""
    total = np.zeros_like(chances)
    for shift in np.flatnonzero(shifts):
        moved = chances[: len(chances) - shift]
        total[shift:] += shifts[shift] * moved
        total[-1] += shifts[shift] * float(chances[len(moved) :].sum())
    return total


def _best_first(ranked: Table) -> Iterator[tuple[int, ...]]:
    """Yield ranks of entries, one of each row in falling order, by falling sums.

    Every choice but the first has one parent, which is one rank better in its last row that is not at the best, so each
    is met once.
    """
    steps = ranked[:, :1] - ranked
    heap: list[tuple[float, tuple[int, ...]]] = [(0.0, (0,) * CHUNKS)]
    while heap:
        loss, ranks = heapq.heappop(heap)
        yield ranks
        last = max((row for row, rank in enumerate(ranks) if rank), default=0)
        for row in range(last, CHUNKS):
            if ranks[row] + 1 < SYMBOLS:
                child = (*ranks[:row], ranks[row] + 1, *ranks[row + 1 :])
                heapq.heappush(heap, (loss + float(steps[row, child[row]] - steps[row, ranks[row]]), child))
