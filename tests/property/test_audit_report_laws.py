"""Laws of the report: any document renders, whatever stands in it, and its figures lie where their numbers are."""

from __future__ import annotations

import importlib.util
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.audit.report import pictures, plots, render

_path = Path(__file__).parents[1] / "unit" / "audit_documents.py"
_spec = importlib.util.spec_from_file_location("audit_documents", _path)
assert _spec is not None
assert _spec.loader is not None
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -1, 2**53, 1e308, 5e-324])
    | st.text(max_size=8)
    | st.sampled_from(["<script>", "&", "\ud800", "{0}", "%s", "images", "texts"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FINITE = st.floats(-1e6, 1e6)
IMAGES = st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@settings(max_examples=60)
@given(
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 4),
    st.lists(JSON, min_size=1, max_size=12),
    st.randoms(),
    st.data(),
)
def test_any_document_renders(
    texts: bool, flagged: int, rest: int, values: list[Any], chance: random.Random, data: st.DataObject
) -> None:
    document = (made.texts if texts else made.images)(flagged=flagged, total=flagged + rest)
    for value in values:
        container, key = chance.choice(places(document))
        if chance.random() < 0.2:
            del container[key]
        else:
            container[key] = value
        if not places(document):
            break
    page = render(document, chance.choice([None, made.Squares(), made.Prose()]), lang=chance.choice(["en", "zh"]))
    page.encode("utf-8")
    assert "<script" not in page
    assert not re.search(r'(?:[xy][12]?|width|cx|cy|d)="[^"]*(?:nan|inf)', page)


@given(JSON)
def test_what_is_no_document_renders(document: Any) -> None:
    assert render(document).startswith("<!doctype html>")


@given(FINITE, FINITE, st.lists(FINITE, min_size=2, max_size=9), st.booleans())
def test_an_axis_keeps_order_and_stays_inside(low: float, high: float, values: list[float], log: bool) -> None:
    low, high = sorted((low, high))
    if log:
        low, high = abs(low) + 1e-6, abs(low) + abs(high) + 1e-5
    axis = plots.Axis(low, high, 10.0, 90.0, log=log)
    drawn = [axis.at(value) for value in sorted(values)]
    assert drawn == sorted(drawn)
    assert all(10.0 <= place <= 90.0 for place in drawn)
    ticks = axis.ticks()
    assert len(ticks) <= 12
    assert ticks == sorted(ticks)
    slack = 1e-6 * (high - low) + 1e-9
    assert all(low - slack <= tick <= high + slack for tick in ticks)


@given(IMAGES, IMAGES, st.integers(1, 16))
def test_differences_are_symmetric_and_black_between_equals(one: Any, other: Any, gain: int) -> None:
    assert not pictures.difference(one, one, gain).any()  # type: ignore[union-attr]
    there, back = pictures.difference(one, other, gain), pictures.difference(other, one, gain)
    assert there is not None
    assert (there == back).all()


@given(IMAGES, st.booleans(), st.integers(-7, 7), st.integers(-7, 7))
def test_a_change_moves_what_stays_inside(image: Any, mirror: bool, across: int, down: int) -> None:
    turned = image[:, ::-1] if mirror else image
    moved = pictures.changed(image, mirror=mirror, across=across, down=down, gain=1.0, offset=0.0)
    for row in range(6):
        for column in range(5):
            y, x = row - down, column - across
            expected = turned[y, x] if 0 <= y < 6 and 0 <= x < 5 else np.zeros(3)
            assert (moved[row, column] == expected).all()


@given(st.lists(FINITE, min_size=1, max_size=50), st.lists(FINITE, min_size=1, max_size=50))
def test_a_histogram_shows_every_value_once(first: list[float], second: list[float]) -> None:
    series = [plots.Series("a", "null", first), plots.Series("b", "made", second)]
    edges = np.linspace(*plots._span(series, []), plots._BINS + 1)
    for one in series:
        assert np.isclose(plots._shares(one.values, edges).sum(), 100.0)
