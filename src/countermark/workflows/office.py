"""The office: the ports that every workflow works through, and the journal that makes an act happen exactly once.

An act that touches the ledger is first written down whole, as an *intent* with its signed transaction and every random
value it needs; then the transaction is submitted; then record, log entry and the intent's end are committed together.
A process killed anywhere in between leaves an intent that ``recover`` finishes with the same transaction, which the
ledger takes once however often it is sent. Whoever repeats the interrupted command gets the finished result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from countermark.core.canonical import digest, document_digest, show_digest
from countermark.core.dsse import Envelope, sign_document
from countermark.core.keys import DetectionKey, Secret, SigningKey
from countermark.core.progress import Progress
from countermark.core.times import Clock, show_time
from countermark.errors import AdapterError, CountermarkError, KeystoreError, NotFoundError, StaleNonce
from countermark.evidence import log
from countermark.evidence.timestamp import TimestampAuthority
from countermark.registry import Party, Store, Title, Transaction
from countermark.workflows.pipelines import NoiseLedgers, Pipelines

if TYPE_CHECKING:
    from countermark.workflows.languages import Languages


class Keyring(Protocol):
    """Secrets by name."""

    def secret(self, name: str) -> Secret:
        """Return a 32-byte secret."""

    def holds(self, name: str) -> bool:
        """Whether there is a secret of that name."""

    def add_all(self, values: dict[str, bytes]) -> None:
        """Store secrets durably."""


class Receipt(Protocol):
    """A mined transaction."""

    @property
    def transaction_hash(self) -> str:
        """Hex with ``0x``."""

    @property
    def block_number(self) -> int:
        """Height of its block."""

    @property
    def timestamp(self) -> int:
        """Time of its block, unix seconds."""

    def event(self, name: str) -> dict[str, Any]:
        """Return the arguments of its event of that name."""


class Event(Protocol):
    """One event of the contracts."""

    @property
    def name(self) -> str:
        """Its name in the ABI."""

    @property
    def args(self) -> Mapping[str, Any]:
        """Its arguments by name."""

    @property
    def block_number(self) -> int:
        """Height of its block."""

    @property
    def transaction_hash(self) -> str:
        """Hex with ``0x``."""


class IndexedEvent(Event, Protocol):
    """An event as the index keeps it; its arguments are JSON values, large integers as decimal text."""

    @property
    def contract(self) -> str:
        """Name of the contract."""

    @property
    def block_number(self) -> int:
        """Height of its block."""

    @property
    def block_time(self) -> int:
        """Time of its block, unix seconds."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What it concerns, such as ``title:1`` or ``account:0x…``; first what it happened to."""


class Index(Protocol):
    """The ledger's events by what they concern."""

    def follow(self) -> int:
        """Read what is new on the ledger; return how many events that was."""

    def rebuild(self) -> int:
        """Forget everything and read the ledger from its first block."""

    def about(self, subject: str) -> Sequence[IndexedEvent]:
        """Return the events about a subject and about what began under it, oldest first."""

    def named(self, *names: str, from_block: int = 0) -> Sequence[IndexedEvent]:
        """Return the events of these names, or of any, from a block on, oldest first."""


class Anchored(Protocol):
    """An anchor as the ledger holds it."""

    @property
    def size(self) -> int:
        """Entries under the root."""

    @property
    def root(self) -> bytes:
        """32 bytes."""


