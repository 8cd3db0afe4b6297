"""The regulator's holds: a subject does not move, for a time, for a stated reason in a named case.

A hold takes nothing: it ends by itself, and refunds and evidence go on under it. Reason and case stand on the ledger as
salted digests; every hold and release is an event there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from countermark.core.times import from_unix, show_time
from countermark.errors import InputError
from countermark.workflows.market.acts import Call, act, read_party
from countermark.workflows.market.documents import salted_digest
from countermark.workflows.market.subjects import read_subject
from countermark.workflows.office import Office

#: Members.MAX_HOLD.
MAX_HOLD_DAYS = 90


def hold(office: Office, regulator: str, subject: str, *, days: int, case: str, reason: str) -> dict[str, Any]:
    """Hold a subject, as a regulator; replaces a hold that stands.

    Args:
        office: where.
        regulator: party with that role.
        subject: as ``read_subject`` takes it.
        days: 1 to 90.
        case: the regulator's own name of the case.
        reason: why.
    """
    if not 1 <= days <= MAX_HOLD_DAYS:
        raise InputError("a hold lasts 1 to {limit} days", limit=MAX_HOLD_DAYS)
    until = int((office.clock() + timedelta(days=days)).timestamp())
    named = salted_digest(office, "regulator-case", {"case": case})
    reasoned = salted_digest(office, "hold-reason", {"subject": subject, "reason": reason})
    args = (read_subject(office, subject), until, named, reasoned)
    call = Call(contract="Members", function="hold", args=args, event="Held")
    return act(office, "hold", call, by=read_party(office, regulator), subject={"subject": subject, "days": days})


def release(office: Office, regulator: str, subject: str, *, reason: str) -> dict[str, Any]:
    """End a hold before its time, as a regulator."""
    reasoned = salted_digest(office, "release-reason", {"subject": subject, "reason": reason})
    args = (read_subject(office, subject), reasoned)
    call = Call(contract="Members", function="release", args=args, event="Released")
    return act(office, "release", call, by=read_party(office, regulator), subject={"subject": subject})


def standing_hold(office: Office, subject: str) -> dict[str, Any] | None:
    """Return the hold on a subject (``until`` as time, digests as hex), or None if it is free."""
    name = read_subject(office, subject)
    if not office.ledger.view("Members", "isHeld", name):
        return None
    found = office.ledger.record("Members", "holdOf", name)
    return {
        "subject": subject,
        "until": show_time(from_unix(found["until"])),
        "regulator": found["regulator"],
        "case": found["case_digest"].hex(),
        "reason": found["reason_digest"].hex(),
    }
