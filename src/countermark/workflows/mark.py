"""Mark pictures under a grant, on a request that the licensee signed; one log entry per output.

A marked file gets its name only after its log entry is durable, so no delivered output is without an entry.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from countermark.core.canonical import show_digest
from countermark.core.dsse import Envelope, open_document
from countermark.core.keys import SigningKey
from countermark.core.payload import permute, read_identifier
from countermark.core.times import Clock, read_time, show_time
from countermark.errors import ConflictError, InputError, SignatureInvalid, StorageError
from countermark.marking.image.files import content_digest, read_image, write_image
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.resemblance import sketch
from countermark.registry import Grant, Output, Party, Title, log_entry
from countermark.workflows.license import usable_grant
from countermark.workflows.office import Office, append, envelope_digest, sign

#: A signed request is good for this long; an older one may be a replay.
REQUEST_HOURS = 24


@dataclass(frozen=True, slots=True)
class Marked:
    """One marked file: where it lies, and its record."""

    path: Path
    output: Output


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
    sources = _requested(office, request, number, licensee)
    if title.methods[title.epoch] != LatticeMark.METHOD:
        raise ConflictError(
            "title {title} is marked by another method: {method}",
            hint="Open an epoch of the present method: countermark key epoch {title}",
            title=title.id,
            method=title.methods[title.epoch],
        )
    key = office.detection_key(title.weights_root, LatticeMark.METHOD, title.epoch)
    mark = LatticeMark(key.embedding, key_id=key.key_id)
    word = permute(key.permutation, read_identifier(grant.identifier))
    progress, results = office.progress("mark"), []
    progress(0, len(images), "images")
    for source, target in zip(images, targets, strict=True):
        source_digest = show_digest(content_digest(source))
        if source_digest not in sources:
            raise SignatureInvalid("the request does not cover {path}", path=source)
        picture = read_image(source)
        marked = mark.embed(picture.pixels, word)
        temporary = target.with_name(f".{target.name}.part")
        write_image(picture, marked, temporary)
        output = _record(office, grant, title, source_digest, temporary, mark, key.key_id, request, picture.pixels)
        _publish(temporary, target)
        results.append(Marked(target, output))
        progress(len(results), len(images), "images")
    return results


def psnr_db(original: Any, other: Any) -> float:
    """Return the peak signal-to-noise ratio of two uint8 arrays of one shape in dB; 99.0 where they are equal."""
    error = float(np.mean((original.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


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


def _requested(office: Office, request: Envelope, number: int, licensee: Party) -> set[str]:
    body = open_document(request, "request", licensee.key)
    if body.get("office") != office.id or body.get("grant") != number or body.get("action") != "mark":
        raise SignatureInvalid("the request is for another office, grant or act")
    age = office.clock() - read_time(body.get("requested_at"))
    if abs(age.total_seconds()) > REQUEST_HOURS * 3600:
        raise SignatureInvalid("the request is older than {hours} hours", hours=REQUEST_HOURS)
    return set(body["sources"])


def _record(
    office: Office,
    grant: Grant,
    title: Title,
    source_digest: str,
    file: Path,
    mark: LatticeMark,
    key_id: str,
    request: Envelope,
    original: Any,
) -> Output:
    """Commit output record and log entry together; marking the same file again finds the record it has."""
    written = read_image(file).pixels
    digest = show_digest(content_digest(file))
    with office.store.transaction() as transaction:
        earlier = transaction.get("output", f"{grant.id}/{digest}")
        if earlier is not None:
            return Output.from_json(earlier)
        moment = office.now()
        entry = log_entry(
            "output",
            content=digest,
            grant=grant.id,
            method=mark.METHOD,
            key_id=key_id,
            request=envelope_digest(request),
            time=moment,
        )
        output = Output(
            content_digest=digest,
            source_digest=source_digest,
            grant=grant.id,
            method=mark.METHOD,
            key_id=key_id,
            request=request,
            psnr_db=round(psnr_db(original, written), 2),
            time=moment,
            log_index=append(transaction, entry),
            sketch=sketch(written),
        )
        transaction.put("output", f"{grant.id}/{digest}", output.to_json(), index=(f"grant:{grant.id}", digest))
    return output


def _publish(temporary: Path, target: Path) -> None:
    try:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise StorageError("cannot write {path}", path=target) from error
