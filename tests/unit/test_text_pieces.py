"""Long texts, read piece by piece."""

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.marking import NotExamined
from countermark.marking.text import pieces
from countermark.marking.text.pieces import look_at
from countermark.marking.text.sampling import TextMark

MARK, WORD = TextMark(Secret(b"k" * 32)), np.array([77], dtype=np.uint64)


@pytest.fixture
def short_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 400)
    monkeypatch.setattr(pieces, "OVERLAP", 100)


def host(length):
    return np.random.Generator(np.random.PCG64(1)).integers(0, 5000, length)


def marked(length):
    laws, tokens = np.random.Generator(np.random.PCG64(2)).normal(size=(16, 500)).astype(np.float32), [1, 2]
    while len(tokens) < length:
        tokens.append(int(MARK.choose(laws[None, tokens[-1] % 16], np.array([tokens[-2:]]), WORD)[0]))
    return np.array(tokens)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("start", [0, 350, 850])
def test_a_part_is_found_in_its_piece_and_its_place_is_that_in_the_text(start):
    text = host(1000)
    text[start : start + 90] = marked(90)
    found = look_at(MARK, (text,))
    assert len(found) == 6
    best = min(found, key=lambda each: each.p_value)
    assert best.word == WORD[0]
    assert abs(best.geometry["first"] - start) < 60
    assert abs(best.geometry["last"] - start - 89) < 60


def test_a_text_of_one_piece_is_looked_at_as_ever():
    text = marked(200)
    assert look_at(MARK, (text,)) == MARK.look(text)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize(("length", "looks"), [(399, 2), (400, 2), (401, 4), (700, 4), (701, 6)])
def test_pieces_overlap_to_the_end(length, looks):
    found = look_at(MARK, (host(length),))
    assert len(found) == looks
    assert max(each.geometry["last"] for each in found) == length - 1


@pytest.mark.usefixtures("short_pieces")
def test_what_says_nothing_is_not_examined():
    assert isinstance(look_at(MARK, (np.zeros(0, dtype=np.int64),)), NotExamined)
    assert isinstance(look_at(MARK, (np.zeros(2000, dtype=np.int64),)), NotExamined)
    assert len(look_at(MARK, (np.concatenate([np.zeros(2000, dtype=np.int64), host(300)]),))) > 0
