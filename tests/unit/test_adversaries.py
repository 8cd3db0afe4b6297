"""Adversaries without the key do what they say, to simple marks: a tile that repeats, waves that pictures share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from countermark.errors import InputError
from countermark.marking.adversaries import (
    Surrogate,
    alike,
    average_removal,
    copy_forgery,
    fold_forgery,
    line_removal,
    mean_detail,
    notch,
    standing_lines,
)
from countermark.marking.adversaries.repetition import lattice, repetition
from countermark.marking.adversaries.residual import split

PHOTO = skimage.data.astronaut()[:320, :384]
SHAPE = PHOTO.shape[:2]


def scene(seed: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """Return a picture without features: noise whose spectrum falls as that of photographs does."""
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=shape))
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    plane = np.fft.ifft2(noise / (radius + 2e-3) ** 1.5).real
    return np.clip(128 + 40 * plane / plane.std(), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def sum_of_waves(frequencies: NDArray[np.float64], seed: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    """Return waves of random phases, with a root mean square of 1."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(frequencies))
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = sum(np.cos(2 * np.pi * (fx * x + fy * y) + p) for (fx, fy), p in zip(frequencies, phases, strict=True))
    return plane / plane.std()


def some_of(frequencies: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    radius = np.hypot(*frequencies.T)
    return np.random.default_rng(seed).permutation(frequencies[(radius > 0.06) & (radius < 0.2)])[:count]


def marked(picture: NDArray[np.uint8], mark: NDArray[np.float64], levels: float = 2.0) -> NDArray[np.uint8]:
    fitted = mark[: picture.shape[0], : picture.shape[1]]
    return np.clip(np.rint(picture + levels * fitted[..., None]), 0, 255).astype(np.uint8)


def likeness(picture: NDArray[np.uint8], mark: NDArray[np.float64]) -> float:
    """Return the correlation of a picture's leveled detail with a mark, in standard deviations of chance."""
    leveled = split(picture)[0]
    fitted = mark[: leveled.shape[0], : leveled.shape[1]]
    return float((leveled * fitted).sum() / np.sqrt((leveled**2).sum() * (fitted**2).mean()))


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.fixture(scope="module")
def shared() -> NDArray[np.float64]:
    """Forty waves that every picture of one key has."""
    grid = np.stack(np.meshgrid(np.arange(0, 103), np.arange(-102, 103)), axis=-1).reshape(-1, 2) / 512
    return some_of(grid, 40, seed=3)


@pytest.fixture(scope="module")
def pairs(shared: NDArray[np.float64]) -> tuple[Sequence[NDArray[np.uint8]], Sequence[NDArray[np.uint8]]]:
    """Twenty pictures that carry them, with other phases each, and twenty without."""
    scenes = [scene(seed) for seed in range(40)]
    return [marked(each, sum_of_waves(shared, seed)) for seed, each in enumerate(scenes[:20])], scenes[20:]


@pytest.mark.parametrize("picture", [PHOTO, skimage.data.coffee()[:320, :384]], ids=["astronaut", "coffee"])
@pytest.mark.parametrize(
    "lags", [((96, 0), (0, 96)), ((80, 0), (0, 112)), ((90, 33), (-33, 90))], ids=["square", "oblong", "turned"]
)
def test_a_tile_that_repeats_is_found_and_taken_away(picture, lags):
    mark = sum_of_waves(some_of(lattice(np.array(lags, dtype=float)), 150, seed=2), 2)
    carrier = marked(picture, mark, levels=3)
    cleaned = notch(carrier)
    found = repetition(split(carrier)[0])
    assert found is not None
    multiples = np.linalg.solve(np.array(lags, dtype=float).T, found.T)
    assert np.abs(multiples - np.rint(multiples)).max() < 0.05
    assert likeness(carrier, mark) > 50
    assert abs(likeness(cleaned, mark)) < 10
    assert psnr(cleaned, carrier) > 30


@pytest.mark.parametrize("seed", range(4))
def test_nothing_repeats_in_a_scene(seed):
    assert repetition(split(scene(seed))[0]) is None


def test_without_a_repetition_the_notch_takes_what_stands_out():
    waves = some_of(lattice(np.array([(384.0, 0), (0, 320.0)])), 30, seed=5)
    mark = sum_of_waves(waves, 5)
    carrier = marked(scene(8), mark, levels=3)
    assert likeness(notch(carrier), mark) < 0.3 * likeness(carrier, mark)


def test_what_pictures_share_is_averaged_and_taken_away():
    mark = sum_of_waves(some_of(lattice(np.array([(384.0, 0), (0, 320.0)])), 400, seed=7), 7)
    carriers = [marked(scene(seed), mark) for seed in range(40)]
    target = marked(PHOTO, mark)
    estimate = mean_detail(carriers)
    cleaned = average_removal(estimate, target)
    shown = estimate[: SHAPE[0], : SHAPE[1]]
    assert np.corrcoef(shown.ravel(), mark.ravel())[0, 1] > 0.7
    assert likeness(target, mark) > 50
    assert abs(likeness(cleaned, mark)) < 0.5 * likeness(target, mark)
    assert abs(likeness(average_removal(mean_detail([scene(s) for s in range(8)]), target), mark)) > 50


def test_folding_averages_a_tile_with_fewer_pictures():
    mark = sum_of_waves(some_of(lattice(np.array([(64.0, 0), (0, 64.0)])), 60, seed=9), 9)
    carriers = [marked(scene(seed), mark) for seed in range(4)]
    target = marked(PHOTO, mark)
    folded, plain = mean_detail(carriers, pitch=64), mean_detail(carriers)
    assert folded.shape == (64, 64)
    left = [abs(likeness(average_removal(each, target), mark)) for each in (folded, plain)]
    assert left[0] < 0.4 * likeness(target, mark)
    assert left[0] < left[1]


def test_pictures_with_the_targets_mark_are_told_from_others():
    marks = [sum_of_waves(some_of(lattice(np.array([(384.0, 0), (0, 320.0)])), 300, seed=s), s) for s in (1, 2)]
    pictures = [marked(scene(seed), marks[seed % 2]) for seed in range(10)]
    kept = alike(pictures, marked(PHOTO, marks[1]), keep=5)
    assert {id(each) for each in kept} == {id(each) for each in pictures[1::2]}


def test_waves_that_pictures_share_are_found_whatever_their_phases(shared, pairs):
    found = {tuple(each) for each in np.rint(standing_lines(pairs[0], pitch=512, count=60) * 512).astype(int).tolist()}
    wanted = {tuple(each) for each in np.rint(shared * 512).astype(int).tolist()}
    assert len(found & wanted) >= 0.9 * len(wanted)
    mark = sum_of_waves(shared, 99)
    target = marked(PHOTO, mark)
    cleaned = line_removal(standing_lines(pairs[0], pitch=512, count=60), target)
    assert abs(likeness(cleaned, mark)) < 0.2 * likeness(target, mark)
    assert psnr(cleaned, target) > 36


def test_a_surrogate_tells_the_kinds_apart_and_is_evaded(shared, pairs):
    surrogate = Surrogate.train(*pairs, pitch=512)
    mark = sum_of_waves(shared, 99)
    target = marked(scene(100), mark)
    assert surrogate.score(target) > 0.3
    assert surrogate.score(scene(100)) < -0.3
    evading = surrogate.evade(target, psnr_db=36)
    assert psnr(evading, target) == pytest.approx(36, abs=0.5)
    assert surrogate.score(evading) < 0
    assert likeness(evading, mark) < 0.7 * likeness(target, mark)


def test_a_mark_is_copied_onto_a_foreign_picture():
    mark = sum_of_waves(some_of(lattice(np.array([(64.0, 0), (0, 64.0)])), 60, seed=9), 9)
    foreign = scene(11)
    copied = copy_forgery(marked(PHOTO, mark), foreign, psnr_db=38)
    folded = fold_forgery(marked(PHOTO, mark), foreign, 64, psnr_db=38)
    assert abs(likeness(foreign, mark)) < 8
    assert likeness(copied, mark) > 20
    assert likeness(folded, mark) > 1.5 * likeness(copied, mark)
    for forged in (copied, folded):
        assert psnr(forged, foreign) == pytest.approx(38, abs=0.5)


@pytest.mark.parametrize(
    "act",
    [
        lambda: mean_detail([]),
        lambda: standing_lines([]),
        lambda: mean_detail([PHOTO], pitch=0),
        lambda: Surrogate.train([PHOTO], []),
        lambda: copy_forgery(PHOTO, PHOTO, psnr_db=0),
        lambda: fold_forgery(PHOTO, PHOTO, 0),
    ],
)
def test_what_cannot_be_done_is_refused(act):
    with pytest.raises(InputError):
        act()
