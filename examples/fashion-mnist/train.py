"""Train the example model: a small unconditional diffusion model of Fashion-MNIST, on one CPU core.

    python examples/fashion-mnist/train.py --data fashion-mnist.npz --out examples/fashion-mnist

The data file holds arrays ``x_train`` and ``x_test`` of grey 28x28 bytes. Pictures are padded to 32x32, so that they
halve three times. The noise schedule is the cosine one of Nichol and Dhariwal (2021), the network predicts velocity
(Salimans and Ho, 2022, section 4), and the weights that are saved are an exponential mean over the steps.
Layers compute in bfloat16 where that is safe (1.4 times faster on the processor used); the weights are float32.

Law: the same data, seed, steps, versions and threads on the same machine give the same weights; ``--minutes`` only ends
a run early, and ``training.json`` records the steps that were made, so ``--steps`` repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from torch.nn.functional import mse_loss

WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")
SOURCE = {
    "name": "Fashion-MNIST",
    "by": "Zalando Research",
    "url": "https://github.com/zalandoresearch/fashion-mnist",
    "license": "MIT",
}
WARM_UP = 200
REPORT_EVERY = 100
SAVE_EVERY = 500


def new_unet() -> UNet2DModel:
    """Three resolutions, attention at 8x8 only: trained by one CPU core in an hour, and under 8 MB in float32."""
    return UNet2DModel(
        sample_size=32,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(24, 48, 96),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=24,
        norm_num_groups=8,
    )


def new_scheduler() -> DDIMScheduler:
    """Trailing steps begin sampling at pure noise, where training ends."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=True
    )


def load_pictures(path: Path, array: str) -> torch.Tensor:
    """Float32 (n, 1, 32, 32) in [-1, 1]; the padding is the black of the background."""
    with np.load(path) as data:
        grey = data[array]
    padded = np.pad(grey, ((0, 0), (2, 2), (2, 2)))
    return torch.from_numpy(padded).unsqueeze(1).float() / 127.5 - 1


def shuffled_batches(pictures: torch.Tensor, size: int, source: torch.Generator) -> Iterator[torch.Tensor]:
    """Endless batches; each picture once an epoch, and the odd rest of an epoch is dropped."""
    while True:
        order = torch.randperm(len(pictures), generator=source)
        for start in range(0, len(order) - size + 1, size):
            yield pictures[order[start : start + size]]


def velocity_loss(
    unet: UNet2DModel, scheduler: DDIMScheduler, pictures: torch.Tensor, source: torch.Generator
) -> torch.Tensor:
    """Mean squared error of the predicted velocity, one random time step a picture."""
    noise = torch.randn(pictures.shape, generator=source)
    times = torch.randint(0, scheduler.config.num_train_timesteps, (len(pictures),), generator=source)
    noisy = scheduler.add_noise(pictures, noise, times)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = unet(noisy, times).sample
    return mse_loss(predicted.float(), scheduler.get_velocity(pictures, noise, times))


@dataclass
class MeanWeights:
    """An exponential mean of a network's weights; the early, bad ones are forgotten fast."""

    unet: UNet2DModel
    decay: float

    def follow(self, trained: UNet2DModel, step: int) -> None:
        """Move towards ``trained`` after its ``step``-th step, counted from 1."""
        keep = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(self.unet.parameters(), trained.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)


def held_out_loss(unet: UNet2DModel, scheduler: DDIMScheduler, pictures: torch.Tensor) -> float:
    """The loss on pictures outside the training set, with noise that is the same in every run."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        losses = [velocity_loss(unet, scheduler, batch, source).item() for batch in pictures.split(100)]
    return float(np.mean(losses))


def sha256(path: Path) -> str:
    """Return the file's digest in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(unet: UNet2DModel, scheduler: DDIMScheduler, record: dict[str, Any], out: Path) -> None:
    """Write the pipeline, then the record that names the weights by digest."""
    DDIMPipeline(unet=unet, scheduler=scheduler).save_pretrained(out)
    record = {"weights": {"file": WEIGHTS.as_posix(), "sha256": sha256(out / WEIGHTS)}, **record}
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def provenance(options: argparse.Namespace) -> dict[str, Any]:
    """Return what another person needs to repeat the run."""
    return {
        "data": {**SOURCE, "sha256": sha256(options.data)},
        "recipe": {name: getattr(options, name) for name in ("seed", "batch", "learning_rate", "ema")},
        "versions": {"python": platform.python_version()} | {n: version(n) for n in ("torch", "diffusers", "numpy")},
        "machine": {"system": platform.system(), "architecture": platform.machine(), "threads": options.threads},
    }


def train(options: argparse.Namespace) -> None:
    """Train, print the loss every 100 steps, and save every 500 steps and at the end."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    source = torch.Generator().manual_seed(options.seed)
    unet, scheduler, mean = new_unet(), new_scheduler(), MeanWeights(new_unet(), options.ema)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=options.learning_rate)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM_UP))
    pictures = load_pictures(options.data, "x_train")
    batches = shuffled_batches(pictures, options.batch, source)
    held_out = load_pictures(options.data, "x_test")[:1000]
    record, losses, began = provenance(options), [], time.monotonic()

    for step in range(1, options.steps + 1):
        loss = velocity_loss(unet, scheduler, next(batches), source)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        warm_up.step()
        mean.follow(unet, step)
        losses.append(loss.item())
        seconds = time.monotonic() - began
        done = step == options.steps or seconds > options.minutes * 60
        if step % REPORT_EVERY == 0:
            print(f"step {step}  loss {np.mean(losses[-REPORT_EVERY:]):.4f}  {seconds:.0f} s", flush=True)
        if step % SAVE_EVERY == 0 or done:
            result = {
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "steps": step,
                "epochs": round(step * options.batch / len(pictures), 2),
                "seconds": round(seconds),
                "parameters": unet.num_parameters(),
                "loss": round(float(np.mean(losses[-SAVE_EVERY:])), 5),
                "held_out_loss": round(held_out_loss(mean.unet, scheduler, held_out), 5),
            }
            save(mean.unet, scheduler, {"result": result} | record, options.out)
        if done:
            print(json.dumps(result), flush=True)
            return


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; the defaults are the recipe of the model that is shipped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="fashion-mnist.npz with x_train and x_test")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder that receives the pipeline")
    parser.add_argument("--steps", type=int, default=6177)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this much wall time")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse(sys.argv[1:]))
