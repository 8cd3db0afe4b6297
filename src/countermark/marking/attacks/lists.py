"""Attacks by name: chains that have one, and lists that tests, benchmarks and documents share.

``RESEARCH_LIST`` is the list of 38 on which peers were measured before the lattice mark was built. ``FURTHER_LIST``
bends and relights a picture as editors, screens and cameras do. ``WAVES_LIST`` holds the distortions of WAVES (An et
al.: WAVES: Benchmarking the robustness of image watermarks, 2024), each at a quarter, half and all of its range, and
its four combinations. ``SCENES_LIST`` is the rest: what the first three do not say about fragments, captions, palettes
and prints.
"""

from __future__ import annotations

#: Chains that a name stands for.
CHAINS = {
    "leak": "crop(0.85)+resize(0.75)+jpeg(60)",
    "social": "long_side(640)+sharpen(0.6)+jpeg(75)",
    "social_twice": "crop(0.9,0.5,0.5)+brightness(1.1)+jpeg(80)+long_side(600)+jpeg(65)",
    "videoseal": "jpeg(40)+crop(0.5041)+brightness(0.5)",
    "print_scan": "rotate(0.5)+resize(0.8)+blur(0.7)+gamma(0.9)+contrast(0.85)+noise(4)+jpeg(85)",
}

RESEARCH_LIST = (
    "clean", "jpeg(90)", "jpeg(70)", "jpeg(50)", "jpeg(30)", "webp(50)",
    "resize(0.5)+back", "resize(2)+back", "resize(0.5)", "resize(0.75)",
    "shift(3)", "crop(0.5)", "crop(0.5)+back", "crop(0.25)", "crop(0.25)+back", "erase(0.25)",
    "rotate(5)", "rotate(15)", "turn(90)", "hflip",
    "blur(1)", "blur(2)", "noise(5.1)", "noise(12.75)", "median(5)", "nlmeans(6)",
    "brightness(0.7)", "brightness(1.3)", "contrast(0.7)", "contrast(1.3)",
    "saturation(0.5)", "saturation(1.5)", "grayscale", "hue(0.1)",
    "crop(0.8)+jpeg(70)+resize(0.75)", "social", "social+back", "social_twice",
)  # fmt: skip

FURTHER_LIST = (
    "aspect(0.8)", "aspect(0.9)", "aspect(1.1)", "aspect(1.25)", "perspective(0.05)", "gamma(0.7)", "gamma(1.4)",
    "screenshot(1.25)", "screenshot(0.8)+jpeg(80)",
)  # fmt: skip

#: VideoSeal's own combined attack: JPEG 40, 0.71 of each side kept, half the brightness.
VIDEOSEAL = "videoseal"

SCENES_LIST = (
    "shear(5)", "perspective(0.05,0.05)", "warp(2)", "palette(64)", "posterize(4)", "overlay(0.5)", "leak",
    "print_scan", "rotate(15)+crop(0.7)+resize(0.75)+jpeg(60)", "jpeg(10)", "webp(30)", "resize(0.4)", VIDEOSEAL,
)  # fmt: skip

# Weakest and strongest of each distortion, as WAVES sets them; noise and blur in our units.
_WAVES = {
    "rotate": (0, 45),
    "crop": (1, 0.5),
    "erase": (0, 0.25),
    "brightness": (1, 2),
    "contrast": (1, 2),
    "blur": (0, 20),
    "noise": (0, 25.5),
    "jpeg": (90, 10),
}
_WAVES_COMBINED = (
    ("rotate", "crop", "erase"),
    ("brightness", "contrast"),
    ("blur", "noise", "jpeg"),
    tuple(_WAVES),
)


def waves(name: str, strength: float) -> str:
    """Return a distortion of WAVES at a share of its range, 0 to 1; a crop is resized back, as there."""
    weakest, strongest = _WAVES[name]
    step = f"{name}({weakest + strength * (strongest - weakest):g})"
    return step + "+back" if name == "crop" else step


WAVES_LIST = tuple(
    "+".join(waves(name, strength) for name in names)
    for names in (*((name,) for name in _WAVES), *_WAVES_COMBINED)
    for strength in (0.25, 0.5, 1.0)
)

LISTS = {"research": RESEARCH_LIST, "further": FURTHER_LIST, "waves": WAVES_LIST, "scenes": SCENES_LIST}
