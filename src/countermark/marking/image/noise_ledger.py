"""The noise ledger: which recorded generation did a picture grow from? A matched filter with a proven bound.

An office that generates pictures keeps the sign of every initial noise value of every generation, one bit each. A
suspect, inverted to noise ``y``, is held against all of them: the statistic of a record with signs ``r`` is
``T = <r, y> / |y|``.

**The null** is "``y`` does not depend on the recorded signs": they are independent and uniform given ``y``, whatever
``y`` is. Then ``<r, y>`` is a weighted sum of independent signs, and P(T >= t) <= exp(-t^2 / 2) for t >= 0
(W. Hoeffding, J. Amer. Statist. Assoc. 58, 1963, theorem 2). The best of N records over V variants of a suspect is
bounded by N V times that: every record counts as searched, also those that the fast first stage passes over. Signs of
one record are independent as far as the generator behind them is pseudo-random; different records need not be
independent of each other. Signs that were recorded before the suspect was seen cannot have been fitted to it, so the
log entry of a generation carries their digest (``pattern_digest``).

**The second null** is "``y`` comes from another generation of ours". The first ``own`` positions of a pattern hold
signs that are drawn anew for each generation and so are independent of ``y`` under it too, while the others may follow
a code that all generations share. The same bound, over the first ``own`` positions alone, is ``p_innocent``.

**Searching** has two stages. The first counts, by XOR and population count, in how many of the first ``HEAD`` positions
the signs of ``y`` and of each record agree; the second computes T for the ``SHORTLIST`` records that agree most. The
first stage can pass over a record and so miss a match; it cannot make one, and the bound holds whatever it does.

``y`` is rounded to 255 levels before anything else, a function of ``y`` alone. So T is an integer over the root of an
integer, and comes out the same on every machine.

Laws:
    ``search`` over at most ``SHORTLIST`` records finds the largest T of all, the earliest of equals;
    ``recompute(match.observations)`` equals the match, without the ledger, bit for bit;
    T does not depend on the scale of ``y``, up to its rounding; a record with the signs of ``-y`` has ``-T``;
    under the null P(p_value <= a) <= a.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.canonical import digest
from countermark.errors import InputError

METHOD = "image.noise-ledger/1"

#: Positions that the first stage looks at; more than enough, and a million records stay under 2 GB.
HEAD = 16_384
#: Records whose statistic is computed in full.
SHORTLIST = 1_000
#: Records that the first stage takes at once: small enough for a processor's cache.
_BLOCK = 8_192
#: Levels per root mean square; what is over 127 levels, four times it, is cut there.
_LEVELS = 32.0
_MAX_SIZE = 2**24
_MAX_SEARCHED = 2**53

Signs = NDArray[np.int8]
Words = NDArray[np.uint64]
Levels = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """The sign patterns of ``n`` generations, packed 64 to a word, a set bit for a minus.

    Attributes:
        size: signs of each.
        names: (n,) uint64, one for each generation, below 2**53.
        heads: (n, words) uint64, the first ``HEAD`` positions or all there are; may lie in a mapped file.
        tails: (n, words) uint64, the other positions.
    """

    size: int
    names: NDArray[np.uint64]
    heads: Words
    tails: Words

    @classmethod
    def of(cls, names: Sequence[int], signs: Signs) -> Recorded:
        """Return the patterns of (n, size) signs, each +1 or -1."""
        words = pack(signs)
        head = -(-min(signs.shape[1], HEAD) // 64)
        return cls(signs.shape[1], np.array(names, dtype=np.uint64), words[:, :head], words[:, head:])

    def __len__(self) -> int:
        return len(self.names)

    def words(self, places: NDArray[np.intp]) -> Words:
        """Return the whole patterns of some records, (k, words)."""
        return np.concatenate((self.heads[places], self.tails[places]), axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What follows from observations alone; the fields mean what they mean in ``Detection``.

    ``name`` is the generation's, ``pattern`` the digest of its signs. A match reads no word.
    """

    p_value: float
    p_innocent: float
    statistic: float
    trials: int
    searched: int
    name: int
    pattern: bytes
    word: int | None = None
    words: tuple[int, ...] = ()
    words_tried: int = 0
    nonce: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The record that fits best: which ``variant`` of the suspect, and a bound on the probability under the null.

    ``p_value`` and ``p_innocent`` are corrected for the ``searched`` pairs of a record and a variant. ``observations``
    is a JSON value.
    """

    name: int
    variant: int
    statistic: float
    p_value: float
    p_innocent: float
    searched: int
    observations: Mapping[str, Any]


def pack(signs: Signs) -> Words:
    """Pack (n, size) signs, each +1 or -1, to (n, words) uint64, a set bit for a minus, zeros after the last.

    Raises:
        InputError: another shape, no position, too many, or a value that is no sign.
    """
    values = np.asarray(signs)
    if values.ndim != 2 or not 1 <= values.shape[1] <= _MAX_SIZE or not (np.abs(values) == 1).all():
        raise InputError("a noise pattern is a row of signs, each +1 or -1")
    padded = np.zeros((len(values), -(-values.shape[1] // 64) * 8), dtype=np.uint8)
    bits = np.packbits(values < 0, axis=1, bitorder="little")
    padded[:, : bits.shape[1]] = bits
    return padded.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, size: int) -> Signs:
    """Return the (n, size) signs of packed patterns: the inverse of ``pack``."""
    bits = np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), axis=1, count=size, bitorder="little")
    return np.asarray(1 - 2 * bits.astype(np.int8), dtype=np.int8)


def pattern_digest(words: Words) -> bytes:
    """Return the digest of one packed pattern, for the log entry of its generation: 32 bytes.

    The signs are pseudo-random, so their digest says nothing to whoever lacks the key.
    """
    return digest("noise-pattern/1", words.astype("<u8", copy=False).tobytes())


def quantize(latent: NDArray[np.floating[Any]]) -> Levels:
    """Round an inverted latent of any shape to levels of -127 to 127, 32 to the root mean square.

    Raises:
        InputError: a value that is not finite.
    """
    values = np.asarray(latent, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise InputError("the latent holds something that is not a number in range")
    spread = math.sqrt(float(np.mean(values**2)) if values.size else 0.0)
    return np.clip(np.rint(values * (_LEVELS / spread if spread else 0.0)), -127, 127).astype(np.int8)


def statistic(signs: Signs, levels: Levels) -> float:
    """Return T of one record's signs (size,) against a quantized latent (size,); 0 where that is all zeros."""
    product = int(signs.astype(np.int64) @ levels.astype(np.int64))
    return product / math.sqrt(square) if (square := _square(levels)) else 0.0


