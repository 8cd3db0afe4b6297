"""The keyed random numbers of the sampling mark.

A *context* is the two tokens before the one that is chosen. AES-256 (FIPS 197) under one key turns it into a seed of 64
bits and a slot; under another, a seed, a symbol and a token into a number in (0, 1). Inputs are blocks that never
coincide, so as far as AES is a pseudo-random permutation all outputs are independent, up to the 2**-64 or so by which
2**32 blocks of a permutation differ from random ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from countermark.core.keys import Secret, derive_key
from countermark.marking.text.codewords import CHUNKS, SYMBOLS

CONTEXT = 2
# The share of contexts that show that the key is ours, whatever the word: DETECT of SLOTS, the rest in equal parts.
SLOTS, DETECT = 19, 3
# The slot that carries no chunk of the word, and the symbol that stands for none.
NO_CHUNK, NO_SYMBOL = CHUNKS, SYMBOLS
_LANES = 4


class Prf:
    """The random numbers of one key."""

    def __init__(self, secret: Secret) -> None:
        self._contexts = _cipher(derive_key(secret, "text", "contexts"))
        self._numbers = _cipher(derive_key(secret, "text", "numbers"))

    def seeds(self, contexts: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """Return seeds (n,) and chunks (n,) of contexts (n, CONTEXT); the chunk is ``NO_CHUNK`` in detect slots."""
        blocks = np.ascontiguousarray(contexts, dtype="<u8")
        words = np.frombuffer(self._contexts.update(blocks.tobytes()), dtype="<u8").reshape(-1, 2)
        slots = words[:, 1] % np.uint64(SLOTS)
        coded = (SLOTS - DETECT) // CHUNKS
        return words[:, 0], np.minimum(slots // np.uint64(coded), np.uint64(NO_CHUNK)).astype(np.intp)

    def numbers(
        self, seeds: NDArray[np.uint64], symbols: NDArray[np.intp], tokens: NDArray[np.int64]
    ) -> NDArray[np.uint32]:
        """Return 32 uniform bits for every seed, symbol and token, arrays of one shape."""
        lanes = self._lanes(seeds, symbols, tokens // _LANES)
        return np.asarray(np.take_along_axis(lanes, (tokens % _LANES)[..., None], axis=-1)[..., 0])

    def all_numbers(self, seeds: NDArray[np.uint64], symbols: NDArray[np.intp], vocabulary: int) -> NDArray[np.uint32]:
        """Return 32 uniform bits for every token of a vocabulary: (n, vocabulary), rows as the seeds and symbols."""
        groups = np.arange(-(-vocabulary // _LANES))
        lanes = self._lanes(*np.broadcast_arrays(seeds[:, None], symbols[:, None], groups))
        return lanes.reshape(len(seeds), -1)[:, :vocabulary]

    def _lanes(
        self, seeds: NDArray[np.uint64], symbols: NDArray[np.intp], groups: NDArray[np.int64]
    ) -> NDArray[np.uint32]:
        blocks = np.empty((*groups.shape, 2), dtype="<u8")
        blocks[..., 0] = seeds
        blocks[..., 1] = (symbols.astype(np.uint64) << np.uint64(48)) | groups.astype(np.uint64)
        numbers = np.frombuffer(self._numbers.update(blocks.tobytes()), dtype="<u4")
        return numbers.reshape(*groups.shape, _LANES)


def _cipher(key: Secret) -> Any:
    # Single blocks of a counter-like input: every block is encrypted by itself, in any order.
    return Cipher(algorithms.AES256(key.reveal()), modes.ECB()).encryptor()
