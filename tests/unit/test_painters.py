"""Painters around real pipelines: from a directory, with prompts, from a picture, and back to the noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from countermark.adapters.diffusion import DiffusersPainter, DiffusersPipelines
from countermark.core.keys import Secret
from countermark.errors import HostileFile, InputError
from countermark.marking import Detection
from countermark.marking.image import noise_ledger
from countermark.marking.image.noise import NoiseMark
from countermark.marking.image.noise_ledger import Recorded
from countermark.workflows.pipelines import Order

from .tiny_pipelines import build

MARK = NoiseMark(Secret(b"m" * 32))
SEED = Secret(b"s" * 32)
WORD = 0x0123_4567_89AB_CDEF
SOURCE = "sha256:" + "0" * 64


@pytest.fixture
def painter(tmp_path: Path) -> DiffusersPainter:
    return DiffusersPainter(build("sd-v", tmp_path))


def draw(painter: DiffusersPainter, order: Order, *, count: int = 2, source: np.ndarray | None = None) -> np.ndarray:
    painter.check(order)
    return np.stack(painter.paint(MARK, WORD, 7, order, count=count, seed=SEED, source=source))


def test_what_is_drawn_on_a_prompt_is_inverted_to_its_noise(painter: DiffusersPainter) -> None:
    order = Order(prompt="a lighthouse", steps=4, count=2)
    pictures = draw(painter, order)
    assert (pictures.shape, pictures.dtype) == ((2, *painter.side, 3), np.uint8)
    latents = painter.invert(list(pictures), order.way)
    assert latents.shape == (2, painter.size)
    seen = MARK.read(latents[1])
    assert isinstance(seen, Detection)
    assert (seen.word, MARK.counter(seen.nonce or 0, painter.size)) == (WORD, 8)


def test_image_to_image_is_recognized_at_its_strength(painter: DiffusersPainter) -> None:
    order = Order(prompt="a lighthouse", steps=5, source=SOURCE, strength=0.8)
    pictures = draw(painter, order, source=np.ascontiguousarray(data.astronaut()[:200, :300]))
    spread = np.stack([MARK.spread(latent) for latent in painter.invert(list(pictures[:1]), order.way)])
    recorded = Recorded.of([7, 8], np.stack([MARK.pattern(WORD, counter, painter.size) for counter in (7, 8)]))
    match = noise_ledger.search(recorded, spread, own=MARK.own_signs(painter.size))
    assert match is not None
    assert (match.name, match.p_value < 1e-9) == (7, True)


def test_a_model_with_prompts_needs_one(painter: DiffusersPainter) -> None:
    with pytest.raises(InputError, match="needs a prompt"):
        painter.check(Order())


def test_an_unconditional_model_takes_neither_prompt_nor_picture(tmp_path: Path) -> None:
    painter = DiffusersPipelines().open(Path(__file__).parents[2] / "examples" / "fashion-mnist")
    for order in (Order(prompt="a"), Order(source=SOURCE, strength=0.5)):
        with pytest.raises(InputError):
            painter.check(order)


def test_a_pipeline_is_loaded_once_and_only_from_parts_of_diffusers(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    build("sd-v", tmp_path / "made").save_pretrained(tmp_path / "saved")
    pipelines = DiffusersPipelines()
    with pytest.raises(HostileFile):
        pipelines.open(tmp_path / "saved")  # its autoencoder is a class of these tests
    index = json.loads((tmp_path / "saved" / "model_index.json").read_text())
    (tmp_path / "saved" / "model_index.json").write_text(json.dumps({**index, "vae": ["diffusers", "AutoencoderKL"]}))
    painter = pipelines.open(tmp_path / "saved")
    assert pipelines.open(tmp_path / "made" / ".." / "saved") is painter
    assert draw(painter, Order(prompt="a", steps=1), count=1).shape == (1, *painter.side, 3)
