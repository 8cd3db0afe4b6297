"""Regeneration attacks: any size in, the same size out, the same bytes again, and the weights their records name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
MODELS = Path(__file__).parents[2] / "benchmarks" / "models"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def attacks() -> dict[str, Callable[[Pixels], Pixels]]:
    from benchmarks.regeneration import regenerate_denoiser, regenerate_vae

    return {
        "vae": lambda image: regenerate_vae(image, 0.2),
        "denoiser": lambda image: regenerate_denoiser(image, 0.1, steps=3),
    }


def scene(height: int, width: int) -> Pixels:
    """A smooth picture with a few edges, which is what the networks know."""
    down, across = np.mgrid[0:height, 0:width] / 64
    waves = np.stack([np.sin(down + across), np.cos(down - 2 * across), np.sin(across)], axis=2)
    levels = 128 + 50 * waves + 40 * (down[..., None] > across[..., None])
    return np.clip(levels, 0, 255).astype(np.uint8)


def error(one: Pixels, other: Pixels) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("name", ["autoencoder", "denoiser"])
def test_the_record_names_these_small_weights(name: str) -> None:
    weights, record = MODELS / f"{name}.safetensors", json.loads((MODELS / f"{name}.json").read_text())
    assert weights.stat().st_size < 2e6
    assert record["weights"] == {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert record["data"]["license"] == "CC0-1.0"


@pytest.mark.parametrize("name", ["vae", "denoiser"])
@pytest.mark.parametrize("shape", [(96, 128), (1, 1), (77, 50)])
def test_any_size_keeps_its_shape_and_gives_the_same_bytes_again(name: str, shape: tuple[int, int]) -> None:
    image = scene(*shape)
    before = image.copy()
    once, again = attacks()[name](image), attacks()[name](image)
    assert once.shape == image.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", ["vae", "denoiser"])
def test_the_scene_stays_and_its_pixels_do_not(name: str) -> None:
    image = scene(128, 128)
    assert 0.3 < error(attacks()[name](image), image) < 20


def test_more_strength_costs_more() -> None:
    from benchmarks.regeneration import regenerate_denoiser, regenerate_vae

    image = scene(128, 128)
    vae = [error(regenerate_vae(image, strength), image) for strength in (0.0, 0.3, 0.8)]
    denoiser = [error(regenerate_denoiser(image, sigma), image) for sigma in (0.02, 0.1, 0.4)]
    assert vae == sorted(vae)
    assert denoiser == sorted(denoiser)


@pytest.mark.parametrize("name", ["vae", "denoiser"])
def test_tiles_leave_no_seam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import regeneration

    image = scene(200, 456)
    whole = attacks()[name](image)
    monkeypatch.setattr(regeneration, "TILE", 160)
    assert np.abs(attacks()[name](image).astype(int) - whole).max() <= 1


def test_strengths_out_of_range_are_refused() -> None:
    from benchmarks.regeneration import regenerate_denoiser, regenerate_vae

    image = scene(16, 16)
    with pytest.raises(ValueError, match="strength"):
        regenerate_vae(image, 1.5)
    for sigma, steps in ((0.0, 8), (2.0, 8), (0.1, 0)):
        with pytest.raises(ValueError, match="sigma"):
            regenerate_denoiser(image, sigma, steps=steps)
