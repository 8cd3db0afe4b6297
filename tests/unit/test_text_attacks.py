"""Edits of texts: laws, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import InputError
from countermark.marking.attacks import texts

TEXT = "The cat sat on the mat.\n\n床前明月光, and  so on.\n"
UNITS = np.arange(1000)


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


def test_a_share_is_of_units():
    others = np.full(3, 5000)
    assert 60 < int((texts.substitute(UNITS, 0.1, others, generator()) == 5000).sum()) < 140
    assert 750 < len(texts.delete(UNITS, 0.2, generator())) < 850
    assert 120 < int((texts.swap(UNITS, 0.1, generator()) != UNITS).sum()) < 240


def test_a_share_of_zero_changes_nothing_and_of_one_everything():
    for edit in (texts.delete, texts.swap):
        assert np.array_equal(edit(UNITS, 0.0, generator()), UNITS)
    assert np.array_equal(texts.substitute(UNITS, 0.0, UNITS, generator()), UNITS)
    assert len(texts.delete(UNITS, 1.0, generator())) == 0
    assert np.array_equal(texts.swap(UNITS[:4], 1.0, generator()), [1, 0, 3, 2])


@given(st.integers(0, 30), st.floats(0, 1), st.integers(0, 2**32))
def test_swaps_move_each_unit_by_one_at_most(size, share, seed):
    moved = texts.swap(np.arange(size), share, generator(seed))
    assert sorted(moved.tolist()) == list(range(size))
    assert (abs(moved - np.arange(size)) <= 1).all()


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2**32))
def test_what_is_pasted_stays_in_one_piece(size, host, seed):
    whole = texts.paste(np.arange(100, 100 + size), np.arange(host), generator(seed))
    places = np.flatnonzero(whole >= 100)
    assert np.array_equal(whole[places], np.arange(100, 100 + size))
    assert len(places) == 0 or places[-1] - places[0] == size - 1
    assert np.array_equal(whole[whole < 100], np.arange(host))


def test_two_texts_are_mixed_in_turns():
    assert texts.mix(np.arange(7), np.arange(10, 30), 2).tolist() == [0, 1, 12, 13, 4, 5, 16]


def test_edits_leave_their_input_alone_and_repeat():
    before = UNITS.copy()
    for edit in (texts.delete, texts.swap):
        assert np.array_equal(edit(UNITS, 0.5, generator()), edit(UNITS, 0.5, generator()))
    texts.substitute(UNITS, 0.5, UNITS, generator())
    assert np.array_equal(UNITS, before)


@pytest.mark.parametrize("name", ["delete(0)", "substitute(0)", "swap(0)", "swap(0.0)+delete(0)"])
@pytest.mark.parametrize("text", [TEXT, "", " \n", "  a", "月"])
def test_a_text_without_edits_is_the_same(name, text):
    assert texts.apply(name, text) == text


def test_words_are_edited_and_characters_of_chinese():
    words = "one two three four five six seven eight " * 20
    assert set(texts.apply("substitute(0.5)", words).split()) <= set(words.split())
    assert 90 < len(texts.apply("delete(0.3)", words).split()) < 130
    assert 20 < len(texts.apply("delete(0.5)", "床前明月光" * 20)) < 80
    assert texts.apply("swap(1)", "a b c d") == "b a d c"
    assert texts.apply("delete(1)", TEXT).strip() == ""


def test_edits_are_the_same_every_time_and_seeds_differ():
    assert texts.apply("delete(0.5)", TEXT) == texts.apply("delete(0.5)", TEXT)
    assert len({texts.apply("delete(0.5)", TEXT, seed=seed) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    "name", ["delete", "delete(2)", "delete(-0.1)", "shuffle(0.1)", "", "delete(0.1)+", "swap(nan)"]
)
def test_what_is_no_edit_is_refused(name):
    with pytest.raises(InputError):
        texts.apply(name, TEXT)
