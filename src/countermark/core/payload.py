"""Mark identifiers: birth by commit and reveal, commitment, and the keyed permutation to embedded words.

Rules 1 to 3 of the identity rules. An identifier is 64 uniform bits with no structure. Neither party can steer it: the
platform commits to its nonce first, then the licensee signs its own, then the platform opens.

Laws:
    ``unpermute(k, permute(k, w)) == w`` for every 64-bit ``w``, and of ``bits`` for every word of so many bits;
    ``permute`` under a random key behaves as a random permutation: a decoding error lands on an unrelated identifier;
    ``permute_many(k, words)[i] == permute(k, words[i])``.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from countermark.core.canonical import digest
from countermark.core.keys import Secret
from countermark.errors import InputError

WORD_BITS = 64
# Luby-Rackoff needs four rounds with ideal round functions; ten leave a wide margin at 32-bit halves.
_ROUNDS = 10
# The block that a round enciphers: a fixed name, the round, a half. The first four bytes of the answer are its value.
_NAME = b"cm/perm2"
_BLOCK = Struct(">8sII")


def commit_nonce(nonce: bytes) -> bytes:
    """Return the platform's commitment to its 32-byte nonce, published before the licensee chooses its own."""
    return digest("identifier-nonce/1", _sized(nonce))


def derive_identifier(platform_nonce: bytes, licensee_nonce: bytes, context: bytes) -> int:
    """Return the identifier, 0 to 2**64-1, fixed by both 32-byte nonces and the 32-byte digest of what was accepted."""
    joined = _sized(platform_nonce) + _sized(licensee_nonce) + _sized(context)
    return int.from_bytes(digest("identifier/1", joined)[:8], "big")


def commit_identifier(identifier: int, salt: bytes) -> bytes:
    """Return H(domain, identifier, 256-bit salt): the 32 bytes that stand on the ledger."""
    return digest("mark-commitment/1", _word(identifier) + _sized(salt))


def show_identifier(identifier: int) -> str:
    """Write an identifier or word as 16 hex digits."""
    return _word(identifier).hex()


def read_identifier(text: object) -> int:
    """Read what ``show_identifier`` wrote.

    Raises:
        InputError: anything else.
    """
    if isinstance(text, str) and len(text) == 16:
        try:
            return int(text, 16)
        except ValueError:
            pass
    raise InputError("not a 64-bit identifier: {text}", text=str(text)[:40])


def permute(key: Secret, word: int, *, bits: int = WORD_BITS) -> int:
    """Map an identifier to the word that a carrier holds: a 10-round Feistel network over AES-256.

    Args:
        key: chooses the permutation.
        word: 0 to 2**bits - 1.
        bits: even, 2 to 64. A key serves words of one size.
    """
    left, right = _split(word, bits)
    cipher = _cipher(key)
    for number in range(_ROUNDS):
        left, right = right, left ^ _round(cipher, number, right, bits)
    return left << bits // 2 | right


def unpermute(key: Secret, word: int, *, bits: int = WORD_BITS) -> int:
    """Map an embedded word back to its identifier: the inverse of ``permute``."""
    left, right = _split(word, bits)
    cipher = _cipher(key)
    for number in reversed(range(_ROUNDS)):
        left, right = right ^ _round(cipher, number, left, bits), left
    return left << bits // 2 | right


def permute_many(key: Secret, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Map 64-bit identifiers, shape (n,), as ``permute`` maps each."""
    left, right = (words >> np.uint64(32)).astype(np.uint32), words.astype(np.uint32)
    cipher = _cipher(key)
    blocks = np.empty((len(words), 4), dtype=">u4")
    blocks[:, :2] = np.frombuffer(_NAME, dtype=">u4")
    for number in range(_ROUNDS):
        blocks[:, 2], blocks[:, 3] = number, right
        values = np.frombuffer(cipher.update(blocks.tobytes()), dtype=">u4").reshape(-1, 4)[:, 0]
        left, right = right, left ^ values.astype(np.uint32)
    return left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)


def _cipher(key: Secret) -> Any:
    return Cipher(algorithms.AES(key.reveal()), modes.ECB()).encryptor()


def _round(cipher: Any, number: int, half: int, bits: int) -> int:
    block = cipher.update(_BLOCK.pack(_NAME, number, half))
    return int.from_bytes(block[:4], "big") >> (WORD_BITS - bits) // 2


def _split(word: int, bits: int) -> tuple[int, int]:
    if bits % 2 or not 2 <= bits <= WORD_BITS or not 0 <= word < 2**bits:
        raise InputError("an identifier has 64 bits")
    return word >> bits // 2, word & (2 ** (bits // 2) - 1)


def _word(value: int) -> bytes:
    if not 0 <= value < 2**WORD_BITS:
        raise InputError("an identifier has 64 bits")
    return value.to_bytes(8, "big")


def _sized(value: bytes) -> bytes:
    if len(value) != 32:
        raise InputError("expected 32 bytes, got {size}", size=len(value))
    return value
