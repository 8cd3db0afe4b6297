"""A convolutional code for 64-bit words: rate 1/4, constraint length 9, tail-biting, decoded exactly.

The generators 463, 535, 733, 745 (octal) have free distance 24, the largest of their rate and memory (J. G. Proakis,
*Digital Communications*, table "Rate 1/4 maximum free distance codes"). Tail-biting starts the register with the last
eight bits of the word, so that no symbol is spent on a tail: 256 symbols for 64 bits. The decoder runs the Viterbi
algorithm from all 256 starting states at once and keeps the paths that end where they began: maximum likelihood, not
the usual wrap-around approximation. Going back from the ends it lists the best words in order, as each further word
leaves a better one at some step, where the forward pass has noted the loss (the serial list of N. Seshadri and
C.-E. W. Sundberg, IEEE Transactions on Communications 42, 1994). Metrics are integers, so equal symbols give equal
words everywhere.

The same trellis, summed instead of maximized, gives the exact moment generating function of a random code word's
correlation with given symbols, and ``codeword_tail`` bounds its tail from that.

Laws:
    ``decode(encode(w)) == w`` for every 64-bit ``w``;
    ``decode(s) == w`` for every ``s`` that is ``encode(w)`` with at most ``CORRECTABLE`` signs flipped;
    ``decode(c * s) == decode(s)`` for every ``c > 0``;
    ``decode_list(s, n)`` is distinct, falls in ``encode(w) @ s``, begins with ``decode(s)``, and is a prefix of
    ``decode_list(s, n + 1)``; no word outside it correlates more than its last, up to rounding;
    ``correlate(s, words)[i] == encode(words[i]) @ s`` up to rounding;
    ``codeword_tail(s, t)`` is at least P(encode(W) @ s >= t) for uniform ``W``, falls in ``t``, and is the same for
    ``c * s`` and ``c * t``.
"""

from __future__ import annotations

import functools
import heapq
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.core.stats import golden_minimum
from countermark.errors import InputError

WORD_BITS = 64
RATE = 4
SYMBOLS = WORD_BITS * RATE
MEMORY = 8
GENERATORS = (0o463, 0o535, 0o733, 0o745)
# Half the least distance between code words, which tail-biting leaves at the free distance of 24, rounded down below.
CORRECTABLE = 11
_STATES = 2**MEMORY
# A path's metric lies within +-2**27 and an impossible one below -2**29, so that no sum leaves 32 bits.
_RESOLUTION, _IMPOSSIBLE = 2**27, -(2**30)
_MAX_LIST = 2**16
# Steps that one table of correlations sums up.
_STEP = 8
# Symbols have norm 1 here, so no exponent passes 16 tilts: at 20 the smallest float is far away.
_MAX_TILT, _TILT_STEP = 20.0, 0.02
# What rounding may take from an exponent.
_ROUNDING = 1e-9
# A window of the word holds the oldest bit on top, a register the newest.
_REVERSED = np.array([int(f"{register:09b}"[::-1], 2) for register in range(2 * _STATES)], dtype=np.intp)


def encode(word: int) -> NDArray[np.float64]:
    """Return the code word of a 64-bit word as 256 signs, +1 for a zero bit; symbol ``4 i + j`` is of bit ``i``.

    Raises:
        InputError: not a 64-bit word.
    """
    if not 0 <= word < 2**WORD_BITS:
        raise InputError("a word has 64 bits")
    return np.asarray(encode_many(np.array([word], dtype=np.uint64))[0], dtype=np.float64)


def encode_many(words: NDArray[np.uint64]) -> NDArray[np.int8]:
    """Return the code words of ``words``, shape (n,), as signs of shape (n, 256): 256 bytes each."""
    quads = np.empty((len(words), WORD_BITS), dtype=np.uint32)
    table = _signs().astype(np.int8).view(np.uint32).ravel()[_REVERSED]
    for i in range(WORD_BITS):
        quads[:, i] = table[_windows(words, i, MEMORY + 1)]
    return quads.view(np.int8)


