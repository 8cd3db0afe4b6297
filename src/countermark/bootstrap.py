"""The one place where ports meet adapters: make a workspace, open it, lock it.

A workspace is a folder::

    workspace.json   id, name, log origin, chain id; written last, so a folder without it is an unfinished ``init``
    keystore.json    every secret, encrypted (``adapters.keystore``)
    store.db         records, identifiers and the log's tiles (``adapters.store``)
    ledger.db        the embedded chain (``adapters.evm``), unless the ledger is a chain behind a node
    ledger.json      such a chain and our contracts on it, while and after they are deployed (``adapters.deployment``)
    noise/           the signs of every generation's noise, by title and epoch (``adapters.noise_ledger``)
    lock             held by the one process that works in it
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countermark.config import WORKSPACE_FILE
from countermark.core.canonical import parse_json
from countermark.core.keys import Secret, SigningKey
from countermark.core.progress import Progress
from countermark.core.times import Clock, show_time
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
        join: another office's deployment to work on (``Ledger.deployment``), instead of one of its own.
    """

    url: str
    confirmations: int = 0
    key: Secret | None = None
    join: Mapping[str, Any] | None = None


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
    platform_fee_bps: int = 0,
    currency: str = "CNY",
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Make a workspace: keys, store, log, and a ledger with the contracts deployed, or another office's.

    An ``init`` that was interrupted is taken up again with the same passphrase. An office that joins a deployment sends
    nothing to it: its account acts there once the governors have admitted it.

    Args:
        directory: made if missing.
        passphrase: at least 8 characters; protects every key.
        name: of the office, for people.
        progress: makes a progress callback for a label; silent by default.
        authority: URL of an outside RFC 3161 time-stamp authority and the PEM certificate of its root; without one the
            workspace stamps with an authority of its own, which is for trial.
        node: the chain to use as ledger; by default an embedded one.
        platform_fee_bps: basis points of every price on the market that go to the office, 0 to 1,000.
        currency: symbol of the settlement token.
        clock: gives the office's time and its embedded chain's; the machine's by default.

    Returns:
        The workspace document, with the ledger's ``deployment``, the office's ``account`` there (address) and its
        ``public_key``.

    Raises:
        ConflictError: there is a finished workspace.
        KeystoreError: the passphrase is too short, or not that of the unfinished workspace.
        InputError: the authority's URL or root is not one, or neither is the node's URL, its key or the confirmations;
            the fee or the currency is out of range.
        NetworkError: the node is away; call again.
        LedgerError: the office's account has no coin there; the node's chain is not that of the unfinished workspace or
            of the deployment to join; or that deployment is not what it says.
    """
    if (directory / WORKSPACE_FILE).exists():
        raise ConflictError("{path} is a workspace already", path=directory)
    _require_chain()
    if node is not None:
        _check_node(node)
    _check_market(platform_fee_bps, currency)
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
            "market": {"platform_fee_bps": platform_fee_bps, "currency": currency},
        }
        if authority is not None:
            document["timestamp_authority"] = _checked_authority(*authority)
        return _create(directory, passphrase, document, node, progress or _silent, clock or utc_now)


def _check_market(platform_fee_bps: int, currency: str) -> None:
    from countermark.adapters.foundation import Foundation

    Foundation(platform_fee_bps=platform_fee_bps, currency=currency)


def _check_node(node: LedgerNode) -> None:
    from countermark.adapters.node import check_url
    from countermark.adapters.transactions import account_of

    check_url(node.url)
    if not 0 <= node.confirmations <= _MAX_CONFIRMATIONS:
        raise InputError("confirmations are 0 to {limit}", limit=_MAX_CONFIRMATIONS)
    if node.key is not None:
        account_of(node.key)


def _create(
    directory: Path,
    passphrase: str,
    document: dict[str, Any],
    node: LedgerNode | None,
    progress: ProgressFactory,
    clock: Clock,
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
    ledger = _create_ledger(directory, document, keys.secret("ledger"), node, clock)
    deployment = ledger.deployment
    if node is not None:
        document["chain_id"] = deployment["chain_id"]
        document["market"] = market_of(ledger)
        document["ledger"] = {"url": node.url, "confirmations": node.confirmations, **deployment}
    account = ledger.address_of(keys.secret("ledger"))
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
    public = SigningKey(keys.secret("platform/0")).public.text
    return {**document, "deployment": deployment, "account": account, "public_key": public}


def market_of(ledger: Ledger) -> dict[str, Any]:
    """Return fee and currency of the market on a ledger, as its founder or its governors set them."""
    fee = ledger.view("Directory", "parameter", b"market.fee".ljust(32, b"\0"))
    return {"platform_fee_bps": int(fee), "currency": str(ledger.view("SettlementToken", "symbol"))}


def _create_ledger(
    directory: Path, document: dict[str, Any], account: Secret, node: LedgerNode | None, clock: Clock
) -> Ledger:
    from countermark.adapters.keystore import write_atomically
    from countermark.adapters.ledger import Ledger
    from countermark.adapters.transactions import account_of

    if node is None:
        path, chain_id = directory / "ledger.db", document["chain_id"]
        return Ledger.create(path, chain_id=chain_id, treasury=account, clock=clock, **document["market"])
    if node.key is not None and node.key != account:
        raise ConflictError(
            "the unfinished workspace has another ledger account: {address}",
            hint="Repeat the command without the key, or choose another folder.",
            address=account_of(account).address,
        )
    path = directory / "ledger.json"
    known = parse_json(path.read_bytes()) if path.exists() else None
    if node.join is not None:
        return _join_ledger(path, known, node)
    return Ledger.deploy(
        node.url,
        treasury=account,
        **document["market"],
        known=known,
        record=lambda deployment: write_atomically(path, json.dumps(deployment, indent=1).encode()),
        confirmations=node.confirmations,
    )


def _join_ledger(path: Path, known: Any, node: LedgerNode) -> Ledger:
    from countermark.adapters.keystore import write_atomically
    from countermark.adapters.ledger import Ledger

    assert node.join is not None
    ledger = Ledger.join(node.url, node.join, confirmations=node.confirmations)
    if known is not None and known != ledger.deployment:
        ledger.close()
        raise ConflictError(
            "the unfinished workspace has another deployment", hint="Choose another folder to join one in."
        )
    write_atomically(path, json.dumps(ledger.deployment, indent=1).encode())
    return ledger


def _open_ledger(directory: Path, document: dict[str, Any], clock: Clock) -> Ledger:
    from countermark.adapters.ledger import Ledger

    known = document.get("ledger")
    if known is None:
        return Ledger.open(directory / "ledger.db", clock=clock)
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
def open_office(
    directory: Path, passphrase: str, *, progress: ProgressFactory | None = None, clock: Clock | None = None
) -> Iterator[Office]:
    """Open a workspace, finish what a killed process left unfinished, and hold the lock until the block ends.

    Args:
        directory: of ``create_office``.
        passphrase: of its keystore.
        progress: makes a progress callback for a label; silent by default.
        clock: gives the office's time and its embedded chain's; the machine's by default.

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
        office, close = _assemble(directory, document, keys, progress or _silent, clock or utc_now)
        from countermark.workflows.office import recover

        try:
            recover(office)
            yield office
        finally:
            close()


