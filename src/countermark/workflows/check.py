"""Check the office: the log against itself, against its anchors, and against the ledger.

Several offices may work on one ledger. What this one answers for there is what its own account and those that it holds
sent: all of that stands in its log, and all that its log says stands on the ledger. What others sent is theirs.

Law:
    after any sequence of acts, interrupted or not, an opened office passes.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from countermark.errors import CheckpointInconsistent, ProofInvalid
from countermark.evidence import log
from countermark.evidence.checkpoint import checkpoint_digest
from countermark.registry import Transaction
from countermark.workflows.anchor import log_id
from countermark.workflows.market.acts import show_facts
from countermark.workflows.office import Event, Office

#: The ledger's event behind each kind of log entry that names a transaction; an act names its own.
_EVENTS = {
    "countermark.party/1": "Admitted",
    "countermark.title/1": "TitleRegistered",
    "countermark.assignment/1": "TitleAssigned",
    "countermark.offer/1": "Offered",
    "countermark.grant/1": "Granted",
    "countermark.revocation/1": "Revoked",
    "countermark.notice-withdrawal/1": "NoticeWithdrawn",
    "countermark.batch/1": "BatchCommitted",
    "countermark.epoch/1": "KeyCommitted",
}
_ACT = "countermark.act/1"

Entry = dict[str, Any]


def check_office(office: Office) -> dict[str, Any]:
    """Recompute the whole log and hold it against its anchors and the ledger.

    Returns:
        ``{"size", "root", "anchors", "acts", "identifiers_issued"}``: what was found to agree. Acts and identifiers are
        this office's own; other offices on the ledger have theirs.

    Raises:
        VerificationError: the log's hashes do not follow from its entries.
        CheckpointInconsistent: an anchor is of another history.
        ProofInvalid: an act is on the ledger and not in the log exactly once, or the other way round; an entry says
            something else of an act than the ledger; or log and ledger count different numbers of issued identifiers.
    """
    with office.store.transaction() as transaction:
        size = log.fsck(transaction.tiles).size
        root = log.root(transaction.tiles, size)
        anchors = _check_anchors(office, transaction)
        sealed = {anchor["transaction"] for anchor in transaction.all("anchor")}
        entries = [*_with_transaction(log.entries(transaction.tiles, 0, size))]
        issued = transaction.issued()
    found = _by_transaction(office)
    _check_entries(entries, found)
    _check_nothing_unlogged(office, found, sealed.union(entry["transaction"] for entry in entries))
    if issued != _identifiers(entries, found):
        raise ProofInvalid("the ledger counts other identifiers than the {count} issued here", count=issued)
    acts = sum(_event_of(entry) != "" for entry in entries)
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


def _with_transaction(raw: Iterable[bytes]) -> Iterable[Entry]:
    return (entry for entry in map(json.loads, raw) if "transaction" in entry)


def _by_transaction(office: Office) -> Mapping[str, Sequence[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in office.ledger.events():
        found[event.transaction_hash].append(event)
    return found


def _check_entries(entries: Iterable[Entry], found: Mapping[str, Sequence[Event]]) -> None:
    """Check that each act of the log is on the ledger as the log says it, and that none is there twice."""
    logged = Counter((_event_of(entry), entry["transaction"]) for entry in entries if _event_of(entry))
    for (event, name), times in sorted(logged.items()):
        sealed = sum(each.name == event for each in found.get(name, ()))
        # What an act's transaction brings about more than once, such as an approval, is one act all the same.
        if times != min(sealed, 1):
            raise ProofInvalid(
                "{event} of transaction {transaction}: {logged} in the log, {sealed} on the ledger",
                event=event,
                transaction=name,
                logged=times,
                sealed=sealed,
            )
    for entry in entries:
        if entry["type"] == _ACT and not _says_so(entry, found[entry["transaction"]]):
            raise ProofInvalid(
                "the log says other facts of {act} than transaction {transaction}",
                act=entry["act"],
                transaction=entry["transaction"],
            )


def _event_of(entry: Entry) -> str:
    """Return the name of the event behind an entry; empty where it stands for no act on the ledger."""
    return str(entry["event"]) if entry["type"] == _ACT else _EVENTS.get(entry["type"], "")


def _says_so(entry: Entry, events: Sequence[Event]) -> bool:
    return any(event.name == entry["event"] and show_facts(event.args) == entry["facts"] for event in events)


def _check_nothing_unlogged(office: Office, found: Mapping[str, Sequence[Event]], known: set[str]) -> None:
    """Check that the log tells all that the office's accounts did; its part in the deployment is none of its acts."""
    own = office.ledger.address_of(office.account)
    accounts = {own, *_held(office)}
    for name in sorted(found.keys() - known):
        founding = any(
            (event.name == "Admitted" and event.args["account"] == own)
            or (event.name == "Activated" and event.args["proposalId"] == 0)
            for event in found[name]
        )
        if not founding and office.ledger.sender(name) in accounts:
            raise ProofInvalid(
                "{event} of transaction {transaction}: {logged} in the log, {sealed} on the ledger",
                event=found[name][0].name,
                transaction=name,
                logged=0,
                sealed=1,
            )


def _held(office: Office) -> set[str]:
    """Return the addresses of the parties whose accounts are held here."""
    with office.store.transaction() as transaction:
        parties = list(transaction.all("party"))
    return {str(body["address"]) for body in parties if office.keys.holds(f"party/{body['id']}/account")}


def _identifiers(entries: Iterable[Entry], found: Mapping[str, Sequence[Event]]) -> int:
    """Return how many identifiers this office issued, by the ledger's events."""
    issuing = {entry["transaction"] for entry in entries if _event_of(entry) in ("Granted", "BatchCommitted")}
    return sum(
        int(event.args["count"]) if event.name == "BatchCommitted" else 1
        for name in issuing
        for event in found[name]
        if event.name in ("Granted", "BatchCommitted")
    )
