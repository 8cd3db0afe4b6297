"""Train the larger example: a small unconditional diffusion model of colour photographs, on one CPU core.

    python examples/photos-64/train.py --data photos --out examples/photos-64

The data folder holds JPEG photographs in ``train`` and ``test``. Each is cut to its middle square and shrunk to 72x72;
training takes a random 64x64 part of it, mirrored half of the time. The noise schedule is the cosine one of Nichol and
Dhariwal (2021), the network predicts velocity (Salimans and Ho, 2022, section 4), and the weights that are saved are
an exponential mean over the steps. Layers compute in bfloat16 where that is safe; the weights are float32.

The model serves marks that live in the signs of the initial noise and are read by running the sampler backwards, so
two choices favour a map from noise to picture that can be undone. Pictures fill only 0.92 of the range, so that white
is not clipped; and every picture gets fresh grain, about five grey levels of it, without which a flat wall would
squeeze thousands of noise dimensions into differences smaller than one grey level.

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
from PIL import Image, ImageOps
from torch.nn.functional import mse_loss

WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")
SOURCE = {
    "name": "clothing-dataset-small",
    "by": "Alexey Grigorev and contributors",
    "url": "https://github.com/alexeygrigorev/clothing-dataset-small",
    "license": "CC0-1.0",
}
SIDE = 64
CACHED_SIDE = 72
FULL_RANGE = 0.92
GRAIN = 0.04
WARM_UP = 200
REPORT_EVERY = 100
SAVE_EVERY = 500


def new_unet() -> UNet2DModel:
    """Four resolutions, attention at 8x8 only: trained by one CPU core in an hour, and under 12 MB in float32."""
    return UNet2DModel(
        sample_size=SIDE,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(32, 64, 96, 96),
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=8,
    )


def new_scheduler() -> DDIMScheduler:
    """Trailing steps begin at pure noise, where training ends; nothing is clipped, so that steps can be undone."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
    )


def load_pictures(folder: Path) -> torch.Tensor:
    """Bytes (n, 3, 72, 72) of the middle squares, in the order of the file names."""
    squares = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
        squares.append(np.asarray(ImageOps.fit(upright, (CACHED_SIDE, CACHED_SIDE), Image.Resampling.LANCZOS)))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def scaled(pictures: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Float32 in about [-1, 1] from bytes, with grain of its own in every picture."""
    grain = GRAIN * torch.randn(pictures.shape, generator=source)
    return FULL_RANGE * (pictures.float() / 127.5 - 1) + grain


def random_part(picture: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """A 64x64 part of a 72x72 picture, mirrored half of the time."""
    top, left = torch.randint(0, CACHED_SIDE - SIDE + 1, (2,), generator=source).tolist()
    part = picture[:, top : top + SIDE, left : left + SIDE]
    return part.flip(2) if torch.rand((), generator=source) < 0.5 else part


def middle_part(pictures: torch.Tensor) -> torch.Tensor:
    """The 64x64 in the middle of 72x72."""
    edge = (CACHED_SIDE - SIDE) // 2
    return pictures[..., edge : edge + SIDE, edge : edge + SIDE]


def shuffled_batches(pictures: torch.Tensor, size: int, source: torch.Generator) -> Iterator[torch.Tensor]:
    """Endless scaled batches; each picture once an epoch, and the odd rest of an epoch is dropped."""
    while True:
        order = torch.randperm(len(pictures), generator=source)
        for start in range(0, len(order) - size + 1, size):
            chosen = pictures[order[start : start + size]]
            yield scaled(torch.stack([random_part(picture, source) for picture in chosen]), source)


def spread_times(count: int, steps: int, source: torch.Generator) -> torch.Tensor:
    """One random time step from each of ``count`` equal parts of the schedule: a steadier loss than free draws."""
    parts = torch.arange(count) + torch.rand(count, generator=source)
    return (parts * steps / count).long().clamp(max=steps - 1)


def velocity_loss(
    unet: UNet2DModel, scheduler: DDIMScheduler, pictures: torch.Tensor, source: torch.Generator
) -> torch.Tensor:
    """Mean squared error of the predicted velocity, one time step a picture."""
    noise = torch.randn(pictures.shape, generator=source)
    times = spread_times(len(pictures), scheduler.config.num_train_timesteps, source)
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
    """The loss on pictures outside the training set, with grain and noise that are the same in every run."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        losses = [velocity_loss(unet, scheduler, scaled(part, source), source).item() for part in pictures.split(50)]
    return float(np.mean(losses))


def sha256(path: Path) -> str:
    """Return the file's digest in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """Return the digest of the photographs' digests, one hex line each, in the order of the file names."""
    lines = "".join(f"{sha256(path)}\n" for path in sorted(folder.glob("*.jpg")))
    return hashlib.sha256(lines.encode()).hexdigest()


def save(unet: UNet2DModel, scheduler: DDIMScheduler, record: dict[str, Any], out: Path) -> None:
    """Write the pipeline, then the record that names the weights by digest."""
    DDIMPipeline(unet=unet, scheduler=scheduler).save_pretrained(out)
    record = {"weights": {"file": WEIGHTS.as_posix(), "sha256": sha256(out / WEIGHTS)}, **record}
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def provenance(options: argparse.Namespace, count: int) -> dict[str, Any]:
    """Return what another person needs to repeat the run."""
    recipe = {name: getattr(options, name) for name in ("seed", "batch", "learning_rate", "ema")}
    packages = ("torch", "diffusers", "numpy", "pillow")
    return {
        "data": {**SOURCE, "pictures": count, "sha256": folder_sha256(options.data / "train")},
        "recipe": recipe | {"grain": GRAIN, "range": FULL_RANGE},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
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
    pictures = load_pictures(options.data / "train")
    batches = shuffled_batches(pictures, options.batch, source)
    held_out = middle_part(load_pictures(options.data / "test"))
    record, losses, began = provenance(options, len(pictures)), [], time.monotonic()

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
    parser.add_argument("--data", type=Path, required=True, help="folder with JPEG photographs in train and test")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder that receives the pipeline")
    parser.add_argument("--steps", type=int, default=1812)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this much wall time")
    parser.add_argument("--seed", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse(sys.argv[1:]))
