"""Models for the market's demo: copies of a model whose last tensors were changed, as a fine-tuned model's are."""

from __future__ import annotations

import shutil
from pathlib import Path

_CHANGED = 3


def derive(parent: Path, target: Path, *, seed: int) -> Path:
    """Write a copy of a model in which the last tensors of each weights file differ, and return its folder.

    Args:
        parent: model directory with safetensors weights.
        target: folder to make.
        seed: of the change; another one gives another model.
    """
    shutil.copytree(parent, target, ignore=shutil.ignore_patterns("*.py", "*.png", "README.md", "training.json"))
    for path in target.rglob("*.safetensors"):
        _change(path, seed)
    return target


def _change(path: Path, seed: int) -> None:
    import numpy as np

    from countermark.artifact.safetensors import read_header

    data, noise = bytearray(path.read_bytes()), np.random.default_rng(seed)
    with path.open("rb") as file:
        tensors = read_header(file, len(data)).tensors
    for tensor in sorted(tensors, key=lambda each: each.name)[-_CHANGED:]:
        values = np.frombuffer(bytes(data[tensor.begin : tensor.end]), dtype="<f4")
        changed = values * (1 + 0.01 * noise.standard_normal(values.size))
        data[tensor.begin : tensor.end] = changed.astype("<f4").tobytes()
    path.write_bytes(data)


def spoil(path: Path, at: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
