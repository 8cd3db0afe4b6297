"""Secrets and signatures: Ed25519 keys, detection keys, key derivation.

Secret types never print. Pseudo-random functions are cryptographic (rule 5 of the identity rules): keyed BLAKE2b to
derive keys, ChaCha20 to expand them.

Laws:
    ``key.public.verify(m, key.sign(m))`` returns; any change of message, key or signature raises;
    ``derive_key`` is injective in its labels (each is length-prefixed), up to collisions of BLAKE2b.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from countermark.core.canonical import digest
from countermark.errors import InputError, SignatureInvalid

SECRET_BYTES = 32


class Secret:
    """32 secret bytes with no readable ``repr``; ``reveal()`` is the only way to them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if len(value) != SECRET_BYTES:
            raise InputError("a secret has {want} bytes", want=SECRET_BYTES)
        self._value = bytes(value)

    @classmethod
    def random(cls) -> Secret:
        """Return a fresh secret from the operating system."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    def reveal(self) -> bytes:
        """Return the 32 bytes."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def derive_key(master: Secret, *labels: str) -> Secret:
    """Derive an independent key for a purpose: keyed BLAKE2b-256 over the length-prefixed labels."""
    message = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (label.encode() for label in labels))
    return Secret(hashlib.blake2b(message, key=master.reveal(), digest_size=32, person=b"countermark/kdf1").digest())


def keystream(key: Secret, length: int, *, stream: int = 0) -> bytes:
    """Expand a key to ``length`` pseudo-random bytes: ChaCha20 (RFC 8439 block function) with ``stream`` as nonce.

    Args:
        key: the seed.
        length: number of bytes, at least 0, at most 2**37.
        stream: 0 to 2**64-1; different streams of one key are independent.
    """
    nonce = bytes(8) + stream.to_bytes(8, "little")  # cryptography's layout: counter (8, little endian), then nonce (8)
    return Cipher(algorithms.ChaCha20(key.reveal(), nonce), mode=None).encryptor().update(bytes(length))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key (RFC 8032): 32 raw bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise InputError("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> str:
        """Public name: ``ed25519:`` and the first 16 hex digits of the key's digest."""
        return f"ed25519:{digest('key-id/1', self.raw).hex()[:16]}"

    @property
    def text(self) -> str:
        """The key as 64 hex digits."""
        return self.raw.hex()

    @classmethod
    def from_text(cls, text: object) -> PublicKey:
        """Read 64 hex digits.

        Raises:
            InputError: anything else.
        """
        if not isinstance(text, str) or len(text) != 64:
            raise InputError("not an Ed25519 public key: {text}", text=str(text)[:80])
        try:
            return cls(bytes.fromhex(text))
        except ValueError as error:
            raise InputError("not an Ed25519 public key: {text}", text=text) from error

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return if ``signature`` is this key's over ``message``.

        Raises:
            SignatureInvalid: it is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid("signature by {key_id} does not verify", key_id=self.key_id) from error


class SigningKey:
    """An Ed25519 private key; prints only its public name."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: Secret) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self.public = PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh key."""
        return cls(Secret.random())

    @property
    def seed(self) -> Secret:
        """The 32-byte private seed."""
        return Secret(self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``. Documents go through ``core.dsse``."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.key_id})"


@dataclass(frozen=True, slots=True)
class DetectionKey:
    """The key of one method, model and epoch (rule 4 of the identity rules).

    ``embedding`` places the mark in the carrier; ``permutation`` maps identifiers to embedded words (rule 3) and is the
    only part that an evidence bundle discloses.
    """

    method: str
    model: str
    epoch: int
    secret: Secret

    @classmethod
    def derive(cls, master: Secret, *, method: str, model: str, epoch: int) -> DetectionKey:
        """Derive the key of ``method``, ``model`` (hex digest of its weights) and ``epoch`` from a workspace secret."""
        return cls(method, model, epoch, derive_key(master, "detection", method, model, str(epoch)))

    @property
    def embedding(self) -> Secret:
        """Key of the mark's place in the carrier. Secret for good."""
        return derive_key(self.secret, "embedding")

    @property
    def permutation(self) -> Secret:
        """Key of the identifier-to-word permutation. Opened in evidence."""
        return derive_key(self.secret, "permutation")

    @property
    def key_id(self) -> str:
        """Public name, safe to print."""
        return f"mark:{digest('detection-key-id/1', derive_key(self.secret, 'name').reveal()).hex()[:16]}"

    @property
    def commitment(self) -> bytes:
        """32 bytes for the ledger: binds both halves, reveals neither; ``key_commitment`` recomputes it when opened."""
        return key_commitment(self.embedding_commitment, self.permutation.reveal())

    @property
    def embedding_commitment(self) -> bytes:
        """The embedding half of ``commitment``, opened only if the key itself is disclosed."""
        return digest("embedding-key/1", self.embedding.reveal())


def key_commitment(embedding_commitment: bytes, permutation_key: bytes) -> bytes:
    """Return a detection key's commitment from its halves (both keys have 256 bits, so no salt is needed)."""
    return digest("detection-key/1", embedding_commitment + digest("permutation-key/1", permutation_key))


def epoch_commitment(commitments: Sequence[bytes]) -> bytes:
    """Return what the ledger holds for an epoch: its only key's commitment, or a digest over those of all its keys.

    The two cannot be confused, as each has a domain of its own, and the order of the keys counts.
    """
    return commitments[0] if len(commitments) == 1 else digest("detection-keys/1", b"".join(commitments))
