"""One act on the market: a call to a contract by one party, done exactly once, with its log entry.

An act is an intent of the journal (``workflows.office``): signed and written down before it is sent, sent as often as
it takes, mined once. ``order`` is a name that the caller gives an act that may rightly be done twice, such as a
purchase: a repeated command with the same order returns the first one's result and moves no money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countermark.core.keys import Secret
from countermark.core.times import from_unix, show_time
from countermark.errors import InputError, KeystoreError
from countermark.registry import Party, Transaction, log_entry
from countermark.workflows.market.mirror import mirror
from countermark.workflows.office import Intent, Office, Receipt, append, party, perform, recorder

#: What canonical JSON carries exactly, and the contracts' MAX_AMOUNT.
MAX_AMOUNT = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to a contract, and the event that says what came of it."""

    contract: str
    function: str
    args: tuple[Any, ...]
    event: str


def act(
    office: Office,
    name: str,
    call: Call,
    *,
    by: Party | None = None,
    subject: Mapping[str, Any],
    keep: Mapping[str, Any] | None = None,
    kind: str = "act",
    order: str | None = None,
) -> dict[str, Any]:
    """Do an act and return what came of it.

    Args:
        office: where.
        name: of the act, for log and history.
        call: what to call.
        by: the party whose account calls; the office's own if left out.
        subject: names the act; a repeated command has the same one.
        keep: JSON values that the recorder needs.
        kind: which recorder ends it.
        order: the caller's name for this act, for good.

    Returns:
        ``{"act", "transaction", "time", "log_index"}`` and the event's arguments, in JSON values.

    Raises:
        CountermarkError: the contract's refusal; nothing was done.
    """
    account = office.account if by is None else _account(office, by, call)

    def plan() -> Intent:
        raw = office.ledger.prepare_call(account, call.contract, call.function, call.args)
        return {
            "transaction": raw.hex(),
            "act": name,
            "event": call.event,
            "keep": dict(keep or {}),
            "order": order,
        }

    named = {"act": name, "by": by.id if by else office.id, "order": order, **subject}
    result = perform(office, kind, named, plan, earlier=earlier_result(office, order))
    mirror(office)
    return result


def _account(office: Office, by: Party, call: Call) -> Secret:
    """Return a party's account, or say what to sign where it is not held here."""
    if office.keys.holds(f"party/{by.id}/account"):
        return office.party_account(by)
    wanted = office.ledger.encode_call(call.contract, call.function, call.args)
    raise KeystoreError(
        "the account of {party} is not held here",
        hint="Send this call with it: chain {chain_id}, to {to}, data {data}",
        party=by.name,
        **wanted,
    )


def earlier_result(office: Office, order: str | None) -> dict[str, Any] | None:
    """Return what an order came to, if it was carried out before."""
    if order is None:
        return None
    with office.store.transaction() as transaction:
        return transaction.get("order", order)


@recorder("act")
def record_act(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    """End an act: its log entry, and its result under its order."""
    facts = show_facts(receipt.event(intent["event"]))
    moment = show_time(from_unix(receipt.timestamp))
    entry = log_entry(
        "act",
        act=intent["act"],
        event=intent["event"],
        facts=facts,
        transaction=receipt.transaction_hash,
        time=moment,
    )
    result = {
        **facts,
        "act": intent["act"],
        "transaction": receipt.transaction_hash,
        "time": moment,
        "log_index": append(transaction, entry),
    }
    if intent["order"] is not None:
        transaction.put("order", intent["order"], result)
    return result


def show_facts(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's arguments as JSON values with names in snake case; bytes as hex, large numbers as text."""
    return {_snake(name): _plain(value) for name, value in args.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_AMOUNT:
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {_snake(name): _plain(item) for name, item in value.items()} if isinstance(value, Mapping) else value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def check_amount(amount: int, what: str = "amount") -> int:
    """Return an amount of money in the smallest unit, 1 to 2**53-1.

    Raises:
        InputError: zero, negative or larger.
    """
    if not 1 <= amount <= MAX_AMOUNT:
        raise InputError(
            "{what} is 1 to {limit} in the smallest unit, got {amount}", what=what, limit=MAX_AMOUNT, amount=amount
        )
    return amount


def read_party(office: Office, name: str) -> Party:
    """Return a party by id or name.

    Raises:
        NotFoundError: there is none.
    """
    with office.store.transaction() as transaction:
        return party(transaction, name)
