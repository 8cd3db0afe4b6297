"""The office's own keys: their periods, and how one follows another."""

from __future__ import annotations

from typing import Any

from countermark.core.keys import PublicKey, SigningKey
from countermark.errors import ConflictError, InputError, NotFoundError
from countermark.evidence.rereading import EMBEDDING_KEY_FORMAT
from countermark.evidence.trust import MAX_CHECKPOINTS, KeyPeriod, KnownCheckpoint, Trust
from countermark.registry import Title, Transaction, log_entry
from countermark.workflows.anchor import anchor_log
from countermark.workflows.office import Office, append, key_periods, load

OFFICE_ROLES = ("platform", "log")
#: Short names of methods, each with what its full names begin with.
METHODS = {"lattice": "image.lattice/", "noise": "image.noise/", "sampling": "text.gumbel/"}


def begin_key(transaction: Transaction, role: str, key: PublicKey, moment: str) -> None:
    """Put a role's first or next key in office; the one before it ends at the same moment, and the log says so."""
    periods = key_periods(transaction, role)
    if periods:
        transaction.put("key-period", f"{role}/{len(periods) - 1}", {**periods[-1], "until": moment})
    period = {"role": role, "key": key.text, "from": moment, "until": None}
    transaction.put("key-period", f"{role}/{len(periods)}", period)
    append(transaction, log_entry("key", role=role, key=key.text, generation=len(periods), time=moment))


def rotate_key(office: Office, role: str) -> dict[str, Any]:
    """Put a new platform or log key in office and return its period; the old one's signatures stay valid for its own.

    Raises:
        InputError: an unknown role.
    """
    if role not in OFFICE_ROLES:
        raise InputError("the office's keys are: {roles}", roles=", ".join(OFFICE_ROLES))
    with office.store.transaction() as transaction:
        generation = len(key_periods(transaction, role))
    name = f"{role}/{generation}"
    if not office.keys.holds(name):  # held already where an earlier rotation was killed half way
        office.keys.add_all({name: SigningKey.generate().seed.reveal()})
    with office.store.transaction() as transaction:
        begin_key(transaction, role, SigningKey(office.keys.secret(name)).public, office.now())
        return key_periods(transaction, role)[-1]


def disclose_key(office: Office, number: int, epoch: int, *, method: str | None = None) -> dict[str, Any]:
    """Return the embedding key of a model's epoch, for an expert who reads a suspect again; the log records it.

    Whoever has it can write marks of that epoch, so the epoch must not be in use any more. The keys of its other
    methods stay secret.

    Args:
        office: where.
        number: the title.
        epoch: one that is over.
        method: one of ``METHODS``; None is the lattice's key, or of a language model the sampling mark's.

    Raises:
        NotFoundError: no such title, no such epoch, or no key of that method in it.
        ConflictError: the epoch is in use.
    """
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", number))
        if not 0 <= epoch <= title.epoch:
            raise NotFoundError("title {title} has no epoch {epoch}", title=number, epoch=epoch)
        if epoch == title.epoch:
            raise ConflictError(
                "epoch {epoch} of title {title} is in use",
                hint="Open the next one first: countermark key epoch {title}",
                epoch=epoch,
                title=number,
            )
        keys = office.epoch_keys(title, epoch)
        keys = keys[:1] if method is None else [key for key in keys if key.method.startswith(METHODS[method])]
        if not keys:
            raise NotFoundError(
                "epoch {epoch} of title {title} has no {method} key", epoch=epoch, title=number, method=method
            )
        (key,) = keys
        append(transaction, log_entry("disclosure", title=number, epoch=epoch, key_id=key.key_id, time=office.now()))
    return {
        "format": EMBEDDING_KEY_FORMAT,
        "title": number,
        "epoch": epoch,
        "method": key.method,
        "key": key.embedding.reveal().hex(),
    }


def export_trust(office: Office) -> Trust:
    """Anchor the log and return what a verifier should hold about this office; it travels apart from bundles."""
    anchor_log(office)
    return describe_trust(office)


def describe_trust(office: Office) -> Trust:
    """Return the trust document as of now, with the checkpoints anchored so far."""
    deployment = office.ledger.deployment
    with office.store.transaction() as transaction:
        periods = {role: _periods(transaction, role) for role in OFFICE_ROLES}
        anchors = list(transaction.all("anchor"))[-MAX_CHECKPOINTS:]
    return Trust(
        office=office.id,
        name=office.name,
        exported_at=office.now(),
        platform_keys=periods["platform"],
        origin=office.origin,
        log_keys=periods["log"],
        chain_id=deployment["chain_id"],
        genesis_hash=deployment["genesis_hash"],
        engine=deployment["engine"],
        contracts={name: address.lower() for name, address in deployment["contracts"].items()},
        timestamp_roots=tuple(office.timestamp_roots),
        checkpoints=tuple(KnownCheckpoint(size=anchor["size"], root=anchor["root"]) for anchor in anchors),
    )


def _periods(transaction: Transaction, role: str) -> tuple[KeyPeriod, ...]:
    return tuple(
        KeyPeriod(key=period["key"], start=period["from"], end=period["until"])
        for period in key_periods(transaction, role)
    )
