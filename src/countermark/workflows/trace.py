"""Trace a suspect: read it under every detection key, attribute, and say whether the grant covered the use.

Several suspects of one account can be read as one (``trace_pool``), where each is too damaged for itself; and one that
was put together from several pictures, part by part (``trace_regions``).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from countermark.core.canonical import show_digest
from countermark.core.keys import DetectionKey
from countermark.core.times import read_time
from countermark.errors import InputError
from countermark.licensing import SCOPES, Terms, coverage, is_country
from countermark.marking import Detection, NotExamined
from countermark.marking.image import noise_ledger
from countermark.marking.image.files import content_digest, read_pixels
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.noise import NoiseMark
from countermark.marking.image.resemblance import resemblance
from countermark.marking.reading import MAX_POOL, pool, pool_digest
from countermark.registry import Grant, Output, Record, Title, Transaction
from countermark.tracing import ATTRIBUTED, EXACT, NOT_ATTRIBUTABLE, RECORDED, Attribution, Sighting, attribute
from countermark.workflows.noise_reader import NoiseReader, recorded_output
from countermark.workflows.office import Office, load, party, titles
from countermark.workflows.regions import Regions, look_at_windows

DEFAULT_ALPHA = 1e-6
#: Below this likeness no output is named. Unrelated photographs of one kind reached 0.80 at most in 91 pairs, copies
#: rotated by 12 degrees with black corners 0.84 at least: a lead, which the report shows with its value.
LIKENESS_FLOOR = 0.82


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(Record):
    """The answer about one suspect file, as kept and as printed.

    ``p_ours`` and ``p_innocent`` are objects ``{"value", "corrected_for"}`` or None; ``read`` says how the grant was
    found, ``exact``, ``soft`` or ``recorded`` (``tracing``); ``generation`` is the number of a recognized generation;
    ``coverage`` says whether the grant covered the use; ``output`` is the recognized generation's, or else the most
    similar recorded output of the grant, a lead and not a statistic; ``copied_from`` is the output whose pattern the
    mark has, where its picture is not like the suspect, onto which the mark may have been copied. ``pictures`` lists
    what was pooled, as ``{"file", "suspect", "examined"}``; it is empty for a single file, and ``suspect`` is
    ``pool_digest`` of a pool. ``region`` is the part of the suspect that was read, left, top, right and bottom in
    pixels; None is all of it.
    """

    id: str
    file: str
    suspect: str
    verdict: str
    reason: str
    alpha: float
    p_ours: dict[str, Any] | None
    p_innocent: dict[str, Any] | None
    title: int | None = None
    epoch: int | None = None
    grant: int | None = None
    licensee: str | None = None
    licensee_name: str | None = None
    read: str | None = None
    generation: int | None = None
    pictures: list[dict[str, Any]] = field(default_factory=list)
    region: list[int] | None = None
    geometry: dict[str, Any] = field(default_factory=dict)
    method: str | None = None
    key_id: str | None = None
    statistic: float | None = None
    observations: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    copied_from: dict[str, Any] | None = None
    traced_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is known of the use: one of ``licensing.SCOPES``, a country (two capitals), a time; each may be None.

    Raises:
        InputError: no such scope, not a country code, not a time.
    """

    scope: str | None = None
    territory: str | None = None
    at: str | None = None

    def __post_init__(self) -> None:
        if self.scope is not None and self.scope not in SCOPES:
            raise InputError("unknown use: {use}", hint="Uses: {uses}", use=self.scope, uses=", ".join(SCOPES))
        if self.territory is not None and not is_country(self.territory):
            raise InputError("not a two-letter country code: {text}", text=self.territory[:40])
        if self.at is not None:
            read_time(self.at)


def trace_files(
    office: Office,
    suspects: list[Path],
    *,
    alpha: float = DEFAULT_ALPHA,
    use: Use | None = None,
    models: Sequence[Path] = (),
) -> list[Trace]:
    """Trace each file and keep the answers; a damaged file is an answer of its own ("not examined"), not an end.

    Args:
        office: where.
        suspects: picture files.
        alpha: level for both p-values after all corrections; over 0, at most 0.05.
        use: what is known of the use.
        models: directories of registered pipelines that are not where they were registered from.

    Raises:
        InputError: an alpha or a use out of range, or a file that is not there.
        NotFoundError: a model is none of those registered.
    """
    examine, traces = _Examiner(office, alpha, len(suspects), models), []
    for suspect in suspects:
        picture = examine(suspect)
        base = _base(office, suspect.name, picture.suspect, alpha)
        traces.append(_conclude(office, base, picture.sightings, [picture], use or Use()))
    return _keep(office, traces)


