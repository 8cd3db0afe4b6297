"""Samplers: one way to draw images, whatever draws them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from countermark.adapters.samplers import DataSampler, FunctionSampler, PipelineSampler, open_sampler
from countermark.audit.models import WithLoss
from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.models.files import save_model
from countermark.errors import HostileFile, InputError

from .tiny_pipelines import build

PICTURES = np.random.default_rng(3).integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)

FUNCTIONS = """
import numpy as np

def grey(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6), dtype=np.uint8)

def loss(images):
    return images.mean(axis=(1, 2, 3))

grey.loss = loss

def fails(count, seed):
    raise RuntimeError("no weights")

def floats(count, seed):
    return np.zeros((count, 4, 6))

def fewer(count, seed):
    return np.zeros((min(count, 1), 4, 6), dtype=np.uint8)

def bad_loss(count, seed):
    return grey(count, seed)

bad_loss.loss = lambda images: images
number = 5
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    (tmp_path / "my_sampler.py").write_text(FUNCTIONS)
    return tmp_path / "my_sampler.py"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    build("ddim", folder).save_pretrained(folder / "plain")
    return folder / "plain"


class TestExampleModels:
    def test_an_example_directory_opens(self, tmp_path: Path) -> None:
        save_model(AnalyticModel("known", PICTURES), tmp_path / "known", {})
        opened = open_sampler(tmp_path / "known")
        assert (opened.name, opened.shape) == ("known", (8, 8, 1))
        assert isinstance(opened, WithLoss)
        assert opened.sample(2, seed=0).shape == (2, 8, 8, 1)
        assert opened.labels(2) is None


class TestPipelines:
    def test_an_image_depends_on_the_seed_and_its_place(self, pipeline: Path) -> None:
        opened = open_sampler(pipeline, steps=2)
        assert isinstance(opened, PipelineSampler)
        told: list[tuple[int, int, str]] = []
        drawn = opened.sample(18, seed=4, progress=lambda *state: told.append(state))
        assert drawn.shape == (18, *opened.shape)
        assert told == [(16, 18, "images"), (18, 18, "images")]
        few = opened.sample(2, seed=4)
        assert np.abs(few.astype(int) - drawn[:2]).max() <= 1  # batches round differently
        assert (opened.sample(2, seed=5) != few).any()
        assert opened.sample(0, seed=4).shape == (0, *opened.shape)

    def test_losses_are_repeatable_and_one_an_image(self, pipeline: Path) -> None:
        opened = open_sampler(pipeline)
        assert isinstance(opened, WithLoss)
        images = np.random.default_rng(1).integers(0, 256, (3, *opened.shape), dtype=np.uint8)
        losses = opened.loss(images)
        assert losses.shape == (3,)
        assert (losses > 0).all()
        np.testing.assert_allclose(opened.loss(images[:1]), losses[:1], rtol=1e-4)

    def test_prompts_that_it_does_not_take(self, pipeline: Path) -> None:
        with pytest.raises(InputError, match="takes no prompt"):
            open_sampler(pipeline, prompts=["a ship"])

    def test_prompts_go_round(self, tmp_path: Path) -> None:
        pipeline = build("sd-epsilon", tmp_path)
        with pytest.raises(InputError, match="needs a prompt"):
            PipelineSampler("sd", pipeline)
        opened = PipelineSampler("sd", pipeline, prompts=["a", "b"], steps=1)
        assert opened.sample(3, seed=0).shape == (3, *opened.shape)
        assert opened.shape[2] == 3
        with pytest.raises(InputError, match="without prompts"):
            opened.loss(opened.sample(1, seed=0))

    def test_code_of_its_own_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "X", "unet": ["evil", "Net"]}))
        with pytest.raises(HostileFile):
            open_sampler(tmp_path)


class TestFunctions:
    def test_a_function_of_a_file(self, functions: Path) -> None:
        opened = open_sampler(f"{functions}:grey")
        assert isinstance(opened, FunctionSampler)
        assert opened.shape == (4, 6, 1)
        drawn = opened.sample(3, seed=2)
        assert drawn.shape == (3, 4, 6, 1)
        np.testing.assert_array_equal(opened.loss(drawn), drawn.mean(axis=(1, 2, 3)))
        assert opened.sample(0, seed=2).shape == (0, 4, 6, 1)

    def test_a_function_of_a_module_in_this_folder(self, functions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(functions.parent)
        before = list(sys.path)
        try:
            assert open_sampler("my_sampler:grey").shape == (4, 6, 1)
        finally:
            sys.modules.pop("my_sampler", None)
        assert sys.path == before

    def test_without_a_loss_it_offers_none(self, functions: Path) -> None:
        functions.write_text(FUNCTIONS.replace("grey.loss = loss", ""))
        assert not isinstance(open_sampler(f"{functions}:grey"), WithLoss)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("fails", "RuntimeError: no weights"),
            ("floats", "images of bytes"),
            ("number", "has no function"),
            ("missing", "has no function"),
        ],
    )
    def test_functions_that_do_not_work(self, functions: Path, name: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            open_sampler(f"{functions}:{name}")

    def test_too_few_images(self, functions: Path) -> None:
        with pytest.raises(InputError, match="2 images of bytes"):
            open_sampler(f"{functions}:fewer").sample(2, seed=0)

    def test_a_loss_of_another_shape(self, functions: Path) -> None:
        opened = open_sampler(f"{functions}:bad_loss")
        assert isinstance(opened, WithLoss)
        with pytest.raises(InputError, match="one number an image"):
            opened.loss(np.zeros((2, 4, 6, 1), dtype=np.uint8))

    def test_modules_that_cannot_be_imported(self, tmp_path: Path) -> None:
        (tmp_path / "broken.py").write_text("1 / 0")
        for spec in ("no_such_module_here:draw", f"{tmp_path / 'broken.py'}:draw", f"{tmp_path / 'none.py'}:draw"):
            with pytest.raises(InputError, match="cannot import"):
                open_sampler(spec)


class TestData:
    def test_images_that_were_generated_before(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "made.npz", x_train=PICTURES, y_train=np.arange(12))
        opened = open_sampler(f"{tmp_path / 'made.npz'}:train[2:]")
        assert isinstance(opened, DataSampler)
        assert opened.count == 10
        np.testing.assert_array_equal(opened.sample(3, seed=9), PICTURES[2:5])
        labels = opened.labels(3)
        assert labels is not None
        assert labels.tolist() == [2, 3, 4]
        with pytest.raises(InputError, match="holds 10 images, not 11"):
            opened.sample(11, seed=0)

    def test_a_part_of_a_folder_is_no_function(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from PIL import Image

        (tmp_path / "made" / "good").mkdir(parents=True)
        Image.fromarray(PICTURES[0, ..., 0]).save(tmp_path / "made" / "good" / "a.png")
        monkeypatch.chdir(tmp_path)
        np.testing.assert_array_equal(open_sampler("made:good").sample(1, seed=0), PICTURES[:1])

    def test_what_is_nothing_of_these(self, tmp_path: Path) -> None:
        for spec in (tmp_path, tmp_path / "nowhere", str(tmp_path / "nowhere.npz:train")):
            with pytest.raises(InputError):
                open_sampler(spec)


def test_negative_counts_and_seeds_are_refused(functions: Path, pipeline: Path) -> None:
    for opened in (open_sampler(f"{functions}:grey"), open_sampler(pipeline, steps=1)):
        for count, seed in ((-1, 0), (1, -1)):
            with pytest.raises(InputError):
                opened.sample(count, seed=seed)
