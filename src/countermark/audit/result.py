"""The document of an audit, and the recomputation of everything in it that follows from its scores.

Numbers are rounded to 9 significant digits before anything is computed from them, so that a verifier with numpy and
nothing else arrives at the same p-values, flags and verdict, to the last digit.

Law:
    ``recompute`` accepts what ``to_json`` of an honest audit wrote, after any round trip through canonical JSON;
    it refuses the document once a score, a p-value, a flag, a count, a rank or the verdict in it is another.

What it cannot know: that the scores are those of the outputs and of the data whose digests are named. Who holds the
data repeats the audit; who does not trusts the signature for that, and for nothing else.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from countermark.audit.decisions import (
    ALIGNED_OFFSET,
    CONFIDENCE,
    COPIES,
    NEIGHBOURS,
    NO_COPIES,
    SAME_SOURCE_LEVEL,
    SOURCE_CUTOFFS,
    TAILS,
    Floats,
    benjamini_hochberg,
    conformal_p,
    rank_test,
    rounded,
    share,
    smallest_flaggable,
    source_cutoffs,
    statistic,
    statistic_name,
    tail_rank,
    tail_rate,
)
from countermark.audit.documents import (
    MOST_COPIED,
    Audit,
    Copied,
    Decision,
    ImageAudit,
    ImageItem,
    ModelTest,
    SameSource,
    TextAudit,
    from_json,
)
from countermark.audit.text.deciding import LEVEL, Score, piece_starts
from countermark.audit.text.deciding import decide as decide_texts
from countermark.errors import HostileFile, ProofInvalid

__all__ = [
    "Audit",
    "ImageAudit",
    "TextAudit",
    "decide",
    "from_json",
    "judged",
    "model_test",
    "most_copied",
    "ratios",
    "recompute",
    "untested",
]
#: Windows of held-out text that a document may speak of; they are counted, not listed.
_MOST_WINDOWS = 20_000_000
#: A logarithm may differ in its last bits from machine to machine; a claim never differs by more than this.
_SLACK = 1e-7


def recompute(document: object) -> Audit:
    """Recompute from the scores of a document all that follows from them, and from its distances the scores.

    Raises:
        HostileFile: not such a document, or its counts do not match.
        ProofInvalid: p-values, q-values, flags, bounds, ranks, cut-offs, copies or the verdict do not follow.
    """
    audit = from_json(document)
    _check_counts(audit)
    if isinstance(audit, TextAudit):
        _check_texts(audit)
    else:
        _check_images(audit)
    _check_model(audit.model_test)
    _check_source(audit.same_source)
    return audit


def judged(scores: Sequence[float] | Floats, calibration: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Return p- and q-values of scores, as a document states them; a score is flagged where q <= its rate."""
    p = rounded(conformal_p(scores, calibration))
    return p, rounded(benjamini_hochberg(p))


def decide(
    scores: Sequence[float] | Floats, calibration: Sequence[float] | Floats, flags: Sequence[bool], fdr: float
) -> Decision:
    """Return what scores and flags say of all outputs, as a document states it."""
    values, known = np.asarray(scores, dtype=np.float64), np.sort(np.asarray(calibration, dtype=np.float64))
    below = [int((values < known[tail_rank(tail, len(known)) - 1]).sum()) for tail in TAILS]
    return decided(
        below, [tail_rate(tail, len(known)) for tail in TAILS], flags, smallest_flaggable(len(values), len(known), fdr)
    )


def decided(below: Sequence[int], null_rates: Sequence[float], flags: Sequence[bool], smallest: int) -> Decision:
    """Return the decision of outputs of which ``below`` lie below each threshold of ``TAILS``."""
    flagged = sum(flags)
    found = share(below, null_rates, len(flags))
    low, high, at_least, null = (float(value) for value in rounded([*found.interval, found.at_least, found.null_rate]))
    verdict = COPIES if flagged else NO_COPIES
    return Decision(flagged, smallest, at_least, (low, high), CONFIDENCE, found.threshold, found.below, null, verdict)


