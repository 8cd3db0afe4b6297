"""The laws of the example models: what the analytic denoiser draws, whose image i is, what a directory keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.models.diffusion import DiffusionModel
from countermark.audit.models.files import ExampleModel, open_model, save_model
from countermark.audit.models.gan import GanModel
from countermark.audit.models.networks import DenoiserNet, PainterNet, initial
from countermark.audit.models.training import rounded

SHAPES = st.tuples(st.integers(4, 6), st.integers(4, 6), st.sampled_from([1, 3]))
SEEDS = st.integers(0, 2**32)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """A few images of random bytes: far from each other."""
    shape = (draw(st.integers(1, 8)), *draw(SHAPES))
    return np.random.default_rng(draw(SEEDS)).integers(0, 256, shape, dtype=np.uint8)


@st.composite
def models(draw: st.DrawFn) -> ExampleModel:
    shape, seed = draw(SHAPES), draw(SEEDS)
    pixels, hidden = shape[0] * shape[1] * shape[2], draw(st.integers(1, 6))
    if draw(st.booleans()):
        painter = PainterNet(pixels, hidden, draw(st.integers(1, 5)))
        return GanModel("gan", shape, painter, rounded(initial(painter, seed)))
    net = DenoiserNet(pixels, hidden, draw(st.integers(0, 3)), draw(st.integers(0, 4)))
    return DiffusionModel("diffusion", shape, net, rounded(initial(net, seed)), draw(st.integers(1, 4)))


@settings(max_examples=25)
@given(images(), SEEDS)
def test_the_analytic_denoiser_draws_what_it_was_given(given: np.ndarray[Any, Any], seed: int) -> None:
    drawn = AnalyticModel("known", given).sample(10, seed=seed)
    differences = np.abs(drawn[:, None].astype(int) - given[None]).max(axis=(2, 3, 4)).min(axis=1)
    assert differences.max() == 0


@settings(max_examples=25)
@given(models(), SEEDS, st.integers(0, 70), st.integers(0, 70))
def test_the_first_images_of_more_are_the_images(model: ExampleModel, seed: int, few: int, more: int) -> None:
    few, more = sorted((few, more))
    many = model.sample(more, seed=seed)
    assert many.shape == (more, *model.shape)
    np.testing.assert_array_equal(model.sample(few, seed=seed), many[:few])


@settings(max_examples=25)
@given(models(), SEEDS)
def test_a_directory_keeps_what_is_drawn(model: ExampleModel, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "model", {})
        opened = open_model(Path(folder) / "model")
    assert opened.config() == model.config()
    np.testing.assert_array_equal(opened.sample(3, seed=seed), model.sample(3, seed=seed))


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 3), st.integers(0, 3), SEEDS)
def test_a_network_reads_the_tensors_that_it_names(
    pixels: int, hidden: int, blocks: int, classes: int, seed: int
) -> None:
    import torch

    net = DenoiserNet(pixels, hidden, blocks, classes)
    read: set[str] = set()

    class Watched(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

    weights = Watched(initial(net, seed))
    labels = torch.zeros(2, dtype=torch.long) if classes else None
    assert net.run(weights, torch.zeros(2, pixels), torch.zeros(2), labels).shape == (2, pixels)
    assert read == net.shapes().keys() == weights.keys()
    assert all(weights[name].shape == shape for name, shape in net.shapes().items())
    again = initial(net, seed)
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())
