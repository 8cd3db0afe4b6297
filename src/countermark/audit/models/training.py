"""What the recipes share: how long to train, with which steps, in which order of images.

Laws:
    the same images, recipe, steps, versions and threads on one machine give the same weights;
    a budget of minutes is turned into a number of steps while the rate is still warming up, so that a run by minutes
    can be repeated exactly by the steps that it made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.models.networks import Tensor
from countermark.errors import InputError, require

Watch = Callable[[int, int, float], None]
"""``watch(step, steps, loss)``: now and then while training, and after the last step."""

WARM_UP = 100
WATCH_EVERY = 50
MAX_STEPS = 10_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: ``steps``, or ``minutes`` of this machine.

    Raises:
        InputError: neither or both, or out of range.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise InputError("give either steps or minutes")
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise InputError("steps must be 1 to {most}", most=MAX_STEPS)
        if self.minutes is not None and not 0 < self.minutes <= 10_000:
            raise InputError("minutes must be more than 0, 10,000 at most")


@dataclass(frozen=True, slots=True)
class Course:
    """What a run was: its steps, its seconds, and the mean loss over the last steps."""

    steps: int
    seconds: float
    loss: float


def follow(budget: Budget, step: Callable[[float], float], watch: Watch | None = None) -> Course:
    """Call ``step(rate)`` until the budget is spent; ``rate`` in (0, 1] scales the learning rate.

    The rate rises over 100 steps and falls along a cosine to 1 % over the rest. ``step`` returns its loss.
    """
    began, losses, total = time.monotonic(), [], budget.steps or MAX_STEPS
    at = 0
    while at < total:
        losses.append(step(_rate(at, total)))
        at += 1
        if at == WARM_UP // 2 and budget.minutes is not None:
            total = _affordable(budget.minutes, (time.monotonic() - began) / at)
        if watch is not None and (at % WATCH_EVERY == 0 or at == total):
            watch(at, total, float(np.mean(losses[-WATCH_EVERY:])))
    return Course(at, time.monotonic() - began, float(np.mean(losses[-10 * WATCH_EVERY :])))


def _affordable(minutes: float, seconds_a_step: float) -> int:
    return min(MAX_STEPS, max(WARM_UP, math.ceil(60 * minutes / seconds_a_step)))


def _rate(at: int, total: int) -> float:
    """``total`` does not matter while the rate rises."""
    if at < WARM_UP:
        return (at + 1) / WARM_UP
    share = (at - WARM_UP) / max(1, total - WARM_UP)
    return 0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * share))


def centered(images: NDArray[np.uint8]) -> Tensor:
    """Return images (n, h, w, c) of bytes as float32 (n, pixels), -1 to 1."""
    torch = require("torch", "train")
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32)) / 127.5 - 1


def as_bytes(values: Tensor, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return values (n, pixels), -1 to 1 and clipped to it, as images of bytes."""
    clipped = ((values.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    found: NDArray[np.uint8] = clipped.numpy().reshape(-1, *shape)
    return found


def picks(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of indices below ``count``, drawn with replacement: a batch may be more than all images."""
    torch = require("torch", "train")
    source = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randint(count, (size,), generator=source)


def optimizer(weights: Mapping[str, Tensor], rate: float, *, momentum: float = 0.9) -> Callable[[Tensor, float], None]:
    """Return ``update(loss, scale)``: one step of Adam (Kingma and Ba, 2015) on the weights."""
    torch = require("torch", "train")
    tensors = [tensor.requires_grad_() for tensor in weights.values()]
    adam = torch.optim.Adam(tensors, lr=rate, betas=(momentum, 0.999), fused=True)

    def update(loss: Tensor, scale: float) -> None:
        adam.param_groups[0]["lr"] = rate * scale
        adam.zero_grad()
        loss.backward(inputs=tensors)
        adam.step()

    return update


def rounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as half precision keeps them: what is saved is what was measured."""
    return {name: tensor.detach().half().float() for name, tensor in weights.items()}


def check_images(images: NDArray[np.uint8], labels: NDArray[np.int64] | None, classes: int) -> None:
    """Return if images can be trained on.

    Raises:
        InputError: no images, not bytes (n, h, w, c), or labels that do not fit.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise InputError("images must be bytes (count, height, width, 1 or 3), at least one")
    if (labels is None) != (classes == 0):
        raise InputError("a model of labels needs labels, and another takes none")
    if labels is not None and (labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= classes):
        raise InputError("labels must be one integer below {classes} an image", classes=classes)


def noise(seed: int, chunk: int, shape: tuple[int, int]) -> Tensor:
    """Return normal noise of a chunk of samples, float32; the same on every machine."""
    torch = require("torch", "train")
    if seed < 0:
        raise InputError("the seed must be 0 or more")
    return torch.from_numpy(np.random.default_rng([seed, chunk]).standard_normal(shape, dtype=np.float32))


def drawn_in_chunks(
    count: int,
    chunk: int,
    draw: Callable[[int], NDArray[np.uint8]],
    shape: tuple[int, int, int],
    progress: Callable[[int, int, str], None] | None,
) -> NDArray[np.uint8]:
    """Return the first ``count`` images of ``draw(0)``, ``draw(1)``, …, which are ``chunk`` images each."""
    if count < 0:
        raise InputError("the count must be 0 or more")
    parts: list[Any] = [np.empty((0, *shape), dtype=np.uint8)]
    for at in range(0, count, chunk):
        parts.append(draw(at // chunk)[: count - at])
        if progress is not None:
            progress(min(at + chunk, count), count, "images")
    return np.concatenate(parts)
