"""Check the office: the log against itself, against its anchors, and against the ledger.

Law:
    after any sequence of acts, interrupted or not, an opened office passes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from countermark.errors import CheckpointInconsistent, ProofInvalid
from countermark.evidence import log
from countermark.evidence.checkpoint import checkpoint_digest
from countermark.registry import Transaction
from countermark.workflows.anchor import log_id
from countermark.workflows.office import Office

#: The ledger's event behind each kind of log entry that names a transaction.
_EVENTS = {
    "countermark.party/1": "Admitted",
    "countermark.title/1": "TitleRegistered",
    "countermark.offer/1": "Offered",
    "countermark.grant/1": "Granted",
    "countermark.revocation/1": "Revoked",
    "countermark.batch/1": "BatchCommitted",
    "countermark.epoch/1": "KeyCommitted",
}

Act = tuple[str, str]
"""Name of an event, and the hash of its transaction."""


def check_office(office: Office) -> dict[str, Any]:
    """Recompute the whole log and hold it against its anchors and the ledger.

    Returns:
        ``{"size", "root", "anchors", "acts", "identifiers_issued"}``: what was found to agree.

    Raises:
        VerificationError: the log's hashes do not follow from its entries.
        CheckpointInconsistent: an anchor is of another history.
        ProofInvalid: an act is on the ledger and not in the log exactly once, or the other way round; or log and
            ledger count different numbers of issued identifiers.
    """
    with office.store.transaction() as transaction:
        size = log.fsck(transaction.tiles).size
        root = log.root(transaction.tiles, size)
        anchors = _check_anchors(office, transaction)
        logged = Counter(_logged(log.entries(transaction.tiles, 0, size)))
        issued = transaction.issued()
    acts = _check_acts(office, logged)
    if issued != office.ledger.identifiers_issued():
        raise ProofInvalid("the ledger counts other identifiers than the {count} issued here", count=issued)
    return {"size": size, "root": root.hex(), "anchors": anchors, "acts": acts, "identifiers_issued": issued}


def _check_anchors(office: Office, transaction: Transaction) -> int:
    """Return how many anchors there are; each has the root of its size, here and on the ledger."""
    kept = {}
    for anchor in transaction.all("anchor"):
        if log.root(transaction.tiles, anchor["size"]).hex() != anchor["root"]:
            raise CheckpointInconsistent("the log shows another history at {size} entries", size=anchor["size"])
        kept[anchor["transaction"]] = (anchor["size"], anchor["root"], checkpoint_digest(anchor["checkpoint"]).hex())
    sealed = {
        event.transaction_hash: (event.args["size"], event.args["root"].hex(), event.args["checkpointDigest"].hex())
        for event in office.ledger.events("Anchored")
        if event.args["logId"] == log_id(office.origin)
    }
    for name in sorted(kept.keys() | sealed.keys()):
        if kept.get(name) != sealed.get(name):
            raise CheckpointInconsistent("anchor {transaction} differs between workspace and ledger", transaction=name)
    return len(kept)


def _check_acts(office: Office, logged: Counter[Act]) -> int:
    """Return how many acts there are; each is on the ledger, and in the log exactly once."""
    # Neither the office's own admission nor a title's first key is an act of its own.
    own = office.ledger.address_of(office.account)
    sealed = Counter(
        (event.name, event.transaction_hash)
        for event in office.ledger.events()
        if event.name in _EVENTS.values() and event.args.get("account") != own and event.args.get("epoch") != 0
    )
    for event, name in sorted(logged.keys() | sealed.keys()):
        if logged[event, name] != sealed[event, name]:
            raise ProofInvalid(
                "{event} of transaction {transaction}: {logged} in the log, {sealed} on the ledger",
                event=event,
                transaction=name,
                logged=logged[event, name],
                sealed=sealed[event, name],
            )
    return sealed.total()


def _logged(entries: Iterable[bytes]) -> Iterable[Act]:
    for raw in entries:
        entry = json.loads(raw)
        if entry["type"] in _EVENTS:
            yield _EVENTS[entry["type"]], entry["transaction"]
