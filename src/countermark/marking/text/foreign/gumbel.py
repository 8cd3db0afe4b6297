"""The Gumbel watermark of vLLM and of engines that follow it (S. Aaronson's, as in arXiv 2308.00113, section 2.2).

**The scheme.** Of the likely tokens the one with the largest ``r ** (1 / p)`` is taken, r being keyed random numbers
(``prf``) of the token and of the ``context_width`` tokens before it, -1 where there are none. With *two keys*, which
speculative decoding needs, each token is chosen by one of two keys derived from the first.

**The null** is "the text does not depend on the key": random numbers of different contexts are independent. A number of
24 bits is rounded down, so that its score -ln(1 - r) is at most a standard exponential variable, and the sum of n
scores at most a Gamma(n, 1) one. Each context counts once, with the token that follows it first. Two keys have two
sums, which are independent, and their p-values are joined by Fisher's product, exactly, without knowing how often
each key was used; the engine's own detector weighs the two and takes the sum for a Gamma variable, which it is not.

As far as the random numbers are independent: HMAC is a cryptographic function, Philox passes statistical tests.

Laws:
    ``recompute(detection.observations)`` equals the detection, without key and text;
    copies of a text add nothing to it;
    over the keys, ``choose`` takes a token with its probability, up to the numbers' 24 bits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from countermark.core.stats import fisher_product
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.text.foreign.parameters import (
    MOST,
    SHORTEST,
    Recomputed,
    Text,
    Tokens,
    check_choice,
    check_whole,
    detection,
    first_met,
    listed,
    observed,
    rows,
    too_short,
    windows,
)
from countermark.marking.text.foreign.prf import BITS, PRFS
from countermark.marking.text.null import gamma_tail

_NO_TOKEN = -1
_MAX_WIDTH = 64
_DOMAINS = (b"key_a", b"key_b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gumbel:
    """A Gumbel watermark. All fields but the first and the last are vLLM's.

    Attributes:
        name: of the scheme, in answers.
        dual_key: whether tokens were chosen by either of two derived keys (``dual_key_gumbel``).
    """

    KIND: ClassVar[str] = "gumbel"

    name: str
    key: int
    context_width: int = 4
    prf: str = "philox"
    dual_key: bool = False

    def __post_init__(self) -> None:
        """Refuse parameters out of their ranges.

        Raises:
            InputError: naming the field.
        """
        check_choice(self.name, "prf", self.prf, tuple(PRFS))
        if not isinstance(self.dual_key, bool):
            raise InputError("scheme {name}: {field} is true or false", name=self.name, field="dual_key")
        bits = 64 if self.dual_key else PRFS[self.prf][1]
        check_whole(self.name, "key", self.key, 0, 2**bits - 1)
        check_whole(self.name, "context_width", self.context_width, 1, _MAX_WIDTH)

    @property
    def method(self) -> str:
        """The method, with what is not secret of its parameters."""
        return f"text.gumbel-max/1;context={self.context_width};keys={1 + self.dual_key};prf={self.prf}"

    def detect(self, *texts: Text) -> Detection | NotExamined:
        """Score the tokens of a text, or of several texts that are read as one.

        Raises:
            InputError: tokens that are not whole numbers from 0 on.
        """
        start = np.full(self.context_width, _NO_TOKEN)
        grams = windows([np.concatenate((start, row)) for row in rows(texts)], self.context_width + 1)
        grams = grams[first_met(grams[:, :-1])]
        if len(grams) < SHORTEST:
            return too_short()
        scores = [
            # Rounded down, so that the recomputed statistic is never above the observed one.
            math.floor(math.fsum(_scores(numbers[:, 0]).tolist()) * 1e6) / 1e6
            for numbers in (self._numbers(key, grams[:, :-1], grams[:, -1:]) for key in self._keys())
        ]
        observations = {"contexts": len(grams), "scores": scores}
        return detection(self.method, self.name, observations, recompute(observations))

    def choose(self, log_probabilities: NDArray[np.float32], contexts: Tokens, *, second: bool = False) -> Tokens:
        """Return the next tokens (n,), as the engine does.

        Args:
            log_probabilities: (n, vocabulary), natural logarithms, any constant added to a row.
            contexts: (n, context_width) the tokens before, -1 where there are none.
            second: use the second of two keys.
        """
        vocabulary = np.broadcast_to(np.arange(log_probabilities.shape[1]), log_probabilities.shape)
        numbers = self._numbers(self._keys()[second], contexts, vocabulary)
        uniform = ((numbers + 1.0) / (2**BITS + 1)).astype(np.float32)
        return np.asarray(np.argmax(log_probabilities - np.log(-np.log(uniform)), axis=1))

    def _keys(self) -> tuple[int, ...]:
        if not self.dual_key:
            return (self.key,)
        seed = self.key.to_bytes(8, "big")
        return tuple(int.from_bytes(hashlib.sha256(domain + seed).digest()[:8], "big") for domain in _DOMAINS)

    def _numbers(self, key: int, contexts: Tokens, tokens: Tokens) -> NDArray[np.uint32]:
        return PRFS[self.prf][0](key, contexts, tokens)


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return what the scores of a detection prove.

    Args:
        observations: ``scores``, the sum under each of one or two keys, of tokens after ``contexts`` contexts.

    Raises:
        InputError: a value out of its range.
    """
    contexts = observed(observations, "contexts", 1, MOST)
    scores = listed(observations, "scores", 2)
    highest = contexts * BITS * math.log(2)
    if not all(isinstance(s, int | float) and not isinstance(s, bool) and 0 <= s <= highest for s in scores):
        raise InputError("{name} holds something that is not a number in range", name="scores")
    tails = [gamma_tail(contexts, float(score)) for score in scores]
    return Recomputed(
        p_value=tails[0] if len(tails) == 1 else fisher_product(*tails),
        statistic=math.fsum(scores) / (contexts * len(scores)),
        trials=contexts * len(scores),
    )


def _scores(numbers: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return -ln(1 - r) of r at the lower end of a number's cell."""
    return np.asarray(-np.log1p(numbers * -(2.0**-BITS)))
