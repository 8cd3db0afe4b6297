"""Is a marked text found, at a false rate of 1e-3? Ours beside transformers' watermarks, each by its own exact test.

All methods write with the same model from the same prompts, and are asked only whether a text is marked, whole: that is
all that the others can be asked. Short texts are the beginnings of long ones; a fresh key for every batch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.image_bars import mean
from benchmarks.text_quality import LEFT, OURS, PLAIN, SYNTHID, scheme
from benchmarks.text_trials import ALPHA, EDITS, Row, Task, counted, rate
from benchmarks.text_writers import PROMPT, ModelWriter, Tokens
from countermark.core.keys import Secret
from countermark.marking import Detection, NotExamined
from countermark.marking.text.generation import LanguageMark
from countermark.marking.text.sampling import TextMark

LENGTHS = (50, 100, 200)
BATCH = 16
# The last one writes every third batch only, as it takes twenty times as long.
METHODS, SLOW = (OURS, LEFT, SYNTHID), 3
# Passages of human text for one of generated text.
HUMAN = 4


@dataclass(frozen=True, slots=True)
class Written:
    """Replies (rows, tokens) of one method, what finds them, seconds of processor time, nats under the model."""

    replies: Any
    detector: Any
    seconds: float
    nats: float


def peers(task: Task) -> Iterator[Row]:
    """Write, edit and look, with every method; human text, too."""
    for nats in (1.6, None):
        writer, generator = task.writer(nats), task.generator(0 if nats is None else 1)
        held: dict[str, list[Written]] = defaultdict(list)
        plain = []
        for turn in counted(range(-(-task.count("peer_texts") // BATCH)), f"peers at {nats or 'all'} nats"):
            prompts = writer.draw_prompts(BATCH, generator)
            unmarked = writer.generate(prompts, LENGTHS[-1], int(generator.integers(2**62)))
            plain.append(float(writer.laws_of(unmarked)[0].mean()))
            for name in METHODS if turn % SLOW == 0 else METHODS[:2]:
                held[name].append(_written(writer, name, prompts, generator))
        about = {"nats": round(float(np.mean(plain)), 3), "temperature": round(writer.temperature, 3)}
        yield about | {"method": PLAIN}
        for name, batches in held.items():
            shift = float(np.mean([batch.nats for batch in batches])) - float(np.mean(plain))
            tokens = len(batches) * BATCH * LENGTHS[-1]
            cost = {"ms_per_token": round(1e3 * sum(batch.seconds for batch in batches) / tokens, 3)}
            for row in _found(task, batches, generator):
                yield about | {"method": name} | row | {"nll_shift": round(shift, 4)} | cost


def _written(writer: ModelWriter, name: str, prompts: Any, generator: np.random.Generator) -> Written:
    seed, words = int(generator.integers(2**62)), generator.integers(0, 2**64, len(prompts), dtype=np.uint64)
    mark = TextMark(Secret(generator.bytes(32)))
    detector: Any = mark if name == OURS else scheme(name, writer.vocabulary, generator)
    started = time.process_time()
    if name == OURS:
        torch.manual_seed(seed)
        options = writer.options(prompts, LENGTHS[-1])
        sequences = LanguageMark(writer.model, mark).generate(words.tolist(), input_ids=prompts, **options).sequences
    else:
        sequences = writer.generate(prompts, LENGTHS[-1], seed, detector.config())
    seconds = time.process_time() - started
    return Written(sequences[:, PROMPT:].numpy(), detector, seconds, float(writer.laws_of(sequences)[0].mean()))


def _found(task: Task, batches: list[Written], generator: np.random.Generator) -> Iterator[Row]:
    """Yield the rates of texts that are found: by length, by edit of the longest, and of human text."""
    for length in LENGTHS:
        values = [_p_value(batch, row[:length]) for batch in batches for row in batch.replies]
        yield {"text": f"{length} tokens"} | _row(values)
    for edit in ("substitute(0.1)", "substitute(0.3)", "delete(0.2)", "swap(0.1)"):
        values = [
            _p_value(batch, EDITS[edit](row, task.strangers, generator)) for batch in batches for row in batch.replies
        ]
        yield {"text": f"{LENGTHS[-1]} tokens, {edit}"} | _row(values)
    places = generator.integers(0, len(task.strangers) - LENGTHS[-1], len(batches) * BATCH * HUMAN)
    passages = [task.strangers[place : place + LENGTHS[-1]] for place in places.tolist()]
    values = [_p_value(batches[i % len(batches)], passage) for i, passage in enumerate(passages)]
    yield {"text": f"{LENGTHS[-1]} tokens of human text"} | _row(values)


def _p_value(batch: Written, tokens: Tokens) -> tuple[float, float]:
    """Return the p-value, 1 of what is too short, and seconds of processor time."""
    started = time.process_time()
    seen: Detection | NotExamined = batch.detector.detect(tokens)
    return (1.0 if isinstance(seen, NotExamined) else seen.p_value), time.process_time() - started


def _row(values: list[tuple[float, float]]) -> Row:
    seconds = [{"s": each} for _, each in values]
    return rate("found", (p <= ALPHA for p, _ in values)) | {"detect_ms": round(1e3 * mean(seconds, "s"), 1)}
