"""The sampling mark: chosen and read with a made-up language model, whose next tokens depend on the last two."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.text.codewords import CHUNKS, SYMBOLS, evidence, innocent_tail
from countermark.marking.text.observations import recompute
from countermark.marking.text.prf import CONTEXT, NO_CHUNK, Prf
from countermark.marking.text.sampling import TextMark

VOCABULARY = 300
KEY, WORD = Secret(b"k" * 32), 0x0123_4567_89AB_CDEF


@functools.cache
def laws():
    """Return log-probabilities (16, 16, VOCABULARY) by the last two tokens, modulo 16: about 3 nats each."""
    values = 2.2 * np.random.Generator(np.random.PCG64(4)).normal(size=(16, 16, VOCABULARY))
    return (values - np.log(np.exp(values).sum(axis=2, keepdims=True))).astype(np.float32)


@functools.cache
def written(length, key=KEY, word=WORD, seed=5):
    """Write a text, sampling afresh where a context was there before."""
    generator, mark, used = np.random.Generator(np.random.PCG64(seed)), TextMark(key), set()
    tokens = generator.integers(0, VOCABULARY, 2).tolist()
    for _ in range(length - 2):
        context = tuple(tokens[-2:])
        law = laws()[context[0] % 16, context[1] % 16][None]
        if context in used:
            tokens.append(
                int(generator.choice(VOCABULARY, p=np.exp(law[0].astype(float)) / np.exp(law[0].astype(float)).sum()))
            )
        else:
            tokens.append(int(mark.choose(law, np.array([context]), np.array([word], dtype=np.uint64))[0]))
        used.add(context)
    return np.array(tokens)


def seen(tokens, key=KEY):
    return TextMark(key, key_id="mark:1").detect(tokens)


def test_a_text_is_read():
    found = seen(written(300))
    assert found.word == WORD
    assert found.significant(1e-12)
    assert found.key_id == "mark:1"
    table = recompute(found.observations).table.values
    assert innocent_tail(table, float(evidence(table, np.array([WORD], dtype=np.uint64))[0])) < 1e-18


def test_another_key_and_other_text_show_nothing():
    assert not seen(written(300), Secret(b"x" * 32)).significant(1e-3)
    assert not seen(np.random.Generator(np.random.PCG64(6)).integers(0, VOCABULARY, 300)).significant(1e-3)


def test_an_edited_text_is_read():
    generator, tokens = np.random.Generator(np.random.PCG64(7)), written(300).copy()
    changed = generator.random(300) < 0.1
    tokens[changed] = generator.integers(0, VOCABULARY, int(changed.sum()))
    kept = tokens[generator.random(300) > 0.1]
    assert seen(kept).significant(1e-6)


def test_a_pasted_part_is_found_where_it_is():
    host = np.random.Generator(np.random.PCG64(8)).integers(0, VOCABULARY, 1000)
    host[400:500] = written(300)[:100]
    whole, found = TextMark(KEY).look(host)
    assert found.p_value < 1e-3 * whole.p_value
    assert found.significant(1e-6)
    assert 380 < found.geometry["first"] < 425
    assert 475 < found.geometry["last"] < 520


def test_several_short_texts_are_read_as_one():
    parts = [written(60, seed=seed) for seed in range(6)]
    found = TextMark(KEY).detect(*parts)
    assert found.word == WORD
    assert found.p_value < min(seen(part).p_value for part in parts)
    assert found.searched == 1


def test_a_look_is_at_the_whole_and_at_its_best_part():
    mark = TextMark(KEY)
    whole, best = mark.look(written(300))
    assert whole == mark.detect(written(300))
    assert (whole.searched, best.searched > 10) == (1, True)
    assert [each.searched for each in mark.look(written(22))] == [1]
    assert isinstance(mark.look(written(60)[:10]), NotExamined)


def test_the_scores_of_a_word_are_its_evidence_and_the_detect_contexts():
    text, mark = np.concatenate([written(120), written(60)[:30]]), TextMark(KEY)
    scores, found = mark.scores(text, WORD), mark.detect(text)
    table = recompute(found.observations).table
    assert np.nansum(scores) == pytest.approx(
        table.detect + float(table.agreement(np.array([WORD], dtype=np.uint64))[0]), abs=0.02
    )
    assert (np.isnan(scores[:2]).all(), np.isfinite(scores).sum()) == (True, found.trials)
    assert np.nanmean(scores) > 3 > 2 > np.nanmean(mark.scores(text, WORD ^ (2**64 - 1)))


def test_detect_contexts_are_marked_whatever_the_word():
    for word in (WORD, 0, 2**64 - 1):
        found = seen(written(300, word=word)).observations
        assert found["detect"] > 2.5 * found["detect_count"] > 2.5 * 20


def test_rows_of_one_excerpt_count_their_contexts_once():
    text, mark = written(100), TextMark(KEY)
    other = text[:8].copy()
    other[0] += 1
    assert mark.detect((other, text)).trials == mark.detect(text).trials + 1
    assert mark.detect((other, text)).geometry["last"] == 99
    assert mark.detect(text, other).geometry == {}


def test_a_registered_word_proves_more_than_the_best_of_all():
    generator, tokens = np.random.Generator(np.random.PCG64(7)), written(200).copy()
    kept = tokens[generator.random(200) > 0.35]
    found = recompute(seen(kept).observations)
    agreement = float(found.table.agreement(np.array([WORD], dtype=np.uint64))[0])
    assert 1e6 * found.table.unmarked_tail(agreement) < 1e-3 * found.p_value


def test_copies_in_a_pool_add_nothing():
    part = written(100)
    once, twice = TextMark(KEY).detect(part, part[:2]), TextMark(KEY).detect(part, part)
    assert once.observations == twice.observations


def test_repetition_counts_once():
    assert seen(np.tile(written(60), 5)).trials <= 62


def test_recompute_gives_the_detection_again_through_json():
    found = seen(written(120))
    again = recompute(json.loads(json.dumps(found.observations)))
    for field in dataclasses.fields(again):
        if field.name != "table":
            assert getattr(again, field.name) == getattr(found, field.name)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("detect", -1.0),
        ("detect", 1e9),
        ("detect", float("nan")),
        ("detect", True),
        ("detect_count", -1),
        ("detect_count", 10**9),
        ("windows", 0),
        ("windows", 1.0),
        ("counts", [0] * 7),
        ("counts", [0] * 8),
        ("counts", "12345678"),
        ("table", [[0.0] * 256] * 7),
        ("table", [[0.0] * 255] * 8),
        ("table", [[1e300] * 256] * 8),
        ("table", None),
    ],
)
def test_recompute_refuses_hostile_observations(change, value):
    with pytest.raises(InputError):
        recompute({**seen(written(120)).observations, change: value})


def test_short_texts_are_not_examined():
    assert isinstance(seen(written(60)[:10]), NotExamined)
    assert isinstance(seen(np.zeros(0, dtype=np.int64)), NotExamined)


@pytest.mark.parametrize("tokens", [np.zeros((3, 3), int), np.zeros(30), np.full(30, -1)])
def test_what_is_no_row_of_tokens_is_refused(tokens):
    with pytest.raises(InputError):
        seen(tokens)


def test_rows_of_a_batch_are_chosen_each_by_itself():
    generator, mark = np.random.Generator(np.random.PCG64(9)), TextMark(KEY)
    law = laws()[:8, 0]
    contexts = generator.integers(0, VOCABULARY, (8, CONTEXT))
    words = generator.integers(0, 2**64, 8, dtype=np.uint64)
    together = mark.choose(law, contexts, words)
    alone = [int(mark.choose(law[i : i + 1], contexts[i : i + 1], words[i : i + 1])[0]) for i in range(8)]
    assert together.tolist() == alone


def test_what_cannot_be_taken_is_not():
    law = np.full((1, VOCABULARY), -np.inf, np.float32)
    law[0, 17] = -3.0
    for last in range(50):
        assert TextMark(KEY).choose(law, np.array([[1, last]]), np.array([WORD], dtype=np.uint64))[0] == 17


def test_numbers_of_all_tokens_are_those_of_each():
    prf, seeds = Prf(KEY), np.arange(3, dtype=np.uint64)
    every = prf.all_numbers(seeds, np.array([0, 5, SYMBOLS]), 11)
    for row, (seed, symbol) in enumerate(zip(seeds, (0, 5, SYMBOLS), strict=True)):
        each = prf.numbers(np.full(11, seed), np.full(11, symbol), np.arange(11))
        assert (every[row] == each).all()


def test_chunks_have_equal_shares_and_contexts_of_no_chunk_three_in_nineteen():
    contexts = np.stack(np.meshgrid(np.arange(300), np.arange(300)), axis=-1).reshape(-1, 2)
    chunks = Prf(KEY).seeds(contexts)[1]
    counts = np.bincount(chunks, minlength=CHUNKS + 1)
    assert counts[NO_CHUNK] == pytest.approx(90_000 * 3 / 19, rel=0.04)
    assert counts[:CHUNKS] == pytest.approx(90_000 * 2 / 19, rel=0.05)


def test_a_detection_is_a_detection():
    assert isinstance(seen(written(60)), Detection)
