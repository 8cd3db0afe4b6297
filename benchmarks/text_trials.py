"""What the parts of the benchmark of text marks share: their task, a register of a million words, one trace, edits."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.image_bars import share
from benchmarks.noise_trials import renamed
from benchmarks.text_writers import ENOUGH, LISTS, LawWriter, ModelWriter, Tokens, Words, genres
from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute, unpermute
from countermark.marking import Detection, NotExamined
from countermark.marking.attacks import texts
from countermark.marking.reading import Reading
from countermark.marking.text.codewords import CHUNKS
from countermark.marking.text.null import gamma_tail
from countermark.marking.text.observations import SymbolTable
from countermark.marking.text.tokens import TextTokenizer
from countermark.tracing import ATTRIBUTED, Attribution, Roster, Sighting, attribute

Row = dict[str, Any]
Item = TypeVar("Item")
Edit = Callable[[Tokens, Tokens, np.random.Generator], Tokens]

LICENSEES = 1_000_000
# What the rules are asked for, and the level at which nobody may be accused wrongly at all.
ALPHA, STRICT = 1e-3, 1e-6
# By so much a bound on a tail may be above the level before it is looked at closely.
SCREEN = 100
SPAN = 100

#: Edits of a reply by name; each gets the reply, human text and random numbers.
EDITS: dict[str, Edit] = {
    "clean": lambda tokens, human, generator: tokens,
    "substitute(0.1)": lambda tokens, human, generator: texts.substitute(tokens, 0.1, human, generator),
    "substitute(0.3)": lambda tokens, human, generator: texts.substitute(tokens, 0.3, human, generator),
    "delete(0.2)": lambda tokens, human, generator: texts.delete(tokens, 0.2, generator),
    "swap(0.1)": lambda tokens, human, generator: texts.swap(tokens, 0.1, generator),
    f"paste({SPAN} in 300)": lambda tokens, human, generator: pasted(tokens, human, 300, generator),
}


@dataclass(frozen=True)
class Task:
    """One part of the benchmark with the command line's numbers."""

    part: str
    given: Namespace

    def generator(self, *labels: int) -> np.random.Generator:
        """Return random numbers that are the same in every run."""
        return np.random.Generator(np.random.PCG64([5, self.given.seed, *self.part.encode(), *labels]))

    def count(self, name: str) -> int:
        """Return a number of the command line, a twentieth of it with ``--quick``."""
        number = int(getattr(self.given, name))
        return max(4, number // 20) if self.given.quick else number

    @property
    def folder(self) -> Path:
        """The model's directory."""
        return Path(self.given.model)

    @cached_property
    def human(self) -> dict[str, Tokens]:
        """Human text by genre."""
        return human_texts(self.folder, tuple(self.given.human))

    @cached_property
    def strangers(self) -> Tokens:
        """Human text of all genres but lists, for what edits bring in."""
        return np.concatenate([tokens for name, tokens in self.human.items() if name != LISTS])

    def writer(self, nats: float | None) -> ModelWriter:
        """Return the model at a temperature that leaves so many nats a token open."""
        return model_writer(self.folder, nats, tuple(self.given.prompts or self.given.human))

    def laws(self, nats: float) -> LawWriter:
        """Return made-up laws of so many nats a token."""
        return law_writer(nats)


class Register(Roster):
    """Strangers' words under a key, without their identifiers, which are as random as the words.

    Permuting a million identifiers takes longer than everything else in a trace, and an office keeps the result.
    """

    def __init__(self, generator: np.random.Generator, authors: Sequence[int] = ()) -> None:
        super().__init__()
        self.words: Words = generator.integers(0, 2**64, LICENSEES, dtype=np.uint64)
        self.words[: len(authors)] = authors
        # Pairs of symbols, the last ones first.
        self._pairs = np.ascontiguousarray(self.words.astype("<u8").view("<u2").reshape(-1, CHUNKS // 2).T)

    def best(
        self, key: Secret, readings: Sequence[Reading], excluded: frozenset[int] = frozenset()
    ) -> list[int | None]:
        """Return the identifier whose word agrees best with each reading."""
        left_out = np.array([permute(key, one) for one in excluded], dtype=np.uint64)
        tables = [reading.soft for reading in readings if isinstance(reading.soft, SymbolTable)]
        return [unpermute(key, self.best_word(table, left_out)) for table in tables]

    def best_word(self, table: SymbolTable, left_out: Words | tuple[()] = ()) -> int:
        """Return the word with the most evidence: of the few that look best with pairs of symbols looked up at once."""
        values = table.values.astype(np.float32)
        total = np.zeros(len(self.words), np.float32)
        for pair, one, other in zip(self._pairs[::-1], values[::2], values[1::2], strict=True):
            total += np.add.outer(one, other).ravel()[pair]
        for word in left_out:
            total[self.words == word] = -np.inf
        few = self.words[total >= total.max() - 0.01]
        return int(few[table.agreement(few).argmax()])

    def holds(self, word: int) -> bool:
        """Whether a word is somebody's."""
        alike = np.flatnonzero(self._pairs[0] == np.uint16(word & 0xFFFF))
        return bool((self.words[alike] == np.uint64(word)).any())

    def highest(self, table: SymbolTable) -> float:
        """Return the best word's evidence."""
        return float(table.agreement(np.array([self.best_word(table)], dtype=np.uint64))[0])

    def trace(
        self, seen: Sequence[Detection], alpha: float, excluded: frozenset[int] = frozenset()
    ) -> tuple[Attribution, int | None]:
        """Ask as an office does; return the answer, and the word that was named."""
        key = DetectionKey.derive(Secret(bytes(32)), method="benchmark", model="0" * 64, epoch=0)
        answer = attribute(
            [Sighting(0, 0, key, each) for each in seen],
            alpha=alpha,
            identifiers_issued=LICENSEES,
            issued_to=lambda one: "grant:licensee" if self.holds(permute(key.permutation, one)) else None,
            roster=self,
            excluded=excluded,
        )
        named = answer.verdict == ATTRIBUTED and answer.identifier is not None
        return answer, permute(key.permutation, answer.identifier) if named and answer.identifier is not None else None


def chernoff(table: SymbolTable, highest: float) -> float:
    """Bound the tail of a random word's evidence by Chernoff's inequality: some ten to thirty times the tail."""
    tilts = np.linspace(0.02, 1.5, 40)[:, None, None]
    moments = np.log(np.exp(tilts * (table.values - table.values.max(axis=1, keepdims=True))).mean(axis=2)).sum(axis=1)
    exponents = moments + tilts[:, 0, 0] * (table.values.max(axis=1).sum() - highest)
    return float(np.exp(min(0.0, exponents.min())))


def table_of(seen: Detection) -> SymbolTable:
    """Return the evidence that a reading holds for words."""
    held = seen.observations
    return SymbolTable(np.array(held["table"]), held["detect"], seen.trials, held["windows"])


def usual_p(table: SymbolTable, highest: float) -> float:
    """Return what is usual: the best licensee's own tail in unmarked text, times the number of licensees.

    It asks whether the text is unmarked, and so accuses whoever shares symbols with an author.
    """
    return min(1.0, LICENSEES * gamma_tail(table.contexts, table.detect + highest))


def looked(found: tuple[Detection, ...] | NotExamined) -> tuple[Detection, ...]:
    """Return readings, none of what is too short."""
    return () if isinstance(found, NotExamined) else found


def pasted(tokens: Tokens, human: Tokens, size: int, generator: np.random.Generator) -> Tokens:
    """Put the first tokens of a reply somewhere into so many of human text."""
    start = int(generator.integers(0, max(1, len(human) - size)))
    return texts.paste(tokens[:SPAN], human[start : start + size], generator)


def rate(name: str, outcomes: Iterable[bool]) -> Row:
    """Return a rate with its interval under a name."""
    return renamed(share(outcomes), name)


def counted(items: Sequence[Item], name: str) -> Iterator[Item]:
    """Yield items and count them on stderr."""
    for done, item in enumerate(items, start=1):
        yield item
        if done % 10 == 0 or done == len(items):
            print(f"{name} {done}/{len(items)}", end="\n" if done == len(items) else "\r", file=sys.stderr, flush=True)


@cache
def human_texts(folder: Path, files: tuple[str, ...]) -> dict[str, Tokens]:
    found = genres([Path(file) for file in files], TextTokenizer.open(folder))
    if not set(found) - {LISTS}:
        sys.exit(f"no human text of {ENOUGH} tokens in {', '.join(files)}")
    return found


@cache
def model_writer(folder: Path, nats: float | None, files: tuple[str, ...]) -> ModelWriter:
    found = human_texts(folder, files)
    prompts = np.concatenate([tokens for name, tokens in found.items() if name != LISTS])
    return ModelWriter(folder, nats, prompts)


@cache
def law_writer(nats: float) -> LawWriter:
    return LawWriter(nats)
