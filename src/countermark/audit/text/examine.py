"""The audit of texts: which outputs repeat the corpus at greater length than unseen texts of the same source do.

Laws:
    the document holds every number that its decision follows from (``deciding.decide``);
    equal outputs, corpus, held-out texts and options give equal documents but for ``made_at`` and ``versions``.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import CONFIDENCE
from countermark.audit.text.deciding import (
    FORM_NAMES,
    LEAST_WINDOW,
    LEVEL,
    STATISTIC,
    Score,
    TextDecision,
    Window,
    decide,
    score_in_pieces,
    window_of,
    window_scores,
)
from countermark.audit.text.matching import Match
from countermark.audit.text.near import Near, NearIndex
from countermark.audit.text.reading import Corpus
from countermark.audit.text.suffixes import INDEX, SuffixIndex
from countermark.core.progress import Progress
from countermark.errors import HeldOutOverlap, InputError

Integers = NDArray[np.int64]
Phases = Callable[[str], Progress]

TYPE = "countermark.memorization-audit/1"
#: More of the held-out documents than this stand in the corpus: they are not held out.
MOST_OVERLAP = 0.01
# A held-out document stands in the corpus where half of its bytes lie in runs of so many bytes, or of half of it.
_RUN, _PART = 200, 0.5
_NAMED, _SHOWN, _COPIED = 10, 500, 100
# Bytes below which most of what is long is a common phrase.
_SHORT = 64
# Held-out documents below which their windows are too much alike to stand for all texts.
_FEW_DOCUMENTS = 20


class Overlap(NamedTuple):
    """A held-out document that stands in the corpus: name, share of its bytes, document of its longest run."""

    name: str
    share: float
    source: str


@dataclass(frozen=True)
class Calibration:
    """Held-out windows of the smallest length."""

    count: int


class TextExaminer:
    """A corpus, its index, and what held-out texts have in common with it.

    Attributes:
        index: suffixes of the corpus.
        overlap: held-out documents that stand in the corpus.
    """

    def __init__(
        self,
        index: SuffixIndex,
        corpus: Corpus,
        held_out: Corpus,
        statistics: Sequence[Integers],
        overlap: Sequence[Overlap],
        near: NearIndex | None,
    ) -> None:
        self.index, self.overlap = index, tuple(overlap)
        self._corpus, self._held_out, self._near = corpus, held_out, near
        self._statistics = statistics
        lengths = np.array([len(each) for each in statistics], dtype=np.int64)
        self._windows = cache(lambda window: int((lengths // window).sum()))
        self._scores: Callable[[int], Integers] = cache(lambda window: window_scores(self._statistics, window))
        self._window: Callable[[int], Window] = cache(lambda length: window_of(length, self._windows))

    @property
    def calibration(self) -> Calibration:
        """How many held-out windows of the smallest length there are: no p-value is below 1 / (1 + count)."""
        return Calibration(self._windows(LEAST_WINDOW))

    @classmethod
    def prepare(
        cls,
        corpus: Corpus,
        held_out: Corpus,
        *,
        index: SuffixIndex | None = None,
        directory: Path | None = None,
        form: str = "bytes",
        near: bool = True,
        leave_out: bool = False,
        progress: Phases | None = None,
    ) -> TextExaminer:
        """Index the corpus, unless an index of it is given, and search all held-out texts in it.

        Args:
            corpus: training texts.
            held_out: texts of the same source, never trained on.
            index: of the corpus, in any form.
            directory: where an index is looked for, and built where there is none.
            form: of an index that is built: ``bytes`` or ``folded``.
            near: search near copies too; takes the whole corpus into memory.
            leave_out: leave out held-out documents that stand in the corpus, however many, rather than refuse them.
            progress: called with ``index``, ``held-out`` and ``near``.

        Raises:
            HeldOutOverlap: more than 1 % of the held-out documents stand in the corpus.
            IndexMismatch: the index is of another corpus.
            InputError: a corpus without texts, or whatever reading raises.
            MissingExtra: without pydivsufsort.
        """
        phase = progress or (lambda _label: lambda _done, _total, _unit: None)
        index = index or _opened(corpus, directory, form, phase("index"))
        index.require(corpus)
        documents = list(held_out.documents())
        found = index.statistics([index.encoded(each.text) for each in documents], phase("held-out"))
        overlap = [
            _overlap(index, document.text, document.name, row) for document, row in zip(documents, found, strict=True)
        ]
        inside = [each for each in overlap if each]
        if len(inside) > MOST_OVERLAP * len(documents) and not leave_out:
            raise _refusal(inside, len(documents))
        kept = [row for row, each in zip(found, overlap, strict=True) if not each or not leave_out]
        if not sum(map(len, kept)):
            raise InputError("no held-out text is left that does not stand in the corpus")
        return cls(index, corpus, held_out, kept, inside, NearIndex(corpus, phase("near")) if near else None)

    def audit(
        self,
        outputs: Corpus,
        *,
        fdr: float = 0.05,
        subject: Mapping[str, Any] | None = None,
        extraction: Mapping[str, Any] | None = None,
        exposure: Mapping[str, Any] | None = None,
        made_at: str | None = None,
        progress: Phases | None = None,
    ) -> dict[str, Any]:
        """Return the document of an audit, of the kind ``texts``.

        Args:
            outputs: of the model.
            fdr: false discovery rate.
            subject: ``name``, ``weights``, ``sampler``, ``seed``, ``drawn``, as far as they are known.
            extraction: what ``extraction.extract`` returned, kept in the document.
            exposure: what ``exposure.expose`` returned, likewise.
            made_at: RFC 3339 time.
            progress: called with ``outputs``.

        Raises:
            InputError: no outputs, or no held-out text as long as the smallest window.
        """
        documents = list(outputs.documents())
        if not documents:
            raise InputError("{name} holds no text", name=outputs.name)
        texts = [self.index.encoded(each.text) for each in documents]
        matches = self.index.longest(texts, (progress or _silent)("outputs"))
        scores = [self._score(text, match) for text, match in zip(texts, matches, strict=True)]
        calibration = {window: self._scores(window) for window in sorted({each.window for each in scores})}
        decision = decide(scores, calibration, fdr)
        items = [
            self._item(i, documents[i].name, documents[i].text, texts[i], matches[i], scores[i], decision)
            for i in range(len(texts))
        ]
        return {
            "type": TYPE,
            "kind": "texts",
            "subject": _subject(outputs, subject or {}),
            "data": self._data(),
            "method": _method(self.index, fdr),
            "calibration": self._calibration(calibration),
            "items": items,
            "decision": _decision(decision),
            "model_test": None,
            "same_source": None,
            "copied": self._copied(matches, decision),
            "limits": self._limits(scores),
            "versions": _versions(),
            "made_at": made_at,
            "extraction": None if extraction is None else dict(extraction),
            "exposure": None if exposure is None else dict(exposure),
        }

    def overlap_of(self, text: str, name: str = "text") -> Overlap | None:
        """Return that a text stands in the corpus, as held-out ones are asked, or None."""
        return _overlap(self.index, text, name, self.index.statistics([self.index.encoded(text)])[0])

    def passages(self, outputs: Corpus, around: int = 300) -> TextPassages:
        """Return the surroundings of matches in outputs and corpus, for a report."""
        return TextPassages(self.index, outputs, around)

    def _score(self, text: bytes, match: Match) -> Score:
        window = self._window(len(text))
        if window.pieces == 1:
            return Score(-match.length, *window)
        return Score(score_in_pieces(self.index.statistics([text])[0], window), *window)

    def _item(
        self, number: int, name: str, text: str, data: bytes, match: Match, score: Score, decision: TextDecision
    ) -> dict[str, Any]:
        near = self._near.nearest(text) if self._near is not None else None
        return {
            "item": number,
            "name": name[:200],
            "bytes": len(data),
            "longest": match.length,
            "window": score.window,
            "pieces": score.pieces,
            "where": _place(self.index, match),
            "text": _shown(data[match.start : match.start + match.length]),
            "score": score.score,
            "p": float(decision.p[number]),
            "q": float(decision.q[number]),
            "flagged": bool(decision.flagged[number]),
            "similar": self._similar(near),
        }

    def _similar(self, near: Near | None) -> dict[str, Any] | None:
        if near is None:
            return None
        return {"document": self.index.name_of(near.document)[:200], "jaccard": float(f"{near.jaccard:.9g}")}

    def _copied(self, matches: Sequence[Match], decision: TextDecision) -> list[dict[str, Any]]:
        groups: dict[int, list[int]] = defaultdict(list)
        for i in np.flatnonzero(decision.flagged).tolist():
            groups[matches[i].document].append(i)
        order = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:_COPIED]
        return [
            {"nearest": number, "name": self.index.name_of(number)[:200], "count": len(items), "items": items}
            for number, items in order
        ]

    def _data(self) -> dict[str, Any]:
        train, held_out = self._corpus.measure, self._held_out.measure
        left = len(self._statistics)
        notes = [f"training texts: {train.size} bytes; held-out texts: {held_out.size} bytes"]
        if left < held_out.documents:
            notes.append(f"left out of the held-out texts, as they stand in the training texts: {_names(self.overlap)}")
        of_held_out = {**_about(self._held_out), "count": left, "overlap": len(self.overlap), "near": []}
        return {"train": _about(self._corpus), "held_out": of_held_out, "notes": notes}

    def _calibration(self, calibration: Mapping[int, Integers]) -> dict[str, Any]:
        """Return held-out scores by length, each with how often it occurs."""
        lengths = [
            {
                "bytes": window,
                "count": len(scores),
                "scores": [[int(score), len(list(same))] for score, same in groupby(scores.tolist())],
            }
            for window, scores in calibration.items()
        ]
        return {"count": lengths[0]["count"], "documents": len(self._statistics), "lengths": lengths}

    def _limits(self, scores: Sequence[Score]) -> list[str]:
        found = ["verbatim-only", "no-proof-of-absence", "held-out-source", "dependent-outputs"]
        if len(self._statistics) < _FEW_DOCUMENTS:
            found.append("few-calibration")
        if any(each.window < _SHORT for each in scores):
            found.append("short-texts")
        # Windows of one document are more alike than those of two.
        if any(self._windows(each.window) > len(self._statistics) for each in scores):
            found.append("windows-clustered")
        if self.overlap:
            found.append("overlap-kept" if len(self._statistics) == self._held_out.count else "overlap-left-out")
        return [*found, "near-copies-approximate"] if self._near is not None else found


class TextPassages:
    """What stands around the longest match of an output, in it and in the corpus; texts are in the index's form."""

    def __init__(self, index: SuffixIndex, outputs: Corpus, around: int) -> None:
        self._index, self._around = index, around
        self._texts = [index.encoded(each.text) for each in outputs.documents()]
        self._matches: Callable[[int], Match] = cache(lambda item: index.longest([self._texts[item]])[0])

    def output(self, item: int) -> tuple[str, str, str]:
        """Return what stands before the match in an output, the match, and what stands after it."""
        match, text = self._matches(item), self._texts[item]
        return self._cut(text, match.start, match.length)

    def source(self, item: int) -> tuple[str, str, str]:
        """Return the same of the training document."""
        match = self._matches(item)
        if match.document < 0:
            return "", "", ""
        first = max(0, match.offset - self._around)
        text = self._index.text_at(match.document, first, match.offset - first + match.length + self._around)
        return self._cut(text, match.offset - first, match.length)

    def _cut(self, text: bytes, start: int, length: int) -> tuple[str, str, str]:
        before, after = text[max(0, start - self._around) : start], text[start + length :][: self._around]
        return tuple(each.decode(errors="ignore") for each in (before, text[start : start + length], after))  # type: ignore[return-value]


