"""Does the sampling mark change what a model says, and what does it cost? Beside the watermarks of transformers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks.text_trials import LICENSEES, Row, Task, counted
from benchmarks.text_writers import PROMPT, ModelWriter
from countermark.core.keys import Secret
from countermark.core.payload import permute_many
from countermark.marking.text.codewords import CHUNKS, SYMBOLS, evidence
from countermark.marking.text.foreign.green_list import GreenList
from countermark.marking.text.foreign.synthid import SynthId
from countermark.marking.text.generation import LanguageMark
from countermark.marking.text.sampling import TextMark

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]

OURS, PLAIN = "text mark", "none"
LEFT, SELF, SYNTHID = "KGW lefthash", "KGW selfhash", "SynthID"
LENGTH, BATCH = 200, 64
# Batches of made-up laws for one of the model, which takes as long.
LAW_BATCHES = 12
# Rare tokens are counted together until so many draws are expected.
EXPECTED = 20
# Sizes of a realistic model for times: 42 million weights.
VOCABULARY, ROWS, STEPS = 32_000, 8, 32


def scheme(name: str, vocabulary: int, generator: np.random.Generator) -> GreenList | SynthId:
    """Return a watermark of transformers with a fresh key and its usual numbers."""
    if name == SYNTHID:
        return SynthId(name=name, ngram_len=5, keys=tuple(generator.integers(1, 2**31, 30).tolist()))
    kinds = {LEFT: ("lefthash", 1), SELF: ("selfhash", 4)}
    key, (seeding, width) = int(generator.integers(10**6, 2**31)), kinds[name]
    return GreenList(name=name, vocabulary=vocabulary, hashing_key=key, seeding_scheme=seeding, context_width=width)


def distortion(task: Task) -> Iterator[Row]:
    """Compare choices over keys with their laws, and the likelihood of marked text with that of unmarked text."""
    yield from _marginals(task)
    yield from _likelihoods(task)


def overhead(task: Task) -> Iterator[Row]:
    """Measure processor time per token of a realistic model without and with marks, in turns; and the scan."""
    generator = task.generator()
    model = _realistic()
    prompts = torch.from_numpy(generator.integers(1, VOCABULARY, (ROWS, PROMPT)))
    words = generator.integers(0, 2**64, ROWS, dtype=np.uint64).tolist()
    plug = LanguageMark(model, TextMark(Secret(generator.bytes(32))))
    options: dict[str, Any] = {
        "attention_mask": torch.ones_like(prompts),
        "do_sample": True,
        "top_k": 0,
        "min_new_tokens": STEPS,
        "max_new_tokens": STEPS,
        "pad_token_id": 0,
    }
    slow = {name: scheme(name, VOCABULARY, generator).config() for name in (LEFT, SELF, SYNTHID)}
    ways: dict[str, Callable[[], object]] = {
        PLAIN: lambda: model.generate(prompts, **options),
        OURS: lambda: plug.generate(words, input_ids=prompts, **options),
        LEFT: lambda: model.generate(prompts, watermarking_config=slow[LEFT], **options),
        SELF: lambda: model.generate(prompts, watermarking_config=slow[SELF], **options),
        SYNTHID: lambda: model.generate(prompts, watermarking_config=slow[SYNTHID], **options),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for turn in counted(range(task.count("turns")), "overhead"):
        for name, way in ways.items():
            if turn % 5 == 0 or name not in (SELF, SYNTHID):
                times[name].append(_seconds(way))
    plain = np.array(times[PLAIN])
    for name, each in times.items():
        ratios = np.array(each) / plain[: len(each) * (len(plain) // len(each)) : len(plain) // len(each)][: len(each)]
        low, high = np.quantile(ratios, (0.25, 0.75))
        yield {
            "method": name,
            "turns": len(each),
            "ms_per_token": round(1e3 * float(np.median(each)) / STEPS / ROWS, 3),
            "ratio": round(float(np.median(ratios)), 3),
            "ratio_quartiles": f"{low:.3f}-{high:.3f}",
        }
    yield from _scans(generator)


def _marginals(task: Task) -> Iterator[Row]:
    """Draw tokens of the model's laws in fresh contexts under fresh keys, for random words."""
    generator, draws = task.generator(1), task.count("draws")
    writer = task.writer(None)
    logits = _some_logits(writer, generator, contexts=10)
    tests = []
    for law in counted(list(logits), "marginals"):
        counts = np.zeros(len(law))
        for _ in range(draws // len(logits) // 1000):
            mark, contexts = TextMark(Secret(generator.bytes(32))), generator.integers(0, 2**31, (1000, 2))
            words = generator.integers(0, 2**64, 1000, dtype=np.uint64)
            chosen = [
                mark.choose(np.tile(law, (100, 1)), contexts[i : i + 100], words[i : i + 100])
                for i in range(0, 1000, 100)
            ]
            counts += np.bincount(np.concatenate(chosen), minlength=len(law))
        tests.append(_chi_square(counts, np.exp(law.astype(np.float64))))
    total, freedom = (sum(test[i] for test in tests) for i in (0, 1))
    yield {
        "measure": "next token over keys",
        "method": OURS,
        "draws": int(sum(test[2] for test in tests)),
        "laws": len(tests),
        "chi_square": round(total, 1),
        "freedom": freedom,
        "p": float(stats.chi2.sf(total, freedom)),
        "smallest_p_of_a_law": float(min(stats.chi2.sf(test[0], test[1]) for test in tests)),
    }


def _likelihoods(task: Task) -> Iterator[Row]:
    """Write as many texts with each method from the same prompts, at temperature 1; nats under the unmarked model."""
    generator, writer = task.generator(2), task.writer(None)
    batches = {PLAIN: task.count("batches"), OURS: task.count("batches")}
    batches |= {LEFT: max(1, batches[PLAIN] // 4), SYNTHID: max(1, batches[PLAIN] // 20)}
    held: dict[str, list[Pair]] = defaultdict(list)
    for turn in counted(range(batches[PLAIN]), "likelihoods"):
        prompts = writer.draw_prompts(BATCH, generator)
        for name, most in batches.items():
            if turn < most:
                held[name].append(writer.laws_of(written(writer, name, prompts, LENGTH, generator)))
    yield from _shifts("model", held)
    laws, generator = task.laws(3.0), task.generator(3)
    held = defaultdict(list)
    for _ in counted(range(LAW_BATCHES * batches[PLAIN]), "likelihoods of laws"):
        words = generator.integers(0, 2**64, BATCH, dtype=np.uint64)
        for name in (PLAIN, OURS):
            mark = None if name == PLAIN else TextMark(Secret(generator.bytes(32)))
            held[name].append(laws.laws_of(laws.rows(words, LENGTH, generator, mark)))
    yield from _shifts("laws", held)


def _shifts(source: str, held: dict[str, list[Pair]]) -> Iterator[Row]:
    """Yield nats a token by method, and by how much they differ from unmarked ones of the same prompts.

    ``beyond_entropy`` compares tokens with the entropies of their own laws, which leaves out what texts are about.
    """
    nats = {name: np.concatenate([own.mean(axis=1) for own, _ in pairs]) for name, pairs in held.items()}
    for name, own in nats.items():
        over = np.concatenate([(chosen - wanted).mean(axis=1) for chosen, wanted in held[name]])
        shift = own - nats[PLAIN][: len(own)]
        yield {
            "measure": "nats a token of the unmarked model",
            "source": source,
            "method": name,
            "texts": len(own),
            "tokens": len(own) * LENGTH,
            "nats": round(float(own.mean()), 4),
            "shift": round(float(shift.mean()), 4),
            "shift_se": round(float(shift.std(ddof=1) / np.sqrt(len(shift))), 4),
            "beyond_entropy": round(float(over.mean()), 4),
            "beyond_entropy_se": round(float(over.std(ddof=1) / np.sqrt(len(over))), 4),
        }


def written(writer: ModelWriter, name: str, prompts: Any, length: int, generator: np.random.Generator) -> Any:
    """Return prompts with replies by one method under a fresh key."""
    seed = int(generator.integers(2**62))
    if name == PLAIN:
        return writer.generate(prompts, length, seed)
    if name != OURS:
        return writer.generate(prompts, length, seed, scheme(name, writer.vocabulary, generator).config())
    torch.manual_seed(seed)
    plug = LanguageMark(writer.model, TextMark(Secret(generator.bytes(32))))
    words = generator.integers(0, 2**64, len(prompts), dtype=np.uint64).tolist()
    return plug.generate(words, input_ids=prompts, **writer.options(prompts, length)).sequences


def _chi_square(counts: NDArray[np.float64], law: NDArray[np.float64]) -> tuple[float, int, float]:
    """Return Pearson's statistic, its degrees of freedom and the draws; rare tokens are one class."""
    expected = law / law.sum() * counts.sum()
    common = expected >= EXPECTED
    seen = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    keep = wanted > 0
    return float(((seen - wanted)[keep] ** 2 / wanted[keep]).sum()), int(keep.sum()) - 1, float(counts.sum())


def _some_logits(writer: ModelWriter, generator: np.random.Generator, contexts: int) -> NDArray[np.float32]:
    prompts = writer.draw_prompts(contexts, generator)
    with torch.no_grad():
        return np.asarray(torch.log_softmax(writer.model(prompts).logits[:, -1].float(), dim=-1).numpy())


def _realistic() -> Any:
    """Return a model of 42 million random weights, in single precision."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(8)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def _scans(generator: np.random.Generator) -> Iterator[Row]:
    """Time the search of all licensees for a document, and the permutation that a key needs once."""
    table = generator.gamma(20.0, size=(CHUNKS, SYMBOLS))
    words, key = generator.integers(0, 2**64, LICENSEES, dtype=np.uint64), Secret(generator.bytes(32))
    scans = {
        "scan of a document": lambda: evidence(table, words).max(),
        "words under a key, once": lambda: permute_many(key, words),
    }
    for name, scan in scans.items():
        times = [_seconds(scan) for _ in range(9)]
        yield {"method": name, "turns": 9, "licensees": LICENSEES, "ms": round(1e3 * float(np.median(times)), 1)}
    mark = TextMark(key)
    for length in (200, 1000):
        tokens = generator.integers(0, VOCABULARY, length)
        times = [_seconds(lambda tokens=tokens: mark.look(tokens)) for _ in range(9)]  # type: ignore[misc]
        yield {"method": f"reading {length} tokens", "turns": 9, "ms": round(1e3 * float(np.median(times)), 1)}


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
