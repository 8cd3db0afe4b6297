"""From detections to an attribution: which mark, whose, and with what probabilities of being wrong.

Pure: a workflow hands in what detectors saw under each key and how to look words up; what comes out names a grant, or
says precisely why it does not. Four answers, never mixed:

    ``attributed``         a mark of ours, and the identifier it holds was issued under a grant
    ``not-attributable``   a mark of ours, but its word is nobody's (damaged, or an identifier that was never delivered)
    ``nothing-found``      no mark of ours at the level asked
    ``not-examined``       the carrier could not be examined; the reason says why

Three kinds of read. **Exact**: a word that the decoder listed is an issued identifier's. **Soft**, only where none is:
the code words of all identifiers ever issued are held against the soft symbols, and the likeliest is named if a random
word would hardly agree as well (``core.coding.codeword_tail``). Under "marked, but not for this licensee" the words of
everybody else are random and independent of the symbols, since the permutation's key and the identifiers are. So the
union over all N of them, over the D words that were looked up first and over the K readings that were matched bounds
the chance of naming any of them: N (D 2**-64 + K tail).

**Recorded** goes before both: a generation whose noise stands in the office's ledger was recognized
(``marking.image.noise_ledger``), and its record names the grant. The chance that it is a wrong one is bounded there.

Laws:
    p_ours and p_innocent of an attribution are at most alpha;
    p_innocent is never below N D 2**-64, nor is it lower for more keys, identifiers or words;
    what an exact read finds does not depend on whether soft reads are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import WORD_BITS, permute, permute_many, unpermute
from countermark.core.stats import innocent_p, recorded_p
from countermark.marking import Detection, NotExamined
from countermark.marking.reading import Reading, recompute

ATTRIBUTED = "attributed"
NOT_ATTRIBUTABLE = "not-attributable"
NOTHING_FOUND = "nothing-found"
NOT_EXAMINED = "not-examined"
EXACT, SOFT, RECORDED = "exact", "soft", "recorded"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a detector saw under one key, and the title and epoch of that key.

    ``owner`` is whose recorded generation was recognized, ``grant:<id>``; None where words are read.
    """

    title: int
    epoch: int
    key: DetectionKey
    seen: Detection | NotExamined
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The answer.

    ``p_ours`` bounds the probability of such a detection on material without our mark, corrected for the geometries
    that the detector searched and for the ``keys_tried``. ``p_innocent`` bounds the probability that a mark of ours
    points at any issued identifier by accident, for N = ``identifiers_issued``, D = ``words_tried`` and, where ``read``
    is ``soft`` and not ``exact``, for the ``readings_matched``. Neither covers forgery or a dishonest key holder.
    """

    verdict: str
    reason: str
    alpha: float
    keys_tried: int
    identifiers_issued: int
    words_tried: int = 0
    readings_matched: int = 0
    p_ours: float | None = None
    p_innocent: float | None = None
    read: str | None = None
    sighting: Sighting | None = None
    identifier: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class _Match:
    """What a mark points at: an issued identifier, or the owner of a recorded generation.

    Of a soft read and of a generation: how many readings were matched, and the bound for this one alone.
    """

    sighting: Sighting
    seen: Detection
    identifier: int | None
    read: str
    matched: int = 0
    tail: float = 0.0


_Found = Sequence[tuple[Sighting, Detection]]
_Identifiers = Callable[[], Iterable[NDArray[np.uint64]]]


def attribute(
    sightings: Sequence[Sighting],
    *,
    alpha: float,
    identifiers_issued: int,
    issued_to: Callable[[int], str | None],
    identifiers: _Identifiers = tuple,
) -> Attribution:
    """Decide among what was seen under every key.

    Args:
        sightings: one per key that was tried.
        alpha: level asked for p_ours and for p_innocent, each after correction.
        identifiers_issued: N, every identifier ever issued, expired and revoked ones included.
        issued_to: returns ``grant:<id>``, ``batch:<id>`` or None.
        identifiers: returns every identifier that ``issued_to`` knows, in chunks. Asked once for each key whose mark is
            found, where its words are nobody's; without it there are no soft reads.
    """
    examined = sorted(
        ((s, s.seen) for s in sightings if isinstance(s.seen, Detection)), key=lambda pair: pair[1].p_value
    )
    answer = partial(Attribution, alpha=alpha, keys_tried=len(examined), identifiers_issued=identifiers_issued)
    if not examined:
        reasons = [s.seen.reason for s in sightings if isinstance(s.seen, NotExamined)]
        return answer(verdict=NOT_EXAMINED, reason=reasons[0] if reasons else "no-keys")
    best, seen = examined[0]
    found = [(s, seen) for s, seen in examined if len(examined) * seen.p_value <= alpha]
    answer = partial(
        answer, p_ours=min(1.0, len(examined) * seen.p_value), sighting=best, words_tried=_words_tried(found)
    )
    if not found:
        return answer(verdict=NOTHING_FOUND, reason="below-level")
    highest = alpha / max(1, identifiers_issued) - _words_tried(found) / 2.0**WORD_BITS
    match = _recorded(found, alpha) or _listed(found, issued_to) or _likeliest(found, identifiers, highest)
    p_innocent = _p_innocent(identifiers_issued, found, match)
    if match is None or (match.read == SOFT and p_innocent > alpha):
        words = _words(seen)
        reason = "identifier-never-issued" if words else "word-not-read"
        identifier = unpermute(best.key.permutation, words[0]) if words else None
        return answer(verdict=NOT_ATTRIBUTABLE, reason=reason, identifier=identifier)
    owner = match.sighting.owner if match.identifier is None else issued_to(match.identifier)
    reason = _why_not(owner, p_innocent, alpha)
    return answer(
        verdict=NOT_ATTRIBUTABLE if reason else ATTRIBUTED,
        reason=reason or "identifier-issued",
        p_ours=min(1.0, len(examined) * match.seen.p_value),
        p_innocent=p_innocent,
        readings_matched=match.matched,
        read=match.read,
        sighting=match.sighting,
        identifier=match.identifier,
        owner=owner,
    )


def _recorded(found: _Found, alpha: float) -> _Match | None:
    """Return the recorded generation that fits best, where hardly another of ours would fit as well."""
    ledgers = [(s, seen, recompute(seen.method, seen.observations).p_innocent) for s, seen in found if s.owner]
    for sighting, seen, p_value in ledgers:
        if p_value is not None and len(ledgers) * p_value <= alpha:
            return _Match(sighting, seen, None, RECORDED, len(ledgers), p_value)
    return None


def _listed(found: _Found, issued_to: Callable[[int], str | None]) -> _Match | None:
    """Return the first issued identifier among the decoders' candidates, the surest mark's before the others'."""
    for sighting, seen in found:
        for word in _words(seen):
            identifier = unpermute(sighting.key.permutation, word)
            if issued_to(identifier) is not None:
                return _Match(sighting, seen, identifier, EXACT)
    return None


