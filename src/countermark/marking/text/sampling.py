"""The sampling mark: which of the likely tokens a language model takes next is decided by a keyed draw.

**Writing.** Every token v of probability p_v gets a keyed uniform number r_v, and the token with the largest
``r_v ** (1 / p_v)`` is taken (S. Aaronson's Gumbel sampling, as told in J. Fernandez et al., arXiv 2308.00113, section
2.2): over the keys, token v is taken with probability p_v exactly, so one choice shows nothing. r depends on the
*context*, the two tokens before, and in most contexts on one of the eight symbols of the licensee's word as well. A
context that was used before in a conversation would bring the same numbers again, so it is sampled afresh.

**Reading** needs neither the model nor the probabilities. The score -ln(1 - r) of a token is large where the key chose
it. Each pair of context and token counts once. Scores of *detect* contexts, which depend on no word, and the evidence
of the best word say whether the key is ours (``null``); the table of evidence for each symbol of each chunk says whose
word it is (``codewords``). Parts of a text are searched: windows of all sizes, each by itself.

Laws:
    over the keys, ``choose`` takes a token with its probability;
    what ``detect`` returns is ``recompute`` of its observations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.text.codewords import CHUNKS, SYMBOLS, symbols
from countermark.marking.text.observations import MAX_CONTEXTS, recompute
from countermark.marking.text.prf import CONTEXT, NO_CHUNK, NO_SYMBOL, Prf
from countermark.marking.text.spans import SHORTEST, Scores, best_span

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]


class TextMark:
    """Chooses tokens for words, and detects the choices, under one key.

    Args:
        secret: the embedding half of a detection key.
        key_id: public name of the key, repeated in detections.
    """

    METHOD = f"text.gumbel/1;context={CONTEXT};code={CHUNKS}x{SYMBOLS};slots=16+3;prf=aes256"

    def __init__(self, secret: Secret, *, key_id: str = "") -> None:
        self.key_id, self._prf = key_id, Prf(secret)

    def choose(self, log_probabilities: NDArray[np.float32], contexts: Tokens, words: NDArray[np.uint64]) -> Tokens:
        """Return the next tokens (n,).

        Args:
            log_probabilities: (n, vocabulary), natural logarithms, -inf where a token must not be taken; any constant
                may be added to a row.
            contexts: (n, CONTEXT) the last tokens of every row.
            words: (n,) the word of each row.
        """
        seeds, chunks = self._prf.seeds(contexts)
        digits = np.append(symbols(words), np.zeros((len(words), 1), np.uint8), axis=1)
        chosen = np.where(chunks == NO_CHUNK, NO_SYMBOL, digits[np.arange(len(words)), chunks]).astype(np.intp)
        bits = self._prf.all_numbers(seeds, chosen, log_probabilities.shape[1])
        # r ** (1 / p) is largest where -ln r / p is smallest.
        return np.asarray(np.argmax(log_probabilities - np.log(_waiting(bits)), axis=1))

    def detect(self, *texts: Tokens) -> Detection | NotExamined:
        """Look for the mark in a text's tokens (n,), or in several texts that are read as one, whole.

        Raises:
            InputError: tokens that are not whole numbers from 0 on.
        """
        scores = self._scores(texts)
        if not SHORTEST <= len(scores.places) <= MAX_CONTEXTS:
            return NotExamined("too-short", f"the text has fewer than {SHORTEST} different contexts, or too many")
        span = best_span(scores, search=len(texts) == 1)
        observations = {
            # Rounded down, so that the recomputed statistic is never above the observed one.
            "detect": math.floor(span.detect * 1e3) / 1e3,
            "detect_count": span.detect_count,
            "counts": span.counts,
            "table": (np.floor(np.maximum(span.table, 0.0) * 1e3) / 1e3).tolist(),
            "windows": span.windows,
        }
        result = recompute(observations)
        return Detection(
            method=self.METHOD,
            key_id=self.key_id,
            p_value=result.p_value,
            statistic=result.statistic,
            trials=result.trials,
            searched=result.searched,
            word=result.word,
            words=result.words,
            words_tried=result.words_tried,
            geometry={"first": span.first, "last": span.last},
            observations=observations,
        )

    def _scores(self, texts: Sequence[Tokens]) -> Scores:
        """Return what the texts' tokens score, every context once, the first time it is met."""
        grams = np.concatenate([_grams(text) for text in texts])
        _, first = np.unique(grams[:, :CONTEXT], axis=0, return_index=True)
        places = np.sort(first)
        contexts, following = grams[places, :CONTEXT], grams[places, CONTEXT]
        seeds, chunks = self._prf.seeds(contexts)
        coded = chunks < NO_CHUNK
        every = np.broadcast_arrays(seeds[coded, None], np.arange(SYMBOLS), following[coded, None])
        none = np.full(int((~coded).sum()), NO_SYMBOL)
        plain = self._prf.numbers(seeds[~coded], none, following[~coded])
        return Scores(places + CONTEXT, chunks, _score(plain), _score(self._prf.numbers(*every)))


def _grams(text: Tokens) -> Tokens:
    """Return every context with the token that follows, (n - CONTEXT, CONTEXT + 1)."""
    if text.ndim != 1 or text.dtype.kind not in "iu" or (len(text) and int(text.min()) < 0):
        raise InputError("a text is a row of tokens, whole numbers from 0 on")
    if len(text) <= CONTEXT:
        return np.zeros((0, CONTEXT + 1), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(text.astype(np.int64), CONTEXT + 1)


def _score(bits: NDArray[np.uint32]) -> Floats:
    """Return -ln(1 - r), 1 - r being the middle of one of 2**32 equal parts."""
    return np.asarray(-np.log((bits + 0.5) * 2.0**-32))


def _waiting(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return -ln r in single precision, never 0 nor infinite: small ones, which are chosen, are the precise ones."""
    rest = (bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    return np.asarray(-np.log1p(-np.minimum(rest, np.float32(1 - 2.0**-24))))
