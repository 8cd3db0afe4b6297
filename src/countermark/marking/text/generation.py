"""The sampling mark inside a language model of transformers: the last step of its sampler.

    plug = LanguageMark(model, TextMark(secret))
    replies = plug.generate([word], **tokenizer(prompt, return_tensors="pt"))

Temperature, top-k, top-p and grammars come first, so that the mark chooses among what they leave, with the
probabilities that they leave. Every row of a batch may have a word of its own. A context that occurred before in a row,
prompt included, is sampled afresh by the model's own generator, so that a conversation, whose earlier turns are the
prompt of later ones, never uses a context twice.

A reply comes with a *receipt* that says how much mark there is: nothing where a model is asked to take the likeliest
token always, little where it is sure of what it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require
from countermark.marking.text.prf import CONTEXT
from countermark.marking.text.sampling import TextMark

Floats = NDArray[np.float64]

MARKED, UNMARKED = "marked", "unmarked"
# What the predicted power of a receipt is for: this many licensees, and this chance of naming a wrong one.
LICENSEES, LEVEL = 1_000_000, 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a reply can prove.

    Attributes:
        status: ``marked`` or ``unmarked``.
        method, key_id: of the mark.
        contexts: new contexts, in which the key chose.
        repeated: contexts that were sampled afresh.
        entropy: the sum over marked contexts, in nats, of what the model left open.
        power: about the probability that the whole reply, unaltered, identifies its licensee among ``LICENSEES`` with a
            chance of ``LEVEL`` of naming a wrong one.
    """

    status: str
    method: str
    key_id: str
    contexts: int
    repeated: int
    entropy: float
    power: float


@dataclass(frozen=True, slots=True)
class Replies:
    """Tokens (rows, n) as ``model.generate`` returns them, prompts included, and a receipt for each row."""

    sequences: Any
    receipts: list[Receipt]


class LanguageMark:
    """Runs a causal language model with the sampling mark.

    Args:
        model: anything with transformers' ``generate``, which takes a ``watermarking_config``.
        mark: of the model's key.
    """

    def __init__(self, model: Any, mark: TextMark) -> None:
        self._model, self._mark = model, mark

    def generate(self, words: Sequence[int], **options: Any) -> Replies:
        """Generate a reply to every row of ``input_ids``, each with the word of its row.

        Args:
            words: 64-bit words, as many as rows.
            options: of ``model.generate``. ``do_sample=False`` gives the likeliest replies, unmarked; where nothing is
                said, replies are sampled.

        Raises:
            InputError: another number of words; beams, which the mark cannot ride on.
            MissingExtra: without torch and transformers.
        """
        rows = len(options["input_ids"])
        if len(words) != rows:
            raise InputError("{rows} prompts need as many words, not {words}", rows=rows, words=len(words))
        if options.get("num_beams", 1) > 1 or options.get("num_return_sequences", 1) > 1:
            raise InputError("a marked reply is sampled once for each prompt, without beams")
        counts = [_Count() for _ in words]
        if options.setdefault("do_sample", True):
            options["watermarking_config"] = _config(self._mark, np.array(words, dtype=np.uint64), counts)
        sequences = self._model.generate(**options)
        return Replies(sequences, [count.receipt(self._mark) for count in counts])


@dataclass(slots=True)
class _Count:
    """What is known of one row while it is being written."""

    used: set[tuple[int, ...]] = field(default_factory=set)
    repeated: int = 0
    entropy: float = 0.0
    chosen: list[float] = field(default_factory=list)

    def receipt(self, mark: TextMark) -> Receipt:
        power = predicted_power(np.array(self.chosen))
        return Receipt(
            status=MARKED if self.entropy > 0 else UNMARKED,
            method=mark.METHOD,
            key_id=mark.key_id,
            contexts=len(self.chosen),
            repeated=self.repeated,
            entropy=round(self.entropy, 3),
            power=round(power, 4),
        )


