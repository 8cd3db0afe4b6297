"""Parties and titles: admit a member, register a model."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from countermark.artifact import digest_model, survey
from countermark.core.canonical import show_digest
from countermark.core.dsse import read_unverified
from countermark.core.keys import PublicKey, Secret, SigningKey, epoch_commitment
from countermark.errors import AlreadyRegistered, ConflictError, InputError
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.noise import NoiseMark
from countermark.marking.text.sampling import TextMark
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
from countermark.workflows.kinship import refuse_undeclared
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

#: Ledger role bits (contracts/src/Members.sol). An operator is registrar, anchorer and marking service; it does not
#: issue money, which is the treasurer's.
ROLE_BITS = {
    "governor": 1 << 0,
    "owner": 1 << 2,
    "licensee": 1 << 3,
    "regulator": 1 << 5,
    "arbiter": 1 << 6,
    "expert": 1 << 7,
    "treasurer": 1 << 8,
    "marker": 1 << 9,
    "operator": 1 << 1 | 1 << 4 | 1 << 9,
}


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

    An account that is a member already, for instance by another office, keeps the roles that it has.

    Raises:
        InputError: an empty or unknown role.
        ConflictError: the name is taken, or the account is a member with another signing key.
        RightsError: the office is no governor.
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
    mask = role_mask(member.roles) | _roles_of(office, member)
    call = (member.address, name_digest(name, salt), signing_key_digest(member.key), mask, 2**64 - 1)
    raw = office.ledger.prepare_call(office.account, "Members", "admit", call, office.ledger.fee_float())
    return {"transaction": raw.hex(), "party": member.to_json()}


def role_mask(roles: Iterable[str]) -> int:
    """Return the ledger's bits of some roles."""
    return reduce(or_, (ROLE_BITS[role] for role in roles), 0)


def _roles_of(office: Office, member: Party) -> int:
    """Return the roles that an account has on the ledger; admitting it again must not take them, or change its key."""
    found = office.ledger.record("Members", "memberOf", member.address)
    if any(found["signing_key_digest"]) and found["signing_key_digest"] != signing_key_digest(member.key):
        raise ConflictError(
            "{address} is a member already, with another signing key",
            hint="Give that key with --public-key.",
            address=member.address,
        )
    return int(found["roles"])


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


def forget_party(office: Office, name: str) -> Party:
    """Erase a party's name and its salt, for good; keys, grants and everything on ledger and log stay as they are.

    The digest that stands there for the name says nothing any more. Evidence that has to open it cannot be made again;
    bundles that were handed out keep it.

    Raises:
        NotFoundError: no such party.
        ConflictError: its name was erased before.
    """
    with office.store.transaction() as transaction:
        member = party(transaction, name)
        if not member.name_salt:
            raise ConflictError("the name of {party} was erased before", party=member.name)
        erased = replace(member, name=f"party {member.id}", name_salt="")
        transaction.put("party", member.id, erased.to_json(), index=(erased.name,))
    return erased