def audit_texts(
    outputs: Corpus,
    corpus: Corpus,
    held_out: Corpus,
    *,
    fdr: float = 0.05,
    subject: Mapping[str, Any] | None = None,
    index: SuffixIndex | None = None,
    directory: Path | None = None,
    form: str = "bytes",
    near: bool = True,
    leave_out: bool = False,
    made_at: str | None = None,
    progress: Phases | None = None,
) -> dict[str, Any]:
    """Audit outputs at once; see ``TextExaminer.prepare`` and ``TextExaminer.audit``."""
    examiner = TextExaminer.prepare(
        corpus, held_out, index=index, directory=directory, form=form, near=near, leave_out=leave_out, progress=progress
    )
    return examiner.audit(outputs, fdr=fdr, subject=subject, made_at=made_at, progress=progress)


def _opened(corpus: Corpus, directory: Path | None, form: str, progress: Progress) -> SuffixIndex:
    if directory is not None and (directory / INDEX).is_file():
        index = SuffixIndex.open(directory, corpus)
        if index.form == form:
            return index
    return SuffixIndex.build(corpus, directory, form=form, progress=progress)


def _overlap(index: SuffixIndex, text: str, name: str, lengths: Integers) -> Overlap | None:
    """Return that a held-out document stands in the corpus, or None."""
    run = min(_RUN, max(1, len(lengths) // 2))
    share = covered(lengths, run)
    if share < _PART:
        return None
    match = index.longest([index.encoded(text)])[0]
    return Overlap(name, share, index.name_of(match.document))


def covered(lengths: Integers, run: int) -> float:
    """Return the share of a text's bytes that lie in matches of at least ``run`` bytes.

    Args:
        lengths: (n,) the longest match from each byte on.
        run: at least 1.
    """
    if not len(lengths):
        return 0.0
    ends = np.where(lengths >= run, np.arange(len(lengths)) + lengths, 0)
    return float((np.maximum.accumulate(ends) > np.arange(len(lengths))).mean())


def _refusal(found: Sequence[Overlap], count: int) -> HeldOutOverlap:
    return HeldOutOverlap(
        "{overlap} of {count} held-out texts stand in the training texts: {names}",
        hint="Name texts that the model never saw, or leave those out.",
        overlap=len(found),
        count=count,
        names=_names(found),
    )


def _names(found: Sequence[Overlap]) -> str:
    shown = [f"{each.name} ({100 * each.share:.0f} %, {each.source})"[:200] for each in found[:_NAMED]]
    return ", ".join(shown) + (", …" if len(found) > _NAMED else "")


def _subject(outputs: Corpus, known: Mapping[str, Any]) -> dict[str, Any]:
    measure = outputs.measure
    samples = {
        "count": measure.documents,
        "digest": measure.digest,
        "seed": known.get("seed"),
        "drawn": known.get("drawn", measure.documents),
    }
    named = {
        name: known.get(name, default)
        for name, default in (("name", outputs.name), ("weights", None), ("sampler", "texts"))
    }
    return {**named, "samples": samples}


def _about(corpus: Corpus) -> dict[str, Any]:
    measure = corpus.measure
    return {
        "name": corpus.name[:200],
        "count": measure.documents,
        "digest": measure.digest,
        "shape": None,
        "duplicates": measure.duplicates,
    }


def _method(index: SuffixIndex, fdr: float) -> dict[str, Any]:
    return {
        "statistic": STATISTIC.format(form=FORM_NAMES[index.form]),
        "index": f"suffix array of {index.size} bytes",
        "neighbours": 0,
        "aligned": False,
        "same_label": False,
        "descriptor": None,
        "fdr": fdr,
    }


def _decision(decision: TextDecision) -> dict[str, Any]:
    return {
        "flagged": int(decision.flagged.sum()),
        "smallest_flaggable": decision.smallest_flaggable,
        "at_least": decision.at_least,
        "interval": list(decision.interval),
        "confidence": CONFIDENCE,
        "threshold": LEVEL,
        "below": decision.below,
        "null_rate": decision.null_rate,
        "verdict": decision.verdict,
    }


def _place(index: SuffixIndex, match: Match) -> dict[str, Any] | None:
    return {"document": index.name_of(match.document)[:200], "offset": match.offset} if match.document >= 0 else None


def _shown(data: bytes) -> str:
    """Return bytes as text for a document: cut, without what cannot be printed."""
    text = data.decode(errors="ignore")[:_SHOWN]
    return "".join(each if each.isprintable() or each in "\n\t" else " " for each in text)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("countermark", "numpy", "pydivsufsort"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _silent(_label: str) -> Progress:
    return lambda _done, _total, _unit: None
