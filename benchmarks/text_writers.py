"""What writes texts for the benchmark of text marks: a model of transformers, or laws with a wanted entropy, made up.

Both write so many tokens for a prompt, each reply with a word of its own, under one key a call. The made-up laws have
no meaning; they have the entropy that is asked for, not in the mean of a text but context by context, from rather sure
to wide open, and none of a small model's loops.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from countermark.core.keys import Secret
from countermark.marking.text.generation import LanguageMark
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import TextTokenizer

Tokens = NDArray[np.int64]
Words = NDArray[np.uint64]

PROMPT = 24
# The genre of what is taken from all others, and the least tokens of one.
LISTS, ENOUGH = "lists", 2000
_LIST_LINE = re.compile(r"^\s*(?:[-*+•|]|\(?[0-9a-z]{1,3}[.)])\s.*$", re.MULTILINE)
_PART = 1_000_000
# Texts of small models close in on themselves with time, so probes are as long as what is measured: batches of 32.
_PROBES, _PROBE_TOKENS, _SECANTS, _BISECTIONS = 4, 200, 2, 12
# Openness that is asked for, beyond what is wanted of it.
_MARGIN = 1.03


@dataclass(frozen=True, slots=True)
class Reply:
    """Tokens (n,) without the prompt, the word and mark they were written with, and nats a token that were open."""

    tokens: Tokens
    word: int
    mark: TextMark
    nats: float


class ModelWriter:
    """A directory of transformers, sampled at the temperature that leaves so many nats a token open on average."""

    def __init__(self, folder: Path, nats: float | None, prompts: Tokens) -> None:
        """Read the model; ``nats`` None is temperature 1."""
        self.model, self.prompts = load(folder), prompts
        self.vocabulary = int(self.model.config.vocab_size)
        self.temperature = 1.0 if nats is None else _temperature(nats, self)

    def draw_prompts(self, count: int, generator: np.random.Generator) -> Any:
        """Return prompts (count, PROMPT) from random places of the text."""
        starts = generator.integers(0, len(self.prompts) - PROMPT, count)
        return torch.from_numpy(np.stack([self.prompts[start : start + PROMPT] for start in starts]))

    def generate(self, prompts: Any, length: int, seed: int, config: Any = None) -> Any:
        """Return prompts with ``length`` tokens more, unmarked or with a watermark of transformers."""
        torch.manual_seed(seed)
        return self.model.generate(prompts, watermarking_config=config, **self.options(prompts, length))

    def options(self, prompts: Any, length: int) -> dict[str, Any]:
        """Return what ``generate`` is asked for, besides marks."""
        return {
            "attention_mask": torch.ones_like(prompts),
            "do_sample": True,
            "temperature": self.temperature,
            "top_k": 0,
            "top_p": 1.0,
            "min_new_tokens": length,
            "max_new_tokens": length,
            "pad_token_id": 0,
        }

    def write(self, words: Words, length: int, generator: np.random.Generator) -> list[Reply]:
        """Return a marked reply for every word, all under one fresh key."""
        mark, prompts = TextMark(Secret(generator.bytes(32))), self.draw_prompts(len(words), generator)
        torch.manual_seed(int(generator.integers(2**62)))
        plug = LanguageMark(self.model, mark)
        replies = plug.generate(words.tolist(), input_ids=prompts, **self.options(prompts, length)).sequences
        _, open_nats = self.laws_of(replies)
        return [
            Reply(row[PROMPT:].numpy(), int(word), mark, float(nats.mean()))
            for row, word, nats in zip(replies, words, open_nats, strict=True)
        ]

    def laws_of(self, sequences: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return -ln p of the tokens that were written and the entropies of their laws, (rows, tokens) in nats."""
        with torch.no_grad():
            logits = self.model(sequences).logits[:, PROMPT - 1 : -1]
            logs = torch.log_softmax(logits.float() / self.temperature, dim=-1)
            entropies = -(logs.exp() * logs).sum(-1)
            chosen = -logs.gather(-1, sequences[:, PROMPT:, None])[..., 0]
        return chosen.double().numpy(), entropies.double().numpy()


