"""Error rates of the audit of texts on unseen ones: p-values, the false discovery rate, exposure.

Corpus, held-out texts and outputs are drawn alike and afresh each time, with stock phrases that all of them use, so
that the longest matches of clean texts are those of what everyone writes. Outputs are cut to one length, as a model's
replies are: a text's own length must not tell what stands in it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from countermark.audit.text.examine import TextExaminer
from countermark.audit.text.exposure import Canary, expose
from countermark.audit.text.extraction import Sampling, Scored
from countermark.audit.text.reading import Corpus
from countermark.core.stats import clopper_pearson

WORDS = ["".join(random.Random(i).choices("abcdefghijklmnop", k=2 + i % 5)) for i in range(2_000)]
OFTEN = [1 / (i + 5) for i in range(len(WORDS))]
STOCK = [" ".join(random.Random(1_000 + i).choices(WORDS, k=40)) for i in range(40)]


def text(generator: random.Random, words: int) -> str:
    """Words, and now and then a phrase that others use too."""
    parts = [" ".join(generator.choices(WORDS, OFTEN, k=40)) for _ in range(words // 40)]
    return ". ".join(generator.choice(STOCK) if generator.random() < 0.04 else part for part in parts)


def audit(seed: int, copies: int = 0) -> list[tuple[float, bool, bool]]:
    """Return p, whether it was flagged, and whether it is a copy, of 40 outputs."""
    generator = random.Random(seed)
    train = [text(generator, 200) for _ in range(60)]
    held_out, outputs = ([text(generator, 200) for _ in range(count)] for count in (240, 40))
    outputs = [each[:750] for each in outputs]
    for i in range(copies):
        source = train[generator.randrange(len(train))]
        outputs[i] = outputs[i][:300] + source[100:400] + outputs[i][600:]
    examiner = TextExaminer.prepare(Corpus.of(train), Corpus.of(held_out), near=False)
    items = examiner.audit(Corpus.of(outputs))["items"]
    return [(item["p"], item["flagged"], item["item"] < copies) for item in items]


@pytest.fixture(scope="module")
def clean() -> list[list[tuple[float, bool, bool]]]:
    return [audit(seed) for seed in range(30)]


def test_p_values_of_unseen_texts_are_not_too_small(clean: list[list[tuple[float, bool, bool]]]) -> None:
    for level in (0.02, 0.05, 0.1, 0.25):
        rates = [float(np.mean([p <= level for p, _flag, _copy in run])) for run in clean]
        # Outputs of one run share a calibration, so runs are what is independent; 3.5 standard errors.
        error = float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
        assert float(np.mean(rates)) <= level + 3.5 * error


def test_runs_without_copies_are_flagged_no_more_often_than_stated(
    clean: list[list[tuple[float, bool, bool]]],
) -> None:
    flagged = sum(any(flag for _p, flag, _copy in run) for run in clean)
    assert clopper_pearson(flagged, len(clean), 0.998)[0] <= 0.05


def test_the_false_discovery_rate_holds_with_copies_and_all_are_found() -> None:
    runs = [audit(1_000 + seed, copies=12) for seed in range(20)]
    false = [
        sum(flag and not copy for _p, flag, copy in run) / max(1, sum(flag for _p, flag, _c in run)) for run in runs
    ]
    error = float(np.std(false, ddof=1)) / math.sqrt(len(false))
    assert float(np.mean(false)) <= 0.05 + 3.5 * error
    assert all(flag for run in runs for _p, flag, copy in run if copy)


class Forgetful:
    """A model that has its own fixed opinion of every text and was trained on none."""

    name = "forgetful"

    def log_probabilities(
        self, pairs: Sequence[tuple[str, str]], sampling: Sampling, progress: object = None
    ) -> list[Scored]:
        return [Scored(-random.Random(suffix).random() * 9, 1) for _prefix, suffix in pairs]

    def complete(
        self, prompts: Sequence[str], sampling: Sampling, *, count: int, max_tokens: int, seed: int
    ) -> list[list[str]]:
        raise NotImplementedError


def test_exposure_of_canaries_that_were_not_put_in_is_exactly_uniform() -> None:
    generator = random.Random(9)
    canaries = [Canary(f"{i} is {{secret}}", f"{generator.randrange(10**6):06}") for i in range(600)]
    p = [each["p"] for each in expose(Forgetful(), canaries, candidates=19)["canaries"]]
    counts = np.bincount(np.round(np.array(p) * 20).astype(int) - 1, minlength=20)
    assert counts.sum() == 600
    # Chi-square with 19 degrees of freedom is above 49 once in 5,000.
    assert float(((counts - 30) ** 2 / 30).sum()) < 49
