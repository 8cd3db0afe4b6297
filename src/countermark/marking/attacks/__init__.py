"""Attacks by name, for tests and benchmarks. All are deterministic, and map (H, W, 3) to (H', W', 3) uint8 RGB arrays.

An attack is written as a name and, in brackets, its arguments: ``jpeg(50)``, ``crop(0.8)``, ``hflip``. Several in a row
are joined by ``+``. A chain may have a name of its own: ``leak`` stands for ``crop(0.85)+resize(0.75)+jpeg(60)``, a
picture trimmed, shrunk and compressed as on its way through a social network. ``back`` resizes to the size that the
picture had before the first step.

What attacks do to one picture is in ``files`` (storing), ``geometry`` (moving), ``color``, ``filters`` and ``scenes``;
``mosaic`` and ``paste`` take several pictures and have no name here. ``lists`` holds the lists that are reported on.

Laws:
    an attack leaves its input alone, and gives the same picture for the same input, every time;
    every part of a chain but ``back`` is a function of the picture alone:
    ``apply("a+b", p)`` equals ``apply("b", apply("a", p))``;
    ``apply("a+back", p)`` has the shape of ``p``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from countermark.errors import InputError
from countermark.marking.attacks.color import brightness, contrast, gamma, grayscale, hue, saturation
from countermark.marking.attacks.files import jpeg, palette, posterize, webp
from countermark.marking.attacks.filters import blur, median, nlmeans, noise, sharpen
from countermark.marking.attacks.geometry import (
    aspect,
    crop,
    erase,
    hflip,
    long_side,
    perspective,
    resize,
    rotate,
    shear,
    shift,
    turn,
    warp,
)
from countermark.marking.attacks.lists import (
    CHAINS,
    FURTHER_LIST,
    LISTS,
    RESEARCH_LIST,
    SCENES_LIST,
    VIDEOSEAL,
    WAVES_LIST,
)
from countermark.marking.attacks.pixels import Pixels, resized
from countermark.marking.attacks.scenes import mosaic, overlay, paste, screenshot

__all__ = [
    "ATTACKS",
    "CHAINS",
    "FURTHER_LIST",
    "LISTS",
    "RESEARCH_LIST",
    "SCENES_LIST",
    "VIDEOSEAL",
    "WAVES_LIST",
    "apply",
    "arguments",
    "mosaic",
    "named",
    "parse",
    "paste",
]

Attack = Callable[..., Pixels]

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_STEP = re.compile(rf"([a-z_]+)(?:\(({_NUMBER}(?:,{_NUMBER})*)\))?")
_BETWEEN = re.compile(r",(?![^(]*\))")


def apply(name: str, image: Pixels) -> Pixels:
    """Return the attacked copy of a picture.

    Raises:
        InputError: an attack that does not exist, or an argument missing, too much or out of range.
        MissingExtra: Pillow is needed and not installed.
    """
    attacked = image
    for attack, numbers in parse(name):
        attacked = back(attacked, image) if attack is back else attack(attacked, *numbers)
    return attacked


def parse(name: str) -> list[tuple[Attack, list[float]]]:
    """Return the steps of a chain with their numbers.

    Raises:
        InputError: a step that does not exist, or numbers missing or too many; ranges are up to the step.
    """
    return [_step(step.strip()) for part in name.split("+") for step in CHAINS.get(part.strip(), part).split("+")]


def arguments(attack: Attack) -> list[str]:
    """Return the names of an attack's arguments, with the default where it has one: ``["area", "left=0.6"]``."""
    numbers = [each for each in inspect.signature(attack).parameters.values() if each.annotation == "float"]
    return [each.name if each.default is each.empty else f"{each.name}={each.default:g}" for each in numbers]


def named(text: str) -> tuple[str, ...]:
    """Return the attacks of a list written with commas; the name of one of ``LISTS`` stands for all in it."""
    return tuple(each for part in _BETWEEN.split(text) for each in LISTS.get(part.strip(), (part.strip(),)))


def clean(image: Pixels) -> Pixels:
    """Return a copy."""
    return image.copy()


def back(image: Pixels, first: Pixels) -> Pixels:
    """Resize to the size that the picture had before the first step."""
    return resized(image, *first.shape[:2])


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        clean, jpeg, webp, palette, posterize,
        resize, back, aspect, long_side, shift, crop, erase, hflip, turn, rotate, shear, perspective, warp,
        brightness, contrast, gamma, saturation, grayscale, hue,
        blur, sharpen, noise, median, nlmeans,
        screenshot, overlay,
    )
}  # fmt: skip


def _step(text: str) -> tuple[Attack, list[float]]:
    match = _STEP.fullmatch(text)
    attack = ATTACKS.get(match[1]) if match else None
    if match is None or attack is None:
        known = ", ".join((*ATTACKS, *CHAINS))
        raise InputError("no such attack: {name}", name=text, hint="Known are: {known}", known=known)
    numbers = [float(number) for number in match[2].split(",")] if match[2] else []
    taken = arguments(attack)
    needed = sum("=" not in each for each in taken)
    if not needed <= len(numbers) <= len(taken):
        count = str(needed) if needed == len(taken) else f"{needed}-{len(taken)}"
        raise InputError("the attack {name} takes {count} numbers", name=match[1], count=count)
    return attack, numbers
