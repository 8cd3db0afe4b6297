"""A convolutional code for 64-bit words: rate 1/4, constraint length 9, tail-biting, decoded exactly by soft Viterbi.

The generators 463, 535, 733, 745 (octal) have free distance 24, the largest of their rate and memory (J. G. Proakis,
*Digital Communications*, table "Rate 1/4 maximum free distance codes"). Tail-biting starts the register with the last
eight bits of the word, so that no symbol is spent on a tail: 256 symbols for 64 bits. The decoder runs the Viterbi
algorithm from all 256 starting states at once and keeps the best path that ends where it began: maximum likelihood,
not the usual wrap-around approximation.

Laws:
    ``decode(encode(w)) == w`` for every 64-bit ``w``;
    ``decode(s) == w`` for every ``s`` that is ``encode(w)`` with at most ``CORRECTABLE`` signs flipped;
    ``decode(c * s) == decode(s)`` for every ``c > 0``.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError

WORD_BITS = 64
RATE = 4
SYMBOLS = WORD_BITS * RATE
MEMORY = 8
GENERATORS = (0o463, 0o535, 0o733, 0o745)
# Half the least distance between code words, which tail-biting leaves at the free distance of 24, rounded down below.
CORRECTABLE = 11
_STATES = 2**MEMORY


def encode(word: int) -> NDArray[np.float64]:
    """Return the code word of a 64-bit word as 256 signs, +1 for a zero bit; symbol ``4 i + j`` is of bit ``i``.

    Raises:
        InputError: not a 64-bit word.
    """
    if not 0 <= word < 2**WORD_BITS:
        raise InputError("a word has 64 bits")
    bits = [word >> (WORD_BITS - 1 - i) & 1 for i in range(WORD_BITS)]
    registers = [sum(bits[i - age] << (MEMORY - age) for age in range(MEMORY + 1)) for i in range(WORD_BITS)]
    return _signs()[registers].ravel()


def decode(symbols: NDArray[np.float64]) -> int:
    """Return the word whose code word correlates most with ``symbols``.

    Args:
        symbols: 256 finite soft values in the order of ``encode``; the sign is the decision, the size its reliability.

    Raises:
        InputError: another shape, or a value that is not finite.
    """
    values = np.asarray(symbols, dtype=np.float64)
    if values.shape != (SYMBOLS,) or not np.isfinite(values).all():
        raise InputError("expected {count} finite symbols", count=SYMBOLS)
    gains = values.reshape(WORD_BITS, RATE) @ _signs().T
    survivors, metric = _forward(gains)
    return _trace_back(survivors, int(np.argmax(np.diagonal(metric))))


def _forward(gains: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Run Viterbi from every state at once.

    A register holds the new bit on top and the eight before it; a state is the register without its oldest bit. State
    ``s`` is reached from ``2 s`` and ``2 s + 1`` modulo 256, whose registers are ``2 s`` and ``2 s + 1``.

    Returns:
        ``survivors[i, state, start]``: whether the odd predecessor won; ``metric[state, start]`` after the last bit.
    """
    metric = np.full((_STATES, _STATES), -np.inf)
    np.fill_diagonal(metric, 0.0)
    survivors = np.empty((WORD_BITS, _STATES, _STATES), dtype=np.bool_)
    for i, gain in enumerate(gains):
        before = np.concatenate((metric, metric))
        even, odd = before[0::2] + gain[0::2, None], before[1::2] + gain[1::2, None]
        np.greater(odd, even, out=survivors[i])
        metric = np.maximum(even, odd)
    return survivors, metric


def _trace_back(survivors: NDArray[np.bool_], start: int) -> int:
    word, state = 0, start
    for i in reversed(range(WORD_BITS)):
        word |= (state >> (MEMORY - 1)) << (WORD_BITS - 1 - i)
        state = (2 * state + int(survivors[i, state, start])) % _STATES
    return word


@functools.cache
def _signs() -> NDArray[np.float64]:
    """Return the four output signs of each of the 512 registers: shape (512, 4)."""
    parities = [[(register & g).bit_count() & 1 for g in GENERATORS] for register in range(2 * _STATES)]
    return 1.0 - 2.0 * np.array(parities, dtype=np.float64)
