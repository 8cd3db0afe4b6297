"""Trace suspects, pictures or texts: read each under every detection key, attribute, say whether the grant covers it.

Several suspects of one account can be read as one (``trace_pool``), where each is too damaged for itself; and a picture
that was put together from several, part by part (``trace_regions``). A text that several licensees had a part in has an
answer for each of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from countermark.core.canonical import show_digest
from countermark.core.times import read_time
from countermark.errors import InputError
from countermark.licensing import SCOPES, Terms, coverage, is_country
from countermark.marking import Detection
from countermark.marking.image.files import content_digest
from countermark.marking.reading import MAX_POOL, pool_digest
from countermark.registry import Grant, Output, Record, Transaction
from countermark.tracing import ATTRIBUTED, EXACT, NOT_ATTRIBUTABLE, RECORDED, Attribution, Roster, Sighting, attribute
from countermark.workflows.examiner import Examiner, Suspect
from countermark.workflows.noise_reader import recorded_output
from countermark.workflows.office import Office, load, party
from countermark.workflows.regions import Regions

DEFAULT_ALPHA = 1e-6
#: Below this likeness no output is named. Unrelated photographs of one kind reached 0.80 at most in 91 pairs, copies
#: rotated by 12 degrees with black corners 0.84 at least: a lead, which the report shows with its value.
LIKENESS_FLOOR = 0.82
#: The least share of a recorded text that a suspect text named after it holds: unrelated texts share a hundredth.
CONTAINMENT_FLOOR = 0.15
#: Licensees who are named for one text at most.
MAX_ANSWERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(Record):
    """The answer about one suspect file, as kept and as printed.

    ``p_ours`` and ``p_innocent`` are objects ``{"value", "corrected_for"}`` or None; ``read`` says how the grant was
    found, ``exact``, ``soft`` or ``recorded`` (``tracing``); ``generation`` is the number of a recognized generation;
    ``coverage`` says whether the grant covered the use; ``output`` is the recognized generation's, or else the most
    similar recorded output of the grant, a lead and not a statistic (``likeness``: of a text, about how much of the
    output stands in it); ``copied_from`` is the output whose pattern the
    mark has, where its picture is not like the suspect, onto which the mark may have been copied. ``pictures`` lists
    what was pooled, pictures or texts, as ``{"file", "suspect", "examined"}``; it is empty for a single file, and
    ``suspect`` is ``pool_digest`` of a pool. ``region`` is the part of the suspect that was read, left, top, right and
    bottom in pixels; None is all of it.

    Of a text, ``geometry`` says which tokens were read, ``{"first", "last"}``, and between which ``characters`` of the
    text they lie, where that is known; it is empty where several texts were read as one. ``tokenizer`` is the digest of
    the ``tokenizer.json`` that made the tokens.
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
    tokenizer: str | None = None
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

    A picture has one answer. A text has one for each grant whose mark it bears, the surest first, ``MAX_ANSWERS`` at
    most, or else one that names nobody.

    Args:
        office: where.
        suspects: pictures, and texts as ``marking.text.files`` reads them.
        alpha: level for both p-values after all corrections; over 0, at most 0.05.
        use: what is known of the use.
        models: directories of registered models that are not where they were registered from; of a language model its
            tokenizer is enough.

    Raises:
        InputError: an alpha or a use out of range, or a file that is not there.
        NotFoundError: a model is none of those registered.
    """
    examine = Examiner(office, alpha, len(suspects), models)
    examined = [examine(suspect) for suspect in suspects]
    with _answering(office, examine, alpha, use) as desk:
        return desk.keep([trace for each in examined for trace in _trace_each(desk, each)])


def trace_pool(
    office: Office,
    suspects: list[Path],
    *,
    alpha: float = DEFAULT_ALPHA,
    use: Use | None = None,
    models: Sequence[Path] = (),
) -> Trace:
    """Read several pictures, or several texts, as one, and keep the one answer: their evidence adds up.

    Which files belong together is known from elsewhere, as of one account that posted them all, and settled before any
    is read: p-values of a pool that was chosen by what its files show mean nothing.

    Args:
        office: where.
        suspects: 2 to ``MAX_POOL`` different files; a damaged one is listed as not examined.
        alpha: level for both p-values after all corrections; over 0, at most 0.05.
        use: what is known of the use.
        models: as in ``trace_files``. Recorded generations are not pooled: each names one output.

    Raises:
        InputError: too few or too many files, one twice, one that is not there, pictures and texts, or an alpha or a
            use out of range.
        NotFoundError: a model is none of those registered.
    """
    examine = Examiner(office, alpha, len(suspects), models)
    if not 2 <= len(suspects) <= MAX_POOL:
        raise InputError("a pool holds 2 to {limit} files", limit=MAX_POOL)
    digests = [show_digest(content_digest(suspect)) for suspect in suspects]
    if len(set(digests)) < len(digests):
        raise InputError("a pool holds no file twice")
    examined, sightings = examine.together(suspects)
    names = ", ".join(suspect.name for suspect in suspects)
    with _answering(office, examine, alpha, use) as desk:
        answer, _ = desk.answer(names, pool_digest(digests), sightings, examined)
        return desk.keep([replace(answer, pictures=[each.describe() for each in examined])])[0]


def trace_regions(
    office: Office, suspects: list[Path], *, alpha: float = DEFAULT_ALPHA, use: Use | None = None
) -> list[Trace]:
    """Trace each picture part by part, by its lattice marks, and keep the answers, which say what ``region`` is theirs.

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
    examine = Examiner(office, alpha, len(suspects), ())
    digests = [show_digest(content_digest(suspect)) for suspect in suspects]
    seen = [examine.regions(suspect) for suspect in suspects]
    with _answering(office, examine, alpha, use) as desk:
        parts = zip(suspects, digests, seen, strict=True)
        return desk.keep([trace for path, digest, found in parts for trace in _trace_parts(desk, path, digest, found)])


