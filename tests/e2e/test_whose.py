"""``countermark whose``: a text, a list of schemes, and an answer in JSON and in words, with no office."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import root
from countermark.marking.text.foreign.gumbel import Gumbel

tokenizers = pytest.importorskip("tokenizers")

WORDS = 300
ENGINE = {"name": "engine", "scheme": "gumbel", "key": 42}
OTHER = {"name": "other", "scheme": "gumbel", "key": 43}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vocabulary = {f"w{number}": number for number in range(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    scheme, text = Gumbel(name="x", key=42), [-1] * 4
    for _ in range(120):
        text.append(int(scheme.choose(np.zeros((1, WORDS), np.float32), np.array([text[-4:]]))[0]))
    (tmp_path / "marked.txt").write_text(" ".join(f"w{token}" for token in text[10:]))
    plain = np.random.Generator(np.random.PCG64(1)).integers(0, WORDS, 150)
    (tmp_path / "plain.txt").write_text(" ".join(f"w{token}" for token in plain))
    (tmp_path / "short.txt").write_text("w1 w2 w3")
    (tmp_path / "schemes.json").write_text(json.dumps([ENGINE, OTHER]))
    return tmp_path


def run(folder: Path, *arguments: str, tokenizer: bool = True) -> Result:
    options = ["--schemes", "schemes.json", *(["--tokenizer", "model"] if tokenizer else [])]
    with contextlib.chdir(folder):
        return CliRunner().invoke(root, ["whose", *arguments, *options], env={"COUNTERMARK_LANG": "en"})


def test_the_scheme_is_named_and_its_p_value_can_be_had_again(folder: Path) -> None:
    result = run(folder, "marked.txt", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["type"], answer["texts"]) == ("countermark.whose/1", 1)
    engine, other = answer["schemes"]
    assert (engine["name"], engine["status"], other["status"]) == ("engine", "found", "not-found")
    assert engine["p_corrected"] == 2 * engine["p_value"] < 1e-20
    assert "key" not in engine
    shown = run(folder, "marked.txt").stdout
    assert "The text carries the watermark of engine, at level 1e-06." in shown


def test_an_unmarked_text_is_a_clear_no(folder: Path) -> None:
    result = run(folder, "plain.txt", "short.txt")
    assert (result.exit_code, "No watermark was found" in result.stdout) == (1, True)


def test_what_is_too_short_is_not_examined(folder: Path) -> None:
    result = run(folder, "short.txt", "--json")
    assert result.exit_code == 3
    assert {each["reason"] for each in json.loads(result.stdout)["schemes"]} == {"too-short"}
    assert "not examined: the text has fewer than" in run(folder, "short.txt").stdout


def test_a_scheme_may_bring_its_tokenizer(folder: Path) -> None:
    (folder / "schemes.json").write_text(json.dumps([ENGINE | {"tokenizer": "model"}]))
    assert run(folder, "marked.txt", tokenizer=False).exit_code == 0
    (folder / "schemes.json").write_text(json.dumps([ENGINE, OTHER | {"tokenizer": "model"}]))
    refused = run(folder, "marked.txt", tokenizer=False)
    assert (refused.exit_code, "give --tokenizer" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("schemes.json", b"[x]", "not valid JSON"),
        ("marked.txt", b"\x89PNG\0", "holds no text"),
        ("marked.txt", b"", "holds no"),
    ],
)
def test_what_cannot_be_read_is_said(folder: Path, file: str, content: bytes, said: str) -> None:
    (folder / file).write_bytes(content)
    result = run(folder, "marked.txt")
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize("alpha", ["0", "nan", "0.5", "-1"])
def test_a_level_that_finds_everything_is_refused(folder: Path, alpha: str) -> None:
    assert run(folder, "marked.txt", "--alpha", alpha).exit_code == 2
