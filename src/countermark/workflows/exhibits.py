"""What bundles of every kind are made of: statement, log entries and ledger receipts around the documents of a matter.

The statement is logged before it is made: its entry binds it to suspect, case and audience, and the head of the log
that holds this entry is anchored and time-stamped. So no statement can be dated back, or made unseen.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from countermark.core.canonical import document_digest, show_digest
from countermark.core.dsse import Envelope
from countermark.core.rlp import keccak256
from countermark.errors import ConflictError
from countermark.evidence import log
from countermark.evidence.bundle import Bundle, pack
from countermark.evidence.steps import DISCLOSURE
from countermark.evidence.trust import MAX_CHECKPOINTS
from countermark.registry import Party, Transaction, log_entry
from countermark.workflows.anchor import anchor_log
from countermark.workflows.keys import describe_trust
from countermark.workflows.office import Office, append, sign


class Matter(Protocol):
    """What a bundle is about.

    Attributes:
        kind: of the bundle (``evidence.bundle``).
        suspect: digest of what the statement is about.
        indices: by role, where the log entries stand that belong to it.
    """

    kind: str
    suspect: str
    indices: dict[str, int]

    def findings(self) -> dict[str, Any]:
        """Return what the statement says."""

    def documents(self) -> dict[str, bytes]:
        """Return the members that are this matter's own."""

    def transactions(self) -> dict[str, str]:
        """Return, by role, the transactions whose receipts belong to it."""


def bundle_of(office: Office, open_matter: Callable[[Transaction], Matter], *, case: str, audience: str) -> bytes:
    """Log a statement about a matter, anchor the log, and return the bundle as the bytes of a zip file.

    Args:
        office: where.
        open_matter: reads the matter's records, in the transaction that logs the statement.
        case: the case that the statement is for; it cannot be used in another.
        audience: whom it is for.
    """
    with office.store.transaction() as transaction:
        matter = open_matter(transaction)
        bound = {"suspect": matter.suspect, "case": case, "audience": audience, "nonce": secrets.token_hex(16)}
        role = DISCLOSURE[matter.kind]
        entry = log_entry(role, statement=show_digest(document_digest("statement-binding/1", bound)), time=office.now())
        matter.indices[role] = append(transaction, entry)
    members = _members(office, matter, anchor_log(office))
    statement = {
        **bound,
        **matter.findings(),
        "office": office.id,
        "platform_key": office.platform_key.public.text,
        "issued_at": office.now(),
        "members": Bundle(members).digests(),
    }
    members["statement.json"] = as_member(sign(office.platform_key, "statement", statement))
    return pack(members)


def as_member(value: Any) -> bytes:
    """Return a JSON value as the bytes of a member, readable by people."""
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode()


def card(member: Party) -> dict[str, Any]:
    """Return what a bundle discloses of a party: what opens its name and key on the ledger.

    Raises:
        ConflictError: the name was erased.
    """
    if not member.name_salt:
        raise ConflictError(
            "the name of {party} was erased, so no evidence can open it",
            hint="A bundle that was made before still holds it.",
            party=member.name,
        )
    return {
        name: value
        for name, value in member.to_json().items()
        if name in ("id", "name", "name_salt", "signing_key", "address", "custody")
    }


def _members(office: Office, matter: Matter, anchor: Mapping[str, Any]) -> dict[str, bytes]:
    """Return every member but the statement, as of an anchored checkpoint."""
    members = {
        "issuer.json": as_member(describe_trust(office).to_json()),
        "checkpoint.txt": anchor["checkpoint"].encode(),
        "checkpoint.tsr": base64.b64decode(anchor["timestamp"]),
        "receipts.json": as_member(_receipts(office, matter.transactions() | {"anchor": anchor["transaction"]})),
        **matter.documents(),
    }
    with office.store.transaction() as transaction:
        members["entries.json"] = as_member(_entries(transaction, matter.indices, anchor["size"]))
        members["history.json"] = as_member(_history(transaction, anchor["size"]))
    return members


def _entries(transaction: Transaction, indices: Mapping[str, int], size: int) -> dict[str, Any]:
    tiles = transaction.tiles
    return {
        "entries": [
            {
                "role": role,
                "index": index,
                "entry": base64.b64encode(log.entry(tiles, index)).decode(),
                "proof": [node.hex() for node in log.prove_inclusion(tiles, index, size)],
            }
            for role, index in indices.items()
        ]
    }


def _receipts(office: Office, roles: Mapping[str, str]) -> dict[str, Any]:
    proofs = {name: office.ledger.prove(name) for name in dict.fromkeys(roles.values())}
    return {"roles": dict(roles), "receipts": proofs, "seal": _seal(office, proofs)}


def _seal(office: Office, proofs: dict[str, dict[str, Any]]) -> Envelope:
    """Vouch for the blocks: on the embedded ledger as its only validator, elsewhere for what a node said."""
    hashes = {
        str(proof["block_number"]): keccak256(bytes.fromhex(proof["header"].removeprefix("0x"))).hex()
        for proof in proofs.values()
    }
    deployment = office.ledger.deployment
    body = {
        "chain_id": deployment["chain_id"],
        "genesis_hash": deployment["genesis_hash"],
        "blocks": hashes,
        "platform_key": office.platform_key.public.text,
        "sealed_at": office.now(),
    }
    return sign(office.platform_key, "seal", body)


def _history(transaction: Transaction, size: int) -> dict[str, Any]:
    """Prove that this checkpoint extends those anchored before: the newest 256, and 256 spread over the older ones.

    A trust file names the newest checkpoint of its day, so one older than all of these needs a newer trust file.
    """
    anchors = [anchor for anchor in transaction.all("anchor") if anchor["size"] <= size]
    older = anchors[:-MAX_CHECKPOINTS]
    anchors = older[:: len(older) // MAX_CHECKPOINTS + 1] + anchors[-MAX_CHECKPOINTS:]
    return {
        "checkpoints": [
            {
                "size": anchor["size"],
                "root": anchor["root"],
                "proof": [node.hex() for node in log.prove_consistency(transaction.tiles, anchor["size"], size)],
            }
            for anchor in anchors
        ]
    }
