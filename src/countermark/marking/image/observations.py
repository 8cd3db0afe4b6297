"""What a reading of the lattice mark proves: p-value and words from the soft observations alone.

**The null** is "this picture does not depend on the key". Then the key's phases are independent and uniform, whatever
the picture. There are two statistics, each a ``T = sum w_k cos(U_k)``, with U_k the observed phase of line k less the
key's phase and an offset's ramp, and w_k the line's magnitude over its noise: ``T_sync`` over the sync lines of the
best placement and offset, ``T_pilot`` over the pilots of the best alignment and nonce.

1. Placements are functions of the picture's magnitudes and of the lines' positions; alignments, of the sync lines'
   phases too. Positions, sync phases and pilot phases come from keys derived independently. So, given the placements,
   sync phases are still uniform, and given sync phases and alignments, pilot phases are: choosing placements, by
   magnitudes, and alignments, by sync lines, costs nothing. Nor do the weights, which are magnitudes.
2. For a fixed hypothesis the U_k are independent and uniform: each is a uniform angle less a constant. Each line is one
   frequency of a conjugate pair, so none is counted twice. ``cosine_sum_tail`` bounds P(T >= t).
3. Sync phases choose among ``MAX_PLACEMENTS`` placements at ``TILE ** 2`` offsets (an alignment that they had a finer
   hand in counts for the pilots alone), pilot phases among ``MAX_ALIGNMENTS`` alignments and ``PATTERNS`` nonces. Where
   a picture is *anchored*, pilot phases choose its offset too, at quarters of a pixel. Each bound is multiplied by
   these numbers, that of the pilots by twice the number of its kind (Bonferroni, half the level to each kind).
4. So ``p_sync`` is a p-value, and ``p_pilot`` is one given the sync phases. Then P(p_sync p_pilot <= q) <= q (1 - ln q)
   (R. A. Fisher, Statistical Methods for Research Workers, section 21.1, for two p-values), which is the p-value.

Independence of the phases holds as far as ChaCha20 and BLAKE2 are pseudo-random. The null says nothing about a mark
copied onto a foreign picture, nor about pictures that somebody made with the key or by querying a detector.

Laws:
    ``recompute(detection.observations)`` equals the detection, without key and picture, bit for bit on one machine and
    up to the last bits of its exponential function on another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from countermark.core.coding import SYMBOLS, decode_list
from countermark.core.stats import cosine_sum_tail, fisher_product
from countermark.errors import InputError
from countermark.marking.image.alignment import ANCHORED_FRAMES, CAP, FINEST
from countermark.marking.image.pattern import ANCHORS, PATTERNS, PILOTS, SYNC, TILE, TURNS, Floats

# Placements whose offsets the sync lines choose among, alignments handed to the pilots, and words handed on by the
# decoder, at most: two as the picture stands, eight of each search; of these, the best two and one that was followed.
MAX_PLACEMENTS, MAX_ALIGNMENTS, LIST = 34, 15, 16
_MAX_WINDOWS = 8_000
_OBSERVED = {
    "cosines": PILOTS,
    "weights": PILOTS,
    "sync_cosines": SYNC,
    "sync_weights": SYNC,
    "symbols": SYMBOLS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What follows from soft observations alone; the fields mean what they mean in ``Detection``."""

    p_value: float
    statistic: float
    trials: int
    searched: int
    word: int
    words: tuple[int, ...]
    words_tried: int
    nonce: int


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return p-value, statistic, nonce and words from a detection's soft observations, without key and picture.

    Args:
        observations: ``sync_cosines`` and ``sync_weights`` of the best placement and offset, ``cosines`` and
            ``weights`` of the pilots of the best alignment and ``nonce``, the 256 soft code ``symbols``, and
            ``windows``, the number of parts of the picture that were searched each by itself; ``anchored``, whether
            the pilots found the picture's offset themselves.

    Raises:
        InputError: a list of another length, a value that is not a finite number or out of range.
    """
    anchored = _flag(observations, "anchored")
    lists = {name: _numbers(observations, name, count) for name, count in _OBSERVED.items()}
    nonce, windows = (
        _integer(observations, "nonce", 0, PATTERNS - 1),
        _integer(observations, "windows", 1, _MAX_WINDOWS),
    )
    for kind in ("", "sync_"):
        cosines, weights = lists[kind + "cosines"], lists[kind + "weights"]
        if (np.abs(cosines) > 1).any() or (weights < 0).any() or (weights > CAP).any():
            raise InputError("line observations are out of range")
    cosines, weights = lists["cosines"], lists["weights"]
    spread = math.sqrt(math.fsum(w * w for w in weights.tolist()) / 2)
    words = decode_list(lists["symbols"], LIST)
    return Recomputed(
        p_value=min(1.0, windows * _p_value(lists, hypotheses(anchored=anchored))),
        statistic=_total(cosines, weights) / spread if spread else 0.0,
        trials=SYNC + PILOTS,
        searched=windows * (MAX_PLACEMENTS * TILE**2 + hypotheses(anchored=anchored)),
        word=words[0],
        words=words,
        words_tried=len(words),
        nonce=nonce,
    )


def pattern_p_value(observations: Mapping[str, Any], *, anchors_explained: bool) -> float:
    """Return what the pilots alone prove of the nonce that a window shows, all alignments and windows counted.

    A window that lies across a picture's edge may show sync lines, or anchors, of a picture whose nonce it does not:
    the nonce that fits best is then anyone's.

    Args:
        observations: a detection's.
        anchors_explained: whether another window's picture has the same hand: the anchors say nothing new, and only
            turns were chosen among.

    Raises:
        InputError: as ``recompute``.
    """
    weights = _numbers(observations, "weights", PILOTS)
    if anchors_explained:
        weights[:ANCHORS] = 0
    windows = _integer(observations, "windows", 1, _MAX_WINDOWS)
    tail = _tail(_numbers(observations, "cosines", PILOTS), weights)
    nonces = TURNS if anchors_explained else PATTERNS
    return min(1.0, windows * _placings(anchored=_flag(observations, "anchored")) * nonces * tail)


def hypotheses(*, anchored: bool) -> int:
    """Return what multiplies the bound of the pilots: ``anchored``, for a picture that they placed themselves."""
    return 2 * _placings(anchored=anchored) * PATTERNS


def _placings(*, anchored: bool) -> int:
    return len(ANCHORED_FRAMES) * (FINEST * TILE) ** 2 if anchored else MAX_ALIGNMENTS


def _p_value(lists: Mapping[str, Floats], pilot_hypotheses: int) -> float:
    """Return the p-value of one window: Fisher's product of the sync lines' p-value and the pilots'."""
    searched = {"sync_": MAX_PLACEMENTS * TILE**2, "": pilot_hypotheses}
    p_sync, p_pilot = (
        min(1.0, n * _tail(lists[f"{kind}cosines"], lists[f"{kind}weights"])) for kind, n in searched.items()
    )
    return fisher_product(p_sync, p_pilot)


def _tail(cosines: Floats, weights: Floats) -> float:
    return cosine_sum_tail(weights, _total(cosines, weights))


def _total(cosines: Floats, weights: Floats) -> float:
    # math.fsum rounds once, so that the order of a machine's additions does not matter.
    return math.fsum(w * c for w, c in zip(weights.tolist(), cosines.tolist(), strict=True))


def _numbers(observations: Mapping[str, Any], name: str, count: int) -> Floats:
    values = observations.get(name)
    if not isinstance(values, list) or len(values) != count:
        raise InputError("the observations need {count} {name}", count=count, name=name)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= 1e6 for v in values):
        raise InputError("{name} holds something that is not a number in range", name=name)
    return np.array(values, dtype=np.float64)


def _flag(observations: Mapping[str, Any], name: str) -> bool:
    value = observations.get(name)
    if not isinstance(value, bool):
        raise InputError("the observations need {name}, true or false", name=name)
    return value


def _integer(observations: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = observations.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError("the observations need a whole number {name} in its range", name=name)
    return value