def tail(value: float, searched: int = 1) -> float:
    """Bound the probability that the largest of ``searched`` statistics is at least ``value``, under the null."""
    return 1.0 if value <= 0 else min(1.0, searched * max(math.exp(-value * value / 2), sys.float_info.min))  # never 0


def search(recorded: Recorded, latents: NDArray[np.floating[Any]], *, own: int | None = None) -> Match | None:
    """Find the record that fits a suspect best; None where nothing is recorded.

    Args:
        recorded: the ledger.
        latents: (variants, size), the noise that variants of one suspect (straightened, mirrored) invert to.
        own: how many leading positions hold signs that no other generation's depend on; all by default.

    Raises:
        InputError: another size, no variant, such a count out of range, or a value that is not finite.
    """
    if latents.ndim != 2 or latents.shape[1] != recorded.size or not len(latents):
        raise InputError("a latent of this ledger has {size} values", size=recorded.size)
    own = recorded.size if own is None else own
    if not len(recorded):
        return None
    searched = len(recorded) * len(latents)
    best = (-math.inf, 0, 0)
    levels = [quantize(latent) for latent in latents]
    for variant, row in enumerate(levels):
        value, place = _best(recorded, row)
        best = max(best, (value, -variant, place))
    value, variant, place = best[0], -best[1], best[2]
    words = recorded.words(np.array([place], dtype=np.intp))
    observations = {
        "size": recorded.size,
        "own": own,
        "name": int(recorded.names[place]),
        "signs": base64.b64encode(words.astype("<u8").tobytes()).decode(),
        "levels": base64.b64encode(levels[variant].tobytes()).decode(),
        "searched": searched,
    }
    result = recompute(observations)
    return Match(
        name=result.name,
        variant=variant,
        statistic=result.statistic,
        p_value=result.p_value,
        p_innocent=result.p_innocent,
        searched=searched,
        observations=observations,
    )


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return statistic and p-value from a match's observations, without the ledger.

    Args:
        observations: ``size`` and ``own``; ``name`` of the generation; its packed ``signs`` and the ``levels`` of the
            latent, as base64; ``searched``, the number of records times variants.

    Raises:
        InputError: a field is missing, of another length or out of range.
    """
    size, name = _count(observations, "size", 1, _MAX_SIZE), _count(observations, "name", 0, 2**53 - 1)
    searched, own = _count(observations, "searched", 1, _MAX_SEARCHED), _count(observations, "own", 1, size)
    words = np.frombuffer(_bytes(observations, "signs", 8 * -(-size // 64)), dtype="<u8")[None].astype(np.uint64)
    levels = np.frombuffer(_bytes(observations, "levels", size), dtype=np.int8)
    signs = unpack(words, size)
    if not np.array_equal(pack(signs), words):
        raise InputError("the noise pattern is malformed")
    value = statistic(signs[0], levels)
    return Recomputed(
        p_value=tail(value, searched),
        p_innocent=tail(statistic(signs[0, :own], levels[:own]), searched),
        statistic=value,
        trials=size,
        searched=searched,
        name=name,
        pattern=pattern_digest(words),
    )


def _best(recorded: Recorded, levels: Levels) -> tuple[float, int]:
    """Return the largest statistic of the short list, and its place; the earliest of equals."""
    places = _shortlist(recorded, levels)
    square, total = _square(levels), int(levels.astype(np.int64).sum())
    if not square:
        return 0.0, 0
    products = np.empty(len(places), dtype=np.int64)
    row = levels.astype(np.float64)
    step = max(1, 2**22 // recorded.size)
    for at in range(0, len(places), step):
        words = recorded.words(places[at : at + step]).astype("<u8", copy=False)
        minus = np.unpackbits(words.view(np.uint8), axis=1, count=recorded.size, bitorder="little")
        # Sums of small integers, exact in float64, whose product is much faster than that of integers.
        products[at : at + step] = total - 2 * np.rint(minus.astype(np.float64) @ row).astype(np.int64)
    winner = int(np.argmax(products))
    return int(products[winner]) / math.sqrt(square), int(places[winner])


def _shortlist(recorded: Recorded, levels: Levels) -> NDArray[np.intp]:
    """Return the places of the records that agree most with the signs of ``levels`` in the head, in order."""
    count = len(recorded)
    if count <= SHORTLIST:
        return np.arange(count)
    wanted = pack(np.where(levels[None, :HEAD] < 0, -1, 1).astype(np.int8))[0]
    differing = np.empty(count, dtype=np.uint32)
    for at in range(0, count, _BLOCK):
        block = np.bitwise_count(recorded.heads[at : at + _BLOCK] ^ wanted)
        differing[at : at + _BLOCK] = block.sum(axis=1, dtype=np.uint32)
    return np.sort(np.argpartition(differing, SHORTLIST)[:SHORTLIST])


def _square(levels: Levels) -> int:
    wide = levels.astype(np.int64)
    return int(wide @ wide)


def _count(observations: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = observations.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError("{name} holds something that is not a number in range", name=name)
    return value


def _bytes(observations: Mapping[str, Any], name: str, size: int) -> bytes:
    try:
        data = base64.b64decode(observations.get(name, ""), validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    if len(data) != size:
        raise InputError("the observations need {count} {name}", count=size, name=name)
    return data
