"""Texts among a hundred thousand licensees: named by their words, also where several wrote one text together."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute
from countermark.errors import InputError
from countermark.evidence import rereading
from countermark.marking.reading import pool, recompute, without_words
from countermark.marking.text.sampling import TextMark
from countermark.tracing import Roster, Sighting, attribute

KEY = DetectionKey.derive(Secret(bytes(32)), method=TextMark.METHOD, model="m", epoch=0)
MARK = TextMark(KEY.embedding, key_id=KEY.key_id)
ISSUED = np.random.Generator(np.random.PCG64(5)).integers(0, 2**64, 100_000, dtype=np.uint64)
NORTH, SOUTH = int(ISSUED[7]), int(ISSUED[99_000])


@functools.cache
def laws():
    """Return log-probabilities (64, 400) by the last token modulo 64: about 2.5 nats each."""
    law = np.random.Generator(np.random.PCG64(4)).dirichlet(np.full(400, 0.06), size=64)
    return np.log(law + 1e-12).astype(np.float32)


@functools.cache
def written(length, identifier, seed):
    """Write a text for a licensee, afresh where a context was there before."""
    generator, used = np.random.Generator(np.random.PCG64(seed)), set()
    word = np.array([permute(KEY.permutation, identifier)], dtype=np.uint64)
    tokens = generator.integers(0, 400, 2).tolist()
    while len(tokens) < length:
        context, law = tuple(tokens[-2:]), laws()[tokens[-1] % 64]
        if context in used:
            chances = np.exp(law.astype(float))
            tokens.append(int(generator.choice(400, p=chances / chances.sum())))
        else:
            tokens.append(int(MARK.choose(law[None], np.array([context]), word)[0]))
        used.add(context)
    return np.array(tokens)


def kept(tokens, share, seed):
    return tokens[np.random.Generator(np.random.PCG64(seed)).random(len(tokens)) < share]


def ask(*seen, excluded=frozenset(), alpha=1e-6, issued=ISSUED):
    sightings = [Sighting(1, 0, KEY, each) for each in seen]
    table = dict.fromkeys(issued.tolist(), "batch:1") | {NORTH: "grant:1", SOUTH: "grant:2"}
    return attribute(
        sightings,
        alpha=alpha,
        identifiers_issued=len(issued),
        issued_to=table.get,
        roster=Roster(lambda: np.array_split(issued, 3)),
        excluded=excluded,
    )


def test_a_text_names_its_licensee():
    found = ask(*MARK.look(written(250, NORTH, 1)))
    assert (found.verdict, found.owner, found.identifier) == ("attributed", "grant:1", NORTH)
    assert found.p_ours_identifiers == len(ISSUED)
    assert found.keys_tried == 2


def test_a_damaged_text_is_named_though_no_word_of_all_words_stands_out():
    damaged = MARK.look(kept(written(260, NORTH, 1), 0.5, 2))
    found = ask(*damaged)
    assert min(each.p_value for each in damaged) * 4 > 1e-6
    assert (found.verdict, found.owner, found.read) == ("attributed", "grant:1", "soft")
    assert found.p_ours <= 1e-6
    assert found.p_innocent <= 1e-6


def test_what_a_statement_needs_gives_p_ours_again():
    found = ask(*MARK.look(kept(written(260, NORTH, 1), 0.5, 2)))
    reading = recompute(found.sighting.seen.method, found.sighting.seen.observations)
    word = permute(KEY.permutation, NORTH)
    assert found.p_ours == pytest.approx(min(1.0, found.keys_tried * reading.p_ours(word, len(ISSUED))))


def test_text_of_nobody_names_nobody():
    unmarked = np.random.Generator(np.random.PCG64(8)).integers(0, 400, 400)
    found = ask(*MARK.look(unmarked), alpha=1e-2)
    assert (found.verdict, found.owner) == ("nothing-found", None)


def test_text_of_a_stranger_to_the_register_names_nobody_of_it():
    found = ask(*MARK.look(written(250, 12345, 3)))
    assert (found.verdict, found.owner) == ("not-attributable", None)


def test_two_who_wrote_together_are_both_named():
    mixed = np.concatenate([written(250, NORTH, 1)[:160], written(250, SOUTH, 2)[:160]])
    looks = MARK.look(mixed)
    first = ask(*looks)
    second = ask(*looks, excluded=frozenset({first.identifier}))
    third = ask(*looks, excluded=frozenset({first.identifier, second.identifier}))
    assert {first.owner, second.owner} == {"grant:1", "grant:2"}
    assert third.owner is None


def test_a_lesser_author_is_not_hidden_by_a_greater_one():
    mixed = np.concatenate([written(400, NORTH, 1), written(250, SOUTH, 2)[:110]])
    looks = MARK.look(mixed)
    first = ask(*looks)
    second = ask(*looks, excluded=frozenset({first.identifier}))
    assert (first.owner, second.owner) == ("grant:1", "grant:2")
    seen = second.sighting.seen
    reading, word = recompute(seen.method, seen.observations), permute(KEY.permutation, SOUTH)
    assert second.p_ours == pytest.approx(min(1.0, second.keys_tried * reading.p_ours(word, len(ISSUED))))
    assert ask(*looks, excluded=frozenset({first.identifier, second.identifier})).owner is None


def test_what_a_known_author_explains_is_lowered_and_nothing_raised():
    whole, _ = MARK.look(written(250, NORTH, 1))
    word = permute(KEY.permutation, NORTH)
    left = without_words(whole, [word])
    before, after = (np.array(each.observations["table"]) for each in (whole, left))
    assert (after <= before).all()
    assert (after != before).sum() == 8
    assert left.p_value > 1e6 * whole.p_value
    assert left.word != whole.word == word
    pooled = without_words(pool([whole]), [word])
    assert pooled.observations == {"pool": [left.observations]}
    with pytest.raises(InputError):
        without_words(replace(whole, method="image.lattice/2"), [word])


def test_snippets_that_were_read_as_one_are_a_pool():
    snippets = [written(250, SOUTH, seed)[:40] for seed in range(8)]
    joint = MARK.detect(*snippets)
    found = ask(pool([joint]))
    assert (found.verdict, found.owner) == ("attributed", "grant:2")
    assert pool([joint]).p_value == joint.p_value


def lowered(found, places):
    """Return observations in which some symbols of each chunk have almost no evidence, as an office could state."""
    table = np.array(found.observations["table"])
    table[places] = 0.001
    return {**found.observations, "table": table.tolist()}


def test_what_an_office_left_out_is_believed_of_an_author_and_of_nobody_else():
    statement = {"p_innocent": {"corrected_for": {"identifiers": len(ISSUED)}}}
    whole, _ = MARK.look(written(400, NORTH, 1))
    author = np.frombuffer(permute(KEY.permutation, NORTH).to_bytes(8, "big"), np.uint8).astype(int)
    left_out = rereading._as_stated(whole, lowered(whole, (np.arange(8), author)), statement, 1e-6)
    assert recompute(whole.method, left_out.observations).tail(permute(KEY.permutation, NORTH)) == 1.0

    accused = int(ISSUED[50])
    symbols = np.frombuffer(permute(KEY.permutation, accused).to_bytes(8, "big"), np.uint8).astype(int)
    all_but_one = np.ones((8, 256), dtype=bool)
    all_but_one[np.arange(8), symbols] = False
    assert rereading._as_stated(whole, lowered(whole, np.nonzero(all_but_one)), statement, 1e-6) == whole
    other = {**whole.observations, "windows": 2}
    assert rereading._as_stated(whole, other, statement, 1e-6) == whole