def correlate(symbols: ArrayLike, words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return ``encode(word) @ symbols`` of each of ``words``, shape (n,), without writing out their code words.

    Raises:
        InputError: not 256 finite symbols.
    """
    sums = np.zeros(len(words))
    for number, table in enumerate(_tables(_checked(symbols).tobytes())):
        sums += table[_windows(words, _STEP * (number + 1) - 1, _STEP + MEMORY)]
    return sums


def decode(symbols: ArrayLike) -> int:
    """Return the word whose code word correlates most with ``symbols``.

    Args:
        symbols: 256 finite soft values in the order of ``encode``; the sign is the decision, the size its reliability.

    Raises:
        InputError: another shape, or a value that is not finite.
    """
    return decode_list(symbols, 1)[0]


def decode_list(symbols: ArrayLike, size: int) -> tuple[int, ...]:
    """Return the ``size`` words whose code words correlate most with ``symbols``, best first, all distinct.

    Symbols are rounded to ``2**-27`` of their total first; a tie falls the same way each time.

    Args:
        symbols: as for ``decode``.
        size: 1 to 65,536.

    Raises:
        InputError: symbols as for ``decode``, or a size out of range.
    """
    if not 1 <= size <= _MAX_LIST:
        raise InputError("a list holds 1 to {limit} words", limit=_MAX_LIST)
    values = _checked(symbols)
    total = float(np.abs(values).sum())
    scaled = np.rint(values * (_RESOLUTION / total)) if total > 0 else values
    leads, metric = _forward(_gains(scaled).astype(np.int32))
    return _list(leads, np.diagonal(metric).tolist(), size)


def codeword_tail(symbols: ArrayLike, threshold: float) -> float:
    """Bound P(``encode(W) @ symbols >= threshold``) for a uniformly random 64-bit word W.

    Chernoff's inequality with the exact moment generating function. That is a sum over all 2**64 code words, so over
    all closed paths of the trellis, so the trace of a product of 64 transfer matrices of 256 x 256 (the sum-product
    form of the Viterbi recursion). Any s >= 0 gives a valid bound; the search for the best one costs tightness only.

    Args:
        symbols: 256 finite values, fixed independently of W.
        threshold: finite.

    Returns:
        A value from 2**-64, below which no attainable correlation of a random word lies, to 1.

    Raises:
        InputError: another shape, or a value that is not finite.
    """
    values = _checked(symbols)
    scale = math.sqrt(float(values @ values))
    if not math.isfinite(threshold):
        raise InputError("the threshold is finite")
    if threshold <= 0 or scale == 0.0:
        return 1.0
    gains, height = _gains(values / scale), threshold / scale
    return min(1.0, max(2.0**-WORD_BITS, math.exp(_least_exponent(gains, height))))


def _checked(symbols: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(symbols, dtype=np.float64)
    if values.shape != (SYMBOLS,) or not np.isfinite(values).all():
        raise InputError("expected {count} finite symbols", count=SYMBOLS)
    return values


def _gains(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each register's four signs add at each step: shape (64, 512). No BLAS: it rounds as it likes."""
    steps, signs = values.reshape(WORD_BITS, RATE, 1), _signs().T
    first, second, third, fourth = (steps[:, i] * signs[i] for i in range(RATE))
    return np.asarray((first + second) + (third + fourth))


@functools.lru_cache(maxsize=4)
def _tables(symbols: bytes) -> NDArray[np.float64]:
    """Return what ``_STEP`` steps add, by the 16 bits that they depend on: shape (8, 65,536), for chunk after chunk."""
    gains = _gains(np.frombuffer(symbols))[:, _REVERSED]
    windows = np.arange(2 ** (_STEP + MEMORY), dtype=np.intp)
    tables = np.zeros((WORD_BITS // _STEP, len(windows)))
    for i, gain in enumerate(gains):
        tables[i // _STEP] += gain[windows >> (_STEP - 1 - i % _STEP) & (2 * _STATES - 1)]
    return tables


def _windows(words: NDArray[np.uint64], last: int, width: int) -> NDArray[np.intp]:
    """Return the ``width`` bits of each circular word that end with bit ``last``, the newest bit lowest."""
    turned = words << np.uint64(last + 1 & WORD_BITS - 1) | words >> np.uint64(WORD_BITS - 1 - last)
    return (turned & np.uint64(2**width - 1)).astype(np.intp)


def _forward(gains: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Run Viterbi from every state at once, over ``gains`` of shape (steps, 512).

    A register holds the new bit on top and the eight before it; a state is the register without its oldest bit. State
    ``s`` is reached from ``2 s`` and ``2 s + 1`` modulo 256, whose registers are ``2 s`` and ``2 s + 1``.

    Returns:
        ``leads[i, state, start]``: by how much the odd predecessor leads; ``metric[state, start]`` after the last bit.
    """
    metric = np.full((_STATES, _STATES), _IMPOSSIBLE, dtype=np.int32)
    np.fill_diagonal(metric, 0)
    # By the state's top bit, then the rest, which alone says where it is reached from.
    halves = gains.reshape(-1, 2, _STATES // 2, 2, 1)
    leads = np.empty((len(gains), 2, _STATES // 2, _STATES), dtype=np.int32)
    even, odd = np.empty_like(leads[0]), np.empty_like(leads[0])
    for gain, lead in zip(halves, leads, strict=True):
        np.add(metric[0::2], gain[:, :, 0], out=even)
        np.add(metric[1::2], gain[:, :, 1], out=odd)
        np.subtract(odd, even, out=lead)
        np.maximum(even, odd, out=metric.reshape(even.shape))
    return leads.reshape(-1, _STATES, _STATES), metric


def _list(leads: NDArray[np.int32], ends: list[int], size: int) -> tuple[int, ...]:
    """Take complete paths off a heap, best first; each puts back, for every step on its way, the path that leaves it.

    An entry is a path that is settled from its end down to a step and state, and follows the survivors before that:
    (loss to nothing, its number, start, steps left, state, bits so far).
    """
    heap = [(-score, start, start, len(leads), start, 0) for start, score in enumerate(ends)]
    heapq.heapify(heap)
    number, words = len(heap), list[int]()
    while len(words) < size:
        cost, _, start, left, state, word = heapq.heappop(heap)
        for i in reversed(range(left)):
            word |= (state >> (MEMORY - 1)) << (len(leads) - 1 - i)
            lead = int(leads[i, state, start])
            if lead > _IMPOSSIBLE // 2 and -lead > _IMPOSSIBLE // 2:
                number += 1
                other = (2 * state + int(lead <= 0)) % _STATES
                heapq.heappush(heap, (cost + abs(lead), number, start, i, other, word))
            state = (2 * state + int(lead > 0)) % _STATES
        words.append(word)
    return tuple(words)


def _least_exponent(gains: NDArray[np.float64], height: float) -> float:
    """Minimize the exponent of Chernoff's bound, log E exp(s X) - s ``height``, by golden section over log s."""
    low, high = (math.log(min(tilt, _MAX_TILT)) for tilt in (height / 4, 4 * height))
    least = functools.partial(_exponent, gains, height)
    return golden_minimum(least, low, high, _TILT_STEP, enough=-WORD_BITS * math.log(2))


def _exponent(gains: NDArray[np.float64], height: float, log_tilt: float) -> float:
    tilt = math.exp(log_tilt)
    return _log_moment(tilt * gains) - tilt * height + _ROUNDING


def _log_moment(gains: NDArray[np.float64]) -> float:
    """Return log of the mean, over all words, of exp(the sum of gains along the word's closed path)."""
    peaks = gains.max(axis=1)
    halves = np.exp(gains - peaks[:, None]).reshape(-1, 2, _STATES // 2, 2, 1)
    weights, log_scale = np.eye(_STATES), float(peaks.sum())
    even, odd = np.empty((2, 2, _STATES // 2, _STATES))
    for factor in halves:
        np.multiply(weights[0::2], factor[:, :, 0], out=even)
        np.multiply(weights[1::2], factor[:, :, 1], out=odd)
        np.add(even, odd, out=weights.reshape(even.shape))
    return log_scale + math.log(float(np.trace(weights))) - len(gains) * math.log(2)


@functools.cache
def _signs() -> NDArray[np.float64]:
    """Return the four output signs of each of the 512 registers: shape (512, 4)."""
    parities = [[(register & g).bit_count() & 1 for g in GENERATORS] for register in range(2 * _STATES)]
    return 1.0 - 2.0 * np.array(parities, dtype=np.float64)
