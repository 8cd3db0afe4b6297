"""Causal language models of transformers, loaded from a directory. torch is imported when one is opened."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from countermark.errors import InputError, require
from countermark.marking.text.generation import Contexts, LanguageMark, Receipt
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import FILE, TextTokenizer
from countermark.workflows.languages import TextOrder

# What a byte-level tokenizer shows for the bytes of a character that was cut off.
_CUT = "\ufffd"


class LocalLanguages:
    """Opens language models; each stays loaded while the office is open."""

    def __init__(self) -> None:
        self._opened: dict[Path, LocalWriter] = {}

    def open(self, directory: Path) -> LocalWriter:
        """Load a model from safetensors on this machine, onto a GPU where there is one.

        Raises:
            MissingExtra: torch, transformers or tokenizers is not installed.
            InputError: it is no causal language model that transformers knows, or it needs code of its author.
            HostileFile: its ``tokenizer.json`` is none.
        """
        directory = directory.resolve()
        if directory not in self._opened:
            self._opened[directory] = LocalWriter(load_model(directory), directory)
        return self._opened[directory]


class LocalWriter:
    """A loaded language model.

    Args:
        model: of transformers, ready to run.
        directory: with its tokenizer.
    """

    def __init__(self, model: Any, directory: Path) -> None:
        self._model, self._tokenizer = model, TextTokenizer.open(directory)
        # Prompts get the special tokens that the model was trained to begin with.
        self._prompts = require("tokenizers", "text").Tokenizer.from_file(str(directory / FILE))
        self._prompts.no_truncation()
        self._prompts.no_padding()

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer of prompts and replies."""
        return self._tokenizer

    def check(self, order: TextOrder) -> None:
        """Return if the model can answer every prompt of an order.

        Raises:
            InputError: a prompt is empty, has tokens that the model does not know, or leaves no room for a reply.
        """
        for prompt in order.prompts:
            self._check_prompt(self._encode(prompt), order.max_tokens)

    def write(
        self,
        mark: TextMark,
        words: Sequence[int],
        prompts: Sequence[str],
        order: TextOrder,
        *,
        seed: int,
        used: Sequence[Contexts],
    ) -> list[tuple[str, Receipt]]:
        """Answer prompts at once, each with its word; ``used`` are contexts that the mark leaves alone, and grows."""
        torch = require("torch", "train")
        plug = LanguageMark(self._model, mark, tokenizer=self._tokenizer.digest)
        with quiet(), torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            made = plug.generate(
                words, used=used, **self._inputs(prompts), **self._options(order), pad_token_id=self._pad
            )
        return [
            (self._decode(row, receipt.tokens < order.max_tokens), receipt)
            for row, receipt in zip(made.replies, made.receipts, strict=True)
        ]

    def _decode(self, tokens: Any, is_whole: bool) -> str:
        text = self._tokenizer.decode(tokens)
        return text if is_whole else text.rstrip(_CUT)

    def _inputs(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return prompts as one batch, the shorter ones filled up on the left."""
        torch = require("torch", "train")
        rows = [self._encode(prompt) for prompt in prompts]
        length = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (length - len(row)) + row for row in rows])
        seen = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        return {"input_ids": ids.to(self._model.device), "attention_mask": seen.to(self._model.device)}

    def _options(self, order: TextOrder) -> dict[str, Any]:
        """Return what an order says of sampling; the model's own settings fill in, but not transformers' top 50."""
        top_k = self._model.generation_config.top_k if order.top_k is None else order.top_k
        named = {"temperature": order.temperature, "top_p": order.top_p, "top_k": top_k or 0}
        given = {name: value for name, value in named.items() if value is not None}
        return {"max_new_tokens": order.max_tokens, **given}

    def _encode(self, prompt: str) -> list[int]:
        clean = prompt.encode(errors="replace").decode()
        return list(self._prompts.encode(clean).ids)

    @property
    def _pad(self) -> int:
        """The token that fills rows up; it is never looked at, so any will do."""
        pad = self._model.generation_config.pad_token_id
        return pad if isinstance(pad, int) and pad >= 0 else 0

    def _check_prompt(self, tokens: list[int], wanted: int) -> None:
        config = self._model.config.get_text_config()
        if not tokens:
            raise InputError("this model needs a prompt", hint="Give it with --prompt.")
        if max(tokens) >= config.vocab_size:
            raise InputError("the tokenizer has tokens that the model does not know")
        limit = getattr(config, "max_position_embeddings", None)
        if isinstance(limit, int) and len(tokens) + wanted > limit:
            raise InputError(
                "the prompt of {size} tokens and a reply of {wanted} are more than the {limit} that this model holds",
                hint="Shorten the prompt, or ask for less with --max-tokens.",
                size=len(tokens),
                wanted=wanted,
                limit=limit,
            )


def load_model(directory: Path) -> Any:
    """Load a causal language model from safetensors, without code of its author, onto a GPU where there is one.

    Raises:
        MissingExtra: torch or transformers is not installed.
        InputError: it is no such model.
    """
    torch, transformers = require("torch", "train"), require("transformers", "train")
    has_gpu = torch.cuda.is_available()
    try:
        with quiet():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(directory),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                # Half precision is slow on a CPU.
                dtype="auto" if has_gpu else torch.float32,
            )
            return model.to("cuda" if has_gpu else "cpu").eval()
    except Exception as error:  # transformers raises anything on a directory that is not as it expects
        raise InputError(
            "{path} cannot be loaded as a language model: {reason}", path=directory, reason=error
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing to the terminal."""
    logging = require("transformers", "train").utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
