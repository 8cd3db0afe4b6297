"""Times: UTC and aware, whole seconds, written ``2026-11-21T12:00:00Z`` (RFC 3339)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from countermark.errors import InputError

Clock = Callable[[], datetime]


def show_time(moment: datetime) -> str:
    """Write an aware time in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: object) -> datetime:
    """Read an RFC 3339 time; a date alone means its first second in UTC.

    Raises:
        InputError: not a time, or a time without a zone.
    """
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise InputError("not a time: {text}", hint="Write it as 2027-01-31T00:00:00Z.", text=str(text)[:40]) from error
    if moment.tzinfo is None:
        if len(str(text)) > 10:
            raise InputError("a time needs its zone: {text}", hint="Add Z for UTC.", text=str(text)[:40])
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def from_unix(seconds: int) -> datetime:
    """Return the aware UTC time of a ledger's whole seconds; 0 stands for "without end" on a ledger, not here.

    Raises:
        InputError: beyond the year 9999.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError("not a ledger time: {seconds}", seconds=seconds) from error
