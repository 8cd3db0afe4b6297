"""Edits of texts by name, for tests and benchmarks: what happens to a reply between a model and whoever finds it.

Units are what an edit acts on: tokens of a model, or, in ``apply``, the words of a text, Chinese ones character by
character. A share is of units, 0 to 1, each of which is met independently of the others.

Laws:
    an edit leaves its input alone, and is the same for the same input and state of the generator;
    ``swap`` and ``mix`` keep the number of units, and ``substitute`` does; ``paste`` adds the host's;
    a share of 0 changes nothing; ``delete`` of a share of 1 leaves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError

Units = NDArray[np.int64]
Edit = Callable[[Units, float, np.random.Generator], Units]

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"(\s*)([{_HAN}]|[^\s{_HAN}]+)")
_STEP = re.compile(r"([a-z]+)\((0(?:\.[0-9]+)?|1(?:\.0*)?)\)")


def substitute(units: Units, share: float, others: Units, generator: np.random.Generator) -> Units:
    """Put units drawn from ``others`` in the place of a share."""
    changed = generator.random(len(units)) < share
    return np.where(changed, generator.choice(others, len(units)), units) if len(units) else units.copy()


def delete(units: Units, share: float, generator: np.random.Generator) -> Units:
    """Leave out a share."""
    return units[generator.random(len(units)) >= share]


def swap(units: Units, share: float, generator: np.random.Generator) -> Units:
    """Exchange a share with the unit behind; none is moved twice."""
    order, place = np.arange(len(units)), 0
    while place + 1 < len(units):
        moved = generator.random() < share
        if moved:
            order[place : place + 2] = order[[place + 1, place]]
        place += 1 + moved
    return units[order]


def paste(units: Units, host: Units, generator: np.random.Generator) -> Units:
    """Put all units, in one piece, somewhere into the text of a host."""
    place = int(generator.integers(0, len(host) + 1))
    return np.concatenate([host[:place], units, host[place:]])


def mix(one: Units, other: Units, length: int) -> Units:
    """Take ``length`` units of the one, as many of the other, and so on, to the end of the shorter."""
    size = min(len(one), len(other))
    return np.where(np.arange(size) // length % 2 == 0, one[:size], other[:size])


def apply(name: str, text: str, *, seed: int = 0) -> str:
    """Return an edited text: ``substitute(0.1)``, ``delete(0.2)`` or ``swap(0.1)`` of words, several joined by ``+``.

    A word that takes another's place is drawn from the same text. What is left out takes its white space along.

    Raises:
        InputError: an edit that does not exist, or a share that is no number from 0 to 1.
    """
    steps = parse(name)
    words = _WORD.findall(text)
    generator, order = np.random.Generator(np.random.PCG64(seed)), np.arange(len(words))
    for edit, share in steps:
        order = edit(order, share, generator)
    # Every place keeps its white space, so that a text's lines stay lines.
    places = range(len(words)) if len(order) == len(words) else order.tolist()
    return "".join(words[place][0] + words[at][1] for place, at in zip(places, order.tolist(), strict=True)) + _end(
        text
    )


def parse(name: str) -> list[tuple[Edit, float]]:
    """Return the edits of a chain with their shares.

    Raises:
        InputError: as ``apply``.
    """
    return [_step(step.strip()) for step in name.split("+")]


def is_edit(name: str) -> bool:
    """Whether a chain begins with an edit of texts, right or wrong."""
    return name.partition("(")[0].strip() in EDITS


def _substituted(units: Units, share: float, generator: np.random.Generator) -> Units:
    return substitute(units, share, units, generator)


EDITS: dict[str, Edit] = {
    "substitute": _substituted,
    "delete": delete,
    "swap": swap,
}


def _step(text: str) -> tuple[Edit, float]:
    match = _STEP.fullmatch(text)
    if match is None or match[1] not in EDITS:
        known = ", ".join(f"{name}(share)" for name in EDITS)
        raise InputError("no such edit: {name}", name=text, hint="Known are: {known}", known=known)
    return EDITS[match[1]], float(match[2])


def _end(text: str) -> str:
    return text[len(text.rstrip()) :]
