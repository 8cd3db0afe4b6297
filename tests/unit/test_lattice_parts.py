"""The parts of the lattice mark against slow, obvious computations."""

import numpy as np
import pytest

from countermark.core.coding import SYMBOLS
from countermark.core.keys import Secret
from countermark.marking.image.geometry import Finder, Spectrum
from countermark.marking.image.pattern import BAND, PILOTS, REPEATS, TILE, Pattern
from countermark.marking.image.spectrum import box, luma, transform

PLANE = np.random.Generator(np.random.PCG64(5)).normal(size=(40, 56)).astype(np.float32)


def test_transform_on_the_grid_is_the_fft():
    rows, columns = np.mgrid[0:40, 0:56]
    frequencies = np.stack((columns.ravel() / 56, rows.ravel() / 40), axis=1)
    assert np.allclose(transform(PLANE, frequencies), np.fft.fft2(PLANE).ravel(), atol=1e-3)


def test_transform_off_the_grid_is_the_sum():
    x, y = np.meshgrid(np.arange(56), np.arange(40))
    for fx, fy in ((0.123, -0.077), (-0.31, 0.402), (0.0, 0.0)):
        expected = (PLANE * np.exp(-2j * np.pi * (fx * x + fy * y))).sum()
        assert transform(PLANE, np.array([[fx, fy]]))[0] == pytest.approx(expected, abs=1e-3)


def test_box_is_the_mean_of_the_square():
    padded = np.pad(PLANE, 3, mode="edge")
    expected = [[padded[y : y + 7, x : x + 7].mean() for x in range(56)] for y in range(40)]
    assert np.allclose(box(PLANE, 3), expected, atol=1e-5)


def test_luma_of_gray_is_the_gray_level():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.allclose(luma(np.stack([gray] * 3, axis=-1)), gray, atol=1e-3)
    assert (luma(gray) == gray).all()


def test_a_pattern_is_a_function_of_its_key():
    one, same, other = (Pattern.derive(Secret(bytes([i]) * 32)) for i in (1, 1, 2))
    assert (one.phases == same.phases).all()
    assert (one.carriers == same.carriers).all()
    assert not np.allclose(one.phases, other.phases)
    assert not (one.symbols == other.symbols).all()


def test_lines_are_distinct_within_the_band_and_no_two_are_conjugate():
    pattern = Pattern.derive(Secret(bytes(32)))
    lines = np.concatenate((pattern.pilots, pattern.carriers))
    both = {tuple(line) for line in lines} | {tuple(-line) for line in lines}
    assert len(both) == 2 * len(lines) == 2 * (PILOTS + REPEATS * SYMBOLS // 2)
    radius = np.hypot(lines[:, 0], lines[:, 1]) / TILE
    assert radius.min() >= BAND[0]
    assert radius.max() <= BAND[1]


def test_every_symbol_is_repeated_once_in_each_ring():
    pattern = Pattern.derive(Secret(bytes(32)))
    for ring in np.split(pattern.symbols, REPEATS):
        assert sorted(ring.ravel().tolist()) == list(range(SYMBOLS))
    assert set(np.unique(pattern.signs)) == {-1.0, 1.0}


def test_phases_of_many_keys_are_uniform():
    phases = np.concatenate([Pattern.derive(Secret(bytes([i]) * 32)).phases for i in range(40)])
    counts = np.histogram(phases, bins=16, range=(0, 2 * np.pi))[0]
    expected = len(phases) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 44.3  # chi-squared, 15 degrees of freedom, level 1e-4


def test_the_spectrum_of_noise_has_its_power_as_floor_and_nothing_in_excess():
    noise = np.random.Generator(np.random.PCG64(6)).normal(size=(400, 300)).astype(np.float32)
    spectrum = Spectrum.of(noise, 640)
    assert np.median(spectrum.floor) == pytest.approx(noise.size, rel=0.1)
    frequencies = np.random.Generator(np.random.PCG64(7)).uniform(-0.49, 0.49, (5000, 2))
    assert abs(spectrum.excess_at(frequencies).mean()) < 0.05
    assert (spectrum.excess_at(np.array([[0.6, 0.1], [0.1, -0.7]])) == 0).all()


def test_the_other_half_of_the_spectrum_is_the_mirrored_first():
    excess = Spectrum.of(PLANE, 640).excess
    mirrored = np.roll(excess[::-1, ::-1], 1, axis=(0, 1))
    half = len(excess) // 2
    assert (excess[:, 1:half] == mirrored[:, 1:half]).all()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (33, 0.6), (-71, 1.7), (120, 0.45)])
def test_the_finder_finds_lines_drawn_at_a_known_matrix(degrees, scale, mirrored):
    generator = np.random.Generator(np.random.PCG64(8))
    lines = Pattern.derive(Secret(bytes(32))).pilots
    turn = np.deg2rad(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    matrix = matrix @ np.diag((-1.0, 1.0)) if mirrored else matrix
    x, y = np.meshgrid(np.arange(300), np.arange(360))
    plane = generator.normal(size=x.shape)
    for fx, fy in lines @ matrix.T / TILE:
        plane += 0.025 * np.cos(2 * np.pi * (fx * x + fy * y + generator.uniform()))
    found, _ = Finder(lines, np.ones(len(lines))).find(plane.astype(np.float32), starts=2, keep=1)
    # A half turn has the same magnitudes, so the sign is open.
    assert min(np.abs(found[0] - matrix).max(), np.abs(found[0] + matrix).max()) < 0.003 / scale
