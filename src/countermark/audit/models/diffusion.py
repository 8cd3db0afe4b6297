"""A diffusion model small enough to train in minutes on one core, and to memorize when its images are few.

An image x at time t in [0, 1] is cos(pi t / 2) x + sin(pi t / 2) e with normal noise e. The network predicts x itself,
trained by its mean squared error at random times; samples are drawn by DDIM (Song et al., 2021, eq. 12 with sigma 0).
Predicting velocity, or averaging the weights slowly, hides memorization that the same budget otherwise shows.

Laws:
    image i of ``sample`` depends on seed and i alone (on one machine and number of threads);
    ``loss`` uses the same noise for every image and every call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.models.networks import DenoiserNet, Tensor, Weights, initial
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

Predict = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""``predict(noisy (n, pixels), times (n,), labels (n,) or None)``: the guess at the clean images, -1 to 1."""

SAMPLING_STEPS = 50
CHUNK = 64
LOSS_TIMES = (0.2, 0.35, 0.5, 0.65, 0.8)
LOSS_DRAWS = 4
_LOSS_SEED = 6
_MEAN_WARM_UP = 10
_UNLABELED = 0.1
"""Share of training images that are shown without their label, so that the model knows images of none too."""


@dataclass(frozen=True, slots=True)
class DiffusionRecipe:
    """How to train; the defaults are those of the example models.

    Args:
        seed: of weights, batches and noise.
        hidden: width of the network.
        blocks: its residual layers.
        classes: labels that it learns, 0 for none.
        batch: images a step.
        learning_rate: highest rate of Adam.
        mean: share of the weights' running mean that a step keeps; near 1 it forgets too slowly to memorize.
    """

    seed: int = 0
    hidden: int = 512
    blocks: int = 2
    classes: int = 0
    batch: int = 128
    learning_rate: float = 3e-3
    mean: float = 0.99


class Denoiser:
    """Draws images by denoising noise.

    Args:
        name: for people.
        shape: height, width, channels.
        predict: the guess at a clean image.
        classes: labels that it takes; image i is drawn for label i mod ``classes``.
        steps: of DDIM.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        predict: Predict,
        *,
        classes: int = 0,
        steps: int = SAMPLING_STEPS,
    ) -> None:
        self.name, self.shape, self.classes, self.steps = name, shape, classes, steps
        self._predict = predict

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """Return the labels that the first images are drawn for."""
        return np.arange(count, dtype=np.int64) % self.classes if self.classes else None

    def sample(self, count: int, *, seed: int, progress: Progress | None = None) -> NDArray[np.uint8]:
        """Return images (count, height, width, channels).

        Raises:
            InputError: a negative count or seed.
        """
        torch = require("torch", "train")

        def draw(chunk: int) -> NDArray[np.uint8]:
            start = noise(seed, chunk, (CHUNK, math.prod(self.shape)))
            labels = torch.arange(chunk * CHUNK, (chunk + 1) * CHUNK) % self.classes if self.classes else None
            with torch.no_grad():
                return as_bytes(ddim(self._predict, start, labels, self.steps), self.shape)

        return drawn_in_chunks(count, CHUNK, draw, self.shape, progress)

    def loss(self, images: NDArray[np.uint8], labels: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return each image's mean squared error over fixed times and fixed noise; pixel values are -1 to 1.

        Args:
            images: (n, height, width, channels).
            labels: (n,) for a model of labels; without them it guesses as for images of no label.
        """
        torch = require("torch", "train")
        clean = centered(images)
        asked = None if labels is None else torch.from_numpy(labels)
        total = np.zeros(len(images))
        with torch.no_grad():
            for at, time in enumerate(LOSS_TIMES):
                for each in noise(_LOSS_SEED, at, (LOSS_DRAWS, clean.shape[1])):
                    total += self._errors(clean, time, each, asked).double().numpy()
        return total / (len(LOSS_TIMES) * LOSS_DRAWS)

    def _errors(self, clean: Tensor, time: float, each: Tensor, labels: Tensor | None) -> Tensor:
        torch = require("torch", "train")
        signal, spread = mixture(time)
        parts = []
        for at in range(0, len(clean), 16 * CHUNK):
            part = clean[at : at + 16 * CHUNK]
            asked = None if labels is None else labels[at : at + len(part)]
            guess = self._predict(signal * part + spread * each, torch.full((len(part),), time), asked)
            parts.append((guess - part).square().mean(dim=1))
        return torch.cat(parts)


