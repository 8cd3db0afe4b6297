"""A tokenizer of a language model, as detectors need it: from ``tokenizer.json`` alone, without the model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.canonical import parse_json, show_digest
from countermark.errors import HostileFile, InputError, require

Tokens = NDArray[np.int64]

FILE = "tokenizer.json"
MAX_FILE_BYTES = 64 * 2**20
# Bytes of one text that are read.
MAX_TEXT_BYTES = 4 * 2**20
# Tokens at an edge of an excerpt that another tokenization may have had otherwise.
_EDGE = 8


class TextTokenizer:
    """Turns texts into tokens and back.

    Attributes:
        digest: of the file's bytes, ``sha256:`` and hex.
    """

    def __init__(self, data: bytes) -> None:
        """Read a ``tokenizer.json``.

        Raises:
            HostileFile: too large, too deep, or not such a file.
            MissingExtra: without tokenizers.
        """
        tokenizers = require("tokenizers", "text")
        parse_json(data, limit=MAX_FILE_BYTES)
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises plain Exception, and UnicodeDecodeError
            raise HostileFile("{file} is no tokenizer", file=FILE) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.digest = show_digest(hashlib.sha256(data).digest())

    @classmethod
    def open(cls, path: Path) -> TextTokenizer:
        """Read the tokenizer of a model directory, or a ``tokenizer.json``.

        Raises:
            InputError: there is none.
            HostileFile: as above.
        """
        file = path / FILE if path.is_dir() else path
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InputError("cannot read the tokenizer {path}", path=file) from error
        if len(data) > MAX_FILE_BYTES:
            raise HostileFile("{file} is no tokenizer", file=FILE)
        return cls(data)

    def encode(self, text: str) -> Tokens:
        """Return a text's tokens (n,), without special ones.

        Raises:
            InputError: a text of more than ``MAX_TEXT_BYTES``.
        """
        return np.array(self._encoding(text).ids, dtype=np.int64)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Return where each token begins and ends in a text, in characters; parts of one character share its place.

        Raises:
            InputError: as ``encode``.
        """
        return [(int(start), int(end)) for start, end in self._encoding(text).offsets]

    def decode(self, tokens: Tokens) -> str:
        """Return the text of tokens (n,), special ones left out."""
        return str(self._tokenizer.decode(tokens.tolist(), skip_special_tokens=True))

    def rows(self, text: str) -> tuple[Tokens, ...]:
        """Return the tokens of an excerpt, and before them what its beginning may have been in the whole.

        A byte-level tokenizer glues the space before a word to it. An excerpt that begins with a word has lost it.
        """
        whole = self.encode(text)
        if not text or text[0].isspace():
            return (whole,)
        spaced = self.encode(" " + text)[:_EDGE]
        return (spaced, whole) if not np.array_equal(spaced, whole[:_EDGE]) else (whole,)

    def _encoding(self, text: str) -> Any:
        if len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
            raise InputError("a text has at most {limit} bytes", limit=MAX_TEXT_BYTES)
        return self._tokenizer.encode(text.encode(errors="replace").decode(), add_special_tokens=False)
