"""Terms, offers and grants: what a licensee may do, until when, and whether a use was covered.

Terms are a strict document: an unknown key is an error, money is an integer in the smallest unit, times are UTC.

Laws:
    ``Terms.from_json(t.to_json()) == t``; equal terms have equal digests whatever the order of keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from countermark.core.canonical import document_digest, read_digest
from countermark.core.times import read_time, show_time
from countermark.errors import InputError

TERMS_FORMAT = "countermark.terms/1"

#: Acts that terms can allow, in the order in which terms list them. New scopes are added at the end.
SCOPES = (
    "infer",
    "commercial",
    "publish",
    "fine_tune",
    "distill",
    "redistribute",
    "sublicense",
    "api_resale",
)

WORLDWIDE = "worldwide"
_MAX_AMOUNT = 2**53 - 1  # what canonical JSON carries exactly
_MAX_SEATS = 256  # Grants.MAX_SEATS: the contract walks over the seats of an offer
_MAX_DAYS = 36_525
_MAX_NOTICE_HOURS = 8_760
_DAY_S, _HOUR_S = 86_400, 3_600
WHOLE_BPS = 10_000
MAX_ROYALTY_BPS = 5_000  # ModelTitles.MAX_STACK_BPS and Grants.MAX_RESALE_BPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Terms of a licence.

    Attributes:
        name: for people; 1 to 200 characters.
        scope: acts allowed, from ``SCOPES``, in that order.
        price: amount in the smallest unit of ``currency``, 0 to 2**53-1.
        currency: ISO 4217 code or a token symbol, 3 to 12 capitals and digits.
        duration_days: length of a grant in days, 1 to 36,525, or None where ``expires`` alone ends it.
        expires: time after which no grant is valid, or None.
        seats: grants valid at one time under one offer, up to 256; 0 means without limit.
        resale: whether the licensee may pass the grant on.
        territory: ISO 3166 alpha-2 codes, sorted, or ``("worldwide",)``.
        revocable: whether the title holder may end a grant early.
        legal_text: digest of the legal text, ``sha256:…``, or None.
        bond: amount that the licensee leaves with the market until the grant has ended, 0 to 2**53-1.
        notice_hours: time between the title holder's notice and the end of a grant, 0 to 8,760; 0 is at once.
        renewable: whether a grant can be extended by its length at the price.
        on_market: whether any licensee may buy a grant on the market at the price.
        revenue_share_bps: basis points of its own revenue that the licensee owes, 0 to 10,000.
        resale_royalty_bps: basis points of the price of a resale that go to the title, 0 to 5,000.
        derivative_royalty_bps: basis points that a model derived under these terms owes this one, 0 to 5,000, or None
            where the terms allow no derivative that is registered.
        attribution: whether outputs and copies have to name the model.
    """

    name: str
    scope: tuple[str, ...]
    price: int
    currency: str
    duration_days: int | None
    expires: str | None
    seats: int
    resale: bool
    territory: tuple[str, ...]
    revocable: bool
    legal_text: str | None
    bond: int = 0
    notice_hours: int = 0
    renewable: bool = False
    on_market: bool = False
    revenue_share_bps: int = 0
    resale_royalty_bps: int = 0
    derivative_royalty_bps: int | None = None
    attribution: bool = False

    @property
    def digest(self) -> bytes:
        """The 32 bytes that offer and grant carry on the ledger."""
        return document_digest("terms/1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the document, with every field present."""
        body = asdict(self)
        return {"format": TERMS_FORMAT, **body, "scope": list(self.scope), "territory": list(self.territory)}

    @classmethod
    def from_json(cls, value: Any) -> Terms:
        """Validate a document.

        ``format``, ``duration_days``, ``expires``, ``legal_text`` and every field after it may be left out;
        ``territory`` may be one code.

        Raises:
            InputError: naming the field that is wrong, unknown or missing.
        """
        if not isinstance(value, Mapping):
            raise InputError("terms are a mapping of fields")
        given = dict(value)
        if given.pop("format", TERMS_FORMAT) != TERMS_FORMAT:
            raise InputError("unknown format of terms", hint="This version reads countermark.terms/1.")
        unknown = sorted(str(key) for key in given.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise InputError(
                "terms hold an unknown field: {field}", hint=_FIELDS_HINT, field=unknown[0], fields=_FIELDS
            )
        terms = cls(
            name=_name(given),
            scope=_scope(given),
            price=_integer(given, "price", 0, _MAX_AMOUNT),
            currency=_matching(given, "currency", r"[A-Z][A-Z0-9]{2,11}"),
            duration_days=_optional_integer(given, "duration_days", 1, _MAX_DAYS),
            expires=_optional_time(given),
            seats=_integer(given, "seats", 0, _MAX_SEATS),
            resale=_boolean(given, "resale"),
            territory=_territory(given),
            revocable=_boolean(given, "revocable"),
            legal_text=_optional_digest(given),
            bond=_integer(given, "bond", 0, _MAX_AMOUNT, default=0),
            notice_hours=_integer(given, "notice_hours", 0, _MAX_NOTICE_HOURS, default=0),
            renewable=_boolean(given, "renewable", default=False),
            on_market=_boolean(given, "on_market", default=False),
            revenue_share_bps=_integer(given, "revenue_share_bps", 0, WHOLE_BPS, default=0),
            resale_royalty_bps=_integer(given, "resale_royalty_bps", 0, MAX_ROYALTY_BPS, default=0),
            derivative_royalty_bps=_optional_integer(given, "derivative_royalty_bps", 0, MAX_ROYALTY_BPS),
            attribution=_boolean(given, "attribution", default=False),
        )
        if terms.renewable and terms.duration_days is None:
            raise InputError("terms: a renewable grant needs duration_days")
        if terms.duration_days is None and terms.expires is None:
            raise InputError("terms need an end", hint="Give duration_days, expires, or both.")
        return terms

    @property
    def scope_mask(self) -> int:
        """The acts allowed as a bit mask: bit i stands for ``SCOPES[i]``."""
        return sum(1 << bit for bit, scope in enumerate(SCOPES) if scope in self.scope)

    @property
    def territory_digest(self) -> bytes:
        """The 32 bytes that stand for the territory on the ledger; all zero for worldwide."""
        if self.territory == (WORLDWIDE,):
            return bytes(32)
        return document_digest("territory/1", list(self.territory))

    def conditions(self) -> tuple[int | bool | bytes, ...]:
        """Return what an offer of these terms fixes on the ledger: the fields of ``Conditions`` in ``Ports.sol``."""
        return (
            self.price,
            self.bond,
            (self.duration_days or 0) * _DAY_S,
            int(read_time(self.expires).timestamp()) if self.expires else 0,
            self.seats,
            self.notice_hours * _HOUR_S,
            self.scope_mask,
            self.revenue_share_bps,
            self.resale_royalty_bps,
            self.revocable,
            self.resale,
            self.renewable,
            self.on_market,
            self.territory_digest,
        )

    def window(self, starts: datetime) -> tuple[datetime, datetime]:
        """Return the validity window, start included and end excluded, of a grant that starts at ``starts``.

        Raises:
            InputError: the terms have expired by then.
        """
        ends = [read_time(self.expires)] if self.expires else []
        if self.duration_days is not None:
            ends.append(starts + timedelta(days=self.duration_days))
        if min(ends) <= starts:
            raise InputError("the terms expired at {expires}", expires=show_time(min(ends)))
        return starts, min(ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Whether a grant covered a use. ``covered`` is None where no use was named."""

    covered: bool | None
    reasons: tuple[str, ...]


def coverage(
    terms: Terms,
    *,
    use: str | None,
    territory: str | None,
    at: datetime,
    starts: datetime,
    expires: datetime,
    revoked_at: datetime | None,
) -> Coverage:
    """Decide whether a use, in a territory, at a time was covered; every reason against it is listed.

    Args:
        terms: of the grant.
        use: one of ``SCOPES``, or None if the use is not known.
        territory: ISO 3166 alpha-2 code, or None if not known.
        at: time of the use.
        starts: start of the grant's window, included.
        expires: its end, excluded.
        revoked_at: when it was revoked, if it was.

    Raises:
        InputError: a use that is no scope.
    """
    if use is not None and use not in SCOPES:
        raise InputError("unknown use: {use}", hint="Uses: {uses}", use=use, uses=", ".join(SCOPES))
    against = []
    if at < starts:
        against.append("before-window")
    if at >= expires:
        against.append("expired")
    if revoked_at is not None and at >= revoked_at:
        against.append("revoked")
    if use is not None and use not in terms.scope:
        against.append("outside-scope")
    if territory is not None and terms.territory != (WORLDWIDE,) and territory not in terms.territory:
        against.append("outside-territory")
    if against:
        return Coverage(covered=False, reasons=tuple(against))
    return Coverage(covered=None if use is None else True, reasons=("use-not-named",) if use is None else ())


_FIELDS = ", ".join(Terms.__dataclass_fields__)
_FIELDS_HINT = "Fields: {fields}"


def _wrong(field: str, want: str) -> InputError:
    return InputError("terms: {field} must be {want}", hint=_FIELDS_HINT, field=field, want=want, fields=_FIELDS)


def _name(given: dict[str, Any]) -> str:
    name = given.get("name")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 200:
        raise _wrong("name", "text of 1 to 200 characters")
    return name.strip()


def _integer(given: dict[str, Any], field: str, low: int, high: int, *, default: int | None = None) -> int:
    value = given.get(field, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(field, f"a whole number from {low} to {high}")
    return value


def _boolean(given: dict[str, Any], field: str, *, default: bool | None = None) -> bool:
    value = given.get(field, default)
    if not isinstance(value, bool):
        raise _wrong(field, "true or false")
    return value


def _matching(given: dict[str, Any], field: str, pattern: str) -> str:
    value = given.get(field)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _wrong(field, "a code such as CNY")
    return value


def _scope(given: dict[str, Any]) -> tuple[str, ...]:
    value = given.get("scope")
    if not isinstance(value, list | tuple) or not value or not all(item in SCOPES for item in value):
        raise _wrong("scope", "a list of: " + ", ".join(SCOPES))
    return tuple(scope for scope in SCOPES if scope in value)


def _territory(given: dict[str, Any]) -> tuple[str, ...]:
    value = given.get("territory")
    codes = [value] if isinstance(value, str) else value
    if codes == [WORLDWIDE]:
        return (WORLDWIDE,)
    if not isinstance(codes, list | tuple) or not codes or not all(is_country(code) for code in codes):
        raise _wrong("territory", "worldwide or a list of two-letter country codes")
    return tuple(sorted(set(codes)))


def is_country(code: object) -> bool:
    """Whether a value has the form of an ISO 3166 alpha-2 code: two capitals."""
    return isinstance(code, str) and re.fullmatch(r"[A-Z]{2}", code) is not None


def _optional_integer(given: dict[str, Any], field: str, low: int, high: int) -> int | None:
    return None if given.get(field) is None else _integer(given, field, low, high)


def _optional_time(given: dict[str, Any]) -> str | None:
    value = given.get("expires")
    return None if value is None else show_time(read_time(value))


def _optional_digest(given: dict[str, Any]) -> str | None:
    value = given.get("legal_text")
    if value is not None:
        read_digest(value)
    return value
