"""Was *my* work in it? Dataset inference: many works of one owner, against works of the owner that cannot have been.

One picture cannot answer it: attacks on the membership of a single picture fail on real models as soon as members and
non-members are of one distribution (C. Liang, J. You, CopyMark, arXiv:2409.11417). Many weak signals together can (P.
Maini et al., Dataset Inference, ICLR 2021 and, for language models, arXiv:2406.06443; J. Dubinski et al., CDI,
arXiv:2411.12858, who need 70 works). What differs here is the test. CDI fits a scoring model and compares means by a
t-test; we rank every work by a rule fixed beforehand and compare ranks by permutation, so that the p-value is exact for
any signals and any number of works, and nothing is fitted.

Null: works and unseen works are exchangeable as the model sees them. That is so if both come from one source and the
model was trained on neither. Then which of them are called works does not matter, and with B permutations
p = (1 + #{as low}) / (1 + B) is at most t with probability at most t (B. Phipson, G. K. Smyth, Stat. Appl. Genet. Mol.
Biol. 9, 2010). The permutations follow from the digests of the data, so nobody chose them.

What breaks it: unseen works of another kind (later ones in another style, another camera, another file format) differ
from the works for a model that saw neither. A two-sample check looks for that without the model; where it finds a
difference there is no answer. It cannot find every difference: who holds works back by lot before publishing needs no
such check.

Laws:
    p is at most t with probability at most t where works and unseen works are exchangeable, for every t;
    p does not depend on the order in which works are given, nor on strictly rising changes of a signal;
    what ``recompute`` accepts follows from the signals in the document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import rounded
from countermark.core.canonical import digest
from countermark.errors import HeldOutOverlap, InputError, ProofInvalid

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TYPE = "countermark.membership/1"
#: Fewer works than this are refused: J. Dubinski et al., arXiv:2411.12858, need 70 for a confidence of 99 %.
LEAST_WORKS = 70
PERMUTATIONS = 9_999
#: A p-value of the two-sample check below this says that works and unseen works differ without the model.
SAME_SOURCE_LEVEL = 0.05
Verdict = Literal["used", "no-sign", "cannot-tell"]
#: What the document says it does not say.
LIMITS = ("same-source-assumed", "no-sign-is-no-proof", "not-which-work", "samples-by-chance")
_MOST = 1_000_000
_CELLS = 4_000_000


@dataclass(frozen=True)
class Measured:
    """What is known of works and unseen works, in this order, one row each.

    Attributes:
        kind: ``images`` or ``texts``.
        works: how many rows are works; the rest are unseen.
        digest: of all rows and of which are works, ``sha256:…``; the permutations follow from it.
        signals: what the model says of each row; the less, the more like what it was trained on.
        traits: what is known of each row without the model.
        neighbor: the row that is most like each row, without the model.
    """

    kind: str
    works: int
    digest: str
    signals: Mapping[str, Floats]
    traits: Mapping[str, Floats]
    neighbor: Integers

    def __post_init__(self) -> None:
        """Check counts and shapes."""
        count = len(self.neighbor)
        columns = [*self.signals.values(), *self.traits.values()]
        if not self.signals or any(column.shape != (count,) or not np.isfinite(column).all() for column in columns):
            raise InputError("signals are finite, one of each work")
        if not ((self.neighbor >= 0) & (self.neighbor < count)).all():
            raise InputError("signals are finite, one of each work")
        check_counts(self.works, count - self.works)


def check_counts(works: int, unseen: int) -> None:
    """Check that there are works enough for an answer.

    Raises:
        InputError: fewer than 70 of either, or a million and more.
    """
    if min(works, unseen) < LEAST_WORKS:
        raise InputError(
            "{works} different works and {unseen} different unseen works are too few: at least {least} of each",
            hint="Each work is a weak sign, and fewer do not add up to an answer.",
            works=works, unseen=unseen, least=LEAST_WORKS,
        )  # fmt: skip
    if works + unseen > _MOST:
        raise InputError("at most {limit} works are compared", limit=_MOST)


@dataclass(frozen=True)
class Sign:
    """One signal or all together: exact p, and the chance that a work has a lower value than an unseen one."""

    p_value: float
    auc: float


@dataclass(frozen=True)
class Membership:
    """The answer, and all that it follows from.

    Attributes:
        p_value: of all signals together; ``floor`` is the least that the permutations can give.
        same_source: p-value of the two-sample check; below 0.05 there is no answer.
        signs: of each signal alone, for information: not corrected for their number.
    """

    subject: Mapping[str, Any]
    measured: Measured
    level: float
    permutations: int
    p_value: float
    auc: float
    same_source: float
    checks: Mapping[str, float]
    signs: Mapping[str, Sign]

    @property
    def floor(self) -> float:
        """The least p-value that can be had: 1 / (1 + permutations)."""
        return 1 / (1 + self.permutations)

    @property
    def verdict(self) -> Verdict:
        """``used``, ``no-sign``, or ``cannot-tell`` where works and unseen works differ without the model."""
        if self.same_source < SAME_SOURCE_LEVEL:
            return "cannot-tell"
        return "used" if self.p_value <= self.level else "no-sign"

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON; ``recompute`` follows it from the signals."""
        known = self.measured
        return {
            "type": TYPE, "kind": known.kind, "subject": dict(self.subject),
            "works": known.works, "unseen": len(known.neighbor) - known.works, "digest": known.digest,
            "signals": {name: values.tolist() for name, values in known.signals.items()},
            "traits": {name: values.tolist() for name, values in known.traits.items()},
            "neighbor": known.neighbor.tolist(),
            "test": {
                "p": self.p_value, "auc": self.auc, "floor": self.floor, "permutations": self.permutations,
                "signals": {name: {"p": sign.p_value, "auc": sign.auc} for name, sign in self.signs.items()},
            },
            "same_source": {
                "p": self.same_source, "checks": dict(self.checks), "warning": self.same_source < SAME_SOURCE_LEVEL,
            },
            "level": self.level, "verdict": self.verdict,
            "reason": "not-comparable" if self.verdict == "cannot-tell" else None, "limits": list(LIMITS),
        }  # fmt: skip


