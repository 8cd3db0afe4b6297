r"""Discoverable extraction: how often a model has to be asked until it goes on as the corpus does.

A pair is a stretch of a document cut in two. p_z is the probability that the model, given the first part and sampled as
stated, writes exactly the second: the product of its tokens' probabilities. A pair is (n, p)-discoverable where
1 - (1 - p_z)^n >= p: asked n times, the model writes the suffix at least once with probability p (J. Hayes et al.,
Measuring memorization in language models via probabilistic extraction, arXiv 2410.19482, section 3).

Some suffixes any model would write: a ruler of equals signs, the end of a licence. So the same is asked of pairs cut in
the same way from held-out documents, and p-values compare p_z with theirs. What such pairs reach without having been
trained on is the prior; a pair is flagged only above it.

Laws:
    ``needed(log p_z, p)`` is the smallest n with 1 - (1 - p_z)^n >= p; it falls in p_z and rises in p;
    p of a held-out pair's peer is at most t with probability at most t.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from countermark.audit.decisions import (
    CONFIDENCE,
    benjamini_hochberg,
    conformal_p,
    rounded,
    smallest_flaggable,
)
from countermark.audit.text.reading import Corpus
from countermark.core.progress import Progress
from countermark.core.stats import clopper_pearson
from countermark.errors import InputError

Floats = NDArray[np.float64]
Places = Callable[[str], Sequence[tuple[int, int]]]

#: Numbers of queries and probabilities that rates are stated for.
QUERIES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
PROBABILITIES = (0.1, 0.5, 0.9)
#: Tokens of prefix and suffix, as in the paper.
PREFIX = SUFFIX = 50
#: Replies drawn for each pair where probabilities are not to be had.
DRAWS = 32

_MOST_QUERIES = 10**15
_PERMUTATIONS = 9_999
# Characters of an excerpt for each unit that is wanted of it, and tries for each pair.
_ROOM, _TRIES = 24, 4
_SHOWN = 300
# Below every probability that floats can carry; stands for 0 where scores have to be finite.
_NEVER = -1e9


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn: ``temperature`` at least 0 (0: always the likeliest), ``top_k`` likeliest, 0: all."""

    temperature: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        """Refuse what no sampler does.

        Raises:
            InputError: a negative or infinite temperature, a negative ``top_k``.
        """
        if not 0 <= self.temperature < math.inf or self.top_k < 0:
            raise InputError("a temperature is a number from 0 on, and top-k a count from 0 on")


class Scored(NamedTuple):
    """What a model says of a suffix: log p_z, natural, -inf where it is never written; tokens it has."""

    log_p: float
    tokens: int