class LawWriter:
    """Made-up laws of the next token, by the last two, of so many nats on average."""

    LAWS = 512

    def __init__(self, nats: float, vocabulary: int = 4096) -> None:
        self.vocabulary, self.temperature = vocabulary, 1.0
        generator = np.random.Generator(np.random.PCG64(5))
        shapes = generator.normal(size=(self.LAWS, vocabulary)) * generator.uniform(0.6, 1.6, (self.LAWS, 1))
        low, high = 0.2, 30.0
        for _ in range(_BISECTIONS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if _entropies(shapes * middle).mean() > nats * _MARGIN else (low, middle)
        self._logs = _normal(shapes * low).astype(np.float32)
        self._nats = _entropies(self._logs)
        self._sums = np.exp(self._logs.astype(np.float64)).cumsum(axis=1)

    def write(self, words: Words, length: int, generator: np.random.Generator) -> list[Reply]:
        """Return a marked text for every word, all under one fresh key."""
        mark = TextMark(Secret(generator.bytes(32)))
        rows = self.rows(words, length, generator, mark)
        nats = self._nats[self._laws_of(rows)].mean(axis=1)
        return [Reply(row[2:], int(word), mark, float(each)) for row, word, each in zip(rows, words, nats, strict=True)]

    def rows(self, words: Words, length: int, generator: np.random.Generator, mark: TextMark | None) -> Tokens:
        """Return two random tokens and ``length`` that follow, for each word; without a mark, drawn plainly."""
        rows = generator.integers(0, self.vocabulary, (len(words), 2))
        used: list[set[tuple[int, int]]] = [set() for _ in words]
        for _ in range(length):
            at = self._laws_at(rows[:, -1], rows[:, -2])
            chosen = self._drawn(at, generator) if mark is None else mark.choose(self._logs[at], rows[:, -2:], words)
            if mark is not None:
                again = [context in seen for context, seen in zip(map(tuple, rows[:, -2:].tolist()), used, strict=True)]
                chosen[again] = self._drawn(at[again], generator)
                for context, seen in zip(map(tuple, rows[:, -2:].tolist()), used, strict=True):
                    seen.add(context)
            rows = np.column_stack([rows, chosen])
        return rows

    def laws_of(self, rows: Tokens) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return -ln p of the tokens that were written and the entropies of their laws, (rows, tokens) in nats."""
        at = self._laws_of(rows)
        return -self._logs[at, rows[:, 2:]].astype(np.float64), self._nats[at]

    def _laws_of(self, rows: Tokens) -> Tokens:
        return self._laws_at(rows[:, 1:-1], rows[:, :-2])

    def _laws_at(self, last: Tokens, before: Tokens) -> Tokens:
        return (last * 7919 + before * 104729) % self.LAWS

    def _drawn(self, at: Tokens, generator: np.random.Generator) -> Tokens:
        heights = generator.random(len(at)) * self._sums[at, -1]
        places = [np.searchsorted(self._sums[law], height) for law, height in zip(at, heights, strict=True)]
        return np.minimum(np.array(places, dtype=np.int64), self.vocabulary - 1)


def write_texts(writer: Any, count: int, length: int, generator: np.random.Generator, batch: int = 32) -> list[Reply]:
    """Return so many replies, a fresh word each and a fresh key for every batch."""
    sizes = [min(batch, count - start) for start in range(0, count, batch)]
    return [
        reply
        for size in sizes
        for reply in writer.write(generator.integers(0, 2**64, size, dtype=np.uint64), length, generator)
    ]


@cache
def load(folder: Path) -> Any:
    """Return a causal language model, in single precision."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def genres(paths: Sequence[Path], tokenizer: TextTokenizer) -> dict[str, Tokens]:
    """Return the tokens of human texts by file, and of what looks like lists and tables in all of them."""
    texts = {path.name.split(".")[0]: _read(path) for path in paths}
    lists = "\n".join(line for text in texts.values() for line in _LIST_LINE.findall(text))
    found = {name: _encode(tokenizer, text) for name, text in (texts | {LISTS: lists}).items()}
    return {name: tokens for name, tokens in found.items() if len(tokens) >= ENOUGH}


def _read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace").replace("<|doc|>", "")


def _encode(tokenizer: TextTokenizer, text: str) -> Tokens:
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    return np.concatenate([np.zeros(0, np.int64), *map(tokenizer.encode, parts)])


def _temperature(nats: float, writer: ModelWriter) -> float:
    """Return a temperature at which unmarked text is about so open, a little more rather than less: by secants."""

    def reached(temperature: float) -> float:
        writer.temperature, generator = temperature, np.random.Generator(np.random.PCG64(6))
        probes = [writer.generate(writer.draw_prompts(32, generator), _PROBE_TOKENS, seed=i) for i in range(_PROBES)]
        return float(np.mean([writer.laws_of(probe)[1].mean() for probe in probes]))

    points = [(each, reached(each)) for each in (0.65, 0.85)]
    for _ in range(_SECANTS):
        (one, below), (other, above) = points[-2:]
        slope = (above - below) / (other - one) or 1.0
        guess = min(1.4, max(0.3, other + (nats * _MARGIN - above) / slope))
        points.append((guess, reached(guess)))
    return points[-1][0]


def _normal(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _entropies(logits: NDArray[Any]) -> NDArray[np.float64]:
    logs = _normal(logits.astype(np.float64))
    return np.asarray(-(np.exp(logs) * logs).sum(axis=1))
