"""Tokenizers read from strangers' files, and texts as pages."""

import json
import re

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from countermark.errors import HostileFile, InputError
from countermark.marking.text.page import shaded_page
from countermark.marking.text.tokens import MAX_TEXT_BYTES, TextTokenizer

TEXT = "The keeper of the old lighthouse said: <b>春眠不覺曉</b>, & slept.\n\nThe end."


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator([TEXT, "the keeper and the lighthouse"], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    bpe.save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(file):
    return TextTokenizer.open(file)


def test_texts_become_tokens_and_back(tokenizer, file):
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert TextTokenizer.open(file.parent).digest == tokenizer.digest
    assert re.fullmatch("sha256:[0-9a-f]{64}", tokenizer.digest)
    assert len(tokenizer.encode("\ud800")) == 1, "half a character is read as a question mark"


def test_an_excerpt_is_read_with_and_without_the_space_that_it_lost(tokenizer):
    whole = tokenizer.encode("said the keeper of the old lighthouse")
    rows = tokenizer.rows("keeper of the old lighthouse")
    assert np.isin(rows[0][1:], whole).all()
    assert np.array_equal(rows[-1], tokenizer.encode("keeper of the old lighthouse"))
    assert len(tokenizer.rows(" keeper")) == len(tokenizer.rows("")) == 1


def test_places_are_those_of_the_tokens(tokenizer):
    places = tokenizer.places(TEXT)
    assert len(places) == len(tokenizer.encode(TEXT))
    assert {at for start, end in places for at in range(start, end)} == set(range(len(TEXT)))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b"\xff", b"[" * 100_000, json.dumps({"model": 3}).encode()])
def test_what_is_no_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError):
        TextTokenizer.open(tmp_path)


def test_missing_and_large_files_and_texts_are_refused(tmp_path, tokenizer, monkeypatch):
    with pytest.raises(InputError, match="cannot read"):
        TextTokenizer.open(tmp_path)
    with pytest.raises(InputError, match="bytes"):
        tokenizer.encode("a" * (MAX_TEXT_BYTES + 1))
    monkeypatch.setattr("countermark.marking.text.tokens.MAX_FILE_BYTES", 10)
    (tmp_path / "tokenizer.json").write_bytes(b" " * 11)
    with pytest.raises(HostileFile):
        TextTokenizer.open(tmp_path)


def test_a_page_holds_all_of_the_text_and_nothing_of_it_as_markup(tokenizer):
    places = tokenizer.places(TEXT)
    scores = np.linspace(0.0, 9.0, len(places))
    scores[:3] = np.nan
    page = shaded_page(
        TEXT, places, scores, heading="<leak>", facts=[("p", "1 < 2")], legend=("plain", "full", "none"), language="zh"
    )
    body = page.split("<p>")[1].split("</p>")[0]
    assert re.sub("<[^>]*>", "", body).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == TEXT
    assert set(re.findall("</?([a-z]+)", body)) == {"u", "b"}
    assert "&lt;leak&gt;" in page
    assert '<html lang="zh">' in page
    assert "0.65" in body


def test_tokens_of_one_character_are_one_piece():
    page = shaded_page(
        "春a", [(0, 1), (0, 1), (1, 2)], np.array([9.0, 0.5, np.nan]), heading="", facts=[], legend=("", "", "")
    )
    assert '<b style="background: rgba(15, 118, 110, 0.65)" title="9.0">春</b><u>a</u>' in page
