"""The one place where ports meet adapters: make a workspace, open it, lock it.

A workspace is a folder::

    workspace.json   id, name, log origin, chain id; written last, so a folder without it is an unfinished ``init``
    keystore.json    every secret, encrypted (``adapters.keystore``)
    store.db         records, identifiers and the log's tiles (``adapters.store``)
    ledger.db        the embedded chain (``adapters.evm``), unless the ledger is a chain behind a node
    ledger.json      such a chain and our contracts on it, while and after they are deployed (``adapters.deployment``)
    lock             held by the one process that works in it
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    from countermark.adapters.ledger import Ledger
    from countermark.workflows.office import Office

FORMAT = "countermark.workspace/1"
_LOCK_SECONDS = 30.0
_MAX_CONFIRMATIONS = 10_000
_OFFICE_SECRETS = ("platform/0", "log/0", "ledger", "marks")

ProgressFactory = Callable[[str], Progress]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerNode:
    """An Ethereum chain to use as ledger instead of an embedded one.

    Attributes:
        url: of a node's JSON-RPC.
        confirmations: how many blocks must stand on a transaction's own before it counts, 0 to 10000; 0 where a mined
            block is final.
        key: the account that pays there, if not a new one.
    """

    url: str
    confirmations: int = 0
    key: Secret | None = None


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
    node: LedgerNode | None = None,
) -> dict[str, Any]:
    """Make a workspace: keys, store, log, and a ledger with the contracts deployed.

    An ``init`` that was interrupted is taken up again with the same passphrase.

    Args:
        directory: made if missing.
        passphrase: at least 8 characters; protects every key.
        name: of the office, for people.
        progress: makes a progress callback for a label; silent by default.
        authority: URL of an outside RFC 3161 time-stamp authority and the PEM certificate of its root; without one the
            workspace stamps with an authority of its own, which is for trial.
        node: the chain to use as ledger; by default an embedded one.

    Returns:
        The workspace document, with the ledger's ``deployment``.

    Raises:
        ConflictError: there is a finished workspace.
        KeystoreError: the passphrase is too short, or not that of the unfinished workspace.
        InputError: the authority's URL or root is not one, or neither is the node's URL, its key or the confirmations.
        NetworkError: the node is away; call again.
        LedgerError: the office's account has no coin there, or the node's chain is not that of the unfinished
            workspace.
    """
    if (directory / WORKSPACE_FILE).exists():
        raise ConflictError("{path} is a workspace already", path=directory)
    _require_chain()
    if node is not None:
        _check_node(node)
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
        return _create(directory, passphrase, document, node, progress or _silent)


def _check_node(node: LedgerNode) -> None:
    from countermark.adapters.node import check_url
    from countermark.adapters.transactions import account_of

    check_url(node.url)
    if not 0 <= node.confirmations <= _MAX_CONFIRMATIONS:
        raise InputError("confirmations are 0 to {limit}", limit=_MAX_CONFIRMATIONS)
    if node.key is not None:
        account_of(node.key)


def _create(
    directory: Path, passphrase: str, document: dict[str, Any], node: LedgerNode | None, progress: ProgressFactory
) -> dict[str, Any]:
    from countermark.adapters.keystore import Keystore, write_atomically
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
            | ({"ledger": node.key.reveal()} if node and node.key else {})
            | {"tsa": tsa.to_secret_bytes(), "document": json.dumps(document).encode()}
        )
    document = json.loads(keys.bytes("document"))
    document["origin"] = f"countermark.local/{document['id']}"
    report(1, 3, "steps")
    ledger = _create_ledger(directory, document, keys.secret("ledger"), node)
    deployment = ledger.deployment
    if node is not None:
        document["chain_id"] = deployment["chain_id"]
        document["ledger"] = {"url": node.url, "confirmations": node.confirmations, **deployment}
    ledger.close()
    report(2, 3, "steps")
    store = SqlStore(directory / "store.db")
    (directory / "store.db").chmod(0o600)  # it holds identifiers and their salts
    with store.transaction() as transaction:
        for role in ("platform", "log"):
            if not key_periods(transaction, role):
                begin_key(transaction, role, SigningKey(keys.secret(f"{role}/0")).public, document["created"])
    store.close()
    mode = 0o600 if node else 0o644  # a node's address may hold an access key
    write_atomically(directory / WORKSPACE_FILE, json.dumps(document, indent=1).encode(), mode=mode)
    report(3, 3, "steps")
    return {**document, "deployment": deployment}


def _create_ledger(directory: Path, document: dict[str, Any], account: Secret, node: LedgerNode | None) -> Ledger:
    from countermark.adapters.keystore import write_atomically
    from countermark.adapters.ledger import Ledger
    from countermark.adapters.transactions import account_of

    if node is None:
        path, chain_id = directory / "ledger.db", document["chain_id"]
        return Ledger.create(path, chain_id=chain_id, treasury=account, clock=utc_now)
    if node.key is not None and node.key != account:
        raise ConflictError(
            "the unfinished workspace has another ledger account: {address}",
            hint="Repeat the command without the key, or choose another folder.",
            address=account_of(account).address,
        )
    path = directory / "ledger.json"
    known = parse_json(path.read_bytes()) if path.exists() else None
    return Ledger.deploy(
        node.url,
        treasury=account,
        known=known,
        record=lambda deployment: write_atomically(path, json.dumps(deployment, indent=1).encode()),
        confirmations=node.confirmations,
    )


def _open_ledger(directory: Path, document: dict[str, Any]) -> Ledger:
    from countermark.adapters.ledger import Ledger

    known = document.get("ledger")
    if known is None:
        return Ledger.open(directory / "ledger.db", clock=utc_now)
    return Ledger.connect(known["url"], known, confirmations=known["confirmations"])


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
    from countermark.adapters.store import SqlStore
    from countermark.adapters.timestamp import HttpTsa, LocalTsa

    # Each workflow names its recorder on import; recovery needs all of them.
    from countermark.workflows import anchor, license, register  # noqa: F401
    from countermark.workflows.office import Office

    ledger = _open_ledger(directory, document)
    store = SqlStore(directory / "store.db")
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
