"""The sampling mark's nulls: scores of unmarked text, choices over the keys, and innocent licensees."""

import math

import numpy as np
import pytest
from scipy import stats

from countermark.core.keys import DetectionKey, Secret
from countermark.core.stats import binomial_tail
from countermark.marking.attacks import texts
from countermark.marking.text.codewords import evidence, innocent_tail
from countermark.marking.text.null import best_word_tail, gamma_tail
from countermark.marking.text.observations import recompute
from countermark.marking.text.sampling import TextMark
from countermark.tracing import ATTRIBUTED, Roster, Sighting, attribute


@pytest.mark.parametrize(
    ("count", "threshold"), [(1, 0.5), (3, 0.0), (20, 60.0), (500, 490.0), (2000, 2400.0), (40, 900.0)]
)
def test_the_tail_of_a_sum_is_gammas(count, threshold):
    assert gamma_tail(count, threshold) == pytest.approx(stats.gamma.sf(threshold, count), rel=1e-9)


def test_no_scores_prove_nothing():
    assert gamma_tail(0, 0.0) == 1.0
    assert best_word_tail([0] * 8, 0.0) == 1.0


def test_the_best_words_tail_is_as_sampled():
    generator = np.random.Generator(np.random.PCG64(1))
    counts = [10, 12, 0, 9, 20, 15, 1, 4]
    sums = sum(generator.gamma(count, size=(40_000, 256)).max(axis=1) for count in counts if count)
    for share in (0.5, 0.1, 1e-2, 1e-3):
        threshold = float(np.quantile(sums, 1 - share))
        tail = best_word_tail(counts, threshold)
        assert binomial_tail(int((sums >= threshold).sum()), len(sums), tail) > 1e-7
        assert tail <= 1.3 * share + 2e-4


def test_unmarked_texts_are_not_found():
    """Fresh keys on one dull text, full of repetition; only excess counts."""
    generator = np.random.Generator(np.random.PCG64(2))
    text = np.tile(generator.integers(0, 40, 150), 3)
    values = np.array([TextMark(Secret(generator.bytes(32))).detect(text).p_value for _ in range(60)])
    for level in (1e-3, 1e-2, 0.1, 0.5):
        assert binomial_tail(int((values <= level).sum()), len(values), level) > 1e-6


def test_a_token_is_chosen_with_its_probability():
    """Over keys and contexts, by chi-square."""
    generator = np.random.Generator(np.random.PCG64(3))
    law = generator.dirichlet(np.full(12, 0.7))
    logs = np.log(law).astype(np.float32)
    counts = np.zeros(12)
    for _ in range(20):
        mark, contexts = TextMark(Secret(generator.bytes(32))), generator.integers(0, 50_000, (2000, 2))
        words = generator.integers(0, 2**64, 2000, dtype=np.uint64)
        counts += np.bincount(mark.choose(np.tile(logs, (2000, 1)), contexts, words), minlength=12)
    assert stats.chisquare(counts, law / law.sum() * counts.sum()).pvalue > 1e-6


def test_innocent_licensees_of_somebody_elses_text_are_as_bounded():
    """A text marked for one; the smallest of 2,000 innocents' tails times 2,000, over 30 texts; only excess counts."""
    generator = np.random.Generator(np.random.PCG64(4))
    law = np.log(generator.dirichlet(np.full(200, 0.1), size=64) + 1e-12).astype(np.float32)
    values = []
    for _ in range(30):
        mark, word = TextMark(Secret(generator.bytes(32))), generator.integers(0, 2**64, 1, dtype=np.uint64)
        tokens = [1, 2]
        for _ in range(120):
            # A fresh key for a context that repeats keeps the text out of loops, as fresh sampling does.
            draw = (
                mark
                if tokens[-2:] not in [tokens[i : i + 2] for i in range(len(tokens) - 2)]
                else TextMark(Secret(generator.bytes(32)))
            )
            tokens.append(int(draw.choose(law[tokens[-1] % 64][None], np.array([tokens[-2:]]), word)[0]))
        table = recompute(mark.detect(np.array(tokens)).observations).table.values
        others = generator.integers(0, 2**64, 2000, dtype=np.uint64)
        values.append(2000 * innocent_tail(table, float(evidence(table, others).max())))
    for level in (1e-2, 0.1, 0.3):
        assert binomial_tail(sum(value <= level for value in values), len(values), level) > 1e-6
    assert math.isfinite(sum(values))


