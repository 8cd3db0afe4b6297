"""Parties and titles: admit a member, register a model."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from countermark.artifact import digest_model, survey
from countermark.core.canonical import show_digest
from countermark.core.keys import PublicKey, Secret, SigningKey
from countermark.errors import AlreadyRegistered, ConflictError, InputError
from countermark.marking.image.lattice import LatticeMark
from countermark.registry import (
    ROLES,
    Party,
    Title,
    Transaction,
    check_name,
    log_entry,
    name_digest,
    signing_key_digest,
)
from countermark.workflows.office import (
    Intent,
    Office,
    Receipt,
    append,
    envelope_digest,
    load,
    party,
    perform,
    recorder,
    sign,
)

#: Ledger role bits (contracts/src/Members.sol).
ROLE_BITS = {"owner": 1 << 2, "licensee": 1 << 3, "regulator": 1 << 5}


def add_party(
    office: Office, name: str, roles: list[str], *, public_key: PublicKey | None = None, address: str | None = None
) -> Party:
    """Admit a party to the ledger and return its record.

    Args:
        office: where.
        name: for people; unique in the workspace, never written to ledger or log.
        roles: from ``ROLES``.
        public_key: the party's own Ed25519 key if it signs elsewhere; otherwise a key is made and held here.
        address: its ledger account if it has one elsewhere; otherwise an account is made and held here.

    Raises:
        InputError: an empty or unknown role.
        ConflictError: the name is taken.
    """
    chosen = check_name(name)
    if not roles or not set(roles) <= set(ROLES):
        raise InputError("roles are: {roles}", roles=", ".join(ROLES))
    subject = {"name": chosen, "roles": sorted(set(roles)), "key": public_key.text if public_key else None}
    plan = lambda: _plan_party(office, chosen, roles, public_key, address)  # noqa: E731
    return Party.from_json(perform(office, "admit", subject, plan))


def _plan_party(
    office: Office, name: str, roles: list[str], public_key: PublicKey | None, address: str | None
) -> Intent:
    with office.store.transaction() as transaction:
        if transaction.find("party", name):
            raise ConflictError("there is a party called {name} already", name=name)
    identity, signing, account, salt = (
        secrets.token_hex(8),
        SigningKey.generate(),
        Secret.random(),
        secrets.token_bytes(32),
    )
    office.keys.add_all(
        ({} if public_key else {f"party/{identity}/signing": signing.seed.reveal()})
        | ({} if address else {f"party/{identity}/account": account.reveal()})
    )
    member = Party(
        id=identity,
        name=name,
        name_salt=salt.hex(),
        roles=sorted(set(roles)),
        signing_key=(public_key or signing.public).text,
        address=address or office.ledger.address_of(account),
        custody="external" if public_key else "held",
    )
    mask = sum(ROLE_BITS[role] for role in member.roles)
    call = (member.address, name_digest(name, salt), signing_key_digest(member.key), mask, 2**64 - 1)
    raw = office.ledger.prepare_call(office.account, "Members", "admit", call, office.ledger.fee_float())
    return {"transaction": raw.hex(), "party": member.to_json()}


@recorder("admit")
def _record_party(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    member = {**intent["party"], "admission": receipt.transaction_hash}
    entry = log_entry(
        "party",
        party=member["id"],
        name=show_digest(name_digest(member["name"], bytes.fromhex(member["name_salt"]))),
        signing_key=member["signing_key"],
        address=member["address"],
        custody=member["custody"],
        transaction=receipt.transaction_hash,
        time=office.now(),
    )
    append(transaction, entry)
    transaction.put("party", member["id"], member, index=(member["name"],))
    return member


def register_model(office: Office, directory: Path, owner: str) -> Title:
    """Digest a model directory, sign its manifest as the owner, mint the title, log it.

    Raises:
        InputError, HostileFile: the directory is not a safe model directory.
        AlreadyRegistered: the same weights have a title.
    """
    files = survey(directory)
    manifest = digest_model(files, progress=office.progress("digest"))
    with office.store.transaction() as transaction:
        holder = party(transaction, owner)
    if "owner" not in holder.roles:
        raise InputError("{name} is not admitted as an owner", name=holder.name)
    subject = {"weights": show_digest(manifest.content_root), "owner": holder.id}

    def plan() -> Intent:
        _refuse_second_title(office, manifest.content_root)
        key = office.detection_key(show_digest(manifest.content_root), LatticeMark.METHOD, 0)
        registration = sign(
            office.party_key(holder),
            "registration",
            {
                "office": office.id,
                "owner": holder.id,
                "owner_key": holder.signing_key,
                "manifest": manifest.to_json(),
                "registered_at": office.now(),
            },
        )
        call = (holder.address, manifest.digest, manifest.content_root, key.commitment)
        raw = office.ledger.prepare_call(office.account, "ModelTitles", "register", call)
        return {
            "transaction": raw.hex(),
            "registration": registration,
            "title": {
                "name": manifest.name,
                "holder": holder.id,
                "manifest_digest": show_digest(manifest.digest),
                "weights_root": show_digest(manifest.content_root),
                "total_bytes": manifest.total_bytes,
                "parameters": manifest.parameters,
                "epoch": 0,
                "key_id": key.key_id,
                "methods": [LatticeMark.METHOD],
            },
        }

    return Title.from_json(perform(office, "register", subject, plan))


def _refuse_second_title(office: Office, weights_root: bytes) -> None:
    earlier = office.ledger.title_of(weights_root)
    if earlier is not None:
        raise AlreadyRegistered(
            "these weights are registered as title {title}",
            hint="See it with: countermark title show {title}",
            title=earlier,
        )


@recorder("register")
def _record_title(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    event, title = receipt.event("TitleRegistered"), intent["title"]
    entry = log_entry(
        "title",
        title=int(event["titleId"]),
        holder=title["holder"],
        manifest=title["manifest_digest"],
        weights=title["weights_root"],
        registration=envelope_digest(intent["registration"]),
        transaction=receipt.transaction_hash,
        time=office.now(),
    )
    body = {
        **title,
        "id": int(event["titleId"]),
        "registration": intent["registration"],
        "transaction": receipt.transaction_hash,
        "log_index": append(transaction, entry),
        "registered_at": office.now(),
    }
    transaction.put("title", str(body["id"]), body, index=(title["weights_root"],))
    return body


def rotate_epoch(office: Office, number: int) -> Title:
    """Open the next epoch of a model's detection keys: commit the new key on the ledger and mark with it from then on.

    Earlier epochs stay readable: a trace tries every one.

    Raises:
        NotFoundError: no such title.
    """
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", number))

    def plan() -> Intent:
        key = office.detection_key(title.weights_root, LatticeMark.METHOD, title.epoch + 1)
        raw = office.ledger.prepare_call(office.account, "ModelTitles", "commitKey", (number, key.commitment))
        return {"transaction": raw.hex(), "title": number, "key_id": key.key_id, "method": key.method}

    return Title.from_json(perform(office, "epoch", {"title": number, "epoch": title.epoch + 1}, plan))


@recorder("epoch")
def _record_epoch(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    event = receipt.event("KeyCommitted")
    title: dict[str, Any] = load(transaction, "title", intent["title"])
    epoch = int(event["epoch"])
    entry = log_entry(
        "epoch",
        title=intent["title"],
        epoch=epoch,
        commitment=bytes(event["keyCommitment"]).hex(),
        transaction=receipt.transaction_hash,
        time=office.now(),
    )
    append(transaction, entry)
    title |= {
        "epoch": epoch,
        "key_id": intent["key_id"],
        "methods": [*title["methods"], intent["method"]],
        "epochs": title.get("epochs", {}) | {str(epoch): receipt.transaction_hash},
    }
    transaction.put("title", str(intent["title"]), title, index=(title["weights_root"],))
    return title
