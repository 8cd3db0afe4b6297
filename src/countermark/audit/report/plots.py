"""Figures of a report: inline SVG, drawn by pure functions of numbers, coloured by the page's style sheet.

Words come in escaped. Every figure has axis titles, and a ``<title>`` for who cannot see it. Coordinates are rounded to
a tenth of a pixel, so equal numbers give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDE, _HIGH = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 744, 40, 248
_BINS = 60
#: A curve of many points is drawn with about so many.
_DRAWN = 400


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie on the page, from ``start`` to ``end`` in pixels; logarithmic if ``log``.

    What lies outside is drawn at the border.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return a value's place in pixels."""
        low, high, here = (math.log10(max(x, 1e-300)) if self.log else x for x in (self.low, self.high, value))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values to print, at most nine."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.floor(math.log10(self.high) + 1e-9) + 1)
            steps = (1, 2, 5) if len(powers) <= 3 else (1,)
            rounds = [10.0**power * step for power in powers for step in steps]
            within = [value for value in rounds if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
            return within[:: 1 + len(within) // 10]
        step = _round_step((self.high - self.low) / 6) if self.high > self.low else 0.0
        if not step or not math.isfinite(step):
            return [self.low]
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * number for number in range(first, last + 1)][:9]


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one kind: a name for the legend, and the style that draws them."""

    name: str
    style: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across a figure at a value, with its words."""

    value: float
    words: str


def histogram(
    series: Sequence[Series],
    title: str,
    x_title: str,
    y_title: str,
    marks: Sequence[Mark] = (),
    *,
    start: float | None = None,
    log: bool = False,
) -> str:
    """Return how two or more sets of values lie over each other, each as per cent of its own set.

    The axis begins at ``start``, or follows the first series; what lies far outside is counted in the outermost bins,
    and the axis says so. With ``log`` values are positive, the axis is logarithmic and holds them all.
    """
    low, high = _whole_span(series) if log else _span(series, [mark.value for mark in marks])
    low = low if start is None or start >= high else start
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    shares = [_shares(one.values, edges) for one in series]
    x = Axis(low, high, _LEFT, _RIGHT, log=log)
    top = _TOP + 15 * max(len(marks) - 1, 0)  # above it the marks' words, one row each
    y = Axis(0.0, max([float(share.max()) for share in shares if share.size] + [1.0]) * 1.05, _BOTTOM, top)
    parts = _frame(x, y, x_title, y_title, _beyond(series, low, high))
    for one, share in zip(series, shares, strict=True):
        parts.append(f'<path class="{one.style}" d="{_steps(share, edges, x, y)}"/>')
    for number, mark in enumerate(marks):
        here, row = x.at(mark.value), _TOP + 2 + 15 * number
        side = ('x="{:.1f}"', 'text-anchor="end" x="{:.1f}"')[here > (_LEFT + _RIGHT) / 2]
        parts.append(f'<line class="mark" x1="{here:.1f}" x2="{here:.1f}" y1="{row - 10}" y2="{_BOTTOM}"/>')
        words = side.format(here + (5 if "end" not in side else -5))
        parts.append(f'<text class="halo" {words} y="{row}">{mark.words}</text>')
    return _figure([*parts, *_legend([(one.name, one.style) for one in series])], title)


def p_against_rank(
    p: Sequence[float], fdr: float, flagged: int, title: str, x_title: str, y_title: str, names: Sequence[str]
) -> str:
    """Return sorted p-values against their rank, both logarithmic, with the line that decides.

    Args:
        p: in [0, 1], any order.
        fdr: slope of the line times the number of values.
        flagged: how many of the smallest were named.
        title: of the figure.
        x_title: below the ranks.
        y_title: beside the p-values.
        names: of the points named, the others, the line that decides, and the line of chance.
    """
    ordered = np.sort(np.asarray(p, dtype=np.float64))
    total = max(ordered.size, 1)
    lowest = min([float(ordered[0]) if ordered.size else 1.0, fdr / total, 0.1])
    x = Axis(1.0, float(max(total, 2)), _LEFT, _RIGHT, log=True)
    y = Axis(max(lowest, 1e-12) / 1.5, 1.0, _BOTTOM, _TOP, log=True)
    parts = _frame(x, y, x_title, y_title)
    for style, slope in (("chance", 1.0), ("decides", fdr)):
        parts.append(f'<path class="{style}" d="{_line([(1, slope / total), (total, slope)], x, y)}"/>')
    for rank in _thinned(ordered.size):
        style = "found" if rank < flagged else "other"
        here, there = x.at(rank + 1), y.at(float(ordered[rank]))
        parts.append(f'<circle class="{style}" cx="{here:.1f}" cy="{there:.1f}" r="2.6"/>')
    return _figure([*parts, *_legend(list(zip(names, ("found", "other", "decides", "chance"), strict=True)))], title)


def strip(inside: float, outside: Sequence[float], title: str, x_title: str, names: Sequence[str]) -> str:
    """Return K + 1 points on one line: the training set among the sets that were never trained on.

    Args:
        inside: the training set's value.
        outside: (K,) those of the other sets.
        title: of the figure.
        x_title: below the values.
        names: of the training set and of the others.
    """
    values = [inside, *outside]
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    x = Axis(low - margin, high + margin, _LEFT, _RIGHT)
    middle, floor = 92, 140
    parts = _axis_x(x, floor, x_title)
    for number in _thinned(len(outside)):
        height = middle + (-22, 14, -6, 26, 4)[number % 5]  # apart, so that equal values stay visible
        parts.append(f'<circle class="unseen" cx="{x.at(outside[number]):.1f}" cy="{height}" r="4.5"/>')
    here = x.at(inside)
    parts.append(f'<line class="mark" x1="{here:.1f}" x2="{here:.1f}" y1="48" y2="{floor}"/>')
    parts.append(f'<path class="found" d="M{here:.1f} {middle - 9}l9 9l-9 9l-9 -9z"/>')
    return _figure([*parts, *_legend(list(zip(names, ("found", "unseen"), strict=True)))], title, high=190)


def bar(share: float, interval: tuple[float, float], least: float | None, title: str, x_title: str, words: str) -> str:
    """Return a share between 0 and 100 % with its interval, and a line at the least that is certain."""
    x = Axis(0.0, 100.0, _LEFT, _RIGHT)
    low, high, here = (x.at(100 * value) for value in (*interval, share))
    parts = _axis_x(x, 96, x_title)
    parts.append(f'<rect class="rail" x="{_LEFT}" y="56" width="{_RIGHT - _LEFT}" height="28"/>')
    parts.append(f'<rect class="found" x="{_LEFT}" y="56" width="{max(here - _LEFT, 0):.1f}" height="28"/>')
    parts.append(f'<path class="whisker" d="M{low:.1f} 62v16M{low:.1f} 70H{high:.1f}M{high:.1f} 62v16"/>')
    if least is not None:
        sure = x.at(100 * least)
        anchor = ' text-anchor="end"' if sure > (_LEFT + _RIGHT) / 2 else ""
        parts.append(f'<path class="mark" d="M{sure:.1f} 46v42"/>')
        parts.append(f'<text{anchor} x="{sure:.1f}" y="38">{words}</text>')
    return _figure(parts, title, high=146)


def _span(series: Sequence[Series], others: Iterable[float]) -> tuple[float, float]:
    found = [np.asarray(one.values, dtype=np.float64) for one in series if len(one.values)]
    if not found:
        return 0.0, 1.0
    first = found[0]
    low, high = float(np.quantile(first, 0.001)), float(np.quantile(first, 0.999))
    reach = (high - low) or abs(high) * 0.1 or 1.0
    every = np.concatenate([*found, np.asarray(list(others), dtype=np.float64)])
    low, high = max(float(every.min()), low - 2.0 * reach), min(float(every.max()), high + 2.0 * reach)
    return (low - 0.01 * (high - low), high) if high > low else (low - 0.5, low + 0.5)


def _whole_span(series: Sequence[Series]) -> tuple[float, float]:
    every = [value for one in series for value in one.values if value > 0] or [1.0]
    return min(every) / 1.1, max(every) * 1.1


def _beyond(series: Sequence[Series], low: float, high: float) -> tuple[bool, bool]:
    """Return whether values lie below and above the axis."""
    return any(min(one.values, default=low) < low for one in series), any(
        max(one.values, default=high) > high for one in series
    )


def _shares(values: Sequence[float], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(values):
        return np.zeros(_BINS)
    clipped = np.clip(np.asarray(values, dtype=np.float64), edges[0], edges[-1])
    return np.histogram(clipped, edges)[0] * (100.0 / len(values))


def _steps(share: NDArray[np.float64], edges: NDArray[np.float64], x: Axis, y: Axis) -> str:
    path = f"M{x.at(float(edges[0])):.1f} {y.start:.1f}"
    for value, right in zip(share.tolist(), edges[1:].tolist(), strict=True):
        path += f"V{y.at(value):.1f}H{x.at(right):.1f}"
    return f"{path}V{y.start:.1f}Z"


def _line(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{x.at(here):.1f} {y.at(there):.1f}" for here, there in points)


def _thinned(total: int) -> list[int]:
    """Return the places to draw of many: the first ones all, then ever fewer."""
    if total <= _DRAWN:
        return list(range(total))
    return [int(place) for place in np.unique(np.geomspace(1, total, 2 * _DRAWN).round() - 1)]


def _frame(x: Axis, y: Axis, x_title: str, y_title: str, beyond: tuple[bool, bool] = (False, False)) -> list[str]:
    middle = (_TOP + _BOTTOM) / 2
    parts = _axis_x(x, _BOTTOM, x_title, beyond)
    for value in y.ticks():
        here = y.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{here:.1f}" y2="{here:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{_LEFT - 7}" y="{here + 4:.1f}">{value:g}</text>')
    turned = f'transform="rotate(-90 14 {middle:.0f})" text-anchor="middle" x="14" y="{middle:.0f}"'
    return [*parts, f"<text {turned}>{y_title}</text>"]


def _axis_x(x: Axis, floor: float, title: str, beyond: tuple[bool, bool] = (False, False)) -> list[str]:
    parts = [f'<line class="axis" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{floor}" y2="{floor}"/>']
    ends = [(x.low, "≤ ")] * beyond[0] + [(x.high, "≥ ")] * beyond[1]
    apart = [value for value in x.ticks() if all(abs(x.at(value) - x.at(end)) > 48 for end, _ in ends)]
    for value, sign in [*ends, *((value, "") for value in apart)]:
        here, words = x.at(value), f"{sign}{value:{'.2g' if sign else '.6g'}}"
        parts.append(f'<line class="axis" x1="{here:.1f}" x2="{here:.1f}" y1="{floor}" y2="{floor + 5}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{here:.1f}" y="{floor + 18}">{words}</text>')
    return [*parts, f'<text text-anchor="middle" x="{(_LEFT + _RIGHT) / 2:.0f}" y="{floor + 40}">{title}</text>']


def _legend(entries: Sequence[tuple[str, str]]) -> list[str]:
    parts, x = list[str](), float(_LEFT)
    for name, style in entries:
        line = style in ("decides", "chance")
        shape = f'd="M{x:.1f} 16h14"' if line else f'd="M{x:.1f} 10h14v12h-14z"'
        parts.append(f'<path class="{style}" {shape}/><text x="{x + 19:.1f}" y="20">{name}</text>')
        x += 38 + sum(13.2 if ord(letter) > 0x2E80 else 6.7 for letter in name)
    return parts


def _figure(parts: Sequence[str], title: str, *, high: int = _HIGH) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDE} {high}" role="img" aria-label="{title}">\n'
        f"<title>{title}</title>\n" + "\n".join(parts) + "\n</svg>"
    )


def _round_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below a rough step."""
    if rough <= 0 or not math.isfinite(rough):
        return 0.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((power * times for times in (1, 2, 5) if power * times >= rough * (1 - 1e-9)), power * 10)
