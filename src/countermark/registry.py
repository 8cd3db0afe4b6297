"""Parties, titles and the other records of the office, and the log entries that stand for them.

A record is what the workspace keeps; a log entry is what the world may see of it: identifiers and digests only. Names
of people and organisations stay in the workspace and appear elsewhere as salted digests, whose salts can be erased.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from countermark.core.canonical import canonical_json, digest
from countermark.core.keys import PublicKey
from countermark.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: ``operator`` is an office: it registers, anchors its log and delivers what it marked.
ROLES = ("owner", "licensee", "regulator", "arbiter", "expert", "treasurer", "marker", "governor", "operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record whose fields are JSON values. Law: ``R.from_json(r.to_json()) == r``."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        """Read what ``to_json`` wrote; fields of later versions are ignored."""
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in body.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Party(Record):
    """A member of the office: its keys and where they are held.

    ``custody`` is ``held`` where this workspace keeps the private keys, ``external`` where the party signs elsewhere.
    """

    id: str
    name: str
    name_salt: str
    roles: list[str]
    signing_key: str
    address: str
    custody: str
    admission: str = ""

    @property
    def key(self) -> PublicKey:
        """The Ed25519 key that the party signs documents with."""
        return PublicKey.from_text(self.signing_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Title(Record):
    """Title to a registered model.

    ``weights_root`` is the manifest's content root, which the ledger keeps unique. ``registration`` is the signed
    envelope around the manifest, by the owner of that day; ``holder`` is the present one. ``parents`` are the models
    that it is derived from, as declared, ``derivatives`` what models derived from it owe it in basis points (None where
    nobody may derive without approval). ``methods`` names the marking methods of every epoch, in order, and so the
    epoch's detection keys; ``key_id`` is that of the first. ``epochs`` maps each later epoch to the transaction that
    committed to its keys.
    """

    id: int
    name: str
    holder: str
    manifest_digest: str
    weights_root: str
    total_bytes: int
    parameters: int
    epoch: int
    key_id: str
    registration: dict[str, Any]
    transaction: str
    log_index: int
    registered_at: str
    methods: list[list[str]]
    epochs: dict[str, str] = field(default_factory=dict)
    parents: list[dict[str, int]] = field(default_factory=list)
    derivatives: int | None = None

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        """Read a title; where an epoch had a single method, an older record holds its name alone."""
        methods = [[each] if isinstance(each, str) else each for each in body["methods"]]
        return super(Title, cls).from_json({**body, "methods": methods})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Record):
    """Terms open to acceptance under a title, signed by its holder."""

    id: int
    title: int
    terms: dict[str, Any]
    envelope: dict[str, Any]
    transaction: str
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Record):
    """Terms accepted by a licensee, with the secrets behind its mark identifier.

    ``revoked_at`` is when the grant ends early; after a notice it may lie ahead. ``revocation`` is the transaction.
    """

    id: int
    offer: int
    title: int
    licensee: str
    identifier: str
    salt: str
    platform_nonce: str
    acceptance: dict[str, Any]
    starts: str
    expires: str
    transaction: str
    log_index: int
    revoked_at: str | None = None
    revocation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Record):
    """One marked file that was delivered: what, under which grant, on whose signed request.

    ``source_digest`` is that of the picture it was made from, empty where it was made from none, and ``psnr_db`` how
    alike the two are; 0.0 for a text. ``pattern`` is the nonce of its lattice mark, which tells it from other outputs
    of the grant, or None. ``generation`` says how it was born. Of a picture: ``{"epoch", "counter", "size", "pattern",
    "lattice"}``, where ``counter`` is its name in the noise ledger, ``pattern`` the digest of its signs and ``lattice``
    the key of the lattice that rides along, or None. Of a text: ``{"epoch", "counter"}`` and the fields of its receipt
    (``marking.text.generation.Receipt``).
    """

    content_digest: str
    source_digest: str
    grant: int
    method: str
    key_id: str
    request: dict[str, Any]
    psnr_db: float
    time: str
    log_index: int
    sketch: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] | None = None
    pattern: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Record):
    """A memorization audit that the office recorded.

    ``about`` holds the digests of what it is about: ``document``, ``weights`` (the weights root, or None), ``samples``,
    and of each report file by its name; ``findings`` are those of ``evidence.audits.describe``. ``title`` is the title
    to the weights when it was recorded, or None; ``envelope`` the record as the office signed it.
    """

    id: str
    about: dict[str, str | None]
    findings: dict[str, Any]
    title: int | None
    envelope: dict[str, Any]
    audited_at: str
    log_index: int


def name_digest(name: str, salt: bytes) -> bytes:
    """Return the salted digest that stands for a party's name on ledger and log: 32 bytes."""
    return digest("party-name/1", salt + name.encode())


def signing_key_digest(key: PublicKey) -> bytes:
    """Return the digest of a party's Ed25519 key that its admission carries on the ledger: 32 bytes."""
    return digest("member-key/1", key.raw)


def check_name(name: str) -> str:
    """Return a party's name, trimmed.

    Raises:
        InputError: empty, over 120 characters, or with control characters.
    """
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= 120 or re.search(r"[\x00-\x1f\x7f]", trimmed):
        raise InputError("a party's name has 1 to 120 printable characters")
    return trimmed


def log_entry(kind: str, **fields: Any) -> bytes:
    """Return the canonical bytes of a log entry: ``{"type": "countermark.<kind>/1", …}``."""
    return canonical_json({"type": f"countermark.{kind}/1", **fields})


class Transaction(Protocol):
    """One atomic piece of work on the store: all of it is durable after the ``with`` block, or none of it."""

    @property
    def tiles(self) -> Any:
        """The log's tiles, part of the same transaction (``evidence.log.Tiles``)."""

    def put(self, kind: str, key: str, body: dict[str, Any], *, index: tuple[str, ...] = ()) -> None:
        """Write a record under its key; ``index`` holds further words to find it by."""

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return a record, or None."""

    def find(self, kind: str, word: str) -> list[dict[str, Any]]:
        """Return the records of a kind indexed under a word, oldest first."""

    def all(self, kind: str) -> Iterator[dict[str, Any]]:
        """Return every record of a kind, oldest first."""

    def delete(self, kind: str, key: str) -> None:
        """Remove a record, if it is there."""

    def issue(self, identifiers: list[int], owner: str) -> None:
        """Record identifiers as issued, for ever, to ``grant:<id>`` or ``batch:<id>``."""

    def issued_to(self, identifier: int) -> str | None:
        """Return whom an identifier was issued to, or None."""

    def issued(self) -> int:
        """Return how many identifiers were ever issued."""

    def identifiers(self) -> Iterator[NDArray[np.uint64]]:
        """Return every identifier that was ever issued, some ten thousand at a time."""


class Store(Protocol):
    """The office's durable memory."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction; an exception inside rolls all of it back."""

    def close(self) -> None:
        """Release the database."""
