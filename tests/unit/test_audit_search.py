"""Exact search: errors, progress, the choice of an engine, large answers and mapped files."""

from __future__ import annotations

import numpy as np
import pytest

from countermark.audit.images import scan, search, trial
from countermark.audit.images.search import PLANS, FaissIndex, Plan, exact_index, index_of, rmse
from countermark.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("faiss")


def images(count: int, dims: int = 12, seed: int = 0) -> trial._Rows:
    return trial._Rows(np.random.default_rng(seed).integers(0, 256, (count, dims), np.uint8))


@pytest.mark.parametrize("engine", ["auto", "int8", "numpy", "faiss"])
def test_more_neighbours_than_images_are_refused(engine):
    index = exact_index(images(5), engine=engine)
    queries = np.zeros((2, 12), np.uint8)
    assert index.nearest(queries, 5).index.shape == (2, 5)
    for k in (0, -1, 6):
        with pytest.raises(InputError, match="among 5 images"):
            index.nearest(queries, k)


def test_no_query_is_no_answer():
    assert exact_index(images(5), engine="int8").nearest(np.zeros((0, 12), np.uint8), 2).squared.shape == (0, 2)


@pytest.mark.parametrize(
    "queries",
    [np.zeros((2, 11), np.uint8), np.zeros((2, 12)), np.zeros(12, np.uint8), np.zeros((2, 2, 2, 2), np.uint8)],
)
def test_queries_of_another_kind_are_refused(queries):
    with pytest.raises(InputError, match="12 bytes each"):
        exact_index(images(5), engine="numpy").nearest(queries, 1)


def test_pictures_are_queries_too():
    found = exact_index(images(5), engine="numpy").nearest(np.zeros((2, 2, 2, 3), np.uint8), 1)
    assert found.squared.shape == (2, 1)


def test_labels_that_are_not_there():
    index = exact_index(images(5), engine="numpy")
    queries = np.zeros((2, 12), np.uint8)
    with pytest.raises(InputError, match="no labels"):
        index.nearest(queries, 1, labels=np.zeros(2, np.int64))
    store = images(5)
    store.labels = np.zeros(5, np.int64)
    index = exact_index(store, engine="numpy")
    with pytest.raises(InputError, match="3 labels were given for 2 queries"):
        index.nearest(queries, 1, labels=np.zeros(3, np.int64))
    with pytest.raises(InputError, match="among 0 images"):
        index.nearest(queries, 1, labels=np.array([0, 4]))


def test_an_empty_store_and_an_unknown_engine_are_refused():
    with pytest.raises(InputError, match="no training image"):
        exact_index(images(0), engine="numpy")
    with pytest.raises(InputError, match="no search engine 'gpu'"):
        exact_index(images(1), engine="gpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 threads"):
        exact_index(images(1), threads=0)


@pytest.mark.parametrize("engine", ["int8", "numpy", "faiss"])
def test_progress_never_falls_and_ends_at_all_queries(engine):
    told: list[tuple[int, int, str]] = []
    store = images(3000)
    store.labels = np.arange(3000) % 3
    labels = np.arange(50) % 3
    exact_index(store, engine=engine).nearest(
        np.zeros((50, 12), np.uint8), 3, labels=labels, progress=lambda *step: told.append(step)
    )
    done = [step[0] for step in told]
    assert done == sorted(set(done))
    assert told[-1] == (50, 50, "images")


def test_many_neighbours_of_many_blocks_equal_a_plain_sort():
    store, generator = images(9000, 30), np.random.default_rng(1)
    # nearest images last: every block beats the one before
    rows = store._rows
    rows[:] = rows[np.argsort(-rows.astype(int).sum(1), kind="stable")] // 4
    queries = generator.integers(0, 2, (300, 30), np.uint8)
    every = ((rows.astype(np.int64)[None] - queries[:20].astype(np.int64)[:, None]) ** 2).sum(2)
    order = np.argsort(every, axis=1, kind="stable")[:, :500]
    for threads in (1, 3):
        found = index_of(store, Plan("int8", 128, 512), threads).nearest(queries, 500)
        assert np.array_equal(found.index[:20], order)
        assert np.array_equal(found.squared[:20], np.take_along_axis(every, order, 1))


