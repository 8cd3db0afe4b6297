"""The keyed random numbers of vLLM's Gumbel watermark: 24 bits for a key, a context and a token.

* ``philox``: Philox4x32-10 (J. Salmon et al., SC 2011) absorbs the context four tokens at a time and is
  then asked for the token. It passes statistical tests and is no cryptographic function: who sees enough marked text
  may find the 64-bit key, or what follows from it.
* ``hmac_sha256``: HMAC-SHA-256 (RFC 2104) of context and token under a key of 256 bits.

Constants, byte orders and paddings are facts of the engine, versions ``philox4x32-10-v1`` and ``hmac-sha256-v1``.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from countermark.marking.text.foreign.parameters import Tokens

BITS = 24

_Words = NDArray[np.uint64]
_MASK, _HALF = np.uint64(2**32 - 1), np.uint64(32)
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
# What keeps contexts and tokens apart.
_CONTEXT, _TOKEN = np.uint64(0x574D4358), np.uint64(0x574D544B)
_HMAC_DOMAIN = b"vllm-watermark-hmac-sha256-v1\0"


def philox(key: int, contexts: Tokens, tokens: Tokens) -> NDArray[np.uint32]:
    """Return 24 bits for each of tokens (n, m) after contexts (n, width), under a key of 64 bits."""
    keys = np.uint64(key) & _MASK, np.uint64(key) >> _HALF
    width = contexts.shape[1]
    words = contexts.astype(np.uint64) & _MASK
    nothing = np.zeros((len(words), 1), dtype=np.uint64)
    state = [nothing + _CONTEXT, nothing + np.uint64(width), nothing, nothing]
    for start in range(0, width, 4):
        for lane in range(4):
            missing = _MASK - np.uint64(lane)
            word = words[:, start + lane, None] if start + lane < width else missing
            state[lane] = state[lane] ^ word
        state = _rounds(state, (keys[0] ^ np.uint64(start), keys[1]))
    asked = tokens.astype(np.uint64) & _MASK
    lanes = _rounds([asked >> np.uint64(2), *state[:3]], (keys[0] ^ state[3], keys[1] ^ _TOKEN))
    every = np.stack(np.broadcast_arrays(*lanes), axis=-1)
    chosen = np.take_along_axis(every, (tokens & 3)[..., None], axis=-1)[..., 0]
    return (chosen >> np.uint64(32 - BITS)).astype(np.uint32)


def hmac_sha256(key: int, contexts: Tokens, tokens: Tokens) -> NDArray[np.uint32]:
    """Return 24 bits for each of tokens (n, m) after contexts (n, width), under a key of 256 bits."""
    secret = key.to_bytes(32, "little")
    found = np.empty(tokens.shape, dtype=np.uint32)
    for row, (context, asked) in enumerate(zip(contexts.tolist(), tokens.tolist(), strict=True)):
        head = _HMAC_DOMAIN + struct.pack(f"<I{len(context)}q", len(context), *context)
        for column, token in enumerate(asked):
            tag = hmac.digest(secret, head + struct.pack("<q", token), hashlib.sha256)
            found[row, column] = int.from_bytes(tag[:4], "little") >> (32 - BITS)
    return found


# By name: the function, and how many bits its key has.
PRFS: dict[str, tuple[Callable[[int, Tokens, Tokens], NDArray[np.uint32]], int]] = {
    "philox": (philox, 64),
    "hmac_sha256": (hmac_sha256, 256),
}


def _rounds(counter: list[_Words], key: tuple[_Words | np.uint64, _Words | np.uint64]) -> list[_Words]:
    """Return four words of Philox4x32-10 for a counter of four and a key of two, words in the low halves."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = _FACTORS[0] * a, _FACTORS[1] * c
        a, b, c, d = (second >> _HALF) ^ b ^ left, second & _MASK, (first >> _HALF) ^ d ^ right, first & _MASK
        left, right = (left + _WEYL[0]) & _MASK, (right + _WEYL[1]) & _MASK
    return [a, b, c, d]