def model_test(of_train: float, of_unseen: Sequence[float], set_size: int, *, subset: bool) -> ModelTest:
    """Return the rank test as a document states it."""
    train, *unseen = (float(value) for value in rounded([of_train, *of_unseen]))
    found = rank_test(train, unseen)
    p, floor = (float(value) for value in rounded([found.p_value, found.floor]))
    return ModelTest(p, found.rank, found.sets, set_size, floor, subset, train, tuple(unseen), None)


def untested(reason: str) -> ModelTest:
    """Return that there is no rank test, and why: a slug."""
    return ModelTest(None, None, 0, 0, None, False, None, (), reason)


def most_copied(sources: Iterable[tuple[int, int]], name: Mapping[int, str] | None = None) -> tuple[Copied, ...]:
    """Group flagged outputs, given as (output, training item), by training item: most copied first, at most 100."""
    groups: dict[int, list[int]] = defaultdict(list)
    for item, nearest in sources:
        groups[nearest].append(item)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:MOST_COPIED]
    names = name or {}
    return tuple(Copied(nearest, names.get(nearest, ""), len(items), tuple(items)) for nearest, items in ordered)


def ratios(rmse: Floats, mean_next: Floats) -> Floats:
    """Return distance over mean of the next, rounded; 1 where both are 0."""
    return rounded(np.divide(rmse, mean_next, out=np.ones_like(rmse), where=mean_next > 0))


def _check_counts(audit: Audit) -> None:
    items = audit.items
    held = (
        len(items) == audit.subject.samples.count >= 1
        and audit.subject.samples.drawn >= len(items)
        and [item.item for item in items] == list(range(len(items)))
        and 0.0 < audit.method.fdr < 1.0
        and audit.data.train.duplicates < audit.data.train.count
    )
    _must(held)


def _must(held: bool) -> None:
    if not held:
        raise HostileFile("the counts in this audit do not match its outputs, its held-out data or each other")


def _check_texts(audit: TextAudit) -> None:
    lengths = audit.calibration.lengths
    scores = {entry.bytes: [score for score, _ in entry.scores] for entry in lengths}
    times = {entry.bytes: [count for _, count in entry.scores] for entry in lengths}
    _must(len(scores) == len(lengths) >= 1 and lengths[0].count == audit.calibration.count)
    _must(sum(entry.count for entry in lengths) <= _MOST_WINDOWS)
    for entry in lengths:
        _must(scores[entry.bytes] == sorted(set(scores[entry.bytes])) and min(times[entry.bytes], default=0) >= 1)
        _must(1 <= entry.count == sum(times[entry.bytes]))
    for item in audit.items:
        _must(item.window in scores and item.pieces == len(piece_starts(item.bytes, item.window)))
        _must(item.score == -item.longest if item.pieces == 1 else -item.longest <= item.score <= 0)
    calibration = {size: np.repeat(np.array(scores[size], np.int64), times[size]) for size in scores}
    stated = [Score(item.score, item.window, item.pieces) for item in audit.items]
    found = decide_texts(stated, calibration, audit.method.fdr)
    _check_flags(audit, found.p, found.q, found.flagged.tolist())
    for name in ("smallest_flaggable", "at_least", "interval", "below", "null_rate", "verdict"):
        _same(f"decision.{name}", [getattr(audit.decision, name)], [getattr(found, name)])
    stated_level = (audit.decision.flagged, audit.decision.threshold, audit.decision.confidence)
    _same("decision", [stated_level], [(int(found.flagged.sum()), LEVEL, CONFIDENCE)])
    _check_copied(audit, None)


def _check_flags(audit: Audit, p: Floats, q: Floats, flags: Sequence[bool]) -> None:
    _same("p", [item.p for item in audit.items], p)
    _same("q", [item.q for item in audit.items], q)
    _same("flagged", [item.flagged for item in audit.items], flags)


