"""An interpolated Kneser-Ney trigram model: what a language model of the same tokens has to beat.

R. Kneser and H. Ney, Improved backing-off for m-gram language modeling, ICASSP 1995, in the interpolated form with
three discounts of each order (S. F. Chen and J. Goodman, Computer Speech and Language 13, 1999, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Order:
    """Counts of the n-grams of one order: sorted keys with counts, sorted contexts with totals and back-off weights."""

    keys: Tokens
    counts: Floats
    contexts: Tokens
    totals: Floats
    backoff: Floats
    discounts: Floats


class KneserNey:
    """A trigram model of a row of tokens, each from 0 to ``vocabulary - 1``."""

    def __init__(self, tokens: Tokens, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        trigrams = np.unique(self._keys(tokens, 3), return_counts=True)
        # Lower orders count how many different words came before, not how often.
        bigrams = np.unique(trigrams[0] % vocabulary**2, return_counts=True)
        unigrams = np.unique(bigrams[0] % vocabulary, return_counts=True)
        self._orders = [self._order(*counted) for counted in (unigrams, bigrams, trigrams)]

    def log_probabilities(self, tokens: Tokens) -> Floats:
        """Return ln P(token | the two before) for every token from the third on."""
        probability = np.full(len(tokens) - 2, 1.0 / self._vocabulary)
        for n, order in enumerate(self._orders, start=1):
            keys = self._keys(tokens, n)[3 - n :]
            contexts = keys // self._vocabulary
            count = _found(order.keys, order.counts, keys)
            total = _found(order.contexts, order.totals, contexts)
            weight = _found(order.contexts, order.backoff, contexts)
            discounted = np.maximum(0.0, count - order.discounts[np.minimum(count, 3).astype(int)])
            seen = total > 0
            probability[seen] = discounted[seen] / total[seen] + weight[seen] * probability[seen]
        return np.log(probability)

    def _keys(self, tokens: Tokens, n: int) -> Tokens:
        """Return every n-gram as one number, the oldest word in front."""
        keys = np.zeros(len(tokens) - n + 1, dtype=np.int64)
        for i in range(n):
            keys = keys * self._vocabulary + tokens[i : len(tokens) - n + 1 + i]
        return keys

    def _order(self, keys: Tokens, counts: NDArray[np.intp]) -> _Order:
        discounts = _discounts(counts)
        contexts, starts = np.unique(keys // self._vocabulary, return_index=True)
        taken = discounts[np.minimum(counts, 3)]
        totals = np.add.reduceat(counts.astype(np.float64), starts)
        return _Order(
            keys, counts.astype(np.float64), contexts, totals, np.add.reduceat(taken, starts) / totals, discounts
        )


def _discounts(counts: NDArray[np.intp]) -> Floats:
    """Return what is taken off counts of 0, 1, 2, and 3 or more."""
    n1, n2, n3, n4 = (max(1, int((counts == i).sum())) for i in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return np.clip(found, 0.0, np.array([0.0, 1.0, 2.0, 3.0]))


def _found(keys: Tokens, values: Floats, wanted: Tokens) -> Floats:
    """Return the values of wanted keys, 0 where one is not there."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0.0)
