"""The trust file: what a verifier holds about an office, obtained separately from any bundle (rule 11).

It names the office's keys with their periods, its log and the checkpoints seen when the file was made, its ledger's
genesis and contracts, and the roots of the time-stamp authorities that are believed. A bundle checked without one can
only be called self-consistent.

Laws:
    ``Trust.from_json(t.to_json()) == t``; ``read_trust`` raises only ``InputError``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from countermark.core.canonical import parse_json
from countermark.core.keys import PublicKey
from countermark.core.times import read_time
from countermark.errors import InputError, SignatureInvalid

FORMAT = "countermark.trust/1"
MAX_CHECKPOINTS = 256
_MAX_KEYS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPeriod:
    """A key and the time it signs for, from ``start`` to ``end``; no end means until now.

    Both ends are included: times are whole seconds, and a second in which one key follows another belongs to both.
    """

    key: str
    start: str
    end: str | None

    def covers(self, moment: datetime) -> bool:
        """Whether the key was in office at a time."""
        return read_time(self.start) <= moment and (self.end is None or moment <= read_time(self.end))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCheckpoint:
    """A checkpoint that the office had anchored when the trust file was made."""

    size: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is believed about one office."""

    office: str
    name: str
    exported_at: str
    platform_keys: tuple[KeyPeriod, ...]
    origin: str
    log_keys: tuple[KeyPeriod, ...]
    chain_id: int
    genesis_hash: str
    engine: str
    contracts: Mapping[str, str]
    timestamp_roots: tuple[str, ...]
    checkpoints: tuple[KnownCheckpoint, ...]

    def platform_key(self, key: str, moment: datetime) -> PublicKey:
        """Return the platform key if it was in office at ``moment``.

        Raises:
            SignatureInvalid: unknown key, or a key outside its period.
        """
        return _in_office(self.platform_keys, key, moment, "platform")

    def log_keys_at(self, moment: datetime) -> list[PublicKey]:
        """Return the log keys that were in office at ``moment``."""
        return [PublicKey.from_text(period.key) for period in self.log_keys if period.covers(moment)]

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any) -> Trust:
        """Validate a document.

        Raises:
            InputError: a field is missing, malformed or over its limit.
        """
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise InputError("not a trust file", hint="Make one with: countermark trust export")
        try:
            trust = cls(
                **{
                    name: str(value[name])
                    for name in ("office", "name", "exported_at", "origin", "genesis_hash", "engine")
                },
                chain_id=int(value["chain_id"]),
                platform_keys=_periods(value["platform_keys"]),
                log_keys=_periods(value["log_keys"]),
                contracts={str(name): str(address).lower() for name, address in dict(value["contracts"]).items()},
                timestamp_roots=tuple(str(pem) for pem in value["timestamp_roots"])[:_MAX_KEYS],
                checkpoints=tuple(
                    KnownCheckpoint(size=int(item["size"]), root=str(item["root"]))
                    for item in list(value["checkpoints"])[:MAX_CHECKPOINTS]
                ),
            )
            for period in trust.platform_keys + trust.log_keys:
                PublicKey.from_text(period.key), read_time(period.start), period.end and read_time(period.end)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("the trust file is malformed: {reason}", reason=error) from error
        return trust


def read_trust(data: bytes) -> Trust:
    """Read a trust file.

    Raises:
        InputError: it is not one.
    """
    return Trust.from_json(parse_json(data, limit=2**20))


def _periods(value: Sequence[Mapping[str, Any]]) -> tuple[KeyPeriod, ...]:
    return tuple(
        KeyPeriod(key=str(item["key"]), start=str(item["start"]), end=item["end"] and str(item["end"]))
        for item in list(value)[:_MAX_KEYS]
    )


def _in_office(periods: Sequence[KeyPeriod], key: str, moment: datetime, role: str) -> PublicKey:
    known = [period for period in periods if period.key == key]
    if not known:
        raise SignatureInvalid("the {role} key is not in the trust file", role=role)
    if not any(period.covers(moment) for period in known):
        raise SignatureInvalid("the {role} key was not in office then", role=role)
    return PublicKey.from_text(key)
