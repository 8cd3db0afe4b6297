"""From detections to an attribution: which mark, whose, and with what probabilities of being wrong.

Pure: a workflow hands in what detectors saw under each key and how to look words up; what comes out names a grant, or
says precisely why it does not. Four answers, never mixed:

    ``attributed``         a mark of ours, and the identifier it holds was issued under a grant
    ``not-attributable``   a mark of ours, but its word is nobody's (damaged, or an identifier that was never delivered)
    ``nothing-found``      no mark of ours at the level asked
    ``not-examined``       the carrier could not be examined; the reason says why
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from countermark.core.keys import DetectionKey
from countermark.core.payload import unpermute
from countermark.core.stats import innocent_p
from countermark.marking import Detection, NotExamined

ATTRIBUTED = "attributed"
NOT_ATTRIBUTABLE = "not-attributable"
NOTHING_FOUND = "nothing-found"
NOT_EXAMINED = "not-examined"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a detector saw under one key, and the title and epoch of that key."""

    title: int
    epoch: int
    key: DetectionKey
    seen: Detection | NotExamined


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The answer.

    ``p_ours`` bounds the probability of such a detection on material without our mark, corrected for the geometries
    that the detector searched and for the ``keys_tried``. ``p_innocent`` bounds the probability that a mark of ours
    points at any issued identifier by accident: min(1, N D 2**-64) with N = ``identifiers_issued`` and D =
    ``words_tried``. Neither covers forgery or a dishonest key holder.
    """

    verdict: str
    reason: str
    alpha: float
    keys_tried: int
    identifiers_issued: int
    words_tried: int
    p_ours: float | None = None
    p_innocent: float | None = None
    sighting: Sighting | None = None
    identifier: int | None = None
    owner: str | None = None


def attribute(
    sightings: Sequence[Sighting],
    *,
    alpha: float,
    identifiers_issued: int,
    issued_to: Callable[[int], str | None],
) -> Attribution:
    """Decide among what was seen under every key.

    Args:
        sightings: one per key that was tried.
        alpha: level asked for p_ours and for p_innocent, each after correction.
        identifiers_issued: N, every identifier ever issued, expired and revoked ones included.
        issued_to: returns ``grant:<id>``, ``batch:<id>`` or None.
    """
    examined = [(s, s.seen) for s in sightings if isinstance(s.seen, Detection)]
    answer = partial(
        Attribution, alpha=alpha, keys_tried=len(examined), identifiers_issued=identifiers_issued, words_tried=0
    )
    if not examined:
        reasons = [s.seen for s in sightings if isinstance(s.seen, NotExamined)]
        return answer(verdict=NOT_EXAMINED, reason=reasons[0].reason if reasons else "no-keys")
    found = [(s, seen) for s, seen in examined if len(examined) * seen.p_value <= alpha]
    words = sum(seen.words_tried for _, seen in found)
    best, seen = min(examined, key=lambda pair: pair[1].p_value)
    p_ours = min(1.0, len(examined) * seen.p_value)
    if not found:
        return answer(verdict=NOTHING_FOUND, reason="below-level", p_ours=p_ours, sighting=best)
    identifier = None if seen.word is None else unpermute(best.key.permutation, seen.word)
    owner = None if identifier is None else issued_to(identifier)
    p_innocent = innocent_p(identifiers_issued, words)
    reason = _why_not(identifier, owner, p_innocent, alpha)
    return answer(
        verdict=NOT_ATTRIBUTABLE if reason else ATTRIBUTED,
        reason=reason or "identifier-issued",
        p_ours=p_ours,
        p_innocent=p_innocent if owner else None,
        sighting=best,
        identifier=identifier,
        owner=owner,
        words_tried=words,
    )


def _why_not(identifier: int | None, owner: str | None, p_innocent: float, alpha: float) -> str:
    if identifier is None:
        return "word-not-read"
    if owner is None:
        return "identifier-never-issued"
    if not owner.startswith("grant:"):
        return "identifier-never-delivered"
    return "too-many-candidates" if p_innocent > alpha else ""
