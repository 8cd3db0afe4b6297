"""Signed heads of the log: C2SP tlog-checkpoint, a C2SP signed note with Ed25519 (signature type 0x01).

Laws:
    ``open_checkpoint(sign_checkpoint(o, n, r, k), o, k.public) == Checkpoint(o, n, r)``;
    another origin, size, root or key raises ``SignatureInvalid``;
    a signer that keeps its memory never signs two heads of which neither extends the other.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from countermark.core.canonical import digest
from countermark.core.keys import PublicKey, SigningKey
from countermark.core.merkle import HASH_BYTES, verify_consistency
from countermark.errors import CheckpointInconsistent, InputError, ProofInvalid, SignatureInvalid
from countermark.evidence.log import TileReader, prove_consistency, root

MAX_CHECKPOINT_BYTES = 4096
_MAX_SIZE = 2**63 - 1
_SIZE = re.compile("0|[1-9][0-9]{0,18}")
_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's name, how many entries it holds, and the 32-byte root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note text that is signed."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"


class SignerMemory(Protocol):
    """What the signer last signed, kept apart from the log, so that a log restored from an old copy is noticed."""

    def get(self) -> tuple[int, bytes] | None:
        """Return size and root of the last signed head, or None."""

    def put(self, size: int, root: bytes) -> None:
        """Remember a head; it must be durable when this returns."""


def sign_checkpoint(origin: str, size: int, root: bytes, key: SigningKey) -> str:
    """Sign a head and return the note: origin, size, root, blank line, signature line.

    A log's own heads are signed through ``sign_head``, which never contradicts itself.

    Args:
        origin: the log's name, such as ``example.com/log``: printable, no spaces, no plus, at most 255 bytes.
        size: entries, 0 to 2**63-1.
        root: 32 bytes.
        key: the log's key.

    Raises:
        InputError: an argument is out of range.
    """
    checkpoint = _checked(Checkpoint(origin, size, root))
    signature = key.sign(checkpoint.text.encode())
    return f"{checkpoint.text}\n{_DASH}{origin} {_encode(_key_hash(origin, key.public) + signature)}\n"


def open_checkpoint(text: str, origin: str, key: PublicKey) -> Checkpoint:
    """Return the head if ``key`` signed it for ``origin``; signatures by others (witnesses) are left alone.

    Raises:
        InputError: not a checkpoint, or over 4 KiB.
        SignatureInvalid: another origin, no signature by this key, or one that does not verify.
    """
    checkpoint, body, signatures = _parse(text)
    if checkpoint.origin != origin:
        raise SignatureInvalid("a checkpoint of {found}, not of {origin}", found=checkpoint.origin, origin=origin)
    key_hash = _key_hash(origin, key)
    for name, raw in signatures:
        if name == origin and raw[:4] == key_hash:
            key.verify(body.encode(), raw[4:])
            return checkpoint
    raise SignatureInvalid("the checkpoint is not signed by {key_id}", key_id=key.key_id)


def read_unverified(text: str) -> Checkpoint:
    """Return what a checkpoint states without checking who signed it.

    Raises:
        InputError: not a checkpoint, or over 4 KiB.
    """
    return _parse(text)[0]


def checkpoint_digest(text: str) -> bytes:
    """Return the 32-byte digest of the signed text: a witness's signature added later does not change it.

    Raises:
        InputError: not a checkpoint, or over 4 KiB.
    """
    return digest("checkpoint/1", _parse(text)[1].encode())


def verifier_key(origin: str, key: PublicKey) -> str:
    """Return the key as other tools for signed notes take it: ``<name>+<key hash in hex>+<base64 of type and key>``."""
    return f"{origin}+{_key_hash(origin, key).hex()}+{_encode(_ED25519 + key.raw)}"


def sign_head(tiles: TileReader, origin: str, key: SigningKey, memory: SignerMemory) -> str:
    """Sign the head of the log, unless that would contradict what was signed before.

    The head is remembered before it is signed, so an interruption can only repeat a signature. Call it on a log whose
    last append is committed.

    Raises:
        CheckpointInconsistent: the log is smaller than, or does not extend, the last signed head. Nothing is signed:
            the log was restored from an old copy, or tampered with.
    """
    size = tiles.head().size
    now = root(tiles, size)
    _check_growth(tiles, memory.get(), size, now)
    memory.put(size, now)
    return sign_checkpoint(origin, size, now, key)


def _check_growth(tiles: TileReader, last: tuple[int, bytes] | None, size: int, now: bytes) -> None:
    if last is None:
        return
    if size < last[0]:
        raise CheckpointInconsistent(
            "the log holds {size} entries, but a head of {signed} was signed",
            hint="Restore the log from its latest copy; signing a smaller head would fork it.",
            size=size,
            signed=last[0],
        )
    try:
        verify_consistency(last[0], size, last[1], now, prove_consistency(tiles, last[0], size))
    except ProofInvalid as error:
        raise CheckpointInconsistent(
            "the log does not extend the signed head of {signed} entries",
            hint="Its history was changed. Compare it with a copy, an anchor or a witness before anything else.",
            signed=last[0],
        ) from error


def _parse(text: str) -> tuple[Checkpoint, str, list[tuple[str, bytes]]]:
    """Return the head, the signed text, and the signatures as (key name, key hash and signature)."""
    if len(text) > MAX_CHECKPOINT_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_CHECKPOINT_BYTES:
        raise InputError("a checkpoint is over the limit of {limit} bytes", limit=MAX_CHECKPOINT_BYTES)
    body, blank, rest = text.rpartition("\n\n")
    lines = body.split("\n")
    if not blank or not rest.endswith("\n") or "" in lines or not text.replace("\n", "").isprintable():
        raise InputError("not a signed note")
    if len(lines) < 3 or not _SIZE.fullmatch(lines[1]):
        raise InputError("not a checkpoint")
    checkpoint = _checked(Checkpoint(lines[0], int(lines[1]), _decode(lines[2])))
    return checkpoint, f"{body}\n", [_parse_signature(line) for line in rest[:-1].split("\n")]


def _parse_signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _is_name(name):
        raise InputError("not a signature line of a note")
    raw = _decode(encoded)
    if len(raw) < 5:
        raise InputError("not a signature line of a note")
    return name, raw


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    if not _is_name(checkpoint.origin) or len(checkpoint.origin.encode()) > 255:
        raise InputError("not a log origin: {origin}", origin=checkpoint.origin[:80])
    if not 0 <= checkpoint.size <= _MAX_SIZE or len(checkpoint.root) != HASH_BYTES:
        raise InputError("not a checkpoint")
    return checkpoint


def _is_name(name: str) -> bool:
    return name.isprintable() and name.split() == [name] and "+" not in name


def _key_hash(name: str, key: PublicKey) -> bytes:
    """C2SP signed-note, "Ed25519 signatures": the first four bytes of SHA-256(name, newline, 0x01, key)."""
    return sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    """Read base64 in its one canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InputError("not valid base64 in a checkpoint") from error
    if _encode(data) != text:
        raise InputError("not valid base64 in a checkpoint")
    return data
