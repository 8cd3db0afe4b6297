"""The noise mark: 64 bits in the signs of the noise that a diffusion model starts from. Numpy alone; no model here.

**Writing.** Noise is ``|Gaussian| x sign`` in turned coordinates (``coefficients``): an orthonormal cosine transform of
each plane, and of the colors where there are three. It keeps the normal law, and it keeps signs that survive apart from
those that compression and blur destroy. Magnitudes come from a fresh secret seed per run. The signs, laid out by a
keyed secret permutation of the positions, have three shares:

- the *nonce* share holds a nonce, coded (``nonces``) and masked by a fixed secret pad;
- the *pilot* share holds a pad that is a stream cipher's output for (key, nonce);
- the *word* share holds the 64-bit word, coded (``core.coding``), repeated, and masked by such a pad too.

The nonce is a keyed permutation of a counter (``core.payload.permute``), so it does not repeat under one key until the
counter has run through: 2**64 generations from ``LONG_NONCE_SIZE`` dimensions on, 2**24 below. Rotate the key, that is
start an epoch, before; we advise to do so after 2**32 generations, as with any key. A counter used twice repeats pads,
and whoever sees both latents can tell. ``collision_bound`` is for hosts that draw counters at random instead.

**What is proven.** (1) For any key and word, magnitudes and signs independent, noise is standard normal in every
coordinate as soon as its sign is fair. (2) Given the nonce, pilot and word signs are as good as one-time pads: whoever
tells them from coin flips tells ChaCha20 from a random function. (3) Over a uniform nonce, any three signs of the nonce
share are independent fair coins (``nonces``). Hence all means, covariances and third moments over many pictures are
those of plain noise, and so are all moments, of any order, that involve a pilot or word sign an odd number of times.
What is not proven, and what an attack would cost, says ``nonces``; ``flips`` adds errors by design against it, as
pseudorandom codes do (M. Christ, S. Gunn, CRYPTO 2024): a rate of 0.1 costs a fifth of the nonce share's correlation.

**The null** of a reading is "these latents do not depend on the key". Whatever they are, the candidate nonces follow
from them and from the keys of permutation, masks and nonce pad, and so do the weights w_i: the size of a pilot's value,
quantized and capped, times the reliability of its band, which the nonce share tells. Pilot pads of distinct nonces come
from an independent key, so they are still fair coins then. The statistic of a candidate is ``T = sum w_i s_i`` with s_i
1 where pilot i has the pad's sign and -1 elsewhere. ``rademacher_sum_tail`` bounds P(T >= t), and the p-value is that
bound times ``searched``, all candidates of all latents that were looked at.

Laws:
    ``counter(nonce(c, size), size) == c``;
    ``sign(noise(w, c, shape, seed)) == signs(w, c, size)`` for every seed, whose magnitudes do not depend on w;
    ``read(noise(w, c, shape, seed))`` gives word w and ``nonce(c, size)``; a positive factor changes nothing;
    any three signs of the nonce share are independent over its nonces;
    ``recompute(detection.observations)`` equals the detection, without key and latent.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.core.coding import SYMBOLS, decode_list, encode
from countermark.core.keys import Secret, derive_key, keystream
from countermark.core.payload import permute, read_identifier, show_identifier, unpermute
from countermark.core.stats import rademacher_sum_tail
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.image.coordinates import coefficients as coefficients
from countermark.marking.image.coordinates import latent_of as latent_of
from countermark.marking.image.nonces import MASKS, WINDOW, choose_masks, decode_nonce, encode_nonce

Floats = NDArray[np.float64]
Signs = NDArray[np.int8]

# Below this many dimensions a latent is not marked, and not examined.
MIN_SIZE = 1024
# From here on a nonce has 64 bits; below, 24: a latent this small cannot carry more beside the word.
LONG_NONCE_SIZE = 4096
LONG_NONCE, SHORT_NONCE = 64, 24
# How the positions are shared, by what each share needs to be read as often as the others: set on simulated channels.
_PILOTS, _WORD, _NONCE = 60, 240, {SHORT_NONCE: 80, LONG_NONCE: 165}
# Nonce candidates that are tried against the pilots, per latent.
_CANDIDATES = 4
# Words that a reading offers.
_WORDS = 16
# Reliability is judged per band: positions that are neighbors in frequency, about so many, in so many bands at most.
_BAND, _MAX_BANDS = 320, 64
# A second search for the nonce trusts the last band exp(-3) times as much as the first.
_FALL = 3.0
# Sizes of weighted values in units of their root mean square, for weights: steps of 1/8, capped at 3.
_STEPS, _LEVELS = 8, 24
_CAP = _LEVELS / _STEPS
# No band is trusted more than at this correlation.
_SURE = 0.85
_MAX_PILOTS, _MAX_SEARCHED = 2**31, 2**53


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
    nonce: int


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many positions of a latent each share has."""

    nonce_bits: int
    per_bit: int
    pilots: int
    word: int

    @property
    def nonce(self) -> int:
        return self.nonce_bits * self.per_bit


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a key fixes for one size: positions of the shares, masks and pad of the nonce share, key of the pads."""

    counts: _Counts
    nonce_at: NDArray[np.intp]
    pilot_at: NDArray[np.intp]
    word_at: NDArray[np.intp]
    masks: NDArray[np.int64]
    nonce_pad: Signs
    pads: Secret

    @property
    def bands(self) -> NDArray[np.intp]:
        """The band of each position: neighbors in frequency, with some hundreds of positions each."""
        size = self.counts.nonce + self.counts.pilots + self.counts.word
        return np.arange(size) * min(_MAX_BANDS, size // _BAND) // size


@dataclass(frozen=True, slots=True)
class _Guess:
    """A candidate nonce of candidate latent ``index``, with the pilots that agree and disagree per level of weight."""

    index: int
    nonce: int
    agree: list[int]
    disagree: list[int]
    tail: float
    symbols: Floats


class NoiseMark:
    """Makes marked noise, and reads it back from inverted latents, for one key.

    Args:
        secret: the embedding half of a detection key.
        key_id: public name of the key, repeated in detections.
        flips: rate of deliberate errors in the nonce share, 0 to 0.4. The reader does not depend on it.
    """

    METHOD = (
        f"image.noise/1;turn=cosine,grey;window={WINDOW};nonce={SHORT_NONCE},{LONG_NONCE}@{LONG_NONCE_SIZE};shares={_PILOTS}:{_WORD}:{_NONCE[SHORT_NONCE]},"
        f"{_NONCE[LONG_NONCE]};code=k9r4tb"
    )

    def __init__(self, secret: Secret, *, key_id: str = "", flips: float = 0.0) -> None:
        if not 0 <= flips <= 0.4:
            raise InputError("the rate of flips is between 0 and 0.4")
        self.key_id, self._flips = key_id, flips
        self._secret = derive_key(secret, "noise-mark/1")
        self._plans: dict[int, _Plan] = {}

    def nonce(self, counter: int, size: int) -> int:
        """Return the nonce of a counter in latents of ``size`` dimensions.

        Raises:
            InputError: fewer than ``MIN_SIZE`` dimensions, or a counter that has run through all nonces.
        """
        bits = _counts(size).nonce_bits
        if not 0 <= counter < 2**bits:
            raise InputError(
                "the counter of marked noise runs from 0 to 2^{bits} - 1 here",
                hint="start another epoch: its key has a counter of its own",
                bits=bits,
            )
        return permute(self._nonce_key(bits), counter, bits=bits)

    def counter(self, nonce: int, size: int) -> int:
        """Return the counter that a nonce belongs to: the inverse of ``nonce``."""
        bits = _counts(size).nonce_bits
        return unpermute(self._nonce_key(bits), nonce, bits=bits)

    def signs(self, word: int, counter: int, size: int) -> Signs:
        """Return the signs, 1 or -1, of the noise of ``size`` dimensions that carries a 64-bit word.

        Args:
            word: 0 to 2**64 - 1.
            counter: never to be used twice under one key.
            size: number of dimensions; signs stand in the C order of the latent (channels, height, width).

        Raises:
            InputError: fewer than ``MIN_SIZE`` dimensions, not a 64-bit word, or a counter out of range.
        """
        nonce, plan = self.nonce(counter, size), self._plan(size)
        symbols = encode(word).astype(np.int8)
        pilot_pad, word_pad = _pads(plan, nonce)
        signs = np.empty(size, dtype=np.int8)
        signs[plan.nonce_at] = _encode_nonce(nonce, plan) * self._errors(nonce, plan)
        signs[plan.pilot_at] = pilot_pad
        signs[plan.word_at] = np.resize(symbols, plan.counts.word) * word_pad
        return signs

    def noise(self, word: int, counter: int, shape: tuple[int, ...], seed: Secret) -> NDArray[np.float32]:
        """Return standard normal noise of ``shape`` whose signs are ``signs(word, counter, size)``.

        Normal up to the 2**-53 grid of its uniform numbers and the rounding of float32.

        Args:
            word: 0 to 2**64 - 1.
            counter: never to be used twice under one key.
            shape: of one latent; its product is the number of dimensions.
            seed: fresh per run; the magnitudes of different counters under one seed are independent.

        Raises:
            InputError: as ``signs``.
        """
        size = math.prod(shape)
        signs = self.signs(word, counter, size)
        values = _magnitudes(derive_key(seed, "noise-magnitudes/1"), size, counter) * signs
        return latent_of(values, shape)

    def pattern(self, word: int, counter: int, size: int) -> Signs:
        """Return ``signs`` in the order of the noise ledger: the shares of pilots and word, then that of the nonce.

        Pads of the first ``own_signs`` are drawn anew for every counter, so they are independent from one generation to
        another; the signs of the nonce share are code words of one code.
        """
        return self.signs(word, counter, size)[self._ledger_order(size)]

    def spread(self, latent: ArrayLike) -> Floats:
        """Return an inverted latent, as ``read`` takes it, in the order of ``pattern``."""
        values = np.asarray(latent, dtype=np.float64).ravel()
        return values[self._ledger_order(len(values))]

    def own_signs(self, size: int) -> int:
        """Return how many signs of a ``pattern`` come before those of the nonce share."""
        return size - _counts(size).nonce

    def read(self, *latents: ArrayLike, searched: int = 1) -> Detection | NotExamined:
        """Look for the mark in a latent of any shape, or in several candidate latents of one picture.

        Candidates may differ in how the picture was straightened before inversion, not in size. All are counted in
        ``searched``; ``geometry`` says which one is reported.

        Raises:
            InputError: no latent, sizes that differ, or a value that is not finite.
        """
        values = [_level(latent) for latent in latents]
        if len({len(value) for value in values}) != 1:
            raise InputError("latents of one picture are at least one, and have one size")
        if len(values[0]) < MIN_SIZE:
            return NotExamined("too-small", f"the latent has less than {MIN_SIZE} dimensions")
        plan = self._plan(len(values[0]))
        guesses = [guess for i, value in enumerate(values) for guess in _guesses(value, plan, i)]
        best = min(guesses, key=lambda guess: guess.tail)
        return self._report(best, searched=searched * len(guesses))

    def _report(self, best: _Guess, *, searched: int) -> Detection:
        observations = {
            "agree": best.agree,
            "disagree": best.disagree,
            "symbols": best.symbols.tolist(),
            "searched": searched,
            "nonce": show_identifier(best.nonce),
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
            nonce=result.nonce,
            geometry={"candidate": best.index},
            observations=observations,
        )

    def _nonce_key(self, bits: int) -> Secret:
        return derive_key(self._secret, "nonce", str(bits))

    def _errors(self, nonce: int, plan: _Plan) -> Signs:
        """Return -1 where a sign of the nonce share is wrong on purpose."""
        drawn = keystream(derive_key(plan.pads, "flips"), 4 * plan.counts.nonce, stream=nonce)
        wrong = np.frombuffer(drawn, dtype="<u4") < self._flips * 2**32
        return np.where(wrong, -1, 1).astype(np.int8)

    def _ledger_order(self, size: int) -> NDArray[np.intp]:
        plan = self._plan(size)
        return np.concatenate((plan.pilot_at, plan.word_at, plan.nonce_at))

    def _plan(self, size: int) -> _Plan:
        if size not in self._plans:
            if len(self._plans) >= 4:  # a service has few sizes; readers of many do not fill the memory
                self._plans.pop(next(iter(self._plans)))
            self._plans[size] = _make_plan(derive_key(self._secret, "size", str(size)), size)
        return self._plans[size]


def describe(size: int) -> dict[str, int | float]:
    """Return how a latent of ``size`` dimensions is used: shares, bits of the nonce, generations before rotation.

    Raises:
        InputError: fewer than ``MIN_SIZE`` dimensions.
    """
    counts = _counts(size)
    return {
        "dimensions": size,
        "nonce_bits": counts.nonce_bits,
        "nonce_signs": counts.nonce,
        "pilot_signs": counts.pilots,
        "word_signs": counts.word,
        "generations_per_key": 2**counts.nonce_bits,
        "collision_bound_of_1e6_random_counters": collision_bound(1_000_000, size),
    }


def collision_bound(generations: int, size: int) -> float:
    """Bound the probability that two of so many counters, drawn at random, agree: min(1, n (n - 1) / 2**(bits + 1)).

    One counter that is never reset has no collisions; this is for hosts that cannot share one.

    Raises:
        InputError: a negative number, or fewer than ``MIN_SIZE`` dimensions.
    """
    if generations < 0:
        raise InputError("counts are not negative")
    return min(1.0, generations * (generations - 1) / 2.0 ** (_counts(size).nonce_bits + 1))


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return p-value, statistic and word from a detection's soft observations, without key and latent.

    Args:
        observations: ``agree`` and ``disagree``, the pilots with and without the pad's sign per level of weight 0 to
            24; the 256 soft code ``symbols``; ``searched``, the number of hypotheses; ``nonce``, 16 hex digits.

    Raises:
        InputError: a list of another length, a value of another type or out of range.
    """
    agree, disagree = (_whole_numbers(observations, name) for name in ("agree", "disagree"))
    searched = observations.get("searched")
    if not isinstance(searched, int) or isinstance(searched, bool) or not 1 <= searched <= _MAX_SEARCHED:
        raise InputError("the observations do not say how many hypotheses were searched")
    symbols = _soft_symbols(observations.get("symbols"))
    energy = sum(level * level * (a + d) for level, (a, d) in enumerate(zip(agree, disagree, strict=True)))
    total = sum(level * (a - d) for level, (a, d) in enumerate(zip(agree, disagree, strict=True)))
    words = decode_list(symbols, _WORDS)
    return Recomputed(
        p_value=min(1.0, searched * max(_tail(agree, disagree), sys.float_info.min)),  # never 0
        statistic=total / math.sqrt(energy) if energy else 0.0,
        trials=sum(agree) + sum(disagree),
        searched=searched,
        word=words[0],
        words=words,
        words_tried=len(words),
        nonce=read_identifier(observations.get("nonce")),
    )


