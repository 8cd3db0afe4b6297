"""Marks in and out of carriers. A mark carries an opaque 64-bit word; what the word means is decided by a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What a detector saw, with the probability of seeing as much by chance.

    ``p_value`` is p_ours: an upper bound, under "this carries no mark of this key", on the probability of a statistic
    at least as large, corrected for the ``searched`` hypotheses. It never uses a checksum or the payload. ``word`` is
    the decoded 64-bit word, meaningful only where ``p_value`` is small, and the first of ``words``, the candidates of
    the decoder, best first; ``words_tried`` counts every word that was or could be looked up (D of rule 7). ``nonce``
    says which pattern of the key's family the carrier holds. ``observations`` is a JSON value from which ``recompute``
    of the method's module yields ``p_value``, ``statistic``, ``words`` and ``nonce`` again without the key and without
    the carrier.

    A detection is not a yes or a no: ``bool()`` raises ``TypeError``; ask ``significant(alpha)``.
    """

    method: str
    key_id: str
    p_value: float
    statistic: float
    trials: int
    searched: int
    word: int | None
    words_tried: int
    words: tuple[int, ...] = ()
    nonce: int | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)
    observations: Mapping[str, Any] = field(default_factory=dict)

    def significant(self, alpha: float) -> bool:
        """Whether the null is rejected at level ``alpha``."""
        return self.p_value <= alpha

    def __bool__(self) -> NoReturn:
        raise TypeError("a detection is not a boolean; ask detection.significant(alpha)")


@dataclass(frozen=True, slots=True)
class NotExamined:
    """The carrier was not examined, because ``reason`` (a stable slug); ``detail`` is for people."""

    reason: str
    detail: str
