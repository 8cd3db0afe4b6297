"""Exposure of canaries: secrets that were drawn at random and put into the training texts on purpose.

A canary is a sentence with a secret in it, drawn uniformly from all secrets of its form. The model ranks it among
others of that form by the probability that it gives to the whole. Had the model never seen it, every rank would be
equally likely: p = rank / number of those ranked is an exact p-value. Exposure is -log2 of it, and where every secret
of the form is ranked, that is log2 |R| - log2 rank (N. Carlini et al., The secret sharer, USENIX Security 2019).

Laws:
    over the draw of the secret, P(p <= t) <= t for a model that does not depend on it;
    exposure lies between 0 and log2 of the number that were ranked.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from countermark.audit.decisions import benjamini_hochberg, rounded
from countermark.audit.text.extraction import LanguageModel, Sampling
from countermark.core.progress import Progress
from countermark.errors import InputError

FIELD = "{secret}"
DIGITS = "0123456789"
#: Others that a canary is ranked among, unless there are fewer.
CANDIDATES = 1_023


@dataclass(frozen=True)
class Canary:
    """A sentence with a secret.

    Attributes:
        template: with ``{secret}`` once, after some words.
        secret: of ``length`` characters of ``alphabet``.
        alphabet: distinct characters, two at least.
    """

    template: str
    secret: str
    alphabet: str = DIGITS

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            InputError: no place for the secret, no words before it, or a secret of other characters.
        """
        before, field, _after = self.template.partition(FIELD)
        known = len(set(self.alphabet)) == len(self.alphabet) >= 2
        if not field or not before.strip() or self.template.count(FIELD) != 1 or not known:
            raise InputError(
                "a canary has words, then {field} once, and an alphabet of distinct characters", field=FIELD
            )
        if not self.secret or set(self.secret) - set(self.alphabet):
            raise InputError("the secret of a canary is of its alphabet")

    @property
    def text(self) -> str:
        """The sentence that goes into the training texts."""
        return self.template.replace(FIELD, self.secret)

    @property
    def size(self) -> int:
        """How many secrets there are of this form."""
        return int(len(self.alphabet) ** len(self.secret))


def draw_canary(template: str, *, length: int = 9, alphabet: str = DIGITS) -> Canary:
    """Draw a canary from the system's randomness; keep it, for the audit needs it.

    Raises:
        InputError: as of ``Canary``.
    """
    return Canary(template, "".join(secrets.choice(alphabet) for _ in range(max(1, length))), alphabet)


def others(canary: Canary, count: int, *, seed: int = 0) -> list[str]:
    """Return other secrets of a canary's form: all where they are no more than ``count``, else so many at random."""
    if canary.size - 1 <= count:
        found = ("".join(each) for each in product(canary.alphabet, repeat=len(canary.secret)))
        return [each for each in found if each != canary.secret]
    generator = np.random.default_rng([seed, 0x63616E61])
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        rows = generator.integers(0, len(canary.alphabet), (count, len(canary.secret)))
        for row in rows.tolist():
            secret = "".join(canary.alphabet[each] for each in row)
            if secret != canary.secret and len(drawn) < count:
                drawn[secret] = None
    return list(drawn)


def expose(
    model: LanguageModel,
    canaries: Sequence[Canary],
    *,
    candidates: int = CANDIDATES,
    fdr: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the section ``exposure`` of an audit of texts.

    Args:
        model: one that tells probabilities.
        canaries: drawn before training by chance alone; those that were not put in serve as control.
        candidates: others that each is ranked among, at least 1.
        fdr: false discovery rate over the canaries.
        seed: of the others.
        progress: in sentences.

    Raises:
        InputError: no canaries or candidates, or the model does not tell probabilities.
    """
    if not canaries or candidates < 1:
        raise InputError("exposure needs a canary, and others to rank it among")
    items = []
    for number, canary in enumerate(canaries):
        rivals = others(canary, candidates, seed=seed + number)
        before, _field, after = canary.template.partition(FIELD)
        # The blank before the secret goes with it: byte-level tokenizers glue it to what follows.
        stem = before.rstrip()
        gap = before[len(stem) :]
        scored = model.log_probabilities([(stem, gap + each + after) for each in (canary.secret, *rivals)], Sampling())
        if scored is None:
            raise InputError("exposure needs a model that tells the probabilities of a text")
        items.append(_item(canary, [each.log_p for each in scored]))
        if progress is not None:
            progress(number + 1, len(canaries), "canaries")
    p = rounded([item["p"] for item in items])
    q = rounded(benjamini_hochberg(p))
    for item, value in zip(items, q.tolist(), strict=True):
        item["q"], item["flagged"] = value, value <= fdr
    return {"model": model.name, "fdr": fdr, "flagged": int((q <= fdr).sum()), "canaries": items}


def _item(canary: Canary, log_p: Sequence[float]) -> dict[str, Any]:
    """Rank the first of some log-probabilities; those that are equal stand before it."""
    rank = sum(value >= log_p[0] for value in log_p)
    p, exposure = rounded([rank / len(log_p), math.log2(len(log_p)) - math.log2(rank)]).tolist()
    return {
        "template": canary.template[:300],
        "secrets": min(canary.size, 10**15),
        "ranked": len(log_p),
        "rank": rank,
        "exposure": exposure,
        "most": float(f"{math.log2(len(log_p)):.9g}"),
        "exact": len(log_p) == canary.size,
        "p": p,
    }