def _counts(size: int) -> _Counts:
    """Split a latent. Where masks are too few for the nonce's share, the word takes the rest."""
    if size < MIN_SIZE:
        raise InputError("marked noise needs at least {size} dimensions", size=MIN_SIZE)
    bits = LONG_NONCE if size >= LONG_NONCE_SIZE else SHORT_NONCE
    whole = _PILOTS + _WORD + _NONCE[bits]
    pilots = size * _PILOTS // whole
    per_bit = min(size * _NONCE[bits] // (whole * bits), MASKS)
    return _Counts(bits, per_bit, pilots, size - pilots - bits * per_bit)


def _make_plan(key: Secret, size: int) -> _Plan:
    counts = _counts(size)
    order = np.argsort(_integers(derive_key(key, "positions"), size), kind="stable")
    nonce_at, pilot_at, word_at = np.split(order, (counts.nonce, counts.nonce + counts.pilots))
    drawn = _integers(derive_key(key, "masks"), counts.nonce_bits * MASKS).reshape(counts.nonce_bits, MASKS)
    masks = choose_masks(drawn, counts.per_bit)
    pad = _bits(keystream(derive_key(key, "nonce-pad"), -(-counts.nonce // 8)), counts.nonce)
    return _Plan(counts, nonce_at, pilot_at, word_at, masks, pad, derive_key(key, "pads"))


def _pads(plan: _Plan, nonce: int) -> tuple[Signs, Signs]:
    """Return the pads of pilots and word for a nonce."""
    count = plan.counts.pilots + plan.counts.word
    pad = _bits(keystream(plan.pads, -(-count // 8), stream=nonce), count)
    return pad[: plan.counts.pilots], pad[plan.counts.pilots :]


def _encode_nonce(nonce: int, plan: _Plan) -> Signs:
    signs: Signs = encode_nonce(nonce, plan.masks) * plan.nonce_pad
    return signs


def _guesses(values: Floats, plan: _Plan, index: int) -> list[_Guess]:
    """Decode the likeliest nonces of a latent, as it is and with high frequencies lowered, and try their pilots."""
    fall = np.exp(-_FALL * np.arange(len(values)) / len(values))
    found = [
        decode_nonce((values * trust)[plan.nonce_at] * plan.nonce_pad, plan.masks, _CANDIDATES) for trust in (1.0, fall)
    ]
    return [_guess(values, plan, index, nonce) for nonce in dict.fromkeys(found[0] + found[1])]


def _guess(values: Floats, plan: _Plan, index: int, nonce: int) -> _Guess:
    weighted = _weighted(values, plan, nonce)
    pilots = weighted[plan.pilot_at]
    levels = np.minimum(np.abs(pilots) * _STEPS, _LEVELS).astype(np.intp)
    pilot_pad, word_pad = _pads(plan, nonce)
    right = (pilots < 0) == (pilot_pad < 0)
    agree = np.bincount(levels[right], minlength=_LEVELS + 1).tolist()
    disagree = np.bincount(levels[~right], minlength=_LEVELS + 1).tolist()
    soft = np.clip(weighted[plan.word_at], -_CAP, _CAP) * word_pad
    return _Guess(index, nonce, agree, disagree, _tail(agree, disagree), _symbols(soft))


def _weighted(values: Floats, plan: _Plan, nonce: int) -> Floats:
    """Scale each band to its reliability, which the nonce's signs tell if the nonce is right.

    With correlation r of a band to the noise, a value y at a root mean square of 1 speaks for its sign with a weight
    near y r / sqrt(1 - r**2). Estimates of r differ by chance as well, so each is drawn to their mean as far as chance
    explains the differences (B. Efron, C. Morris, J. Amer. Statist. Assoc. 70, 1975).
    """
    bands = plan.bands
    scale = np.sqrt(np.bincount(bands, values**2) / np.bincount(bands) + 1e-12)
    heard = np.bincount(bands[plan.nonce_at], values[plan.nonce_at] * _encode_nonce(nonce, plan), len(scale))
    count = np.bincount(bands[plan.nonce_at], minlength=len(scale)) + 1e-12
    r = heard / (count * scale) * math.sqrt(math.pi / 2)
    mean, chance = float(count @ r) / float(count.sum()), math.pi / 2 / count
    spread = max(0.0, float(count @ ((r - mean) ** 2 - chance)) / float(count.sum()))
    r = np.clip(mean + (r - mean) * spread / (spread + chance), 0.0, _SURE)
    gain = r / np.sqrt(1 - r**2)
    gain = gain / gain.max() if gain.any() else np.ones_like(gain)
    return values * (gain / scale)[bands]


def _tail(agree: list[int], disagree: list[int]) -> float:
    """Bound the probability, under the null, of a statistic at least as large; of whole numbers, so of no rounding."""
    counts = np.add(agree, disagree)
    total = sum(level * (a - d) for level, (a, d) in enumerate(zip(agree, disagree, strict=True)))
    return rademacher_sum_tail(np.arange(_LEVELS + 1), float(total), counts=counts)


def _symbols(soft: Floats) -> Floats:
    """Sum the repetitions of each code symbol; scaled to a root mean square of 1 and rounded."""
    sums = np.bincount(np.arange(len(soft)) % SYMBOLS, weights=soft, minlength=SYMBOLS)
    return np.round(sums / math.sqrt(float(sums @ sums) / SYMBOLS + 1e-30), 4)


def _magnitudes(seed: Secret, size: int, stream: int) -> NDArray[np.float32]:
    """Return absolute values of independent normal numbers (G. Box, M. Muller, Ann. Math. Statist. 29, 1958)."""
    pairs = -(-size // 2)
    drawn = np.frombuffer(keystream(seed, 16 * pairs, stream=stream), dtype="<u8").reshape(2, pairs)
    radius = np.sqrt(-2.0 * np.log(((drawn[0] >> np.uint64(11)) + np.uint64(1)) * 2.0**-53))
    angle = (drawn[1] >> np.uint64(11)) * (2.0 * math.pi * 2.0**-53)
    values: NDArray[np.float32] = np.abs(np.concatenate((radius * np.cos(angle), radius * np.sin(angle))))[:size]
    return values.astype(np.float32)


def _integers(key: Secret, count: int) -> NDArray[np.uint64]:
    return np.frombuffer(keystream(key, 8 * count), dtype="<u8")


def _bits(pad: bytes, count: int) -> Signs:
    bits = np.unpackbits(np.frombuffer(pad, dtype=np.uint8), count=count)
    return 1 - 2 * bits.astype(np.int8)


def _level(latent: ArrayLike) -> Floats:
    """Return coefficients scaled to a root mean square of 1; those of nothing stay so."""
    values = np.asarray(latent, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError("coefficients of a latent are finite, in one row")
    return values / (math.sqrt(float(values @ values) / max(1, len(values))) or 1.0)


def _whole_numbers(observations: Mapping[str, Any], name: str) -> list[int]:
    values = observations.get(name)
    if not isinstance(values, list) or len(values) != _LEVELS + 1:
        raise InputError("the observations need {count} {name}", count=_LEVELS + 1, name=name)
    if not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= _MAX_PILOTS for v in values):
        raise InputError("{name} holds something that is not a number in range", name=name)
    return values


def _soft_symbols(values: object) -> Floats:
    if not isinstance(values, list) or len(values) != SYMBOLS:
        raise InputError("the observations need {count} {name}", count=SYMBOLS, name="symbols")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= 1e6 for v in values):
        raise InputError("{name} holds something that is not a number in range", name="symbols")
    return np.array(values, dtype=np.float64)
