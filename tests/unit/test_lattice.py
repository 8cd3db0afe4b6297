"""The lattice mark on photographs that come with scikit-image: reads, geometry, refusals, recomputation."""

import dataclasses
import functools
import json
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.attacks import apply
from countermark.marking.image import lattice
from countermark.marking.image.lattice import MIN_READ_SIDE, LatticeMark, magnification
from countermark.marking.image.observations import hypotheses, recompute
from countermark.marking.image.pattern import TILE

KEY = Secret(bytes(range(32)))
WORD = 0x0123456789ABCDEF


@functools.cache
def mark():
    return LatticeMark(KEY, key_id="mark:test")


@functools.cache
def photograph(name):
    return getattr(skimage.data, name)()


@functools.cache
def marked(name):
    return mark().embed(photograph(name), WORD)


@functools.cache
def seen():
    return mark().detect(marked("chelsea"))


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_a_clean_copy_is_read_and_looks_the_same(name):
    found = mark().detect(marked(name))
    assert found.word == WORD
    assert found.significant(1e-12)
    assert psnr(photograph(name), marked(name)) > 40
    assert abs(float(marked(name).mean()) - float(photograph(name).mean())) < 0.5


@pytest.mark.parametrize(
    "attack",
    [
        "jpeg(50)", "webp(50)", "resize(0.5)", "resize(1.5)", "crop(0.8)", "crop(0.5)", "rotate(15)", "rotate(-15)",
        "hflip", "turn(90)", "hflip+turn(90)", "turn(180)", "brightness(0.7)", "blur(1.5)", "noise(12)", "leak",
        "hflip+rotate(7)+resize(0.7)+jpeg(70)", "aspect(0.8)", "aspect(1.25)", "perspective(0.05)", "shear(5)",
        "screenshot(1.25)", "gamma(1.4)", "grayscale", "nlmeans(6)",
    ],
)  # fmt: skip
def test_the_word_survives(attack):
    found = mark().detect(apply(attack, marked("chelsea")))
    assert found.word == WORD
    assert found.significant(1e-6)