def _check_copied(audit: Audit, sources: Sequence[int] | None) -> None:
    """Check the list of copied items; where the document does not say what each output copies, its counts alone."""
    flagged = {item.item for item in audit.items if item.flagged}
    if sources is None:
        named = [item for entry in audit.copied for item in entry.items]
        _must(len(named) == len(set(named)) and set(named) <= flagged)
        _must(all(entry.count == len(entry.items) >= 1 for entry in audit.copied))
        _must(len(named) == len(flagged) or len(audit.copied) == MOST_COPIED)
        return
    again = most_copied((item, sources[item]) for item in sorted(flagged))
    stated = [(entry.nearest, entry.count, entry.items) for entry in audit.copied]
    _same("copied", [len(stated)], [len(again)])
    _same("copied", stated, [(entry.nearest, entry.count, entry.items) for entry in again])


def _check_model(test: ModelTest | None) -> None:
    if test is None:
        return
    if test.reason is not None or test.of_train is None:
        _same_fields("model_test", test, untested(test.reason or ""))
        return
    _must(len(test.of_unseen) >= 1)
    again = model_test(test.of_train, test.of_unseen, test.set_size, subset=test.subset)
    _same_fields("model_test", test, again)


def _check_source(check: SameSource | None) -> None:
    if check is not None:
        warning = check.p is not None and check.p < SAME_SOURCE_LEVEL
        _same("same_source.warning", [check.warning], [warning])


def _check_images(audit: ImageAudit) -> None:
    method, calibration, dims = audit.method, audit.calibration, math.prod(audit.data.train.shape or ())
    changed = bool(method.aligned or method.descriptor)
    known = statistic_name(aligned=method.aligned, descriptor=method.descriptor is not None)
    if method.statistic != known or (method.aligned and method.descriptor) or not 1 <= dims < 2**40:
        raise HostileFile("this audit was made by a statistic that is not known here: {name}", name=method.statistic)
    _must(len(audit.data.train.shape or ()) == 3)
    _must(max(audit.data.held_out.duplicates, audit.data.held_out.overlap) <= audit.data.held_out.count)
    columns = [calibration.scores, calibration.rmse, calibration.next]
    columns += [calibration.changed.distance, calibration.changed.next] if calibration.changed else []
    _must(calibration.count == audit.data.held_out.count >= 1 and changed == (calibration.changed is not None))
    _must(all(len(column) == calibration.count for column in columns))
    _must(list(calibration.scores) == sorted(calibration.scores))
    _must(method.neighbours <= min(NEIGHBOURS, audit.data.train.count - 1))
    _check_places(audit)
    _check_scores(audit)
    _check_decision(audit)
    _same_cutoffs(audit, dims)
    _check_copied(audit, [item.source for item in audit.items])


def _check_decision(audit: ImageAudit) -> None:
    scores, known, fdr = [item.score for item in audit.items], audit.calibration.scores, audit.method.fdr
    p, q = judged(scores, known)
    flags = [bool(flag) for flag in q <= fdr]
    _check_flags(audit, p, q, flags)
    _same_fields("decision", audit.decision, decide(scores, known, flags, fdr))


def _check_places(audit: ImageAudit) -> None:
    """Check that training images that are named are there, and that no distance is negative or out of order."""
    calibration, items = audit.calibration, audit.items
    places = [item.nearest for item in items] + [item.source for item in items]
    places += [near.nearest for near in audit.data.held_out.near] + [entry.nearest for entry in audit.copied]
    pairs = [*zip(calibration.rmse, calibration.next, strict=True)] + [(item.rmse, item.next) for item in items]
    if calibration.changed:
        pairs += zip(calibration.changed.distance, calibration.changed.next, strict=True)
    for item in items:
        _must((item.transform is None or audit.method.aligned) and (item.label is None or item.label < 2**31))
        _must((item.descriptor is not None) == (audit.method.descriptor is not None))
        pairs += [(item.transform.rmse, item.transform.next)] if item.transform else []
        pairs += [(item.descriptor.distance, item.descriptor.next)] if item.descriptor else []
    _must(
        max(places) < audit.data.train.count and all(near.item < calibration.count for near in audit.data.held_out.near)
    )
    _must(all(0 <= near <= rest * (1 + _SLACK) for near, rest in pairs))