def test_sums_of_detect_contexts_are_exact():
    """Two-sided, over fresh keys of one dull text; sums are rounded down to a thousandth, which hardly counts."""
    generator = np.random.Generator(np.random.PCG64(5))
    text, values = np.tile(generator.integers(0, 60, 250), 2), []
    for _ in range(250):
        seen = TextMark(Secret(generator.bytes(32))).detect(text).observations
        values.append(gamma_tail(seen["detect_count"], seen["detect"]))
    assert stats.kstest(values, "uniform").pvalue > 1e-6


def test_best_spans_of_unmarked_texts_are_not_found():
    generator = np.random.Generator(np.random.PCG64(6))
    text = generator.integers(0, 300, 220)
    values = [TextMark(Secret(generator.bytes(32))).look(text)[-1].p_value for _ in range(100)]
    for level in (1e-3, 1e-2, 0.1, 0.5):
        assert binomial_tail(sum(value <= level for value in values), len(values), level) > 1e-6


@pytest.mark.parametrize("edit", ["none", "substitute", "delete", "paste", "mix"])
def test_edited_texts_of_others_accuse_as_few_as_they_promise(edit):
    """By the whole rule, each trace among 3,000 fresh strangers; only excess counts."""
    generator = np.random.Generator(np.random.PCG64(7))
    mark, alpha, wrong = TextMark(KEY.embedding), 0.1, []
    for _ in range(12):
        one, other = (_written(mark, generator) for _ in range(2))
        strange = generator.integers(0, 200, 150)
        suspect = {
            "none": one,
            "substitute": texts.substitute(one, 0.1, strange, generator),
            "delete": texts.delete(one, 0.2, generator),
            "paste": texts.paste(one[:80], strange, generator),
            "mix": texts.mix(one, other, 40),
        }[edit]
        sightings = [Sighting(0, 0, KEY, seen) for seen in mark.look(suspect)]
        for _ in range(4):
            strangers = generator.integers(0, 2**64, 3000, dtype=np.uint64)
            known = set(strangers.tolist())
            answer = attribute(
                sightings,
                alpha=alpha,
                identifiers_issued=3000,
                issued_to=lambda identifier, known=known: "grant:stranger" if identifier in known else None,
                roster=Roster(lambda strangers=strangers: [strangers]),
            )
            wrong.append(answer.verdict == ATTRIBUTED)
    assert binomial_tail(sum(wrong), len(wrong), alpha) > 1e-6


KEY = DetectionKey.derive(Secret(bytes(32)), method=TextMark.METHOD, model="m", epoch=0)
LAWS = np.log(np.random.Generator(np.random.PCG64(8)).dirichlet(np.full(200, 0.1), size=64) + 1e-12).astype(np.float32)


def _written(mark, generator):
    """Write 160 tokens for a random word, afresh where a context was there before."""
    word, tokens, used = generator.integers(0, 2**64, 1, dtype=np.uint64), generator.integers(0, 200, 2).tolist(), set()
    for _ in range(160):
        context, law = tuple(tokens[-2:]), LAWS[tokens[-1] % 64][None]
        if context in used:
            tokens.append(int((law[0] + generator.gumbel(size=200)).argmax()))
        else:
            tokens.append(int(mark.choose(law, np.array([context]), word)[0]))
        used.add(context)
    return np.array(tokens)
