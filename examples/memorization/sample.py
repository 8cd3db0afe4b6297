"""Draw what both models make above what is nearest to it in their training images.

python examples/memorization/sample.py --out samples.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from countermark.audit.images.search import exact_index
from countermark.audit.images.store import ImageStore
from countermark.audit.models.files import open_model

HERE = Path(__file__).parent
SIDE = 16
ZOOM = 2
GAP = 6

Images = NDArray[np.uint8]


def pairs(model: Path, train: Images, seed: int) -> Images:
    """Return two rows of images, (2, SIDE, 28, 28): what the model draws, and the nearest training image of each."""
    drawn, seen = open_model(model).sample(SIDE, seed=seed), ImageStore.of(train)
    nearest = exact_index(seen).nearest(drawn.reshape(SIDE, -1), 1).index[:, 0]
    return np.stack([drawn[..., 0], train[nearest]])


def lay_out(blocks: list[Images]) -> Image.Image:
    """Return the blocks below each other with a gap, twice as large."""
    rows = []
    for block in blocks:
        rows += [np.concatenate(list(row), axis=1) for row in block]
        rows.append(np.full((GAP, rows[0].shape[1]), 255, dtype=np.uint8))
    sheet = np.concatenate(rows[:-1])
    return Image.fromarray(sheet.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))


def main() -> None:
    """Write the picture of the README unless told otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "samples.png")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with np.load(HERE / "images.npz") as data:
        train = data["x_train"]
    blocks = [pairs(HERE / "copyist", train[:300], options.seed), pairs(HERE / "honest", train, options.seed)]
    lay_out(blocks).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
