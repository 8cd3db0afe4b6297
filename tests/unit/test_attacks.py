"""Each attack does what it is called, the same way every time."""

import numpy as np
import pytest
import skimage.data

from countermark.errors import InputError
from countermark.marking.attacks import ATTACKS, apply

PHOTO = skimage.data.chelsea()
EXAMPLES = [
    "clean", "jpeg(50)", "webp(50)", "resize(0.5)", "crop(0.5)", "rotate(15)", "hflip", "brightness(0.7)", "blur(1)",
    "noise(5)", "leak",
]  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_attack_is_deterministic_and_leaves_its_input_alone(name):
    before = PHOTO.copy()
    once, twice = apply(name, PHOTO), apply(name, PHOTO)
    assert once.dtype == np.uint8
    assert once.ndim == 3
    assert (once == twice).all()
    assert (before == PHOTO).all()


def test_examples_cover_every_attack():
    assert {name.split("(")[0] for name in EXAMPLES} == {*ATTACKS, "leak"}


def test_sizes_are_as_stated():
    height, width = PHOTO.shape[:2]
    assert apply("resize(0.5)", PHOTO).shape == (height // 2, round(width / 2), 3)
    kept = apply("crop(0.5)", PHOTO)
    assert kept.shape[0] * kept.shape[1] / (height * width) == pytest.approx(0.5, rel=0.01)
    assert apply("crop(1)", PHOTO).shape == PHOTO.shape


def test_levels_are_as_stated():
    assert apply("brightness(0.5)", PHOTO).mean() == pytest.approx(PHOTO.mean() / 2, rel=0.01)
    assert (apply("noise(10)", np.full((200, 200, 3), 128, np.uint8)).std()) == pytest.approx(10, rel=0.02)
    assert (apply("hflip", PHOTO)[:, 0] == PHOTO[:, -1]).all()
    impulse = np.zeros((41, 41, 3), np.uint8)
    impulse[20, 20] = 255
    assert apply("blur(1)", impulse)[20, 20, 0] == round(255 * 0.1592, 0)


def test_steps_are_applied_in_their_order():
    assert (apply("leak", PHOTO) == apply("jpeg(60)", apply("resize(0.75)", apply("crop(0.85)", PHOTO)))).all()


@pytest.mark.parametrize(
    "name", ["", "melt", "jpeg", "jpeg(200)", "hflip(1)", "jpeg(5", "crop(0)", "blur(1.2.3)", "crop(.)"]
)
def test_an_unknown_attack_is_refused(name):
    with pytest.raises(InputError):
        apply(name, PHOTO)
