"""The generative adversarial network of the early demonstrations, made correct: real images, logits, two steps a batch.

The painter minimizes -log D(G(z)) rather than log(1 - D(G(z))): the non-saturating loss of Goodfellow et al. (2014,
section 3), on logits, so that nothing overflows. It is here to be audited beside the diffusion model, which paints
better.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.models.networks import CriticNet, PainterNet, Tensor, Weights, initial
from countermark.audit.models.training import (
    Budget,
    Course,
    Watch,
    as_bytes,
    centered,
    check_images,
    drawn_in_chunks,
    follow,
    noise,
    optimizer,
    picks,
    rounded,
)
from countermark.core.progress import Progress
from countermark.errors import require

CHUNK = 64
_MOMENTUM = 0.5


@dataclass(frozen=True, slots=True)
class GanRecipe:
    """How to train; ``hidden`` is the width, ``latent`` the noise values of one image."""

    seed: int = 0
    hidden: int = 256
    latent: int = 64
    batch: int = 64
    learning_rate: float = 2e-4


class GanModel:
    """A trained painter."""

    def __init__(self, name: str, shape: tuple[int, int, int], net: PainterNet, weights: Weights) -> None:
        self.name, self.shape, self.net, self.weights = name, shape, net, weights

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """Return None: it is not asked for labels."""
        return None

    def sample(self, count: int, *, seed: int, progress: Progress | None = None) -> NDArray[np.uint8]:
        """Return images (count, height, width, channels).

        Raises:
            InputError: a negative count or seed.
        """
        torch = require("torch", "train")

        def draw(chunk: int) -> NDArray[np.uint8]:
            with torch.no_grad():
                return as_bytes(self.net.run(self.weights, noise(seed, chunk, (CHUNK, self.net.latent))), self.shape)

        return drawn_in_chunks(count, CHUNK, draw, self.shape, progress)

    def config(self) -> dict[str, Any]:
        """Return what ``config.json`` holds beside kind and shape."""
        return {name: value for name, value in asdict(self.net).items() if name != "pixels"}


def train_gan(
    images: NDArray[np.uint8],
    budget: Budget,
    recipe: GanRecipe | None = None,
    *,
    watch: Watch | None = None,
    name: str = "gan",
) -> tuple[GanModel, Course]:
    """Train on images (n, h, w, c); the weights are rounded to half precision, the loss is the painter's.

    Raises:
        MissingExtra: torch is not installed.
        InputError: images that cannot be trained on.
    """
    torch = require("torch", "train")
    recipe = recipe or GanRecipe()
    check_images(images, None, 0)
    real = centered(images)
    painter, critic = PainterNet(real.shape[1], recipe.hidden, recipe.latent), CriticNet(real.shape[1], recipe.hidden)
    paint, judge = initial(painter, recipe.seed), initial(critic, recipe.seed + 1)
    improve = optimizer(paint, recipe.learning_rate, momentum=_MOMENTUM)
    sharpen = optimizer(judge, recipe.learning_rate, momentum=_MOMENTUM)
    batches, source = picks(len(real), recipe.batch, recipe.seed), torch.Generator().manual_seed(recipe.seed + 2)

    def step(rate: float) -> float:
        seen = real[next(batches)]
        fakes = painter.run(paint, torch.randn(len(seen), recipe.latent, generator=source))
        sharpen(_surprise(critic.run(judge, seen), 1) + _surprise(critic.run(judge, fakes.detach()), 0), rate)
        loss = _surprise(critic.run(judge, fakes), 1)
        improve(loss, rate)
        return float(loss.item())

    course = follow(budget, step, watch)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    return GanModel(name, shape, painter, rounded(paint)), course


def _surprise(logits: Tensor, truth: int) -> Tensor:
    """Return the mean of -log of the probability that the critic gave to the truth."""
    functions = require("torch", "train").nn.functional
    return functions.softplus(-logits if truth else logits).mean()
