"""The benchmark of copyists and honest models, on images small enough to see it run."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memorization_models

RANDOM = np.random.default_rng(2)
TRAIN, HELD_OUT = (RANDOM.integers(0, 256, (count, 6, 6), dtype=np.uint8) for count in (400, 200))


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    plan = tuple((kind, size, min(steps, 2)) for kind, size, steps in memorization_models.QUICK_PLAN)
    monkeypatch.setattr(memorization_models, "QUICK_PLAN", plan)
    np.savez(tmp_path / "noise.npz", x_train=TRAIN, x_test=HELD_OUT)
    return argparse.Namespace(data=tmp_path / "noise.npz", develop=None, samples=None, quick=True)


def test_the_known_answer_comes_out(options: argparse.Namespace) -> None:
    rows, summary = memorization_models.measure(options)
    assert [(row["model"], row["train"]) for row in rows] == [("diffusion", 300), ("diffusion", 400), ("analytic", 300)]
    assert {row["part"] for row in rows} == {"models"}
    assert rows[-1]["flagged"] == summary["noise"]["analytic_flagged"] == 1
    assert rows[-1]["median_rmse"] == 0
    assert rows[1]["flagged"] == 0
    assert set(rows[0]) >= {"fixed rmse", "false rmse", "fixed l2/dims", "false l2/dims", "model_p"}


def test_samples_that_were_drawn_before_are_judged(options: argparse.Namespace, tmp_path: Path) -> None:
    indices = np.arange(0, 300, 3)
    np.savez(tmp_path / "noise_n100.npz", samples=TRAIN[indices][..., None], train_indices=indices)
    np.savez(tmp_path / "noise_gan_n100.npz", samples=HELD_OUT[:50, ..., None], train_indices=indices)
    options.samples = tmp_path
    rows, _ = memorization_models.measure(options)
    assert {row["model"]: row["flagged"] for row in rows} == {"gan": 0, "diffusion": 1}
