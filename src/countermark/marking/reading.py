"""What follows from soft observations alone: of one carrier, or of several pooled, by whichever method.

Detectors, offices and verifiers meet here. ``recompute`` needs neither key nor carrier; a verifier trusts nothing else.

**Pooling** reads several carriers under one key as one, where each is too damaged for itself. All carry the same word,
so their soft symbols add up. A carrier counts by the evidence that it holds a mark at all, sqrt(-2 ln p): the z-score
that a normal statistic of such a p-value would have. p_innocent stays what it is for one: it bounds what the code words
of others do given the summed symbols, whatever these are. p_ours must hold however the carriers depend on one another;
they may be copies. Fisher's product of p-values needs independence, and would lie. A method that can add its statistics
up under such dependence says how (``image.pooled``). For the others it is Bonferroni's min(1, K min p), and K is the
least factor that is valid for the smallest of K p-values under any dependence (V. Vovk, R. Wang, Biometrika 107, 2020).
Texts are read as one by their detector, which counts what they share once; a pool of them holds that one reading.

Laws:
    ``recompute(d.method, d.observations)`` gives back ``p_value``, ``words`` and ``nonce`` of every detection ``d``,
    and of every ``pool`` of detections;
    pooling copies of one carrier gives its words, and no smaller p-value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.core.canonical import digest, read_digest, show_digest
from countermark.core.coding import SYMBOLS, codeword_tail, correlate, decode_list
from countermark.errors import InputError
from countermark.marking import Detection

MAX_POOL = 100
# By the method's name and version. Each module has a ``recompute(observations)``.
_MODULES = {
    "image.lattice/2": "countermark.marking.image.observations",
    "image.noise/1": "countermark.marking.image.noise",
    "image.noise-ledger/1": "countermark.marking.image.noise_ledger",
    "text.gumbel/1": "countermark.marking.text.observations",
    "text.gumbel-max/1": "countermark.marking.text.foreign.gumbel",
    "text.kgw/1": "countermark.marking.text.foreign.green_list",
    "text.synthid/1": "countermark.marking.text.foreign.synthid",
}
_LEAST_P = 1e-300


class Soft(Protocol):
    """What soft observations hold for every word, beyond those that a decoder lists."""

    def agreement(self, words: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return how well each of (n,) words agrees with the observations."""

    def tail(self, agreement: float) -> float:
        """Bound the probability that a random word agrees as well: 2**-64 to 1."""

    def unmarked_tail(self, agreement: float) -> float | None:
        """Bound the probability that one fixed word agrees as well in what carries no mark of the key, if it can."""


