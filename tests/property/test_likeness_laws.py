"""The laws of descriptions: what is chosen, and distances of descriptors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.audit.images.descriptors import BuiltIn, DescriptorIndex, unit_rows
from countermark.audit.images.likeness import Likeness, cosines, quantized
from countermark.audit.images.store import ImageStore

torch = pytest.importorskip("torch")


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 90), st.integers(1, 7), st.integers(1, 5), st.integers(1, 30), st.booleans(), st.integers(0, 2**32)
)
def test_the_greatest_products_over_variants_are_chosen(count, asked, variants, length, integers, seed):
    generator = np.random.default_rng(seed)
    # few different values make ties
    rows = quantized(unit_rows(generator.integers(-1, 2, (count, length))))
    queries = quantized(unit_rows(generator.integers(-1, 2, (asked, variants, length))))
    k = int(generator.integers(1, count + 1))
    products = np.einsum("qvl,nl->qvn", queries.astype(int) - 128, rows.astype(int) - 128).max(1)
    expected = np.argsort(-products, axis=1, kind="stable")[:, :k]
    found = Likeness(rows, torch if integers else None, 2).closest(queries, k)
    assert np.array_equal(found, expected)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(8, 40), st.sampled_from([1, 3]), st.integers(0, 2**32))
def test_distances_of_the_built_in_descriptor(count, side, channels, seed):
    generator = np.random.default_rng(seed)
    values = generator.choice(np.array([0, 200], np.uint8), (count, side, side + 3, channels))
    found = DescriptorIndex(ImageStore.of(values), BuiltIn(), engine="numpy").nearest(values, count)
    assert (found.distance >= 0).all()
    assert (found.distance <= 2 + 1e-6).all()
    assert (np.diff(found.distance, axis=1) >= 0).all()
    flat = ~BuiltIn()(values).any(1)
    assert found.distance[~flat, 0] == pytest.approx(0, abs=1e-9)
    assert all(sorted(row) == list(range(count)) for row in found.index.tolist())


@given(st.integers(1, 60))
def test_cosines_are_orthonormal(side):
    rows = cosines(side, side)
    assert rows @ rows.T == pytest.approx(np.eye(side), abs=1e-9)