def trace_pool(
    office: Office,
    suspects: list[Path],
    *,
    alpha: float = DEFAULT_ALPHA,
    use: Use | None = None,
    models: Sequence[Path] = (),
) -> Trace:
    """Read several pictures as one, and keep the one answer: their evidence adds up (``marking.reading``).

    Which pictures belong together is known from elsewhere, as of one account that posted them all, and settled before
    any is read: p-values of a pool that was chosen by what its pictures show mean nothing.

    Args:
        office: where.
        suspects: 2 to ``MAX_POOL`` different picture files; a damaged one is listed as not examined.
        alpha: level for both p-values after all corrections; over 0, at most 0.05.
        use: what is known of the use.
        models: as in ``trace_files``. Recorded generations are not pooled: each names one output.

    Raises:
        InputError: too few or too many files, one twice, one that is not there, or an alpha or a use out of range.
        NotFoundError: a model is none of those registered.
    """
    examine = _Examiner(office, alpha, len(suspects), models)
    if not 2 <= len(suspects) <= MAX_POOL:
        raise InputError("a pool holds 2 to {limit} pictures", limit=MAX_POOL)
    pictures = [examine(suspect) for suspect in suspects]
    digests = [picture.suspect for picture in pictures]
    if len(set(digests)) < len(digests):
        raise InputError("a pool holds no picture twice")
    base = _base(office, ", ".join(suspect.name for suspect in suspects), pool_digest(digests), alpha)
    base["pictures"] = [picture.describe() for picture in pictures]
    together = zip(*(picture.sightings for picture in pictures), strict=True)
    sightings = [replace(each[0], seen=_pooled([s.seen for s in each]), owner=None) for each in together]
    return _keep(office, [_conclude(office, base, sightings, pictures, use or Use())])[0]


def trace_regions(
    office: Office, suspects: list[Path], *, alpha: float = DEFAULT_ALPHA, use: Use | None = None
) -> list[Trace]:
    """Trace each file part by part, by its lattice marks, and keep the answers, which say what ``region`` they are of.

    A file has an answer for each marked picture that parts of it come from, the clearest first, or else one that
    nothing was found or could not be examined. Takes about as many times as long as there are windows.

    Args:
        office: where.
        suspects: picture files.
        alpha: level for both p-values after all corrections, windows included; over 0, at most 0.05.
        use: what is known of the use.

    Raises:
        InputError: an alpha or a use out of range, or a file that is not there.
    """
    examine = _Examiner(office, alpha, len(suspects), ())
    parts = [_trace_parts(office, suspect, examine.regions(suspect), alpha, use or Use()) for suspect in suspects]
    return _keep(office, [trace for each in parts for trace in each])