def _trace_each(desk: _Desk, suspect: Suspect) -> list[Trace]:
    """Return a picture's answer, or a text's: whoever was named is left out of the next question."""
    traces, named = list[Trace](), frozenset[int]()
    while len(traces) < MAX_ANSWERS:
        trace, found = desk.answer(suspect.path.name, suspect.digest, suspect.sightings, [suspect], named)
        if suspect.texts is None or trace.verdict != ATTRIBUTED or found.identifier is None:
            return traces or [trace]
        traces.append(trace)
        named |= {found.identifier}
    return traces


def _trace_parts(desk: _Desk, path: Path, digest: str, seen: Regions) -> list[Trace]:
    traces = list[Trace]()
    while True:
        suspect = Suspect(path, digest, sightings=seen.sightings(), regions=seen)
        trace, _ = desk.answer(path.name, digest, suspect.sightings, [suspect])
        if trace.key_id is None or trace.verdict not in (ATTRIBUTED, NOT_ATTRIBUTABLE):
            return traces or [trace]
        traces.append(replace(trace, region=list(seen.box(trace.key_id))))
        seen = seen.without(trace.key_id)


@contextmanager
def _answering(office: Office, examine: Examiner, alpha: float, use: Use | None) -> Iterator[_Desk]:
    issued = office.ledger.identifiers_issued()
    with office.store.transaction() as transaction:
        yield _Desk(office, transaction, examine, alpha, use or Use(), issued)


