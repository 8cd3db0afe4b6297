"""The laws of alignment: descriptions bound correlations, and the best of the 50 transforms is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.audit.images.alignment import AlignedIndex, _Describer
from countermark.audit.images.store import ImageStore

pytest.importorskip("torch")


@st.composite
def pictures(draw: st.DrawFn, count: int) -> np.ndarray:
    shape = draw(st.sampled_from([(8, 8, 1), (9, 13, 1), (16, 10, 3), (28, 28, 1)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = draw(st.sampled_from([[0, 255], [3, 4], list(range(256))]))
    return generator.choice(np.array(values, np.uint8), (count, *shape))


def crops_of(image: np.ndarray) -> dict[tuple[bool, int, int], np.ndarray]:
    height, width = image.shape[0] - 4, image.shape[1] - 4
    return {
        (mirror, dx - 2, dy - 2): (image[:, ::-1] if mirror else image)[dy : dy + height, dx : dx + width].reshape(-1)
        for mirror in (False, True)
        for dx in range(5)
        for dy in range(5)
    }


def left_over(training: np.ndarray, crop: np.ndarray) -> float:
    x, y = training.astype(float), crop.astype(float)
    x, y = x - x.mean(), y - y.mean()
    less, greater = sorted((x @ x, y @ y))
    product = max(float(x @ y), 0.0)
    explained = product * product / less if less > 1e-9 else 0.0
    return float(np.sqrt(max(greater - explained, 0) / len(x)) / 255)


@settings(deadline=None, max_examples=40)
@given(pictures(6), st.integers(1, 5))
def test_the_nearest_under_all_transforms_is_found(images, k):
    sample, training = images[0], images[1:]
    found = AlignedIndex(ImageStore.of(training), engine="numpy").nearest(sample[None], k)
    crops = crops_of(sample)
    middles = training[:, 2:-2, 2:-2].reshape(len(training), -1)
    # the transform of a training image is the one of greatest correlation; then the least remainders are listed
    for place in range(k):
        key = (bool(found.mirror[0, place]), int(found.dx[0, place]), int(found.dy[0, place]))
        middle = middles[found.index[0, place]]
        assert found.residual[0, place] == pytest.approx(left_over(middle, crops[key]), abs=1e-6)
        correlations = [np.corrcoef(middle, crop)[0, 1] for crop in crops.values() if crop.std() and middle.std()]
        if correlations and middle.std() and crops[key].std():
            assert np.corrcoef(middle, crops[key])[0, 1] >= max(correlations) - 1e-5
    assert (np.diff(found.residual[0]) >= 0).all()


@settings(deadline=None, max_examples=40)
@given(pictures(2))
def test_the_product_of_descriptions_is_at_least_the_correlation(images):
    describe = _Describer(*images.shape[1:])
    one = describe.exactly(images[:1], slice(2, 3))[0, 0, 0]
    every = describe.exactly(images[1:], slice(None))[0]
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-4) or not one.any()
    middle = images[0, 2:-2, 2:-2].reshape(-1).astype(float)
    for (mirror, dx, dy), crop in crops_of(images[1]).items():
        if mirror or not crop.std() or not middle.std():
            continue
        assert one @ every[dy + 2, dx + 2] >= np.corrcoef(middle, crop)[0, 1] - 1e-3


@settings(deadline=None, max_examples=20)
@given(pictures(1))
def test_variants_are_the_descriptions_of_the_mirrored_crops(images):
    describe = _Describer(*images.shape[1:])
    plain = describe.variants(images)[0].astype(int)
    mirrored = describe.variants(np.ascontiguousarray(images[:, :, ::-1]))[0].astype(int)
    assert np.abs(plain[25:] - mirrored[:25]).max() <= 1
