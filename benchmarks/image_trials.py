"""One read of one copy is a trial: a dict. Here trials are made, and summed up to the rows of the printed table."""

from __future__ import annotations

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.image_bars import is_exact, mean, share
from benchmarks.peers import Method
from benchmarks.photographs import Pixels, psnr, size_class, ssim
from countermark.core.keys import Secret
from countermark.core.stats import binomial_tail
from countermark.marking.attacks import apply

Row = dict[str, Any]

ALPHA = 1e-6


def drawn(path: Path, number: int) -> tuple[Secret, int]:
    """Return a secret and 64 bits for a word: fresh for every picture and number, and the same in every run."""
    drawn = hashlib.blake2b(f"{path.name} {number}".encode(), digest_size=40).digest()
    return Secret(drawn[:32]), int.from_bytes(drawn[32:], "big")


def attack_copy(name: str, image: Pixels) -> Pixels:
    """Return an attacked copy; networks that the package does not hold regenerate it where their names are given."""
    if not name.startswith("regenerate_"):
        return apply(name, image)
    from benchmarks import regeneration

    kind, strength = name.removesuffix(")").split("(")
    regenerate: Callable[[Pixels, float], Pixels] = getattr(regeneration, kind)
    return regenerate(image, float(strength))


def write_trial(method: Method, path: Path, image: Pixels, word: int) -> tuple[Pixels, Row]:
    """Return a marked picture, and what its trials share."""
    started = time.process_time()
    marked = method.embed(image, word)
    embed_s = time.process_time() - started
    return marked, {
        "picture": path.name,
        "size_class": size_class(image),
        "psnr": psnr(image, marked),
        "ssim": ssim(image, marked),
        "embed_ms_per_mp": embed_s / image.size * 3e9,
    }


def read_trial(method: Method, copy: Pixels, word: int) -> Row:
    """Read a copy once, and compare with the word that was written."""
    started = time.process_time()
    read, p_value = method.read(copy)
    read_s = time.process_time() - started
    matching = method.bits - (read ^ word).bit_count() if read is not None else method.bits // 2
    word_p = binomial_tail(matching, method.bits, 0.5)
    return {
        "bits": method.bits,
        "matching": matching,
        "word_log10_p": -math.log10(word_p),
        "found": (word_p if p_value is None else p_value) <= ALPHA,
        "detect_ms_per_mp": read_s / copy.size * 3e9,
    }


def rows(trials: Iterable[Row]) -> list[Row]:
    """Return one row for every method, class of size and attack."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for trial in trials:
        groups[trial["method"], trial["size_class"], trial["attack"]].append(trial)
    return [_row(*key, group) for key, group in groups.items()]


def _row(method: str, size: str, attack: str, trials: list[Row]) -> Row:
    exact, found = share(map(is_exact, trials)), share(trial["found"] for trial in trials)
    damage = {"attack_psnr": round(mean(trials, "attack_psnr"), 2)} if "attack_psnr" in trials[0] else {}
    row = {
        "method": method,
        "size_class": size,
        "attack": attack,
        "bits": trials[0]["bits"],
        "pictures": len({trial["picture"] for trial in trials}),
        "n": exact["n"],
        "psnr": round(mean(trials, "psnr"), 2),
        "ssim": round(mean(trials, "ssim"), 4),
        "exact": exact["rate"],
        "exact_low": exact["low"],
        "exact_high": exact["high"],
        "bit_accuracy": round(mean(trials, "matching") / trials[0]["bits"], 4),
        "tpr_1e6": found["rate"],
        "tpr_low": found["low"],
        "tpr_high": found["high"],
        "read_1e6": share(trial["found"] and is_exact(trial) for trial in trials)["rate"],
        "word_log10_p": round(mean(trials, "word_log10_p"), 2),
        "embed_ms_per_mp": round(mean(trials, "embed_ms_per_mp"), 1),
        "detect_ms_per_mp": round(mean(trials, "detect_ms_per_mp"), 1),
    }
    return row | damage
