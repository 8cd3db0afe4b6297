"""Audit what a model memorized: data to an index, outputs to findings, findings to a report.

What was measured between two data sets is kept in a folder, so that the next audit against them starts at once. That
it belongs to them is checked by their digests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from countermark.core.progress import Progress
from countermark.errors import IndexMismatch, NotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from countermark.audit.images.batches import ImageSource
    from countermark.audit.images.examine import Examiner
    from countermark.audit.images.measuring import Descriptor
    from countermark.audit.images.search import Index
    from countermark.audit.images.store import ImageStore

ProgressFactory = Callable[[str], Progress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How images are held against the data.

    Attributes:
        align: find copies that were mirrored, moved by up to 2 pixels or re-lit, too.
        same_label: hold an image against those of its own label only.
        descriptor: finds copies that no pixel shows; None for pixels.
        engine: of the search: ``int8``, ``faiss``, ``numpy``, ``approximate``; ``auto`` is exact up to 500,000 images.
        unseen_sets: K of the model's rank test.
    """

    align: bool = False
    same_label: bool = False
    descriptor: Descriptor | None = None
    engine: str = "auto"
    unseen_sets: int = 19


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a report shows: outputs and training images by their numbers."""

    samples: NDArray[np.uint8]
    train: ImageStore

    def sample(self, item: int) -> NDArray[np.uint8]:
        """Return an output."""
        image: NDArray[np.uint8] = np.asarray(self.samples[item])
        return image

    def training(self, nearest: int) -> NDArray[np.uint8]:
        """Return a training image."""
        image: NDArray[np.uint8] = np.asarray(self.train.take([nearest])[0])
        return image


def prepare_images(
    train: ImageSource, held_out: ImageSource, directory: Path, measure: Measure, *, progress: ProgressFactory
) -> Examiner:
    """Read both data sets into a folder and calibrate there, or take up what an earlier audit left in it.

    Raises:
        InputError, HostileFile: the data cannot be read, differ in shape, or are too few.
        HeldOutOverlap: the held-out images stand in the training data.
        IndexMismatch: the folder holds other data.
    """
    from countermark.audit.images.examine import Examiner
    from countermark.audit.images.store import ImageStore

    trained = ImageStore.build(train, directory / "train", progress=progress("read-train"))
    unseen = ImageStore.build(held_out, directory / "held-out", progress=progress("read-held-out"))
    index = _index(trained, directory, measure, progress)
    engine: Any = measure.engine if measure.engine in ("int8", "faiss", "numpy") else "auto"
    saved = directory / _name(measure)
    try:
        known = Examiner.open(saved, trained, unseen, descriptor=measure.descriptor, engine=engine, index=index)
        if known.prepared.unseen_sets == measure.unseen_sets:
            return known
    except (NotFoundError, IndexMismatch):
        pass  # nothing there, or by another version or descriptor: calibrate again
    return Examiner.prepare(
        trained,
        unseen,
        same_label=measure.same_label,
        align=measure.align,
        descriptor=measure.descriptor,
        engine=engine,
        index=index,
        unseen_sets=measure.unseen_sets,
        directory=saved,
        progress=progress("calibrate"),
    )


def _name(measure: Measure) -> str:
    ways = ("aligned", measure.align), ("labels", measure.same_label), ("descriptor", measure.descriptor is not None)
    return "-".join(("examiner", *(name for name, used in ways if used)))


def _index(train: ImageStore, directory: Path, measure: Measure, progress: ProgressFactory) -> Index | None:
    """Return what searches, chosen by size; None where an exact engine is named, and for the search by label."""
    from countermark.audit.images.approximate import ABOVE, choose_index

    if measure.engine not in ("auto", "approximate") or (measure.engine == "auto" and measure.same_label):
        return None
    above = 0 if measure.engine == "approximate" else ABOVE
    return choose_index(train, above=above, directory=directory / "approximate", progress=progress("index"))


def audit_images(
    examiner: Examiner,
    samples: NDArray[np.uint8],
    directory: Path,
    subject: Mapping[str, Any],
    *,
    labels: NDArray[Any] | None = None,
    fdr: float = 0.05,
    made_at: str | None = None,
    progress: ProgressFactory,
) -> tuple[dict[str, Any], list[Path]]:
    """Examine outputs and write the report, and the outputs themselves as ``samples.npz``.

    Returns:
        The document, and the files of the report.

    Raises:
        InputError: the outputs have another shape than the data, or no labels where these are needed.
        StorageError: the report cannot be written.
    """
    from countermark.audit.report import write_report

    found = examiner.audit(samples, labels, fdr=fdr, subject=subject, made_at=made_at, progress=progress("examine"))
    document = found.to_json()
    files = write_report(directory, document, Pictures(samples, examiner.train))
    np.savez_compressed(directory / "samples.npz", samples=samples)
    return document, files
