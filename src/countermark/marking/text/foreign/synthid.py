"""Transformers' SynthID watermark, ``SynthIDTextWatermarkingConfig`` (S. Dathathri et al., Nature 634, 2024).

**The scheme.** A tournament of as many rounds as there are keys prefers tokens whose *g-values* are 1. The g-value of
an n-gram in a round is a bit of a public random table, looked up where a hash of n-gram and key points.

**Why they are not coin flips.** The hash is linear and the table has S = 65,536 entries, so only the residue h of the
n-gram's hash matters: the g-value in round i is ``U[h + k_i]``, with U the table in another order and k_i the key, all
modulo S. Different n-grams share residues, and then all their g-values; in a text of 1,000 tokens about eight pairs do.
Rounds look at the same entries, moved by the difference of their keys: 200 tokens in 30 rounds look up 6,000 entries,
hundreds of them twice. And the table is fixed and public, with as many ones as it happens to have.

**The null** is therefore about the keys alone: "the keys' residues were drawn independently and uniformly, and the text
does not depend on them". Text and table may be whatever they are. In a round, the n-grams' residues, each counted once,
make the sum of U over their set moved by k; all S sums are computed at once, as a circular correlation, and a random
key draws one of them. Rounds are independent draws of that one law. The statistic is the paper's weighted mean
of g-values: weights fall linearly from the first round's 10 to the last one's 1. Its tail is added up over the rounds,
on a grid to which values are rounded up. It is the only statistic that is tried.

Keys are what their owner chose, and small ones are common. As with every p-value of a scheme with known keys, who
knows them can write what he likes.

Of several n-grams with one context the first counts: the generator draws repeated contexts without a mark. Nothing
counts after an end of sequence, where ``eos`` says which token that is.

Laws:
    ``recompute(detection.observations)`` equals the detection, without keys and text;
    copies of a text add nothing to it;
    g-values are those that transformers' own processor computes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require
from countermark.marking import Detection, NotExamined
from countermark.marking.text.foreign.nulls import weighted_tail
from countermark.marking.text.foreign.parameters import (
    DEVICES,
    MOST,
    SHORTEST,
    Recomputed,
    Text,
    Tokens,
    check_choice,
    check_whole,
    detection,
    first_met,
    generator,
    has_device,
    in_range,
    listed,
    no_device,
    observed,
    rows,
    too_short,
    windows,
)

MAX_KEYS, MAX_TABLE = 64, 2**24
# Different sums that keys make of one text: hundreds, as they lie within six standard deviations of their mean.
_MAX_SPREAD = 4096
# The hash: a linear congruential step for every token and the key.
_FACTOR, _STEP, _START = np.uint64(6364136223846793005), np.uint64(1), np.uint64(1)

Residues = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthId:
    """A SynthID watermark. All fields but the first and the last two are transformers'.

    Attributes:
        name: of the scheme, in answers.
        device: where the text was written, ``cpu`` or ``cuda``: the table is another.
        eos: the token that ends a sequence, where texts may hold it.
    """

    KIND: ClassVar[str] = "synthid"

    name: str
    ngram_len: int
    keys: tuple[int, ...]
    sampling_table_size: int = 2**16
    sampling_table_seed: int = 0
    context_history_size: int = 1024
    device: str = DEVICES[0]
    eos: int | None = None

    def __post_init__(self) -> None:
        """Refuse parameters out of their ranges.

        Raises:
            InputError: naming the field.
        """
        check_whole(self.name, "ngram_len", self.ngram_len, 2, 64)
        self._check_keys(self.keys)
        check_whole(self.name, "sampling_table_size", self.sampling_table_size, 2, MAX_TABLE)
        check_whole(self.name, "sampling_table_seed", self.sampling_table_seed, 0, 2**63 - 1)
        check_whole(self.name, "context_history_size", self.context_history_size, 1, 2**20)
        check_choice(self.name, "device", self.device, DEVICES)
        if self.eos is not None:
            check_whole(self.name, "eos", self.eos, 0, 2**32)
        if self.sampling_table_size & (self.sampling_table_size - 1):
            raise InputError("scheme {name}: sampling_table_size is a power of two", name=self.name)

    def _check_keys(self, keys: object) -> None:
        if not isinstance(keys, tuple) or not 1 <= len(keys) <= MAX_KEYS:
            raise InputError("scheme {name}: keys are 1 to {limit} whole numbers", name=self.name, limit=MAX_KEYS)
        for key in keys:
            check_whole(self.name, "keys", key, -(2**63), 2**63 - 1)

    @property
    def method(self) -> str:
        """The method, with what is not secret of its parameters."""
        table = f"{self.sampling_table_seed}:{self.sampling_table_size}"
        return f"text.synthid/1;ngram={self.ngram_len};rounds={len(self.keys)};table={table};rng={self.device}"

    def detect(self, *texts: Text) -> Detection | NotExamined:
        """Weigh the g-values of a text, or of several texts that are read as one.

        Raises:
            InputError: tokens that are not whole numbers from 0 on.
            MissingExtra: without torch.
        """
        if not has_device(self.device):
            return no_device(self.device)
        residues = self._residues([self._until_end(row) for row in rows(texts)])
        if len(residues) < SHORTEST:
            return too_short()
        sums = self._sums(residues)
        rounds = self._rounds()
        low = int(sums.min())
        observations = {
            "ngrams": len(residues),
            "low": low,
            "law": np.bincount(sums - low).tolist(),
            "rounds": [[weight, int(sums[key])] for key, weight in rounds.items()],
        }
        return detection(self.method, self.name, observations, recompute(observations))

    def config(self) -> Any:
        """Return what makes transformers' ``generate`` write this watermark, as its ``watermarking_config``.

        Raises:
            MissingExtra: without transformers.
        """
        return require("transformers", "train").SynthIDTextWatermarkingConfig(
            ngram_len=self.ngram_len,
            keys=list(self.keys),
            sampling_table_size=self.sampling_table_size,
            sampling_table_seed=self.sampling_table_seed,
            context_history_size=self.context_history_size,
        )

    def _until_end(self, row: Tokens) -> Tokens:
        ends = np.flatnonzero(row == (-1 if self.eos is None else self.eos))
        return row[: ends[0]] if len(ends) else row

    def _residues(self, found: Sequence[Tokens]) -> Residues:
        """Return the residues of the n-grams' hashes, each once: of every context its first n-gram."""
        grams = windows(found, self.ngram_len)
        grams = grams[first_met(grams[:, :-1])]
        state = np.full(len(grams), _START)
        for column in grams.T.astype(np.uint64):
            state = (state + column) * _FACTOR + _STEP
        residues = (state % np.uint64(self.sampling_table_size)).astype(np.intp)
        return residues[first_met(residues)]

    def _rounds(self) -> dict[int, int]:
        """Return the weight of every residue of a key; what two rounds share counts in the first."""
        weights = _weights(len(self.keys))
        found: dict[int, int] = {}
        for key, weight in zip(self.keys, weights, strict=True):
            found.setdefault(key % self.sampling_table_size, weight)
        return found

    def _sums(self, residues: Residues) -> NDArray[np.intp]:
        """Return, for every residue that a key may have, the sum of the g-values of n-grams of these residues."""
        table = _entries(self.device, self.sampling_table_seed, self.sampling_table_size)
        held = np.bincount(residues, minlength=len(table))
        spectrum = np.conj(np.fft.rfft(held)) * np.fft.rfft(table)
        return np.rint(np.fft.irfft(spectrum, n=len(table))).astype(np.intp)


