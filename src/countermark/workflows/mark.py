"""Mark pictures under a grant, on a request that the licensee signed; one log entry per output.

A marked file gets its name only after its log entry is durable, so no delivered output is without an entry. Pictures
are marked in threads, one for each processor, and recorded in the order given.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from countermark.core.canonical import show_digest
from countermark.core.dsse import Envelope, open_document
from countermark.core.keys import DetectionKey, SigningKey
from countermark.core.payload import permute, read_identifier
from countermark.core.times import Clock, read_time, show_time
from countermark.errors import ConflictError, InputError, SignatureInvalid, StorageError, UnsupportedImage
from countermark.marking.image.files import content_digest, read_image, write_image
from countermark.marking.image.lattice import MIN_SIDE, LatticeMark
from countermark.marking.image.resemblance import sketch
from countermark.marking.image.samples import bands
from countermark.registry import Grant, Output, Party, Title, log_entry
from countermark.workflows.license import usable_grant
from countermark.workflows.office import Office, append, envelope_digest, sign

#: A signed request is good for this long; an older one may be a replay.
REQUEST_HOURS = 24
# Pictures of more samples than this take turns, or several threads would need their memory at once.
_LARGE, _ONE_LARGE = 150_000_000, threading.Lock()


@dataclass(frozen=True, slots=True)
class Marked:
    """One marked file: where it lies, its record, and whether its source had a palette, which it cannot keep."""

    path: Path
    output: Output
    had_palette: bool = False


def request_marks(grant: int, office: str, images: Sequence[Path], key: SigningKey, *, clock: Clock) -> Envelope:
    """Sign a request to mark these files, as the licensee. Needs no workspace; only digests of the files go in."""
    body = {
        "office": office,
        "grant": grant,
        "action": "mark",
        "sources": [show_digest(content_digest(path)) for path in images],
        "licensee_key": key.public.text,
        "nonce": secrets.token_hex(16),
        "requested_at": show_time(clock()),
    }
    return sign(key, "request", body)


def mark_images(
    office: Office, number: int, images: Sequence[Path], out: Path, *, request: Envelope | None = None
) -> list[Marked]:
    """Write marked copies of images into a folder, under their own names.

    Args:
        office: where.
        number: the grant.
        images: PNG, JPEG or WebP files.
        out: folder, made if missing; must not hold the originals.
        request: signed by the licensee; made here where this workspace holds the licensee's key.

    Raises:
        RightsError: the grant cannot be used now.
        SignatureInvalid: the request is not the licensee's, or is not for these files.
        UnsupportedImage, HostileFile: a file cannot be marked; files before it stay marked and logged.
    """
    grant, _, title, licensee = usable_grant(office, number, at=office.clock())
    targets = _targets(images, out)
    if request is None:
        request = request_marks(number, office.id, images, office.party_key(licensee), clock=office.clock)
    sources = set(open_request(office, request, number, licensee, "mark")["sources"])
    key = present_key(office, title, LatticeMark.METHOD)
    word = permute(key.permutation, read_identifier(grant.identifier))
    draft = partial(_draft, LatticeMark(key.embedding, key_id=key.key_id), word, sources)
    progress, results = office.progress("mark"), []
    progress(0, len(images), "images")
    threads = ThreadPoolExecutor(min(len(images), os.cpu_count() or 1))
    try:
        for target, made in zip(targets, threads.map(draft, images, targets), strict=True):
            output = _record(office, grant, key, request, made)
            publish(made.temporary, target)
            results.append(Marked(target, output, made.had_palette))
            progress(len(results), len(images), "images")
    finally:
        threads.shutdown(cancel_futures=True)
        for target in targets[len(results) :]:
            _temporary(target).unlink(missing_ok=True)
    return results


def psnr_db(original: Any, other: Any) -> float:
    """Return the peak signal-to-noise ratio of two uint8 arrays of one shape in dB; 99.0 where they are equal."""
    parts = (original[rows].astype(np.int32) - other[rows] for rows in bands(original))
    error = sum(int(np.sum(part * part, dtype=np.int64)) for part in parts)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 * original.size / error))


def _targets(images: Sequence[Path], out: Path) -> list[Path]:
    if not images:
        raise InputError("no image was given")
    targets = [out / image.name for image in images]
    if len({target.name.lower() for target in targets}) < len(targets):
        raise InputError("two images have the same name", hint="Mark them into different folders.")
    for image, target in zip(images, targets, strict=True):
        if target.exists() and image.exists() and target.samefile(image):
            raise InputError("{path} would be overwritten", hint="Choose another folder with --out.", path=image)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot make the folder {path}", path=out) from error
    return targets


def present_key(office: Office, title: Title, method: str) -> DetectionKey:
    """Return the key that a title's outputs are marked with now, by a method.

    Raises:
        ConflictError: the title's epoch has no key of that method.
    """
    methods = title.methods[title.epoch]
    if method not in methods:
        raise ConflictError(
            "title {title} is marked by another method: {method}",
            hint="Open an epoch of the present method: countermark key epoch {title}",
            title=title.id,
            method=", ".join(methods),
        )
    return office.detection_key(title.weights_root, method, title.epoch)


def open_request(office: Office, request: Envelope, number: int, licensee: Party, action: str) -> dict[str, Any]:
    """Return the body of a request that a licensee signed for an act under a grant.

    Raises:
        SignatureInvalid: it is another's, for something else, or too old.
    """
    body = open_document(request, "request", licensee.key)
    if body.get("office") != office.id or body.get("grant") != number or body.get("action") != action:
        raise SignatureInvalid("the request is for another office, grant or act")
    age = office.clock() - read_time(body.get("requested_at"))
    if abs(age.total_seconds()) > REQUEST_HOURS * 3600:
        raise SignatureInvalid("the request is older than {hours} hours", hours=REQUEST_HOURS)
    return body


@dataclass(frozen=True, slots=True)
class _Draft:
    """A marked copy without its name yet, and what its record will say of it."""

    temporary: Path
    source_digest: str
    content_digest: str
    psnr_db: float
    sketch: dict[str, Any]
    had_palette: bool
    pattern: int


def _draft(mark: LatticeMark, word: int, sources: Container[str], source: Path, target: Path) -> _Draft:
    """Mark one file, in any thread: whatever touches the office comes later."""
    source_digest = show_digest(content_digest(source))
    if source_digest not in sources:
        raise SignatureInvalid("the request does not cover {path}", path=source)
    picture, temporary = read_image(source), _temporary(target)
    if min(picture.pixels.shape[:2]) < MIN_SIDE:
        raise UnsupportedImage(
            "{path}: a side of less than {side} pixels",
            hint="Mark it in the size that it was taken in.",
            path=source,
            side=MIN_SIDE,
        )
    with _ONE_LARGE if picture.pixels.size > _LARGE else contextlib.nullcontext():
        write_image(picture, mark.embed(picture.pixels, word), temporary)
        written = read_image(temporary).pixels
        quality = round(psnr_db(picture.pixels, written), 2)
    digest = show_digest(content_digest(temporary))
    pattern = mark.nonce(picture.pixels, word)
    return _Draft(temporary, source_digest, digest, quality, sketch(written), picture.had_palette, pattern)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _record(office: Office, grant: Grant, key: DetectionKey, request: Envelope, draft: _Draft) -> Output:
    """Commit output record and log entry together; marking the same file again finds the record it has."""
    name = f"{grant.id}/{draft.content_digest}"
    with office.store.transaction() as transaction:
        earlier = transaction.get("output", name)
        if earlier is not None:
            return Output.from_json(earlier)
        moment = office.now()
        entry = log_entry(
            "output",
            content=draft.content_digest,
            grant=grant.id,
            method=key.method,
            key_id=key.key_id,
            request=envelope_digest(request),
            time=moment,
        )
        output = Output(
            content_digest=draft.content_digest,
            source_digest=draft.source_digest,
            grant=grant.id,
            method=key.method,
            key_id=key.key_id,
            request=request,
            psnr_db=draft.psnr_db,
            time=moment,
            log_index=append(transaction, entry),
            sketch=draft.sketch,
            pattern=draft.pattern,
        )
        words = (f"grant:{grant.id}", draft.content_digest)
        transaction.put("output", name, output.to_json(), index=words)
    return output


def publish(temporary: Path, target: Path) -> None:
    """Make a file durable and give it its name.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise StorageError("cannot write {path}", path=target) from error
