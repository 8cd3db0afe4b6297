"""Example models: trained briefly, saved, opened as a stranger's, and drawn from."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from countermark.audit.images.store import ImageStore
from countermark.audit.models import WithLoss
from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.models.diffusion import DiffusionRecipe, train_diffusion
from countermark.audit.models.example import Example, train_example
from countermark.audit.models.files import CONFIG, RECORD, WEIGHTS, ExampleModel, open_model, save_model
from countermark.audit.models.gan import GanRecipe, train_gan
from countermark.audit.models.training import Budget
from countermark.errors import HostileFile, InputError

SHAPE = (8, 8, 1)
FEW = Budget(steps=5)


def pictures(count: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def rmse_to_nearest(drawn: np.ndarray[Any, Any], images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    differences = drawn[:, None].astype(float) - images[None]
    return np.sqrt((differences**2).mean(axis=(2, 3, 4))).min(axis=1) / 255


def make(kind: str) -> ExampleModel:
    recipe = DiffusionRecipe(hidden=16)
    match kind:
        case "diffusion":
            return train_diffusion(pictures(20), FEW, recipe)[0]
        case "labels":
            return train_diffusion(pictures(20), FEW, replace(recipe, classes=3), labels=np.arange(20) % 3)[0]
        case "color":
            return train_diffusion(pictures(20, shape=(6, 4, 3)), FEW, recipe)[0]
        case "gan":
            return train_gan(pictures(20), FEW, GanRecipe(hidden=16))[0]
    return AnalyticModel("analytic", pictures(20))


@pytest.fixture(scope="module", params=["diffusion", "labels", "color", "gan", "analytic"])
def model(request: pytest.FixtureRequest) -> ExampleModel:
    return make(request.param)


class TestEveryModel:
    def test_a_saved_model_draws_what_it_drew(self, model: ExampleModel, tmp_path: Path) -> None:
        save_model(model, tmp_path / "saved", {"note": "kept"})
        opened = open_model(tmp_path / "saved")
        assert opened.name == "saved"
        assert opened.shape == model.shape
        assert opened.config() == model.config()
        np.testing.assert_array_equal(opened.sample(3, seed=5), model.sample(3, seed=5))
        record = json.loads((tmp_path / "saved" / RECORD).read_text())
        assert record["note"] == "kept"
        assert len(record["weights"]["sha256"]) == 64

    def test_an_image_depends_on_the_seed_and_its_place_alone(self, model: ExampleModel) -> None:
        many = model.sample(70, seed=1)
        assert many.shape == (70, *model.shape)
        assert many.dtype == np.uint8
        np.testing.assert_array_equal(model.sample(66, seed=1), many[:66])
        assert (model.sample(3, seed=2) != many[:3]).any()
        assert model.sample(0, seed=1).shape == (0, *model.shape)

    def test_progress_ends_at_the_count(self, model: ExampleModel) -> None:
        told: list[tuple[int, int, str]] = []
        model.sample(70, seed=1, progress=lambda *state: told.append(state))
        assert told == [(64, 70, "images"), (70, 70, "images")]

    def test_a_negative_count_or_seed_is_refused(self, model: ExampleModel) -> None:
        with pytest.raises(InputError):
            model.sample(-1, seed=1)
        with pytest.raises(InputError):
            model.sample(1, seed=-1)

    def test_losses_are_repeatable_and_one_an_image(self, model: ExampleModel) -> None:
        if not isinstance(model, WithLoss):
            assert "gan" in type(model).__name__.lower()
            return
        images = pictures(7, 3, model.shape)
        losses = model.loss(images)
        assert losses.shape == (7,)
        assert (losses > 0).all()
        np.testing.assert_array_equal(model.loss(images), losses)
        np.testing.assert_allclose(model.loss(images[2:3]), losses[2:3], rtol=1e-5)


def test_labels_go_round() -> None:
    model = make("labels")
    labels = model.labels(7)
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert make("diffusion").labels(7) is None


@pytest.mark.parametrize("count", [1, 50])
def test_the_analytic_denoiser_draws_its_training_images(count: int) -> None:
    images = pictures(count)
    drawn = AnalyticModel("known", images).sample(100, seed=3)
    assert rmse_to_nearest(drawn, images).max() < 1e-3


def test_the_analytic_denoiser_draws_all_of_them_about_equally() -> None:
    images = pictures(5)
    drawn = AnalyticModel("known", images).sample(640, seed=3)
    nearest = (drawn[:, None] != images[None]).sum(axis=(2, 3, 4)).argmin(axis=1)
    counts = np.bincount(nearest, minlength=5)
    assert counts.min() > 128 - 5 * 11  # 128 expected each, standard deviation 10


def test_the_analytic_denoiser_explains_its_own_images_better() -> None:
    images = pictures(30)
    model = AnalyticModel("known", images)
    assert model.loss(images).max() < model.loss(pictures(30, seed=9)).min()


def test_training_repeats_exactly_and_minutes_become_steps() -> None:
    images, recipe = pictures(20), DiffusionRecipe(seed=4, hidden=8)
    first, course = train_diffusion(images, Budget(minutes=0.001), recipe)
    again, _ = train_diffusion(images, Budget(steps=course.steps), recipe)
    np.testing.assert_array_equal(first.sample(2, seed=0), again.sample(2, seed=0))
    other, _ = train_diffusion(images, Budget(steps=course.steps), DiffusionRecipe(seed=5, hidden=8))
    assert (first.sample(2, seed=0) != other.sample(2, seed=0)).any()


def test_a_loss_falls_and_is_told() -> None:
    told: list[tuple[int, int, float]] = []
    _, course = train_diffusion(
        pictures(1), Budget(steps=300), DiffusionRecipe(hidden=32), watch=lambda *state: told.append(state)
    )
    assert [step for step, _, _ in told] == [50, 100, 150, 200, 250, 300]
    assert told[-1][2] < 0.2 * told[0][2]
    assert course.steps == 300


def test_one_image_is_memorized_in_seconds() -> None:
    images = pictures(1)
    for model, _ in (
        train_diffusion(images, Budget(steps=400), DiffusionRecipe(hidden=64)),
        train_gan(images, Budget(steps=1500), GanRecipe(hidden=32)),
    ):
        held_out = rmse_to_nearest(pictures(50, seed=8), images)
        assert rmse_to_nearest(model.sample(50, seed=1), images).max() < 0.5 * held_out.min()


@pytest.mark.parametrize(
    ("images", "labels", "classes"),
    [
        (pictures(0), None, 0),
        (pictures(3).astype(np.float32), None, 0),
        (pictures(3)[..., 0], None, 0),
        (pictures(3, shape=(4, 4, 2)), None, 0),
        (pictures(3), None, 2),
        (pictures(3), np.array([0, 1, 2]), 2),
        (pictures(3), np.array([0, 1]), 2),
        (pictures(3), np.array([0, 1, -1]), 2),
    ],
)
def test_images_that_cannot_be_trained_on_are_refused(images: Any, labels: Any, classes: int) -> None:
    with pytest.raises(InputError):
        train_diffusion(images, FEW, DiffusionRecipe(hidden=8, classes=classes), labels=labels)


@pytest.mark.parametrize(("steps", "minutes"), [(None, None), (5, 1.0), (0, None), (None, 0.0), (None, float("nan"))])
def test_budgets_out_of_range_are_refused(steps: int | None, minutes: float | None) -> None:
    with pytest.raises(InputError):
        Budget(steps, minutes)


class TestDirectories:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        save_model(make("diffusion"), tmp_path / "model", {})
        return tmp_path / "model"

    def change(self, saved: Path, **values: Any) -> None:
        config = json.loads((saved / CONFIG).read_text())
        (saved / CONFIG).write_text(json.dumps(config | values))

    def test_a_directory_of_something_else_is_no_example(self, tmp_path: Path, saved: Path) -> None:
        with pytest.raises(InputError):
            open_model(tmp_path / "nowhere")
        self.change(saved, type="another")
        with pytest.raises(InputError, match="is no example model"):
            open_model(saved)

    def test_a_pickle_beside_the_weights_is_refused(self, saved: Path) -> None:
        (saved / "extra.bin").write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(HostileFile, match="pickle"):
            open_model(saved)

    def test_weights_that_are_a_pickle_are_refused(self, saved: Path) -> None:
        (saved / WEIGHTS).write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(HostileFile):
            open_model(saved)

    def test_no_weights(self, saved: Path) -> None:
        (saved / WEIGHTS).rename(saved / "other.safetensors")
        with pytest.raises(InputError, match="holds no"):
            open_model(saved)

    @pytest.mark.parametrize(
        "values",
        [
            {"kind": "transformer"},
            {"kind": "gan"},
            {"kind": ["diffusion"]},
            {"shape": [8, 8]},
            {"shape": [8, 8, 2]},
            {"shape": [8, 8, True]},
            {"shape": [16, 8, 1]},
            {"shape": [0, 8, 1]},
            {"shape": [10**9, 10**9, 3]},
            {"shape": "8x8x1"},
            {"hidden": 17},
            {"hidden": 10**9},
            {"hidden": -1},
            {"hidden": 16.0},
            {"blocks": 3},
            {"classes": 2},
            {"steps": 0},
            {"steps": 10**9},
            {"more": 1},
        ],
    )
    def test_configurations_that_lie_are_refused(self, saved: Path, values: dict[str, Any]) -> None:
        self.change(saved, **values)
        with pytest.raises(HostileFile):
            open_model(saved)

    @pytest.mark.parametrize("text", ["{", "[]", "null", '{"type": NaN}', "[" * 100_000, " " * 70_000 + "{}"])
    def test_configurations_that_are_none_are_refused(self, saved: Path, text: str) -> None:
        (saved / CONFIG).write_text(text)
        with pytest.raises(InputError):
            open_model(saved)

    def test_tensors_that_do_not_fit_are_refused(self, saved: Path) -> None:
        good = load_file(saved / WEIGHTS)
        name = "input.weight"
        infinite = good[name].copy()
        infinite[0, 0] = np.inf
        for tensors in (
            good | {name: good[name][:-1]},
            good | {name: good[name].astype(np.float32)},
            good | {"extra": good[name]},
            {key: tensor for key, tensor in good.items() if key != name},
            good | {name: infinite},
        ):
            save_file(tensors, saved / WEIGHTS)
            with pytest.raises(HostileFile):
                open_model(saved)

    def test_an_analytic_directory_with_other_tensors_is_refused(self, tmp_path: Path) -> None:
        save_model(make("analytic"), tmp_path / "known", {})
        images = load_file(tmp_path / "known" / WEIGHTS)["images"]
        for tensors in ({"images": images[:, :-1]}, {"images": images.astype(np.int16)}, {"other": images}):
            save_file(tensors, tmp_path / "known" / WEIGHTS)
            with pytest.raises(HostileFile):
                open_model(tmp_path / "known")

    def test_a_truncated_file_is_refused(self, saved: Path) -> None:
        content = (saved / WEIGHTS).read_bytes()
        for size in (0, 4, 100, len(content) - 1):
            (saved / WEIGHTS).write_bytes(content[:size])
            with pytest.raises(InputError):
                open_model(saved)

    def test_only_an_example_is_replaced(self, saved: Path, tmp_path: Path) -> None:
        save_model(make("gan"), saved, {})
        assert open_model(saved).config()["latent"] == 64
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thesis.txt").write_text("dear")
        with pytest.raises(InputError, match="not empty"):
            save_model(make("gan"), tmp_path / "other", {})
        with pytest.raises(InputError, match="not a folder"):
            save_model(make("gan"), tmp_path / "other" / "thesis.txt", {})


class TestRecord:
    def test_it_names_data_recipe_and_versions(self, tmp_path: Path) -> None:
        train, held_out = ImageStore.of(pictures(20)), ImageStore.of(pictures(10, 1))
        record = train_example(
            Example("diffusion", FEW, seed=3, hidden=16), train, tmp_path / "made", held_out=held_out
        )
        assert record == json.loads((tmp_path / "made" / RECORD).read_text())
        assert record["data"] == {"name": train.data_name, "count": 20, "digest": train.digest}
        assert record["held_out"]["digest"] == held_out.digest
        assert record["recipe"]["seed"] == 3
        assert record["recipe"]["hidden"] == 16
        assert record["result"]["steps"] == 5
        assert record["result"]["train_loss"] > 0
        assert record["result"]["held_out_loss"] > 0
        assert set(record["versions"]) == {"python", "torch", "numpy"}

    def test_labels(self, tmp_path: Path) -> None:
        train = ImageStore.of(pictures(20), np.arange(20) % 4)
        made = Example("diffusion", FEW, hidden=16, with_labels=True)
        record = train_example(made, train, tmp_path / "made", held_out=train)
        assert record["recipe"]["classes"] == 4
        with pytest.raises(InputError, match="no labels"):
            train_example(made, ImageStore.of(pictures(20)), tmp_path / "other")

    def test_choices_that_do_not_go_together(self, tmp_path: Path) -> None:
        for given in (
            {"kind": "vae", "budget": FEW},
            {"kind": "gan", "budget": FEW, "with_labels": True},
            {"kind": "gan"},
            {"kind": "analytic", "budget": FEW},
            {"kind": "gan", "budget": FEW, "seed": -1},
            {"kind": "gan", "budget": FEW, "hidden": 0},
        ):
            with pytest.raises(InputError):
                Example(**given)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="shape"):
            train_example(
                Example("analytic"), ImageStore.of(pictures(3)), tmp_path / "made",
                held_out=ImageStore.of(pictures(3, shape=(4, 4, 1))),
            )  # fmt: skip
