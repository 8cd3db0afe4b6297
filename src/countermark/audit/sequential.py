"""Many looks at one model: what they prove together, whatever binds one look to the next.

Looks at one model, or at the checkpoints of one training run, share training images, held-out images and weights, so
their p-values depend on each other in ways nobody knows. Whatever multiplies them (Fisher's method, a product of
e-values, a likelihood ratio that runs on) is not valid here: a product has expectation 1 only where each factor has it
given all earlier ones. Sums are valid:

* *spending*: look k is tested at a level of its own, and the levels sum to at most ``level`` (Boole's inequality);
* *evidence*: an e-value is a statistic that is never negative and has expectation at most 1 under the null (V. Vovk,
  R. Wang, Ann. Statist. 49, 2021). A sum of e-values with fixed weights that sum to at most 1 is one again, and it
  never falls; so by Markov's inequality it ever reaches 1 / level with probability at most ``level``.

A p-value becomes an e-value through a fixed function that falls and has mean 1 on [0, 1]. Ours is 1 / p between the
floor, the least p-value that the calibration can give, and ``REACH``, and 0 above.

Laws:
    ``shares`` are positive and sum to at most 1, over any number of looks;
    ``simes`` lies between the least p-value and that times their number, rises with each of them, and of uniform
    p-values that are independent, or equal, is at most a with probability at most a;
    ``e_values`` fall in p, are never negative, and have mean 1 over the uniform law;
    ``e_bh`` names outputs of which, on average, at most a share ``level`` are false, under any dependence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.errors import InputError

#: What ends a series of looks.
Rule = Literal["spending", "evidence"]
RULES: tuple[Rule, ...] = ("spending", "evidence")
#: p-values above it count for nothing as evidence of a copy.
REACH = 0.01


def simes(p_values: ArrayLike) -> float:
    """Return the p-value of "all of these nulls hold": the least of n p / rank (R. J. Simes, Biometrika 73, 1986).

    Valid for independent p-values and for the positive dependence of conformal p-values that share one calibration
    (S. Bates, E. Candes, L. Lei, Y. Romano, M. Sesia, Ann. Statist. 51, 2023, theorem 2). 1 of none.
    """
    values = np.sort(_probabilities(p_values))
    if not len(values):
        return 1.0
    return float(min(1.0, (len(values) * values / np.arange(1, len(values) + 1)).min()))


def e_values(p_values: ArrayLike, floor: float) -> NDArray[np.float64]:
    """Turn p-values into e-values: 1 / p over its mean between ``floor`` and ``REACH``.

    Args:
        p_values: in [0, 1], each at most a with probability at most a under its null.
        floor: the least that they can be, in (0, 1]; one below it counts as the floor. Fixed beforehand.

    Raises:
        InputError: a p-value or a floor out of range.
    """
    values = np.maximum(_probabilities(p_values), _checked_floor(floor))
    reach = max(REACH, floor)
    # The integral of 1 / max(p, floor) from 0 to reach.
    return np.where(values <= reach, 1.0 / (values * (1.0 + math.log(reach / floor))), 0.0)


def e_bh(evidence: ArrayLike, level: float) -> NDArray[np.intp]:
    """Return which of n nulls are rejected, of e-values in any order: the k largest, where each is n / (level k).

    The e-Benjamini-Hochberg procedure (R. Wang, A. Ramdas, J. R. Stat. Soc. B 84, 2022): false discovery rate at most
    ``level`` under any dependence. An e-value that was not looked at counts as 0, so the choice of what to look at and
    when to stop costs nothing but power.
    """
    values = np.asarray(evidence, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    enough = np.flatnonzero(values[order] * np.arange(1, len(values) + 1) >= len(values) / level)
    return np.sort(order[: enough[-1] + 1]) if len(enough) else np.empty(0, dtype=np.intp)


def share(look: int, looks: int | None) -> float:
    """Return the share of the level that look 1, 2, ... has: equal ones where their number is planned.

    Without a plan 1 / (k (k + 1)), which sum to 1. 0 beyond the plan.
    """
    if looks is None:
        return 1.0 / (look * (look + 1))
    return 1.0 / looks if look <= looks else 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look, counted whether it said anything or not.

    ``step`` is where in the training or the drawing it stood, ``count`` how many outputs were judged, ``p_value`` of
    them together (Simes), ``spent`` the level that the look was worth, ``evidence`` its e-value, ``total`` the weighted
    sum of all so far, ``stop`` whether the rule was met.
    """

    number: int
    step: int
    count: int
    p_value: float
    spent: float
    evidence: float
    total: float
    stop: bool

    def to_json(self) -> dict[str, object]:
        """Return the look as JSON."""
        return {
            "look": self.number, "step": self.step, "count": self.count, "p": self.p_value, "spent": self.spent,
            "evidence": self.evidence, "total": self.total, "stop": self.stop,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """How a series of looks is judged, fixed before the first.

    Null: at every look, each output is as near to the training data as a held-out item is, or farther. Under it the
    series ever stops with probability at most ``level``.

    Args:
        level: in (0, 0.5].
        looks: how many there will be, or None for any number.
        rule: ``spending`` or ``evidence``.
        floor: the least p-value that the calibration can give.

    Raises:
        InputError: out of range, or not even copies of training data could meet the rule.
    """

    level: float
    looks: int | None
    rule: Rule
    floor: float

    def __post_init__(self) -> None:
        if not 0 < self.level <= 0.5:
            raise InputError("a level lies between 0 and 0.5, not at {level}", level=self.level)
        if self.rule not in RULES:
            raise InputError("looks are judged by spending or evidence, not by {rule}", rule=self.rule)
        if self.looks is not None and self.looks < 1:
            raise InputError("plan at least one look")
        reached = self.share(1) * self.level >= _checked_floor(self.floor)
        if self.rule == "evidence":
            reached = float(e_values([self.floor], self.floor)[0]) * self.level >= 1
        if not reached:
            raise InputError(
                "no look could ever stop: with these held-out data no p-value is below {floor}",
                hint="Use more held-out data, fewer looks or a higher level.",
                floor=f"{self.floor:.2g}",
            )

    def share(self, look: int) -> float:
        """Return the share of the level that a look has."""
        return share(look, self.looks)

    def judge(self, number: int, step: int, total: float, p_values: ArrayLike) -> Look:
        """Judge look ``number`` (from 1) after earlier ones that sum to ``total``.

        Args:
            number: counts every look that began, also those whose result was lost.
            step: where it stands.
            total: weighted sum of the evidence of all earlier looks.
            p_values: of the outputs of this look, one each.
        """
        values = _probabilities(p_values)
        weight, p_value = self.share(number), simes(values)
        evidence = float(e_values(values, self.floor).mean()) if len(values) else 0.0
        total += weight * evidence
        spent = weight * self.level
        stop = total >= 1 / self.level if self.rule == "evidence" else p_value <= spent and spent > 0
        return Look(number, step, len(values), p_value, spent, evidence, total, bool(stop))


def _probabilities(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError("p-values lie between 0 and 1")
    return array


def _checked_floor(floor: float) -> float:
    if not 0 < floor <= 1:
        raise InputError("the least possible p-value lies between 0 and 1, not at {floor}", floor=floor)
    return floor