def test_images_that_are_all_the_same_are_found_in_their_order():
    store = trial._Rows(np.full((5000, 9), 77, np.uint8))
    for engine in ("int8", "numpy", "faiss"):
        found = exact_index(store, engine=engine).nearest(np.full((3, 9), 78, np.uint8), 60)
        assert (found.squared == 9).all()
        assert (found.index == np.arange(60)).all()


def test_images_in_a_mapped_file_are_searched_where_they_lie(tmp_path):
    rows = images(2000)._rows
    np.save(tmp_path / "rows.npy", rows)
    store = trial._Rows(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    found = exact_index(store, engine="int8").nearest(rows[:100], 1)
    assert (found.index[:, 0] == np.arange(100)).all()


def test_what_faiss_rounds_away_is_found_again(monkeypatch):
    # distances that float32 cannot tell apart, more of them than faiss is asked for
    generator = np.random.default_rng(3)
    rows = generator.integers(0, 2, (400, 3000), np.uint8) * 255
    rows[:, 3:] = rows[0, 3:]
    queries = (255 - rows[:1]).copy()
    index = index_of(trial._Rows(rows), PLANS["faiss"], 1)
    assert isinstance(index, FaissIndex)
    asked: list[int] = []
    other = index._other.search
    monkeypatch.setattr(index._other, "search", lambda q, *rest: asked.append(len(q)) or other(q, *rest))
    found = index.nearest(queries, 3)
    exact = index_of(trial._Rows(rows), PLANS["numpy"], 1).nearest(queries, 3)
    assert np.array_equal(found.index, exact.index)
    assert np.array_equal(found.squared, exact.squared)
    assert asked == [1]


def test_a_failure_in_a_thread_comes_out_and_threads_are_set_back(monkeypatch):
    index, before = index_of(images(9000), PLANS["int8"], 2), torch.get_num_threads()
    index.nearest(np.zeros((2, 12), np.uint8), 1)
    assert torch.get_num_threads() == before

    def fails(*_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(scan._Found, "visit", fails)
    with pytest.raises(OSError, match="gone"):
        index.nearest(np.zeros((2, 12), np.uint8), 1)
    assert torch.get_num_threads() == before


def test_the_self_test_keeps_its_time(monkeypatch):
    spent: list[float] = []
    monkeypatch.setattr(trial._Trial, "_time", lambda self, index: spent.append(0.03) or 0.03)
    assert trial.rates(2)
    assert sum(spent) < 0.3


def test_the_fastest_plan_is_taken_once_per_process(monkeypatch):
    trial.best_plan.cache_clear()
    monkeypatch.setattr(trial, "rates", lambda threads: {PLANS["faiss"]: 1.0, PLANS["numpy"]: float(threads)})
    assert trial.best_plan(3) == PLANS["numpy"]
    monkeypatch.setattr(trial, "rates", lambda threads: {})
    assert trial.best_plan(3) == PLANS["numpy"]
    trial.best_plan.cache_clear()


def test_where_eight_bit_products_are_slow_another_engine_is_taken(monkeypatch):
    slow, timed = {PLANS["int8"]: 0.1, PLANS["faiss"]: 0.002, PLANS["numpy"]: 0.003}, trial._Trial._time
    monkeypatch.setattr(trial._Trial, "_time", lambda self, index: slow[index.plan])
    measured = trial.rates(2, budget=5)
    assert max(measured, key=measured.__getitem__) == PLANS["faiss"]
    monkeypatch.setattr(trial._Trial, "_time", timed)
    assert {plan.engine for plan in trial.rates(2, budget=-1)} == {"int8", "numpy"}


def test_the_unit_of_distances():
    assert rmse(np.array([784 * 255**2, 0]), 784).tolist() == [1.0, 0.0]
    assert rmse(np.array([784]), 784)[0] == pytest.approx(1 / 255)


def test_wrong_products_are_not_used(monkeypatch):
    monkeypatch.setattr(search, "int8_is_exact", lambda device: False)
    with pytest.raises(InputError, match="are wrong here"):
        exact_index(images(1), engine="int8")
    assert not {plan for plan in trial.rates(2) if plan.engine == "int8"}
