"""The document of an audit: frozen dataclasses, written to JSON field by field and read back strictly.

Numbers in it are rounded to 9 significant digits before anything is computed from them: whoever reads the document
starts from what its writer started from.

Law: ``from_json(audit.to_json()) == audit``, also through canonical JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from countermark.audit.decisions import Cutoff
from countermark.audit.shapes import Json, read, write
from countermark.core.canonical import read_digest
from countermark.errors import HostileFile, InputError

TYPE = "countermark.memorization-audit/1"
MOST_COPIED = 100


@dataclass(frozen=True)
class Samples:
    """The outputs that were looked at: how many, their digest, the seed, and how many were drawn to get them."""

    count: int
    digest: str
    seed: int | None
    drawn: int


@dataclass(frozen=True)
class Subject:
    """What was audited: a model, by the digest of its weights where it is known, and what drew from it."""

    name: str
    weights: str | None
    sampler: str
    samples: Samples


@dataclass(frozen=True)
class Train:
    """The training data: digest over every item, shape of one (none for texts), items that repeat another."""

    name: str
    count: int
    digest: str
    shape: tuple[int, ...] | None
    duplicates: int


@dataclass(frozen=True)
class Near:
    """A held-out item that lies near the training data, by name: ``item`` held out, ``nearest`` trained on."""

    item: int
    nearest: int
    rmse: float


@dataclass(frozen=True)
class HeldOut:
    """The data never trained on. ``overlap``: items that are equal to one of training; ``near``: the nearest ones."""

    name: str
    count: int
    digest: str
    shape: tuple[int, ...] | None
    duplicates: int
    overlap: int
    near: tuple[Near, ...]


@dataclass(frozen=True)
class Data:
    """Both sets, and notes on how they were read."""

    train: Train
    held_out: HeldOut
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Plugin:
    """A descriptor that took the place of pixels: its name and the digest of its weights."""

    name: str
    digest: str


@dataclass(frozen=True)
class Method:
    """What was computed: the statistic with all constants in its name, the index, and the rate that was asked for."""

    statistic: str
    index: str
    neighbours: int
    aligned: bool
    same_label: bool
    descriptor: Plugin | None
    fdr: float


@dataclass(frozen=True)
class Changed:
    """Distances of held-out images by alignment or by a descriptor, in the order of the scores."""

    distance: tuple[float, ...]
    next: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Held-out images: scores ascending, raw RMSE to the nearest and mean of the next in the same order."""

    count: int
    scores: tuple[float, ...]
    rmse: tuple[float, ...]
    next: tuple[float, ...]
    changed: Changed | None


@dataclass(frozen=True)
class Windows:
    """Held-out windows of one length: scores ascending, each with how often it occurs."""

    bytes: int
    count: int
    scores: tuple[tuple[int, int], ...] = field(metadata={"signed": True})


@dataclass(frozen=True)
class TextCalibration:
    """Held-out texts, cut into windows of every length that an output was compared with."""

    count: int
    documents: int
    lengths: tuple[Windows, ...]


@dataclass(frozen=True)
class Transform:
    """What makes the training image ``nearest`` into the output, where that decided the score.

    Attributes:
        nearest: the training image that was changed; may differ from the nearest as it stands.
        mirror: left and right changed places.
        dx, dy: shift in pixels.
        gain, offset: of brightness, offset in [0, 1] units.
        rmse: what is left after the fit, over the pixels that both show.
        next: mean of the same to the next images.
    """

    nearest: int
    mirror: bool
    dx: int = field(metadata={"signed": True})
    dy: int = field(metadata={"signed": True})
    gain: float
    offset: float
    rmse: float
    next: float


@dataclass(frozen=True)
class Likeness:
    """What a descriptor says: the training image nearest by it, one less the cosine, mean of the same to the next."""

    nearest: int
    distance: float
    next: float


@dataclass(frozen=True)
class ImageItem:
    """One output: nearest training image, distance in both units, mean distance to the next, and what they prove."""

    item: int
    nearest: int
    rmse: float
    l2_per_dim: float
    next: float
    ratio: float
    score: float
    p: float
    q: float
    flagged: bool
    label: int | None
    nearest_label: int | None
    transform: Transform | None
    descriptor: Likeness | None

    @property
    def source(self) -> int:
        """The training image that the score speaks of: what a report shows beside the output."""
        changed = self.descriptor or self.transform
        return changed.nearest if changed else self.nearest


@dataclass(frozen=True)
class Where:
    """A place in the training texts: document, and offset in bytes."""

    document: str
    offset: int


