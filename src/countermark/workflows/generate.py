"""Generate pictures under a grant, on a request that the licensee signed: born with the mark, one log entry each.

The initial noise of every picture carries the grant's identifier and a counter. A counter is taken in a transaction of
its own before it is used, so none is used twice whatever is killed when; the signs stand in the noise ledger before the
picture is drawn; and the picture gets its name only after its record and log entry are durable. Repeating a command
with the same request goes on where a killed one stopped, with new counters, and a request is carried out once.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from countermark.core.canonical import digest, show_digest
from countermark.core.dsse import Envelope
from countermark.core.keys import DetectionKey, Secret, SigningKey
from countermark.core.payload import permute, read_identifier
from countermark.core.times import Clock, show_time
from countermark.errors import ConflictError, InputError, NotFoundError, SignatureInvalid, StorageError
from countermark.marking.image.files import Picture, content_digest, read_image, write_image
from countermark.marking.image.lattice import MIN_SIDE, LatticeMark
from countermark.marking.image.noise import NoiseMark
from countermark.marking.image.noise_ledger import pack, pattern_digest
from countermark.marking.image.resemblance import sketch
from countermark.registry import Grant, Output, Record, Title, log_entry
from countermark.workflows.license import usable_grant
from countermark.workflows.mark import Marked, open_request, present_key, psnr_db, publish
from countermark.workflows.office import Office, append, envelope_digest, sign
from countermark.workflows.pipelines import Order, Painter, Pixels, open_model

#: Pictures that are drawn at once, and counters that a killed process may waste.
BATCH = 8
#: Strengths and numbers of steps that a trace tries, the latest ones of a title and epoch.
MAX_WAYS = 8


def request_generation(grant: int, office: str, order: Record, key: SigningKey, *, clock: Clock) -> Envelope:
    """Sign a request to generate what an order says, as the licensee.

    Needs no workspace. Of a picture to start from only its digest goes in; prompts go in as they are.
    """
    body = {
        "office": office,
        "grant": grant,
        "action": "generate",
        "order": order.to_json(),
        "licensee_key": key.public.text,
        "nonce": secrets.token_hex(16),
        "requested_at": show_time(clock()),
    }
    return sign(key, "request", body)


def generate_pictures(
    office: Office,
    number: int,
    out: Path,
    *,
    order: Order | None = None,
    request: Envelope | None = None,
    model: Path | None = None,
    source: Path | None = None,
) -> list[Marked]:
    """Draw marked pictures with the model of a grant's title, as PNG files in a folder.

    Args:
        office: where.
        number: the grant.
        out: folder, made if missing.
        order: what to draw, where this workspace holds the licensee's key and signs the request itself.
        request: signed by the licensee, with its order; instead of ``order``.
        model: directory of the model; the one that it was registered from by default.
        source: the picture to start from, where the order names one.

    Returns:
        The pictures that this call finished; what an interrupted call had finished before is not among them.

    Raises:
        RightsError: the grant cannot be used now.
        SignatureInvalid: the request is not the licensee's, or is for another source.
        ConflictError: the request was carried out before, or the title's epoch has no key for the noise mark.
        ManifestMismatch: the directory holds another model.
        InputError: the pipeline does not take what is ordered.
    """
    grant, _, title, licensee = usable_grant(office, number, at=office.clock())
    if request is None:
        if order is None:
            raise InputError("neither an order nor a signed request was given")
        request = request_generation(number, office.id, order, office.party_key(licensee), clock=office.clock)
    ordered = _ordered(open_request(office, request, number, licensee, "generate"))
    start = _source(ordered, source)
    run = _Run(office, grant, title, request, ordered, make_folder(out))
    results = run.finish_interrupted()
    if run.left:
        painter = open_model(
            office.pipelines, title, model or model_directory(office, title), office.progress("digest")
        )
        painter.check(ordered)
        results += run.draw(painter, start)
    elif not results:
        raise ConflictError("this request was carried out before", hint="Sign another one for more pictures.")
    return results


@dataclass(slots=True)
class _Run:
    """One request being carried out."""

    office: Office
    grant: Grant
    title: Title
    request: Envelope
    order: Order
    out: Path

    @property
    def left(self) -> int:
        """How many pictures of the order have no record yet."""
        with self.office.store.transaction() as transaction:
            state = transaction.get("order", envelope_digest(self.request)) or {"made": 0}
        return self.order.count - int(state["made"])

    def finish_interrupted(self) -> list[Marked]:
        """Publish what was recorded and then interrupted before it got its name."""
        with self.office.store.transaction() as transaction:
            found = [Output.from_json(body) for body in transaction.find("output", self._word)]
        waiting = [(self._target(output), output) for output in found]
        done = []
        for target, output in waiting:
            temporary = temporary_name(target)
            if temporary.exists() and show_digest(content_digest(temporary)) == output.content_digest:
                publish(temporary, target)
                done.append(Marked(target, output))
        return done

    def draw(self, painter: Painter, start: Pixels | None) -> list[Marked]:
        """Draw what is left, in batches."""
        key = present_key(self.office, self.title, NoiseMark.METHOD)
        mark = NoiseMark(key.embedding, key_id=key.key_id)
        word = permute(key.permutation, read_identifier(self.grant.identifier))
        seed = Secret.random() if self.order.seed is None else _seed(self.order.seed)
        results: list[Marked] = []
        total = self.left
        progress = self.office.progress("generate")
        progress(0, total, "images")
        while len(results) < total:
            count = min(BATCH, total - len(results))
            first = self._take_counters(count)
            patterns = self._keep_signs(mark, word, range(first, first + count), painter.size)
            pictures = painter.paint(mark, word, first, self.order, count=count, seed=seed, source=start)
            for i, pixels in enumerate(pictures):
                born = {
                    "epoch": self.title.epoch,
                    "counter": first + i,
                    "size": painter.size,
                    "pattern": show_digest(patterns[i]),
                }
                results.append(self._deliver(pixels, key, born))
                progress(len(results), total, "images")
        return results

    def _take_counters(self, count: int) -> int:
        """Take the next counters of the title's epoch, for good, and note how they are used; return the first."""
        place = f"{self.title.id}/{self.title.epoch}"
        with self.office.store.transaction() as transaction:
            state = transaction.get("noise-counter", place) or {"next": 0, "ways": []}
            first, way = int(state["next"]), list(self.order.way)
            ways = [way, *(each for each in state["ways"] if each != way)]
            transaction.put("noise-counter", place, {"next": first + count, "ways": ways[:MAX_WAYS]})
        return first

    def _keep_signs(self, mark: NoiseMark, word: int, counters: range, size: int) -> list[bytes]:
        """Put the signs of the noise into the noise ledger, and return the digest of each picture's."""
        signs = np.stack([mark.pattern(word, counter, size) for counter in counters])
        self.office.noise.of(self.title.id, self.title.epoch, size).append(counters, signs)
        return [pattern_digest(pack(row[None])) for row in signs]

    def _deliver(self, pixels: Pixels, key: DetectionKey, born: dict[str, Any]) -> Marked:
        """Write a picture, with the lattice where it is large enough; commit its record and log entry; name it."""
        lattice, marked = self._with_lattice(pixels)
        target = self.out / f"grant-{self.grant.id}-{self.title.epoch}-{born['counter']:06d}.png"
        if target.exists():
            raise ConflictError("{path} exists", hint="Choose another folder with --out.", path=target)
        temporary = temporary_name(target)
        write_image(_new_picture(pixels), marked, temporary)
        digest_text, moment = show_digest(content_digest(temporary)), self.office.now()
        with self.office.store.transaction() as transaction:
            entry = log_entry(
                "output",
                content=digest_text,
                grant=self.grant.id,
                method=key.method,
                key_id=key.key_id,
                pattern=born["pattern"],
                request=envelope_digest(self.request),
                time=moment,
            )
            output = Output(
                content_digest=digest_text,
                source_digest=self.order.source or "",
                grant=self.grant.id,
                method=key.method,
                key_id=key.key_id,
                request=self.request,
                psnr_db=round(psnr_db(pixels, marked), 2),
                time=moment,
                log_index=append(transaction, entry),
                sketch=sketch(marked),
                generation={**born, "lattice": lattice},
            )
            born_word = counter_word(self.title.id, born["epoch"], born["counter"])
            words = (f"grant:{self.grant.id}", digest_text, self._word, born_word)
            transaction.put("output", f"{self.grant.id}/{digest_text}", output.to_json(), index=words)
            state = transaction.get("order", envelope_digest(self.request)) or {"made": 0}
            transaction.put("order", envelope_digest(self.request), {"made": state["made"] + 1})
        publish(temporary, target)
        return Marked(target, output)

    def _with_lattice(self, pixels: Pixels) -> tuple[str | None, Pixels]:
        """Add the lattice to a picture that is large enough; return its key's id too."""
        if min(pixels.shape[:2]) < MIN_SIDE or LatticeMark.METHOD not in self.title.methods[self.title.epoch]:
            return None, pixels
        key = present_key(self.office, self.title, LatticeMark.METHOD)
        word = permute(key.permutation, read_identifier(self.grant.identifier))
        return key.key_id, LatticeMark(key.embedding, key_id=key.key_id).embed(pixels, word)

    @property
    def _word(self) -> str:
        return f"request:{envelope_digest(self.request)}"

    def _target(self, output: Output) -> Path:
        assert output.generation is not None  # its request is for generations
        return self.out / f"grant-{self.grant.id}-{output.generation['epoch']}-{output.generation['counter']:06d}.png"


