"""What longest matches prove: p-values calibrated on held-out windows of equal length. Pure functions; numpy alone.

The score of an output is minus its longest match, so that the least is the most suspicious. A text of n bytes is
compared with held-out *windows*: held-out documents cut, from their beginning on, into pieces of exactly l bytes that
do not overlap, l being n rounded up to five significant bits (at most a sixteenth longer; lengths up to 31, and all of
five bits, are themselves). A longer window can only hold a longer match, so rounding up only raises p.

Where held-out documents are too short for that, the output is read in *pieces* of l bytes, each beginning half a piece
after the one before, and p is the smallest of theirs times their number. Which l is taken follows from lengths alone:
the longest with which p can come down to 0.005, or else near to the least that it can come down to.

The null hypothesis of an output is that it is as a window: as any l bytes out of a held-out document, neither from its
beginning only nor a whole one. Replies that are cut at a number of tokens are; whole short texts may not be.

What everyone writes needs no list of exceptions: a licence's boilerplate stands in held-out windows as often as it
does in texts at large, and a match that so many held-out windows have too is not rare.

Laws:
    p of a held-out window's peer is at most t with probability at most t, windows being exchangeable with it;
    ``window_of`` never gives a window shorter than the output unless it gives several pieces that cover it;
    ``decide`` depends on scores only: it recomputes to the last digit from what a document states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import CONFIDENCE, COPIES, NO_COPIES, benjamini_hochberg, conformal_p, rounded
from countermark.core.stats import clopper_pearson
from countermark.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STATISTIC = "longest-match/1: minus the longest run of bytes of the text that stands in a training text, {form}"
FORM_NAMES = {"bytes": "bytes as they are", "folded": "NFKC, case folded, runs of white space as one blank"}
# The p-value at which the share of copies is bounded; fixed beforehand.
LEVEL = 0.01
#: Bytes of the shortest windows.
LEAST_WINDOW = 16
# A window is long enough only while p can be as small as this, or as so many times the least that any window allows. Of
# windows that do, the longest: matches of short ones soon fill them, and then say nothing.
_FLOOR, _NEAR_LEAST = LEVEL / 2, 1.5


class Window(NamedTuple):
    """How an output is calibrated: length of the held-out windows in bytes, and in how many pieces it is read."""

    bytes: int
    pieces: int


@dataclass(frozen=True)
class Score:
    """One output's score: minus its longest match within one piece; and the windows it is compared with."""

    score: int
    window: int
    pieces: int


@dataclass(frozen=True)
class TextDecision:
    """What the scores of all outputs say.

    Attributes:
        p, q: (n,), rounded to 9 significant digits.
        flagged: (n,), where q is at most the false discovery rate asked for.
        smallest_flaggable: how many outputs at their least possible p are needed before any is flagged; one more than
            there are where none ever is.
        at_least: lower bound of the share that only copying explains, at ``CONFIDENCE``, counted at ``LEVEL``.
        interval: of the share of copies with p at most ``LEVEL``, outputs taken as independent.
        below: outputs in one piece with p at most ``LEVEL``.
        null_rate: upper bound of the share of unseen windows for which that is so.
        verdict: ``decisions.COPIES`` or ``decisions.NO_COPIES``.
    """

    p: Floats
    q: Floats
    flagged: NDArray[np.bool_]
    smallest_flaggable: int
    at_least: float
    interval: tuple[float, float]
    below: int
    null_rate: float
    verdict: str


