"""What every data set of images looks like to an audit: batches of 8-bit images of one shape, by position.

A *position* counts what the data hold, from 0, whether or not it can be read. A batch covers a fixed run of positions
and holds one image of each, less those that were skipped because they are broken.

Laws, for every source ``s`` and every ``size`` and ``start``:
    the images of ``s.batches(size, start=start)`` are those of ``s.batches(1)`` from position ``start`` on;
    every batch but the last covers exactly ``size`` positions;
    two readings of unchanged data give equal batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError

#: (n, height, width, channels) uint8, one channel (grey) or three (RGB).
Images = NDArray[np.uint8]
#: Height, width and channels of every image of a data set.
Shape = tuple[int, int, int]

_NAMED_SKIPS = 100


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to images to bring them to one shape, and which were left out.

    Attributes:
        resized: how many had another size.
        greyed: how many lost their colours, because the data set is grey.
        scaled: how many had more than 8 bits, or fractions, and were rounded to 8 bits.
        skipped: how many were broken and left out.
        named: of the first hundred of these, name and reason.
    """

    resized: int = 0
    greyed: int = 0
    scaled: int = 0
    skipped: int = 0
    named: tuple[str, ...] = ()

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.resized + other.resized,
            self.greyed + other.greyed,
            self.scaled + other.scaled,
            self.skipped + other.skipped,
            (self.named + other.named)[:_NAMED_SKIPS],
        )

    def notes(self, shape: Shape) -> tuple[str, ...]:
        """Say it in English sentences for a report; nothing to say gives none."""
        said = (
            (self.resized, f"images of another size, resized to {shape[1]}x{shape[0]} by area averaging"),
            (self.greyed, "colour images turned grey, as the data set is grey"),
            (self.scaled, "images of more than 8 bits rounded to 8"),
            (self.skipped, "broken images skipped"),
        )
        return (*(f"{what}: {count}" for count, what in said if count), *(f"skipped: {name}" for name in self.named))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some images of a data set.

    Attributes:
        images: (b, h, w, c) uint8, c 1 or 3.
        labels: (b,) int64, or None where the data have none.
        names: one per image: a file's name, or ``array[position]``.
        changes: what was done to these.
    """

    images: Images
    labels: NDArray[np.int64] | None
    names: Sequence[str]
    changes: Changes = Changes()


class ImageSource(Protocol):
    """A data set of images, read as a stream as often as one likes."""

    @property
    def shape(self) -> Shape:
        """Height, width and channels of every image."""

    @property
    def count(self) -> int | None:
        """How many positions the data have; None where only reading them can tell."""

    @property
    def has_labels(self) -> bool:
        """Whether batches have labels."""

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What the labels 0, 1, ... are called, where the data say so."""

    @property
    def name(self) -> str:
        """What a report calls the data; holds no folder of this machine."""

    @property
    def origin(self) -> str:
        """Changes when the data or the way of reading them change: a build that goes on later compares it."""

    def batches(self, size: int = 1024, *, start: int = 0) -> Iterator[Batch]:
        """Yield the images from position ``start`` on, ``size`` positions at a time."""


def check_shape(shape: Shape) -> None:
    """Refuse a shape that is none of an image's.

    Raises:
        InputError: no pixels, too many (200 million), or another number of channels than 1 or 3.
    """
    height, width, channels = shape
    if height < 1 or width < 1 or channels not in (1, 3) or height * width > 200_000_000:
        raise InputError("images cannot have the shape {shape}", shape="x".join(map(str, shape)))
