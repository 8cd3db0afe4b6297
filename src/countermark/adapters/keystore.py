"""The keystore: every secret of a workspace in one file, encrypted under a passphrase.

scrypt (RFC 7914) turns the passphrase into a key; ChaCha20-Poly1305 (RFC 8439) seals the names and values together,
with the header as associated data. The file is replaced as a whole (write, fsync, rename), so a crash leaves the old
or the new. There is no default passphrase and no way to open the file without it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from countermark.core.canonical import canonical_json, parse_json
from countermark.core.keys import Secret
from countermark.errors import CountermarkError, KeystoreError, StorageError

FORMAT = "countermark.keystore/1"
MIN_PASSPHRASE = 8
# 64 MiB and about 0.2 s on one core: OWASP's password storage guidance asks for at least N=2**17, r=8 or equal cost.
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}
_MAX_N = 2**20


class Keystore:
    """Named secrets in memory, and their encrypted file. Names may be listed; values never print."""

    def __init__(self, path: Path, key: bytes, header: dict[str, Any], values: dict[str, str]) -> None:
        self._path, self._key, self._header, self._values = path, key, header, values

    @classmethod
    def create(cls, path: Path, passphrase: str) -> Keystore:
        """Make a new, empty keystore file.

        Raises:
            KeystoreError: the file exists, or the passphrase has fewer than 8 characters.
        """
        if path.exists():
            raise KeystoreError("there is a keystore at {path} already", path=path)
        if len(passphrase) < MIN_PASSPHRASE:
            raise KeystoreError("the passphrase needs at least {count} characters", count=MIN_PASSPHRASE)
        salt = secrets.token_bytes(16)
        header = {"format": FORMAT, "kdf": "scrypt", **_SCRYPT, "salt": base64.b64encode(salt).decode()}
        store = cls(path, _stretch(passphrase, header), header, {})
        store._save()
        return store

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Keystore:
        """Open an existing keystore.

        Raises:
            KeystoreError: missing file, wrong passphrase, or a damaged file; the last two cannot be told apart.
        """
        try:
            document = parse_json(path.read_bytes())
            header, nonce, sealed = (
                document["header"],
                base64.b64decode(document["nonce"]),
                base64.b64decode(document["sealed"]),
            )
            key = _stretch(passphrase, header)
            plain = ChaCha20Poly1305(key).decrypt(nonce, sealed, canonical_json(header))
        except FileNotFoundError as error:
            raise KeystoreError("there is no keystore at {path}", path=path) from error
        except (InvalidTag, KeyError, TypeError, ValueError, CountermarkError) as error:
            raise KeystoreError("wrong passphrase, or the keystore is damaged") from error
        return cls(path, key, header, json.loads(plain))

    @property
    def names(self) -> list[str]:
        """The names of the secrets, sorted."""
        return sorted(self._values)

    def add(self, **values: bytes) -> None:
        """Store secrets and write the file before returning.

        Raises:
            KeystoreError: a name is taken; secrets are never overwritten.
        """
        self.add_all(values)

    def add_all(self, values: dict[str, bytes]) -> None:
        """Store secrets under any names; see ``add``."""
        taken = sorted(values.keys() & self._values.keys())
        if taken:
            raise KeystoreError("the keystore holds {name} already", name=taken[0])
        self._values |= {name: base64.b64encode(value).decode() for name, value in values.items()}
        self._save()

    def bytes(self, name: str) -> bytes:
        """Return a secret's bytes.

        Raises:
            KeystoreError: there is none of that name.
        """
        try:
            return base64.b64decode(self._values[name])
        except KeyError as error:
            raise KeystoreError("the keystore holds no {name}", name=name) from error

    def secret(self, name: str) -> Secret:
        """Return a 32-byte secret."""
        return Secret(self.bytes(name))

    def holds(self, name: str) -> bool:
        """Whether there is a secret of that name."""
        return name in self._values

    def __repr__(self) -> str:
        return f"Keystore({self._path}, {len(self._values)} secrets)"

    def _save(self) -> None:
        nonce = secrets.token_bytes(12)
        plain = json.dumps(self._values, sort_keys=True).encode()
        sealed = ChaCha20Poly1305(self._key).encrypt(nonce, plain, canonical_json(self._header))
        document = {
            "header": self._header,
            "nonce": base64.b64encode(nonce).decode(),
            "sealed": base64.b64encode(sealed).decode(),
        }
        write_atomically(self._path, json.dumps(document, indent=1).encode(), mode=0o600)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file so that a crash leaves the old content or the new, never a mixture.

    Raises:
        StorageError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError("cannot write {path}: {reason}", path=path, reason=error.strerror) from error


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable: a new or renamed file in it is there after a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stretch(passphrase: str, header: dict[str, Any]) -> bytes:
    if header["format"] != FORMAT or not 2**14 <= header["n"] <= _MAX_N or header["r"] != 8 or header["p"] != 1:
        raise KeystoreError("the keystore asks for parameters that this version does not use")
    salt = base64.b64decode(header["salt"])
    return Scrypt(salt=salt, length=32, n=header["n"], r=8, p=1).derive(passphrase.encode())