def test_gray_and_unequally_resized_copies_are_read():
    gray = np.rint(marked("chelsea") @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    assert mark().detect(gray).word == WORD
    height, width = gray.shape
    stretched = np.asarray(Image.fromarray(marked("chelsea")).resize((round(width * 0.806), round(height * 0.8))))
    assert mark().detect(stretched).word == WORD


def test_a_piece_of_a_large_picture_is_read():
    large = np.asarray(Image.fromarray(photograph("astronaut")).resize((2100, 2100)))
    assert magnification(*large.shape[:2]) == 4
    found = mark().detect(mark().embed(large, WORD)[400:1400, 300:1800])
    assert found.word == WORD
    assert found.geometry["scale"] == pytest.approx(4, rel=0.004)


def test_a_wide_picture_is_read_from_its_middle():
    wide = np.tile(photograph("astronaut"), (1, 5, 1))[:400, :2300]
    found = mark().detect(mark().embed(wide, WORD))
    assert found.word == WORD
    assert found.significant(1e-12)


@pytest.mark.parametrize(("attack", "scale"), [("clean", 2), ("resize(0.3)+jpeg(70)", 0.6), ("crop(0.3)", 2)])
def test_the_tile_grows_with_the_picture(attack, scale):
    large = np.asarray(Image.fromarray(photograph("astronaut")).resize((1100, 1100)))
    assert magnification(*large.shape[:2]) == 2
    found = mark().detect(apply(attack, mark().embed(large, WORD)))
    assert found.word == WORD
    assert found.significant(1e-6)
    assert found.geometry["scale"] == pytest.approx(scale, rel=0.004)


def test_magnification_doubles_with_the_short_side():
    sides = (192, 511, 512, 1023, 1024, 2047, 2048, 4095, 4096)
    assert [magnification(side, 5000) for side in sides] == [1, 1, 1, 1, 2, 2, 4, 4, 8]


@pytest.mark.parametrize(
    ("attack", "rotation", "scale", "mirrored"),
    [("clean", 0, 1, False), ("resize(0.5)", 0, 0.5, False), ("hflip", 0, 1, True), ("rotate(15)", -15, 1, False)],
)
def test_the_geometry_is_told(attack, rotation, scale, mirrored):
    geometry = mark().detect(apply(attack, marked("astronaut"))).geometry
    assert geometry["rotation_deg"] == pytest.approx(rotation, abs=0.3)
    assert geometry["scale"] == pytest.approx(scale, rel=0.004)
    assert geometry["mirrored"] is mirrored


def test_the_offset_says_where_the_tile_begins():
    geometry = mark().detect(marked("astronaut")[3:, 5:]).geometry
    assert (geometry["offset_x"], geometry["offset_y"]) == pytest.approx((5, 3), abs=0.3)


def test_an_unmarked_picture_and_another_key_give_no_detection():
    assert not mark().detect(photograph("chelsea")).significant(1e-3)
    assert not LatticeMark(Secret(bytes(32))).detect(marked("chelsea")).significant(1e-3)


def test_the_nonce_is_the_pictures_and_the_words():
    assert seen().nonce == mark().detect(apply("crop(0.7)", marked("chelsea"))).nonce
    others = [mark().embed(photograph("chelsea"), WORD + 1), marked("coffee"), mark().embed(marked("chelsea"), WORD)]
    assert len({mark().detect(other).nonce for other in others} | {seen().nonce}) == 4


def test_pictures_of_one_word_share_nothing_but_sync_lines():
    """What averaging sees: the marks of two flat pictures, one word and one key, hardly correlate."""
    flat = [np.full((512, 512, 3), 100 + i, np.uint8) for i in range(2)]
    one, other = (mark().embed(picture, WORD).astype(float)[..., 0] - picture[..., 0] for picture in flat)
    assert 0.15 < np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.35


@pytest.mark.parametrize("damage", ["shift(3)", "crop(0.5)", "crop(0.6)+hflip+jpeg(60)"])
def test_a_crop_without_sync_lines_is_placed_by_its_anchors(monkeypatch, damage):
    monkeypatch.setattr(lattice, "_SYNC_SHARE", 0.0)
    found = mark().detect(apply(damage, mark().embed(photograph("chelsea"), WORD)))
    assert found.word == WORD
    assert found.significant(1e-6)
    assert found.observations["anchored"]


def test_anchors_pay_for_every_offset_they_choose_among():
    by_sync, by_anchors = (recompute({**seen().observations, "anchored": flag}) for flag in (False, True))
    # 2 frames at quarters of a pixel, against 15 alignments.
    more = 2 * (4 * TILE) ** 2 / 15
    assert by_anchors.searched - by_sync.searched == pytest.approx(hypotheses(anchored=False) * (more - 1))
    assert by_anchors.p_value == pytest.approx(more * by_sync.p_value, rel=0.2)


def test_a_fragment_on_a_foreign_picture_is_found_in_its_region():
    host = photograph("coffee").copy()
    host[20:390, 180:580] = marked("astronaut")[100:470, 80:480]
    window, found = mark().detect_regions(host)[0]
    assert found.word == WORD
    assert found.significant(1e-6)
    left, top, right, bottom = window
    assert min(right, 580) - max(left, 180) > 200
    assert min(bottom, 390) - max(top, 20) > 200
    assert found.observations["windows"] > 4


def test_cells_say_where_the_mark_is():
    suspect = apply("rotate(5)", marked("astronaut")).copy()
    suspect[:, 300:] = apply("rotate(5)", photograph("astronaut"))[:, 300:]
    cells = mark().cells(suspect, mark().detect(suspect))
    held = [cell.evidence for cell in cells if cell.corners[:, 0].max() < 290]
    lost = [cell.evidence for cell in cells if cell.corners[:, 0].min() > 310]
    assert np.mean(held) > 2.5
    assert abs(np.mean(lost)) < 0.7


def test_embedding_is_deterministic_and_leaves_its_input_alone():
    before = photograph("chelsea").copy()
    assert (mark().embed(photograph("chelsea"), WORD) == marked("chelsea")).all()
    assert (photograph("chelsea") == before).all()


def test_more_strength_is_a_larger_change():
    strong = LatticeMark(KEY, strength=1.5).embed(photograph("chelsea"), WORD)
    assert psnr(photograph("chelsea"), strong) < psnr(photograph("chelsea"), marked("chelsea")) - 3


def test_recompute_gives_the_detection_again_through_json():
    again = recompute(json.loads(json.dumps(seen().observations)))
    for field in dataclasses.fields(again):
        assert getattr(again, field.name) == getattr(seen(), field.name)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("windows", 0),
        ("windows", True),
        ("windows", 1.5),
        ("windows", 10**30),
        ("anchored", 1),
        ("anchored", None),
        ("nonce", -1),
        ("nonce", 2**14),
        ("sync_cosines", [0.5] * 47),
        ("sync_weights", [-1.0] * 48),
        ("cosines", []),
        ("cosines", "x" * 768),
        ("cosines", [2.0] * 768),
        ("weights", [-1.0] * 768),
        ("weights", [float("nan")] * 768),
        ("weights", [True] * 768),
        ("symbols", [float("inf")] * 256),
        ("symbols", [1e300] * 256),
        ("symbols", [None] * 256),
        ("symbols", [10**400] * 256),
        ("symbols", None),
    ],
)
def test_recompute_refuses_hostile_observations(change, value):
    with pytest.raises(InputError):
        recompute({**seen().observations, change: value})


