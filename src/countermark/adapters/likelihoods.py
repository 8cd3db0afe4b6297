"""What a language model on this machine thinks of every token of a text.

Law: the numbers of a text do not depend on other texts, and each is the log-probability of the token given those before
it, of the tokens that the model's own tokenizer makes of the text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.adapters.language import load_model, quiet
from countermark.errors import InputError, require
from countermark.marking.text.tokens import FILE, TextTokenizer


class LocalLikelihoods:
    """A causal language model of transformers, loaded from safetensors without code of its author.

    Args:
        directory: model and tokenizer, as ``LocalLanguages.open`` takes it.

    Attributes:
        name: of the directory.

    Raises:
        MissingExtra: torch, transformers or tokenizers is not installed.
        InputError: it is no such model.
        HostileFile: its ``tokenizer.json`` is none.
    """

    def __init__(self, directory: Path) -> None:
        directory = directory.resolve()
        self.name = directory.name
        TextTokenizer.open(directory)  # says what is wrong with it
        self._texts = require("tokenizers", "text").Tokenizer.from_file(str(directory / FILE))
        self._texts.no_truncation()
        self._texts.no_padding()
        self._model = load_model(directory)
        config = self._model.config.get_text_config()
        room = getattr(config, "max_position_embeddings", None)
        self._room = room if isinstance(room, int) else 2**20
        self._first = [config.bos_token_id] if isinstance(config.bos_token_id, int) else []

    def __call__(self, text: str) -> NDArray[np.float64]:
        """Return natural logarithms of the probabilities of a text's tokens, as many as the model holds.

        The first token counts where the model has one that begins a text.

        Raises:
            InputError: a text of no token, or of one with nothing before it.
        """
        torch = require("torch", "train")
        ids = list(self._texts.encode(text.encode(errors="replace").decode(), add_special_tokens=False).ids)
        tokens = [*self._first, *ids][: self._room]
        if len(tokens) < 2:
            raise InputError("a text has at least two tokens")
        row: Any = torch.tensor([tokens], device=self._model.device)
        with quiet(), torch.inference_mode():
            logits = self._model(input_ids=row, use_cache=False).logits[0, :-1].float()
            chosen = torch.log_softmax(logits, dim=-1).gather(1, row[0, 1:, None])[:, 0]
        found: NDArray[np.float64] = chosen.double().cpu().numpy()
        return found
