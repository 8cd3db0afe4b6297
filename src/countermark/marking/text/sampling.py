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
    what ``detect`` and ``look`` return is ``recompute`` of its observations;
    copies of a text add nothing to it.
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
from countermark.marking.text.spans import SHORTEST, Scores, Span, best_span, block_size, whole

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]
Text = Tokens | Sequence[Tokens]

# Contexts whose scores for every symbol are computed at a time.
_AT_ONCE = 4096


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
        bits = self._prf.all_numbers(seeds, _asked(words, chunks), log_probabilities.shape[1])
        # r ** (1 / p) is largest where -ln r / p is smallest.
        return np.asarray(np.argmax(log_probabilities - np.log(_waiting(bits)), axis=1))

    def detect(self, *texts: Text) -> Detection | NotExamined:
        """Look for the mark in a text, or in several texts that are read as one, whole.

        Args:
            texts: each a row of tokens (n,), or several rows: readings of one excerpt that differ at its edges.

        Raises:
            InputError: tokens that are not whole numbers from 0 on.
        """
        scores = self._scores(texts)
        return scores if isinstance(scores, NotExamined) else self._report(whole(scores), places=len(texts) == 1)

    def look(self, text: Text) -> tuple[Detection, ...] | NotExamined:
        """Look for the mark in a text as a whole, and, where it is long enough to have parts, in its best part.

        Raises:
            InputError: as ``detect``.
        """
        scores = self._scores((text,))
        if isinstance(scores, NotExamined):
            return scores
        return tuple(self._report(span, places=True) for span in (whole(scores), best_span(scores)) if span is not None)

    def scores(self, text: Tokens, word: int) -> Floats:
        """Return what each token of a text (n,) scores for a word; NaN where it does not count."""
        grams, found = _grams(text), np.full(len(text), np.nan)
        places = _first_met(grams[:, :CONTEXT])
        seeds, chunks = self._prf.seeds(grams[places, :CONTEXT])
        asked = _asked(np.full(len(places), word, dtype=np.uint64), chunks)
        found[places + CONTEXT] = _score(self._prf.numbers(seeds, asked, grams[places, CONTEXT]))
        return found

    def _report(self, span: Span, *, places: bool) -> Detection:
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
            geometry={"first": span.first, "last": span.last} if places else {},
            observations=observations,
        )

    def _scores(self, texts: Sequence[Text]) -> Scores | NotExamined:
        """Return what the texts' tokens score, every context once, the first time it is met."""
        rows = [row for text in texts for row in ([text] if isinstance(text, np.ndarray) else text)]
        grams = np.concatenate([np.zeros((0, CONTEXT + 1), np.int64), *map(_grams, rows)])
        following_at = np.concatenate([np.arange(CONTEXT, len(row)) for row in rows] or [np.arange(0)])
        places = _first_met(grams[:, :CONTEXT])
        if len(places) < SHORTEST:
            return NotExamined("too-short", f"the text has fewer than {SHORTEST} different contexts")
        if len(places) > MAX_CONTEXTS:
            return NotExamined("too-long", f"the text has more than {MAX_CONTEXTS} different contexts")
        contexts, following = grams[places, :CONTEXT], grams[places, CONTEXT]
        seeds, chunks = self._prf.seeds(contexts)
        block = block_size(len(places))
        at, coded = np.arange(len(places)) // block + 1, np.flatnonzero(chunks < NO_CHUNK)
        blocks = int(at[-1])
        table, counts, detect = (np.zeros((blocks + 1, *shape)) for shape in ((CHUNKS, SYMBOLS), (CHUNKS + 1,), ()))
        for start in range(0, len(coded), _AT_ONCE):
            part = coded[start : start + _AT_ONCE]
            every = np.broadcast_arrays(seeds[part, None], np.arange(SYMBOLS), following[part, None])
            np.add.at(table, (at[part], chunks[part]), _score(self._prf.numbers(*every)))
        plain = np.flatnonzero(chunks == NO_CHUNK)
        none = np.full(len(plain), NO_SYMBOL)
        np.add.at(detect, at[plain], _score(self._prf.numbers(seeds[plain], none, following[plain])))
        np.add.at(counts, (at, chunks), 1)
        return Scores(
            following_at[places],
            block,
            table.cumsum(axis=0),
            counts.cumsum(axis=0).astype(np.intp),
            detect.cumsum(),
        )


def _asked(words: NDArray[np.uint64], chunks: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return each word's symbol (n,) of its chunk, NO_SYMBOL of none."""
    digits = np.full((len(words), CHUNKS + 1), NO_SYMBOL, dtype=np.intp)
    digits[:, :NO_CHUNK] = symbols(words)
    return digits[np.arange(len(words)), chunks]


def _first_met(contexts: Tokens) -> NDArray[np.intp]:
    """Return where contexts (n, CONTEXT) are met for the first time, in order."""
    _, first = np.unique(contexts, axis=0, return_index=True)
    return np.sort(first)


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
