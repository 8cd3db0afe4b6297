"""How often human text is taken for ours, by genre and length, and how often marked text is found at the same level.

Every pair of a passage and a fresh key gives three p-values of the whole passage: of the detect contexts' sum, which is
exact; of the best word; and of both, by Fisher's product. The best word's is computed here by Fourier transforms on a
finer grid than the product's, whose p-value is therefore never smaller; the ``product`` rows are its own, on fewer
pairs, with its search for the best span and the best of a million registered words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.report import machine, versions
from benchmarks.text_trials import ALPHA, Register, Row, Task, counted, looked, rate
from benchmarks.text_writers import Tokens, write_texts
from countermark.core.keys import Secret
from countermark.core.stats import holm
from countermark.marking.text.codewords import CHUNKS, SYMBOLS
from countermark.marking.text.prf import CONTEXT, NO_CHUNK, NO_SYMBOL, Prf
from countermark.marking.text.sampling import TextMark

Floats = NDArray[np.float64]

#: Tokens of a passage, and the share of the pairs that have so many.
LENGTHS = {50: 0.4, 100: 0.3, 200: 0.18, 400: 0.08, 1000: 0.04}
LEVELS = (1e-2, 1e-3, 1e-4)
QUANTILES = (1e-4, 1e-3, 1e-2, 0.05, 0.25, 0.5, 0.75, 0.95)
# Keys that a passage is read under.
KEYS = 25
# Tokens of marked texts.
FOUND = (50, 100, 200, 400)
PARTS = ("detect", "best word", "whole")
_CELLS = 8192


def calibration(task: Task) -> Iterator[Row]:
    """Read human text under fresh keys; print tests by genre, write the file by genre and length."""
    generator, pairs = task.generator(), task.count("pairs")
    held: dict[str, dict[int, Floats]] = {}
    for genre, tokens in task.human.items():
        held[genre] = {}
        for length, part in LENGTHS.items():
            passages = max(2, round(pairs * part / len(task.human) / KEYS))
            if length <= len(tokens):
                places = generator.integers(0, len(tokens) - length + 1, passages)
                done = counted(places.tolist(), f"{genre}, {length} tokens")
                values = [pair_values(tokens[place : place + length], length, generator) for place in done]
                held[genre][length] = np.concatenate(values)
    yield from _tests(held)
    for genre in task.human:
        yield from _product(task, genre, generator)
    _keep(task, "human", list(_buckets(held)))


def lengths(task: Task) -> Iterator[Row]:
    """Look for marked text of several lengths, at the false rates that p-values promise."""
    generator, kept = task.generator(), []
    for nats in (1.6, 3.0):
        writer = task.writer(nats)
        replies = write_texts(writer, task.count("found"), FOUND[-1], generator)
        about = {"nats": round(float(np.mean([reply.nats for reply in replies])), 3)}
        for length in FOUND:
            seen = [looked(reply.mark.look(reply.tokens[:length])) for reply in replies]
            values = np.array([each[0].p_value if each else 1.0 for each in seen])
            rates = {f"{level:g}": _rate(values < level) for level in (*LEVELS, 1e-6)}
            kept.append(about | {"tokens": length, "texts": len(values), "found_rates": rates})
            yield (
                about
                | {"tokens": length, "texts": len(values)}
                | {f"found_{level}": round(each["rate"], 4) for level, each in rates.items()}
            )
    _keep(task, "marked", kept)


def pair_values(passage: Tokens, length: int, generator: np.random.Generator) -> Floats:
    """Return the p-values (KEYS, 3) of one passage of about ``length`` tokens under fresh keys."""
    grams = np.lib.stride_tricks.sliding_window_view(passage, CONTEXT + 1)
    _, first = np.unique(grams[:, :CONTEXT], axis=0, return_index=True)
    sums = [_sums(grams[first], Prf(Secret(generator.bytes(32)))) for _ in range(KEYS)]
    totals, counts, best = (np.array(each) for each in zip(*sums, strict=True))
    detect = np.where(counts[:, CHUNKS] > 0, stats.gamma.sf(totals, np.maximum(counts[:, CHUNKS], 1)), 1.0)
    word = _best_tails(counts[:, :CHUNKS], best, length)
    product = detect * word
    with np.errstate(divide="ignore", invalid="ignore"):
        fisher = np.where(product > 0, product * (1 - np.log(product)), 0.0)
    return np.column_stack([detect, word, np.where(counts[:, CHUNKS] > 0, fisher, word)])


def _sums(grams: Tokens, prf: Prf) -> tuple[float, list[int], float]:
    """Return the detect contexts' sum, the contexts of every chunk and of none, and the best word's evidence."""
    seeds, chunks = prf.seeds(grams[:, :CONTEXT])
    coded = np.flatnonzero(chunks < NO_CHUNK)
    coded = coded[np.argsort(chunks[coded], kind="stable")]
    plain = np.flatnonzero(chunks == NO_CHUNK)
    counts = np.bincount(chunks, minlength=CHUNKS + 1)
    every = np.broadcast_arrays(seeds[coded, None], np.arange(SYMBOLS), grams[coded, None, CONTEXT])
    starts = np.concatenate([[0], np.cumsum(counts[:CHUNKS])])[:CHUNKS][counts[:CHUNKS] > 0]
    best = np.add.reduceat(_scores(prf.numbers(*every)), starts, axis=0).max(axis=1).sum() if len(coded) else 0.0
    none = np.full(len(plain), NO_SYMBOL)
    total = _scores(prf.numbers(seeds[plain], none, grams[plain, CONTEXT])).sum()
    return float(total), counts.tolist(), float(best)


def _scores(bits: NDArray[np.uint32]) -> Floats:
    return np.asarray(-np.log((bits + 0.5) * 2.0**-32))


def _best_tails(counts: NDArray[np.intp], best: Floats, length: int) -> Floats:
    """Bound P(the best word's evidence is as large) for rows of counts (n, 8), on one grid for all of a length."""
    step, laws = _laws(length)
    product = np.ones((len(counts), _CELLS // 2 + 1), dtype=np.complex128)
    for chunk in counts.T:
        product *= laws[np.minimum(chunk, len(laws) - 1)]
    chances = np.fft.irfft(product, n=_CELLS, axis=1)
    tails = np.cumsum(chances[:, ::-1], axis=1)[:, ::-1]
    # Each largest sum was rounded up to a cell, so what reaches ``best`` lies in its cell or above.
    cells = np.clip(np.floor(best / step), 0, _CELLS - 1).astype(np.intp)
    return np.clip(tails[np.arange(len(counts)), cells], 0.0, 1.0)


@cache
def _laws(length: int) -> tuple[float, NDArray[np.complex128]]:
    """Return the grid's step and the transforms of the laws of the largest of 256 sums of 0, 1, 2, ... scores."""
    most = int(length / 9.5 + 8 * np.sqrt(length / 9.5) + 8)
    mean = length / 9.5
    step = CHUNKS * (mean + 8 * np.sqrt(mean) + 24) / _CELLS
    edges = np.arange(_CELLS) * step
    rows = np.zeros((most + 1, _CELLS))
    rows[0, 0] = 1.0
    for count in range(1, most + 1):
        below = np.exp(SYMBOLS * np.log1p(-np.minimum(stats.gamma.sf(edges, count), 1 - 1e-16)))
        rows[count, 1:] = np.diff(below)
        rows[count, -1] += 1 - below[-1]
    return step, np.fft.rfft(rows, axis=1)


def _tests(held: dict[str, dict[int, Floats]]) -> Iterator[Row]:
    """Yield, for each genre and kind of p-value, Kolmogorov and Smirnov's test and the false rates; then of all."""
    genres = {genre: np.concatenate(list(lengths.values())) for genre, lengths in held.items()}
    rows = [_row(genre, part, values[:, i]) for genre, values in genres.items() for i, part in enumerate(PARTS)]
    for name in ("ks_p", "accident"):
        for row, value in zip(rows, holm([row[name] for row in rows]), strict=True):
            row[f"{name}_holm"] = float(value)
    yield from rows
    everything = np.concatenate(list(genres.values()))
    yield from (_row("all", part, everything[:, i]) for i, part in enumerate(PARTS))


def _row(genre: str, part: str, values: Floats) -> Row:
    # A bound may be too large, so only p-values that are too small speak against it.
    sided = "two-sided" if part == "detect" else "greater"
    test = stats.kstest(values, "uniform", alternative=sided)
    about = {"genre": genre, "p_of": part, "pairs": len(values), "ks": sided, "ks_p": float(test.pvalue)}
    return about | _below(values)


def _below(values: Floats) -> Row:
    """Return how often levels were passed, and of the smallest its interval and how likely as often if it is exact."""
    least = _rate(values < LEVELS[-1])
    return {f"p<{level:g}": _rate(values < level)["rate"] for level in LEVELS} | {
        "least_count": least["count"],
        "least_low": least["low"],
        "least_high": least["high"],
        "accident": float(stats.binom.sf(least["count"] - 1, len(values), LEVELS[-1])),
    }


def _rate(outcomes: NDArray[np.bool_]) -> Row:
    """Return a rate with Clopper and Pearson's interval, not rounded."""
    count, size = int(outcomes.sum()), len(outcomes)
    low = float(stats.beta.ppf(0.025, count, size - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(0.975, count + 1, size - count)) if count < size else 1.0
    return {"n": size, "count": count, "rate": count / size, "low": low, "high": high}


def _product(task: Task, genre: str, generator: np.random.Generator) -> Iterator[Row]:
    """Read fewer passages with the product itself: the whole, the best span, and the rule with registered words."""
    tokens = task.human[genre]
    values = []
    for _ in counted(range(task.count("traced_pairs")), f"{genre}, traced"):
        length = int(generator.choice(list(LENGTHS)))
        place = int(generator.integers(0, max(1, len(tokens) - length)))
        seen = looked(TextMark(Secret(generator.bytes(32))).look(tokens[place : place + length]))
        if seen:
            answer, named = Register(generator).trace(seen, ALPHA)
            values.append((seen[0].p_value, seen[-1].p_value, answer.p_ours or 1.0, named is not None))
    if not values:
        return
    for column, part in enumerate(("product, whole", "product, best span", "product, rule with 1e6 words")):
        yield _row(genre, part, np.array([each[column] for each in values]))
    yield {"genre": genre, "p_of": "accusations of human text"} | rate("named", (each[3] for each in values))


def _buckets(held: dict[str, dict[int, Floats]]) -> Iterator[Row]:
    for genre, lengths in held.items():
        for length, values in lengths.items():
            whole = values[:, PARTS.index("whole")]
            yield {
                "genre": genre,
                "tokens": length,
                "pairs": len(whole),
                "quantiles": {f"{q:g}": float(np.quantile(whole, q)) for q in QUANTILES},
                "false_rates": {f"{level:g}": _rate(whole < level) for level in LEVELS},
            }


def _keep(task: Task, name: str, rows: list[Row]) -> None:
    """Write rows into the calibration file, and leave in it what the other part wrote."""
    if not task.given.calibration:
        return
    path = Path(task.given.calibration)
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    about = {"name": "text_calibration", "method": TextMark.METHOD, "machine": machine(), "versions": versions()}
    path.write_text(json.dumps(held | about | {name: rows}, indent=1) + "\n", encoding="utf-8")
