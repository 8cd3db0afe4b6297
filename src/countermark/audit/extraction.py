"""Draw many outputs from a model, those first that it draws again and again, and stop once copies are proven.

The path: draws in batches, each from a seed of its own → cliques of near-equal outputs → looks, the members of the
largest cliques first → a decision after each look (N. Carlini et al., Extracting Training Data from Diffusion Models,
USENIX Security 2023, section 4.2, whose generate-and-filter has no decision).

Looking first at what is drawn often is a choice, and such outputs are not like held-out items: a model's most frequent
output is a simple picture, near to everything. So the p-value of a chosen output means nothing by itself. What holds is
the whole plan of ``draws`` outputs, each with a p-value of its own before anything is chosen. Null: each of the planned
outputs is as near to the training data as a held-out item is, or farther. An output that was not looked at counts as
p = 1 and e = 0, divided by the plan and not by what was looked at. Then

* ``simes`` over the plan only falls while more is looked at, and ends at that of all outputs;
* what e-BH over the plan calls copies only grows, and ends at what it calls so of all;

so at every look, in whatever order, either bounds what it would be at the end, and stopping at the first p-value of at
most ``level``, or with the first copy named, is wrong with probability at most ``level``. Looks cost nothing of the
level; draws that are planned and not made cost power. ``simes`` needs outputs from seeds of their own (the positive
dependence of conformal p-values) and soon says that there are copies; ``evidence`` needs nothing and says which: of the
named ones at most a share ``level`` are false on average, whatever was chosen and whenever it was stopped.

Laws:
    the p-value of the looks never rises, their evidence never falls;
    no output is looked at twice, and what is looked at is in no smaller a clique than what waits.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.audit.cliques import NEAR, Cliques, Images
from countermark.audit.sequential import Look, Plan, e_bh, e_values, simes
from countermark.audit.watch import Examiner, calibration_floor
from countermark.core.progress import Progress
from countermark.errors import InputError, require

TYPE = "countermark.extraction/1"
Stop = Literal["copies-found", "all-looked-at"]
RULES = ("simes", "evidence")
_SHOWN_CLIQUES, _SHOWN_MEMBERS = 100, 20


class Generator(Protocol):
    """What images are drawn from, as ``countermark.audit.models`` has it; one with a ``count`` has no more of them."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def sample(self, count: int, *, seed: int) -> Images:
        """Return images (count, h, w, c) that depend on the seed alone."""


