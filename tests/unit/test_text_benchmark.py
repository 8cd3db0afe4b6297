"""The benchmark of text marks: its made-up laws, its register, its short cuts, and its parts on a tiny model."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from benchmarks import text_calibration, text_marks, text_quality, text_trials, text_writers  # noqa: E402
from benchmarks.text_writers import LawWriter, write_texts  # noqa: E402
from countermark.core.keys import Secret  # noqa: E402
from countermark.marking.text.sampling import TextMark  # noqa: E402


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


TEXT = "\n".join(f"- {' '.join(generator(i).choice(list('abcdefghijklmnop'), 20))}" for i in range(600))


@pytest.fixture(scope="module")
def laws():
    return LawWriter(2.5, vocabulary=500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of 300 tokens that knows nothing, with its tokenizer, and a human text."""
    path = tmp_path_factory.mktemp("language") / "tiny"
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    bpe.train_from_iterator([TEXT], trainer)
    bpe.save(str(path / "tokenizer.json"))
    (path.parent / "human.txt").write_text(TEXT)
    return path


def test_laws_are_as_open_as_they_are_asked_to_be(laws):
    rows = laws.rows(np.zeros(40, np.uint64), 100, generator(), None)
    chosen, nats = laws.laws_of(rows)
    assert nats.mean() == pytest.approx(2.5, rel=0.15)
    assert chosen.mean() == pytest.approx(nats.mean(), abs=0.15)


def test_an_author_is_named_among_a_million_and_a_stranger_is_not(laws):
    reply = write_texts(laws, 1, 200, generator())[0]
    seen = reply.mark.look(reply.tokens)
    register = text_trials.Register(generator(2), [reply.word])
    answer, named = register.trace(seen, 1e-3)
    assert named == reply.word
    assert register.trace(seen, 1e-3, frozenset([answer.identifier]))[1] is None
    assert text_trials.Register(generator(3)).trace(seen, 1e-3)[1] is None


def test_the_best_word_is_the_best(laws):
    register, table = text_trials.Register(generator()), None
    reply = write_texts(laws, 1, 100, generator())[0]
    table = text_trials.table_of(reply.mark.look(reply.tokens)[0])
    assert register.best_word(table) == int(register.words[table.agreement(register.words).argmax()])
    assert table.tail(register.highest(table)) <= text_trials.chernoff(table, register.highest(table))
    assert register.holds(int(register.words[77]))
    assert not register.holds(int(register.words[77]) ^ 1 << 40)


def test_quick_p_values_are_those_of_the_detector(monkeypatch):
    """On another grid: the best word's bound may differ by a little."""
    monkeypatch.setattr(text_calibration, "KEYS", 4)
    passage = generator().integers(0, 300, 200)
    values = text_calibration.pair_values(passage, 200, generator(5))
    same = generator(5)
    for detect, _, whole in values:
        seen = TextMark(Secret(same.bytes(32))).look(passage)[0]
        assert 0.0 < detect <= 1.0
        assert whole == pytest.approx(seen.p_value, rel=0.35)


def test_small_parts_run_and_say_what_they_found(folder, monkeypatch, capsys, tmp_path):
    numbers = {
        "traces": 4, "texts": 4, "pairs": 400, "traced-pairs": 4, "found": 4, "draws": 10_000, "batches": 4,
        "turns": 4, "peer-texts": 4,
    }  # fmt: skip
    for module, name, value in (
        (text_trials, "LICENSEES", 1000), (text_calibration, "LENGTHS", {50: 1.0}), (text_calibration, "FOUND", (50,)),
        (text_quality, "LENGTH", 20), (text_quality, "BATCH", 2), (text_quality, "LAW_BATCHES", 1),
        (text_writers, "_PROBES", 1), (text_writers, "_PROBE_TOKENS", 20),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    parts = "accusations,calibration,lengths,distortion"
    options = [f"--{name}={value}" for name, value in numbers.items()]
    monkeypatch.setattr(
        sys, "argv",
        ["text_marks", "--jobs=0", f"--model={folder}", f"--human={folder.parent / 'human.txt'}", f"--parts={parts}",
         f"--calibration={tmp_path / 'kept.json'}", *options],
    )  # fmt: skip
    text_marks.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {row["part"] for row in report["rows"]} == set(parts.split(","))
    (everything,) = (row for row in report["rows"] if row.get("edit") == "all")
    assert everything["wrong"] == 0
    assert everything["n"] >= 4
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["human"][0]["pairs"] >= 50
    assert kept["marked"][0]["texts"] == 4
    assert any(row["bar"].startswith("shift of nats") for row in report["summary"]["bars"])
