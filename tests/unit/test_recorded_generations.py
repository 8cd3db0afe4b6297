"""A recognized generation in a trace: it goes before words, and says what it was corrected for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute
from countermark.core.stats import innocent_p, recorded_p
from countermark.errors import PolicyUnmet
from countermark.evidence.findings import innocence
from countermark.marking import Detection
from countermark.marking.image import noise_ledger
from countermark.marking.image.noise_ledger import Recorded, search
from countermark.marking.reading import recompute
from countermark.tracing import Attribution, Sighting, attribute

KEY = DetectionKey.derive(Secret(bytes(32)), method="m", model="x", epoch=0)
IDENTIFIER, ISSUED = 0x1234_5678_9ABC_DEF0, 1002
SIGNS = np.random.default_rng(3).choice(np.array([-1, 1], dtype=np.int8), (50, 1024))


def recognized(share: float, own: int = 1024, seed: int = 1) -> Detection:
    noise = np.random.default_rng(seed).normal(size=1024)
    match = search(Recorded.of(range(50), SIGNS), (share * SIGNS[7] + noise)[None], own=own)
    assert match is not None
    return Detection(
        method=noise_ledger.METHOD, key_id=KEY.key_id, p_value=match.p_value, statistic=match.statistic, trials=1024,
        searched=match.searched, word=None, words_tried=0, observations=match.observations,
    )  # fmt: skip


def read(p_value: float) -> Detection:
    word = permute(KEY.permutation, IDENTIFIER)
    return Detection(
        method="m", key_id=KEY.key_id, p_value=p_value, statistic=1.0, trials=64, searched=10, word=word, words_tried=1
    )


def ask(*seen: tuple[Detection, str | None]) -> Attribution:
    sightings = [Sighting(1, 0, KEY, detection, owner) for detection, owner in seen]
    owners = {IDENTIFIER: "grant:7"}
    return attribute(sightings, alpha=1e-6, identifiers_issued=ISSUED, issued_to=owners.get)


def test_the_generations_record_names_the_owner() -> None:
    seen = recognized(1.0)
    found = ask((seen, "grant:5"))
    assert (found.verdict, found.read, found.owner, found.identifier) == ("attributed", "recorded", "grant:5", None)
    assert found.p_ours == pytest.approx(seen.p_value)
    assert found.p_innocent == recompute(seen.method, seen.observations).p_innocent


def test_it_goes_before_words_and_counts_them() -> None:
    seen = recognized(0.5)
    found = ask((read(1e-200), None), (seen, "grant:5"), (recognized(1.0, seed=2), "grant:5"))
    assert (found.read, found.owner, found.readings_matched) == ("recorded", "grant:5", 2)
    assert found.p_ours == pytest.approx(3 * found.sighting.seen.p_value)  # type: ignore[union-attr]
    best = recompute(seen.method, recognized(1.0, seed=2).observations).p_innocent
    assert best is not None
    assert found.p_innocent == pytest.approx(recorded_p(ISSUED, 1, 2, best))


def test_where_another_generation_would_fit_as_well_words_decide() -> None:
    seen = recognized(1.0, own=10)  # ten signs that no other generation shares prove nothing
    assert ask((seen, "grant:5")).verdict == "not-attributable"
    assert (ask((seen, "grant:5"), (read(1e-20), None)).read) == "exact"


def test_a_generation_that_was_never_delivered_names_nobody() -> None:
    assert ask((recognized(1.0), None)).verdict == "not-attributable"


def test_unrelated_noise_is_not_found() -> None:
    assert ask((recognized(0.0), "grant:5")).verdict == "nothing-found"


def test_a_verifier_comes_to_the_same_p_innocent_and_refuses_other_ways_of_reading() -> None:
    seen = recognized(1.0)
    found, reading = ask((seen, "grant:5")), recompute(seen.method, seen.observations)
    counts = {"identifiers": ISSUED, "words": 0, "readings": 1}
    statement = {"read": "recorded", "p_innocent": {"corrected_for": counts}}
    assert innocence(reading, 5, statement, ISSUED) == found.p_innocent
    for way in ("exact", "soft"):
        other = {**statement, "read": way}
        if way == "soft":
            assert innocence(reading, 5, other, ISSUED) == 1.0
        else:
            with pytest.raises(PolicyUnmet):
                innocence(reading, 5, other, ISSUED)
    with pytest.raises(PolicyUnmet):
        innocence(reading, 5, {**statement, "p_innocent": {"corrected_for": {**counts, "readings": 0}}}, ISSUED)
    with pytest.raises(PolicyUnmet):
        innocence(replace(reading, p_innocent=None), 5, statement, ISSUED)


def test_the_sum_of_both_chances_stays_a_probability() -> None:
    assert recorded_p(1000, 1, 2, 1e-9) == pytest.approx(innocent_p(1000, 1) + 2e-9)
    assert recorded_p(1000, 1, 3, 0.9) == 1.0
