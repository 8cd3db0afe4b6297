"""Each attack does what it is called, the same way every time."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from countermark.errors import InputError
from countermark.marking.attacks import (
    ATTACKS,
    CHAINS,
    FURTHER_LIST,
    LISTS,
    RESEARCH_LIST,
    SCENES_LIST,
    VIDEOSEAL,
    WAVES_LIST,
    apply,
    mosaic,
    named,
    paste,
)

PHOTO = skimage.data.chelsea()
SMALL = PHOTO[60:188, 100:260]
EXAMPLES = sorted({*RESEARCH_LIST, *FURTHER_LIST, *SCENES_LIST, *WAVES_LIST, *CHAINS, "sharpen(0.6,2)"})
WEAKEST = (
    "resize(1)", "aspect(1)", "long_side(160)", "shift(0)", "crop(1)", "erase(0)", "turn(360)", "rotate(0)", "shear(0)",
    "perspective(0)", "warp(0)", "brightness(1)", "contrast(1)", "gamma(1)", "saturation(1)", "hue(0)", "hue(1)",
    "sharpen(0)", "noise(0)", "median(1)", "posterize(8)", "screenshot(1,0)", "back",
)  # fmt: skip


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_attack_is_deterministic_and_leaves_its_input_alone(name):
    before = SMALL.copy()
    once, twice = apply(name, SMALL), apply(name, SMALL)
    assert once.dtype == np.uint8
    assert once.ndim == 3
    assert once.shape[2] == 3
    assert (once == twice).all()
    assert (before == SMALL).all()


def test_examples_cover_every_attack():
    used = {step.split("(")[0] for name in EXAMPLES for step in CHAINS.get(name, name).split("+")}
    assert used == {*ATTACKS} | {name for name in used if name in CHAINS}


@pytest.mark.parametrize("name", WEAKEST)
def test_an_attack_without_strength_changes_nothing(name):
    assert (apply(name, SMALL) == SMALL).all()


def test_the_lists_are_those_of_their_sources():
    assert len(RESEARCH_LIST) == len(set(RESEARCH_LIST)) == 38
    assert (RESEARCH_LIST[0], RESEARCH_LIST[-1]) == ("clean", "social_twice")
    assert len(WAVES_LIST) == len(set(WAVES_LIST)) == 3 * (8 + 4)
    assert "crop(0.5)+back" in WAVES_LIST
    assert WAVES_LIST[-1] == (
        "rotate(45)+crop(0.5)+back+erase(0.25)+brightness(2)+contrast(2)+blur(20)+noise(25.5)+jpeg(10)"
    )
    assert CHAINS[VIDEOSEAL] == f"jpeg(40)+crop({0.71**2:.4f})+brightness(0.5)"


def test_a_written_list_keeps_brackets_whole_and_knows_the_lists():
    assert named("jpeg(50), crop(0.5,0,1),social+back") == ("jpeg(50)", "crop(0.5,0,1)", "social+back")
    assert named("further,clean") == (*FURTHER_LIST, "clean")
    assert {name for listed in LISTS.values() for name in listed} <= set(EXAMPLES)


def test_sizes_are_as_stated():
    height, width = PHOTO.shape[:2]
    assert apply("resize(0.5)", PHOTO).shape == (height // 2, round(width / 2), 3)
    assert apply("aspect(0.8)", PHOTO).shape == (height, round(0.8 * width), 3)
    assert apply("long_side(640)", PHOTO).shape == (round(640 / width * height), 640, 3)
    assert apply("turn(90)", PHOTO).shape == (width, height, 3)
    assert apply("shift(3)", PHOTO).shape == (height - 3, width - 3, 3)
    kept = apply("crop(0.5)", PHOTO)
    assert kept.shape[0] * kept.shape[1] / (height * width) == pytest.approx(0.5, rel=0.01)
    assert apply("social+back", PHOTO).shape == PHOTO.shape
    framed = apply("screenshot(0.5)", PHOTO)
    assert framed.shape[0] > height // 2
    assert framed.shape[1] > width // 2


def test_places_are_as_stated():
    height, width = PHOTO.shape[:2]
    assert (apply("crop(0.25,0,0)", PHOTO) == PHOTO[: height // 2, : round(width / 2)]).all()
    assert (apply("crop(0.25,1,1)", PHOTO) == PHOTO[height - height // 2 :, width - round(width / 2) :]).all()
    assert (apply("shift(3)", PHOTO) == PHOTO[3:, 3:]).all()
    assert (apply("hflip", PHOTO)[:, 0] == PHOTO[:, -1]).all()
    assert (apply("turn(90)+turn(-90)", PHOTO) == PHOTO).all()
    assert (apply("turn(180)", PHOTO) == PHOTO[::-1, ::-1]).all()
    erased = (apply("erase(0.25)", np.full_like(PHOTO, 200)) == 0).all(axis=2)
    assert erased.mean() == pytest.approx(0.25, rel=0.01)


def test_levels_are_as_stated():
    assert apply("brightness(0.5)", PHOTO).mean() == pytest.approx(PHOTO.mean() / 2, rel=0.01)
    assert (apply("noise(10)", np.full((200, 200, 3), 128, np.uint8)).std()) == pytest.approx(10, rel=0.02)
    impulse = np.zeros((41, 41, 3), np.uint8)
    impulse[20, 20] = 255
    assert apply("blur(1)", impulse)[20, 20, 0] == round(255 * 0.1592, 0)
    assert apply("contrast(0.5)", PHOTO).std() == pytest.approx(PHOTO.std() / 2, rel=0.1)
    assert (apply("contrast(0)", PHOTO) == round(float((PHOTO @ (0.299, 0.587, 0.114)).mean()))).all()
    assert apply("gamma(2)", np.full((4, 4, 3), 128, np.uint8))[0, 0, 0] == round(255 * (128 / 255) ** 2)
    assert len(np.unique(apply("posterize(3)", PHOTO))) == 8
    assert len(np.unique(apply("palette(16)", PHOTO).reshape(-1, 3), axis=0)) == 16


def test_colors_are_as_stated():
    gray = apply("grayscale", PHOTO)
    assert (gray == gray[..., :1]).all()
    assert (apply("saturation(0)", PHOTO) == gray).all()
    primary = np.array([[[255, 0, 0], [0, 200, 0], [90, 90, 90]]], np.uint8)
    assert apply("hue(0.3333333333333333)", primary).tolist() == [[[0, 255, 0], [0, 0, 200], [90, 90, 90]]]


def test_median_and_non_local_means_agree_with_opencv():
    cv2 = pytest.importorskip("cv2")
    noisy = apply("noise(6)", SMALL)
    assert (apply("median(5)", SMALL) == cv2.medianBlur(SMALL, 5)).all()
    reference = cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(noisy[..., ::-1]), None, 6, 6, 5, 13)[..., ::-1]
    ours = apply("nlmeans(6)", noisy)
    # OpenCV looks its weights up in a coarse table; what is left is far below what the filter does.
    assert psnr(ours, reference) > 45
    assert psnr(ours, reference) > psnr(ours, noisy) + 10


def test_a_bend_moves_points_as_far_as_stated():
    ramp = np.repeat(np.arange(0, 240, dtype=np.uint8)[None, :, None], 240, axis=0).repeat(3, axis=2)
    moved = apply("warp(5)", ramp).astype(float)[20:-20, 20:-20, 0] - ramp[20:-20, 20:-20, 0]
    assert np.abs(moved).max() == pytest.approx(5, abs=0.6)


def test_corners_move_as_far_as_stated():
    seen = apply("perspective(0.1)", np.full((200, 300, 3), 255, np.uint8))[..., 0] > 127
    assert seen[1].sum() == pytest.approx(0.8 * 300, abs=3)
    assert seen[-1].all()
    leaning = apply("shear(10)", np.full((201, 300, 3), 255, np.uint8))[..., 0] > 127
    assert leaning[0].sum() == pytest.approx(300 - 100 * np.tan(np.radians(10)), abs=2)


def test_an_overlay_covers_what_it_says():
    changed = (apply("overlay(0.5)", np.full((400, 600, 3), 255, np.uint8)) != 255).any(axis=2)
    assert 0.15 < changed.mean() < 0.3
    assert not changed[:, : 600 // 3][: 400 // 2].any()


def test_steps_are_applied_in_their_order():
    assert (apply("leak", PHOTO) == apply("jpeg(60)", apply("resize(0.75)", apply("crop(0.85)", PHOTO)))).all()


@pytest.mark.parametrize(
    "name",
    [
        "", "melt", "jpeg", "jpeg(200)", "hflip(1)", "jpeg(5", "crop(0)", "blur(1.2.3)", "crop(.)", "jpeg(50,50)",
        "crop(0.5,2)", "turn(45)", "back(1)", "leak(2)", "crop()", "jpeg(50)+", "crop(0.5,)", "apply", "warp(-1)",
    ],
)  # fmt: skip
def test_an_unknown_attack_is_refused(name):
    with pytest.raises(InputError):
        apply(name, PHOTO)


def test_a_mosaic_holds_its_pictures():
    tall, wide = np.full((50, 20, 3), 10, np.uint8), np.full((20, 60, 3), 20, np.uint8)
    laid = mosaic([tall, wide, wide], columns=2, gap=4)
    assert laid.shape == (50 + 4 + 20, 20 + 4 + 60, 3)
    assert (laid[:50, :20] == tall).all()
    assert (laid[:20, 24:] == wide).all()
    assert (laid[54:, :60] == wide).all()
    for pictures, columns, gap in (([], 2, 0), ([tall], 0, 0), ([tall], 1, -1)):
        with pytest.raises(InputError):
            mosaic(pictures, columns, gap)


def test_a_fragment_is_pasted_where_stated():
    ground, fragment = np.zeros((40, 60, 3), np.uint8), np.full((10, 20, 3), 9, np.uint8)
    pasted = paste(fragment, ground, left=1, top=0)
    assert (pasted[:10, 40:] == 9).all()
    assert pasted.sum() == fragment.sum()
    assert not ground.any()
    with pytest.raises(InputError):
        paste(ground, fragment)