def infer(
    measured: Measured, *, level: float = 0.01, permutations: int = PERMUTATIONS,
    subject: Mapping[str, Any] | None = None,
) -> Membership:  # fmt: skip
    """Decide whether a model was trained on works.

    Args:
        measured: signals and traits of works and unseen works.
        level: bound on the chance of ``used`` where the model saw none of them.
        permutations: B, from 99 to 999,999.
        subject: which model, which outputs; goes into the document.

    Raises:
        InputError: a level that the permutations cannot reach.
    """
    if not 99 <= permutations < 1_000_000:
        raise InputError("permutations are 99 to 999999, not {count}", count=permutations)
    if not 1 / (1 + permutations) <= level <= 0.5:
        raise InputError(
            "with {count} permutations a level lies between {floor} and 0.5, not at {level}",
            count=permutations, floor=f"{1 / (1 + permutations):.2g}", level=level,
        )  # fmt: skip
    ranks = {name: doubled_ranks(values) for name, values in measured.signals.items()}
    joined = doubled_ranks(np.sum(list(ranks.values()), axis=0))
    traits = [doubled_ranks(values) for values in measured.traits.values()]
    rows = np.array([joined, *ranks.values(), *traits])
    least, most, alike = _permuted(rows, measured, permutations)
    signs = 1 + len(ranks)
    p_values = (1 + least) / (1 + permutations)
    aucs = [_auc(row, measured.works) for row in rows[:signs]]
    two_sided = np.minimum(1.0, 2 * np.minimum(1 + least, 1 + most)[signs:] / (1 + permutations))
    checks = dict(zip(measured.traits, two_sided.tolist(), strict=True))
    checks["neighbors"] = (1 + alike) / (1 + permutations)
    return Membership(
        subject=subject or {}, measured=measured, level=level, permutations=permutations, p_value=float(p_values[0]),
        auc=aucs[0], same_source=min(1.0, len(checks) * min(checks.values())), checks=checks,
        signs={name: Sign(float(p_values[1 + i]), aucs[1 + i]) for i, name in enumerate(ranks)},
    )  # fmt: skip


