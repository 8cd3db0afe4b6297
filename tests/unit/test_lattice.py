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
from countermark.marking.image.lattice import MIN_READ_SIDE, LatticeMark, magnification, recompute

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
        "hflip", "rotate(90)", "brightness(0.7)", "blur(1.5)", "noise(12)", "leak",
        "hflip+rotate(7)+resize(0.7)+jpeg(70)",
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


def test_a_wide_picture_is_read_from_its_middle():
    wide = np.tile(photograph("astronaut"), (1, 5, 1))[:400, :2300]
    found = mark().detect(mark().embed(wide, WORD))
    assert found.word == WORD
    assert found.significant(1e-12)


@pytest.mark.parametrize(("attack", "scale"), [("clean", 2), ("resize(0.25)+jpeg(70)", 0.5), ("crop(0.3)", 2)])
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
        ("searched", 0),
        ("searched", True),
        ("searched", 1.5),
        ("searched", 10**30),
        ("cosines", []),
        ("cosines", "x" * 96),
        ("cosines", [2.0] * 96),
        ("weights", [-1.0] * 96),
        ("weights", [float("nan")] * 96),
        ("weights", [True] * 96),
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
    for name in ("cosines", "weights", "symbols", "searched"):
        with pytest.raises(InputError):
            recompute({key: value for key, value in seen().observations.items() if key != name})


def test_recompute_imports_nothing_heavy():
    code = "import sys, countermark.marking.image.lattice; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"PIL", "scipy", "cv2", "skimage", "torch", "web3", "sqlalchemy"} & set(loaded)


def test_fewer_hypotheses_would_be_a_smaller_p_value():
    one = recompute({**seen().observations, "searched": 1})
    assert one.p_value == pytest.approx(seen().p_value / seen().searched)


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
