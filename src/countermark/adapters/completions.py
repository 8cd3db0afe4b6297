"""Language models that continue texts and tell how likely a continuation is: local ones, and servers over HTTP.

A server is one that speaks OpenAI's completions API: OpenAI itself, vLLM, llama.cpp, and others. Probabilities of a
given text are had by ``echo`` with ``logprobs``, where the server offers both; they are those of plain sampling, so
that another temperature needs the likeliest k of every place, and as many as ``top_k`` asks for. Where that is not to
be had, ``log_probabilities`` returns None and whoever asked draws replies.

A key goes to the host that it is for, over TLS or to this machine, and stands in no message.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np

from countermark.adapters.language import load_model, quiet
from countermark.audit.text.extraction import Sampling, Scored
from countermark.core.canonical import parse_json
from countermark.core.progress import Progress
from countermark.errors import InputError, NetworkError, require
from countermark.marking.text.tokens import FILE, TextTokenizer

#: Name of the variable of the environment that holds a server's key.
KEY = "COUNTERMARK_API_KEY"
MAX_ANSWER_BYTES = 64 * 2**20
# Numbers of a batch's logits, which are what takes memory.
_LOGITS = 2**25
_BATCH = 32
# Replies drawn at once on this machine.
_REPLIES = 16
_NEVER = -math.inf
#: What servers answer that do not echo a prompt's probabilities.
_REFUSALS = frozenset({"status 400", "status 422", "status 501"})


def open_completions(spec: str, model: str | None = None) -> LocalCompletions | ServedCompletions:
    """Return the model in a directory, or behind the address of an API, whose key is ``COUNTERMARK_API_KEY``'s value.

    Raises:
        InputError: neither, or no model's name with an address.
        MissingExtra, HostileFile: as of ``LocalCompletions``.
    """
    if not spec.startswith(("http://", "https://")):
        return LocalCompletions(Path(spec))
    if not model:
        raise InputError("a server is asked for a model by its name", hint="Name it with --api-model.")
    return ServedCompletions(spec, model, key=os.environ.get(KEY) or None)


class _Writer:
    """What both kinds of models write in the same way."""

    def complete(
        self, prompts: Sequence[str], sampling: Sampling, *, count: int, max_tokens: int, seed: int
    ) -> list[list[str]]:
        """Return ``count`` continuations of each prompt."""
        raise NotImplementedError

    def write(self, prompt: str, *, tokens: int, seed: int) -> str:
        """Return one continuation of at most ``tokens`` tokens, by plain sampling."""
        return self.complete([prompt], Sampling(), count=1, max_tokens=tokens, seed=seed)[0][0]


class LocalCompletions(_Writer):
    """A causal language model of transformers on this machine, loaded from safetensors without code of its author.

    Args:
        directory: model and tokenizer, as ``LocalLanguages.open`` takes it.

    Attributes:
        name: of the directory.
        tokenizer: of texts.

    Raises:
        MissingExtra: torch, transformers or tokenizers is not installed.
        InputError: it is no such model.
        HostileFile: its ``tokenizer.json`` is none.
    """

    def __init__(self, directory: Path) -> None:
        directory = directory.resolve()
        self.name = directory.name
        self.tokenizer = TextTokenizer.open(directory)
        self._model = load_model(directory)
        self._texts = require("tokenizers", "text").Tokenizer.from_file(str(directory / FILE))
        self._texts.no_truncation()
        self._texts.no_padding()

    def places(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of a text begins and ends, in characters."""
        return self.tokenizer.places(text)

    def log_probabilities(
        self, pairs: Sequence[tuple[str, str]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Scored]:
        """Return the natural log of the probability that sampling continues each prefix with exactly its suffix.

        Of the tokens that the tokenizer makes of the whole; that other tokens spell the same text is not counted, so it
        is a lower bound. Tokens that begin in the prefix and end in the suffix count as the suffix's.

        Raises:
            InputError: a pair without a token before its suffix, or longer than the model holds.
        """
        rows = [self._row(prefix, suffix) for prefix, suffix in pairs]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
        found: list[Scored] = [Scored(_NEVER, 0)] * len(rows)
        done = 0
        for batch in self._batches(order, rows):
            for i, scored in zip(batch, self._scored([rows[i] for i in batch], sampling), strict=True):
                found[i] = scored
            done += len(batch)
            if progress is not None:
                progress(done, len(rows), "pairs")
        return found

    def complete(
        self, prompts: Sequence[str], sampling: Sampling, *, count: int, max_tokens: int, seed: int
    ) -> list[list[str]]:
        """Return ``count`` continuations of each prompt; of an empty one, after the token that begins a text.

        Raises:
            InputError: a prompt that leaves no room for a reply, or an empty one where no token begins a text.
        """
        return [
            [text for part in _parts(count) for text in self._replies(prompt, sampling, part, max_tokens, seed + i)]
            for i, prompt in enumerate(prompts)
        ]

    def _replies(self, prompt: str, sampling: Sampling, part: range, max_tokens: int, seed: int) -> list[str]:
        torch = require("torch", "train")
        tokens = self._row(prompt, "")[0] or self._first
        room = self._room - len(tokens)
        if not tokens or room < 1:
            raise InputError("a prompt has at least one token, and leaves the model room for a reply")
        options: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            options |= {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": 1.0}
        ids = torch.tensor([tokens], device=self._model.device)
        with quiet(), torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed * 1_000_003 + part.start)
            made = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(max_tokens, room),
                num_return_sequences=len(part) if sampling.temperature > 0 else 1,
                pad_token_id=self._pad,
                **options,
            )
        texts = [self.tokenizer.decode(np.array(row[len(tokens) :].tolist(), dtype=np.int64)) for row in made]
        return texts if sampling.temperature > 0 else texts * len(part)

    def _row(self, prefix: str, suffix: str) -> tuple[list[int], int]:
        """Return the tokens of a whole text, and the place of the first that reaches into the suffix."""
        clean = prefix.encode(errors="replace").decode()
        encoding = self._texts.encode(clean + suffix.encode(errors="replace").decode())
        begin = next((i for i, (_start, end) in enumerate(encoding.offsets) if end > len(clean)), len(encoding.ids))
        return list(encoding.ids), begin

    def _batches(self, order: Sequence[int], rows: Sequence[tuple[list[int], int]]) -> Iterator[list[int]]:
        held: list[int] = []
        for i in order:
            tokens, begin = rows[i]
            if not 0 < begin < len(tokens):
                raise InputError("probabilities are of a suffix after at least one token")
            if len(tokens) > self._room:
                raise InputError("a text of {size} tokens is more than the {limit} that this model holds",
                                 size=len(tokens), limit=self._room)  # fmt: skip
            if held and (len(held) == _BATCH or (len(held) + 1) * len(tokens) * self._vocabulary > _LOGITS):
                yield held
                held = []
            held.append(i)
        if held:
            yield held

    def _scored(self, rows: Sequence[tuple[list[int], int]], sampling: Sampling) -> list[Scored]:
        torch = require("torch", "train")
        length = max(len(tokens) for tokens, _begin in rows)
        # Filled up on the right: what follows a token does not change what the model says of it.
        ids = torch.tensor([tokens + [self._pad] * (length - len(tokens)) for tokens, _begin in rows])
        seen = torch.tensor([[1] * len(tokens) + [0] * (length - len(tokens)) for tokens, _begin in rows])
        device = self._model.device
        with quiet(), torch.inference_mode():
            logits = self._model(input_ids=ids.to(device), attention_mask=seen.to(device), use_cache=False).logits
            return [
                Scored(
                    _suffix_log_p(torch, logits[i, begin - 1 : len(tokens) - 1], tokens[begin:], sampling),
                    len(tokens) - begin,
                )
                for i, (tokens, begin) in enumerate(rows)
            ]

    @property
    def _first(self) -> list[int]:
        """The token that begins a text, if the model has one."""
        token = self._model.config.get_text_config().bos_token_id
        return [token] if isinstance(token, int) else []

    @property
    def _room(self) -> int:
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return limit if isinstance(limit, int) else 2**31

    @property
    def _vocabulary(self) -> int:
        return int(self._model.config.get_text_config().vocab_size)

    @property
    def _pad(self) -> int:
        """The token that fills rows up; it is never looked at, so any will do."""
        pad = self._model.generation_config.pad_token_id
        return pad if isinstance(pad, int) and pad >= 0 else 0


