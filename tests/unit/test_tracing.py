"""The four answers of a trace, and what each p-value is corrected for."""

import pytest

from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute
from countermark.marking import Detection, NotExamined
from countermark.tracing import Sighting, attribute

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
