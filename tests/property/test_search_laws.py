"""The laws of exact search: every engine equals the comparison of all pairs, for any shapes, values and ties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from countermark.audit.images.products import Float32, Int8, padded_norms, squared_norms
from countermark.audit.images.search import PLANS, Plan, index_of

torch = pytest.importorskip("torch")
pytest.importorskip("faiss")


class Rows:
    """Images in some shards."""

    def __init__(self, rows: NDArray[np.uint8], cuts: list[int] | None = None, labels: object = None) -> None:
        self._rows, self._cuts = rows, [0, *(cuts or []), len(rows)]
        self.shape, self.count, self.labels = (rows.shape[1], 1, 1), len(rows), labels

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._rows[indices].reshape(-1, *self.shape)

    def shards(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for start, stop in zip(self._cuts, self._cuts[1:], strict=False):
            if stop > start:
                yield start, self._rows[start:stop]


def slowly(queries: NDArray[np.uint8], rows: NDArray[np.uint8], k: int) -> tuple[list[list[int]], list[list[int]]]:
    """All pairs in Python integers, sorted by distance and index."""
    found = [
        sorted((int(((row.astype(int) - query.astype(int)) ** 2).sum()), i) for i, row in enumerate(rows))[:k]
        for query in queries
    ]
    return [[d for d, _ in row] for row in found], [[i for _, i in row] for row in found]


@st.composite
def searches(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int, list[int]]:
    count, dims, asked = draw(st.integers(1, 150)), draw(st.integers(1, 40)), draw(st.integers(1, 9))
    # few values make many ties; the extremes make the greatest products
    values = draw(st.sampled_from([[0], [0, 255], [0, 1], [7, 128, 200], list(range(256))]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = generator.choice(np.array(values, np.uint8), (count, dims))
    queries = generator.choice(np.array(values, np.uint8), (asked, dims))
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
    return queries, rows, draw(st.integers(1, count)), cuts


PLANS_TRIED = [
    Plan("int8", 4, 64),
    Plan("int8", 3, 50),
    PLANS["int8"],
    Plan("numpy", 2, 64),
    PLANS["numpy"],
    Plan("faiss", 4096, 40),
    PLANS["faiss"],
]


@settings(deadline=None, max_examples=60)
@given(searches(), st.sampled_from(PLANS_TRIED), st.integers(1, 3))
def test_an_index_equals_the_comparison_of_all_pairs(search, plan, threads):
    queries, rows, k, cuts = search
    found = index_of(Rows(rows, cuts), plan, threads).nearest(queries, k)
    squared, index = slowly(queries, rows, k)
    assert found.squared.tolist() == squared
    assert found.index.tolist() == index


@settings(deadline=None, max_examples=25)
@given(searches(), st.sampled_from(PLANS_TRIED), st.integers(1, 4))
def test_a_search_by_label_is_the_search_among_that_label(search, plan, classes):
    queries, rows, _, cuts = search
    labels = np.arange(len(rows)) % classes
    asked = np.arange(len(queries)) % min(classes, len(rows))
    k = int(np.bincount(labels).min()) if len(rows) >= classes else 1
    found = index_of(Rows(rows, cuts, labels), plan, 2).nearest(queries, k, labels=asked)
    for i, query in enumerate(queries):
        same = np.flatnonzero(labels == asked[i])
        squared, index = slowly(query[None], rows[same], k)
        assert found.squared[i].tolist() == squared[0]
        assert found.index[i].tolist() == same[index[0]].tolist()


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 4000), st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**32))
def test_all_kernels_give_the_same_scores(dims, asked, count, seed):
    generator = np.random.default_rng(seed)
    rows = generator.choice(np.array([0, 127, 128, 255], np.uint8), (count, dims))
    queries = generator.choice(np.array([0, 255], np.uint8), (asked, dims))
    norms = squared_norms(rows)
    expected = norms - 2 * (queries.astype(np.int64) - 128) @ (rows.astype(np.int64) - 128).T
    # "cpu:0" is not "cpu": it goes the way of a GPU, padding and gathering there
    for kernel in (Int8(torch), Int8(torch, "cpu:0"), Float32()):
        scores = kernel.scores(kernel.queries(queries), kernel.images(rows, norms))
        whole = kernel.head(scores, 10_000)
        assert np.array_equal(whole[:, :count], expected)
        assert (whole[:, count:] > expected.max()).all()
        lots = whole.reshape(-1, 64)
        assert np.array_equal(kernel.lows(scores).reshape(-1), lots.min(1))
        assert np.array_equal(kernel.lots(scores, np.array([len(lots) - 1, 0])), lots[[-1, 0]])


def test_images_of_more_bytes_than_32_bits_can_add_up():
    rows = np.array([[0] * 140_000, [255] * 140_000, [0] * 139_999 + [3]], np.uint8)
    for plan in (PLANS["int8"], PLANS["numpy"], PLANS["faiss"]):
        found = index_of(Rows(rows), plan, 1).nearest(rows[:2], 3)
        assert found.squared.tolist() == [[0, 9, 140_000 * 255**2], [0, 139_999 * 255**2 + 252**2, 140_000 * 255**2]]
        assert found.index.tolist() == [[0, 2, 1], [1, 2, 0]]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_squared_norms_are_those_of_integers(dims, seed):
    rows = np.random.default_rng(seed).choice(np.array([0, 1, 254, 255], np.uint8), (3, dims))
    expected = ((rows.astype(np.int64) - 128) ** 2).sum(1)
    assert squared_norms(rows).tolist() == expected.tolist()
    assert padded_norms(expected, dims)[:3].tolist() == expected.tolist()
