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

**Texts** prove a mark by the words that were issued, too: the best of N words has more evidence than N unmarked texts
would show (``Reading.p_ours``). So they are held against all identifiers before it is known whether there is a mark.
What several licensees wrote names several: each further one is asked for with the others ``excluded``, whose evidence
is taken out first, and an innocent one is accused with the same small probability, whoever else was named.

Laws:
    p_ours and p_innocent of an attribution are at most alpha;
    p_innocent is never below N D 2**-64, nor is it lower for more keys, identifiers or words;
    no identifier that is excluded is named;
    what an exact read finds does not depend on whether soft reads are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import WORD_BITS, permute, permute_many, unpermute
from countermark.core.stats import innocent_p, recorded_p
from countermark.marking import Detection, NotExamined
from countermark.marking.reading import Reading, recompute, without_words

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
    ``p_ours_identifiers`` is N where p_ours was corrected for it as well.
    """

    verdict: str
    reason: str
    alpha: float
    keys_tried: int
    identifiers_issued: int
    words_tried: int = 0
    readings_matched: int = 0
    p_ours: float | None = None
    p_ours_identifiers: int | None = None
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

    look: _Look
    identifier: int | None
    read: str
    matched: int = 0
    tail: float = 0.0


_Identifiers = Callable[[], Iterable[NDArray[np.uint64]]]


class Roster:
    """Every identifier that was ever issued, and its words under keys, kept from one carrier to the next."""

    def __init__(self, identifiers: _Identifiers = tuple) -> None:
        """Read identifiers, in chunks, when they are first asked for."""
        self._identifiers = identifiers
        self._words: dict[bytes, list[tuple[NDArray[np.uint64], NDArray[np.uint64]]]] = {}

    def best(
        self, key: Secret, readings: Sequence[Reading], excluded: frozenset[int] = frozenset()
    ) -> list[int | None]:
        """Return, for each reading under a key, the identifier whose word agrees best, but for the excluded ones."""
        found: list[tuple[float, int | None]] = [(-np.inf, None)] * len(readings)
        left_out = np.array(sorted(excluded), dtype=np.uint64)
        for identifiers, words in self._under(key):
            for i, reading in enumerate(readings):
                sums = reading.agreement(words)
                if len(left_out):
                    sums = np.where(np.isin(identifiers, left_out), -np.inf, sums)
                if sums.max(initial=-np.inf) > found[i][0]:
                    found[i] = float(sums.max()), int(identifiers[sums.argmax()])
        return [identifier for _, identifier in found]

    def _under(self, key: Secret) -> list[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
        name = key.reveal()
        if name not in self._words:
            self._words[name] = [(chunk, permute_many(key, chunk)) for chunk in self._identifiers()]
        return self._words[name]


@dataclass(frozen=True, slots=True)
class _Look:
    """One reading that was made, with its p-value before the correction for the number of readings.

    ``best`` is the identifier whose word agrees best, of a reading that proves words.
    """

    sighting: Sighting
    seen: Detection
    p_value: float
    reading: Reading | None = None
    best: int | None = None


_Found = Sequence[_Look]


def attribute(
    sightings: Sequence[Sighting],
    *,
    alpha: float,
    identifiers_issued: int,
    issued_to: Callable[[int], str | None],
    roster: Roster | None = None,
    excluded: frozenset[int] = frozenset(),
) -> Attribution:
    """Decide among what was seen under every key.

    Args:
        sightings: one per key that was tried, or two of a text.
        alpha: level asked for p_ours and for p_innocent, each after correction.
        identifiers_issued: N, every identifier ever issued.
        issued_to: returns ``grant:<id>``, ``batch:<id>`` or None.
        roster: every identifier that ``issued_to`` knows. Asked for each key under which a mark is found whose words
            are nobody's, and for each key of texts; without it there are no soft reads.
        excluded: identifiers that are not named, since earlier answers did; the answer's sighting is what they leave.
    """
    known = roster or Roster()
    looks = sorted(_looks(sightings, known, identifiers_issued, excluded), key=lambda look: look.p_value)
    answer = partial(Attribution, alpha=alpha, keys_tried=len(looks), identifiers_issued=identifiers_issued)
    if not looks:
        reasons = [s.seen.reason for s in sightings if isinstance(s.seen, NotExamined)]
        return answer(verdict=NOT_EXAMINED, reason=reasons[0] if reasons else "no-keys")
    best = looks[0]
    found = [look for look in looks if len(looks) * look.p_value <= alpha]
    by_words = identifiers_issued if best.reading is not None else None
    answer = partial(
        answer,
        p_ours=min(1.0, len(looks) * best.p_value),
        p_ours_identifiers=by_words,
        sighting=best.sighting,
        words_tried=_words_tried(found),
    )
    if not found:
        return answer(verdict=NOTHING_FOUND, reason="below-level")
    highest = alpha / max(1, identifiers_issued) - _words_tried(found) / 2.0**WORD_BITS
    match = (
        _recorded(found, alpha)
        or _listed(found, lambda identifier: None if identifier in excluded else issued_to(identifier))
        or _likeliest(found, known, highest, excluded)
    )
    p_innocent = _p_innocent(identifiers_issued, found, match)
    if match is None or (match.read == SOFT and p_innocent > alpha):
        words = _words(best.seen)
        reason = "identifier-never-issued" if words else "word-not-read"
        identifier = unpermute(best.sighting.key.permutation, words[0]) if words else None
        return answer(verdict=NOT_ATTRIBUTABLE, reason=reason, identifier=identifier)
    owner = match.look.sighting.owner if match.identifier is None else issued_to(match.identifier)
    p_ours = min(1.0, len(looks) * _p_ours(match, identifiers_issued))
    reason = _why_not(owner, p_ours, p_innocent, alpha)
    return answer(
        verdict=NOT_ATTRIBUTABLE if reason else ATTRIBUTED,
        reason=reason or "identifier-issued",
        p_ours=p_ours,
        p_ours_identifiers=identifiers_issued if match.look.reading is not None else None,
        p_innocent=p_innocent,
        readings_matched=match.matched,
        read=match.read,
        sighting=match.look.sighting,
        identifier=match.identifier,
        owner=owner,
    )


def _looks(sightings: Sequence[Sighting], roster: Roster, issued: int, excluded: frozenset[int]) -> Iterable[_Look]:
    """Yield what was examined; readings that prove words with the identifier that fits them best."""
    by_words: dict[bytes, list[tuple[Sighting, Detection, Reading]]] = {}
    for sighting in sightings:
        if isinstance(sighting.seen, NotExamined):
            continue
        seen = sighting.seen
        reading = recompute(seen.method, seen.observations) if seen.observations else None
        if reading is not None and reading.proves_words:
            if excluded:
                seen = without_words(seen, [permute(sighting.key.permutation, each) for each in sorted(excluded)])
                sighting, reading = replace(sighting, seen=seen), recompute(seen.method, seen.observations)
            by_words.setdefault(sighting.key.permutation.reveal(), []).append((sighting, seen, reading))
        else:
            yield _Look(sighting, seen, seen.p_value)
    for each in by_words.values():
        key = each[0][0].key.permutation
        best = roster.best(key, [reading for _, _, reading in each], excluded)
        for (sighting, seen, reading), identifier in zip(each, best, strict=True):
            word = None if identifier is None else permute(key, identifier)
            yield _Look(sighting, seen, reading.p_ours(word, issued), reading, identifier)


def _p_ours(match: _Match, issued: int) -> float:
    """Return a match's p-value before the correction for the number of readings, by its own word."""
    look = match.look
    if look.reading is None or match.identifier is None:
        return look.p_value
    return look.reading.p_ours(permute(look.sighting.key.permutation, match.identifier), issued)