def counter_word(title: int, epoch: int, counter: int) -> str:
    """Return the word under which the output of a generation is found."""
    return f"generation:{title}/{epoch}/{counter}"


def _ordered(body: dict[str, Any]) -> Order:
    """Return the order of a signed request.

    Raises:
        InputError: it holds none, or a malformed one.
    """
    order = signed_order(body)
    if "kind" in order:
        raise InputError("the request does not order pictures", hint="Sign one for what the model of this title makes.")
    return Order.from_json(order)


def signed_order(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a signed request orders, of whatever kind.

    Raises:
        InputError: it orders nothing.
    """
    order = body.get("order")
    if not isinstance(order, dict):
        raise InputError("the request holds no order")
    return order


def _source(order: Order, source: Path | None) -> Pixels | None:
    if (source is None) != (order.source is None):
        raise InputError("the order and --image do not agree on whether there is a picture to start from")
    if source is None:
        return None
    if show_digest(content_digest(source)) != order.source:
        raise SignatureInvalid("the request does not cover {path}", path=source)
    return read_image(source).pixels


def model_directory(office: Office, title: Title) -> Path:
    """Return the directory that a title's model was registered from.

    Raises:
        NotFoundError: it is not known, or not there any more.
    """
    with office.store.transaction() as transaction:
        directory = (transaction.get("model", str(title.id)) or {}).get("directory", "")
    if not directory or not Path(directory).is_dir():
        raise NotFoundError(
            "the model of title {title} is not where it was registered from",
            hint="Name its folder with --model.",
            title=title.id,
        )
    return Path(directory)


def make_folder(out: Path) -> Path:
    """Return a folder, made if missing.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot make the folder {path}", path=out) from error
    return out


def temporary_name(target: Path) -> Path:
    """Return what a file is called until its record and log entry are durable."""
    return target.with_name(f".{target.name}.part")


def _seed(number: int) -> Secret:
    return Secret(digest("generation-seed/1", number.to_bytes(8, "big")))


def _new_picture(pixels: Pixels) -> Picture:
    return Picture("PNG", pixels, pixels, None, had_palette=False, encoding={}, extras=())
