"""What the lattice mark is held to, read off the trials of a run, so that nobody has to pick rows by hand.

A trial is one read of one attacked copy: a dict with ``size_class``, ``attack``, ``bits``, ``matching`` and the
measured values. Each function here takes trials of one method.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from countermark.core.stats import clopper_pearson
from countermark.marking.attacks import LISTS, VIDEOSEAL

Row = dict[str, Any]

_CROP = re.compile(r"crop[a-z]*\(([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Bar:
    """A wanted share of exact reads over some attacks: all of them together, or ``each``, which the worst decides."""

    name: str
    size_class: str
    keeps: Callable[[str], bool]
    wanted: float
    each: bool = False

    def line(self, trials: Iterable[Row]) -> Row | None:
        """Return what was reached, or None where the run has no such trial."""
        groups: dict[str, list[Row]] = defaultdict(list)
        for trial in trials:
            if trial["size_class"] == self.size_class and self.keeps(trial["attack"]):
                groups[trial["attack"] if self.each else "all"].append(trial)
        if not groups:
            return None
        worst = min(groups, key=lambda attack: share(map(is_exact, groups[attack]))["rate"])
        reached = share(map(is_exact, groups[worst]))
        value = reached.pop("rate")
        return _line(self.size_class, self.name, worst, value, self.wanted, value >= self.wanted) | reached


def bar_lines(trials: Sequence[Row]) -> list[Row]:
    """Return one line for every bar that the trials speak of."""
    kinds = dict.fromkeys(trial["size_class"] for trial in trials)
    measured = [line for kind in kinds for line in _measured(kind, [t for t in trials if t["size_class"] == kind])]
    return [line for bar in _bars() if (line := bar.line(trials))] + measured


def ratio_lines(trials: Sequence[Row], ours: str) -> list[Row]:
    """Return by how much a clean copy is read faster by one method than by each other, on pictures that both marked."""
    clean = [trial for trial in trials if trial["attack"] == "clean"]
    others = dict.fromkeys((t["method"], t["size_class"]) for t in clean if t["method"] != ours)
    lines = []
    for method, kind in others:
        theirs = [trial for trial in clean if (trial["method"], trial["size_class"]) == (method, kind)]
        pictures = {trial["picture"] for trial in theirs}
        own = [trial for trial in clean if trial["method"] == ours and trial["picture"] in pictures]
        if own:
            value = round(mean(theirs, "detect_ms_per_mp") / mean(own, "detect_ms_per_mp"), 2)
            lines.append(_line(kind, "detect, times faster than", method, value, 1.0, value > 1) | {"n": len(own)})
    return lines


def is_exact(trial: Row) -> bool:
    """Whether every bit was read."""
    return bool(trial["matching"] == trial["bits"])


def share(outcomes: Iterable[bool]) -> Row:
    """Return ``n``, ``rate`` and the 95 % interval ``low`` to ``high`` of outcomes, of which there is at least one."""
    values = list(outcomes)
    low, high = clopper_pearson(sum(values), len(values))
    return {"n": len(values), "rate": round(sum(values) / len(values), 4), "low": round(low, 4), "high": round(high, 4)}


def mean(trials: Iterable[Row], column: str) -> float:
    """Return the mean of a column."""
    return float(np.mean([trial[column] for trial in trials]))


def kept_area(attack: str) -> float:
    """Return the smallest share of the picture that a crop in the attack keeps; 1 without crops."""
    return min((float(area) for area in _CROP.findall(attack)), default=1.0)


def _bars() -> Iterator[Bar]:
    yield Bar("research list together", "large", _is_researched, 0.97)
    yield Bar("each of it but the hard", "large", lambda a: _is_researched(a) and not _is_hard(a), 0.95, each=True)
    yield Bar("crop to 25 % and NL-means", "large", lambda a: _is_researched(a) and _is_hard(a), 0.85, each=True)
    yield Bar("clean", "small", lambda a: a == "clean", 0.99)
    yield Bar("list without crops, together", "small", lambda a: _is_researched(a) and kept_area(a) > 0.5, 0.95)
    yield Bar("crop to 50 %", "small", lambda a: _is_researched(a) and kept_area(a) == 0.5, 0.85, each=True)
    for kind in ("large", "small"):
        yield Bar("each of the further list", kind, lambda a: a in LISTS["further"], 0.95, each=True)
        yield Bar("list without crops below 50 %", kind, lambda a: _is_researched(a) and kept_area(a) >= 0.5, 0.95)


def _is_researched(attack: str) -> bool:
    return attack in LISTS["research"]


def _is_hard(attack: str) -> bool:
    return kept_area(attack) <= 0.25 or "nlm" in attack


def _measured(kind: str, trials: Sequence[Row]) -> Iterator[Row]:
    """Yield what is wanted of means: quality, times of a clean copy, one decode after VideoSeal's attack."""
    clean = [trial for trial in trials if trial["attack"] == "clean"]
    combined = [trial for trial in trials if trial["attack"] == VIDEOSEAL]
    for column, chosen, wanted, most in (
        ("psnr", trials, 42.0, False),
        ("ssim", trials, 0.985, False),
        ("embed_ms_per_mp", clean, 150.0, True),
        ("detect_ms_per_mp", clean, 700.0, True),
        ("detect_ms_per_mp", trials, 700.0, True),
        ("word_log10_p", combined, 18.0, False),
    ):
        if chosen:
            value = round(mean(chosen, column), 4)
            row = "all" if chosen is trials else chosen[0]["attack"]
            yield _line(kind, column, row, value, wanted, value <= wanted if most else value >= wanted) | {
                "n": len(chosen)
            }


def _line(kind: str, bar: str, row: str, value: float, wanted: float, met: bool) -> Row:
    return {"class": kind, "bar": bar, "row": row, "value": value, "wanted": wanted, "met": met}
