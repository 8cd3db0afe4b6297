"""Train the networks of the regeneration attacks, each on one CPU core in minutes.

    python -m benchmarks.models.train autoencoder --data photos/train
    python -m benchmarks.models.train denoiser --data photos/train

Of each JPEG photograph in the data folder a random part of 256x256 is kept; every step takes 96x96 of some of them,
mirrored half of the time. The loss is the mean absolute error for the autoencoder, over strengths spread from 0 to 1
with more of the low ones, and the mean squared one for the denoiser, over noise of 0.01 to 1 of the range, weighted so
that all levels count alike. The weights that are saved are an exponential mean over the steps.

Law: the same data, seed, steps, versions and threads on the same machine give the same weights; ``--minutes`` only ends
a run early, and the record beside the weights names the steps that were made.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.models.networks import Autoencoder, Denoiser

KEPT, SIDE = 256, 96
EMA = 0.999
LEAST_NOISE, MOST_NOISE = 0.01, 1.0
WARM_UP = 200
REPORT_EVERY = 200
SOURCE = {
    "name": "clothing-dataset-small",
    "by": "Alexey Grigorev and contributors",
    "url": "https://github.com/alexeygrigorev/clothing-dataset-small",
    "license": "CC0-1.0",
}
Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]


def load_parts(folder: Path, source: torch.Generator) -> list[Tensor]:
    """Bytes (3, 256, 256), or less where a photograph is smaller, of every photograph in the order of the names."""
    parts = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as picture:
            levels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)
        parts.append(random_part(levels, KEPT, source).clone())
    return parts


def random_part(levels: Tensor, side: int, source: torch.Generator) -> Tensor:
    """A part of ``side`` by ``side`` pixels."""
    top, left = (int(torch.randint(0, max(full - side, 0) + 1, (), generator=source)) for full in levels.shape[1:])
    return levels[:, top : top + side, left : left + side]


def batches(parts: list[Tensor], size: int, source: torch.Generator) -> Iterator[Tensor]:
    """Endless batches (size, 3, 96, 96) with levels 0 to 1."""
    while True:
        chosen = torch.randint(0, len(parts), (size,), generator=source).tolist()
        pictures = torch.stack([random_part(parts[index], SIDE, source) for index in chosen]).float() / 255
        yield pictures.flip(3) if torch.rand((), generator=source) < 0.5 else pictures


def autoencoder_loss(network: nn.Module, pictures: Tensor, source: torch.Generator) -> Tensor:
    """Mean absolute error of what is decoded, in levels."""
    strength = torch.rand(len(pictures), generator=source) ** 2
    latents = (len(pictures), Autoencoder.latents, SIDE // 8, SIDE // 8)
    noise = torch.randn(latents, generator=source)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        decoded = network(pictures, noise, strength)
    return (decoded.float() - pictures).abs().mean()


def denoiser_loss(network: nn.Module, pictures: Tensor, source: torch.Generator) -> Tensor:
    """Mean squared error of the estimate, in units of what the noise level leaves unknown at most."""
    span = math.log(MOST_NOISE / LEAST_NOISE)
    spread = (torch.arange(len(pictures)) + torch.rand(len(pictures), generator=source)) / len(pictures)
    sigma = LEAST_NOISE * (span * spread).exp()
    noise = sigma.view(-1, 1, 1, 1) * torch.randn(pictures.shape, generator=source)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clean = network(pictures + noise, sigma)
    weight = 1 / sigma**2 + 16
    return (weight * (clean.float() - pictures).square().mean((1, 2, 3))).mean()


# Shape, loss, and the steps of the weights that are shipped.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Loss, int]] = {
    "autoencoder": (Autoencoder, autoencoder_loss, 2006),
    "denoiser": (Denoiser, denoiser_loss, 464),
}


def follow(mean: nn.Module, trained: nn.Module, step: int) -> None:
    """Move the mean weights towards ``trained`` after its ``step``-th step, counted from 1; copy its statistics."""
    keep = min(EMA, (1 + step) / (10 + step))
    with torch.no_grad():
        for average, now in zip(mean.parameters(), trained.parameters(), strict=True):
            average.lerp_(now, 1 - keep)
        for average, now in zip(mean.buffers(), trained.buffers(), strict=True):
            average.copy_(now)


def sha256(path: Path) -> str:
    """Return the file's digest in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_sha256(folder: Path) -> str:
    """Return the digest of the photographs' digests, one hex line each, in the order of the file names."""
    return hashlib.sha256("".join(f"{sha256(path)}\n" for path in sorted(folder.glob("*.jpg"))).encode()).hexdigest()


def save(network: nn.Module, record: dict[str, Any], stem: Path) -> None:
    """Write the weights, and the record that names them by digest."""
    weights = stem.with_suffix(".safetensors")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    record = {"weights": {"file": weights.name, "sha256": sha256(weights)}, **record}
    stem.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")


def provenance(options: argparse.Namespace, count: int) -> dict[str, Any]:
    """Return what another person needs to repeat the run."""
    packages = ("torch", "safetensors", "numpy", "pillow")
    return {
        "data": {**SOURCE, "pictures": count, "sha256": folder_sha256(options.data)},
        "recipe": {name: getattr(options, name) for name in ("seed", "batch", "learning_rate")} | {"ema": EMA},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "machine": {"system": platform.system(), "architecture": platform.machine(), "threads": options.threads},
    }


def train(options: argparse.Namespace) -> None:
    """Train, print the loss every 200 steps, and save at the end."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    source = torch.Generator().manual_seed(options.seed)
    build, loss_of, shipped = NETWORKS[options.network]
    steps = options.steps or shipped
    network = build()
    mean = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM_UP))
    parts = load_parts(options.data, source)
    stream, losses, began = batches(parts, options.batch, source), [], time.monotonic()

    for step in range(1, steps + 1):
        loss = loss_of(network, next(stream), source)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        warm_up.step()
        follow(mean, network, step)
        losses.append(loss.item())
        seconds = time.monotonic() - began
        if step % REPORT_EVERY == 0:
            print(f"step {step}  loss {np.mean(losses[-REPORT_EVERY:]):.4f}  {seconds:.0f} s", flush=True)
        if seconds > options.minutes * 60:
            break
    result = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": step,
        "seconds": round(seconds),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "loss": round(float(np.mean(losses[-500:])), 5),
    }
    print(json.dumps(result), flush=True)
    save(mean, {"result": result} | provenance(options, len(parts)), options.out / options.network)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; the defaults are the recipe of the networks that are shipped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--data", type=Path, required=True, help="folder of JPEG photographs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder that receives the weights")
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the network that is shipped")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this much wall time")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse(sys.argv[1:]))