def _likeliest(found: _Found, identifiers: _Identifiers, highest: float) -> _Match | None:
    """Return the issued identifier that a random one is least likely to fit as well as, over all soft symbols.

    Nothing fits better than the last of the listed words but those before it, which were looked up. So where even the
    last would have a tail above ``highest``, for all readings together, nothing can be named and no table is read.
    """
    readings = [(s, seen, recompute(seen.method, seen.observations)) for s, seen in found if seen.observations]
    readings = [(s, seen, reading) for s, seen, reading in readings if reading.soft is not None]
    matches = []
    for sighting, seen, reading in readings:
        if reading.words and len(readings) * reading.tail(reading.words[-1]) > highest:
            continue
        key = sighting.key.permutation
        best = _best(reading, key, identifiers())
        if best is not None:
            matches.append(_Match(sighting, seen, best, SOFT, len(readings), reading.tail(permute(key, best))))
    return min(matches, key=lambda match: match.tail, default=None)


def _best(reading: Reading, key: Secret, identifiers: Iterable[NDArray[np.uint64]]) -> int | None:
    best, height = None, -np.inf
    for chunk in identifiers:
        sums = reading.agreement(permute_many(key, chunk))
        if sums.max(initial=-np.inf) > height:
            best, height = int(chunk[sums.argmax()]), sums.max()
    return best


def _p_innocent(issued: int, found: _Found, match: _Match | None) -> float:
    if match and match.read == RECORDED:
        return recorded_p(issued, _words_tried(found), match.matched, match.tail)
    tails = match.matched * match.tail if match else 0.0
    return innocent_p(issued, _words_tried(found), tails=tails)


def _words_tried(found: _Found) -> int:
    return sum(seen.words_tried for _, seen in found)


def _words(seen: Detection) -> tuple[int, ...]:
    return seen.words or (() if seen.word is None else (seen.word,))


def _why_not(owner: str | None, p_innocent: float, alpha: float) -> str:
    if owner is None or not owner.startswith("grant:"):
        return "identifier-never-delivered"
    return "too-many-candidates" if p_innocent > alpha else ""
