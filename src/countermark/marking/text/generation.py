"""The sampling mark inside a language model of transformers: the last step of its sampler.

    plug = LanguageMark(model, TextMark(secret))
    replies = plug.generate([word], **tokenizer(prompt, return_tensors="pt"))

Temperature, top-k, top-p and grammars come first, so that the mark chooses among what they leave, with the
probabilities that they leave. Every row of a batch may have a word of its own. A context that occurred before in a row,
prompt included, is sampled afresh by the model's own generator, so that a conversation, whose earlier turns are the
prompt of later ones, never uses a context twice. Nor do several replies to one prompt under one word. A reply's first
two tokens are sampled afresh too: their contexts reach into the prompt, where whoever reads the reply alone does not
see them, and without them each prompt would have a single reply.

A reply comes with a *receipt* that says how much mark there is: nothing where a model is asked to take the likeliest
token always, little where it is sure of what it says.

Laws:
    what stands before a row's prompt or after its end changes neither its reply nor its receipt;
    the mark chooses at most once in a context, over all rows that share ``used``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError, require
from countermark.marking.text.prf import CONTEXT, DETECT, SLOTS
from countermark.marking.text.sampling import TextMark

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]
Contexts = set[tuple[int, ...]]

MARKED, UNMARKED = "marked", "unmarked"
#: Why a reply is unmarked.
NOT_SAMPLED, EMPTY, NO_ENTROPY = "not-sampled", "empty", "no-entropy"
# What the predicted power of a receipt is for: this many licensees, and this chance of naming a wrong one.
LICENSEES, LEVEL = 1_000_000, 1e-3
# A whole reply that left open less than this, in nats, shows nothing.
LEAST_ENTROPY = 1.0

# Ways of generating that do not sample each token once, in turn.
_UNSUITED = ("assistant_model", "prompt_lookup_num_tokens", "penalty_alpha", "dola_layers", "assistant_early_exit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a reply can prove.

    Attributes:
        status: ``marked`` or ``unmarked``.
        reason: why it is unmarked: ``not-sampled`` (temperature 0), ``empty``, or ``no-entropy`` (the model left open
            less than ``LEAST_ENTROPY`` nats); empty where it is marked.
        method, key_id: of the mark.
        tokenizer: digest of the tokenizer that it has to be read with, where it is known.
        tokens: of the reply, without its end.
        contexts: new contexts, in which the key chose.
        repeated: tokens that were sampled afresh.
        entropy: the sum over marked contexts, in nats, of what the model left open.
        power: about the probability that the whole reply, unaltered and without its prompt, identifies its licensee
            among ``LICENSEES`` with a chance of ``LEVEL`` of naming a wrong one.
    """

    status: str
    reason: str = ""
    method: str
    key_id: str
    tokenizer: str = ""
    tokens: int
    contexts: int
    repeated: int
    entropy: float
    power: float


@dataclass(frozen=True, slots=True)
class Replies:
    """Tokens (rows, n) as ``model.generate`` returns them, prompts included; each row's reply alone, and its receipt.

    A reply ends before the token that ended it, and holds none that filled the row up.
    """

    sequences: Any
    replies: list[Tokens]
    receipts: list[Receipt]


