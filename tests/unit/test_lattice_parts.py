"""The parts of the lattice mark against slow, obvious computations."""

import itertools

import numpy as np
import pytest

from countermark.core.coding import SYMBOLS
from countermark.core.keys import Secret
from countermark.marking.image.alignment import REACH, follow, placed, straighten, sync_tile
from countermark.marking.image.geometry import Blocks, Finder
from countermark.marking.image.pattern import ANCHORS, BAND, HANDS, PATTERNS, PILOTS, SYNC, TILE, TURNS, Pattern
from countermark.marking.image.spectrum import backward, box, forward, luma, reduced

PLANE = np.random.Generator(np.random.PCG64(5)).normal(size=(40, 56)).astype(np.float32)
PATTERN = Pattern.derive(Secret(bytes(32)))


def test_forward_is_the_low_part_of_the_unitary_transform_of_the_folded_plane():
    folded = np.zeros((32, 32))
    for y in range(40):
        for x in range(56):
            folded[y % 32, x % 32] += PLANE[y, x]
    full = np.fft.fft2(folded) / 32
    low = forward(PLANE, 32, 10)
    for y in range(-10, 10):
        for x in range(10):
            assert low[y + 10, x] == pytest.approx(full[y, x], abs=1e-4)


def test_backward_undoes_forward_for_a_plane_of_low_frequencies():
    rows, columns = np.mgrid[0:32, 0:32]
    plane = np.cos(2 * np.pi * (3 * columns - 5 * rows) / 32) + np.sin(2 * np.pi * (2 * columns + 7 * rows) / 32)
    assert np.allclose(backward(forward(plane.astype(np.float32), 32, 9), 32, 20, 30), plane[:20, :30], atol=1e-5)


@pytest.mark.parametrize("radius", [1, 3, 6, 8, 40])
def test_box_is_the_mean_of_the_square(radius):
    padded, side = np.pad(PLANE, radius, mode="edge"), 2 * radius + 1
    expected = [[padded[y : y + side, x : x + side].mean() for x in range(56)] for y in range(40)]
    assert np.allclose(box(PLANE, radius), expected, atol=1e-5)


def test_reduced_is_the_mean_of_squares():
    assert reduced(PLANE, 3).shape == (13, 18)
    assert reduced(PLANE, 3)[2, 5] == pytest.approx(PLANE[6:9, 15:18].mean(), abs=1e-6)


def test_luma_of_gray_is_the_gray_level():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.allclose(luma(np.stack([gray] * 3, axis=-1)), gray, atol=1e-3)
    assert (luma(gray) == gray).all()


def test_a_pattern_is_a_function_of_its_key():
    one, same, other = (Pattern.derive(Secret(bytes([i]) * 32)) for i in (1, 1, 2))
    assert (one.sync_phases == same.sync_phases).all()
    assert (one.lines == same.lines).all()
    assert (one.signs(7) == same.signs(7)).all()
    assert not np.allclose(one.sync_phases, other.sync_phases)
    assert not (one.symbols == other.symbols).all()


def test_lines_are_distinct_within_the_band_and_no_two_are_conjugate():
    lines = np.concatenate((PATTERN.sync, PATTERN.lines))
    both = {tuple(line) for line in lines.tolist()} | {tuple(line) for line in (-lines).tolist()}
    assert len(both) == 2 * len(lines)
    radius = np.hypot(lines[:, 0], lines[:, 1]) / TILE
    assert radius.min() >= BAND[0]
    assert radius.max() <= BAND[1]
    assert len(PATTERN.sync) == SYNC
    assert len(PATTERN.lines) >= HANDS * PILOTS


def test_hands_share_no_line_and_patterns_of_one_hand_their_anchors_alone():
    hands = [PATTERN.pilots(hand * TURNS)[0] for hand in range(HANDS)]
    assert all(one.stop == other.start for one, other in itertools.pairwise(hands))
    assert hands[0].start == 0
    first, second = PATTERN.pilots(5)[1], PATTERN.pilots(6)[1]
    assert (first[:ANCHORS] == second[:ANCHORS]).all()
    assert not np.isclose(np.exp(1j * first), np.exp(1j * second), atol=1e-4)[ANCHORS:].any()
    other = PATTERN.pilots(5 + TURNS)[1]
    assert not np.isclose(np.exp(1j * first), np.exp(1j * other), atol=1e-4).any()
    assert PATTERN.pilots(PATTERNS - 1)[0].stop == HANDS * PILOTS