def _recorded(found: _Found, alpha: float) -> _Match | None:
    """Return the recorded generation that fits best, where hardly another of ours would fit as well."""
    ledgers = [
        (look, recompute(look.seen.method, look.seen.observations).p_innocent) for look in found if look.sighting.owner
    ]
    for look, p_value in ledgers:
        if p_value is not None and len(ledgers) * p_value <= alpha:
            return _Match(look, None, RECORDED, len(ledgers), p_value)
    return None


def _listed(found: _Found, issued_to: Callable[[int], str | None]) -> _Match | None:
    """Return the first issued identifier among the decoders' candidates, the surest mark's before the others'."""
    for look in found:
        for word in _words(look.seen):
            identifier = unpermute(look.sighting.key.permutation, word)
            if issued_to(identifier) is not None:
                return _Match(look, identifier, EXACT)
    return None


def _likeliest(found: _Found, roster: Roster, highest: float, excluded: frozenset[int]) -> _Match | None:
    """Return the issued identifier that a random one is least likely to fit as well as, over all soft symbols.

    Nothing fits better than the last of the listed words but those before it, which were looked up. So where even the
    last would have a tail above ``highest``, for all readings together, nothing can be named and no table is read.
    """
    readings = [
        (look, look.reading or recompute(look.seen.method, look.seen.observations))
        for look in found
        if look.seen.observations
    ]
    readings = [(look, reading) for look, reading in readings if reading.soft is not None]
    matches = []
    for look, reading in readings:
        key, best = look.sighting.key.permutation, look.best
        if look.reading is None:
            if reading.words and len(readings) * reading.tail(reading.words[-1]) > highest:
                continue
            (best,) = roster.best(key, [reading], excluded)
        if best is not None:
            matches.append(_Match(look, best, SOFT, len(readings), reading.tail(permute(key, best))))
    return min(matches, key=lambda match: match.tail, default=None)


def _p_innocent(issued: int, found: _Found, match: _Match | None) -> float:
    if match and match.read == RECORDED:
        return recorded_p(issued, _words_tried(found), match.matched, match.tail)
    tails = match.matched * match.tail if match else 0.0
    return innocent_p(issued, _words_tried(found), tails=tails)


def _words_tried(found: _Found) -> int:
    return sum(look.seen.words_tried for look in found)


def _words(seen: Detection) -> tuple[int, ...]:
    return seen.words or (() if seen.word is None else (seen.word,))


def _why_not(owner: str | None, p_ours: float, p_innocent: float, alpha: float) -> str:
    if owner is None or not owner.startswith("grant:"):
        return "identifier-never-delivered"
    return "too-many-candidates" if p_innocent > alpha else "mark-below-level" if p_ours > alpha else ""