def rounded_up(length: int) -> int:
    """Return a length in bytes, rounded up to five significant bits."""
    step = 1 << max(0, length.bit_length() - 5)
    return -(-length // step) * step


def window_of(length: int, windows_of: Callable[[int], int]) -> Window:
    """Return the windows for an output of ``length`` bytes, from the lengths of the held-out documents alone.

    Args:
        length: of the output.
        windows_of: how many held-out windows of a length there are.

    Raises:
        InputError: no held-out document has as many bytes as the smallest window.
    """
    longest = max(rounded_up(max(length, 1)), LEAST_WINDOW)
    found = [Window(size, len(piece_starts(length, size))) for size in _lengths_down_from(longest) if windows_of(size)]
    if not found:
        raise InputError(
            "no held-out text has {bytes} bytes",
            hint="Held-out texts are as long as the outputs, or longer.",
            bytes=LEAST_WINDOW,
        )
    floors = [each.pieces / (1 + windows_of(each.bytes)) for each in found]
    enough = max(_FLOOR, _NEAR_LEAST * min(floors))
    return next(each for each, floor in zip(found, floors, strict=True) if floor <= enough)


def piece_starts(length: int, window: int) -> list[int]:
    """Return where the pieces of an output begin; each but the last begins half a window after the one before."""
    if length <= window:
        return [0]
    return [*range(0, length - window, max(1, window // 2)), length - window]


def window_scores(statistics: Sequence[Integers], window: int) -> Integers:
    """Return scores of held-out windows, ascending: minus the longest match inside each.

    Args:
        statistics: of each document (n,): the longest match from each byte on.
        window: their length in bytes.
    """
    scores = [_longest_within(each[: len(each) // window * window].reshape(-1, window)) for each in statistics]
    return np.sort(-np.concatenate([*scores, np.zeros(0, dtype=np.int64)]))


def score_in_pieces(statistics: Integers, window: Window) -> int:
    """Return the score of an output that is read in pieces."""
    rows = [statistics[start : start + window.bytes] for start in piece_starts(len(statistics), window.bytes)]
    return -max(int(_longest_within(row[None, :])[0]) for row in rows)


def decide(scores: Sequence[Score], calibration: Mapping[int, Integers], fdr: float) -> TextDecision:
    """Decide which outputs are flagged.

    Args:
        scores: of all outputs.
        calibration: ascending scores of the held-out windows, by their length.
        fdr: false discovery rate, between 0 and 1.

    Raises:
        InputError: no outputs, such a rate, or windows of a length that the calibration does not have.
    """
    if not scores or not 0.0 < fdr < 1.0 or any(not len(calibration.get(each.window, ())) for each in scores):
        raise InputError("outputs are scored against held-out windows of lengths that there are")
    p = np.ones(len(scores))
    for window, known in calibration.items():
        rows = [i for i, each in enumerate(scores) if each.window == window]
        if rows:
            p[rows] = conformal_p([scores[i].score for i in rows], known)
    p = rounded(np.minimum(1.0, p * [each.pieces for each in scores]))
    q = rounded(benjamini_hochberg(p))
    flagged = q <= fdr
    sizes = {window: len(known) for window, known in calibration.items()}
    below = sum(bool(value <= LEVEL) for value, each in zip(p, scores, strict=True) if each.pieces == 1)
    null = max((_null_rate(sizes[each.window]) for each in scores if each.pieces == 1), default=0.0)
    low, high = clopper_pearson(below, len(scores), CONFIDENCE)
    at_least = max(0.0, (low - null) / (1 - null))
    low, high, at_least, null = rounded([max(0.0, low - null), high, at_least, null]).tolist()
    return TextDecision(
        p=p,
        q=q,
        flagged=flagged,
        smallest_flaggable=_smallest_flaggable([each.pieces / (1 + sizes[each.window]) for each in scores], fdr),
        at_least=at_least,
        interval=(low, high),
        below=below,
        null_rate=null,
        verdict=COPIES if flagged.any() else NO_COPIES,
    )


def _smallest_flaggable(floors: Sequence[float], fdr: float) -> int:
    """Return how many outputs, those that can go lowest first, have to be at their floor before one is flagged."""
    count = len(floors)
    least = np.sort(rounded(np.minimum(1.0, floors)))
    # By the very numbers that flag, so that rounding cannot part the two.
    reached = rounded(least * (count / np.arange(1, count + 1))) <= fdr
    return int(reached.argmax()) + 1 if reached.any() else count + 1


def _null_rate(windows: int) -> float:
    """Bound the rate of unseen windows with p at most ``LEVEL``: at most Beta(r, n - r + 1) distributed."""
    rank = math.floor(LEVEL * (1 + windows))
    return clopper_pearson(rank - 1, windows, CONFIDENCE)[1] if rank else 0.0


def _lengths_down_from(window: int) -> list[int]:
    """Return the lengths of windows up to one, longest first."""
    found = [window]
    while found[-1] > LEAST_WINDOW:
        found.append(found[-1] - max(1, 1 << max(0, (found[-1] - 1).bit_length() - 5)))
    return found


def _longest_within(rows: Integers) -> Integers:
    """Return the longest match inside each row (n, l) of longest matches that may go on beyond it."""
    room = rows.shape[1] - np.arange(rows.shape[1])
    found: Integers = np.minimum(rows, room).max(axis=1, initial=0)
    return found
