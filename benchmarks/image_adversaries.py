"""Attacks by somebody who knows the algorithm and holds marked pictures of one account, but has no key.

Removal is lost when fewer copies are found; a forgery is lost when one is found: it is a foreign photograph, never
marked, into which the mark of another was copied.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.image_trials import drawn, read_trial, rows, write_trial
from benchmarks.peers import OURS, Lattice
from benchmarks.photographs import Pixels, open_picture, photographs, psnr
from benchmarks.workers import each
from countermark.marking.adversaries import (
    Surrogate,
    alike,
    average_removal,
    copy_forgery,
    fold_forgery,
    line_removal,
    mean_detail,
    notch,
    standing_lines,
)
from countermark.marking.attacks import apply
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.pattern import TILE

Row = dict[str, Any]

HELD = 100
NEAREST = 10
LINES = (100, 800)
FOLDS = (128, 256)
SURROGATE_PSNR = 36.0
# What follows a removal: most copies are moved a little.
MOVES = ("shift(3)", "crop(0.5)", "resize(0.75)")


@dataclass(frozen=True, slots=True)
class Account:
    """What an adversary holds and learned: 100 marked pictures of one key and word, and as many unmarked ones."""

    lattice: Lattice
    word: int
    marked: list[Pixels]
    unmarked: list[Pixels]
    mean: NDArray[np.float64]
    folded: NDArray[np.float64]
    lines: NDArray[np.float64]
    surrogate: Surrogate


@dataclass(frozen=True, slots=True)
class Task:
    """One picture of the account that is attacked, and the paths of the others."""

    path: Path
    number: int
    pool: tuple[Path, ...]
    strength: float


def measure_adversaries(paths: Sequence[Path], given: Namespace) -> tuple[list[Row], Row]:
    """Attack every photograph with what 100 others of the same account teach."""
    pool = tuple(path for path in photographs(given.pool or given.images) if path not in paths)[: 2 * HELD]
    if len(pool) < 2:
        sys.exit("adversaries hold other photographs than those they attack: give them with --pool")
    tasks = [Task(path, number, pool, given.strength) for number, path in enumerate(paths)]
    trials = [trial for found in each(attacked, tasks, jobs=given.jobs, name="adversaries") for trial in found]
    return rows(trials), {"method": LatticeMark.METHOD, "strength": given.strength, "held": len(pool) // 2}


def attacked(task: Task) -> list[Row]:
    """Mark one picture for the account and let every adversary at it; ``attack_psnr`` is what their change costs."""
    account = _account(task.pool, task.strength)
    image, lattice, word = open_picture(task.path), account.lattice, account.word
    marked, about = write_trial(lattice, task.path, image, word)
    foreign = account.unmarked[task.number % len(account.unmarked)]
    about["method"] = OURS
    return [
        about | {"attack": name, "attack_psnr": psnr(before, after)} | read_trial(lattice, after, word)
        for name, before, after in (*_moved(_removals(marked, account)), *_forgeries(marked, foreign))
    ]


def _removals(marked: Pixels, account: Account) -> Iterator[tuple[str, Pixels, Pixels]]:
    held = len(account.marked)
    yield "removal: notch", marked, notch(marked)
    yield f"removal: mean of {held}", marked, average_removal(account.mean, marked)
    yield f"removal: mean of {held}, folded", marked, average_removal(account.folded, marked)
    near = alike(account.marked, marked, NEAREST)
    yield f"removal: mean of the {NEAREST} most alike", marked, average_removal(mean_detail(near), marked)
    for count in LINES:
        yield f"removal: {count} lines of {held}", marked, line_removal(account.lines[:count], marked)
    yield f"removal: surrogate of {held}", marked, account.surrogate.evade(marked, psnr_db=SURROGATE_PSNR)


def _moved(removals: Iterator[tuple[str, Pixels, Pixels]]) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Yield every removal, and the same followed by each of the moves."""
    for name, before, after in removals:
        yield name, before, after
        for move in MOVES:
            yield f"{name}, then {move}", apply(move, before), apply(move, after)


def _forgeries(marked: Pixels, foreign: Pixels) -> Iterator[tuple[str, Pixels, Pixels]]:
    yield "forgery: copy", foreign, copy_forgery(marked, foreign)
    for pitch in FOLDS:
        yield f"forgery: fold at {pitch}", foreign, fold_forgery(marked, foreign, pitch)


@cache
def _account(pool: tuple[Path, ...], strength: float) -> Account:
    secret, word = drawn(pool[0], -1)
    lattice = Lattice(secret, strength)
    half = len(pool) // 2
    marked = [lattice.embed(open_picture(path), word) for path in pool[:half]]
    unmarked = [open_picture(path) for path in pool[half:]]
    surrogate = Surrogate.train(marked, unmarked)
    means = mean_detail(marked), mean_detail(marked, pitch=TILE)
    return Account(lattice, word, marked, unmarked, *means, standing_lines(marked, count=max(LINES)), surrogate)
