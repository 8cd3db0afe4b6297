"""What a title cost, as its owner declares it: a strict document that the owner signs.

Law: ``read_costs(costs_to_json(items)) == items``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from countermark.core.canonical import read_digest
from countermark.core.times import read_time, show_time
from countermark.errors import InputError

COSTS_FORMAT = "countermark.costs/1"
COST_KINDS = ("data", "compute", "labor", "licenses")
_KEYS = ("kind", "from", "to", "amount", "currency", "evidence")
_HINT = "An item has: {fields}. Kinds: {kinds}."
_MAX_AMOUNT = 2**53 - 1
_MAX_ITEMS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CostItem:
    """One cost.

    Attributes:
        kind: one of ``COST_KINDS``.
        start: of the period that it belongs to, included.
        end: of the period, excluded.
        amount: in the smallest unit of ``currency``, 1 to 2**53-1.
        currency: 3 to 12 capitals and digits.
        evidence: digest of what shows it, such as an invoice.
    """

    kind: str
    start: str
    end: str
    amount: int
    currency: str
    evidence: str


def read_costs(value: Any) -> tuple[CostItem, ...]:
    """Validate a declaration: ``{"items": [...]}``, with 1 to 1,000 items.

    Raises:
        InputError: naming the item and the field that are wrong.
    """
    if not isinstance(value, Mapping) or value.get("format", COSTS_FORMAT) != COSTS_FORMAT:
        raise InputError("not a declaration of costs", hint="It is a mapping with a list of items.")
    items = value.get("items")
    if set(value) - {"format", "items"} or not isinstance(items, list) or not 1 <= len(items) <= _MAX_ITEMS:
        raise InputError("a declaration of costs holds 1 to {limit} items, and nothing else", limit=_MAX_ITEMS)
    return tuple(_read_item(number, item) for number, item in enumerate(items, 1))


def costs_to_json(items: Iterable[CostItem]) -> dict[str, Any]:
    """Return the declaration as a document."""
    return {"format": COSTS_FORMAT, "items": [_item_to_json(item) for item in items]}


def cost_totals(items: Sequence[CostItem]) -> dict[str, dict[str, int]]:
    """Return the sums by currency and kind, and under ``all`` of every kind."""
    sums: dict[str, dict[str, int]] = {}
    for item in items:
        row = sums.setdefault(item.currency, {})
        for key in (item.kind, "all"):
            row[key] = row.get(key, 0) + item.amount
    return sums


def _item_to_json(item: CostItem) -> dict[str, Any]:
    body = asdict(item)
    return {"kind": body.pop("kind"), "from": body.pop("start"), "to": body.pop("end"), **body}


def _read_item(number: int, value: Any) -> CostItem:
    if not isinstance(value, Mapping) or set(value) != set(_KEYS):
        raise _wrong(number, "kind")
    amount, currency = value["amount"], value["currency"]
    start, end = read_time(value["from"]), read_time(value["to"])
    if value["kind"] not in COST_KINDS:
        raise _wrong(number, "kind")
    if start >= end:
        raise _wrong(number, "to")
    if type(amount) is not int or not 1 <= amount <= _MAX_AMOUNT:
        raise _wrong(number, "amount")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z][A-Z0-9]{2,11}", currency):
        raise _wrong(number, "currency")
    read_digest(value["evidence"])
    return CostItem(
        kind=value["kind"],
        start=show_time(start),
        end=show_time(end),
        amount=amount,
        currency=currency,
        evidence=value["evidence"],
    )


def _wrong(number: int, field: str) -> InputError:
    fields, kinds = ", ".join(_KEYS), ", ".join(COST_KINDS)
    return InputError(
        "cost item {number}: {field} is wrong or missing",
        hint=_HINT,
        number=number,
        field=field,
        fields=fields,
        kinds=kinds,
    )
