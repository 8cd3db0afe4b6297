"""What an organization answers to prove that it is behind a party, and what a checked answer says.

Laws:
    a proof that holds for one challenge holds for no other office, party, key, account or time;
    ``Challenge.from_bytes(c.to_bytes()) == c``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from countermark.core.canonical import canonical_json, digest, parse_json
from countermark.errors import IdentityInvalid, InputError

FORMAT = "countermark.identity-challenge/1"
#: How long a challenge may be answered.
MAX_AGE = timedelta(days=30)
_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The statement that an organization makes by signing it, or by having its digest signed in a token.

    Attributes:
        office: id of the office that asks.
        party: id of the party.
        signing_key: the party's Ed25519 key.
        address: the party's ledger account.
        nonce: 32 hex digits, drawn by the office.
        issued_at: when it was handed out.
    """

    office: str
    party: str
    signing_key: str
    address: str
    nonce: str
    issued_at: str

    def to_bytes(self) -> bytes:
        """Return the exact bytes that are signed: canonical JSON, without a line end."""
        return canonical_json({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Challenge:
        """Read what ``to_bytes`` wrote.

        Raises:
            InputError: anything else.
        """
        value = parse_json(data, limit=_LIMIT)
        fields = set(cls.__dataclass_fields__)
        if not isinstance(value, dict) or value.pop("format", None) != FORMAT or set(value) != fields:
            raise InputError("not a challenge of this version")
        if not all(isinstance(text, str) for text in value.values()):
            raise InputError("not a challenge of this version")
        return cls(**value)

    @property
    def digest(self) -> str:
        """The nonce that an ID token carries: 64 hex digits."""
        return digest("identity-challenge/1", self.to_bytes()).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An answer that was checked.

    Attributes:
        method: ``certificate`` or ``oidc``.
        organization: the name that it proves, as it stands there.
        expires: when what it rests on ends, if it says so.
        evidence: what was checked, as JSON values, whole: whoever has it can check it again.
    """

    method: str
    organization: str
    expires: datetime | None
    evidence: dict[str, Any]


def same_organization(name: str, other: str) -> bool:
    """Whether two names differ at most in case, spaces and Unicode's compatible forms (NFKC)."""
    return _folded(name) == _folded(other)


def check_organization(found: str, declared: str) -> str:
    """Return the name that was found.

    Raises:
        IdentityInvalid: it is another organization's.
    """
    if not same_organization(found, declared):
        raise IdentityInvalid(
            "the proof is about {found}, not about {declared}",
            hint="A party is admitted under the name that its proof bears.",
            found=found,
            declared=declared,
        )
    return found


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
