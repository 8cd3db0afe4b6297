"""Does the lattice mark survive, does it show, and does it accuse nobody? Beside the peers that a user would install.

``python -m benchmarks.image_marks --images DIR --limit N --json OUT`` marks photographs, each under ``--keys`` fresh
keys and words, attacks the copies and reads each once. A row counts: ``exact`` reads of all ``bits``, ``bit_accuracy``,
and ``tpr_1e6``, the share of copies found at a false-positive rate of 1e-6: for the lattice mark by its own p-value,
corrected for every hypothesis searched; for a peer, which has none, by the binomial tail of its matching bits, which
presumes that the right word is known beforehand and nothing is searched. ``read_1e6`` asks both of a copy: found at
1e-6 and read exactly. ``word_log10_p`` is the mean of -log10 of that binomial tail for every method alike: what one
decode says about a word known beforehand, 19.3 at most with 64 bits. Intervals are Clopper and Pearson's, of 95 %.
Copies of one picture under several keys are not independent, hence ``pictures`` beside ``n``.

``--attacks`` takes attacks and names of lists, by default the 38 of the research table, what else users meet, and
VideoSeal's combination; ``regeneration`` stands for small networks that draw a picture anew. ``adversaries``, alone,
stands for attacks by somebody who knows the algorithm, holds 100 marked pictures of one account (``--pool``), and has
no key.
``--null N`` examines unmarked crops instead, ``--trace N`` asks registers of strangers about damaged copies, and
``--batch N`` measures what a second thread brings.

Photographs and their use, so that nothing is tuned on what is reported; ``--skip`` and ``--limit`` keep parts apart:

* development: the training part of clothing-dataset-small (CC0) but the last 200, by name; scikit-image's pictures;
* calibration: nothing is calibrated, as the null is a bound that rests on the key alone; ``--null`` checks it on the
  last 200 of the training part;
* report: the test part of clothing-dataset-small (small: 0.16 to 0.32 megapixel) and 16 photographs of the Kodak suite
  (large: 0.39 megapixel). They were marked and read to be reported on, by earlier versions too; no choice rests on
  them.

Times are processor time of one thread, in milliseconds per megapixel of the picture that was handled.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.image_adversaries import measure_adversaries
from benchmarks.image_bars import bar_lines, is_exact, mean, ratio_lines, share
from benchmarks.image_nulls import measure_null, measure_traces
from benchmarks.image_trials import attack_copy, drawn, read_trial, rows, write_trial
from benchmarks.peers import LIMITS, METHODS, OURS, PEER_LIMIT, is_installed
from benchmarks.photographs import few_of_each_folder, open_picture, photographs
from benchmarks.report import arguments, table, write_report
from benchmarks.workers import each
from countermark.core.keys import Secret
from countermark.marking.attacks import LISTS, named
from countermark.marking.image.lattice import LatticeMark

Row = dict[str, Any]

DEFAULT_ATTACKS = "research,further,videoseal"
BY_NETWORKS = {
    "regeneration": (
        "regenerate_vae(0)", "regenerate_vae(0.2)", "regenerate_denoiser(0.05)", "regenerate_denoiser(0.1)",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to be marked by one method under one key, and everything that is done to the copy."""

    method: str
    path: Path
    attacks: tuple[str, ...]
    strength: float
    key: int


def main() -> None:
    given = _parser().parse_args()
    paths = photographs(given.images, limit=given.limit, skip=given.skip)
    if not paths:
        sys.exit(f"no photograph that every method can mark in {', '.join(given.images)}")
    found, summary = _chosen(given)(paths, given)
    write_report("image_marks", found, summary, given.json)


def measure(paths: Sequence[Path], given: Namespace) -> tuple[list[Row], Row]:
    """Mark, attack and read every photograph with every method; a peer gets the first few of each folder, one key."""
    trials: list[Row] = []
    for name in given.methods.split(","):
        if not is_installed(name):
            print(f"{name} is not installed and left out", file=sys.stderr)
            continue
        for found in each(attempt, _tasks(name, paths, given), jobs=given.jobs, name=name):
            trials += found
    lines = bar_lines([trial for trial in trials if trial["method"] == OURS]) + ratio_lines(trials, OURS)
    print(table(lines), end="\n\n")
    return rows(trials), _summary(trials, given.strength) | {"bars": lines}


def attempt(task: Task) -> list[Row]:
    """Mark one picture and read every attacked copy of it."""
    image = open_picture(task.path)
    secret, bits = drawn(task.path, task.key)
    method = METHODS[task.method](secret, task.strength)
    word = bits % 2**method.bits
    marked, about = write_trial(method, task.path, image, word)
    about["method"] = task.method
    return [about | {"attack": name} | read_trial(method, attack_copy(name, marked), word) for name in task.attacks]


