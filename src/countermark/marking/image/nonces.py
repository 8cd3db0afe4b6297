"""The code of the noise mark's nonce: a tail-biting convolutional code in which no two signs share a parity.

The bits of the nonce stand in a circle. At each bit a window of the ``WINDOW`` latest bits feeds many signs, each
through its own secret mask: sign = parity of (mask & window). Repetition, as other codes of such a low rate have it,
would show over many pictures as pairs of signs whose product never changes; here no pair is alike, and no triple.
Viterbi's algorithm reads it; the gains of all windows at one bit are one Walsh-Hadamard transform of the soft values
placed at their masks, whatever their number.

**What is proven.** Masks are distinct, have odd weight and hold their window's newest bit. So no one, two or three of
all their parities cancel (three odd weights do not sum to an even one), nor any odd number: over a uniform nonce, any
three signs are independent fair coins, and the product of any odd number is fair.

**What is not.** Four masks can cancel, and some do; the product of four such signs is the same in all pictures. Who
holds *exact* latents of some 60 pictures finds such sets by sorting the sums of all pairs of positions (1.3e8 pairs at
16,384 dimensions): the nonce is hidden from statistics, not from linear algebra. Attackers have pictures, not latents.
With the share e of signs wrong after inversion a product of four keeps a bias of (1 - 2 e)**4, which multiplies the
pictures needed by its inverse square and, worse for them, takes the exact match from the search. To be undetectable by
owners of exact latents takes a pseudorandom code, and its price.

Laws:
    ``decode_nonce(encode_nonce(n, masks), masks, 1) == [n]``, for masks of some positions per bit;
    any three rows of the code's generator are linearly independent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Signs = NDArray[np.int8]

# Bits of the nonce that feed one parity. Twice this less two stays under the bits of the shortest nonce, 24, so that no
# two windows of the circle hold each other's newest bits, and masks at different bits are different parities.
WINDOW = 12
# Masks that there are: of odd weight, with the newest bit.
MASKS = 2 ** (WINDOW - 2)
_STATES = 2 ** (WINDOW - 1)
# States at the seam of the circle that are tried.
_STARTS = 16


def choose_masks(drawn: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """Return ``count`` of all masks for each bit, shape (bits, count), by the order of random numbers (bits, MASKS)."""
    middles = np.argsort(drawn, axis=1, kind="stable")[:, :count] << 1
    # The top bit makes the weight odd.
    masks: NDArray[np.int64] = 1 | middles | (np.bitwise_count(middles) & 1).astype(np.int64) << (WINDOW - 1)
    return masks


def encode_nonce(nonce: int, masks: NDArray[np.int64]) -> Signs:
    """Return the code word of a nonce of ``len(masks)`` bits as signs, in the order of ``masks.ravel()``."""
    windows = np.array(_windows(nonce, len(masks)))
    parities = np.bitwise_count(masks & windows[:, None]) & 1
    signs: Signs = (1 - 2 * parities.astype(np.int8)).ravel()
    return signs


def decode_nonce(soft: NDArray[np.float64], masks: NDArray[np.int64], count: int) -> list[int]:
    """Return the ``count`` likeliest nonces, best first, of soft values in the order of ``encode_nonce``.

    Two free runs around the circle, forward and backward, rank the states at its seam. From each of the best, Viterbi's
    algorithm runs once more and must end where it began. A state is the window without its oldest bit.
    """
    gains = _gains(soft.reshape(masks.shape), masks)
    starts = np.argsort(_seam(gains))[::-1][:_STARTS]
    metric = np.full((_STARTS, _STATES), -np.inf, dtype=np.float32)
    metric[np.arange(_STARTS), starts] = 0.0
    survivors = np.empty((len(gains), _STARTS, _STATES), dtype=np.bool_)
    for i, gain in enumerate(gains):
        after = np.repeat(metric, 2, axis=1) + gain
        young, old = after[:, :_STATES], after[:, _STATES:]  # by the bit that leaves the window
        np.greater(old, young, out=survivors[i])
        metric = np.maximum(young, old)
    ranked = np.argsort(metric[np.arange(_STARTS), starts])[::-1][:count]
    return [_trace_back(survivors[:, run], int(starts[run])) for run in ranked.tolist()]


def _windows(nonce: int, bits: int) -> list[int]:
    """Return the window at each bit of the circle: the bit itself lowest, older ones above."""
    doubled = nonce | nonce << bits
    return [doubled >> (bits - 1 - i) & (2 * _STATES - 1) for i in range(bits)]


def _gains(soft: NDArray[np.float64], masks: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return, per bit of the nonce, what each window gains: sum of soft values by parity, shape (bits, 2**WINDOW)."""
    gains = np.zeros((len(masks), 2 * _STATES), dtype=np.float32)
    np.put_along_axis(gains, masks, soft.astype(np.float32), axis=1)  # masks at one bit are distinct
    half = _STATES
    while half:  # the fast Walsh-Hadamard transform
        pairs = gains.reshape(len(masks), -1, 2, half)
        low, high = pairs[:, :, 0], pairs[:, :, 1]
        gains = np.stack((low + high, low - high), axis=2).reshape(len(masks), -1)
        half //= 2
    return gains


def _seam(gains: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the best metric of paths once around that end in each state, plus that of paths that leave it."""
    ending = np.zeros(_STATES, dtype=np.float32)
    leaving = np.zeros(_STATES, dtype=np.float32)
    for gain in gains:
        after = np.repeat(ending, 2) + gain
        ending = np.maximum(after[:_STATES], after[_STATES:])
    for gain in gains[::-1]:
        before = np.concatenate((leaving, leaving)) + gain
        leaving = np.maximum(before[0::2], before[1::2])
    return ending + leaving


def _trace_back(survivors: NDArray[np.bool_], start: int) -> int:
    nonce, state, bits = 0, start, len(survivors)
    for i in reversed(range(bits)):
        nonce |= (state & 1) << (bits - 1 - i)
        state = state + _STATES * int(survivors[i, state]) >> 1
    return nonce
