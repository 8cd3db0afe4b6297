"""Membership of texts: likelihoods of tokens, and the command on a model that learnt an owner's texts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from countermark.audit.signals import rank_text, text_signals
from countermark.cli.audit_membership import membership
from countermark.cli.session import Session
from countermark.errors import InputError

torch = pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

WORDS = [f"word{i}" for i in range(60)]


def texts(count: int, seed: int) -> list[str]:
    source = random.Random(seed)
    return [" ".join(source.choices(WORDS, k=12)) for _ in range(count)]


WORKS, UNSEEN, OTHER = texts(80, 1), texts(75, 2), texts(75, 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model that was trained on the works until it knows them."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0} | {w: i + 1 for i, w in enumerate(WORDS)}))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = transformers.LlamaConfig(
        vocab_size=61, hidden_size=48, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=None, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = transformers.LlamaForCausalLM(config)
        rows = torch.tensor([[0, *tokenizer.encode(text).ids] for text in WORKS])
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            net(input_ids=rows, labels=rows).loss.backward()
            optimizer.step()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    net.save_pretrained(folder)
    if bars:
        transformers.utils.logging.enable_progress_bar()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    for name, group in {"works": WORKS, "unseen": UNSEEN, "other": OTHER, "one": WORKS[:1]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in group))
    return folder


@pytest.fixture
def run(model: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, dict[str, Any]]]:
    def run(works: str) -> tuple[int, dict[str, Any]]:
        data = ["--works", str(model / f"{works}.jsonl"), "--unseen", str(model / "unseen.jsonl")]
        status = membership.main([str(model), *data], standalone_mode=False, obj=Session(json=True))
        return int(status), json.loads(capsys.readouterr().out)

    return run


def test_texts_that_a_model_learnt_are_found_and_others_are_not(
    run: Callable[[str], tuple[int, dict[str, Any]]],
) -> None:
    status, answer = run("works")
    assert (status, answer["verdict"], answer["kind"]) == (0, "used", "texts")
    assert answer["test"]["p"] == answer["test"]["floor"]
    assert set(answer["signals"]) == {"loss", "min_k"}
    assert run("other")[0] == 1
    status, answer = run("one")
    assert (status, answer["rank"], answer["among"], answer["reliable"]) == (3, 1, 76, False)


def test_likelihoods_are_those_of_the_tokens_one_by_one(model: Path) -> None:
    from countermark.adapters.likelihoods import LocalLikelihoods

    likelihoods = LocalLikelihoods(model)
    found = likelihoods(WORKS[0])
    net = transformers.LlamaForCausalLM.from_pretrained(model).eval()
    tokens = [0, *(WORDS.index(word) + 1 for word in WORKS[0].split())]
    with torch.inference_mode():
        for at in range(1, len(tokens)):
            logits = net(input_ids=torch.tensor([tokens[:at]])).logits[0, -1]
            assert found[at - 1] == pytest.approx(float(torch.log_softmax(logits, 0)[tokens[at]]), abs=1e-4)
    assert len(likelihoods(" ".join(WORDS))) == 15  # as many as the model holds
    with pytest.raises(InputError, match="at least two tokens"):
        likelihoods("")


def test_signals_of_a_text() -> None:
    values = np.array([-1.0, -5.0, -2.0, -3.0, -4.0, -1.0, -1.0, -1.0, -1.0, -1.0])
    assert text_signals(values) == {"loss": 2.0, "min_k": 4.5}
    assert text_signals(values[:1]) == {"loss": 1.0, "min_k": 1.0}
    for wrong in ([], [0.5], [np.nan], [-np.inf]):
        with pytest.raises(InputError):
            text_signals(np.array(wrong))
    with pytest.raises(InputError):
        rank_text("a", [], lambda _text: values)
