"""Alignment: copies under gain, offset, mirroring and shifts; flat pictures; errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from countermark.audit.images.alignment import MARGIN, AlignedIndex
from countermark.audit.images.store import ImageStore
from countermark.errors import InputError

Bytes = NDArray[np.uint8]

torch = pytest.importorskip("torch")


def smooth(count: int, shape: tuple[int, int, int] = (16, 14, 1), seed: int = 0) -> Bytes:
    """Pictures with some structure: random ones, averaged over neighbours twice, stretched to bytes."""
    values = np.random.default_rng(seed).random((count, *shape))
    for _ in range(2):
        values = sum(np.roll(values, step, axis=(1, 2)) for step in ((0, 0), (0, 1), (1, 0), (1, 1)))
    low, high = values.min(axis=(1, 2, 3), keepdims=True), values.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((values - low) / (high - low) * 200 + 20, np.uint8)


def moved(images: Bytes, dx: int, dy: int) -> Bytes:
    """What is moved in is noise: the search may not look at it."""
    away = np.random.default_rng(1).integers(0, 256, images.shape, np.uint8)
    height, width = images.shape[1:3]
    away[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = images[
        :, max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return away


@pytest.mark.parametrize("engine", ["int8", "numpy"])
@pytest.mark.parametrize("shape", [(16, 14, 1), (12, 20, 3)])
def test_a_changed_copy_is_found_with_what_was_done_to_it(engine, shape):
    images = smooth(300, shape)
    index = AlignedIndex(ImageStore.of(images), engine=engine)
    chosen = images[40:60]
    for dx, dy, mirror in ((0, 0, False), (2, -1, False), (-2, 2, True), (1, 0, True)):
        copies = moved(chosen, dx, dy)
        copies = copies[:, :, ::-1] if mirror else copies
        copies = np.rint(copies * 0.8 + 10).astype(np.uint8)
        found = index.nearest(copies, 3)
        assert (found.index[:, 0] == np.arange(40, 60)).all()
        assert (found.mirror[:, 0] == mirror).all()
        assert (found.dx[:, 0] == dx).all()
        assert (found.dy[:, 0] == dy).all()
        assert found.gain[:, 0] == pytest.approx(0.8, abs=0.02)
        assert found.offset[:, 0] == pytest.approx(10, abs=3)
        # what is left is the rounding to bytes, divided by the gain
        assert found.residual[:, 0].max() < 0.6 / 255
        assert (np.diff(found.residual, axis=1) >= 0).all()


def test_the_copy_itself_leaves_nothing():
    images = smooth(100)
    found = AlignedIndex(ImageStore.of(images)).nearest(images[:5], 1)
    assert found.residual[:, 0].tolist() == [0.0] * 5
    assert found.gain[:, 0].tolist() == [1.0] * 5
    assert found.offset[:, 0].tolist() == [0.0] * 5


def test_a_flat_picture_is_near_to_flat_pictures_only():
    images = smooth(50)
    images[7] = 90
    index = AlignedIndex(ImageStore.of(images))
    flat = np.full((1, *images.shape[1:]), 30, np.uint8)
    found = index.nearest(flat, 50)
    assert found.index[0, 0] == 7
    assert found.residual[0, 0] == 0
    assert found.residual[0, 1] > 0.05
    assert found.gain[0, 1] == 0
    # and the flat training image is no neighbour of pictures that show something
    assert index.nearest(images[:1], 50).index[0, 0] == 0
    assert index.nearest(images[:1], 50).residual[0, 1:].min() > 0.01


def test_an_inverted_picture_fits_nothing():
    images = smooth(60)
    found = AlignedIndex(ImageStore.of(images)).nearest(255 - images[:4], 1)
    assert (found.residual[:, 0] > 0.02).all()


def test_all_neighbours_of_few_images():
    images = smooth(3)
    found = AlignedIndex(ImageStore.of(images)).nearest(images, 3)
    assert sorted(found.index[1].tolist()) == [0, 1, 2]
    assert AlignedIndex(ImageStore.of(images)).nearest(images[:0], 2).residual.shape == (0, 2)


def test_more_samples_than_one_step_and_their_progress():
    images, told = smooth(70), []
    index = AlignedIndex(ImageStore.of(images), threads=3)
    found = index.nearest(np.resize(images, (600, *images.shape[1:])), 1, progress=lambda *step: told.append(step))
    assert (found.index[:, 0] == np.arange(600) % 70).all()
    assert [step[:2] for step in told] == [(512, 600), (600, 600)]


def test_what_cannot_be_aligned_is_refused():
    with pytest.raises(InputError, match="7x9 pixels are too small"):
        AlignedIndex(ImageStore.of(np.zeros((3, 7, 9, 1), np.uint8)))
    index = AlignedIndex(ImageStore.of(smooth(5)))
    with pytest.raises(InputError, match="cannot be aligned here"):
        index.nearest(np.zeros((2, 14, 16, 1), np.uint8), 1)
    for k in (0, 6):
        with pytest.raises(InputError, match="among 5 images"):
            index.nearest(smooth(1), k)


def test_the_margin_is_what_the_documents_say():
    assert MARGIN == 2