@dataclass(frozen=True, slots=True)
class CodeSymbols:
    """The 256 soft symbols of ``core.coding``'s code."""

    values: NDArray[np.float64]

    def agreement(self, words: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return how each word's code word correlates with the symbols."""
        return correlate(self.values, words)

    def tail(self, agreement: float) -> float:
        """Bound the probability that a random word's code word correlates as well."""
        return codeword_tail(self.values, agreement)

    def unmarked_tail(self, agreement: float) -> None:
        """Say nothing: what symbols are like without a mark is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What soft observations say; the fields mean what they mean in ``Detection``.

    ``soft`` is None where a method has no soft observations of words. A method that names a recorded generation instead
    has the digest of its ``pattern``, and ``p_innocent``, which bounds the probability that another of ours would fit
    as well.
    """

    p_value: float
    statistic: float
    trials: int
    searched: int
    words: tuple[int, ...]
    words_tried: int
    nonce: int | None
    soft: Soft | None
    p_innocent: float | None = None
    pattern: bytes | None = None

    def agreement(self, words: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return how well each word agrees with the observations; none does where there are none."""
        return np.zeros(len(words)) if self.soft is None else self.soft.agreement(words)

    def tail(self, word: int) -> float:
        """Bound the probability that a random word agrees with the observations as this one does: 2**-64 to 1."""
        return 1.0 if self.soft is None else self.soft.tail(self._agreement(word))

    @property
    def proves_words(self) -> bool:
        """Whether a word that agrees well proves the mark, beside what ``p_value`` says."""
        return self.soft is not None and self.soft.unmarked_tail(0.0) is not None

    def p_ours(self, word: int | None, issued: int) -> float:
        """Return the p-value of one reading, before the correction for several of them.

        It is ``p_value``, but for a reading that ``proves_words``: half the level goes to ``p_value`` and half to the
        best of the ``issued`` identifiers' words, of which ``word`` is one, each counted (Bonferroni).
        """
        if not self.proves_words:
            return self.p_value
        tail = None if word is None or self.soft is None else self.soft.unmarked_tail(self._agreement(word))
        return min(1.0, 2 * min(self.p_value, 1.0 if tail is None else issued * tail))

    def _agreement(self, word: int) -> float:
        return float(self.agreement(np.array([word], dtype=np.uint64))[0])


def recompute(method: str, observations: Mapping[str, Any]) -> Reading:
    """Read the soft observations of a detection by ``method``, or of a pool of them.

    Raises:
        InputError: no such method, or observations that it refuses.
    """
    if "pool" not in observations:
        return _recompute(method, observations)
    parts = observations["pool"]
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_POOL:
        raise InputError("a pool holds 1 to {limit} readings", limit=MAX_POOL)
    readings = [_recompute(method, part) for part in parts]
    return replace(_pooled(readings), p_value=_pooled_p_value(method, parts, readings))


def pool(detections: Sequence[Detection]) -> Detection:
    """Read several carriers under one key as one. Which carriers are pooled must not depend on what they show.

    Raises:
        InputError: none, over ``MAX_POOL``, or of several methods or keys.
    """
    if len({(each.method, each.key_id) for each in detections}) != 1:
        raise InputError("only readings by one method under one key can be pooled")
    method, key_id = detections[0].method, detections[0].key_id
    observations = {"pool": [dict(each.observations) for each in detections]}
    result = recompute(method, observations)
    return Detection(
        method=method,
        key_id=key_id,
        p_value=result.p_value,
        statistic=result.statistic,
        trials=result.trials,
        searched=result.searched,
        word=result.words[0] if result.words else None,
        words=result.words,
        words_tried=result.words_tried,
        nonce=result.nonce,
        observations=observations,
    )


def without_words(detection: Detection, words: Sequence[int]) -> Detection:
    """Return a detection that ``proves_words`` without what the authors of some words, who are known, explain of it.

    Raises:
        InputError: the method has no such words.
    """
    name = _name(detection.method)
    module: Any = import_module(_MODULES[name]) if name in _MODULES else None
    if not hasattr(module, "without"):
        raise InputError("this version does not read {method}", method=detection.method[:200])
    known = np.array(words, dtype=np.uint64)
    parts = [module.without(part, known) for part in detection.observations.get("pool", [detection.observations])]
    observations = {"pool": parts} if "pool" in detection.observations else parts[0]
    result = recompute(detection.method, observations)
    return replace(
        detection,
        p_value=result.p_value,
        statistic=result.statistic,
        word=result.words[0],
        words=result.words,
        observations=observations,
    )


def pool_digest(suspects: Sequence[str]) -> str:
    """Return what stands for a pool where a single suspect's digest would stand: of its digests, in any order."""
    return show_digest(digest("pool/1", b"".join(sorted(map(read_digest, suspects)))))


def _recompute(method: str, observations: Mapping[str, Any]) -> Reading:
    module = _MODULES.get(_name(method))
    if module is None:
        raise InputError("this version does not read {method}", method=method[:200])
    found = import_module(module).recompute(observations)
    symbols = observations.get("symbols")
    coded = None if symbols is None else CodeSymbols(np.array(symbols, dtype=np.float64))
    return Reading(
        p_value=found.p_value,
        statistic=found.statistic,
        trials=found.trials,
        searched=found.searched,
        words=found.words,
        words_tried=found.words_tried,
        nonce=getattr(found, "nonce", None),
        soft=getattr(found, "table", coded),
        p_innocent=getattr(found, "p_innocent", None),
        pattern=getattr(found, "pattern", None),
    )


def _name(method: str) -> str:
    """Return a method's name and version, without its parameters."""
    return method.partition(";")[0]


def _pooled(readings: Sequence[Reading]) -> Reading:
    if len(readings) == 1 and readings[0].proves_words:
        return readings[0]  # texts that were read as one
    best = min(readings, key=lambda reading: reading.p_value)
    symbols = _summed(readings)
    size = max([1, *(len(each.words) for each in readings)])
    words = () if symbols is None else decode_list(symbols, size)
    nonces = {each.nonce for each in readings}
    return Reading(
        p_value=best.p_value,
        statistic=best.statistic,
        trials=best.trials,
        searched=sum(each.searched for each in readings),
        words=words,
        words_tried=len(words),
        nonce=nonces.pop() if len(nonces) == 1 else None,
        soft=None if symbols is None else CodeSymbols(symbols),
    )


def _pooled_p_value(method: str, observations: Sequence[Mapping[str, Any]], readings: Sequence[Reading]) -> float:
    if _name(method) == "image.lattice/2":
        from countermark.marking.image.pooled import pooled_p_value

        return pooled_p_value(observations)
    return min(1.0, len(readings) * min(reading.p_value for reading in readings))


def _summed(readings: Sequence[Reading]) -> NDArray[np.float64] | None:
    """Add up the symbols, each carrier's to a norm of its weight, rounded as a single carrier's are."""
    held = [(each.soft.values, _weight(each.p_value)) for each in readings if isinstance(each.soft, CodeSymbols)]
    if not held:
        return None
    total = np.zeros(SYMBOLS)
    for symbols, weight in held:
        total += symbols * (weight / math.sqrt(math.fsum(symbols * symbols) / SYMBOLS + 1e-30))
    return np.round(total, 4)


def _weight(p_value: float) -> float:
    return round(math.sqrt(-2 * math.log(max(_LEAST_P, p_value))), 4)
