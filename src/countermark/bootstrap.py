"""The one place where ports meet adapters: make a workspace, open it, lock it.

A workspace is a folder::

    workspace.json   id, name, log origin, chain id; written last, so a folder without it is an unfinished ``init``
    keystore.json    every secret, encrypted (``adapters.keystore``)
    store.db         records, identifiers and the log's tiles (``adapters.store``)
    ledger.db        the embedded chain (``adapters.evm``)
    lock             held by the one process that works in it
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countermark.config import WORKSPACE_FILE
from countermark.core.canonical import parse_json
from countermark.core.keys import Secret, SigningKey
from countermark.core.progress import Progress
from countermark.core.times import show_time
from countermark.errors import ConflictError, InputError, NotFoundError, StorageError, WorkspaceBusy, require

if TYPE_CHECKING:
    from countermark.adapters.keystore import Keystore
    from countermark.workflows.office import Office

FORMAT = "countermark.workspace/1"
_LOCK_SECONDS = 30.0
_OFFICE_SECRETS = ("platform/0", "log/0", "ledger", "marks")

ProgressFactory = Callable[[str], Progress]


def utc_now() -> datetime:
    """Return the time of the machine's clock, aware."""
    return datetime.now(UTC)


def create_office(
    directory: Path,
    passphrase: str,
    *,
    name: str,
    progress: ProgressFactory | None = None,
    authority: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Make a workspace: keys, store, log, and an embedded ledger with the contracts deployed.

    An ``init`` that was interrupted is taken up again with the same passphrase.

    Args:
        directory: made if missing.
        passphrase: at least 8 characters; protects every key.
        name: of the office, for people.
        progress: makes a progress callback for a label; silent by default.
        authority: URL of an outside RFC 3161 time-stamp authority and the PEM certificate of its root; without one the
            workspace stamps with an authority of its own, which is for trial.

    Returns:
        The workspace document, with the ledger's ``deployment``.

    Raises:
        ConflictError: there is a finished workspace.
        KeystoreError: the passphrase is too short, or not that of the unfinished workspace.
        InputError: the authority's URL or root is not one.
    """
    if (directory / WORKSPACE_FILE).exists():
        raise ConflictError("{path} is a workspace already", path=directory)
    _require_chain()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot write in {path}", path=directory) from error
    with _locked(directory):
        document = {
            "format": FORMAT,
            "id": secrets.token_hex(8),
            "name": name,
            "chain_id": 1_000_000 + secrets.randbelow(2**30),
            "created": show_time(utc_now()),
        }
        if authority is not None:
            document["timestamp_authority"] = _checked_authority(*authority)
        return _create(directory, passphrase, document, progress or _silent)


def _create(directory: Path, passphrase: str, document: dict[str, Any], progress: ProgressFactory) -> dict[str, Any]:
    from countermark.adapters.keystore import Keystore, write_atomically
    from countermark.adapters.ledger import Ledger
    from countermark.adapters.store import SqlStore
    from countermark.adapters.timestamp import LocalTsa
    from countermark.workflows.keys import begin_key
    from countermark.workflows.office import key_periods

    report = progress("init")
    report(0, 3, "steps")
    path = directory / "keystore.json"
    keys = Keystore.open(path, passphrase) if path.exists() else Keystore.create(path, passphrase)
    if not keys.holds("document"):
        tsa = LocalTsa.create(document["name"], utc_now)
        keys.add_all(
            {name: Secret.random().reveal() for name in _OFFICE_SECRETS}
            | {"tsa": tsa.to_secret_bytes(), "document": json.dumps(document).encode()}
        )
    document = json.loads(keys.bytes("document"))
    document["origin"] = f"countermark.local/{document['id']}"
    report(1, 3, "steps")
    ledger = Ledger.create(
        directory / "ledger.db", chain_id=document["chain_id"], treasury=keys.secret("ledger"), clock=utc_now
    )
    deployment = ledger.deployment
    ledger.close()
    report(2, 3, "steps")
    store = SqlStore(directory / "store.db")
    (directory / "store.db").chmod(0o600)  # it holds identifiers and their salts
    with store.transaction() as transaction:
        for role in ("platform", "log"):
            if not key_periods(transaction, role):
                begin_key(transaction, role, SigningKey(keys.secret(f"{role}/0")).public, document["created"])
    store.close()
    write_atomically(directory / WORKSPACE_FILE, json.dumps(document, indent=1).encode())
    report(3, 3, "steps")
    return {**document, "deployment": deployment}


def _checked_authority(url: str, root: str) -> dict[str, str]:
    from cryptography.x509 import load_pem_x509_certificate

    if not url.startswith(("http://", "https://")):
        raise InputError("not a web address: {url}", url=url[:200])
    try:
        load_pem_x509_certificate(root.encode())
    except ValueError as error:
        raise InputError("a time-stamp root is not a PEM certificate") from error
    return {"url": url, "root": root}


@contextmanager
def open_office(directory: Path, passphrase: str, *, progress: ProgressFactory | None = None) -> Iterator[Office]:
    """Open a workspace, finish what a killed process left unfinished, and hold the lock until the block ends.

    Args:
        directory: of ``create_office``.
        passphrase: of its keystore.
        progress: makes a progress callback for a label; silent by default.

    Raises:
        NotFoundError: no workspace there.
        KeystoreError: wrong passphrase.
        WorkspaceBusy: another process works in it.
    """
    document = read_workspace(directory)
    _require_chain()
    from countermark.adapters.keystore import Keystore

    keys = Keystore.open(directory / "keystore.json", passphrase)
    with _locked(directory):
        office, close = _assemble(directory, document, keys, progress or _silent)
        from countermark.workflows.office import recover

        try:
            recover(office)
            yield office
        finally:
            close()


def _assemble(
    directory: Path, document: dict[str, Any], keys: Keystore, progress: ProgressFactory
) -> tuple[Office, Callable[[], None]]:
    from countermark.adapters.ledger import Ledger
    from countermark.adapters.store import SqlStore
    from countermark.adapters.timestamp import HttpTsa, LocalTsa

    # Each workflow names its recorder on import; recovery needs all of them.
    from countermark.workflows import anchor, license, register  # noqa: F401
    from countermark.workflows.office import Office

    store = SqlStore(directory / "store.db")
    ledger = Ledger.open(directory / "ledger.db", clock=utc_now)
    outside = document.get("timestamp_authority")
    local = LocalTsa.from_secret_bytes(keys.bytes("tsa"), utc_now)
    office = Office(
        id=document["id"],
        name=document["name"],
        origin=document["origin"],
        timestamp_roots=(*([outside["root"]] if outside else ()), local.root_pem.decode()),
        store=store,
        ledger=ledger,
        keys=keys,
        tsa=HttpTsa(outside["url"]) if outside else local,
        clock=utc_now,
        progress=progress,
    )

    def close() -> None:
        ledger.close()
        store.close()

    return office, close


def read_workspace(directory: Path) -> dict[str, Any]:
    """Return a workspace's document; needs no passphrase.

    Raises:
        NotFoundError: no workspace there, or an unfinished one.
    """
    path = directory / WORKSPACE_FILE
    try:
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise NotFoundError(
            "{path} is not a workspace", hint="Make one with: countermark init {path}", path=directory
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError("{path} was written by another version", path=path)
    return document


def save_party_key(path: Path, key: SigningKey) -> None:
    """Write an external party's key as an unencrypted PKCS#8 PEM file that only its user can read.

    Raises:
        ConflictError: the file exists.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from countermark.adapters.keystore import write_atomically

    if path.exists():
        raise ConflictError("{path} exists", hint="Keys are never overwritten.", path=path)
    private = Ed25519PrivateKey.from_private_bytes(key.seed.reveal())
    write_atomically(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)


def load_party_key(path: Path) -> SigningKey:
    """Read an external party's key from a PEM file (PKCS#8, Ed25519, without passphrase).

    Raises:
        InputError: it is not one.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError("cannot read an Ed25519 key from {path}", path=path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError("{path} holds another kind of key than Ed25519", path=path)
    return SigningKey(Secret(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())))


def _require_chain() -> None:
    for module in ("sqlalchemy", "web3", "eth", "asn1crypto"):
        require(module, "chain")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    import fcntl

    try:
        file = (directory / "lock").open("a")
    except OSError as error:
        raise StorageError("cannot write in {path}", path=directory) from error
    with file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise WorkspaceBusy("another process works in {path}", path=directory) from error
                time.sleep(0.05)
        yield


def _silent(_label: str) -> Progress:
    return lambda _done, _total, _unit: None
