"""What the ledger answers with. Digests are 32 bytes, addresses checksummed text, times Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from countermark.errors import NotFoundError


class Role(IntFlag):
    """What a member may do: bits as in ``contracts/src/Members.sol``."""

    GOVERNOR = 1 << 0
    REGISTRAR = 1 << 1
    LICENSOR = 1 << 2
    LICENSEE = 1 << 3
    ANCHORER = 1 << 4
    REGULATOR = 1 << 5
    ARBITER = 1 << 6
    EXPERT = 1 << 7
    TREASURER = 1 << 8
    MARKER = 1 << 9


@dataclass(frozen=True, slots=True)
class Event:
    """One event of our contracts, with its arguments by name and its place on the ledger."""

    contract: str
    name: str
    args: Mapping[str, Any]
    block_number: int
    transaction_hash: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction that succeeded or only read; hashes are ``0x`` and 64 hex digits."""

    transaction_hash: str
    block_hash: str
    block_number: int
    timestamp: int
    gas_used: int
    events: tuple[Event, ...]

    def event(self, name: str) -> dict[str, Any]:
        """Return the arguments of the first event of that name.

        Raises:
            NotFoundError: there is none.
        """
        for event in self.events:
            if event.name == name:
                return dict(event.args)
        raise NotFoundError("transaction {hash} has no event {name}", hash=self.transaction_hash, name=name)


@dataclass(frozen=True, slots=True)
class TitleRecord:
    """A title: ``key_commitment`` is that of the newest ``epoch``; ``tagged`` says whether a ruling stands against it.

    ``derivative_bps`` is the share that derived models owe it, anybody's where ``derivatives_open``.
    """

    id: int
    holder: str
    manifest_digest: bytes
    weights_root: bytes
    key_commitment: bytes
    epoch: int
    registered_at: int
    derivative_bps: int
    derivatives_open: bool
    tagged: bool


@dataclass(frozen=True, slots=True)
class OfferRecord:
    """An offer: ``conditions`` are the fields of ``Conditions`` in ``contracts/src/Ports.sol``, in snake_case.

    ``fee_bps`` is the platform's fee in basis points as it was when the offer was made.
    """

    id: int
    title: int
    terms_digest: bytes
    fee_bps: int
    withdrawn: bool
    conditions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """A grant: in force from ``starts_at`` on, until before ``expires_at`` and before ``revoked_at`` if that is set.

    ``revoked_at`` may lie ahead: it is when a notice takes effect.
    """

    id: int
    holder: str
    offer: int
    acceptance_digest: bytes
    mark_commitment: bytes
    starts_at: int
    expires_at: int
    revoked_at: int | None
    seat: int

    @classmethod
    def of(cls, number: int, holder: str, record: Sequence[Any]) -> GrantRecord:
        """Read the contract's struct, where 0 stands for "not revoked"."""
        offer, acceptance, commitment, starts, expires, revoked, seat = record
        return cls(number, holder, offer, acceptance, commitment, starts, expires, revoked or None, seat)


@dataclass(frozen=True, slots=True)
class AnchorRecord:
    """The newest anchor of a log."""

    log_id: bytes
    size: int
    root: bytes
    checkpoint_digest: bytes
    anchored_at: int


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member as last admitted, suspended or rotated; in force before ``valid_until`` unless ``suspended``."""

    address: str
    organization_digest: bytes
    signing_key_digest: bytes
    roles: Role
    valid_until: int
    suspended: bool
