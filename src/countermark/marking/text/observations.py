"""What a reading of the sampling mark proves: p-value and words from the scores of one span of a text.

**The null** is "this text does not depend on the key"; ``null`` says why each pair of context and token that counts has
an independent standard exponential score. Detect contexts and coded contexts are different contexts, so their two
p-values are independent, and are joined by Fisher's product. The span is chosen among ``windows`` by all scores, so its
p-value is multiplied by their number.

**Registered words.** The evidence for one word that is fixed beforehand, and the detect contexts' scores, add up to a
Gamma variable of as many contexts (``SymbolTable.unmarked_tail``). Who knows all N words that there are may so ask for
the best of these few instead of the best of all 2**64, at the price of a factor N.

Innocent licensees are another matter. Given the text, the key and the span, their words are uniform
(``codewords.innocent_tail``), so that neither the search for the span nor the mark of somebody else accuses them.

Laws:
    ``without`` raises no evidence, and lowers only that of the words that it is given;
    ``recompute(detection.observations)`` equals the detection, without key and text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.stats import fisher_product
from countermark.errors import InputError
from countermark.marking.text.codewords import CHUNKS, SYMBOLS, Table, evidence, innocent_tail, likeliest, symbols
from countermark.marking.text.null import best_word_tail, gamma_tail

LIST = 16
# A score is at most 33 ln 2; texts are read in parts of at most so many contexts.
_HIGHEST, MAX_CONTEXTS = 23.0, 50_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """The evidence that a span of a text holds for every word, as tracing asks for it.

    Attributes:
        values: (8, 256) sums of scores for each symbol of each chunk.
        detect: sum of the detect contexts' scores.
        contexts: how many contexts there are, of both kinds.
        windows: how many spans the text was searched in.
    """

    values: Table
    detect: float
    contexts: int
    windows: int

    def agreement(self, words: NDArray[np.uint64]) -> Floats:
        """Return the evidence for words (n,)."""
        return evidence(self.values, words)

    def tail(self, agreement: float) -> float:
        """Bound the probability that a random word has as much evidence."""
        return innocent_tail(self.values, agreement)

    def unmarked_tail(self, agreement: float) -> float:
        """Bound the probability that one fixed word has as much evidence in text that carries no mark of the key."""
        return min(1.0, self.windows * gamma_tail(self.contexts, self.detect + agreement))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What follows from soft observations alone; the fields mean what they mean in ``Detection``."""

    p_value: float
    statistic: float
    trials: int
    searched: int
    word: int
    words: tuple[int, ...]
    words_tried: int
    table: SymbolTable


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return p-value, words and table from a detection's soft observations.

    Args:
        observations: ``detect``, the sum of scores in ``detect_count`` detect contexts; ``counts``, contexts of each
            of the 8 chunks; ``table``, 8 lists of the sums of scores for 256 symbols; ``windows``, how many spans the
            text was searched in.

    Raises:
        InputError: a list of another length, a value that is not a number in its range.
    """
    detected, windows = (_integer(observations, name, low) for name, low in (("detect_count", 0), ("windows", 1)))
    total = float(_numbers([observations.get("detect")], (1,), detected)[0])
    counts = [_integer({"counts": each}, "counts", 0) for each in _list(observations, "counts", CHUNKS)]
    table = np.stack(
        [_numbers(row, (SYMBOLS,), n) for row, n in zip(_list(observations, "table", CHUNKS), counts, strict=True)]
    )
    p_value = span_p_value(total, detected, table, counts)
    words = likeliest(table, LIST)
    trials = detected + sum(counts)
    return Recomputed(
        p_value=min(1.0, windows * p_value),
        statistic=math.fsum([total, *table.max(axis=1).tolist()]) / max(1, trials),
        trials=trials,
        searched=windows,
        word=words[0],
        words=words,
        words_tried=len(words),
        table=SymbolTable(table, total, trials, windows),
    )


def without(observations: Mapping[str, Any], words: NDArray[np.uint64]) -> dict[str, Any]:
    """Return the observations with the evidence for some words' symbols lowered to the mean of their chunks.

    Where their authors are known, what they wrote hides whoever else did: words that share a few of their symbols by
    chance have as much evidence as another author's. Nothing is raised, so p_ours stays a bound; and what is lowered
    does not depend on the words of the others, so that p_innocent stays exact for them.

    Args:
        observations: as for ``recompute``, which has accepted them.
        words: (n,) of the authors who are known.
    """
    table = np.array(observations["table"], dtype=np.float64)
    means = np.floor(table.mean(axis=1) * 1e3) / 1e3
    for digits in symbols(words):
        places = (np.arange(CHUNKS), digits.astype(np.intp))
        table[places] = np.minimum(table[places], means)
    return {**observations, "table": table.tolist()}


def span_p_value(total: float, detected: int, table: Floats, counts: list[int]) -> float:
    """Return the p-value of one span: Fisher's product of the detect contexts' and the best word's."""
    best = math.fsum(table.max(axis=1).tolist())
    return fisher_product(gamma_tail(detected, total), best_word_tail(counts, best))


def _list(observations: Mapping[str, Any], name: str, length: int) -> list[Any]:
    values = observations.get(name)
    if not isinstance(values, list) or len(values) != length:
        raise InputError("the observations need {count} {name}", count=length, name=name)
    return values


def _numbers(values: Any, shape: tuple[int], count: int) -> Floats:
    if not isinstance(values, list) or len(values) != shape[0]:
        raise InputError("the observations need {count} {name}", count=shape[0], name="table")
    highest = count * _HIGHEST
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= highest for v in values):
        raise InputError("{name} holds something that is not a number in range", name="table")
    return np.array(values, dtype=np.float64)


def _integer(observations: Mapping[str, Any], name: str, low: int) -> int:
    value = observations.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= MAX_CONTEXTS:
        raise InputError("the observations need a whole number {name} in its range", name=name)
    return value
