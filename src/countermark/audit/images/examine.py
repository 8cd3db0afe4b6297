"""The examiner of images: the index of what was trained on, calibrated on what was not, asked about outputs.

Every image goes the same way, held out or generated: through the same index, with the same neighbours, to one score by
one fixed function. What that way loses (a missed neighbour, another label) it loses for both, so it costs power and
never the error rate.

Laws:
    ``audit`` of a document's samples gives a document that ``result.recompute`` accepts;
    a saved examiner, opened with the same data, gives the same audits, and is refused with others;
    unseen sets and the same-source sample are drawn by the digests of the data: nobody chose them.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import (
    LEAST_DISTANCE,
    SAME_SOURCE_LEVEL,
    Floats,
    rounded,
    source_cutoffs,
    two_sample,
)
from countermark.audit.documents import (
    Calibration,
    Changed,
    Data,
    HeldOut,
    ImageAudit,
    ImageItem,
    Method,
    ModelTest,
    Near,
    SameSource,
    Samples,
    Subject,
    Train,
)
from countermark.audit.images.measuring import Bytes, Descriptor, Integers, Measured, Way, way_of
from countermark.audit.images.search import Engine, Index, exact_index, rmse
from countermark.audit.images.store import ImageStore, duplicates, overlap
from countermark.audit.result import decide, judged, model_test, most_copied, ratios, untested
from countermark.audit.shapes import read, write
from countermark.core.canonical import canonical_json, parse_json
from countermark.core.progress import Progress
from countermark.errors import HeldOutOverlap, IndexMismatch, InputError, NotFoundError

SAVED = "countermark.memorization-examiner/1"
#: Unseen sets smaller than this are not worth ranking.
LEAST_SET = 10
_MOST_OVERLAP = 0.01
_NEAR_NAMED = 20
_SAME_SOURCE_IMAGES = 1000
_MOST_BYTES = 2**30
_FEW = 1000


@dataclass(frozen=True)
class Prepared:
    """What is known of the data before any output: all that a saved examiner keeps."""

    train: Train
    held_out: HeldOut
    notes: tuple[str, ...]
    method: Method
    calibration: Calibration
    same_source: SameSource
    unseen_sets: int


class Examiner:
    """Answers whether outputs lie nearer to the training images than unseen images do.

    Attributes:
        prepared: calibration, overlap, near-duplicates, same-source check; all that does not depend on outputs.
    """

    def __init__(self, train: ImageStore, held_out: ImageStore, prepared: Prepared, measure: Way) -> None:
        self.prepared = prepared
        self._train, self._held_out, self._measure = train, held_out, measure
        self._unseen: list[Index] | None = None

    @property
    def calibration(self) -> Calibration:
        """Scores and distances of held-out images: the null curve."""
        return self.prepared.calibration

    @property
    def train(self) -> ImageStore:
        """The training images."""
        return self._train

    @classmethod
    def prepare(
        cls,
        train: ImageStore,
        held_out: ImageStore,
        *,
        same_label: bool = False,
        align: bool = False,
        descriptor: Descriptor | None = None,
        engine: Engine = "auto",
        index: Index | None = None,
        unseen_sets: int = 19,
        directory: Path | None = None,
        progress: Progress | None = None,
    ) -> Examiner:
        """Build the index and calibrate it.

        Args:
            train: what the model was trained on.
            held_out: images of the same source that it was not trained on; at least 19 for a rate of 5 %.
            same_label: search among training images of the same label only; copies under another label are lost.
            align: let the lesser of raw and aligned distance decide (gain, offset, mirror, shifts up to 2 pixels).
            descriptor: let distances of descriptors decide instead of pixels.
            engine: of the exact search.
            index: another index over ``train``, for example an approximate one.
            unseen_sets: K of the rank test.
            directory: also save the examiner there.
            progress: told held-out images that are done.

        Raises:
            HeldOutOverlap: more than 1 % of the held-out images stand byte for byte among the training images.
            InputError: shapes differ, labels are missing, alignment and descriptor at once, too few images.
        """
        measure, method = way_of(train, same_label, align, descriptor, engine, index)
        if train.shape != held_out.shape:
            raise InputError(
                "training images are {train} and held-out images {held_out}: they must have one shape",
                train="x".join(map(str, train.shape)),
                held_out="x".join(map(str, held_out.shape)),
            )
        if same_label and held_out.labels is None:
            raise InputError("the search by label needs labels of the training, the held-out and the examined images")
        if unseen_sets < 1:
            raise InputError("the rank test needs at least one unseen set")
        found = _refused_overlap(train, held_out)
        measured = measure(held_out, held_out.labels if same_label else None, progress)
        prepared = Prepared(
            train=Train(train.data_name, train.count, train.digest, train.shape, duplicates(train)),
            held_out=HeldOut(
                held_out.data_name,
                held_out.count,
                held_out.digest,
                held_out.shape,
                duplicates(held_out),
                found,
                _nearest_held_out(measured),
            ),
            notes=tuple(dict.fromkeys((*train.notes, *held_out.notes))),
            method=method,
            calibration=_calibration(measured),
            same_source=_same_source(train, held_out, measure.plain(), measured, same_label),
            unseen_sets=unseen_sets,
        )
        examiner = cls(train, held_out, prepared, measure)
        if directory is not None:
            examiner.save(directory)
        return examiner

    def save(self, directory: Path) -> None:
        """Write ``examiner.json``: the calibration and the digests of the data, not the data."""
        directory.mkdir(parents=True, exist_ok=True)
        kept = canonical_json({"type": SAVED, **write(self.prepared)})
        part = directory / "examiner.json.part"
        part.write_bytes(kept)
        part.replace(directory / "examiner.json")

    @classmethod
    def open(
        cls,
        directory: Path,
        train: ImageStore,
        held_out: ImageStore,
        *,
        descriptor: Descriptor | None = None,
        engine: Engine = "auto",
        index: Index | None = None,
    ) -> Examiner:
        """Open a saved examiner without calibrating again.

        Raises:
            NotFoundError: nothing is saved there.
            HostileFile: what is saved is malformed.
            IndexMismatch: it was made from other data, another descriptor, another statistic or another index.
        """
        prepared = _saved(directory)
        method = prepared.method
        measure, now = way_of(train, method.same_label, method.aligned, descriptor, engine, index)
        for name, kept, given in (
            ("train.digest", prepared.train.digest, train.digest),
            ("held_out.digest", prepared.held_out.digest, held_out.digest),
            ("method.descriptor", method.descriptor, now.descriptor),
            ("method.statistic", method.statistic, now.statistic),
            ("method.neighbours", method.neighbours, now.neighbours),
            ("method.index", _kind(method.index), _kind(now.index)),
        ):
            if kept != given:
                raise IndexMismatch(
                    "the saved examiner is of other data or settings: its {what} is {kept}, not {given}",
                    hint="Prepare it again from these data.",
                    what=name,
                    kept=kept,
                    given=given,
                )
        return cls(train, held_out, prepared, measure)

    def audit(
        self,
        samples: Bytes | ImageStore,
        labels: NDArray[Any] | None = None,
        *,
        fdr: float = 0.05,
        subject: Mapping[str, Any] | None = None,
        made_at: str | None = None,
        progress: Progress | None = None,
    ) -> ImageAudit:
        """Examine outputs.

        Args:
            samples: (n, h, w) or (n, h, w, c) uint8, of the training images' shape.
            labels: (n,), needed where the search is by label.
            fdr: false discovery rate, in (0, 1).
            subject: ``name``, ``weights`` (digest), ``sampler``, ``seed``, ``drawn``: what is known of the model.
            made_at: date of the document.
            progress: told outputs that are done.

        Raises:
            InputError: another shape, missing labels, or a rate outside (0, 1).
        """
        store = samples if isinstance(samples, ImageStore) else ImageStore.of(samples, labels)
        if not 0.0 < fdr < 1.0:
            raise InputError("the false discovery rate is between 0 and 1, and {fdr} is not", fdr=fdr)
        measured = self._examined(store, progress)
        scores, known = measured.scores, self.calibration.scores
        p, q = judged(scores, known)
        flags = [bool(flag) for flag in q <= fdr]
        items = self._items(store, measured, p, q, flags)
        sources = [(item.item, item.source) for item in items if item.flagged]
        tested = self._model_test(store)
        prepared = self.prepared
        return ImageAudit(
            subject=_subject(store, subject or {}),
            data=Data(prepared.train, prepared.held_out, tuple(dict.fromkeys((*prepared.notes, *store.notes)))),
            method=replace(prepared.method, fdr=fdr),
            calibration=self.calibration,
            items=items,
            decision=decide(scores, known, flags, fdr),
            model_test=tested,
            same_source=prepared.same_source,
            cutoffs=source_cutoffs(measured.rmse, self.calibration.rmse, self._train.dims),
            copied=most_copied(sources, {source: self._train.name(source) for _, source in sources}),
            limits=self._limits(subject or {}, tested, store),
            versions=_versions(),
            made_at=made_at,
        )

    def look(self, image: Bytes, label: int | None = None) -> ImageItem:
        """Examine one image: q is p, and ``flagged`` says p <= 5 %; many looks need ``audit``.

        Args:
            image: (h, w) or (h, w, c) uint8.
            label: where the search is by label.

        Raises:
            InputError: as ``audit``.
        """
        store = ImageStore.of(image[None], None if label is None else [label])
        measured = self._examined(store, None)
        p, q = judged(measured.scores, self.calibration.scores)
        return self._items(store, measured, p, q, [bool(p[0] <= 0.05)])[0]

    def _examined(self, store: ImageStore, progress: Progress | None) -> Measured:
        same_label = self.prepared.method.same_label
        if store.shape != self._train.shape:
            raise InputError(
                "these images are {given}, and the training images {wanted}",
                given="x".join(map(str, store.shape)),
                wanted="x".join(map(str, self._train.shape)),
            )
        if same_label and store.labels is None:
            raise InputError("the search by label needs labels of the training, the held-out and the examined images")
        return self._measure(store, store.labels if same_label else None, progress)

    def _items(
        self, store: ImageStore, measured: Measured, p: Floats, q: Floats, flags: list[bool]
    ) -> tuple[ImageItem, ...]:
        ours, theirs = store.labels, self._train.labels
        ratio, per_dim = ratios(measured.rmse, measured.next), rounded(measured.rmse / math.sqrt(self._train.dims))
        return tuple(
            ImageItem(
                item=i,
                nearest=(nearest := int(measured.nearest[i])),
                rmse=float(measured.rmse[i]),
                l2_per_dim=float(per_dim[i]),
                next=float(measured.next[i]),
                ratio=float(ratio[i]),
                score=float(measured.scores[i]),
                p=float(p[i]),
                q=float(q[i]),
                flagged=flags[i],
                label=None if ours is None else int(ours[i]),
                nearest_label=None if theirs is None else int(theirs[nearest]),
                transform=measured.transforms[i],
                descriptor=measured.likenesses[i],
            )
            for i in range(store.count)
        )

    def _model_test(self, samples: ImageStore) -> ModelTest:
        """Rank the training set, or a random part of it, among unseen sets of the same size."""
        sets, held = self.prepared.unseen_sets, self._held_out.count
        size = min(self._train.count, held // sets)
        if size < min(LEAST_SET, self._train.count):
            return untested("too-few-unseen")
        if self._unseen is None:
            self._unseen = self._sets(sets, size)
        rows = samples.rows(0, samples.count)
        means = [_mean_log(index, rows, samples.dims) for index in self._unseen]
        return model_test(means[0], means[1:], size, subset=size < self._train.count)

    def _sets(self, sets: int, size: int) -> list[Index]:
        """Return exact indexes of the training set, or a part of it, and of the unseen sets."""
        seed = _drawn(self._train, self._held_out, "unseen-sets")
        order, trained = seed.permutation(self._held_out.count), seed.permutation(self._train.count)
        parts = [ImageStore.of(self._train.take(np.sort(trained[:size])))]
        parts += [ImageStore.of(self._held_out.take(order[k * size : (k + 1) * size])) for k in range(sets)]
        return [exact_index(part) for part in parts]

    def _limits(self, subject: Mapping[str, Any], tested: ModelTest, store: ImageStore) -> tuple[str, ...]:
        prepared, method = self.prepared, self.prepared.method
        known = {
            "pixels-not-infringement": True,
            "no-proof-of-absence": True,
            "held-out-source": True,
            "source-differs": prepared.same_source.warning,
            "dependent-outputs": True,
            "own-duplicates": True,
            "unlike-source": True,
            "overlap-kept": prepared.held_out.overlap > 0,
            "unaligned": not method.aligned and method.descriptor is None,
            "aligned-reach": method.aligned,
            "resized": bool(prepared.notes or store.notes),
            "same-label": method.same_label,
            "approximate-index": not method.index.startswith("exact"),
            "few-calibration": self.calibration.count < _FEW,
            "model-not-tested": tested.p is None,
            "model-subset": tested.subset,
            "subject-unbound": subject.get("weights") is None,
            "one-sampler": True,
        }
        return tuple(slug for slug, holds in known.items() if holds)


def _refused_overlap(train: ImageStore, held_out: ImageStore) -> int:
    """Return how many held-out images stand in training, or refuse: few are kept, which only costs power."""
    found = overlap(held_out, train)
    if found.count > _MOST_OVERLAP * held_out.count:
        pairs = ", ".join(f"{held_out.name(i)} = {train.name(j)}" for i, j in found.pairs[:3]) + ", ..." * (
            found.count > 3
        )
        raise HeldOutOverlap(
            "{count} of {total} held-out images stand in the training data, byte for byte: {pairs}",
            hint="Give images that were never trained on; take these out of one of the two sets.",
            count=found.count,
            total=held_out.count,
            pairs=pairs,
        )
    return found.count


def _calibration(measured: Measured) -> Calibration:
    order = np.argsort(measured.scores, kind="stable")
    columns = [measured.scores, measured.rmse, measured.next, *(measured.changed or ())]
    scores, near, rest, *changed = (tuple(column[order].tolist()) for column in columns)
    return Calibration(len(order), scores, near, rest, Changed(*changed) if changed else None)


def _nearest_held_out(measured: Measured) -> tuple[Near, ...]:
    """Name the held-out images that score least: near-duplicates that the data hold themselves."""
    order = np.argsort(measured.scores, kind="stable")[:_NEAR_NAMED]
    return tuple(Near(int(i), int(measured.nearest[i]), float(measured.rmse[i])) for i in order)


def _same_source(
    train: ImageStore, held_out: ImageStore, measure: Way, measured: Measured, same_label: bool
) -> SameSource:
    """Compare distances of held-out images with those of training images that are taken out of the index.

    Given the images that stay in the index, those taken out and those held out are two samples, of one law if the
    source is one: so the test is exact up to its limiting law, which leave-one-out distances would not be.
    """
    count = min(_SAME_SOURCE_IMAGES, train.count // 2)
    if count < 1:
        return SameSource(None, None, False)
    out = np.sort(_drawn(train, held_out, "same-source").permutation(train.count)[:count])
    labels = np.asarray(train.labels)[out] if same_label and train.labels is not None else None
    theirs = measure(ImageStore.of(train.take(out)), labels, None)
    samples = [_nearest_left(found, out) for found in (theirs, measured)]
    if min(map(len, samples)) == 0:
        return SameSource(None, None, False)
    p, distance = (float(value) for value in rounded(two_sample(*samples)))
    return SameSource(p, distance, p < SAME_SOURCE_LEVEL)


def _nearest_left(measured: Measured, out: Integers) -> Integers:
    """Return squared distances to the nearest image outside ``out``, of images that have one among their neighbours."""
    stays = ~np.isin(measured.listed, out)
    first, known = stays.argmax(axis=1), stays.any(axis=1)
    squared: Integers = measured.squared[np.arange(len(first)), first][known]
    return squared


def _mean_log(index: Index, rows: Bytes, dims: int) -> float:
    nearest = rmse(index.nearest(rows, 1).squared[:, 0], dims)
    return float(np.log(np.maximum(nearest, LEAST_DISTANCE)).mean())


def _drawn(train: ImageStore, held_out: ImageStore, purpose: str) -> np.random.Generator:
    """Return the generator that the data's digests seed: whoever prepares the examiner cannot choose the draw."""
    seed = hashlib.sha256(f"countermark/{purpose}/1\0{train.digest}\0{held_out.digest}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


def _subject(store: ImageStore, known: Mapping[str, Any]) -> Subject:
    samples = Samples(store.count, store.digest, known.get("seed"), int(known.get("drawn") or store.count))
    return Subject(str(known.get("name", "")), known.get("weights"), str(known.get("sampler", "")), samples)


def _saved(directory: Path) -> Prepared:
    path = directory / "examiner.json"
    if not path.is_file():
        raise NotFoundError("no examiner is saved in {directory}", directory=directory)
    if path.stat().st_size > _MOST_BYTES:
        raise InputError("{path} is too large to be a saved examiner", path=path)
    document = parse_json(path.read_bytes(), limit=_MOST_BYTES)
    if not isinstance(document, dict) or document.pop("type", None) != SAVED:
        raise InputError("{path} is no saved examiner", path=path)
    return read(Prepared, document, "examiner")


def _kind(index: str) -> str:
    """Return what an index's answers depend on: exact ones differ in speed alone."""
    return "exact" if index.startswith("exact") else index


def _versions() -> dict[str, str]:
    known = {"python": platform.python_version()}
    for package in ("countermark", "numpy", "torch", "faiss-cpu"):
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return known