def register_model(
    office: Office,
    directory: Path,
    owner: str,
    *,
    parents: Sequence[tuple[int, int]] = (),
    derivatives: int | None = None,
) -> Title:
    """Digest a model directory, sign its manifest as the owner, mint the title, log it.

    Args:
        office: where.
        directory: of the model.
        owner: name or id of the party that gets the title.
        parents: titles of the models that it is derived from, each with its share of this one's revenue in basis
            points; the shares of their own ancestors are added by the ledger.
        derivatives: share that models derived from this one owe it, 0 to 5,000 basis points; None where nobody may
            derive without approval.

    Raises:
        InputError, HostileFile: the directory is not a safe model directory, or a parent is named twice.
        AlreadyRegistered: the same weights have a title.
        UndeclaredDerivative: most of its tensors are those of a registered model that is not among its ancestors.
        DerivativeRefused: a parent's terms do not allow it.
    """
    if len({title for title, _ in parents}) < len(parents):
        raise InputError("a parent is named twice")
    manifest = digest_model(survey(directory), progress=office.progress("digest"))
    with office.store.transaction() as transaction:
        holder = party(transaction, owner)
    if "owner" not in holder.roles:
        raise InputError("{name} is not admitted as an owner", name=holder.name)
    subject = {"weights": show_digest(manifest.content_root), "owner": holder.id}
    declared = [{"title": title, "bps": bps} for title, bps in parents]

    def plan() -> Intent:
        _refuse_second_title(office, manifest.content_root)
        refuse_undeclared(office, manifest, [title for title, _ in parents])
        methods = methods_of(manifest.layout)
        keys = [office.detection_key(show_digest(manifest.content_root), method, 0) for method in methods]
        registration = sign(
            office.party_key(holder),
            "registration",
            {
                "office": office.id,
                "owner": holder.id,
                "owner_key": holder.signing_key,
                "manifest": manifest.to_json(),
                "parents": declared,
                "derivatives": derivatives,
                "registered_at": office.now(),
            },
        )
        terms = (list(parents), derivatives or 0, derivatives is not None)
        committed = epoch_commitment([key.commitment for key in keys])
        call = (holder.address, manifest.digest, manifest.content_root, committed, *terms)
        raw = office.ledger.prepare_call(office.account, "ModelTitles", "register", call)
        return {
            "transaction": raw.hex(),
            "registration": registration,
            "directory": str(directory.resolve()),
            "title": {
                "name": manifest.name,
                "holder": holder.id,
                "manifest_digest": show_digest(manifest.digest),
                "weights_root": show_digest(manifest.content_root),
                "total_bytes": manifest.total_bytes,
                "parameters": manifest.parameters,
                "epoch": 0,
                "key_id": keys[0].key_id,
                "methods": [methods],
                "parents": declared,
                "derivatives": derivatives,
            },
        }

    return Title.from_json(perform(office, "register", subject, plan))


def _refuse_second_title(office: Office, weights_root: bytes) -> None:
    earlier = office.ledger.title_of(weights_root)
    if earlier is not None:
        raise AlreadyRegistered(
            "these weights are registered as title {title}",
            hint="See it with: countermark history title:{title}",
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
        parents=title["parents"],
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
    transaction.put("model", str(body["id"]), {"title": body["id"], "directory": intent.get("directory", "")})
    return body


def methods_of(layout: str) -> list[str]:
    """Return the methods that mark a model's outputs, by its manifest's layout.

    A language model's replies bear the sampling mark. For all others it is the lattice, and for diffusers pipelines the
    noise mark too.
    """
    if layout == "causal-lm":
        return [TextMark.METHOD]
    return [LatticeMark.METHOD, NoiseMark.METHOD] if layout == "diffusers" else [LatticeMark.METHOD]


def rotate_epoch(office: Office, number: int) -> Title:
    """Open the next epoch of a model's detection keys: commit to new ones on the ledger, and mark with them from now.

    Earlier epochs stay readable: a trace tries every one.

    Raises:
        NotFoundError: no such title.
    """
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", number))

    def plan() -> Intent:
        methods = methods_of(read_unverified(title.registration)["manifest"]["layout"])
        keys = [office.detection_key(title.weights_root, method, title.epoch + 1) for method in methods]
        committed = epoch_commitment([key.commitment for key in keys])
        raw = office.ledger.prepare_call(office.account, "ModelTitles", "commitKey", (number, committed))
        return {"transaction": raw.hex(), "title": number, "key_id": keys[0].key_id, "methods": methods}

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
        "methods": [*title["methods"], intent["methods"]],
        "epochs": title.get("epochs", {}) | {str(epoch): receipt.transaction_hash},
    }
    transaction.put("title", str(intent["title"]), title, index=(title["weights_root"],))
    return title
