"""What happened to a title, a grant, a sale, a case or an account: the ledger's events about it, oldest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countermark.core.canonical import show_digest
from countermark.core.subjects import show_subject
from countermark.core.times import from_unix, show_time
from countermark.errors import NotFoundError
from countermark.registry import Audit
from countermark.workflows.audit import audits_of
from countermark.workflows.market.acts import show_facts
from countermark.workflows.market.subjects import read_subject
from countermark.workflows.office import Office

#: Further kinds that events are found under, beside those that can be held.
OTHER_KINDS = ("offer", "listing", "case", "proposal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event in a history. ``facts`` are its arguments in JSON values; accounts of parties known here by name."""

    time: str
    contract: str
    event: str
    facts: dict[str, Any]
    block: int
    transaction: str


def history(office: Office, subject: str) -> list[Step]:
    """Return every event about a subject, oldest first.

    Args:
        office: where.
        subject: ``title:1``, ``grant:1``, ``sale:1``, ``file-sale:1``, ``listing:1``, ``offer:1``, ``case:1``,
            ``proposal:1`` or ``account:NAME``.

    Raises:
        InputError: another form.
        NotFoundError: nothing ever happened to it.
    """
    office.index.follow()
    names = known_accounts(office)
    found = office.index.about(_indexed_as(office, subject))
    if not found:
        raise NotFoundError("the ledger has no event about {subject}", subject=subject)
    return [
        Step(
            time=show_time(from_unix(event.block_time)),
            contract=event.contract,
            event=event.name,
            facts={name: _named(names, value) for name, value in show_facts(event.args).items()},
            block=event.block_number,
            transaction=event.transaction_hash,
        )
        for event in found
    ]


def audits_about(office: Office, subject: str) -> list[Audit]:
    """Return the recorded audits of a title's model, oldest first; of any other subject none.

    They stand in the log and not on the ledger; those of another office's title are what this office recorded of it.
    """
    kind, _, number = subject.partition(":")
    if kind != "title":
        return []
    weights = office.ledger.record("ModelTitles", "record", int(number))["weights_root"]
    with office.store.transaction() as transaction:
        return audits_of(transaction, show_digest(weights))


def _indexed_as(office: Office, subject: str) -> str:
    kind, _, number = subject.partition(":")
    if kind in OTHER_KINDS and number.isascii() and number.isdigit():
        return subject
    return show_subject(read_subject(office, subject))


def known_accounts(office: Office) -> dict[str, str]:
    """Return names by address in lower case: the contracts', the parties', the office's own for its own account."""
    with office.store.transaction() as transaction:
        parties = {str(body["address"]): str(body["name"]) for body in transaction.all("party")}
    contracts = {address: name for name, address in office.ledger.deployment["contracts"].items()}
    known = contracts | {office.ledger.address_of(office.account): office.name} | parties
    return {address.lower(): name for address, name in known.items()}


def _named(names: dict[str, str], value: Any) -> Any:
    """Return a value with every address in it that is known replaced by its name."""
    if isinstance(value, list):
        return [_named(names, item) for item in value]
    return names.get(value.lower(), value) if isinstance(value, str) else value
