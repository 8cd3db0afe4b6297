"""Extraction: planted copies are found first and stop the drawing; clean models are looked at to the end."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from countermark.audit.cliques import Cliques
from countermark.audit.extraction import extract
from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.errors import InputError

SIDE = 8


def source(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures: nothing is near to anything by chance."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(2, axis=1).repeat(2, axis=2))


TRAIN, HELD_OUT = source(120, 1), source(999, 2)


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    return Examiner.prepare(ImageStore.of(TRAIN), ImageStore.of(HELD_OUT), engine="numpy", unseen_sets=5)


@dataclass
class Model:
    """Draws new pictures, and in a share of the draws one of the first training images, noised."""

    share: float
    asked: list[int]
    name: str = "planted"

    def sample(self, count: int, *, seed: int) -> np.ndarray:
        self.asked.append(seed)
        rng = np.random.default_rng([9, seed])
        images = source(count, 1000 + seed).astype(np.int16)
        copies = rng.random(count) < self.share
        which = rng.integers(0, 3, count)
        images[copies] = TRAIN[which[copies]] + rng.integers(-3, 4, images[copies].shape)
        return np.clip(images, 0, 255).astype(np.uint8)


def test_copies_are_looked_at_first_and_stop_the_drawing(examiner: Examiner) -> None:
    model = Model(0.05, [])
    found = extract(model, examiner, draws=2000, batch=200, look=16, seed=5)
    assert found.stop == "copies-found"
    assert found.drawn < 2000
    assert model.asked == list(range(5, 5 + len(model.asked))) == list(found.seeds)
    assert found.cliques[0].size >= 2
    first = Cliques(found.near)
    first.add(Model(0.05, []).sample(200, seed=5))
    sizes = np.bincount(first.of)[first.of][[item for item in found.order if item < 200]]
    assert sizes[0] > 1
    assert (np.diff(sizes[:200]) <= 0).all()
    assert found.looks[-1].p_value <= 0.05 < min([1.0, *(look.p_value for look in found.looks[:-1])])
    assert len(set(found.order)) == len(found.order) == sum(look.count for look in found.looks)


def test_what_is_called_a_copy_is_one(examiner: Examiner) -> None:
    found = extract(Model(0.2, []), examiner, draws=400, batch=100, rule="evidence")
    assert found.stop == "copies-found"
    assert found.copies
    assert found.looks[-1].evidence > 0
    assert {copy.nearest for copy in found.copies} <= {0, 1, 2}
    assert all(copy.clique > 1 for copy in found.copies)


def test_a_clean_model_is_looked_at_to_the_end(examiner: Examiner) -> None:
    steps: list[tuple[int, int, str]] = []
    found = extract(Model(0.0, []), examiner, draws=300, batch=128, look=64, progress=lambda *told: steps.append(told))
    assert (found.stop, found.drawn, found.copies) == ("all-looked-at", 300, ())
    assert sorted(found.order) == list(range(300))
    p_values = [look.p_value for look in found.looks]
    assert p_values == sorted(p_values, reverse=True)
    assert found.p_value > 0.05
    assert steps == [(128, 300, "images"), (256, 300, "images"), (300, 300, "images")]


def test_singles_can_be_left_out_and_count_all_the_same(examiner: Examiner) -> None:
    found = extract(Model(0.0, []), examiner, draws=200, batch=100, singles=False)
    assert len(found.order) == found.grouped
    assert found.planned == found.drawn == 200


def test_images_that_were_drawn_before_are_one_plan(examiner: Examiner) -> None:
    @dataclass
    class Held(Model):
        count: int = 150

    model = Held(0.3, [])
    found = extract(model, examiner, draws=5000, batch=10)
    assert (found.planned, found.drawn, model.asked) == (150, 150, [0])
    assert found.copies


def test_the_result_is_json_and_follows_from_the_seed(examiner: Examiner) -> None:
    one, two = (extract(Model(0.1, []), examiner, draws=200, batch=50) for _ in range(2))
    assert json.loads(json.dumps(one.to_json())) == two.to_json()
    assert one.to_json()["type"] == "countermark.extraction/1"
    assert one.digest != extract(Model(0.1, []), examiner, draws=200, batch=50, seed=1).digest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draws": 0}, "at least 1"),
        ({"rule": "product"}, "simes or evidence"),
        ({"near": 0.0}, "between 0 and 1"),
        ({"level": 0.0005}, "no look could ever stop"),
        ({"level": 0.001, "rule": "evidence"}, "no look could ever stop"),
    ],
)
def test_plans_that_mean_nothing_are_refused(examiner: Examiner, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        extract(Model(0.0, []), examiner, **options)


def test_a_model_that_draws_something_else_is_refused(examiner: Examiner) -> None:
    class Floats:
        name = "floats"

        def sample(self, count: int, *, seed: int) -> np.ndarray:
            return np.zeros((count, SIDE, SIDE, 1))

    with pytest.raises(InputError, match="did not draw 256 pictures of bytes"):
        extract(Floats(), examiner)
