"""The example model: a plain diffusers pipeline that loads offline, draws, is small, and is what its record says."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODEL = Path(__file__).parents[2] / "examples" / "fashion-mnist"


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / "training.json").read_text())
    return loaded


def test_it_is_a_diffusers_layout_of_safetensors_under_eight_megabytes(record: dict[str, Any]) -> None:
    weights = MODEL / record["weights"]["file"]
    assert weights.suffix == ".safetensors"
    assert weights.stat().st_size < 8e6
    assert not list(MODEL.rglob("*.bin")) + list(MODEL.rglob("*.pkl")) + list(MODEL.rglob("*.pt"))
    index = json.loads((MODEL / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DModel"]
    assert (MODEL / "scheduler" / "scheduler_config.json").is_file()


def test_the_record_names_these_weights(record: dict[str, Any]) -> None:
    digest = hashlib.sha256((MODEL / record["weights"]["file"]).read_bytes()).hexdigest()
    assert record["weights"]["sha256"] == digest
    assert record["data"]["license"] == "MIT"
    assert record["result"]["loss"] < 0.2
    assert {"python", "torch", "diffusers"} <= record["versions"].keys()


def test_it_draws_pictures_that_differ(record: dict[str, Any]) -> None:
    import torch
    from diffusers import DDIMPipeline

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pipeline = DDIMPipeline.from_pretrained(MODEL, use_safetensors=True, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet.num_parameters() == record["result"]["parameters"] < 2_000_000
    source = torch.Generator().manual_seed(7)
    pictures = pipeline(batch_size=4, generator=source, num_inference_steps=6, output_type="np").images
    torch.set_num_threads(threads)

    assert pictures.shape == (4, 32, 32, 1)
    assert np.isfinite(pictures).all()
    assert (pictures.std(axis=(1, 2, 3)) > 0.05).all()
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.02
    # Clothing stands on black: the padding that training added comes back.
    assert pictures[:, 0].mean() < 0.1


def test_the_recipe_gives_the_same_weights_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("fashion_mnist_train", MODEL / "train.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fashion_mnist_train", recipe)
    spec.loader.exec_module(recipe)
    grey = np.random.default_rng(1).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_train=grey, x_test=grey[:2])

    records = []
    for name in ("first", "second"):
        options = ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / name), "--steps", "2", "--batch", "4"]
        recipe.train(recipe.parse(options))
        records.append(json.loads((tmp_path / name / "training.json").read_text()))

    assert records[0]["weights"] == records[1]["weights"]
    assert records[0]["result"]["steps"] == 2
    assert records[0]["data"]["sha256"] == hashlib.sha256((tmp_path / "data.npz").read_bytes()).hexdigest()
    assert (tmp_path / "first" / "model_index.json").is_file()
