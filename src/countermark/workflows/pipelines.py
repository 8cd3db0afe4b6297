"""What workflows need of models that run and of the noise ledger: ports, and what is common to their users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.artifact import digest_model, survey
from countermark.core.canonical import show_digest
from countermark.core.keys import Secret
from countermark.core.progress import Progress
from countermark.errors import InputError, ManifestMismatch
from countermark.registry import Record, Title

if TYPE_CHECKING:
    from countermark.marking.image.noise import NoiseMark
    from countermark.marking.image.noise_ledger import Recorded, Signs

Pixels = NDArray[np.uint8]
Way = tuple[float, int | None]

#: Pictures of one order.
MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Record):
    """What a licensee asks a model for.

    Attributes:
        count: pictures, 1 to ``MAX_COUNT``.
        prompt: where the model takes one.
        steps: of the sampler; the pipeline's own number where None.
        seed: repeats everything but the signs of the noise, which never repeat; None draws afresh.
        source: digest of the picture to start from (image to image), or None.
        strength: how far from it, over 0 and up to 1; given with a source, and only then.

    Raises:
        InputError: a value is of another type or out of range.
    """

    count: int = 1
    prompt: str | None = None
    steps: int | None = None
    seed: int | None = None
    source: str | None = None
    strength: float | None = None

    @property
    def way(self) -> Way:
        """How its pictures are to be inverted: how much of them grew from noise, and in how many steps."""
        return (1.0 if self.strength is None else float(self.strength), self.steps)

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, low, high in (("count", 1, MAX_COUNT), ("steps", 1, 1000), ("seed", 0, 2**53 - 1))
            if not _within(getattr(self, name), low, high, optional=name != "count")
        ]
        if (self.strength is None) != (self.source is None):
            wrong.append("strength")
        if self.strength is not None and not (_is_number(self.strength) and 0 < self.strength <= 1):
            wrong.append("strength")
        if self.prompt is not None and not (isinstance(self.prompt, str) and len(self.prompt) <= 10_000):
            wrong.append("prompt")
        if wrong:
            raise InputError("an order's {field} is malformed or out of range", field=wrong[0])


class Painter(Protocol):
    """A loaded pipeline."""

    @property
    def size(self) -> int:
        """Noise values of one picture."""

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of its pictures, in pixels."""

    def check(self, order: Order) -> None:
        """Return if the pipeline takes what an order asks for; otherwise raise ``InputError``."""

    def paint(
        self,
        mark: NoiseMark,
        word: int,
        counter: int,
        order: Order,
        *,
        count: int,
        seed: Secret,
        source: Pixels | None,
    ) -> list[Pixels]:
        """Draw ``count`` pictures, (H, W, 3) uint8, of counters from ``counter`` on."""

    def invert(self, pictures: Sequence[Pixels], way: Way) -> NDArray[np.float32]:
        """Return the noise that pictures of any size would have grown from, in a way: (n, size)."""


class Pipelines(Protocol):
    """Loads pipelines."""

    def open(self, directory: Path) -> Painter:
        """Load a diffusers directory; runs no code of its author."""


class KeptNoise(Protocol):
    """The noise ledger of one size, title and epoch."""

    def append(self, names: Sequence[int], signs: Signs) -> None:
        """Keep patterns, durably."""

    def read(self) -> Recorded:
        """Return what is kept."""


class NoiseLedgers(Protocol):
    """The noise ledgers of the office."""

    def of(self, title: int, epoch: int, size: int) -> KeptNoise:
        """Return a ledger, empty if there was none."""

    def sizes(self, title: int, epoch: int) -> list[int]:
        """Return the sizes that generations of a title and epoch are kept of."""


def open_model(pipelines: Pipelines, title: Title, directory: Path, progress: Progress) -> Painter:
    """Load a title's pipeline from a directory.

    Raises:
        ManifestMismatch: it holds other weights than those registered.
        InputError, HostileFile: it is no safe model directory.
    """
    if show_digest(digest_model(survey(directory), progress=progress).content_root) != title.weights_root:
        raise ManifestMismatch("{path} does not hold the weights of title {title}", path=directory, title=title.id)
    return pipelines.open(directory)


def _within(value: Any, low: int, high: int, *, optional: bool) -> bool:
    if value is None:
        return optional
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