def recompute(observations: Mapping[str, Any]) -> Recomputed:
    """Return what the g-values of a detection prove.

    Args:
        observations: of ``ngrams`` n-grams, ``rounds``, a weight and the sum of the g-values for each; a random key's
            sum is ``low + j`` in ``law[j]`` cases.

    Raises:
        InputError: a value out of its range.
    """
    ngrams = observed(observations, "ngrams", 1, MOST)
    low = observed(observations, "low", 0, ngrams)
    law = [in_range(each, "law", 0, MAX_TABLE) for each in listed(observations, "law", ngrams - low + 1)]
    in_range(sum(law), "law", 2, MAX_TABLE)
    in_range(sum(map(bool, law)), "law", 1, _MAX_SPREAD)
    weights, sums = [], []
    for pair in listed(observations, "rounds", MAX_KEYS):
        weight, value = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
        weights.append(in_range(weight, "rounds", 1, 10 * MAX_KEYS))
        sums.append(in_range(value, "rounds", low, low + len(law) - 1))
    total = sum(weight * value for weight, value in zip(weights, sums, strict=True))
    return Recomputed(
        p_value=weighted_tail(law, weights, total - low * sum(weights)),
        statistic=total / (sum(weights) * ngrams),
        trials=ngrams * len(weights),
    )


def _weights(rounds: int) -> list[int]:
    """Return whole numbers in the proportion of weights that fall from 10 to 1."""
    return [1] if rounds == 1 else [10 * (rounds - 1) - 9 * place for place in range(rounds)]


@functools.lru_cache(maxsize=4)
def _entries(device: str, seed: int, size: int) -> NDArray[np.int64]:
    """Return the table (size,) in the order in which residue and key add up to a place."""
    torch = require("torch", "train")
    table = torch.randint(low=0, high=2, size=(size,), generator=generator(device, seed), device=device)
    places = (np.arange(size, dtype=np.uint64) * _FACTOR + _STEP) % np.uint64(size)
    return np.asarray(table.cpu().numpy()[places], dtype=np.int64)
