"""How much of the initial noise do the model's pictures still tell? The figures of the model card.

    python examples/photos-64/invert.py --count 16

Pictures are drawn from known noise, rounded to bytes, damaged, and the sampler is run backwards with diffusers' own
inverse scheduler. A row gives, over the pictures, the correlation of true and recovered noise (mean and lowest), the
share of equal signs, and the correlation of three groups of cosine frequencies: the lowest quarter of the range along
each side, the next up to a half, and the rest.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMInverseScheduler, DDIMPipeline
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.fft import dctn

HERE = Path(__file__).parent
Pixels = NDArray[np.uint8]


def jpeg(picture: Pixels) -> Pixels:
    """Compress at quality 50 and read again."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def noise(picture: Pixels) -> Pixels:
    """Add noise with a standard deviation of 0.05 of the range, the same for every picture."""
    added = np.random.default_rng(0).normal(0, 0.05 * 255, picture.shape)
    return np.clip(picture + added, 0, 255).round().astype(np.uint8)


def blur(picture: Pixels) -> Pixels:
    """Blur by a Gaussian of one pixel."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1)))


def brightness(factor: float) -> Callable[[Pixels], Pixels]:
    """Return what multiplies all levels by ``factor``."""
    return lambda picture: np.clip(picture * factor, 0, 255).round().astype(np.uint8)


DAMAGES: dict[str, Callable[[Pixels], Pixels]] = {
    "none": np.asarray,
    "JPEG 50": jpeg,
    "noise 0.05": noise,
    "blur 1": blur,
    "brightness 0.7": brightness(0.7),
    "brightness 1.3": brightness(1.3),
}


def invert(pipeline: DDIMPipeline, pictures: Pixels, steps: int) -> torch.Tensor:
    """Run the sampler backwards from bytes (n, 64, 64, 3); returns the noise (n, 3, 64, 64)."""
    scheduler = DDIMInverseScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(steps)
    state = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        for time in scheduler.timesteps:
            state = scheduler.step(pipeline.unet(state, time).sample, time, state).prev_sample
    return state


def correlation(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Correlation of each row of ``one`` with that row of ``other``."""
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    products: NDArray[Any] = (one * other).sum(axis=1)
    return products / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))


def by_frequency(one: NDArray[Any], other: NDArray[Any]) -> list[float]:
    """Mean correlation over pictures for low, middle and high cosine frequencies."""
    spectra = [dctn(planes, axes=(2, 3), norm="ortho") for planes in (one, other)]
    highest = np.maximum.outer(np.arange(one.shape[2]), np.arange(one.shape[3])) / one.shape[2]
    groups = (highest < 0.25, (highest >= 0.25) & (highest < 0.5), highest >= 0.5)
    return [float(correlation(*(s[:, :, group].reshape(len(s), -1) for s in spectra)).mean()) for group in groups]


def main() -> None:
    """Print one row of a Markdown table for each damage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=HERE)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pipeline = DDIMPipeline.from_pretrained(options.model, use_safetensors=True, low_cpu_mem_usage=False)
    source = torch.Generator().manual_seed(options.seed)
    # The pipeline draws the same noise from the same seed.
    true = torch.randn((options.count, 3, 64, 64), generator=torch.Generator().manual_seed(options.seed)).numpy()
    drawn = pipeline(
        batch_size=options.count, generator=source, num_inference_steps=options.steps, output_type="np"
    ).images
    pictures = (drawn * 255).round().astype(np.uint8)
    print("| damage | correlation | lowest | equal signs | low frequencies | middle | high |\n" + "|---" * 7 + "|")
    for name, damage in DAMAGES.items():
        found = invert(pipeline, np.stack([damage(picture) for picture in pictures]), options.steps).numpy()
        each = correlation(*(planes.reshape(len(planes), -1) for planes in (true, found)))
        figures = [each.mean(), each.min(), np.mean(np.sign(true) == np.sign(found)), *by_frequency(true, found)]
        print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
