"""A baseline: Gaussian Shading with its key fixed, as the noise mark's nearest relative is commonly deployed.

Written from the description in Z. Yang et al., "Gaussian Shading: Provable Performance-Lossless Image Watermarking for
Diffusion Models", CVPR 2024, section 4: a message is repeated to the size of the latent, encrypted by a stream cipher,
and its bits choose the half of the normal distribution that a value is drawn from. After inversion the signs are
decrypted, and each message bit is the majority of its copies. With one key and nonce for all pictures, which nobody has
to store, equal messages give equal signs in every picture; that is what a classifier learns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import Secret, keystream
from countermark.core.stats import binomial_tail

MESSAGE_BITS = 256

Bits = NDArray[np.int8]
Latents = NDArray[np.float32]


class GaussianShading:
    """One account's mark in latents of ``size`` values: a message of 256 bits under a key used for every picture."""

    def __init__(self, secret: Secret, size: int) -> None:
        self._stream = np.unpackbits(np.frombuffer(keystream(secret, -(-size // 8)), np.uint8), count=size)

    def latents(self, messages: Bits, generator: np.random.Generator) -> Latents:
        """Return one latent for every row of ``messages`` (n, 256), flat: (n, size), normal in every coordinate."""
        copies = np.resize(np.arange(MESSAGE_BITS), len(self._stream))
        encrypted = messages[:, copies] ^ self._stream
        halves = np.abs(generator.standard_normal(encrypted.shape, dtype=np.float32))
        return np.where(encrypted, halves, -halves)

    def read(self, latent: Latents) -> Bits:
        """Return the message in a flat latent, each bit by majority."""
        decrypted = (latent > 0) ^ self._stream.astype(bool)
        votes = np.where(decrypted, 1.0, -1.0)
        copies = np.resize(np.arange(MESSAGE_BITS), len(votes))
        return np.asarray(np.bincount(copies, weights=votes, minlength=MESSAGE_BITS) > 0, dtype=np.int8)


def p_value(read: Bits, message: Bits) -> float:
    """Return the probability that as many bits of a message known beforehand match by chance."""
    return binomial_tail(int((read == message).sum()), MESSAGE_BITS, 0.5)