class _Desk:
    """Answers about what was examined, in one transaction."""

    def __init__(
        self, office: Office, transaction: Transaction, examine: Examiner, alpha: float, use: Use, issued: int
    ) -> None:
        self._transaction, self._examine, self._alpha, self._use = transaction, examine, alpha, use
        self._issued, self._roster, self._now = issued, Roster(transaction.identifiers), office.now

    def answer(
        self,
        file: str,
        digest: str,
        sightings: Sequence[Sighting],
        suspects: Sequence[Suspect],
        named: frozenset[int] = frozenset(),
    ) -> tuple[Trace, Attribution]:
        """Return the answer about one suspect, or about several read as one, and what it was made from."""
        found = attribute(
            sightings,
            alpha=self._alpha,
            identifiers_issued=self._issued,
            issued_to=self._transaction.issued_to,
            roster=self._roster,
            excluded=named,
        )
        now = self._now()
        fields = {
            "id": f"t-{secrets.token_hex(6)}",
            "file": file,
            "suspect": digest,
            "alpha": self._alpha,
            "traced_at": now,
            **_statistics(found),
            **({} if found.sighting is None else self._examine.describe(found.sighting, suspects)),
        }
        if found.verdict == ATTRIBUTED and found.owner is not None and found.sighting is not None:
            fields |= self._accused(found.owner, found.sighting, suspects, now, by_words=found.read != RECORDED)
        if found.read == RECORDED and found.sighting is not None:
            fields |= _generated(self._transaction, found.sighting, suspects)
        return Trace(**fields), found

    def keep(self, traces: list[Trace]) -> list[Trace]:
        """Keep answers, and return them."""
        for trace in traces:
            self._transaction.put("trace", trace.id, trace.to_json(), index=(trace.suspect,))
        return traces

    def _accused(
        self, owner: str, sighting: Sighting, suspects: Sequence[Suspect], now: str, *, by_words: bool
    ) -> dict[str, Any]:
        """Return whose grant it is, whether it covered the use, and which output the suspects are likely made from."""
        grant = Grant.from_json(load(self._transaction, "grant", owner.removeprefix("grant:")))
        member = party(self._transaction, grant.licensee)
        return {
            "grant": grant.id,
            "licensee": member.id,
            "licensee_name": member.name,
            "coverage": _coverage(self._transaction, grant, self._use, now),
            **(_likely_output(self._transaction, grant, suspects, sighting) if by_words else {}),
        }


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
            | ({"pictures": pictures} if pictures and found.p_ours_identifiers is None else {})
            | ({} if found.p_ours_identifiers is None else {"identifiers": found.p_ours_identifiers}),
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


def _generated(transaction: Transaction, sighting: Sighting, pictures: Sequence[Suspect]) -> dict[str, Any]:
    """Return which generation was recognized, and its output."""
    assert isinstance(sighting.seen, Detection)  # nothing else is recognized
    counter = int(sighting.seen.observations["name"])
    output = recorded_output(transaction, sighting.title, sighting.epoch, counter)
    if output is None:
        return {"generation": counter}
    same = output.content_digest in {picture.digest for picture in pictures}
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
    transaction: Transaction, grant: Grant, pictures: Sequence[Suspect], sighting: Sighting
) -> dict[str, Any]:
    """Return the output that the suspects are likely made from, or the one that their mark was copied from.

    A pattern is one of 16,384, so outputs that have the suspect's are looked at alone, if there are any.
    """
    outputs = [Output.from_json(body) for body in transaction.find("output", f"grant:{grant.id}")]
    suspects = {picture.digest for picture in pictures}
    exact = [output for output in outputs if output.content_digest in suspects]
    if exact:
        return {"output": _shown(exact[0], 1.0) | {"is_identical": True}}
    floor = LIKENESS_FLOOR if any(picture.texts is None for picture in pictures) else CONTAINMENT_FLOOR
    pattern = sighting.seen.nonce if isinstance(sighting.seen, Detection) else None
    same = [output for output in outputs if output.pattern is not None and output.pattern == pattern]
    scored = [(picture.likeness(sighting.key, output), output) for picture in pictures for output in same or outputs]
    likeness, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    if best is None or (likeness < floor and not same):
        return {}
    shown = _shown(best, likeness) | {"is_identical": False}
    return {"copied_from": shown} if likeness < floor else {"output": shown}


def _shown(output: Output, likeness: float) -> dict[str, Any]:
    return {
        "content": output.content_digest,
        "log_index": output.log_index,
        "time": output.time,
        "likeness": round(likeness, 3),
    }
