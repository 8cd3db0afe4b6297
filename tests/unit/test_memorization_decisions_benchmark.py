"""The benchmark of decisions on images that are made up, so that it runs anywhere."""

from argparse import Namespace

import numpy as np

from benchmarks.memorization_decisions import PLANTED, draw, measure


def test_it_runs_and_its_bars_are_named(tmp_path):
    generator = np.random.Generator(np.random.PCG64(1))
    images = generator.integers(0, 255, (700, 6, 6)).astype(np.uint8)
    np.savez(tmp_path / "noise-images.npz", x_train=images[:200], x_test=images[200:])
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    np.savez(drawn / "noise_n50.npz", samples=images[:50], train_indices=np.arange(50))
    options = Namespace(data=tmp_path / "noise-images.npz", develop=None, samples=drawn, quick=True)
    rows, summary = measure(options)
    kinds = {row["kind"] for row in rows}
    assert kinds == {"planted", "unseen", "cutoff", "near-duplicate", "weight", "model", "control"}
    assert {row["part"] for row in rows} == {"decisions"}
    assert summary["models"] == {"noise_n50": 1.0}
    assert summary["controls_flagged"] == 0.0
    assert summary["best_design"] == 200
    assert 0 < PLANTED < 0.01


def test_a_draw_uses_no_image_twice_and_finds_what_is_far_below():
    pool = np.arange(1000.0)
    found = draw(pool, np.full(50, -1.0), 100, 10, 0.05, 1)
    assert (found.found, found.false) == (10, 0)
    assert draw(pool, np.full(50, 2000.0), 100, 10, 0.05, 1).found == 0