@dataclass(frozen=True, slots=True)
class Clique:
    """Outputs that are near-equal, of which at most the first 20 are named.

    ``leader`` is the first; where it was looked at, ``nearest`` is the training image next to it, and ``p_value`` its.
    """

    size: int
    leader: int
    members: tuple[int, ...]
    nearest: int | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class Copy:
    """An output that is called a copy: its clique's size, and what the examiner said of it."""

    item: int
    nearest: int | None
    p_value: float
    clique: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was drawn, in which order it was looked at, and what came of it.

    Attributes:
        planned: outputs that level and evidence are divided by; ``drawn`` of them were drawn.
        seeds: one for each batch, in order.
        digest: SHA-256 of the bytes of all outputs in order.
        cliques: of two and more, the largest 100, largest first; ``grouped`` outputs are in any of them.
        order: outputs in the order in which they were looked at; ``p_values`` are theirs.
        looks: each with the p-value and the evidence of the plan as it then stood.
        stop: why it ended.
        copies: outputs called copies at a false discovery rate of ``level``; by ``simes`` there may be none as yet.
        pictures: the leaders of ``cliques``, (n, h, w, c).
    """

    generator: str
    planned: int
    drawn: int
    batch: int
    seeds: tuple[int, ...]
    digest: str
    near: float
    level: float
    rule: str
    cliques: tuple[Clique, ...]
    grouped: int
    order: tuple[int, ...]
    p_values: tuple[float, ...]
    looks: tuple[Look, ...]
    stop: Stop
    copies: tuple[Copy, ...]
    pictures: Images = field(compare=False, repr=False)

    @property
    def p_value(self) -> float:
        """Of "none of the planned outputs is nearer than held-out items are"; 1 before any look."""
        return self.looks[-1].p_value if self.looks else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "type": TYPE, "generator": self.generator, "planned": self.planned, "drawn": self.drawn,
            "batch": self.batch, "seeds": list(self.seeds), "digest": self.digest, "near": self.near,
            "level": self.level, "rule": self.rule, "grouped": self.grouped, "stop": self.stop,
            "cliques": [
                {
                    "size": each.size, "leader": each.leader, "members": list(each.members), "nearest": each.nearest,
                    "p": each.p_value,
                }
                for each in self.cliques
            ],
            "order": list(self.order), "p": list(self.p_values), "looks": [look.to_json() for look in self.looks],
            "copies": [
                {"item": each.item, "nearest": each.nearest, "p": each.p_value, "clique": each.clique}
                for each in self.copies
            ],
        }  # fmt: skip


def extract(
    generator: Generator, examiner: Examiner, *, draws: int = 10_000, batch: int = 256, look: int = 256, seed: int = 0,
    level: float = 0.05, rule: str = "simes", near: float = NEAR, singles: bool = True,
    progress: Progress | None = None,
) -> Extraction:  # fmt: skip
    """Draw up to ``draws`` images, look at the largest cliques first, and stop once the rule is met.

    Args:
        generator: draws images; batch i has the seed ``seed + i``. Of images that were drawn before, all are planned at
            once, and at most ``draws``.
        examiner: made of the training data and of held-out data of the same source.
        draws: planned, fixed beforehand; the level is for all of them.
        batch: images drawn before cliques are looked at again.
        look: images audited before the rule is asked again.
        seed: of the first batch.
        level: bound on the chance of a stop where nothing is copied, and on the share of false copies.
        rule: ``simes`` or ``evidence``.
        near: largest distance of two members of a clique, see ``cliques.tile_distance``.
        singles: look also at images that no other equals.
        progress: of images drawn.

    Raises:
        InputError: out of range, or not even copies of training data could meet the rule.
    """
    if draws < 1 or batch < 1 or look < 1:
        raise InputError("draws, batch and look are at least 1")
    if rule not in RULES:
        raise InputError("extraction is judged by simes or evidence, not by {rule}", rule=rule)
    held = getattr(generator, "count", None)
    if held is not None:
        draws = batch = min(draws, int(held))
    hunt = _Hunt(examiner, draws, level, rule, near, progress)
    drawn = 0
    seeds: list[int] = []
    while drawn < draws and not hunt.stopped:
        seeds.append(seed + len(seeds))
        images = _sample(generator, min(batch, draws - drawn), seeds[-1])
        drawn += len(images)
        hunt.add(images, _labels(generator, len(images)))
        hunt.look(look, least=1 if singles else 2)
    cliques = tuple(hunt.cliques())
    return Extraction(
        generator=generator.name, planned=draws, drawn=drawn, batch=batch, seeds=tuple(seeds), digest=hunt.digest,
        near=near, level=level, rule=rule, cliques=cliques, grouped=int((hunt.sizes() > 1).sum()),
        order=tuple(hunt.order), p_values=tuple(hunt.p[hunt.order].tolist()),
        looks=tuple(hunt.looks), stop="copies-found" if hunt.stopped else "all-looked-at",
        copies=tuple(hunt.copies()), pictures=hunt.take([each.leader for each in cliques]),
    )  # fmt: skip


class _Hunt:
    """The outputs so far, what is known of each, and the looks."""

    def __init__(
        self, examiner: Examiner, draws: int, level: float, rule: str, near: float, progress: Progress | None
    ) -> None:
        self._examiner, self._draws, self._progress, self._cliques = examiner, draws, progress, Cliques(near)
        # One look at all outputs: what the levels of a series would be divided by does not arise here.
        self._plan = Plan(level, 1, "evidence" if rule == "evidence" else "spending", calibration_floor(examiner))
        self._images: list[Images] = []
        self._labels: list[int | None] = []
        self._hash = hashlib.sha256()
        self.p = np.ones(draws)
        self.nearest: dict[int, int | None] = {}
        self.order: list[int] = []
        self.looks: list[Look] = []

    @property
    def stopped(self) -> bool:
        return bool(self.looks) and self.looks[-1].stop

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def add(self, images: Images, labels: Sequence[int] | None) -> None:
        first = self._images[0] if self._images else images
        if images.shape[1:] != first.shape[1:]:
            raise InputError(
                "a model's pictures are of one size, not of {one} and {other}",
                one=first.shape[1:], other=images.shape[1:],
            )  # fmt: skip
        self._cliques.add(images)
        self._images.append(images)
        self._labels += [None] * len(images) if labels is None else labels
        self._hash.update(images.tobytes())

    def sizes(self) -> NDArray[np.int64]:
        """Return the size of every output's clique."""
        of = self._cliques.of
        return np.bincount(of)[of]

    def look(self, count: int, *, least: int) -> None:
        """Look at all that wait in cliques of ``least`` and more, ``count`` at a time, until the rule is met."""
        sizes = self.sizes()
        waiting = sorted(set(np.flatnonzero(sizes >= least).tolist()) - set(self.order), key=lambda i: (-sizes[i], i))
        for start in range(0, len(waiting), count):
            chosen = waiting[start : start + count]
            self._judge(chosen, self.take(chosen))
            if self.stopped:
                break
        if self._progress is not None:
            self._progress(self._draws if self.stopped else len(sizes), self._draws, "images")

    def take(self, chosen: Sequence[int]) -> Images:
        """Return outputs by their numbers."""
        batch = len(self._images[0])  # only the last one is shorter
        rows = [self._images[i // batch][i % batch] for i in chosen]
        return np.stack(rows) if rows else self._images[0][:0]

    def _judge(self, chosen: list[int], images: Images) -> None:
        labels = [self._labels[i] for i in chosen]
        known: dict[str, Any] = {} if None in labels else {"labels": np.array(labels)}
        audit = self._examiner.audit(
            images, subject={"name": "extraction", "sampler": "largest cliques first"}, **known
        )
        for item, found in zip(chosen, audit.items, strict=True):
            self.p[item], self.nearest[item] = float(found.p), getattr(found, "nearest", None)
        self.order += chosen
        plan, number = self._plan, len(self.looks) + 1
        values = e_values(self.p, plan.floor)
        p_value, evidence = simes(self.p), float(values.mean())
        stop = len(e_bh(values, plan.level)) > 0 if plan.rule == "evidence" else p_value <= plan.level
        spent = plan.level * len(self.order) / self._draws
        step = len(self._cliques.of)
        self.looks.append(Look(number, step, len(chosen), p_value, spent, evidence, evidence, bool(stop)))

    def cliques(self) -> Iterator[Clique]:
        """Yield the largest cliques of two and more."""
        of = self._cliques.of
        for clique in np.argsort(-np.bincount(of), kind="stable")[:_SHOWN_CLIQUES]:
            members = np.flatnonzero(of == clique)
            if len(members) > 1:
                leader, shown = int(members[0]), tuple(members[:_SHOWN_MEMBERS].tolist())
                p_value = float(self.p[leader]) if leader in self.nearest else None
                yield Clique(len(members), leader, shown, self.nearest.get(leader), p_value)

    def copies(self) -> Iterator[Copy]:
        """Yield the outputs that e-BH over the plan calls copies."""
        sizes = self.sizes()
        for item in e_bh(e_values(self.p, self._plan.floor), self._plan.level).tolist():
            yield Copy(item, self.nearest[item], float(self.p[item]), int(sizes[item]))


def _labels(generator: Any, count: int) -> list[int] | None:
    labels = generator.labels(count) if hasattr(generator, "labels") else None
    return None if labels is None else [int(label) for label in labels]


def _sample(generator: Generator, count: int, seed: int) -> Images:
    drawn = generator.sample(count, seed=seed)
    if getattr(drawn, "dtype", None) != np.uint8 or drawn.ndim != 4 or len(drawn) != count:
        raise InputError("{name} did not draw {count} pictures of bytes", name=generator.name, count=count)
    return drawn


def contact_sheet(left: Images, beside: Sequence[Images | None]) -> bytes:
    """Return a PNG of pictures (n, h, w, c) beside others (h, w, c), or black; enlarged to about 128 pixels a side."""
    right = np.stack([np.zeros_like(left[0]) if each is None else each for each in beside])
    pillow = require("PIL.Image", "image")
    height, width = left.shape[1:3]
    gap = np.full((len(left), height, max(1, width // 8), left.shape[3]), 255, dtype=np.uint8)
    pairs = np.concatenate([left, gap, right], axis=2)
    pairs = np.concatenate([pairs, np.full_like(pairs[:, : max(1, height // 8)], 255)], axis=1)
    whole = pairs.reshape(-1, *pairs.shape[2:])
    scale = max(1, 128 // max(height, width))
    whole = whole.repeat(scale, axis=0).repeat(scale, axis=1)
    stream = io.BytesIO()
    pillow.fromarray(whole[:, :, 0] if whole.shape[2] == 1 else whole).save(stream, "PNG", optimize=True)
    return stream.getvalue()
