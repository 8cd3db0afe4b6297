"""The larger example model: a plain pipeline in color that loads, draws, tells its noise, and is as recorded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "photos-64"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / "training.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from diffusers import DDIMPipeline

    loaded = DDIMPipeline.from_pretrained(MODEL, use_safetensors=True, low_cpu_mem_usage=False)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"photos_64_{name}", MODEL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_it_is_a_diffusers_layout_of_safetensors_under_twelve_megabytes(record: dict[str, Any]) -> None:
    assert sum(path.stat().st_size for path in MODEL.rglob("*.safetensors")) < 12e6
    assert (MODEL / record["weights"]["file"]).suffix == ".safetensors"
    assert not list(MODEL.rglob("*.bin")) + list(MODEL.rglob("*.pkl")) + list(MODEL.rglob("*.pt"))
    index = json.loads((MODEL / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DModel"]


def test_all_weights_that_are_kept_here_fit_into_sixty_megabytes() -> None:
    folders = (ROOT / "examples", ROOT / "benchmarks")
    assert sum(path.stat().st_size for folder in folders for path in folder.rglob("*.safetensors")) < 60e6


def test_the_record_names_these_weights(record: dict[str, Any]) -> None:
    digest = hashlib.sha256((MODEL / record["weights"]["file"]).read_bytes()).hexdigest()
    assert record["weights"]["sha256"] == digest
    assert record["data"]["license"] == "CC0-1.0"
    assert {"python", "torch", "diffusers"} <= record["versions"].keys()


def test_its_settings_let_the_sampler_run_backwards(pipeline: Any, record: dict[str, Any]) -> None:
    unet = pipeline.unet.config
    assert unet.in_channels * unet.sample_size**2 >= 4096
    assert pipeline.unet.num_parameters() == record["result"]["parameters"] < 3_000_000
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert not pipeline.scheduler.config.clip_sample


def test_its_pictures_differ_and_tell_the_noise_they_come_from(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    invert = script("invert", monkeypatch)
    source = torch.Generator().manual_seed(7)
    drawn = pipeline(batch_size=3, generator=source, num_inference_steps=10, output_type="np").images
    assert drawn.shape == (3, 64, 64, 3)
    assert (drawn.std(axis=(1, 2, 3)) > 0.05).all()
    assert np.abs(drawn[0] - drawn[1]).mean() > 0.05

    found = invert.invert(pipeline, (drawn * 255).round().astype(np.uint8), 10).numpy()
    true = torch.randn((3, 3, 64, 64), generator=torch.Generator().manual_seed(7)).numpy()
    each = invert.correlation(true.reshape(3, -1), found.reshape(3, -1))
    assert (each > 0.3).all()
    assert (np.abs(invert.correlation(np.roll(true, 1, 0).reshape(3, -1), found.reshape(3, -1))) < 0.1).all()


def test_the_recipe_gives_the_same_weights_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = script("train", monkeypatch)
    generator = np.random.default_rng(1)
    for part, count in (("train", 5), ("test", 2)):
        (tmp_path / part).mkdir()
        for index in range(count):
            levels = generator.integers(0, 256, (90, 80 + 10 * index, 3), dtype=np.uint8)
            Image.fromarray(levels).save(tmp_path / part / f"{index}.jpg")

    records = []
    for name in ("first", "second"):
        options = ["--data", str(tmp_path), "--out", str(tmp_path / name), "--steps", "2", "--batch", "2"]
        recipe.train(recipe.parse(options))
        records.append(json.loads((tmp_path / name / "training.json").read_text()))

    assert records[0]["weights"] == records[1]["weights"]
    assert records[0]["result"]["steps"] == 2
    assert records[0]["data"]["pictures"] == 5
    assert (tmp_path / "first" / "model_index.json").is_file()


def test_a_part_of_a_picture_is_a_part_of_it_or_its_mirror_image(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    recipe = script("train", monkeypatch)
    place = torch.arange(72 * 72).view(1, 72, 72)
    steps = set()
    for seed in range(20):
        part = recipe.random_part(place, torch.Generator().manual_seed(seed))
        assert part.shape == (1, 64, 64)
        steps.add(int(part[0, 0, 1] - part[0, 0, 0]))
        assert int(part[0, 1, 0] - part[0, 0, 0]) == 72
    assert steps == {1, -1}


def test_times_are_spread_over_the_whole_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    recipe = script("train", monkeypatch)
    for count in (1, 7, 16):
        times = recipe.spread_times(count, 1000, torch.Generator().manual_seed(count))
        parts = torch.arange(count + 1) * 1000 / count
        assert ((times >= parts[:-1].floor()) & (times <= parts[1:])).all()
        assert times.max() < 1000
