"""Edits that a generative network makes of a finished picture, and the tuning of a pipeline on a few pictures.

An edit is a function of a picture, RGB bytes (H, W, 3), and a strength, 0 to 1: how far up the noise schedule the
picture is taken before the network draws it again. Noise is the same in every run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parametrize

from benchmarks.regeneration import regenerate_denoiser

Pixels = NDArray[np.uint8]
Edit = Callable[[Pixels, float], Pixels]

RANK, RATE, BATCH = 4, 1e-3, 4
# Strength at which a region is drawn anew.
REDRAWN = 0.8


def editor(pipeline: Any, steps: int) -> Edit:
    """Return the edit by an unconditional pipeline, as image-to-image pipelines do it: noise the picture, then sample.

    The network is convolutional, so pictures may be larger than it makes them; sides are multiples of 8.
    """
    return partial(_sampled, pipeline, steps)


def foreign(image: Pixels, strength: float) -> Pixels:
    """Edit by a denoiser that has nothing in common with a pipeline but the kind of its training pictures.

    The noise is that of the cosine schedule at the same strength, where the denoiser knows it.
    """
    return regenerate_denoiser(image, min(1.0, math.tan(strength * math.pi / 2) / 2))


def inpainted(edit: Edit, image: Pixels) -> Pixels:
    """Return a picture whose middle quarter is drawn anew, the rest as it was."""
    top, left = (side // 4 for side in image.shape[:2])
    result, drawn = image.copy(), edit(image, REDRAWN)
    result[top : 3 * top, left : 3 * left] = drawn[top : 3 * top, left : 3 * left]
    return result


def tuned(pipeline: Any, pictures: Sequence[Pixels], updates: int) -> Any:
    """Return a copy of a pipeline whose weights got a change of low rank, trained on a few pictures of its own size.

    As E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022, on all linear and convolution layers.
    """
    copied = copy.deepcopy(pipeline)
    layers = [layer for layer in copied.unet.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    copied.unet.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", _LowRank(layer.weight))
    optimizer = torch.optim.AdamW([p for p in copied.unet.parameters() if p.requires_grad], lr=RATE)
    source = torch.Generator().manual_seed(1)
    known = _tensor(np.stack(pictures), copied.unet.config.in_channels)
    for _ in range(updates):
        chosen = known[torch.randint(len(known), (BATCH,), generator=source)]
        optimizer.zero_grad()
        _loss(copied, chosen, source).backward()
        optimizer.step()
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight")
    copied.unet.requires_grad_(False)
    return copied


class _LowRank(nn.Module):
    """A weight plus the product of two thin matrices, zero at the start."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows = weight.flatten(1)
        self.down = nn.Parameter(torch.randn(RANK, rows.shape[1], generator=torch.Generator().manual_seed(0)) * 0.05)
        self.up = nn.Parameter(torch.zeros(rows.shape[0], RANK))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).reshape(weight.shape)


def _loss(pipeline: Any, pictures: Tensor, source: torch.Generator) -> Tensor:
    """Return the squared error of the network's prediction at random times."""
    scheduler = pipeline.scheduler
    noise = torch.randn(pictures.shape, generator=source)
    times = torch.randint(0, scheduler.config.num_train_timesteps, (len(pictures),), generator=source)
    predicted = pipeline.unet(scheduler.add_noise(pictures, noise, times), times).sample
    is_velocity = scheduler.config.prediction_type == "v_prediction"
    return mse_loss(predicted, scheduler.get_velocity(pictures, noise, times) if is_velocity else noise)


@torch.no_grad()
def _sampled(pipeline: Any, steps: int, image: Pixels, strength: float) -> Pixels:
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps[steps - max(1, round(steps * strength)) :]
    sample = _tensor(image[None], pipeline.unet.config.in_channels)
    noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(2))
    sample = scheduler.add_noise(sample, noise, times[:1])
    for time in times:
        sample = scheduler.step(pipeline.unet(sample, time).sample, time, sample).prev_sample
    levels = ((sample[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(np.broadcast_to(levels, image.shape))


def _tensor(pictures: Pixels, channels: int) -> Tensor:
    """Return pictures (n, H, W, 3) as levels -1 to 1 of shape (n, channels, H, W); one channel is their mean."""
    values = torch.from_numpy(pictures.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    return values if channels == 3 else values.mean(1, keepdim=True)