def _assemble(
    directory: Path, document: dict[str, Any], keys: Keystore, progress: ProgressFactory, clock: Clock
) -> tuple[Office, Callable[[], None]]:
    from countermark.adapters.diffusion import DiffusersPipelines
    from countermark.adapters.index import EventIndex
    from countermark.adapters.language import LocalLanguages
    from countermark.adapters.noise_ledger import NoiseLedgerFolder
    from countermark.adapters.store import SqlStore
    from countermark.adapters.timestamp import HttpTsa, LocalTsa

    # Each workflow names its recorder on import; recovery needs all of them.
    from countermark.workflows import anchor, identity, license, market, register, title  # noqa: F401
    from countermark.workflows.office import Office

    ledger = _open_ledger(directory, document, clock)
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
        index=EventIndex(store, ledger.web3, ledger.deployment["contracts"]),
        keys=keys,
        tsa=HttpTsa(outside["url"]) if outside else local,
        clock=clock,
        progress=progress,
        pipelines=DiffusersPipelines(),
        languages=LocalLanguages(),
        noise=NoiseLedgerFolder(directory / "noise"),
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


def save_chain_key(path: Path, secret: Secret) -> None:
    """Write the key of a ledger account or a node as 64 hex digits that only its user can read.

    Raises:
        ConflictError: the file exists.
    """
    from countermark.adapters.keystore import write_atomically

    if path.exists():
        raise ConflictError("{path} exists", hint="Keys are never overwritten.", path=path)
    write_atomically(path, f"0x{secret.reveal().hex()}\n".encode(), mode=0o600)


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