def measure_batch(paths: Sequence[Path], given: Namespace) -> tuple[list[Row], Row]:
    """Mark and read some photographs by one thread, then by two, in a process of its own, by the clock."""
    chosen = [paths[i % len(paths)] for i in range(given.batch)]
    tasks = [(chosen, threads, given.strength) for threads in (1, 2)]
    one, two = each(batch, tasks, jobs=min(given.jobs, 1), name="threads")
    ratios = {f"{act}_ratio": round(one[f"{act}_s"] / two[f"{act}_s"], 2) for act in ("embed", "detect")}
    return [one, two], {"method": LatticeMark.METHOD} | ratios


def batch(task: tuple[Sequence[Path], int, float]) -> Row:
    """Mark and read photographs by some threads."""
    paths, threads, strength = task
    images = [open_picture(path) for path in paths]
    mark = LatticeMark(Secret.random(), strength=strength)
    mark.detect(mark.embed(images[0], 0))  # what a key derives once is no part of a batch
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        marked = list(pool.map(lambda image: mark.embed(image, 0), images))
        embed_s = time.perf_counter() - started
        list(pool.map(mark.detect, marked))
        detect_s = time.perf_counter() - started - embed_s
    return {"threads": threads, "pictures": len(images), "embed_s": round(embed_s, 3), "detect_s": round(detect_s, 3)}


def attacks_of(text: str) -> tuple[str, ...]:
    """Return the attacks and lists in a text with commas, lists written out, each once; one that is wrong raises."""
    names = dict.fromkeys(one for name in named(text) for one in BY_NETWORKS.get(name, (name,)))
    sample = np.zeros((64, 64, 3), np.uint8)
    for name in names:
        if not name.startswith("regenerate"):
            attack_copy(name, sample)
    return tuple(names)


def _tasks(name: str, paths: Sequence[Path], given: Namespace) -> list[Task]:
    keys = given.keys if name == OURS else 1
    chosen = paths if name == OURS else few_of_each_folder(paths, min(given.peers, LIMITS.get(name, PEER_LIMIT)))
    attacks = attacks_of(given.attacks if name == OURS else given.peer_attacks or given.attacks)
    return [Task(name, path, attacks, given.strength, key) for key in range(keys) for path in chosen]


def _summary(trials: Sequence[Row], strength: float) -> Row:
    """Return what holds for the run as a whole; times are those of clean copies, of every method."""
    methods = dict.fromkeys((trial["method"], trial["size_class"]) for trial in trials)
    lines = [_overall([t for t in trials if (t["method"], t["size_class"]) == key], *key) for key in methods]
    return {"method": LatticeMark.METHOD, "strength": strength, "methods": lines}


def _overall(trials: Sequence[Row], method: str, size: str) -> Row:
    clean = [trial for trial in trials if trial["attack"] == "clean"] or trials
    return {
        "method": method,
        "size_class": size,
        "psnr": round(mean(trials, "psnr"), 2),
        "ssim": round(mean(trials, "ssim"), 4),
        "exact_together": share(map(is_exact, trials))["rate"],
        "found_together": share(trial["found"] for trial in trials)["rate"],
        "embed_ms_per_mp": round(mean(clean, "embed_ms_per_mp"), 1),
        "detect_clean_ms_per_mp": round(mean(clean, "detect_ms_per_mp"), 1),
        "detect_ms_per_mp": round(mean(trials, "detect_ms_per_mp"), 1),
    }


def _chosen(given: Namespace) -> Callable[[Sequence[Path], Namespace], tuple[list[Row], Row]]:
    """Return the measurement that the command line asks for."""
    if given.attacks == "adversaries":
        return measure_adversaries
    if given.null:
        return measure_null
    if given.trace:
        return measure_traces
    return measure_batch if given.batch else measure


def _parser() -> ArgumentParser:
    parser = arguments(__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--images", required=True, action="append", metavar="DIR", help="folder of photographs; repeatable")
    add("--skip", type=int, default=0, metavar="N", help="leave out the first N of each folder")
    add("--attacks", default=DEFAULT_ATTACKS, metavar="LIST", help=f"names or lists ({', '.join(LISTS)}), by commas")
    add("--peer-attacks", metavar="LIST", help="fewer attacks for peers, some of which take seconds for one reading")
    add("--pool", action="append", metavar="DIR", help="photographs that adversaries hold marked copies of")
    add("--methods", default=",".join(METHODS), metavar="LIST", help="separated by commas")
    add("--peers", type=int, default=PEER_LIMIT, metavar="N", help="pictures of each folder that peers get at most")
    add("--strength", type=float, default=1.0, metavar="X", help="of the lattice mark; 1 is the product's")
    add("--keys", type=int, default=1, metavar="K", help="keys and words a picture, of the lattice mark")
    add("--jobs", type=int, default=2, metavar="N", help="processes; 0 works in this one")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--null", type=int, default=0, metavar="N", help="examine N unmarked crops instead")
    modes.add_argument("--trace", type=int, default=0, metavar="N", help="ask strangers' registers N times instead")
    modes.add_argument("--batch", type=int, default=0, metavar="N", help="handle N pictures by one and two threads")
    return parser


if __name__ == "__main__":
    main()