class ServedCompletions(_Writer):
    """A model behind OpenAI's completions API.

    Args:
        url: of the API, up to and with ``/v1``.
        model: its name there.
        key: sent as a bearer token; None: none.
        timeout_s: for each answer.

    Attributes:
        name: the model's name and the host.

    Raises:
        InputError: no such address, or a key that would go over an open line.
    """

    def __init__(self, url: str, model: str, *, key: str | None = None, timeout_s: float = 120.0) -> None:
        parts = _address(url)
        is_private = parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
        if key is not None and not is_private:
            raise InputError("a key is sent over https, or to this machine alone")
        self._url, self._model, self._key, self._timeout = url.rstrip("/"), model, key, timeout_s
        self._host = parts.netloc.rpartition("@")[2]
        self.name = f"{model} at {self._host}"

    def log_probabilities(
        self, pairs: Sequence[tuple[str, str]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Scored] | None:
        """Return log p_z of each pair as ``LocalCompletions`` does, or None where the server does not tell.

        Raises:
            NetworkError: no connection, no answer in time, or no answer of such an API.
        """
        found = []
        for i, (prefix, suffix) in enumerate(pairs):
            scored = self._echoed(prefix, suffix, sampling)
            if scored is None:
                return None
            found.append(scored)
            if progress is not None:
                progress(i + 1, len(pairs), "pairs")
        return found

    def complete(
        self, prompts: Sequence[str], sampling: Sampling, *, count: int, max_tokens: int, seed: int
    ) -> list[list[str]]:
        """Return ``count`` continuations of each prompt; ``top_k`` is sent where it is not 0.

        Raises:
            NetworkError: as above, or the server refuses.
        """
        return [self._replies(prompt, sampling, count, max_tokens, seed + i) for i, prompt in enumerate(prompts)]

    def _replies(self, prompt: str, sampling: Sampling, count: int, max_tokens: int, seed: int) -> list[str]:
        asked: dict[str, Any] = {"prompt": prompt, "max_tokens": max_tokens, "temperature": sampling.temperature}
        if sampling.top_k:
            asked["top_k"] = sampling.top_k
        found: list[str] = []
        while len(found) < count:
            texts = _texts(self._ask({**asked, "n": count - len(found), "seed": seed + len(found)}))
            if not texts:
                raise self._failure("no choices in the answer")
            found += texts
        return found[:count]

    def _echoed(self, prefix: str, suffix: str, sampling: Sampling) -> Scored | None:
        if sampling.temperature not in (0.0, 1.0) and not sampling.top_k:
            return None
        # One token is asked for, as some servers refuse to write none; it is dropped.
        wanted = 1 if sampling.temperature == 0 else max(1, sampling.top_k)
        asked = {"prompt": prefix + suffix, "max_tokens": 1, "echo": True, "logprobs": wanted, "temperature": 1.0}
        try:
            answer = self._ask(asked)
        except NetworkError as error:
            if error.params.get("reason") in _REFUSALS:  # understood, and not done
                return None
            raise
        return _read_echo(answer, prefix, suffix, sampling)

    def _ask(self, asked: Mapping[str, Any]) -> Any:
        from urllib.request import Request

        body = json.dumps({"model": self._model, **asked}).encode()
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        request = Request(f"{self._url}/completions", data=body, headers=headers, method="POST")
        try:
            with _opener().open(request, timeout=self._timeout) as response:
                data = response.read(MAX_ANSWER_BYTES + 1)
            return parse_json(data, limit=MAX_ANSWER_BYTES)
        except HTTPError as error:
            with error:
                raise self._failure(f"status {error.code}") from error
        except (OSError, HTTPException, InputError) as error:
            raise self._failure(type(error).__name__) from error

    def _failure(self, reason: str) -> NetworkError:
        return NetworkError("the model's server at {host} did not answer: {reason}", host=self._host, reason=reason)


def _opener() -> Any:
    """Return what asks without following a redirect, which would take the key elsewhere."""
    from urllib.request import HTTPRedirectHandler, build_opener

    class Straight(HTTPRedirectHandler):
        def redirect_request(self, *_args: Any, **_named: Any) -> None:
            return None

    return build_opener(Straight())


def _address(url: str) -> Any:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise InputError("not the address of a model's server: {url}", url=url[:200])
    return parts


def _read_echo(answer: Any, prefix: str, suffix: str, sampling: Sampling) -> Scored | None:
    """Return what an answer with ``echo`` and ``logprobs`` says of the suffix; None where it does not."""
    try:
        told = answer["choices"][0]["logprobs"]
        offsets, logs, likeliest = told["text_offset"], told["token_logprobs"], told.get("top_logprobs")
        end = len(prefix) + len(suffix)
        ends = [*offsets[1:], end]
        rows = [
            i for i, (start, stop) in enumerate(zip(offsets, ends, strict=True)) if stop > len(prefix) and start < end
        ]
        if not rows or rows[0] == 0:
            return None
        values = [_of_sampling(logs[i], likeliest[i] if likeliest else None, sampling) for i in rows]
    except (TypeError, KeyError, IndexError, ValueError):
        return None
    return None if None in values else Scored(math.fsum(value for value in values if value is not None), len(rows))


def _of_sampling(log_p: float, likeliest: Mapping[str, float] | None, sampling: Sampling) -> float | None:
    """Return a token's log-probability under a sampling, from those of plain sampling; None where they are too few."""
    if sampling.temperature == 1 and not sampling.top_k:
        return min(0.0, float(log_p))
    kept = 1 if sampling.temperature == 0 else sampling.top_k
    if likeliest is None or len(likeliest) < kept:
        return None
    top = sorted(map(float, likeliest.values()), reverse=True)[:kept]
    # Servers round: a token that equals the last kept one is one of them.
    if log_p < top[-1] - 1e-6:
        return _NEVER
    if sampling.temperature == 0:
        return 0.0
    scaled = [value / sampling.temperature for value in top]
    highest = scaled[0]
    total = highest + math.log(math.fsum(math.exp(value - highest) for value in scaled))
    return min(0.0, log_p / sampling.temperature - total)


def _texts(answer: Any) -> list[str]:
    try:
        return [str(choice["text"]) for choice in answer["choices"]]
    except (TypeError, KeyError):
        return []


def _suffix_log_p(torch: Any, logits: Any, tokens: Sequence[int], sampling: Sampling) -> float:
    """Return the log-probability of tokens (n,) under a sampling, from logits (n, vocabulary)."""
    logits, wanted = logits.double(), torch.tensor(tokens, device=logits.device)[:, None]
    own = logits.gather(1, wanted)[:, 0]
    if sampling.temperature == 0:
        return 0.0 if bool((own >= logits.max(dim=1).values).all()) else _NEVER
    if sampling.top_k and sampling.top_k < logits.shape[1]:
        top = logits.topk(sampling.top_k, dim=1).values
        if bool((own < top[:, -1]).any()):
            return _NEVER
        logits = top
    total = (logits / sampling.temperature).logsumexp(dim=1)
    return min(0.0, float((own / sampling.temperature - total).sum()))


def _parts(count: int) -> list[range]:
    return [range(first, min(first + _REPLIES, count)) for first in range(0, count, _REPLIES)]