class Ledger(Protocol):
    """The ledger, as far as workflows use it."""

    @property
    def deployment(self) -> dict[str, Any]:
        """Chain id, genesis hash, contract addresses, engine."""

    def fee_float(self) -> int:
        """Return how much coin a new member's account should be sent for its fees."""

    def address_of(self, account: Secret) -> str:
        """Return an account's address."""

    def prepare_call(
        self, sender: Secret, contract: str, function: str, args: tuple[Any, ...], value: int = 0
    ) -> bytes:
        """Try a call and return it as a signed transaction; nothing is sent."""

    def encode_call(self, contract: str, function: str, args: tuple[Any, ...]) -> dict[str, Any]:
        """Return a call for a wallet to sign: ``{"chain_id", "to", "data"}``."""

    def submit(self, raw: bytes) -> Receipt:
        """Send a signed transaction, once however often it is called, and return its receipt."""

    def sender(self, transaction_hash: str) -> str:
        """Return the address of the account that sent a transaction."""

    def prove(self, transaction_hash: str) -> dict[str, Any]:
        """Return the offline proof of a receipt."""

    def record(self, contract: str, function: str, *args: Any) -> dict[str, Any]:
        """Return a view function's struct, or its several outputs, by name in snake_case."""

    def view(self, contract: str, function: str, *args: Any) -> Any:
        """Return what a view function answers: as ``record``, an array as a list, a single output as its value."""

    def sign_statement(self, expert: Secret, statement: tuple[int, bytes, bytes, int]) -> bytes:
        """Return an expert's signature of a statement: case, schema, digest, end."""

    def title_of(self, weights_root: bytes) -> int | None:
        """Return the title of these weights, or None."""

    def identifiers_issued(self) -> int:
        """Return how many identifiers the ledger counts as issued."""

    def events(self, name: str | None = None) -> Sequence[Event]:
        """Return the contracts' events in order, of one name or of all."""

    def latest_anchor(self, log_id: bytes) -> Anchored | None:
        """Return the newest anchor of a log, or None."""

    def is_member(self, address: str, role: int) -> bool:
        """Whether an account holds a role (its bit) now: admitted, not suspended, not past its time."""

    def permitted(self, grant: int, at: int) -> bool:
        """Whether the ledger holds a grant for valid at a time, unix seconds."""


@dataclass(frozen=True, slots=True)
class Office:
    """Everything that a workflow may use.

    Attributes:
        id: random name of the workspace; part of every signed document, so that none counts in another office.
        name: the office's name for people.
        origin: origin line of its log (C2SP checkpoint).
        timestamp_roots: PEM certificates of the time-stamp authority that it uses.
    """

    id: str
    name: str
    origin: str
    store: Store
    ledger: Ledger
    index: Index
    keys: Keyring
    tsa: TimestampAuthority
    timestamp_roots: tuple[str, ...]
    clock: Clock
    progress: Callable[[str], Progress]
    pipelines: Pipelines
    languages: Languages
    noise: NoiseLedgers

    @property
    def account(self) -> Secret:
        """The office's own ledger account.

        A founder's is governor, registrar, anchorer, treasurer and marking service; that of an office which joined has
        the roles that it was admitted with.
        """
        return self.keys.secret("ledger")

    @property
    def platform_key(self) -> SigningKey:
        """The key that signs statements and seals today."""
        return SigningKey(self.keys.secret(f"platform/{current_generation(self, 'platform')}"))

    @property
    def log_key(self) -> SigningKey:
        """The key that signs checkpoints today."""
        return SigningKey(self.keys.secret(f"log/{current_generation(self, 'log')}"))

    def now(self) -> str:
        """The present, as text."""
        return show_time(self.clock())

    def party_key(self, party: Party) -> SigningKey:
        """Return a party's signing key, where this workspace holds it.

        Raises:
            KeystoreError: the party signs elsewhere.
        """
        if party.custody != "held":
            raise KeystoreError(
                "the key of {party} is not held here", hint="Let the party sign the document itself.", party=party.name
            )
        return SigningKey(self.keys.secret(f"party/{party.id}/signing"))

    def party_account(self, party: Party) -> Secret:
        """Return a party's ledger account, where this workspace holds it."""
        return self.keys.secret(f"party/{party.id}/account")

    def detection_key(self, weights_root: str, method: str, epoch: int) -> DetectionKey:
        """Return the detection key of a method, a model (the digest of its weights) and an epoch."""
        return DetectionKey.derive(self.keys.secret("marks"), method=method, model=weights_root, epoch=epoch)

    def epoch_keys(self, title: Title, epoch: int) -> list[DetectionKey]:
        """Return the detection keys of an epoch, one for each of its methods, in their order."""
        return [self.detection_key(title.weights_root, method, epoch) for method in title.methods[epoch]]


_logger = logging.getLogger(__name__)

Intent = dict[str, Any]
Recorder = Callable[[Office, Transaction, Intent, "Receipt"], dict[str, Any]]
_RECORDERS: dict[str, Recorder] = {}


def recorder(kind: str) -> Callable[[Recorder], Recorder]:
    """Name the function that turns an intent and its receipt into record and log entry."""

    def register(function: Recorder) -> Recorder:
        _RECORDERS[kind] = function
        return function

    return register


