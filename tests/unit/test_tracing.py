"""The four answers of a trace, exact and soft reads, and what each p-value is corrected for."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from countermark.core.coding import codeword_tail, decode_list, encode
from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined, reading
from countermark.tracing import Roster, Sighting, attribute

MASTER = Secret(bytes(32))
KEYS = [DetectionKey.derive(MASTER, method="m", model=str(number), epoch=0) for number in range(3)]
IDENTIFIER = 0x1234_5678_9ABC_DEF0


def seen(p_value, word=None, tried=1):
    return Detection(
        method="m", key_id="k", p_value=p_value, statistic=1.0, trials=64, searched=10, word=word, words_tried=tried
    )


def ask(*detections, owner="grant:7", alpha=1e-6, issued=1002):
    sightings = [Sighting(1, 0, key, seen) for key, seen in zip(KEYS, detections, strict=False)]
    table = {IDENTIFIER: owner}
    return attribute(sightings, alpha=alpha, identifiers_issued=issued, issued_to=table.get)


def test_attributed_with_both_corrections():
    found = ask(seen(0.4), seen(1e-30, permute(KEYS[1].permutation, IDENTIFIER)), seen(0.9))
    assert (found.verdict, found.owner, found.identifier) == ("attributed", "grant:7", IDENTIFIER)
    assert found.p_ours == pytest.approx(3e-30)
    assert found.p_innocent == pytest.approx(1002 * 2.0**-64)


@pytest.mark.parametrize(
    ("owner", "word", "reason"),
    [
        (None, permute(KEYS[0].permutation, IDENTIFIER), "identifier-never-issued"),
        ("batch:1", permute(KEYS[0].permutation, IDENTIFIER), "identifier-never-delivered"),
        ("grant:7", permute(KEYS[0].permutation, IDENTIFIER) ^ 1, "identifier-never-issued"),
        ("grant:7", None, "word-not-read"),
    ],
)
def test_found_but_not_attributable(owner, word, reason):
    found = ask(seen(1e-30, word), owner=owner)
    assert (found.verdict, found.reason) == ("not-attributable", reason)


def test_a_word_under_another_models_key_is_nobodys():
    assert ask(seen(1e-30, permute(KEYS[1].permutation, IDENTIFIER))).verdict == "not-attributable"


def test_the_level_is_met_only_after_correction_for_the_keys():
    word = permute(KEYS[0].permutation, IDENTIFIER)
    assert ask(seen(9e-7, word)).verdict == "attributed"
    assert ask(seen(9e-7, word), seen(1.0)).verdict == "nothing-found"


def test_too_many_issued_identifiers_block_an_accusation():
    word = permute(KEYS[0].permutation, IDENTIFIER)
    found = ask(seen(1e-30, word, tried=2**30), issued=2**40)
    assert (found.verdict, found.reason) == ("not-attributable", "too-many-candidates")


def test_not_examined_keeps_its_reason():
    found = ask(NotExamined("too-small", "31 px"), NotExamined("too-small", "31 px"))
    assert (found.verdict, found.reason, found.p_ours) == ("not-examined", "too-small", None)
    assert ask().reason == "no-keys"


def test_a_detection_is_not_a_boolean():
    with pytest.raises(TypeError):
        bool(seen(0.5))
    assert seen(0.5).significant(0.5)


# Soft reads, by a method whose observations are its answer and the symbols.

LIST = 4


@pytest.fixture
def soft_method(monkeypatch):
    module = ModuleType("soft_method")
    module.recompute = lambda observations: SimpleNamespace(
        **{name: observations[name] for name in ("p_value", "statistic", "trials", "searched", "nonce")},
        words=decode_list(observations["symbols"], LIST),
        words_tried=LIST,
    )
    monkeypatch.setitem(sys.modules, "soft_method", module)
    monkeypatch.setitem(reading._MODULES, "soft/1", "soft_method")


def damaged(word, noise, seed, p_value=1e-30):
    """Return the detection of a damaged code word."""
    generator = np.random.Generator(np.random.PCG64(seed))
    symbols = np.round(encode(word) + noise * generator.normal(size=256), 4).tolist()
    observations = {
        "symbols": symbols, "p_value": p_value, "statistic": 9.0, "trials": 64, "searched": 10, "nonce": None,
    }  # fmt: skip
    words = decode_list(symbols, LIST)
    return Detection(
        method="soft/1;x", key_id="k", p_value=p_value, statistic=9.0, trials=64, searched=10, word=words[0],
        words=words, words_tried=LIST, observations=observations,
    )  # fmt: skip


def registry(count, *more):
    return np.array([*more, *np.random.Generator(np.random.PCG64(5)).integers(0, 2**64, count, dtype=np.uint64)], "u8")


def ask_softly(*detections, issued, owner="grant:7", alpha=1e-6):
    sightings = [Sighting(1, 0, key, seen) for key, seen in zip(KEYS, detections, strict=False)]
    table = dict.fromkeys(issued.tolist(), "batch:1") | {IDENTIFIER: owner}
    chunks = np.array_split(issued, 3)
    return attribute(
        sightings, alpha=alpha, identifiers_issued=len(issued), issued_to=table.get, roster=Roster(lambda: chunks)
    )


@pytest.mark.usefixtures("soft_method")
def test_a_word_too_damaged_to_decode_is_matched_among_all_issued():
    seen = damaged(permute(KEYS[0].permutation, IDENTIFIER), 1.9, 3)
    assert permute(KEYS[0].permutation, IDENTIFIER) not in seen.words
    found = ask_softly(seen, issued=registry(1000, IDENTIFIER))
    assert (found.verdict, found.owner, found.read) == ("attributed", "grant:7", "soft")
    symbols, code = np.array(seen.observations["symbols"]), encode(permute(KEYS[0].permutation, IDENTIFIER))
    tail = codeword_tail(symbols, float(code @ symbols))
    assert found.p_innocent == pytest.approx(1001 * (LIST * 2.0**-64 + tail))
    assert (found.words_tried, found.readings_matched) == (LIST, 1)


@pytest.mark.usefixtures("soft_method")
@pytest.mark.parametrize(("count", "noise"), [(1000, 4.0), (100_000, 3.2)])
def test_what_any_word_could_fit_names_nobody(count, noise):
    seen = damaged(permute(KEYS[0].permutation, IDENTIFIER), noise, 4)
    found = ask_softly(seen, issued=registry(count, IDENTIFIER))
    assert (found.verdict, found.reason, found.owner) == ("not-attributable", "identifier-never-issued", None)
    assert found.p_innocent is None


@pytest.mark.usefixtures("soft_method")
def test_an_exact_read_goes_before_and_needs_no_table():
    seen = damaged(permute(KEYS[0].permutation, IDENTIFIER), 0.5, 5)
    found = ask_softly(seen, issued=registry(10, IDENTIFIER))
    assert (found.verdict, found.read, found.readings_matched) == ("attributed", "exact", 0)
    assert found.p_innocent == pytest.approx(11 * LIST * 2.0**-64)
    later = replace(seen, word=0, words=(*decode_list(np.ones(256), LIST - 1), seen.word))
    assert ask_softly(later, issued=registry(10, IDENTIFIER)).identifier == IDENTIFIER, "last of the list"


@pytest.mark.usefixtures("soft_method")
def test_a_soft_read_pays_for_every_reading_that_was_matched():
    seen = damaged(permute(KEYS[1].permutation, IDENTIFIER), 1.9, 3, 1e-20)
    other = damaged(99, 1.9, 6)
    alone, both = (
        ask_softly(first, seen, issued=registry(1000, IDENTIFIER)) for first in (NotExamined("x", ""), other)
    )
    assert alone.identifier == both.identifier == IDENTIFIER
    assert both.sighting.key is KEYS[1]
    assert both.p_ours == pytest.approx(2e-20)
    assert both.p_innocent == pytest.approx(2 * alone.p_innocent)
    assert (both.words_tried, both.readings_matched) == (2 * LIST, 2)


@pytest.mark.usefixtures("soft_method")
def test_a_reserved_identifier_found_softly_is_nobodys():
    seen = damaged(permute(KEYS[0].permutation, IDENTIFIER), 1.9, 3)
    found = ask_softly(seen, issued=registry(1000, IDENTIFIER), owner="batch:2")
    assert (found.verdict, found.reason, found.read) == ("not-attributable", "identifier-never-delivered", "soft")


@pytest.mark.usefixtures("soft_method")
def test_pooled_pictures_say_what_none_says_alone():
    word = permute(KEYS[0].permutation, IDENTIFIER)
    parts = [damaged(word, 3.0, seed) for seed in (11, 12, 13, 14)]
    issued = registry(1000, IDENTIFIER)
    assert all(ask_softly(part, issued=issued).verdict == "not-attributable" for part in parts)
    found = ask_softly(reading.pool(parts), issued=issued)
    assert (found.verdict, found.owner) == ("attributed", "grant:7")
    assert found.p_ours == pytest.approx(4e-30)


@pytest.mark.usefixtures("soft_method")
def test_copies_of_a_picture_say_no_more_than_one():
    one = damaged(5, 3.0, 11, 1e-9)
    many = reading.pool([one] * 7)
    assert many.words == one.words
    assert many.p_value == pytest.approx(7e-9)
    alone = reading.recompute(one.method, one.observations).tail(5)
    assert reading.recompute(many.method, many.observations).tail(5) == pytest.approx(alone, rel=1e-2)


@pytest.mark.usefixtures("soft_method")
def test_a_picture_that_shows_nothing_adds_nothing():
    seen, blank = damaged(5, 1.0, 11, 1e-9), damaged(6, 0.1, 12, 1.0)
    assert reading.pool([seen, blank]).words == seen.words


@pytest.mark.usefixtures("soft_method")
def test_only_readings_under_one_key_are_pooled():
    seen = damaged(5, 1.0, 11)
    for wrong in ([], [seen, replace(seen, key_id="other")], [seen] * (reading.MAX_POOL + 1)):
        with pytest.raises(InputError):
            reading.pool(wrong)
    with pytest.raises(InputError):
        reading.recompute("soft/2", seen.observations)
    with pytest.raises(InputError):
        reading.recompute("soft/1", {"pool": []})
