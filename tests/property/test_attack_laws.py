"""The laws of ``marking.attacks``, on pictures of any small size and content, with arguments over their whole range."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.marking.attacks import apply, mosaic, named, paste

#: Range of each argument that a small picture can be given in a test's time.
RANGES = {
    "jpeg": (1, 95), "webp": (1, 100), "palette": (2, 256), "posterize": (1, 8), "resize": (0.05, 3),
    "aspect": (0.2, 3), "long_side": (16, 200), "shift": (0, 1000), "crop": (0.001, 1), "erase": (0, 1),
    "rotate": (-360, 360), "shear": (-45, 45), "perspective": (0, 0.4), "warp": (0, 20), "brightness": (0, 10),
    "contrast": (0, 10), "gamma": (0.1, 10), "saturation": (0, 10), "hue": (-1, 1), "blur": (0.01, 20),
    "sharpen": (0, 5), "noise": (0, 255), "median": (1, 9), "nlmeans": (1, 50), "screenshot": (0.1, 2),
    "overlay": (0, 1),
}  # fmt: skip
SAME_SIZE = {
    "jpeg", "webp", "palette", "posterize", "erase", "rotate", "shear", "perspective", "warp", "brightness", "contrast",
    "gamma", "saturation", "hue", "blur", "sharpen", "noise", "median", "nlmeans", "overlay", "hflip", "clean",
    "grayscale",
}  # fmt: skip


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    return generator.integers(low, high, (height, width, 3), dtype=np.uint8, endpoint=True)


@st.composite
def attacks(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from([*RANGES, "clean", "hflip", "grayscale", "turn"]))
    if name == "turn":
        return f"turn({90 * draw(st.integers(-4, 4))})"
    if name not in RANGES:
        return name
    low, high = RANGES[name]
    return f"{name}({min(high, max(low, round(draw(st.floats(low, high)), 3)))})"


@given(pictures(), attacks())
@settings(max_examples=300, deadline=None)
def test_an_attack_gives_the_same_picture_every_time_and_leaves_its_input_alone(picture: np.ndarray, name: str) -> None:
    before = picture.copy()
    once = apply(name, picture)
    assert (once == apply(name, picture)).all()
    assert once.dtype == np.uint8
    assert once.ndim == 3
    assert once.shape[2] == 3
    assert min(once.shape) >= 1
    assert once.flags.writeable
    assert not np.shares_memory(once, picture)
    assert (picture == before).all()
    if name.split("(")[0] in SAME_SIZE:
        assert once.shape == picture.shape


@given(pictures(), attacks(), attacks())
@settings(max_examples=100, deadline=None)
def test_a_chain_is_its_steps_one_after_the_other(picture: np.ndarray, first: str, second: str) -> None:
    assert (apply(f"{first}+{second}", picture) == apply(second, apply(first, picture))).all()


@given(pictures(), attacks())
@settings(max_examples=100, deadline=None)
def test_back_returns_to_the_size_of_the_beginning(picture: np.ndarray, name: str) -> None:
    assert apply(f"{name}+back", picture).shape == picture.shape


@given(st.lists(st.sampled_from(["crop(0.5,0,1)", "jpeg(50)+crop(0.5,0.1)", "clean"]), min_size=1))
def test_a_written_list_reads_back(names: list[str]) -> None:
    assert named(",".join(names)) == tuple(names)


@given(pictures(), pictures(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_scenes_hold_their_parts_pixel_for_pixel(
    one: np.ndarray, other: np.ndarray, left: float, top: float, gap: int
) -> None:
    laid = mosaic([one, other], 1, gap)
    assert (laid[: one.shape[0], : one.shape[1]] == one).all()
    assert (laid[one.shape[0] + gap :, : other.shape[1]] == other).all()
    ground = np.zeros((80, 80, 3), np.uint8)
    assert paste(one, ground, left, top).sum() == one.sum()
