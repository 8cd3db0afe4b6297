"""Generate text under a grant, on a request that the licensee signed: marked as it is sampled, one log entry a reply.

A reply's number is taken in a transaction of its own before it is written, so no name is given twice; and the file gets
its name only after its record and log entry are durable. Repeating a command with the same request goes on where a
killed one stopped, and a request is carried out once. Replies to one prompt use no context twice, which would make them
all alike: what earlier ones used is read from their files.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countermark.core.canonical import digest, document_digest, show_digest
from countermark.core.dsse import Envelope
from countermark.core.keys import DetectionKey
from countermark.core.payload import permute, read_identifier
from countermark.errors import ConflictError, InputError, StorageError
from countermark.marking.text.prf import CONTEXT
from countermark.marking.text.resemblance import sketch
from countermark.marking.text.sampling import TextMark
from countermark.registry import Grant, Output, Title, Transaction, log_entry
from countermark.workflows.generate import (
    counter_word,
    make_folder,
    model_directory,
    request_generation,
    signed_order,
    temporary_name,
)
from countermark.workflows.languages import TEXT, TextOrder, Writer, open_language
from countermark.workflows.license import usable_grant
from countermark.workflows.mark import Marked, open_request, present_key, publish
from countermark.workflows.office import Office, append, envelope_digest, load

if TYPE_CHECKING:
    from countermark.marking.text.generation import Contexts, Receipt

#: Replies that are written at once, and numbers that a killed process may waste.
BATCH = 8


def writes_text(office: Office, number: int) -> bool:
    """Whether the model of a grant's title writes text, marked as such in the present epoch.

    Raises:
        NotFoundError: no such grant.
    """
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", load(transaction, "grant", number)["title"]))
    return TextMark.METHOD in title.methods[title.epoch]


def generate_texts(
    office: Office,
    number: int,
    out: Path,
    *,
    order: TextOrder | None = None,
    request: Envelope | None = None,
    model: Path | None = None,
) -> list[Marked]:
    """Write marked replies with the language model of a grant's title, as UTF-8 files in a folder.

    Args:
        office: where.
        number: the grant.
        out: folder, made if missing.
        order: what to write, where this workspace holds the licensee's key and signs the request itself.
        request: signed by the licensee, with its order; instead of ``order``.
        model: directory of the model; the one that it was registered from by default.

    Returns:
        The replies that this call finished; what an interrupted call had finished before is not among them.

    Raises:
        RightsError: the grant cannot be used now.
        SignatureInvalid: the request is not the licensee's.
        ConflictError: the request was carried out before, or the title's epoch has no key for text.
        ManifestMismatch: the directory holds another model or tokenizer.
        InputError: the model cannot answer what is ordered.
    """
    grant, _, title, licensee = usable_grant(office, number, at=office.clock())
    key = present_key(office, title, TextMark.METHOD)
    if request is None:
        if order is None:
            raise InputError("neither an order nor a signed request was given")
        request = request_generation(number, office.id, order, office.party_key(licensee), clock=office.clock)
    ordered = _ordered(open_request(office, request, number, licensee, "generate"))
    run = _Run(office, grant, title, key, request, ordered, make_folder(out))
    results = run.finish_interrupted()
    if run.made < ordered.total:
        writer = open_language(office, title, model or model_directory(office, title))
        writer.check(ordered)
        results += list(run.write(writer))
    elif not results:
        raise ConflictError("this request was carried out before", hint="Sign another one for more replies.")
    return results


@dataclass(slots=True)
class _Run:
    """One request being carried out."""

    office: Office
    grant: Grant
    title: Title
    key: DetectionKey
    request: Envelope
    order: TextOrder
    out: Path
    used: dict[str, Contexts] = field(default_factory=dict)

    @property
    def made(self) -> int:
        """How many replies of the order have a record; they are made in order."""
        with self.office.store.transaction() as transaction:
            return _made(transaction, self.request)

    def finish_interrupted(self) -> list[Marked]:
        """Publish what was recorded and then interrupted before it got its name."""
        done = []
        for target, output in self._recorded():
            temporary = temporary_name(target)
            if temporary.exists() and _digest(temporary.read_bytes()) == output.content_digest:
                publish(temporary, target)
                done.append(Marked(target, output))
        return done

    def write(self, writer: Writer) -> Iterator[Marked]:
        """Write what is left, in batches."""
        mark = TextMark(self.key.embedding, key_id=self.key.key_id)
        word = permute(self.key.permutation, read_identifier(self.grant.identifier))
        self._read_earlier(writer)
        progress, begun, total = self.office.progress("generate"), self.made, self.order.total
        progress(0, total - begun, "replies")
        for at in range(begun, total, BATCH):
            numbers = range(at, min(at + BATCH, total))
            first = self._take_counters(len(numbers))
            prompts = [self.order.prompt(number) for number in numbers]
            used = [self.used.setdefault(prompt, set()) for prompt in prompts]
            replies = writer.write(
                mark, [word] * len(numbers), prompts, self.order, seed=_seed(self.order, at), used=used
            )
            for i, (text, receipt) in enumerate(replies):
                yield self._deliver(text, receipt, first + i)
                progress(at + i + 1 - begun, total - begun, "replies")

    def _read_earlier(self, writer: Writer) -> None:
        """Remember the contexts of replies that were written before an interruption, where their files still are."""
        for position, (target, output) in enumerate(self._recorded()):
            if target.exists() and _digest(data := target.read_bytes()) == output.content_digest:
                tokens = writer.tokenizer.encode(data.decode(errors="replace")).tolist()
                used = self.used.setdefault(self.order.prompt(position), set())
                used.update(tuple(tokens[i : i + CONTEXT]) for i in range(len(tokens) - CONTEXT))

    def _take_counters(self, count: int) -> int:
        """Take the next numbers of the title's epoch, for good; return the first."""
        place = f"{self.title.id}/{self.title.epoch}"
        with self.office.store.transaction() as transaction:
            first = int((transaction.get("text-counter", place) or {"next": 0})["next"])
            transaction.put("text-counter", place, {"next": first + count})
        return first

    def _deliver(self, text: str, receipt: Receipt, counter: int) -> Marked:
        """Write a reply, commit its record and log entry, and give it its name."""
        target = self._target(self.title.epoch, counter)
        if target.exists():
            raise ConflictError("{path} exists", hint="Choose another folder with --out.", path=target)
        temporary, data = temporary_name(target), text.encode(errors="replace")
        _write(temporary, data)
        with self.office.store.transaction() as transaction:
            output = self._record(transaction, _digest(data), text, asdict(receipt), counter)
        publish(temporary, target)
        return Marked(target, output)

    def _record(
        self, transaction: Transaction, content: str, text: str, receipt: dict[str, Any], counter: int
    ) -> Output:
        """Put record, log entry and progress into one transaction."""
        request, moment = envelope_digest(self.request), self.office.now()
        entry = log_entry(
            "output",
            content=content,
            grant=self.grant.id,
            method=self.key.method,
            key_id=self.key.key_id,
            receipt=show_digest(document_digest("text-receipt/1", receipt)),
            request=request,
            time=moment,
        )
        output = Output(
            content_digest=content,
            source_digest="",
            grant=self.grant.id,
            method=self.key.method,
            key_id=self.key.key_id,
            request=self.request,
            psnr_db=0.0,
            time=moment,
            log_index=append(transaction, entry),
            sketch=sketch(text),
            generation={"epoch": self.title.epoch, "counter": counter, **receipt},
        )
        born = counter_word(self.title.id, self.title.epoch, counter)
        words = (f"grant:{self.grant.id}", content, f"request:{request}", born)
        # Two replies may be the same text, as those without a mark often are: the latest record stands for its content.
        transaction.put("output", f"{self.grant.id}/{content}", output.to_json(), index=words)
        made = {"content": content, "epoch": self.title.epoch, "counter": counter}
        transaction.put("reply", born, made, index=(f"request:{request}",))
        transaction.put("order", request, {"made": _made(transaction, self.request) + 1})
        return output

    def _recorded(self) -> list[tuple[Path, Output]]:
        """Return the replies to this request that have a record, in order, with the names of their files."""
        with self.office.store.transaction() as transaction:
            return [
                (
                    self._target(made["epoch"], made["counter"]),
                    Output.from_json(load(transaction, "output", f"{self.grant.id}/{made['content']}")),
                )
                for made in transaction.find("reply", f"request:{envelope_digest(self.request)}")
            ]

    def _target(self, epoch: int, counter: int) -> Path:
        return self.out / f"grant-{self.grant.id}-{epoch}-{counter:06d}.txt"


def _ordered(body: dict[str, Any]) -> TextOrder:
    """Return the order of a signed request.

    Raises:
        InputError: it is for something else than text, or malformed.
    """
    order = signed_order(body)
    if order.get("kind") != TEXT or "prompts" not in order:
        raise InputError("the request does not order text", hint="Sign one for what the model of this title makes.")
    return TextOrder.from_json(order)


def _made(transaction: Transaction, request: Envelope) -> int:
    return int((transaction.get("order", envelope_digest(request)) or {"made": 0})["made"])


def _seed(order: TextOrder, position: int) -> int:
    """Return what the model's own generator begins a batch with: 0 to 2**63 - 1."""
    if order.seed is None:
        return secrets.randbits(63)
    seeded = digest("text-seed/1", order.seed.to_bytes(8, "big") + position.to_bytes(8, "big"))
    return int.from_bytes(seeded[:8], "big") >> 1


def _digest(data: bytes) -> str:
    return show_digest(hashlib.sha256(data).digest())


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError("cannot write {path}", path=path) from error
