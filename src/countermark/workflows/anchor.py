"""Anchor the log: sign its head, have it time-stamped, and put size, root and digest on the ledger."""

from __future__ import annotations

import base64
from typing import Any

from countermark.core.canonical import digest
from countermark.errors import CheckpointInconsistent
from countermark.evidence import log
from countermark.evidence.checkpoint import checkpoint_digest, read_unverified, sign_head
from countermark.evidence.timestamp import verify_timestamp
from countermark.registry import Transaction
from countermark.workflows.office import Intent, Office, Receipt, perform, recorder


def anchor_log(office: Office) -> dict[str, Any]:
    """Anchor the present head and return the anchor's record; where nothing was appended since, the last one.

    Raises:
        CheckpointInconsistent: the log contradicts what was signed before; nothing is signed.
        NetworkError: the time-stamp authority cannot be reached; nothing is anchored.
        TimestampInvalid: its stamp does not verify under the office's roots; nothing is anchored.
    """
    last = office.ledger.latest_anchor(log_id(office.origin))
    with office.store.transaction() as transaction:
        if last is not None:
            _check_against_ledger(transaction, last.size, last.root)
        size = transaction.tiles.head().size
        latest = transaction.get("anchor", str(size))
    return perform(office, "anchor", {"size": size}, lambda: _plan(office), earlier=latest)


def _plan(office: Office) -> Intent:
    key = office.log_key
    with office.store.transaction() as transaction:
        text = sign_head(transaction.tiles, office.origin, key, _Memory(transaction))
    head = read_unverified(text)
    token = office.tsa.issue(text.encode())
    verify_timestamp(token, text.encode(), [root.encode() for root in office.timestamp_roots])
    call = (log_id(office.origin), head.size, head.root, checkpoint_digest(text))
    raw = office.ledger.prepare_call(office.account, "Anchors", "anchor", call)
    return {
        "transaction": raw.hex(),
        "anchor": {
            "size": head.size,
            "root": head.root.hex(),
            "checkpoint": text,
            "timestamp": base64.b64encode(token).decode(),
        },
    }


def _check_against_ledger(transaction: Transaction, size: int, root: bytes) -> None:
    """Refuse a log that was restored from before its last anchor: the signer's memory went back with it."""
    if transaction.tiles.head().size < size or log.root(transaction.tiles, size) != root:
        raise CheckpointInconsistent(
            "the log is not the one that the ledger anchored at {size} entries",
            hint="Restore the store from its latest copy; signing this head would fork the log.",
            size=size,
        )


@recorder("anchor")
def _record(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    anchor = {**intent["anchor"], "transaction": receipt.transaction_hash, "anchored_at": office.now()}
    transaction.put("anchor", str(anchor["size"]), anchor)
    return anchor


def log_id(origin: str) -> bytes:
    """Return the 32 bytes that name a log on the ledger."""
    return digest("log-id/1", origin.encode())


class _Memory:
    """What the log's key signed last (``evidence.checkpoint.SignerMemory``), kept in the store."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def get(self) -> tuple[int, bytes] | None:
        """Return size and root of the last signed head, or None."""
        body = self._transaction.get("signer-memory", "head")
        return None if body is None else (int(body["size"]), bytes.fromhex(body["root"]))

    def put(self, size: int, root: bytes) -> None:
        """Remember a head; it is durable with the transaction, before any signature leaves ``_plan``."""
        self._transaction.put("signer-memory", "head", {"size": size, "root": root.hex()})