class DiffusionModel(Denoiser):
    """A trained denoiser: a network and its weights."""

    def __init__(
        self, name: str, shape: tuple[int, int, int], net: DenoiserNet, weights: Weights, steps: int = SAMPLING_STEPS
    ) -> None:
        super().__init__(
            name,
            shape,
            lambda noisy, times, labels: net.run(weights, noisy, times, labels),
            classes=net.classes,
            steps=steps,
        )
        self.net, self.weights = net, weights

    def config(self) -> dict[str, Any]:
        """Return what ``config.json`` holds beside kind and shape."""
        return {name: value for name, value in asdict(self.net).items() if name != "pixels"} | {"steps": self.steps}


def ddim(predict: Predict, start: Tensor, labels: Tensor | None, steps: int) -> Tensor:
    """Denoise ``start`` (n, pixels) in ``steps`` equal steps of time; returns the last guess, clipped to -1 to 1."""
    torch = require("torch", "train")
    noisy, clean = start, start
    for at in range(steps):
        now, then = 1 - at / steps, 1 - (at + 1) / steps
        clean = predict(noisy, torch.full((len(noisy),), now), labels).float().clamp(-1, 1)
        signal, spread = mixture(now)
        rest = (noisy - signal * clean) / spread
        signal, spread = mixture(then)
        noisy = signal * clean + spread * rest
    return clean


def train_diffusion(
    images: NDArray[np.uint8],
    budget: Budget,
    recipe: DiffusionRecipe | None = None,
    *,
    labels: NDArray[np.int64] | None = None,
    watch: Watch | None = None,
    name: str = "diffusion",
) -> tuple[DiffusionModel, Course]:
    """Train on images (n, h, w, c); the weights are rounded to half precision, as a file keeps them.

    Raises:
        MissingExtra: torch is not installed.
        InputError: images or labels that do not fit.
    """
    torch = require("torch", "train")
    recipe = recipe or DiffusionRecipe()
    check_images(images, labels, recipe.classes)
    clean, asked = centered(images), None if labels is None else torch.from_numpy(labels)
    net = DenoiserNet(clean.shape[1], recipe.hidden, recipe.blocks, recipe.classes)
    weights, mean = initial(net, recipe.seed), initial(net, recipe.seed)
    update, batches = optimizer(weights, recipe.learning_rate), picks(len(clean), recipe.batch, recipe.seed)
    source, made = torch.Generator().manual_seed(recipe.seed + 1), 0

    def step(rate: float) -> float:
        nonlocal made
        chosen = next(batches)
        loss = _training_loss(net, weights, clean[chosen], None if asked is None else asked[chosen], source)
        update(loss, rate)
        made += 1
        _approach(mean, weights, 1 - min(recipe.mean, made / (made + _MEAN_WARM_UP)))
        return float(loss.item())

    course = follow(budget, step, watch)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    return DiffusionModel(name, shape, net, rounded(mean)), course


def _training_loss(net: DenoiserNet, weights: Weights, clean: Tensor, labels: Tensor | None, source: Any) -> Tensor:
    torch = require("torch", "train")
    times = torch.rand(len(clean), generator=source)
    angles = times[:, None] * (math.pi / 2)
    noisy = angles.cos() * clean + angles.sin() * torch.randn(clean.shape, generator=source)
    if labels is not None:
        labels = torch.where(torch.rand(len(clean), generator=source) < _UNLABELED, net.classes, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training_precision() == "bfloat16"):
        guess = net.run(weights, noisy, times, labels)
    return (guess.float() - clean).square().mean()


def training_precision() -> str:
    """Return ``bfloat16`` where this processor multiplies it itself, else ``float32``, which is faster there."""
    torch = require("torch", "train")
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if known.get("avx512_bf16") else "float32"


def _approach(mean: dict[str, Tensor], weights: Weights, share: float) -> None:
    torch = require("torch", "train")
    with torch.no_grad():
        torch._foreach_lerp_(list(mean.values()), list(weights.values()), share)


def mixture(time: float) -> tuple[float, float]:
    """How much of an image and of noise there is at a time."""
    return math.cos(math.pi / 2 * time), math.sin(math.pi / 2 * time)