class LanguageMark:
    """Runs a causal language model with the sampling mark.

    Args:
        model: anything with transformers' ``generate``, which takes a ``watermarking_config``.
        mark: of the model's key.
        tokenizer: digest of the model's tokenizer, repeated in receipts.
    """

    def __init__(self, model: Any, mark: TextMark, *, tokenizer: str = "") -> None:
        self._model, self._mark, self._tokenizer = model, mark, tokenizer

    def generate(self, words: Sequence[int], *, used: Sequence[Contexts] | None = None, **options: Any) -> Replies:
        """Generate a reply to every row of ``input_ids``, each with the word of its row.

        Args:
            words: 64-bit words, as many as rows.
            used: for each row, contexts in which the mark must not choose; those that it chose in are added. Rows may
                share one. By default rows of one word and prompt do.
            options: of ``model.generate``. ``do_sample=False`` or a temperature of 0 gives the likeliest replies,
                unmarked; where nothing is said, replies are sampled. Rows that are filled up on the left need their
                ``attention_mask``, as they do for the model itself.

        Raises:
            InputError: another number of words; beams and the like, which the mark cannot ride on.
            MissingExtra: without torch and transformers.
        """
        pad, ends = self._told(options, "pad_token_id"), self._ends(options)
        prompts = list(_prompts(options, None if pad in ends else pad))
        if len(words) != len(prompts):
            raise InputError("{rows} prompts need as many words, not {words}", rows=len(prompts), words=len(words))
        self._check_plain(options)
        shared = _shared(words, prompts) if used is None else used
        rows = [_Row.begin(prompt, contexts) for prompt, contexts in zip(prompts, shared, strict=True)]
        is_sampled = self._is_sampled(options)
        if is_sampled:
            options["watermarking_config"] = _config(self._mark, np.array(words, dtype=np.uint64), rows, ends)
        made = self._model.generate(**options)
        written = getattr(made, "sequences", made)[:, options["input_ids"].shape[1] :].cpu().numpy()
        replies = [tokens[: _length(tokens, row, ends, pad)] for tokens, row in zip(written, rows, strict=True)]
        receipts = [self._receipt(row, reply, is_sampled) for row, reply in zip(rows, replies, strict=True)]
        return Replies(made, replies, receipts)

    def _check_plain(self, options: dict[str, Any]) -> None:
        many = any((self._told(options, name) or 1) > 1 for name in ("num_beams", "num_return_sequences"))
        if many or any(self._told(options, name) is not None for name in _UNSUITED):
            raise InputError("a marked reply is sampled once for each prompt, without beams")

    def _is_sampled(self, options: dict[str, Any]) -> bool:
        """Say whether replies are sampled, and say so to the model too."""
        is_cold = self._told(options, "temperature") == 0
        given = getattr(options.get("generation_config"), "do_sample", None)
        asked = options.get("do_sample", True if given is None else given)
        if is_cold:
            options.pop("temperature", None)
        options["do_sample"] = bool(asked) and not is_cold
        return bool(options["do_sample"])

    def _told(self, options: dict[str, Any], name: str) -> Any:
        """Return what the call says of a setting, or its ``generation_config``, or the model's own."""
        if options.get(name) is not None:
            return options[name]
        own = getattr(self._model, "generation_config", None)
        return getattr(options.get("generation_config") or own, name, None)

    def _ends(self, options: dict[str, Any]) -> frozenset[int]:
        """Return the tokens that end a reply."""
        told = self._told(options, "eos_token_id")
        return frozenset([] if told is None else map(int, np.ravel(told)))

    def _receipt(self, row: _Row, reply: Tokens, is_sampled: bool) -> Receipt:
        choices = [step for step in row.steps[: len(reply)] if step is not None]
        entropy = sum(choice.entropy for choice in choices)
        power = predicted_power(np.array(list(_visible(reply, row.steps)))) if is_sampled else 0.0
        reason = _reason(is_sampled, len(reply), entropy)
        return Receipt(
            status=UNMARKED if reason else MARKED,
            reason=reason,
            method=self._mark.METHOD,
            key_id=self._mark.key_id,
            tokenizer=self._tokenizer,
            tokens=len(reply),
            contexts=len(choices),
            repeated=len(reply) - len(choices) if is_sampled else 0,
            entropy=round(entropy, 3),
            power=round(power, 4),
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """A token that the key chose, its probability, and the nats that the model left open."""

    token: int
    probability: float
    entropy: float


@dataclass(slots=True)
class _Row:
    """What is known of one row while it is being written; a step without a choice was sampled afresh."""

    used: Contexts
    steps: list[_Choice | None] = field(default_factory=list)
    has_ended: bool = False

    @classmethod
    def begin(cls, prompt: Tokens, used: Contexts) -> _Row:
        """Remember the contexts of a prompt."""
        used.update(tuple(prompt[i : i + CONTEXT].tolist()) for i in range(len(prompt) - CONTEXT + 1))
        return cls(used)

    def is_open(self, context: tuple[int, ...], ends: Collection[int]) -> bool:
        """Say whether the key is to choose what follows the last tokens, and remember them."""
        if self.steps and (context[-1] in ends or _differs(self.steps[-1], context[-1])):
            self.has_ended = True
        if self.has_ended:
            return False
        if len(self.steps) < CONTEXT or context in self.used:
            self.steps.append(None)
            return False
        self.used.add(context)
        return True


def predicted_power(probabilities: Floats) -> float:
    """Return about the probability that tokens chosen with these probabilities identify their licensee.

    The score of a token of probability p is -ln(1 - U ** p): its mean is the harmonic number of 1 / p, its variance
    that of the largest of 1 / p exponential variables. Sums are taken for normal, and innocents' evidence for a sum of
    as many plain scores.
    """
    coded = probabilities.size * (SLOTS - DETECT) / SLOTS
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


def _config(mark: TextMark, words: NDArray[np.uint64], rows: Sequence[_Row], ends: Collection[int]) -> Any:
    """Return what tells ``generate`` to build our sampler and to put it behind all others."""
    torch, transformers = require("torch", "train"), require("transformers", "train")

    class Sampler(transformers.LogitsProcessor):  # type: ignore[misc, name-defined]
        """Leaves every row with a new context one token to take: the one that the key chooses."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            contexts = input_ids[:, -CONTEXT:].cpu().numpy()
            tails = map(tuple, contexts.tolist())
            places = [i for i, (row, tail) in enumerate(zip(rows, tails, strict=True)) if row.is_open(tail, ends)]
            if not places:
                return scores
            forced = torch.full_like(scores, -math.inf) if len(places) == len(rows) else scores.clone()
            for place in places:
                # One row at a time stays in a processor's cache: half the time of all at once.
                here = slice(place, place + 1)
                logits = scores[here].float().cpu().numpy()
                token = int(mark.choose(logits, contexts[here], words[here])[0])
                rows[place].steps.append(_choice(logits[0], token))
                forced[here] = -math.inf
                forced[place, token] = 0.0
            return forced

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


def _choice(logits: NDArray[np.float32], token: int) -> _Choice:
    """Return a choice with its probability and the entropy of all."""
    # What has e ** -80 of the likeliest token's probability adds nothing, and what must not be taken is no infinity.
    below = np.maximum(logits - logits.max(), np.float32(-80))
    weights = np.exp(below)
    total = float(weights.sum())
    entropy = math.log(total) - float(weights @ below) / total
    return _Choice(token, float(weights[token]) / total, max(0.0, entropy))


def _prompts(options: dict[str, Any], pad: int | None) -> Iterator[Tokens]:
    """Yield each row's prompt, without what fills it up on the left; ``pad`` does, where no mask says so."""
    ids = options["input_ids"].cpu().numpy()
    mask = options.get("attention_mask")
    seen = ids != (-1 if pad is None else pad) if mask is None else mask.cpu().numpy() != 0
    for row, is_seen in zip(ids, seen, strict=True):
        yield row[int(is_seen.argmax()) if is_seen.any() else len(row) :]


def _shared(words: Sequence[int], prompts: Sequence[Tokens]) -> list[Contexts]:
    """Return a set of contexts for each row, the same for rows of one word and prompt."""
    sets: dict[tuple[int, bytes], Contexts] = {}
    return [sets.setdefault((word, prompt.tobytes()), set()) for word, prompt in zip(words, prompts, strict=True)]


def _length(tokens: Tokens, row: _Row, ends: Collection[int], pad: Any) -> int:
    """Return where a reply ends: before its end token, or before what filled its row up after another end."""
    steps = [*row.steps[: len(tokens)], *[None] * (len(tokens) - len(row.steps))]
    written = tokens.tolist()
    stops = (i for i, token in enumerate(written) if token in ends or _differs(steps[i], token))
    length = next(stops, len(written))
    while length and written[length - 1] == pad and steps[length - 1] is None:
        length -= 1
    return length


def _differs(step: _Choice | None, token: int) -> bool:
    return step is not None and step.token != token


def _visible(reply: Tokens, steps: Sequence[_Choice | None]) -> Iterator[float]:
    """Yield the probability of each token that a reader of the reply alone counts; 1 where it was sampled afresh."""
    met: Contexts = set()
    for i in range(CONTEXT, len(reply)):
        context, step = tuple(reply[i - CONTEXT : i].tolist()), steps[i]
        if context not in met:
            met.add(context)
            yield 1.0 if step is None else step.probability


def _reason(is_sampled: bool, tokens: int, entropy: float) -> str:
    """Say why a reply is unmarked; nothing where it is marked."""
    if not is_sampled:
        return NOT_SAMPLED
    if not tokens:
        return EMPTY
    return "" if entropy >= LEAST_ENTROPY else NO_ENTROPY
