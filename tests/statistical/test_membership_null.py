"""Dataset inference: exact where works and unseen works are exchangeable, and it finds works that a model stored."""

import numpy as np
import pytest
from scipy.stats import kstest

from countermark.audit.membership import Measured, infer
from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.signals import measure_images, rank_image
from countermark.core.stats import binomial_tail, clopper_pearson


def exchangeable(rng, count=150, works=80):
    """Signals that depend on each other and have ties, of works that are one source."""
    hidden = rng.normal(size=count)
    signals = {
        "nearest": hidden + rng.normal(size=count), "loss": np.round(2 * hidden + rng.normal(size=count)),
        "heavy": rng.standard_cauchy(size=count),
    }  # fmt: skip
    traits = {"brightness": hidden}
    distances = np.abs(hidden[:, None] - hidden[None])
    np.fill_diagonal(distances, np.inf)
    return Measured("images", works, f"sha256:{rng.integers(2**60)}", signals, traits, distances.argmin(axis=1))


def test_the_p_value_is_exact_where_works_and_unseen_works_are_exchangeable():
    rng, runs = np.random.default_rng(11), 1000
    answers = [infer(exchangeable(rng), permutations=199, level=0.05) for _ in range(runs)]
    values = np.array([answer.p_value for answer in answers])
    for level in (0.005, 0.01, 0.05, 0.2, 0.5):
        hits = int((values <= level).sum())
        assert binomial_tail(hits, runs, level) > 1e-4, (level, clopper_pearson(hits, runs))
    # Uniform on multiples of 1/200, but for ties: spread evenly within the steps.
    assert kstest(values - rng.random(runs) / 200, "uniform").pvalue > 1e-4
    checks = int(sum(answer.same_source < 0.05 for answer in answers))
    assert binomial_tail(checks, runs, 0.05) > 1e-4
    used = sum(answer.verdict == "used" for answer in answers)
    assert binomial_tail(used, runs, 0.05) > 1e-4


def pictures(count, seed, tint=0):
    coarse = np.random.default_rng(seed).integers(0, 200, (count, 3, 3, 1))
    return (np.kron(coarse, np.ones((1, 3, 3, 1), int)) + tint).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("torch")
    return AnalyticModel("stored", pictures(200, 1), steps=20)


@pytest.fixture(scope="module")
def outputs(model):
    return model.sample(400, seed=3)


def test_works_that_a_model_stored_are_found(model, outputs):
    for loss in (None, model.loss):
        answer = infer(measure_images(pictures(200, 1)[:90], pictures(90, 2), outputs, loss=loss))
        assert answer.verdict == "used"
        assert answer.p_value == answer.floor == 1e-4
        assert answer.auc > 0.8
        assert set(answer.signs) == {"nearest"} | ({"loss"} if loss else set())


def test_works_that_it_never_saw_are_not(outputs):
    answer = infer(measure_images(pictures(90, 4), pictures(90, 2), outputs))
    assert answer.verdict == "no-sign"
    assert answer.p_value > 0.01


def test_unseen_works_of_another_kind_are_noticed(outputs):
    """They are lighter: the model finds them farther although it saw neither, and the check says why."""
    answer = infer(measure_images(pictures(90, 4), pictures(90, 2, tint=50), outputs))
    assert answer.verdict == "cannot-tell"
    assert answer.checks["brightness"] < 0.01
    assert answer.to_json()["reason"] == "not-comparable"


def test_one_work_gets_a_rank_and_no_verdict(outputs):
    stored = rank_image(outputs[:1], pictures(90, 2), outputs)
    other = max(
        (rank_image(pictures(1, seed), pictures(90, 2), outputs) for seed in range(9, 13)), key=lambda x: x.rank
    )
    assert stored.rank == 1 < other.rank
    assert stored.to_json()["verdict"] == other.to_json()["verdict"] == "cannot-tell"
    assert stored.to_json()["reliable"] is False