def perform(
    office: Office, kind: str, subject: Any, plan: Callable[[], Intent], *, earlier: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Do an act exactly once and return its result.

    Args:
        office: where.
        kind: which recorder ends it.
        subject: JSON value that names the act; a repeated command has the same subject.
        plan: makes the intent, with ``transaction`` as hex; it runs only where no unfinished act of this subject is
            left.
        earlier: result of the same act where it was acknowledged before and must not be done again.
    """
    key = f"{kind}:{show_digest(document_digest('operation/1', subject))}"
    with office.store.transaction() as transaction:
        operation = transaction.get("operation", key)
    if operation is None:
        if earlier is not None:
            return earlier
        operation = {"key": key, "kind": kind, "intent": plan(), "result": None}
        with office.store.transaction() as transaction:
            transaction.put("operation", key, operation)
    result = _finish(office, operation)
    _drop(office, operation)
    return result


def recover(office: Office) -> int:
    """Finish what a killed process left unfinished; return how many acts that were.

    Their results wait until the interrupted command is repeated.
    """
    with office.store.transaction() as transaction:
        left = [operation for operation in transaction.all("operation") if operation["result"] is None]
    for operation in left:
        try:
            _finish(office, operation)
        except CountermarkError as error:
            if isinstance(error, AdapterError) and not isinstance(error, StaleNonce):
                raise
            _logger.warning("an interrupted %s was refused: %s", operation["kind"], error)
    return len(left)


def _finish(office: Office, operation: dict[str, Any]) -> dict[str, Any]:
    if operation["result"] is not None:
        done: dict[str, Any] = operation["result"]
        return done
    try:
        receipt = office.ledger.submit(bytes.fromhex(operation["intent"]["transaction"]))
    except CountermarkError as error:
        if not isinstance(error, AdapterError) or isinstance(error, StaleNonce):
            _drop(office, operation)  # refused for good: nothing happened, and nothing is left to finish
        raise
    with office.store.transaction() as transaction:
        result = _RECORDERS[operation["kind"]](office, transaction, operation["intent"], receipt)
        transaction.put("operation", operation["key"], {**operation, "result": result})
    return result


def _drop(office: Office, operation: dict[str, Any]) -> None:
    with office.store.transaction() as transaction:
        transaction.delete("operation", operation["key"])


def append(transaction: Transaction, entry: bytes) -> int:
    """Append one entry to the log inside a transaction and return its index."""
    return log.append(transaction.tiles, [entry]).first


def sign(key: SigningKey, kind: str, body: Mapping[str, Any]) -> Envelope:
    """Sign a document of a kind; its ``format`` field names kind and version."""
    return sign_document(key, kind, {"format": f"countermark.{kind}/1", **body})


def envelope_digest(envelope: Envelope) -> str:
    """Return the digest that log entries use for a signed document: over its exact payload."""
    return show_digest(digest("envelope/1", envelope["payload"].encode()))


def party(transaction: Transaction, name: str) -> Party:
    """Return a party by id or by name.

    Raises:
        NotFoundError: there is none.
    """
    body = transaction.get("party", name)
    found = [body] if body else transaction.find("party", name.strip())
    if not found:
        raise NotFoundError(
            "no party is called {name}", hint="Add one with: countermark party add NAME --role licensee", name=name
        )
    return Party.from_json(found[0])


def party_with_address(transaction: Transaction, address: str) -> Party | None:
    """Return the party with a ledger address, or None where none of this workspace has it."""
    return next((Party.from_json(body) for body in transaction.all("party") if body["address"] == address), None)


def load(transaction: Transaction, kind: str, key: object) -> dict[str, Any]:
    """Return a record.

    Raises:
        NotFoundError: there is none.
    """
    body = transaction.get(kind, str(key))
    if body is None:
        shared = kind in ("title", "offer", "grant")  # counted on the ledger, by every office on it
        raise NotFoundError(
            "there is no {kind} {key} in this workspace",
            hint="It may be another office's: see countermark history {kind}:{key}, and act there." if shared else "",
            kind=kind,
            key=key,
        )
    return body


def titles(transaction: Transaction) -> Iterator[Title]:
    """Return every title, oldest first."""
    return (Title.from_json(body) for body in transaction.all("title"))


def current_generation(office: Office, role: str) -> int:
    """Return the number of the newest key of a role."""
    with office.store.transaction() as transaction:
        return len(key_periods(transaction, role)) - 1


def key_periods(transaction: Transaction, role: str) -> list[dict[str, Any]]:
    """Return the periods of a role's keys, oldest first; ``until`` is None for the newest."""
    return [body for body in transaction.all("key-period") if body["role"] == role]
