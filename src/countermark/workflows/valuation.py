"""The valuation record of a title: made from the ledger's events, signed by the office, and in its log.

The owner's declaration of costs is a document of its own, signed by the owner and carried inside the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from countermark.core.dsse import Envelope, open_document, read_unverified
from countermark.core.keys import PublicKey, SigningKey
from countermark.core.times import read_time, show_time
from countermark.errors import InputError, LedgerError, ProofInvalid, SignatureInvalid
from countermark.evidence.trust import Trust
from countermark.registry import Party, Title, log_entry
from countermark.valuation.costs import CostItem, cost_totals, costs_to_json, read_costs
from countermark.valuation.lines import (
    EVENTS,
    Event,
    Line,
    check_record,
    lines_of,
    royalties_by_title,
    summary,
    withheld_of,
)
from countermark.valuation.method import METHOD
from countermark.workflows.office import Office, append, envelope_digest, load, party, sign

_GIVES_GRANTS = (2, 3)  # Market.Kind: a licence, a licence sold on


def declare_costs(items: Iterable[CostItem], weights: str, key: SigningKey, *, at: datetime) -> Envelope:
    """Sign a declaration of costs as the owner of a title. Needs no workspace.

    Args:
        items: the costs.
        weights: the model's weights root, ``sha256:…``, which names the title in every office.
        key: the owner's.
        at: now.
    """
    return sign(key, "costs", {**costs_to_json(items), "weights": weights, "declared_at": show_time(at)})


def make_valuation(
    office: Office,
    number: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    costs: Envelope | Sequence[CostItem] | None = None,
) -> Envelope:
    """Make the valuation record of a title, log it, and return it signed by the office.

    Args:
        office: where.
        number: of the title.
        since: first moment of the period; its registration if None.
        until: first moment after it; now if None.
        costs: signed by the holder; or the items, which are signed here where the holder's key is held.

    Raises:
        NotFoundError: no such title.
        InputError: the period is empty, or the declaration of costs is about another model.
        SignatureInvalid: the holder did not sign the costs.
        KeystoreError: the holder's key is not held here.
        LedgerError: the ledger's events do not add up.
    """
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", number))
        holder = party(transaction, title.holder)
    period = (since or read_time(title.registered_at), until or office.clock())
    if period[0] >= period[1]:
        raise InputError("the period of the record is empty")
    declared = _declared(office, title, holder, costs)
    office.index.follow()
    body = {**_describe(office, title), "costs": declared, **_earned(office, title, *period), "method": METHOD}
    envelope = sign(office.platform_key, "valuation", body)
    with office.store.transaction() as transaction:
        entry = log_entry("valuation", title=number, document=envelope_digest(envelope), time=body["issued_at"])
        append(transaction, entry)
    return envelope


def open_valuation(envelope: Envelope, trust: Trust) -> tuple[dict[str, Any], list[Line]]:
    """Return a valuation record and its lines, its signatures checked and its totals added up again.

    Raises:
        InputError: not a signed document.
        SignatureInvalid: not signed by the office in the trust file, or the costs not by the holder.
        ProofInvalid: lines and totals do not agree.
    """
    claimed = read_unverified(envelope)
    key = trust.platform_key(str(claimed.get("platform_key")), read_time(claimed.get("issued_at")))
    record = open_document(envelope, "valuation", key)
    if record["office"] != trust.office:
        raise SignatureInvalid("the statement is of another office")
    if record["costs"] is not None:
        _check_costs(record)
    return record, check_record(record)


def _check_costs(record: Mapping[str, Any]) -> None:
    declared = record["costs"]
    body = open_document(declared["declaration"], "costs", PublicKey.from_text(declared["owner_key"]))
    if cost_totals(_items(body, record["title"]["weights"])) != declared["totals"]:
        raise ProofInvalid("the totals of the costs are not the sums of their items")


def _describe(office: Office, title: Title) -> dict[str, Any]:
    deployment = office.ledger.deployment
    return {
        "office": office.id,
        "platform_key": office.platform_key.public.text,
        "issued_at": office.now(),
        "ledger": {name: deployment[name] for name in ("chain_id", "genesis_hash", "contracts")},
        "currency": str(office.ledger.view("SettlementToken", "symbol")),
        "title": {
            "id": title.id,
            "name": title.name,
            "holder": title.holder,
            "manifest": title.manifest_digest,
            "weights": title.weights_root,
            "registered_at": title.registered_at,
            "transaction": title.transaction,
        },
    }


def _earned(office: Office, title: Title, since: datetime, until: datetime) -> dict[str, Any]:
    """Return what the ledger says: the lines of the period, their totals, and the title as it stands now."""
    about, events = office.index.about(f"title:{title.id}"), office.index.named(*EVENTS)
    within = [event for event in events if since.timestamp() <= event.block_time < until.timestamp()]
    lines = [line for line in lines_of(title.id, about, events) if since <= read_time(line.time) < until]
    shared = royalties_by_title(title.id, about, _with_payments(within, events))
    withheld = withheld_of(title.id, events)
    if withheld["now"] != int(office.ledger.view("Revenue", "withheld", title.id)):
        raise LedgerError("the ledger's events and its state do not agree on what is withheld")
    return {
        "period": {"from": show_time(since), "to": show_time(until)},
        "lines": [line.to_json() for line in lines],
        "totals": summary(lines),
        "ancestors": [{"title": ancestor, "royalties": amount} for ancestor, amount in sorted(shared.items())],
        "withheld": withheld,
        "grants": _grants(office, about),
    }


def _with_payments(within: Sequence[Event], events: Sequence[Event]) -> list[Event]:
    """Return the events of a period with every payment before it: what is settled in it may have been paid earlier."""
    known = {id(event) for event in within}
    return [event for event in events if id(event) in known or event.name == "Paid"]


def _grants(office: Office, about: Sequence[Event]) -> dict[str, int]:
    """Return how many grants there ever were under a title, are in force, and were given without the market."""
    given = {int(event.args["grantId"]) for event in about if event.name == "Granted"}
    kinds = {int(event.args["saleId"]): int(event.args["kind"]) for event in about if _on_market(event, "Paid")}
    bought = {
        int(event.args["subjectId"])
        for event in about
        if _on_market(event, "Settled") and kinds[int(event.args["saleId"])] in _GIVES_GRANTS
    }
    now = int(office.clock().timestamp())
    in_force = sum(office.ledger.permitted(grant, now) for grant in given)
    return {"ever": len(given), "in_force": in_force, "without_market": len(given - bought)}


def _on_market(event: Event, name: str) -> bool:
    return (event.contract, event.name) == ("Market", name)


def _declared(
    office: Office, title: Title, holder: Party, costs: Envelope | Sequence[CostItem] | None
) -> dict[str, Any] | None:
    """Return the declaration of costs with its sums, once it is sure that the holder made it about this model."""
    if costs is None:
        return None
    if not isinstance(costs, Mapping):
        costs = declare_costs(costs, title.weights_root, office.party_key(holder), at=office.clock())
    items = _items(open_document(costs, "costs", holder.key), title.weights_root)
    return {"declaration": costs, "owner_key": holder.signing_key, "totals": cost_totals(items)}


def _items(body: dict[str, Any], weights: str) -> tuple[CostItem, ...]:
    """Return the items of a declaration that is about the model with these weights."""
    if body.get("weights") != weights:
        raise InputError("the declaration of costs is about another model")
    return read_costs({name: value for name, value in body.items() if name not in ("weights", "declared_at")})
