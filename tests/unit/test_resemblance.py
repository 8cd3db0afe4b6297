"""The sketch that links a leak to one output of a grant."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from countermark.marking.image.resemblance import resemblance, sketch

ASTRONAUT, COFFEE = data.astronaut(), data.coffee()


def altered(scale, degrees, mirrored):
    picture = Image.fromarray(ASTRONAUT[40:470, 30:480])
    if mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    return np.asarray(picture.rotate(degrees, Image.Resampling.BILINEAR))


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.4])
@pytest.mark.parametrize("degrees", [0.0, 12.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_altered_copy_resembles_its_own_sketch(scale, degrees, mirrored):
    geometry = {"scale": scale, "rotation_deg": degrees, "mirrored": mirrored}
    suspect = altered(scale, degrees, mirrored)
    own, other = resemblance(suspect, geometry, sketch(ASTRONAUT)), resemblance(suspect, geometry, sketch(COFFEE))
    assert own > 0.82
    assert own > other + 0.2


def test_a_copy_resembles_itself_fully():
    assert resemblance(ASTRONAUT, {"scale": 1.0, "rotation_deg": 0.0}, sketch(ASTRONAUT)) > 0.97


def test_a_large_picture_is_compared_at_the_scale_of_its_magnified_tile():
    large = np.asarray(Image.fromarray(ASTRONAUT).resize((1200, 1200), Image.Resampling.BICUBIC))
    half = np.asarray(Image.fromarray(large[100:1100, 50:1150]).resize((550, 500), Image.Resampling.BOX))
    assert resemblance(half, {"scale": 2 * 0.5, "rotation_deg": 0.0}, sketch(large)) > 0.95


def test_flat_pictures_resemble_nothing():
    flat = np.full((256, 256, 3), 90, np.uint8)
    assert resemblance(flat, {}, sketch(ASTRONAUT)) < 0.5
    assert resemblance(ASTRONAUT, {}, sketch(flat)) < 0.5


def test_very_large_pictures_are_compared_by_larger_blocks():
    large = np.asarray(Image.fromarray(ASTRONAUT).resize((4200, 4200), Image.Resampling.BICUBIC))
    quarter = np.asarray(Image.fromarray(large[200:3900, 300:4100]).resize((950, 925), Image.Resampling.BOX))
    for suspect, scale in ((large[200:3900, 300:4100], 8.0), (quarter, 2.0)):
        geometry = {"scale": scale, "rotation_deg": 0.0}
        assert resemblance(suspect, geometry, sketch(large)) > 0.9
        assert resemblance(suspect, geometry, sketch(np.rot90(large))) < 0.7
