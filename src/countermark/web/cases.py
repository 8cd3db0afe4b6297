"""What the page shows: models ready to draw from, each beside the examiner of what it was trained on.

And what one visitor has seen of them. Every image counts: which of them are copies is decided anew over all that were
drawn of a model, so that drawing more does not find more by chance.

Laws:
    drawing the same image again changes nothing;
    what is named a copy is what Benjamini and Hochberg name over all drawn images of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import benjamini_hochberg, smallest_flaggable
from countermark.core.progress import Progress
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.audit.documents import ImageItem
    from countermark.audit.images.examine import Examiner
    from countermark.audit.models import Generator

Image = NDArray[np.uint8]

FDR = 0.05
#: The largest seed, and how many images of a model one visitor may draw.
MOST_SEED = 2**31 - 1
MOST_LOOKS = 2_000
MANY = 100


@dataclass(frozen=True, slots=True)
class Case:
    """A model and what it was trained on.

    Attributes:
        name: for people.
        model: to draw from.
        examiner: of its training images, calibrated on held-out ones.
    """

    name: str
    model: Generator
    examiner: Examiner


@dataclass(frozen=True, slots=True)
class Look:
    """One image of a model: where it comes from, and what was found.

    Attributes:
        seed: it was drawn with.
        at: its place among the images of that seed.
        image: uint8 (h, w, c); None where it is too far from the training images ever to be shown again.
        item: the finding; ``p`` is of this image alone.
    """

    seed: int
    at: int
    image: Image | None
    item: ImageItem


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visitor has drawn of one model.

    Attributes:
        looks: in the order of drawing, no image twice.
        last: the image to show.
        many: seed of the last hundred, if the last draw was of a hundred.
    """

    looks: tuple[Look, ...] = ()
    last: Look | None = None
    many: int | None = None
    known: frozenset[tuple[int, int]] = field(default=frozenset(), repr=False)

    def named(self) -> list[Look]:
        """Return the copies, most suspicious first."""
        return [look for look, q in self._judged() if q <= FDR]

    def named_of(self, seed: int) -> int:
        """Return how many of one seed's images are copies, decided over these alone."""
        p = [look.item.p for look in self.looks if look.seed == seed]
        return int((benjamini_hochberg(p) <= FDR).sum()) if p else 0

    def smallest(self, held_out: int) -> int:
        """Return how many copies there would have to be among the drawn images to be named."""
        return smallest_flaggable(max(1, len(self.looks)), held_out, FDR)

    def seen(self, looks: Sequence[Look], *, many: int | None = None) -> Visit:
        """Return the visit with images added that were not drawn before, the most suspicious of them to show."""
        fresh = [look for look in looks if (look.seed, look.at) not in self.known]
        known = self.known | {(look.seed, look.at) for look in fresh}
        foremost = min(looks, key=lambda look: (look.item.p, look.item.score), default=self.last)
        kept = tuple(look if look.item.p <= FDR else replace(look, image=None) for look in fresh)
        return Visit((*self.looks, *kept), foremost, many, known)

    def _judged(self) -> list[tuple[Look, float]]:
        q = benjamini_hochberg([look.item.p for look in self.looks]).tolist() if self.looks else []
        return sorted(zip(self.looks, q, strict=True), key=lambda pair: (pair[1], pair[0].item.score))


def open_case(name: str, model: str, train: str, held_out: str, *, progress: Progress | None = None) -> Case:
    """Open a model and calibrate on what it was not trained on.

    Args:
        name: for people.
        model: as ``adapters.samplers.open_sampler`` reads it.
        train: as ``audit.images.reading.open_images`` reads it.
        held_out: likewise.
        progress: told held-out images that are done.

    Raises:
        InputError, HostileFile: they cannot be read, or the shapes differ.
        HeldOutOverlap: held-out images stand in the training data.
        MissingExtra: something is not installed.
    """
    from countermark.adapters.samplers import open_sampler
    from countermark.audit.images.examine import Examiner
    from countermark.audit.images.reading import open_images
    from countermark.audit.images.store import ImageStore

    trained = open_images(train)
    height, width, channels = trained.shape
    unseen = open_images(held_out, size=(height, width), channels=3 if channels == 3 else 1)
    sampler = open_sampler(model)
    if tuple(sampler.shape) != trained.shape:
        raise InputError(
            "{name} makes images of {made}, and was trained on images of {trained}?",
            name=name,
            made="x".join(map(str, sampler.shape)),
            trained="x".join(map(str, trained.shape)),
        )
    examiner = Examiner.prepare(ImageStore.read(trained), ImageStore.read(unseen), progress=progress)
    return Case(name, sampler, examiner)


def draw(case: Case, visit: Visit, seed: int, count: int, *, progress: Progress | None = None) -> Visit:
    """Let a model make images and examine them.

    Args:
        case: the model.
        visit: what was drawn of it before.
        seed: 0 to ``MOST_SEED``.
        count: 1 to ``MANY``.
        progress: told images that are made.

    Raises:
        InputError: seed or count are out of range, the visitor has drawn ``MOST_LOOKS``, or the model fails.
    """
    if not 0 <= seed <= MOST_SEED or not 1 <= count <= MANY:
        raise InputError(
            "the seed is 0 to {most}, and at most {many} images are drawn at once", most=MOST_SEED, many=MANY
        )
    if len(visit.looks) + count > MOST_LOOKS:
        raise InputError("{most} images were drawn of this model in this visit: that is all", most=MOST_LOOKS)
    images = case.model.sample(count, seed=seed, progress=progress)
    found = case.examiner.audit(images, subject={"name": case.name, "seed": seed})
    looks = [Look(seed, at, images[at], item) for at, item in enumerate(found.items)]
    return visit.seen(looks, many=seed if count > 1 else None)
