"""Mark identifiers: birth by commit and reveal, commitment, and the keyed permutation to embedded words.

Rules 1 to 3 of the identity rules. An identifier is 64 uniform bits with no structure. Neither party can steer it: the
platform commits to its nonce first, then the licensee signs its own, then the platform opens.

Laws:
    ``unpermute(k, permute(k, w)) == w`` for every 64-bit ``w``;
    ``permute`` under a random key behaves as a random permutation: a decoding error lands on an unrelated identifier.
"""

from __future__ import annotations

import hashlib

from countermark.core.canonical import digest
from countermark.core.keys import Secret
from countermark.errors import InputError

WORD_BITS = 64
_HALF = 32
_MASK = 2**_HALF - 1
# Luby-Rackoff needs four rounds with ideal round functions; ten leave a wide margin at 32-bit halves.
_ROUNDS = 10


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


def permute(key: Secret, word: int) -> int:
    """Map an identifier to the word that a carrier holds: a 10-round Feistel network over keyed BLAKE2s."""
    left, right = _split(word)
    for number in range(_ROUNDS):
        left, right = right, left ^ _round(key, number, right)
    return left << _HALF | right


def unpermute(key: Secret, word: int) -> int:
    """Map an embedded word back to its identifier: the inverse of ``permute``."""
    left, right = _split(word)
    for number in reversed(range(_ROUNDS)):
        left, right = right ^ _round(key, number, left), left
    return left << _HALF | right


def _round(key: Secret, number: int, half: int) -> int:
    message = bytes([number]) + half.to_bytes(4, "big")
    return int.from_bytes(hashlib.blake2s(message, key=key.reveal(), digest_size=4, person=b"cm/perm1").digest(), "big")


def _split(word: int) -> tuple[int, int]:
    _word(word)
    return word >> _HALF, word & _MASK


def _word(value: int) -> bytes:
    if not 0 <= value < 2**WORD_BITS:
        raise InputError("an identifier has 64 bits")
    return value.to_bytes(8, "big")


def _sized(value: bytes) -> bytes:
    if len(value) != 32:
        raise InputError("expected 32 bytes, got {size}", size=len(value))
    return value
