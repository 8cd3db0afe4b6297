"""Keep the workspace's records true to the ledger: what ended, renewed or moved there, whoever did it.

Records of grants and titles repeat what the ledger says. Acts of this workspace write both, but a ruling can be
executed, a notice stayed or a title assigned by anybody; the mirror reads such events from where it stopped and brings
the records up to date. It can be run from block 0 again at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from countermark.core.times import from_unix, show_time
from countermark.registry import Transaction
from countermark.workflows.license import grant_words
from countermark.workflows.office import IndexedEvent, Office, party_with_address

_POSITION = ("mirror", "position")


def mirror(office: Office, *, from_start: bool = False) -> int:
    """Bring grants and titles up to date with the ledger's events; return how many events concerned them."""
    with office.store.transaction() as transaction:
        position = None if from_start else transaction.get(*_POSITION)
    office.index.follow()
    # The last block is read again: reading twice does no harm, and a block of another branch may stand there now.
    events = office.index.named(*_READERS, from_block=0 if position is None else int(position["block"]))
    with office.store.transaction() as transaction:
        for event in events:
            _READERS[event.name](office, transaction, event)
        if events:
            transaction.put(*_POSITION, {"block": events[-1].block_number})
    return len(events)


def _read_grant(office: Office, transaction: Transaction, event: IndexedEvent) -> None:
    number = int(event.args["grantId"])
    grant = transaction.get("grant", str(number))
    if grant is None:
        return
    found = office.ledger.record("Grants", "grantRecord", number)
    ended = show_time(from_unix(found["revoked_at"])) if found["revoked_at"] else None
    grant |= {
        "expires": show_time(from_unix(found["expires_at"])),
        "revoked_at": ended,
        "revocation": (event.transaction_hash if ended != grant["revoked_at"] else grant["revocation"])
        if ended
        else None,
    }
    transaction.put("grant", str(number), grant, index=grant_words(grant))


def _read_title(_office: Office, transaction: Transaction, event: IndexedEvent) -> None:
    number, to = str(event.args["titleId"]), str(event.args["to"])
    title = transaction.get("title", number)
    holder = party_with_address(transaction, to)
    if title is not None and holder is not None:
        transaction.put("title", number, title | {"holder": holder.id}, index=(title["weights_root"],))


def _read_refund(_office: Office, transaction: Transaction, event: IndexedEvent) -> None:
    if event.contract == "Market":  # file sales have an event of that name too
        transaction.delete("purchase", str(event.args["saleId"]))


_READERS: dict[str, Callable[[Office, Transaction, IndexedEvent], Any]] = {
    "Revoked": _read_grant,
    "NoticeWithdrawn": _read_grant,
    "Struck": _read_grant,
    "Stayed": _read_grant,
    "Resold": _read_grant,
    "Renewed": _read_grant,
    "TitleAssigned": _read_title,
    "Refunded": _read_refund,
}