@dataclass(frozen=True)
class Similar:
    """The training document that shares most with an output, and the estimated Jaccard coefficient."""

    document: str
    jaccard: float


@dataclass(frozen=True)
class TextItem:
    """One output: its length and its longest match in bytes, where that stands, and what it proves.

    ``window`` and ``pieces`` say how it was calibrated: ``text.deciding.Window``.
    """

    item: int
    name: str
    bytes: int
    longest: int
    window: int
    pieces: int
    where: Where | None
    text: str
    score: int = field(metadata={"signed": True})
    p: float
    q: float
    flagged: bool
    similar: Similar | None


@dataclass(frozen=True)
class Decision:
    """The answer for all outputs.

    Attributes:
        flagged: outputs with q at most the rate.
        smallest_flaggable: how many must be as suspicious as can be before any is flagged.
        at_least: lower bound of the share that only copying explains: ``decisions.share`` says how.
        interval: of the share of outputs that are copies and lie below the threshold.
        confidence: of both at once, outputs being independent draws.
        threshold: the level at which outputs were counted for both, fixed before any was seen.
        below: how many lie below it.
        null_rate: upper bound of the share of unseen items that do.
        verdict: ``copies-found`` or ``no-copies-found``.
    """

    flagged: int
    smallest_flaggable: int
    at_least: float
    interval: tuple[float, float]
    confidence: float
    threshold: float
    below: int
    null_rate: float
    verdict: str


@dataclass(frozen=True)
class ModelTest:
    """The training set's rank among sets that were never trained on, or the reason why there is none."""

    p: float | None
    rank: int | None
    sets: int
    set_size: int
    floor: float | None
    subset: bool
    of_train: float | None
    of_unseen: tuple[float, ...]
    reason: str | None


@dataclass(frozen=True)
class SameSource:
    """Whether held-out items look like training items to the index: two-sample p-value and distance."""

    p: float | None
    statistic: float | None
    warning: bool


@dataclass(frozen=True)
class Copied:
    """A training item and the flagged outputs that copy it."""

    nearest: int
    name: str
    count: int
    items: tuple[int, ...]


@dataclass(frozen=True)
class ImageAudit:
    """An audit of images; ``limits`` are slugs that reports say in words."""

    subject: Subject
    data: Data
    method: Method
    calibration: Calibration
    items: tuple[ImageItem, ...]
    decision: Decision
    model_test: ModelTest
    same_source: SameSource
    cutoffs: tuple[Cutoff, ...]
    copied: tuple[Copied, ...]
    limits: tuple[str, ...]
    versions: Mapping[str, str]
    made_at: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"type": TYPE, "kind": "images", **write(self)}


@dataclass(frozen=True)
class TextAudit:
    """An audit of texts; ``extraction`` and ``exposure`` are findings of further tests, not recomputed."""

    subject: Subject
    data: Data
    method: Method
    calibration: TextCalibration
    items: tuple[TextItem, ...]
    decision: Decision
    model_test: ModelTest | None
    same_source: SameSource | None
    copied: tuple[Copied, ...]
    limits: tuple[str, ...]
    versions: Mapping[str, str]
    made_at: str | None
    extraction: Json
    exposure: Json

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return {"type": TYPE, "kind": "texts", **write(self)}


Audit = ImageAudit | TextAudit
_KINDS: dict[str, type[ImageAudit] | type[TextAudit]] = {"images": ImageAudit, "texts": TextAudit}


def from_json(document: object) -> Audit:
    """Read a document of any origin; nothing in it is believed yet.

    Raises:
        HostileFile: not of the shape that ``to_json`` writes, a number that is not finite, a digest that is none.
    """
    head = (document.get("type"), document.get("kind")) if isinstance(document, dict) else (None, None)
    kind = next((shape for name, shape in _KINDS.items() if head == (TYPE, name)), None)
    if not isinstance(document, dict) or kind is None:
        raise HostileFile("not a memorization audit of a kind that is known here")
    audit = read(kind, {key: value for key, value in document.items() if key not in ("type", "kind")})
    _check_digests(audit)
    return audit


def _check_digests(audit: Audit) -> None:
    subject, method = audit.subject, audit.method
    digests = [subject.samples.digest, audit.data.train.digest, audit.data.held_out.digest]
    digests += [subject.weights] if subject.weights is not None else []
    digests += [method.descriptor.digest] if method.descriptor else []
    for text in digests:
        try:
            read_digest(text)
        except InputError as error:
            raise HostileFile("not a digest: {text}", text=text[:80]) from error
