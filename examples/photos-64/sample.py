"""Draw a grid of samples from the larger example model.

python examples/photos-64/sample.py --out samples.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DDIMPipeline
from PIL import Image

HERE = Path(__file__).parent
SIDE, ROWS = 8, 4


def draw(model: Path, count: int, steps: int, seed: int) -> list[Image.Image]:
    """Return ``count`` colour 64x64 pictures; deterministic in ``seed`` on one machine."""
    pipeline = DDIMPipeline.from_pretrained(model, use_safetensors=True, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=None)
    source = torch.Generator().manual_seed(seed)
    pictures = pipeline(batch_size=count, generator=source, num_inference_steps=steps, output_type="np").images
    return [Image.fromarray((picture * 255).round().astype("uint8"), "RGB") for picture in pictures]


def lay_out(pictures: list[Image.Image], side: int) -> Image.Image:
    """Return the pictures in rows of ``side``."""
    cell = pictures[0].width
    sheet = Image.new("RGB", (side * cell, len(pictures) // side * cell))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % side * cell, index // side * cell))
    return sheet


def main() -> None:
    """Write the grid of the model card unless told otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=HERE)
    parser.add_argument("--out", type=Path, default=HERE / "samples.png")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lay_out(draw(options.model, SIDE * ROWS, options.steps, options.seed), SIDE).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