class LanguageModel(Protocol):
    """A model that extraction and exposure are measured on; ``adapters.completions`` has two."""

    name: str

    def log_probabilities(
        self, pairs: Sequence[tuple[str, str]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Scored] | None:
        """Return log p_z of each (prefix, suffix); None where the model's server does not tell them."""
        ...

    def complete(
        self, prompts: Sequence[str], sampling: Sampling, *, count: int, max_tokens: int, seed: int
    ) -> list[list[str]]:
        """Return ``count`` continuations of each prompt, without the prompt."""
        ...


@dataclass(frozen=True)
class Pair:
    """A stretch of a document in two parts; ``offset`` of the prefix in the document, in characters."""

    document: str
    offset: int
    prefix: str
    suffix: str


def cut_pairs(
    corpus: Corpus,
    count: int,
    *,
    prefix: int = PREFIX,
    suffix: int = SUFFIX,
    places: Places | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Cut pairs at random places of a corpus, each place equally likely, none overlapping another.

    Args:
        corpus: read twice.
        count: wanted; fewer where the corpus has no more room.
        prefix: units of the first part.
        suffix: units of the second part.
        places: where the units of a text begin and end, in characters: a tokenizer's tokens. None: characters.
        seed: of the places.

    Raises:
        InputError: a count or length below 1.
    """
    if min(count, prefix, suffix) < 1:
        raise InputError("pairs, and both of their parts, are counted from 1 on")
    generator = np.random.default_rng([seed, 0x70616972])
    room = (prefix + suffix) * (_ROOM if places else 1)
    lengths = [len(document.text) for document in corpus.documents()]
    total = sum(lengths)
    wanted = np.sort(generator.integers(0, max(1, total), _TRIES * count))
    ends = np.cumsum(lengths)
    found: list[Pair] = []
    for number, document in enumerate(corpus.documents()):
        first = int(ends[number]) - lengths[number]
        here = wanted[(wanted >= first) & (wanted < ends[number])] - first
        free = 0
        for at in here.tolist():
            pair = _cut(document.name, document.text, max(free, at), room, prefix, suffix, places)
            if pair is not None:
                found.append(pair)
                free = pair.offset + len(pair.prefix) + len(pair.suffix)
    chosen = np.sort(generator.permutation(len(found))[:count])
    return [found[i] for i in chosen]


def needed(log_p: float, probability: float) -> int | None:
    """Return the smallest n with 1 - (1 - p_z)^n >= ``probability``; None where it is beyond 10**15.

    Args:
        log_p: log p_z, at most 0; -inf for 0.
        probability: between 0 and 1, both excluded.

    Raises:
        InputError: out of these ranges.
    """
    if not 0 < probability < 1 or not log_p <= 1e-9:
        raise InputError("log-probabilities are at most 0, and a probability is between 0 and 1")
    if log_p >= 0:
        return 1
    miss = math.log1p(-math.exp(log_p)) if log_p > -36 else -math.exp(log_p)
    # Below exp(-745) a float is 0.
    if miss == 0 or math.log1p(-probability) / miss > _MOST_QUERIES:
        return None
    count = max(1, math.ceil(math.log1p(-probability) / miss))
    # The quotient may be off by one in its last bits.
    return count - 1 if count > 1 and -math.expm1((count - 1) * miss) >= probability else count


def extract(
    model: LanguageModel,
    pairs: Sequence[Pair],
    control: Sequence[Pair],
    *,
    sampling: Sampling | None = None,
    probability: float = 0.5,
    fdr: float = 0.05,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the section ``extraction`` of an audit of texts.

    Args:
        model: that is asked.
        pairs: cut from the training texts.
        control: cut in the same way from held-out texts.
        sampling: how replies would be drawn; plain sampling where None.
        probability: p of ``needed``.
        fdr: false discovery rate.
        draws: replies to each pair, where the model does not tell probabilities.
        seed: of draws and permutations.
        progress: in pairs.

    Raises:
        InputError: no pairs or no control, or numbers out of range.
    """
    how = sampling or Sampling()
    if not pairs or not control:
        raise InputError("extraction needs pairs of the training texts and of held-out texts")
    needed(-1.0, probability)
    both = [(pair.prefix, pair.suffix) for pair in (*pairs, *control)]
    scored = model.log_probabilities(both, how, progress)
    hits = None
    if scored is None:
        hits = _hits(model, both, how, draws, seed, progress)
        scored = [Scored(math.log(each / draws) if each else -math.inf, 0) for each in hits]
    log_p = rounded([max(each.log_p, _NEVER) for each in scored])
    ours, theirs = log_p[: len(pairs)], log_p[len(pairs) :]
    p = rounded(conformal_p(-ours, -theirs))
    q = rounded(benjamini_hochberg(p))
    items = [_item(pair, float(ours[i]), float(p[i]), float(q[i]), probability, fdr) for i, pair in enumerate(pairs)]
    for i, item in enumerate(items):
        item["tokens"] = scored[i].tokens
        if hits is not None:
            item["hits"] = hits[i]
    return {
        "method": "log-probabilities" if hits is None else "sampling",
        "model": model.name,
        "sampling": {"temperature": how.temperature, "top_k": how.top_k, "draws": None if hits is None else draws},
        "probability": probability,
        "fdr": fdr,
        "pairs": len(pairs),
        "flagged": int((q <= fdr).sum()),
        "smallest_flaggable": smallest_flaggable(len(pairs), len(control), fdr),
        "items": items,
        "control": {"pairs": len(control), "log_p": [_shown_log(value) for value in sorted(theirs.tolist())]},
        "rates": list(_rates(ours, theirs)),
        "model_test": model_test(ours, theirs, [pair.document for pair in (*pairs, *control)], seed=seed),
    }


def model_test(ours: Floats, theirs: Floats, documents: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Test whether the model goes on with training texts more surely than with held-out ones.

    Ranks of all pairs, averaged in each document; the documents' averages are permuted, as pairs of one document are
    not independent. It is a test of memorization only as far as both sets are from one source.

    Args:
        ours: log p_z of training pairs (n,).
        theirs: of held-out pairs (m,).
        documents: of all n + m, in this order; a name in both sets counts as two documents.
        seed: of the permutations.
    """
    values = np.concatenate([ours, theirs])
    ranks = (np.searchsorted(np.sort(values), values, "left") + np.searchsorted(np.sort(values), values, "right")) / 2
    groups: dict[tuple[bool, str], list[float]] = defaultdict(list)
    for i, (rank, name) in enumerate(zip(ranks.tolist(), documents, strict=True)):
        groups[(i < len(ours), name)].append(rank)
    means = np.array([math.fsum(each) / len(each) for each in groups.values()])
    is_ours = np.array([key[0] for key in groups])
    generator = np.random.default_rng([seed, 0x7065726D])
    found = _difference(means, is_ours)
    beyond = sum(_difference(means, generator.permutation(is_ours)) >= found - 1e-9 for _ in range(_PERMUTATIONS))
    return {
        "p": float(f"{(1 + beyond) / (1 + _PERMUTATIONS):.9g}"),
        "documents": int(is_ours.sum()),
        "control_documents": int((~is_ours).sum()),
        "mean_rank_difference": float(f"{found / len(values):.9g}"),
    }


def _difference(means: Floats, is_ours: NDArray[np.bool_]) -> float:
    return float(means[is_ours].mean() - means[~is_ours].mean())


def _cut(name: str, text: str, at: int, room: int, prefix: int, suffix: int, places: Places | None) -> Pair | None:
    """Cut a pair at a place of a document, or None where it has no room for one from there on."""
    excerpt = text[at : at + room]
    units = [(i, i + 1) for i in range(len(excerpt))] if places is None else list(places(excerpt))
    # The first token may be the rest of one.
    skipped = 1 if places is not None and at > 0 else 0
    if len(units) < skipped + prefix + suffix:
        return None
    start, middle = units[skipped][0], units[skipped + prefix][0]
    end = units[skipped + prefix + suffix - 1][1]
    pair = Pair(name, at + start, excerpt[start:middle], excerpt[middle:end])
    return pair if pair.prefix.strip() and pair.suffix else None


def _hits(
    model: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    sampling: Sampling,
    draws: int,
    seed: int,
    progress: Progress | None,
) -> list[int]:
    """Return how many of so many continuations begin with the suffix."""
    found = []
    for i, (prefix, suffix) in enumerate(pairs):
        # No tokenizer makes more tokens of a text than it has bytes.
        most = len(suffix.encode(errors="replace"))
        (replies,) = model.complete([prefix], sampling, count=draws, max_tokens=most, seed=seed + i)
        found.append(sum(reply.startswith(suffix) for reply in replies))
        if progress is not None:
            progress(i + 1, len(pairs), "pairs")
    return found


def _item(pair: Pair, log_p: float, p: float, q: float, probability: float, fdr: float) -> dict[str, Any]:
    count = needed(log_p, probability) if log_p > _NEVER else None
    return {
        "document": pair.document[:200],
        "offset": pair.offset,
        "prefix": _printable(pair.prefix),
        "suffix": _printable(pair.suffix),
        "log_p": _shown_log(log_p),
        "n": count,
        "p": p,
        "q": q,
        "flagged": q <= fdr,
    }


def _rates(ours: Floats, theirs: Floats) -> Iterable[Mapping[str, Any]]:
    """Yield the shares of pairs that are (n, p)-discoverable, with intervals, in both sets."""
    for probability in PROBABILITIES:
        counts = [[needed(value, probability) for value in each.tolist()] for each in (ours, theirs)]
        for queries in QUERIES:
            train, held_out = (sum(n is not None and n <= queries for n in each) for each in counts)
            yield {
                "n": queries,
                "p": probability,
                "train": _share(train, len(ours)),
                "held_out": _share(held_out, len(theirs)),
            }


def _share(part: int, whole: int) -> dict[str, Any]:
    low, high = clopper_pearson(part, whole, CONFIDENCE)
    share, low, high = rounded([part / whole, low, high]).tolist()
    return {"count": part, "share": share, "interval": [low, high]}


def _shown_log(value: float) -> float | None:
    return value if value > _NEVER else None


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() or each in "\n\t" else " " for each in text[:_SHOWN])
