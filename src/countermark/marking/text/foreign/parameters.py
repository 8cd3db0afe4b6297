"""What the schemes of others share: parameters in their ranges, texts as rows of tokens, random numbers of a device.

Every p-value here is about what a text shows *once*. What is counted, and how much of it, follows from the text alone,
never from a key, so that it changes nothing about the null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require
from countermark.marking import Detection, NotExamined

Tokens = NDArray[np.int64]
Text = Tokens | Sequence[Tokens]

# A text is read if it has so many different places for a mark, and so far as it has no more.
SHORTEST, MOST = 16, 20_000
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What follows from observations alone; the fields mean what they mean in ``Detection``. Nothing has words."""

    p_value: float
    statistic: float
    trials: int
    searched: int = 1
    words: tuple[int, ...] = ()
    words_tried: int = 0
    nonce: int | None = None


def detection(method: str, name: str, observations: Mapping[str, Any], result: Recomputed) -> Detection:
    """Return what a scheme's detector says; ``name`` stands for its key."""
    return Detection(
        method=method,
        key_id=name,
        p_value=result.p_value,
        statistic=result.statistic,
        trials=result.trials,
        searched=1,
        word=None,
        words_tried=0,
        observations=observations,
    )


def too_short() -> NotExamined:
    """Return what is said of a text with fewer than ``SHORTEST`` different places for a mark."""
    return NotExamined("too-short", f"the text has fewer than {SHORTEST} different places for a mark")


def rows(texts: Sequence[Text]) -> list[Tokens]:
    """Return all rows of tokens of some texts, each one row, or several readings of one excerpt.

    Raises:
        InputError: tokens that are not whole numbers from 0 on.
    """
    found = [row for text in texts for row in ([text] if isinstance(text, np.ndarray) else text)]
    for row in found:
        if row.ndim != 1 or row.dtype.kind not in "iu" or (len(row) and int(row.min()) < 0):
            raise InputError("a text is a row of tokens, whole numbers from 0 on")
    return [row.astype(np.int64) for row in found]


def windows(found: Sequence[Tokens], width: int) -> Tokens:
    """Return every run of ``width`` tokens of all rows, (n, width), in order."""
    long = [np.lib.stride_tricks.sliding_window_view(row, width) for row in found if len(row) >= width]
    return np.concatenate([np.zeros((0, width), np.int64), *long])


def first_met(keys: NDArray[Any], most: int = MOST) -> NDArray[np.intp]:
    """Return where values, or rows of values, are met for the first time, in order, no more than ``most``."""
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.sort(first)[:most]


def generator(device: str, seed: int) -> Any:
    """Return torch's random numbers on a device: those of a GPU are others than those of a CPU.

    Raises:
        MissingExtra: without torch.
    """
    torch = require("torch", "train")
    return torch.Generator(device=device).manual_seed(seed)


def has_device(device: str) -> bool:
    """Return whether a device is there.

    Raises:
        MissingExtra: without torch.
    """
    return device == "cpu" or bool(require("torch", "train").cuda.is_available())


def no_device(device: str) -> NotExamined:
    """Return what is said where a scheme's device is missing."""
    return NotExamined("no-device", f"the scheme's random numbers come from {device}, which is not there")


def check_whole(name: str, field: str, value: object, low: int, high: int) -> None:
    """Refuse a parameter that is no whole number from ``low`` to ``high``.

    Raises:
        InputError: naming scheme and field.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(
            "scheme {name}: {field} is a whole number from {low} to {high}", name=name, field=field, low=low, high=high
        )


def check_choice(name: str, field: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a parameter that is not one of some words.

    Raises:
        InputError: naming scheme and field.
    """
    if value not in choices:
        raise InputError(
            "scheme {name}: {field} is one of {choices}", name=name, field=field, choices=", ".join(choices)
        )


def check_number(name: str, field: str, value: object, low: float, high: float) -> None:
    """Refuse a parameter that is no number between ``low`` and ``high``, both left out.

    Raises:
        InputError: naming scheme and field.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not low < value < high:
        raise InputError(
            "scheme {name}: {field} is a number between {low} and {high}", name=name, field=field, low=low, high=high
        )


def observed(observations: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """Return a whole number among observations.

    Raises:
        InputError: it is missing or out of its range.
    """
    return in_range(observations.get(name), name, low, high)


def in_range(value: Any, name: str, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError("the observations need a whole number {name} in its range", name=name)
    return value


def listed(observations: Mapping[str, Any], name: str, most: int) -> list[Any]:
    """Return a list among observations, of 1 to ``most`` items.

    Raises:
        InputError: it is none.
    """
    values = observations.get(name)
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise InputError("the observations need a list {name} of 1 to {most} items", name=name, most=most)
    return values