def _check_scores(audit: ImageAudit) -> None:
    items, calibration = audit.items, audit.calibration
    rmse, rest = (np.array([getattr(item, name) for item in items]) for name in ("rmse", "next"))
    _near("l2_per_dim", [item.l2_per_dim for item in items], rmse / math.sqrt(math.prod(audit.data.train.shape or ())))
    _near("ratio", [item.ratio for item in items], ratios(rmse, rest))
    raw, unseen = statistic(rmse, rest), statistic(calibration.rmse, calibration.next)
    if audit.method.descriptor:
        raw = statistic(*_column(items, "descriptor", "distance"))
    elif audit.method.aligned:
        raw = _lesser(raw, items)
    if calibration.changed:
        other = statistic(calibration.changed.distance, calibration.changed.next)
        unseen = other if audit.method.descriptor else np.minimum(unseen, other + ALIGNED_OFFSET)
    _near("score", [item.score for item in items], raw)
    _near("calibration.scores", calibration.scores, unseen)


def _lesser(raw: Floats, items: Sequence[ImageItem]) -> Floats:
    """Return scores of which a transform decides those that have one, and may not raise any."""
    chosen = [item.transform for item in items]
    distances = [(found.rmse, found.next) if found else (1.0, 1.0) for found in chosen]
    other = statistic([pair[0] for pair in distances], [pair[1] for pair in distances]) + ALIGNED_OFFSET
    return np.where([found is not None for found in chosen], np.minimum(raw, other), raw)


def _column(items: Sequence[ImageItem], part: str, first: str) -> tuple[Floats, Floats]:
    found = [getattr(item, part) for item in items]
    return np.array([getattr(entry, first) for entry in found]), np.array([entry.next for entry in found])


def _same_cutoffs(audit: ImageAudit, dims: int) -> None:
    again = source_cutoffs([item.rmse for item in audit.items], audit.calibration.rmse, dims)
    _must(len(audit.cutoffs) == len(SOURCE_CUTOFFS))
    for stated, found in zip(audit.cutoffs, again, strict=True):
        _same_fields("cutoffs", stated, found)


def _same_fields(where: str, stated: object, found: object) -> None:
    for entry in fields(found):  # type: ignore[arg-type]
        _same(f"{where}.{entry.name}", [getattr(stated, entry.name)], [getattr(found, entry.name)])


def _same(where: str, stated: Sequence[Any], found: Sequence[Any] | np.ndarray[Any, Any]) -> None:
    for i, (left, right) in enumerate(zip(stated, found, strict=True)):
        if not _equal(left, right):
            raise _disagreement(where, i, left, right)


def _near(where: str, stated: Sequence[float], found: Sequence[float] | Floats) -> None:
    left, right = np.asarray(stated, dtype=np.float64), np.asarray(found, dtype=np.float64)
    wrong = np.flatnonzero(np.abs(left - right) > _SLACK * np.maximum(1.0, np.abs(right)))
    if len(wrong):
        raise _disagreement(where, int(wrong[0]), float(left[wrong[0]]), float(right[wrong[0]]))


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-8, abs_tol=1e-12)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _disagreement(where: str, at: int, stated: object, found: object) -> ProofInvalid:
    return ProofInvalid(
        "the audit states {stated} as {where} ({at}), but {found} follows from its scores",
        where=where,
        at=at,
        stated=stated,
        found=found,
    )