def predicted_power(probabilities: Floats) -> float:
    """Return about the probability that tokens chosen with these probabilities identify their licensee.

    The score of a token of probability p is -ln(1 - U ** p): its mean is the harmonic number of 1 / p, its variance
    that of the largest of 1 / p exponential variables. Sums are taken for normal, and innocents' evidence for a sum of
    as many plain scores.
    """
    coded = probabilities.size * 16 / 19
    if coded < 1:
        return 0.0
    inverse = 1 / np.clip(probabilities, 1e-9, 1.0)
    mean, variance = (float(part.mean()) * coded for part in (_harmonic(inverse), _spread(inverse)))
    # Wilson and Hilferty's approximation of a Gamma quantile, at LEVEL / LICENSEES: 5.998 standard deviations.
    threshold = coded * (1 - 1 / (9 * coded) + 5.998 / math.sqrt(9 * coded)) ** 3
    return 0.5 * math.erfc((threshold - mean) / math.sqrt(2 * max(variance, 1e-12)))


def _harmonic(x: Floats) -> Floats:
    """Return harmonic numbers of x >= 1: the asymptotic series at x + 6, and six steps back."""
    far = x + 6
    series = np.log(far) + np.euler_gamma + 1 / (2 * far) - 1 / (12 * far**2) + 1 / (120 * far**4)
    return np.asarray(series - sum(1 / (x + i) for i in range(1, 7)))


def _spread(x: Floats) -> Floats:
    """Return the variance of the largest of x exponential variables, the sum of 1 / k**2 up to x >= 1."""
    far = x + 6
    series = np.pi**2 / 6 - 1 / far + 1 / (2 * far**2) - 1 / (6 * far**3)
    return np.asarray(series - sum(1 / (x + i) ** 2 for i in range(1, 7)))


def _config(mark: TextMark, words: NDArray[np.uint64], counts: list[_Count]) -> Any:
    """Return what tells ``generate`` to build our sampler and to put it behind all others."""
    torch = require("torch", "text")
    transformers = require("transformers", "text")

    class Sampler(transformers.LogitsProcessor):  # type: ignore[misc, name-defined]
        """Leaves every row with a new context one token to take: the one that the key chooses."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            tokens = input_ids.cpu().numpy()
            fresh = np.array([_is_new(row, count) for row, count in zip(tokens, counts, strict=True)])
            if not fresh.any():
                return scores
            places = np.flatnonzero(fresh)
            logs = torch.log_softmax(scores[places].float(), dim=-1).cpu().numpy()
            chosen = mark.choose(logs, tokens[places, -CONTEXT:], words[places])
            _note(logs, chosen, [counts[place] for place in places])
            scores = scores.clone()
            scores[places] = -math.inf
            scores[places, chosen] = 0.0
            return scores

    class Config(transformers.generation.configuration_utils.BaseWatermarkingConfig):  # type: ignore[misc, name-defined]
        """Holds no values that could be written to a file."""

        def validate(self) -> None:
            """Have nothing to check: ``LanguageMark`` did."""

        def construct_processor(self, vocab_size: int, device: Any) -> Any:
            """Return the sampler."""
            return Sampler()

        def __deepcopy__(self, memo: Any) -> Any:
            return self

    return Config()


def _is_new(row: NDArray[np.int64], count: _Count) -> bool:
    """Say whether a row's last context is its first of the kind, and remember it; the first time, the prompt's too."""
    if len(row) < CONTEXT:
        return False
    if not count.used:
        count.used = {tuple(row[i : i + CONTEXT].tolist()) for i in range(len(row) - CONTEXT)}
    context = tuple(row[-CONTEXT:].tolist())
    if context in count.used:
        count.repeated += 1
        return False
    count.used.add(context)
    return True


def _note(logs: NDArray[np.float32], chosen: NDArray[np.int64], counts: list[_Count]) -> None:
    """Note entropies, and probabilities of what was chosen."""
    probabilities = np.exp(logs.astype(np.float64))
    entropies = -(probabilities * np.where(probabilities > 0, logs, 0.0)).sum(axis=1)
    for row, token, entropy, count in zip(probabilities, chosen.tolist(), entropies.tolist(), counts, strict=True):
        count.entropy += max(0.0, entropy)
        count.chosen.append(float(row[token]))
