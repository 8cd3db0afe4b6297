"""The example language model: small, as recorded, better than a trigram model, and made again by its recipe."""

from __future__ import annotations

import gzip
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

from countermark.marking.text.tokens import TextTokenizer

MODEL = Path(__file__).parents[2] / "examples" / "prose"


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
def model() -> Any:
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return LlamaForCausalLM.from_pretrained(MODEL, local_files_only=True, use_safetensors=True).eval()


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, MODEL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_it_is_small_safe_and_as_recorded(record: dict[str, Any]) -> None:
    (weights,) = MODEL.rglob("*.safetensors")
    assert weights.stat().st_size < 10e6
    assert not list(MODEL.rglob("*.bin")) + list(MODEL.rglob("*.pkl"))
    assert record["weights"] == {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert {"python", "torch", "transformers", "tokenizers"} <= record["versions"].keys()


def test_it_beats_a_trigram_model_of_the_same_tokens(record: dict[str, Any]) -> None:
    for part in ("english", "chinese"):
        assert record["nats_per_token"][part] < record["nats_per_token_of_trigram"][part]


def test_it_tells_its_languages_from_noise(model: Any) -> None:
    import torch

    tokenizer = TextTokenizer.open(MODEL)

    def loss(tokens: list[int]) -> float:
        rows = torch.tensor([[0, *tokens]])
        with torch.inference_mode():
            return float(model(input_ids=rows, labels=rows).loss)

    english = "When I came home I found my wife in bed, and so after supper to bed myself, where we slept well."
    chinese = "春風不相識，何事入羅幃。明月照高樓，流光正徘徊。"
    for text in (english, chinese):
        tokens = tokenizer.encode(text).tolist()
        mixed = np.random.Generator(np.random.PCG64(1)).permutation(tokens).tolist()
        assert loss(tokens) < loss(mixed) - 0.5
    assert model.config.vocab_size == 4096


def test_the_trigrams_probabilities_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trigram = script("trigram", monkeypatch)
    generator = np.random.Generator(np.random.PCG64(1))
    tokens = np.minimum(generator.geometric(0.2, 3000) - 1, 19)
    model = trigram.KneserNey(tokens, 20)
    for context in ([0, 1], [3, 17], [19, 19]):
        each = [model.log_probabilities(np.array([*context, token]))[0] for token in range(20)]
        assert np.exp(each).sum() == pytest.approx(1.0)
    assert model.log_probabilities(tokens).mean() > np.log(1 / 20)


def test_the_recipe_gives_the_same_weights_again_and_goes_on_where_it_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("trigram", monkeypatch)
    recipe = script("train", monkeypatch)
    generator = np.random.Generator(np.random.PCG64(2))
    words = ["".join(chr(97 + letter) for letter in generator.integers(0, 26, size)) for size in range(2, 9)]
    prose = "<|doc|>".join(" ".join(generator.choice(words, 900).tolist()) for _ in range(4))
    signs = [chr(0x4E00 + sign) for sign in range(900)]
    poems = "\n\n".join("".join(generator.choice(signs, 60).tolist()) for _ in range(400))
    for name, text in zip(recipe.FILES, (prose, prose, poems), strict=True):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))

    def weights(out: str, *options: str) -> Any:
        arguments = ["--data", str(tmp_path), "--out", str(tmp_path / out), "--batch", "1", "--warm-up", "1"]
        arguments += ["--threads", "1", "--steps", "3", *options]
        recipe.train(recipe.parse(arguments))
        record = json.loads((tmp_path / out / "training.json").read_text())
        assert record["nats_per_token"]["english"] > 0
        return record["recipe"]["steps_made"], record["weights"]

    whole = weights("whole")
    assert whole[0] == 3
    assert weights("halved", "--minutes", "0.0001")[0] == 1
    assert weights("halved", "--resume") == whole