def recompute(document: Mapping[str, Any]) -> Membership:
    """Follow a document from its signals.

    Raises:
        InputError: not such a document.
        ProofInvalid: it says something that does not follow from its signals.
    """
    try:
        known = Measured(
            str(document["kind"]), int(document["works"]), str(document["digest"]),
            {str(name): _column(values) for name, values in document["signals"].items()},
            {str(name): _column(values) for name, values in document["traits"].items()},
            np.array(document["neighbor"], dtype=np.int64),
        )  # fmt: skip
        level, permutations = float(document["level"]), int(document["test"]["permutations"])
        answer = infer(known, level=level, permutations=permutations, subject=document["subject"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError("not an answer about works: {reason}", reason=error) from error
    if answer.to_json() != dict(document):
        raise ProofInvalid("the answer about works does not follow from its signals")
    return answer


@dataclass(frozen=True)
class OneWork:
    """Where one work stands among unseen ones: 1 is the most like what the model was trained on. Never a verdict."""

    rank: int
    among: int
    signals: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the rank as JSON, with the reason why it decides nothing."""
        return {
            "type": TYPE, "works": 1, "unseen": self.among - 1, "rank": self.rank, "among": self.among,
            "signals": dict(self.signals), "reliable": False, "verdict": "cannot-tell", "reason": "single-work",
        }  # fmt: skip


def rank_one(signals: Mapping[str, Floats]) -> OneWork:
    """Rank one work, the first row of every signal, among unseen works, the other rows; ties count against it."""
    ranks = {name: doubled_ranks(rounded(values)) for name, values in signals.items()}
    joined = np.sum(list(ranks.values()), axis=0)
    each = {name: int((row <= row[0]).sum()) for name, row in ranks.items()}
    return OneWork(int((joined <= joined[0]).sum()), len(joined), each)


def doubled_ranks(values: NDArray[Any]) -> Integers:
    """Return twice the ranks from 1 on, ties at their mean: whole numbers, so that sums compare exactly."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (2 * last - counts + 1)[inverse].astype(np.int64)


def distinct(works: list[str], unseen: list[str]) -> tuple[list[int], list[int]]:
    """Return the places of different works and unseen works, ordered by their digests.

    Raises:
        HeldOutOverlap: a work is called unseen, too.
    """
    first = [{each: len(digests) - 1 - i for i, each in enumerate(reversed(digests))} for digests in (works, unseen)]
    shared = first[0].keys() & first[1].keys()
    if shared:
        raise HeldOutOverlap(
            "{count} works are called unseen, too", count=len(shared),
            hint="Unseen works are works that cannot have been in the training data.",
        )  # fmt: skip
    return [first[0][each] for each in sorted(first[0])], [first[1][each] for each in sorted(first[1])]


def digest_rows(works: list[str], unseen: list[str]) -> str:
    """Return a digest of works and unseen works, whatever their order."""
    data = "\n".join([*sorted(works), "", *sorted(unseen)])
    return f"sha256:{digest('membership/1', data.encode()).hex()}"


def _permuted(rows: Integers, measured: Measured, permutations: int) -> tuple[Integers, Integers, int]:
    """Return how many permutations have sums of ranks at most those seen, at least those, and as many like pairs."""
    count, works = rows.shape[1], measured.works
    seen = rows[:, :works].sum(axis=1)
    ours = np.arange(count) < works
    alike_seen = int((ours == ours[measured.neighbor]).sum())
    least, most, alike = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64), 0
    generator = np.random.Generator(np.random.PCG64(_seed(measured, permutations)))
    step = max(1, _CELLS // count)
    # Sums of ranks stay far below 2**53, so they are exact as floats, which multiply faster.
    columns = rows.T.astype(np.float64)
    for start in range(0, permutations, step):
        lots = generator.random((min(step, permutations - start), count))
        chosen = lots <= np.partition(lots, works - 1, axis=1)[:, works - 1 : works]
        sums = chosen.astype(np.float64) @ columns
        least += (sums <= seen).sum(axis=0)
        most += (sums >= seen).sum(axis=0)
        alike += int(((chosen == chosen[:, measured.neighbor]).sum(axis=1) >= alike_seen).sum())
    return least, most, alike


def _seed(measured: Measured, permutations: int) -> int:
    said = f"{measured.kind} {measured.digest} {measured.works} {len(measured.neighbor)} {permutations}"
    return int.from_bytes(digest("membership-permutations/1", said.encode())[:16], "big")


def _auc(ranks: Integers, works: int) -> float:
    """Return the chance that a work's value is below an unseen one's, ties one half."""
    unseen = len(ranks) - works
    above = int(ranks[works:].sum()) / 2 - unseen * (unseen + 1) / 2
    return above / (works * unseen)


def _column(values: Any) -> Floats:
    column = np.array(values, dtype=np.float64)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise InputError("signals are finite, one of each work")
    return column