def test_every_symbol_stands_in_every_ring():
    order = np.argsort((PATTERN.lines**2).sum(axis=1), kind="stable")
    for ring in np.split(PATTERN.symbols[order][: len(order) // 128 * 128], len(order) // 128):
        assert sorted(ring.ravel().tolist()) == list(range(SYMBOLS))


def test_signs_of_different_patterns_are_unrelated():
    one, other = PATTERN.signs(0), PATTERN.signs(1)
    assert set(np.unique(one)) == {-1.0, 1.0}
    # 119,736 fair coins: six standard deviations are 0.0173.
    assert abs(float((one * other).mean())) < 0.0173
    assert abs(float(one.mean())) < 0.0173


def test_phases_of_many_keys_are_uniform():
    phases = np.concatenate([Pattern.derive(Secret(bytes([i]) * 32)).sync_phases for i in range(40)])
    counts = np.histogram(phases, bins=16, range=(0, 2 * np.pi))[0]
    expected = len(phases) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 44.3  # chi-squared, 15 degrees of freedom, level 1e-4


def test_blocks_of_noise_have_nothing_in_excess():
    noise = np.random.Generator(np.random.PCG64(6)).normal(size=(400, 300)).astype(np.float32)
    for together in (True, False):
        blocks = Blocks.of(noise, 224, together=together)
        assert abs(float(blocks.excess.mean())) < 0.02
        assert len(blocks.excess) == (1 if together else 4)


def test_the_other_half_of_the_spectrum_is_the_mirrored_first():
    excess = Blocks.of(PLANE, 640, together=True).excess[0]
    mirrored = np.roll(excess[::-1, ::-1], 1, axis=(0, 1))
    half = len(excess) // 2
    assert (excess[:, 1:half] == mirrored[:, 1:half]).all()


def test_the_jacobians_are_those_of_the_placement():
    blocks = Blocks.of(np.zeros((600, 500), np.float32), 224, together=False)
    parameters = np.array((1.1, 0.2, -0.1, 0.9, 0.07, -0.05))
    linear, lean = parameters[:4].reshape(2, 2), parameters[4:]

    def tile(at):
        return linear @ at / (1 + lean @ at)

    for jacobian, center in zip(blocks.jacobians(parameters[None])[0], blocks.centers, strict=True):
        numeric = [(tile(center + step) - tile(center - step)) / 2e-6 for step in 1e-6 * np.eye(2)]
        assert np.allclose(jacobian, np.transpose(numeric), atol=1e-6)


def lines_seen_through(placement, shape, seed=8):
    """Noise, and the sync lines with random phases as they stand in a picture under a placement."""
    generator = np.random.Generator(np.random.PCG64(seed))
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    points = np.stack((x, y, np.ones_like(x))).reshape(3, -1)
    u, v, w = placement @ points
    plane = generator.normal(size=x.size)
    for line in PATTERN.sync:
        plane += 0.03 * np.cos(2 * np.pi / TILE * (line[0] * u / w + line[1] * v / w) + generator.uniform(0, 7))
    return plane.reshape(shape).astype(np.float32)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (33, 0.6), (-71, 1.7), (120, 0.45)])
def test_the_finder_finds_turns_and_sizes(degrees, scale, mirrored):
    turn = np.deg2rad(degrees)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    linear = np.diag((-1.0, 1.0)) @ linear if mirrored else linear
    placement = np.eye(3)
    placement[:2, :2] = linear
    found = Finder(PATTERN.sync).similar(lines_seen_through(placement, (360, 300)), keep=1)[0][:2, :2]
    # A half turn has the same magnitudes, so the sign is open.
    assert min(np.abs(found - linear).max(), np.abs(found + linear).max()) < 0.005 / scale


@pytest.mark.parametrize(
    ("stretch", "lean"), [(0.8, (0, 0)), (1.25, (0, 0)), (1.0, (0.0003, 0)), (1.05, (-0.0002, 0.0002))]
)
def test_the_finder_finds_stretches_and_perspective(stretch, lean):
    placement = np.array(((stretch, 0, 0), (0, 1, 0), (*lean, 1.0))) @ np.array(((1, 0, -160), (0, 1, -200), (0, 0, 1)))
    found = Finder(PATTERN.sync).bent(lines_seen_through(placement, (400, 320)), keep=1)[0]
    sign = np.sign(found[0, 0])
    assert np.allclose(sign * found[:2, :2], placement[:2, :2], atol=0.02)
    assert np.allclose(found[2, :2], placement[2, :2], atol=8e-5)


def test_straightening_undoes_a_placement():
    x, y = np.meshgrid(np.arange(300) + 0.5, np.arange(200) + 0.5)
    placement = np.array(((0.9, 0.2, 5), (-0.1, 1.1, -7), (0.0002, -0.0001, 1)))
    u, v, w = np.einsum("ij,jyx->iyx", placement, np.stack((x, y, np.ones_like(x))))
    plane = np.cos(0.2 * u / w) + np.sin(0.15 * v / w)
    straight, chosen = straighten(plane.astype(np.float32), placement)
    shift = (placement @ np.linalg.inv(chosen))[:2, 2]
    rows, columns = np.mgrid[60:120, 60:120]
    expected = np.cos(0.2 * (columns + 0.5 + shift[0])) + np.sin(0.15 * (rows + 0.5 + shift[1]))
    # Pillow's cubic kernel (a = -1) does not keep a straight line quite straight.
    assert np.allclose(straight[60:120, 60:120], expected, atol=0.04)


def test_following_corrects_a_placement_that_is_a_little_off():
    generator = np.random.Generator(np.random.PCG64(9))
    truth = sync_tile(PATTERN)[:600, :600]
    plane = (0.5 * truth + generator.normal(size=truth.shape)).astype(np.float32)
    off = np.array(((1.004, 0.003, 0), (-0.002, 0.997, 0), (0, 0, 1)))
    rough = max(placed(plane, off, PATTERN), key=lambda each: each.score)
    better = follow(plane, rough, PATTERN)
    assert np.allclose(better.whole / better.whole[2, 2], np.eye(3), atol=(0.002, 0.002, 1.0))


def test_following_gives_up_where_there_is_no_mark():
    plane = np.random.Generator(np.random.PCG64(10)).normal(size=(500, 500)).astype(np.float32)
    assert follow(plane, placed(plane, np.eye(3), PATTERN)[0], PATTERN) is None


def test_the_band_lies_within_what_is_transformed():
    assert np.abs(PATTERN.lines).max() < REACH
