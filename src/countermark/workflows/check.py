"""Check the office against itself: recompute the log, and hold log, records and ledger against each other."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from countermark.errors import ProofInvalid
from countermark.evidence import log
from countermark.registry import Transaction
from countermark.workflows.anchor import log_id
from countermark.workflows.office import Office

#: Which log entry stands for which event of the ledger.
_ENTRY_OF = {
    "Admitted": "countermark.party/1",
    "TitleRegistered": "countermark.title/1",
    "Offered": "countermark.offer/1",
    "Granted": "countermark.grant/1",
    "Revoked": "countermark.revocation/1",
    "BatchCommitted": "countermark.batch/1",
}


def check_office(office: Office) -> dict[str, Any]:
    """Recompute every hash of the log and compare it with the ledger; return what was compared.

    Laws checked: every act on the ledger has exactly one log entry, and the reverse; every anchored root is the log's
    root at that size, on the ledger as in the store; both count the same identifiers.

    Raises:
        VerificationError: the first contradiction.
    """
    progress = office.progress("check")
    progress(0, 3, "steps")
    with office.store.transaction() as transaction:
        head = log.fsck(transaction.tiles)
        progress(1, 3, "steps")
        entries = [json.loads(raw) for raw in log.entries(transaction.tiles, 0, head.size)]
        acts = _compare_acts(office, entries)
        progress(2, 3, "steps")
        anchors = _compare_anchors(office, transaction)
        issued = transaction.issued()
    if issued != office.ledger.identifiers_issued():
        raise ProofInvalid(
            "the store counts {ours} identifiers, the ledger {theirs}",
            ours=issued,
            theirs=office.ledger.identifiers_issued(),
        )
    progress(3, 3, "steps")
    return {"entries": head.size, "acts": acts, "anchors": anchors, "identifiers": issued}


def _compare_acts(office: Office, entries: list[dict[str, Any]]) -> int:
    own = office.ledger.address_of(office.account)
    logged = Counter((entry["type"], entry["transaction"]) for entry in entries if "transaction" in entry)
    on_ledger = Counter(
        (_ENTRY_OF[event.name], event.transaction_hash)
        for event in office.ledger.events()
        if event.name in _ENTRY_OF and event.args.get("account") != own  # the office admits itself at deployment
    )
    for kind, transaction_hash in (logged - on_ledger) + (on_ledger - logged):
        raise ProofInvalid(
            "log and ledger disagree about {kind} in transaction {hash}", kind=kind, hash=transaction_hash
        )
    return logged.total()


def _compare_anchors(office: Office, transaction: Transaction) -> int:
    anchored = {
        int(event.args["size"]): bytes(event.args["root"])
        for event in office.ledger.events("Anchored")
        if bytes(event.args["logId"]) == log_id(office.origin)
    }
    recorded = {int(body["size"]): bytes.fromhex(body["root"]) for body in transaction.all("anchor")}
    if anchored != recorded:
        raise ProofInvalid("the anchors on the ledger are not those of the store")
    for size, root in anchored.items():
        if log.root(transaction.tiles, size) != root:
            raise ProofInvalid("the anchor of {size} entries is not the log's root at that size", size=size)
    return len(anchored)
