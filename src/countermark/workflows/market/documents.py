"""Texts that the ledger knows only by a salted digest: reasons, deeds, reports, evidence lists, rulings.

Text and salt stay in the workspace. Who is shown both can check the digest; when they are erased, the digest says
nothing any more.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from countermark.core.canonical import document_digest, show_digest
from countermark.errors import NotFoundError
from countermark.workflows.office import Office


def salted_digest(office: Office, kind: str, body: Mapping[str, Any]) -> bytes:
    """Keep a document with a fresh salt and return its digest: 32 bytes. The same document gives the same digest.

    Args:
        office: where.
        kind: domain of the digest.
        body: JSON values.
    """
    key = show_digest(document_digest(f"{kind}/1", dict(body)))
    with office.store.transaction() as transaction:
        kept = transaction.get("salted", key)
        if kept is None:
            kept = {"key": key, "kind": kind, "body": dict(body), "salt": secrets.token_hex(32)}
            transaction.put("salted", key, kept, index=(f"digest:{show_digest(_digest(kept))}",))
    return _digest(kept)


def document_behind(office: Office, value: str) -> dict[str, Any]:
    """Return the document behind a digest (64 hex digits, ``sha256:`` before them or not), with kind, body and salt.

    Raises:
        NotFoundError: it is not here, or was erased.
    """
    shown = value if value.startswith("sha256:") else f"sha256:{value.removeprefix('0x')}"
    with office.store.transaction() as transaction:
        found = transaction.find("salted", f"digest:{shown}")
    if not found:
        raise NotFoundError("no document with the digest {digest} is kept here", digest=shown)
    return found[0]


def erase_document(office: Office, value: str) -> None:
    """Erase the text and salt behind a digest. What stands on ledger and log remains, and says nothing any more.

    Raises:
        NotFoundError: it is not here.
    """
    key = document_behind(office, value)["key"]
    with office.store.transaction() as transaction:
        transaction.delete("salted", key)


def _digest(kept: Mapping[str, Any]) -> bytes:
    return document_digest(f"{kept['kind']}/1", {"body": kept["body"], "salt": kept["salt"]})
