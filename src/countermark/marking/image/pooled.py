"""p_ours of several pictures under one lattice key, whatever the pictures have to do with one another.

The null is "none of these pictures depends on the key". What is random under it is the key alone, so the pictures may
be copies, crops or neighbors of one another, and p-values of theirs must not be multiplied as if they were independent.
The pilots' statistics can be added, though. Take, for any choice S of the pictures, ``T = sum over S of sum w_k
cos(U_k)`` with an alignment and a nonce for each (``observations``). A nonce is a pair (a, b), and each of its pilot
phases is one of a's, or one of a's and one of b's added up; all of these are independent and uniform. So where the
pictures of S are of different hands a, all U_k of S are independent and uniform, pictures being fixed, and
``cosine_sum_tail`` bounds P(T >= t). Of the pictures of one hand the best counts. So do copies of a picture, once, as
they have its nonce.

The bound is multiplied by all hypotheses that S could have been read under, and by the choices of S: C(K, m) of m out
of K pictures, for each of the sizes m up to ``_MOST`` that are tried. The sync lines are the same in all pictures, so
of them the best picture's count, K times. Both are joined as in one picture, by Fisher's product. Bonferroni's K min p
is taken instead where it is less, and the lesser of the two is doubled for that choice.

Laws:
    ``pooled_p_value`` of one picture is its own; it does not depend on the pictures' order;
    with copies of pictures that are there it is never less than without;
    at most 2 K times the least p-value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from countermark.core.stats import cosine_sum_tail, fisher_product
from countermark.marking.image.observations import MAX_PLACEMENTS, hypotheses, recompute
from countermark.marking.image.pattern import TILE, TURNS

# So many pictures add up at most; what others there are costs a little and gives nothing.
_MOST = 16
_LEAST_TAIL = 1e-300

_Seen = Mapping[str, Any]


def pooled_p_value(observations: Sequence[_Seen]) -> float:
    """Bound, under "none of these pictures depends on the key", the probability of observations as telling as these.

    Args:
        observations: of a detection by the lattice mark in each picture, at least one.

    Raises:
        InputError: malformed observations.
    """
    least = min(recompute(each).p_value for each in observations)
    if len(observations) == 1:
        return least
    joined = fisher_product(math.exp(_log_sync(observations)), math.exp(_log_pilots(observations)))
    return min(1.0, 2 * min(len(observations) * least, joined))


def _log_sync(observations: Sequence[_Seen]) -> float:
    """Return the logarithm of a p-value by the sync lines."""
    searched = math.log(MAX_PLACEMENTS * TILE**2)
    return min(0.0, math.log(len(observations)) + min(_log_tail([each], "sync_") + searched for each in observations))


def _log_pilots(observations: Sequence[_Seen]) -> float:
    """Return the logarithm of a p-value by the pilots, given the sync lines' phases."""
    count, sizes = len(observations), min(_MOST, len(observations))
    chosen = _of_different_hands(sorted(observations, key=lambda seen: _log_tail([seen]) + _log_searched([seen])))[
        :sizes
    ]
    tails = [_log_tail(chosen[:size]) + _log_searched(chosen[:size]) for size in range(1, len(chosen) + 1)]
    tried = (tail + math.log(math.comb(count, size)) for size, tail in enumerate(tails, start=1))
    return min(0.0, math.log(sizes) + min(tried))


def _log_tail(pictures: Sequence[_Seen], kind: str = "") -> float:
    """Bound the logarithm of P(T >= t) for the added statistics of some lines of pictures, at one hypothesis each."""
    weights = [weight for seen in pictures for weight in seen[f"{kind}weights"]]
    cosines = [cosine for seen in pictures for cosine in seen[f"{kind}cosines"]]
    total = math.fsum(w * c for w, c in zip(weights, cosines, strict=True))
    windows = sum(math.log(seen["windows"]) for seen in pictures)
    return windows + math.log(max(_LEAST_TAIL, cosine_sum_tail(weights, total)))


def _log_searched(pictures: Sequence[_Seen]) -> float:
    return sum(math.log(hypotheses(anchored=seen["anchored"])) for seen in pictures)


def _of_different_hands(pictures: Sequence[_Seen]) -> list[_Seen]:
    """Leave out every picture whose hand is that of one before it."""
    kept: dict[int, _Seen] = {}
    for seen in pictures:
        kept.setdefault(seen["nonce"] // TURNS, seen)
    return list(kept.values())
