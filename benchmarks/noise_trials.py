"""What the parts of the benchmark of noise marks share: their task, and one read of one inverted picture."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gaussian_shading import Bits, GaussianShading, p_value
from benchmarks.image_bars import share
from benchmarks.studio import Studio, load
from countermark.core.keys import Secret
from countermark.core.payload import WORD_BITS
from countermark.marking import Detection, NotExamined
from countermark.marking.image import noise_ledger
from countermark.marking.image.noise import NoiseMark

Row = dict[str, Any]
Floats = NDArray[np.float32]

ALPHA = 1e-6


@dataclass(frozen=True, slots=True)
class Task:
    """One part of the benchmark on one pipeline, with the command line's numbers."""

    part: str
    folder: Path
    given: Namespace

    def generator(self) -> np.random.Generator:
        """Return random numbers that are the same in every run."""
        return np.random.default_rng([20, *self.part.encode()])

    def studio(self, generator: np.random.Generator, steps: int) -> Studio:
        """Return the pipeline with a fresh key."""
        return Studio(load(self.folder), NoiseMark(secret(generator)), steps)


def our_read(mark: NoiseMark, latent: Floats, word: int) -> tuple[int, bool]:
    return compared(mark.read(latent), word)


def compared(seen: Detection | NotExamined, word: int) -> tuple[int, bool]:
    """Return how many bits of the word match and whether a mark was found."""
    if not isinstance(seen, Detection) or seen.word is None:
        return WORD_BITS // 2, False
    return WORD_BITS - (seen.word ^ word).bit_count(), seen.p_value <= ALPHA


def their_read(shading: GaussianShading, latent: Floats, message: Bits) -> tuple[int, bool]:
    read = shading.read(latent)
    return int((read == message).sum()), p_value(read, message) <= ALPHA


def in_ledger(latent: Floats, signs: NDArray[np.int8], records: int) -> bool:
    """Whether a search among so many records would find these signs, if no other fits better."""
    return noise_ledger.tail(noise_ledger.statistic(signs, noise_ledger.quantize(latent)), records) <= ALPHA


def rate_row(method: str, attack: str, bits: int, reads: Iterable[tuple[int, bool]]) -> Row:
    matching, found = zip(*reads, strict=True)
    exact = renamed(share(count == bits for count in matching), "exact")
    accuracy = {"bits": bits, "bit_accuracy": round(float(np.mean(matching)) / bits, 4)}
    return {"method": method, "attack": attack} | exact | renamed(share(found), "tpr_1e6") | accuracy


def renamed(row: Row, name: str) -> Row:
    """Return a row of ``share`` with its rate and interval under a name."""
    names = {"rate": name, "low": f"{name}_low", "high": f"{name}_high"}
    return {names.get(key, key): value for key, value in row.items()}


def secret(generator: np.random.Generator) -> Secret:
    return Secret(generator.bytes(32))
