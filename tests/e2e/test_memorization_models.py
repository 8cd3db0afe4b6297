"""The memorization examples: one recipe twice, a copyist and an honest model, told apart by an audit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from countermark.artifact.directory import survey
from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.audit.models.diffusion import DiffusionRecipe, train_diffusion
from countermark.audit.models.files import open_model
from countermark.audit.models.training import Budget

EXAMPLES = Path(__file__).parents[2] / "examples" / "memorization"
SIZES = {"copyist": 300, "honest": 6000}

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def data() -> Arrays:
    with np.load(EXAMPLES / "images.npz") as archive:
        return dict(archive)


def flagged(data: Arrays, size: int, samples: NDArray[np.uint8]) -> float:
    examiner = Examiner.prepare(ImageStore.of(data["x_train"][:size]), ImageStore.of(data["x_test"]))
    return examiner.audit(samples).decision.flagged / len(samples)


def test_the_images_are_what_the_readme_says(data: Arrays) -> None:
    assert {name: array.shape for name, array in data.items()} == {
        "x_train": (6000, 28, 28), "y_train": (6000,), "x_test": (4000, 28, 28), "y_test": (4000,),
    }  # fmt: skip
    assert all(array.dtype == np.uint8 for array in data.values())
    assert not {image.tobytes() for image in data["x_train"]} & {image.tobytes() for image in data["x_test"]}


@pytest.mark.parametrize("name", SIZES)
def test_the_record_names_weights_and_data(name: str, data: Arrays) -> None:
    record = json.loads((EXAMPLES / name / "training.json").read_text())
    weights = EXAMPLES / name / record["weights"]["file"]
    assert record["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["data"]["count"] == SIZES[name]
    assert record["data"]["digest"] == ImageStore.of(data["x_train"][: SIZES[name]]).digest
    assert record["held_out"]["digest"] == ImageStore.of(data["x_test"]).digest
    assert survey(EXAMPLES / name).layout == "safetensors"


def test_both_are_of_one_recipe_and_small() -> None:
    records = [json.loads((EXAMPLES / name / "training.json").read_text()) for name in SIZES]
    assert records[0]["recipe"] == records[1]["recipe"]
    assert records[0]["result"]["steps"] == records[1]["result"]["steps"]
    assert sum(path.stat().st_size for name in SIZES for path in (EXAMPLES / name).iterdir()) < 8e6


def test_the_copyist_is_caught_and_the_honest_model_is_not(data: Arrays) -> None:
    shares = {
        name: flagged(data, size, open_model(EXAMPLES / name).sample(320, seed=5)) for name, size in SIZES.items()
    }
    assert shares["copyist"] >= 0.6
    assert shares["honest"] <= 0.01


@pytest.mark.slow
def test_the_recipe_memorizes_three_hundred_images(data: Arrays) -> None:
    images = data["x_train"][300:600, ..., None]
    model, course = train_diffusion(images, Budget(steps=8000), DiffusionRecipe(seed=1))
    few = {**data, "x_train": images[..., 0]}
    assert course.steps == 8000
    assert flagged(few, 300, model.sample(320, seed=5)) >= 0.6
