"""Regeneration attacks: a picture passed through a small generative network, which keeps what looks like a photograph.

Two kinds, after Zhao and others (2023, "Invisible image watermarks are provably removable using generative AI"):
through a variational autoencoder, and through noise that a denoiser takes away again step by step. The networks are
trained on 1,200 photographs by one processor core in minutes (``benchmarks/models``). They are weaker than the large
ones of the literature, such as Stable Diffusion's autoencoder or regeneration by it: what survives here need not
survive there, and what they remove costs more quality than it would there.

Pictures are RGB bytes (H, W, 3) of any size, handled in tiles if they are large.

Law: the result depends on nothing but picture, arguments, weights, the version of torch and the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmarks.models.networks import MULTIPLE, REACH, Autoencoder, Denoiser

Pixels = NDArray[np.uint8]

MODELS = Path(__file__).parent / "models"
TILE = 1024
# The last noise level that is asked for, as low as the denoiser was trained.
_LEAST_NOISE = 0.01


def regenerate_vae(image: Pixels, strength: float = 0.2, *, seed: int = 0) -> Pixels:
    """Encode, sample the latents' posterior, decode; weaker than a large model's autoencoder.

    ``strength``, 0 to 1, is the posterior's standard deviation where the prior's is 1: at 0 the picture loses only what
    16 numbers for each 8x8 pixels cannot hold, at 1 everything.

    Raises:
        ValueError: ``strength`` is out of range.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength} is not between 0 and 1")
    network, level = _network("autoencoder", Autoencoder), torch.tensor([float(strength)])
    pictures = _tensor(image)
    height, width = (side // 8 for side in pictures.shape[2:])
    noise = _noise((1, network.latents, height, width), seed)
    decoded = _in_tiles(lambda part, own: network(part, own, level), pictures, noise)
    return _pixels(decoded, image.shape)


def regenerate_denoiser(image: Pixels, sigma: float, *, steps: int = 8, seed: int = 0) -> Pixels:
    """Add noise, then follow the probability flow back to a picture; weaker than regeneration by a large model.

    ``sigma``, above 0 to 1, is the noise's standard deviation where white is 1: 0.1 is strong, at 0.3 details are
    invented. With one of the ``steps``, at least 1, the answer is the mean of what the picture may have been, which is
    smooth; more give one that it may have been (Karras and others, 2022, algorithm 1 by Euler's method).

    Raises:
        ValueError: ``sigma`` or ``steps`` is out of range.
    """
    if not 0 < sigma <= 1 or steps < 1:
        raise ValueError(f"sigma {sigma} is not above 0 and at most 1, or steps {steps} is below 1")
    network, pictures = _network("denoiser", Denoiser), _tensor(image)
    noisy = pictures + sigma * _noise(tuple(pictures.shape), seed)
    levels = np.geomspace(sigma, min(sigma, _LEAST_NOISE), steps).tolist()
    for level, following in zip(levels, [*levels[1:], 0.0], strict=True):
        clean = _in_tiles(partial(network, sigma=torch.tensor([level])), noisy)
        noisy = clean + following / level * (noisy - clean)
    return _pixels(noisy, image.shape)


@cache
def _network(name: str, build: Callable[[], nn.Module]) -> Any:
    network = build().eval().requires_grad_(False)
    network.load_state_dict(load_file(MODELS / f"{name}.safetensors"))
    return network


def _tensor(image: Pixels) -> Tensor:
    """Levels 0 to 1 of shape (1, 3, H', W'), the last rows and columns repeated up to the next multiple of 8."""
    levels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[:2]
    return pad(levels, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")


def _pixels(pictures: Tensor, shape: tuple[int, ...]) -> Pixels:
    levels = (pictures[0, :, : shape[0], : shape[1]].permute(1, 2, 0) * 255).round().clamp(0, 255)
    return np.ascontiguousarray(levels.to(torch.uint8).numpy())


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def _in_tiles(change: Callable[..., Tensor], pictures: Tensor, *others: Tensor) -> Tensor:
    """Apply ``change`` to tiles with ``REACH`` pixels around them; ``others`` are planes of an eighth of the size."""
    result = torch.empty_like(pictures)
    for top, bottom in _spans(pictures.shape[2]):
        for left, right in _spans(pictures.shape[3]):
            up, start = max(0, top - REACH), max(0, left - REACH)
            seen = [pictures[..., up : bottom + REACH, start : right + REACH]]
            seen += [o[..., up // 8 : (bottom + REACH) // 8, start // 8 : (right + REACH) // 8] for o in others]
            part = change(*seen)
            result[..., top:bottom, left:right] = part[..., top - up : bottom - up, left - start : right - start]
    return result


def _spans(side: int) -> Iterator[tuple[int, int]]:
    count = math.ceil(side / TILE)
    return ((start, min(side, start + TILE)) for start in range(0, count * TILE, TILE))