def test_recompute_needs_every_observation():
    for name in ("cosines", "weights", "sync_cosines", "sync_weights", "symbols", "nonce", "windows", "anchored"):
        with pytest.raises(InputError):
            recompute({key: value for key, value in seen().observations.items() if key != name})


def test_recompute_imports_nothing_heavy():
    code = "import sys, countermark.marking.image.lattice; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"PIL", "scipy", "cv2", "skimage", "torch", "web3", "sqlalchemy"} & set(loaded)


def test_every_window_counts():
    many = recompute({**seen().observations, "windows": 7})
    assert many.p_value == pytest.approx(7 * seen().p_value)
    assert many.searched == 7 * seen().searched


def test_the_p_value_is_fishers_product_of_two_bounds():
    observations = mark().detect(apply("crop(0.1)+jpeg(30)", marked("chelsea"))).observations
    sync = dict(observations, weights=[0.0] * 768)
    pilot = dict(observations, sync_weights=[0.0] * 48)
    product = recompute(sync).p_value, recompute(pilot).p_value
    # One of the two left out makes its p-value 1, and Fisher's correction takes q to q (1 - ln q).
    solo = [next(q for q in np.geomspace(1e-300, 1, 600_000) if q * (1 - np.log(q)) >= p) for p in product]
    q = solo[0] * solo[1]
    assert recompute(observations).p_value == pytest.approx(min(1.0, q * (1 - np.log(q))), rel=0.05)


@pytest.mark.parametrize("shape", [(191, 300, 3), (300, 191, 3), (300, 300), (300, 300, 4)])
def test_embed_refuses_what_it_cannot_mark(shape):
    with pytest.raises(InputError):
        mark().embed(np.zeros(shape, np.uint8), WORD)


def test_embed_refuses_other_types_and_words():
    with pytest.raises(InputError):
        mark().embed(np.zeros((200, 200, 3)), WORD)
    with pytest.raises(InputError):
        mark().embed(np.zeros((200, 200, 3), np.uint8), 2**64)
    with pytest.raises(InputError):
        LatticeMark(KEY, strength=0.0)


def test_detect_says_what_it_did_not_examine():
    small = mark().detect(np.zeros((MIN_READ_SIDE - 1, 500, 3), np.uint8))
    assert isinstance(small, NotExamined)
    assert small.reason == "too-small"


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 900), (200, 300, 3)])
def test_a_blank_picture_is_examined_and_shows_nothing(value, shape):
    found = mark().detect(np.full(shape, value, np.uint8))
    assert isinstance(found, Detection)
    assert found.p_value == 1.0


def test_a_picture_of_straight_lines_shows_nothing():
    grid = np.zeros((400, 400), np.uint8)
    grid[::8] = 255
    grid[:, ::16] = 128
    assert not mark().detect(grid).significant(1e-3)