def _trace_parts(office: Office, suspect: Path, seen: Regions, alpha: float, use: Use) -> list[Trace]:
    digest, traces = show_digest(content_digest(suspect)), list[Trace]()
    while True:
        picture = _Picture(suspect, digest, seen.sightings(), seen)
        trace = _conclude(office, _base(office, suspect.name, digest, alpha), picture.sightings, [picture], use)
        if trace.key_id is None or trace.verdict not in (ATTRIBUTED, NOT_ATTRIBUTABLE):
            return traces or [trace]
        traces.append(replace(trace, region=list(seen.box(trace.key_id))))
        seen = seen.without(trace.key_id)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A suspect file and what was seen in it under every key, or in a part of it."""

    path: Path
    suspect: str
    sightings: list[Sighting]
    regions: Regions | None = None

    def describe(self) -> dict[str, Any]:
        examined = any(isinstance(sighting.seen, Detection) for sighting in self.sightings)
        return {"file": self.path.name, "suspect": self.suspect, "examined": examined}

    def likeness(self, key: DetectionKey, output: Output) -> float:
        """Return how alike a recorded output and this picture are, brought back by the geometry seen under a key."""
        seen = next((s.seen for s in self.sightings if s.key is key and isinstance(s.seen, Detection)), None)
        if seen is None:
            return 0.0
        pixels = read_pixels(self.path)
        if self.regions is not None:
            left, top, right, bottom = self.regions.box(key.key_id)
            pixels = pixels[top:bottom, left:right]
        return resemblance(pixels, seen.geometry, output.sketch)


class _Examiner:
    """Reads one file after the other under every key of the office."""

    def __init__(self, office: Office, alpha: float, files: int, models: Sequence[Path]) -> None:
        if not 0 < alpha <= 0.05:
            raise InputError("alpha lies between 0 and 0.05, not at {alpha}", alpha=alpha)
        with office.store.transaction() as transaction:
            keys = [
                (title, epoch, key)
                for title in titles(transaction)
                for epoch in range(len(title.methods))
                for key in office.epoch_keys(title, epoch)
            ]
        self._keys = [(title.id, epoch, key) for title, epoch, key in keys if key.method != NoiseMark.METHOD]
        self._born: dict[int, tuple[Title, list[tuple[int, DetectionKey]]]] = {}
        for title, epoch, key in keys:
            if key.method == NoiseMark.METHOD:
                self._born.setdefault(title.id, (title, []))[1].append((epoch, key))
        self._read_noise = NoiseReader(office, models)
        self._progress, self._done, self._total = office.progress("trace"), 0, files * len(keys)
        self._progress(0, self._total, "readings")

    def __call__(self, suspect: Path) -> _Picture:
        picture = _Picture(suspect, show_digest(content_digest(suspect)), [])
        try:
            pixels = read_pixels(suspect)
        except InputError as error:
            pixels, damage = None, NotExamined(error.code, str(error))
        for title, epoch, key in self._keys:
            seen = damage if pixels is None else _look(key, pixels)
            picture.sightings.append(Sighting(title, epoch, key, seen))
            self._advance(1)
        for model, epochs in self._born.values():
            if pixels is None:
                born = [Sighting(model.id, epoch, key, damage) for epoch, key in epochs for _ in range(2)]
            else:
                born = self._read_noise(model, epochs, pixels, picture.sightings)
            picture.sightings.extend(born)
            self._advance(len(epochs))
        return picture

    def regions(self, suspect: Path) -> Regions:
        """Read a file window by window; noise marks are not read so."""
        try:
            pixels = read_pixels(suspect)
        except InputError as error:
            pixels, damage = None, NotExamined(error.code, str(error))
        seen = []
        for title, epoch, key in self._keys:
            seen.append((title, epoch, key, damage if pixels is None else look_at_windows(key, pixels)))
            self._advance(1)
        self._advance(sum(len(epochs) for _, epochs in self._born.values()))
        return Regions(tuple(seen))

    def _advance(self, readings: int) -> None:
        self._done += readings
        self._progress(self._done, self._total, "readings")


def _look(key: DetectionKey, pixels: Any) -> Detection | NotExamined:
    if key.method != LatticeMark.METHOD:
        return NotExamined("other-method", f"this version does not read {key.method}")
    return LatticeMark(key.embedding, key_id=key.key_id).detect(pixels)


def _pooled(looks: Sequence[Detection | NotExamined]) -> Detection | NotExamined:
    detections = [look for look in looks if isinstance(look, Detection) and look.method != noise_ledger.METHOD]
    if detections:
        return pool(detections)
    missing = [look for look in looks if isinstance(look, NotExamined)]
    return missing[0] if missing else NotExamined("not-pooled", "recorded generations are not pooled")


def _base(office: Office, file: str, suspect: str, alpha: float) -> dict[str, Any]:
    trace = f"t-{secrets.token_hex(6)}"
    return {"id": trace, "file": file, "suspect": suspect, "alpha": alpha, "traced_at": office.now()}


def _keep(office: Office, traces: list[Trace]) -> list[Trace]:
    with office.store.transaction() as transaction:
        for trace in traces:
            transaction.put("trace", trace.id, trace.to_json(), index=(trace.suspect,))
    return traces


def _conclude(
    office: Office, base: dict[str, Any], sightings: Sequence[Sighting], pictures: Sequence[_Picture], use: Use
) -> Trace:
    issued = office.ledger.identifiers_issued()
    with office.store.transaction() as transaction:
        found = attribute(
            sightings,
            alpha=base["alpha"],
            identifiers_issued=issued,
            issued_to=transaction.issued_to,
            identifiers=transaction.identifiers,
        )
        fields = base | _statistics(found)
        if found.verdict == ATTRIBUTED and found.owner is not None and found.sighting is not None:
            grant = Grant.from_json(load(transaction, "grant", found.owner.removeprefix("grant:")))
            member = party(transaction, grant.licensee)
            fields |= {
                "grant": grant.id,
                "licensee": member.id,
                "licensee_name": member.name,
                "coverage": _coverage(transaction, grant, use, base["traced_at"]),
            }
        if found.read == RECORDED and found.sighting is not None:
            fields |= _generated(transaction, found.sighting, pictures)
        elif fields.get("grant") is not None and found.sighting is not None:
            fields |= _likely_output(transaction, grant, pictures, found.sighting)
    return Trace(**fields)


def _statistics(found: Attribution) -> dict[str, Any]:
    fields: dict[str, Any] = {"verdict": found.verdict, "reason": found.reason, "p_ours": None, "p_innocent": None}
    if found.sighting is None or not isinstance(found.sighting.seen, Detection) or found.p_ours is None:
        return fields
    seen = found.sighting.seen
    pictures = len(seen.observations.get("pool", ()))
    fields |= {
        "p_ours": {
            "value": found.p_ours,
            "corrected_for": {"geometries": seen.searched, "keys": found.keys_tried}
            | ({"pictures": pictures} if pictures else {}),
        },
        "geometry": dict(seen.geometry),
        "method": seen.method,
        "key_id": seen.key_id,
        "statistic": seen.statistic,
        "observations": dict(seen.observations),
        "title": found.sighting.title,
        "epoch": found.sighting.epoch,
        "read": found.read,
    }
    if found.p_innocent is not None:
        fields["p_innocent"] = {
            "value": found.p_innocent,
            "corrected_for": {"identifiers": found.identifiers_issued, "words": found.words_tried}
            | ({} if found.read == EXACT else {"readings": found.readings_matched}),
        }
    return fields


def _generated(transaction: Transaction, sighting: Sighting, pictures: Sequence[_Picture]) -> dict[str, Any]:
    """Return which generation was recognized, and its output."""
    assert isinstance(sighting.seen, Detection)  # nothing else is recognized
    counter = int(sighting.seen.observations["name"])
    output = recorded_output(transaction, sighting.title, sighting.epoch, counter)
    if output is None:
        return {"generation": counter}
    same = output.content_digest in {picture.suspect for picture in pictures}
    shown = {"content": output.content_digest, "log_index": output.log_index, "time": output.time}
    return {"generation": counter, "output": {**shown, "likeness": None, "is_identical": same}}


def _coverage(transaction: Transaction, grant: Grant, use: Use, now: str) -> dict[str, Any]:
    decided = coverage(
        Terms.from_json(load(transaction, "offer", grant.offer)["terms"]),
        use=use.scope,
        territory=use.territory,
        at=read_time(use.at or now),
        starts=read_time(grant.starts),
        expires=read_time(grant.expires),
        revoked_at=read_time(grant.revoked_at) if grant.revoked_at else None,
    )
    return {
        "covered": decided.covered,
        "reasons": list(decided.reasons),
        "use": use.scope,
        "territory": use.territory,
        "at": use.at or now,
    }


def _likely_output(
    transaction: Transaction, grant: Grant, pictures: Sequence[_Picture], sighting: Sighting
) -> dict[str, Any]:
    """Return the output that the suspects are likely made from, or the one that their mark was copied from.

    A pattern is one of 16,384, so outputs that have the suspect's are looked at alone, if there are any.
    """
    outputs = [Output.from_json(body) for body in transaction.find("output", f"grant:{grant.id}")]
    suspects = {picture.suspect for picture in pictures}
    exact = [output for output in outputs if output.content_digest in suspects]
    if exact:
        return {"output": _shown(exact[0], 1.0) | {"is_identical": True}}
    pattern = sighting.seen.nonce if isinstance(sighting.seen, Detection) else None
    same = [output for output in outputs if output.pattern is not None and output.pattern == pattern]
    scored = [(picture.likeness(sighting.key, output), output) for picture in pictures for output in same or outputs]
    likeness, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    if best is None or (likeness < LIKENESS_FLOOR and not same):
        return {}
    shown = _shown(best, likeness) | {"is_identical": False}
    return {"copied_from": shown} if likeness < LIKENESS_FLOOR else {"output": shown}


def _shown(output: Output, likeness: float) -> dict[str, Any]:
    return {
        "content": output.content_digest,
        "log_index": output.log_index,
        "time": output.time,
        "likeness": round(likeness, 3),
    }
