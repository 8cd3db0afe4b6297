"""Read the sampling mark of suspect texts: tokens by the registered tokenizer, under every key of a title.

A single text gives two sightings under each key, the whole and the part that shows most; a very long one gives them
piece by piece. What several texts show, as
the replies of a chat, adds up to one sighting: they are read as one, and each context counts once.

Another tokenizer than the registered one would make other tokens of the same text. So the file whose digest stands in
the title's manifest is used, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from countermark.core.keys import DetectionKey
from countermark.errors import CountermarkError, InputError, ManifestMismatch
from countermark.marking import Detection, NotExamined
from countermark.marking.reading import pool
from countermark.marking.text.pieces import look_at
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import TextTokenizer, Tokens
from countermark.registry import Title
from countermark.tracing import Sighting
from countermark.workflows.languages import title_tokenizer
from countermark.workflows.office import Office

Epochs = Sequence[tuple[int, DetectionKey]]
Rows = tuple[Tokens, ...]
_Look = Callable[[TextMark, list[Rows]], Detection | NotExamined | tuple[Detection, ...]]


class TextReader:
    """Reads one suspect after another; tokenizers stay loaded in between.

    Args:
        office: where.
        models: directories of models, for titles whose model is not where it was registered from.
    """

    def __init__(self, office: Office, models: Sequence[Path] = ()) -> None:
        self._office, self._models = office, models
        self._tokenizers: dict[int, TextTokenizer | NotExamined] = {}

    def look(self, title: Title, epochs: Epochs, texts: Sequence[str]) -> list[Sighting]:
        """Return what the texts of one suspect show under each of a title's keys."""
        if len(texts) != 1:
            return self._each(title, epochs, texts, lambda mark, rows: mark.detect(*rows))
        return self._each(title, epochs, texts, lambda mark, rows: look_at(mark, rows[0]))

    def pooled(self, title: Title, epochs: Epochs, texts: Sequence[str]) -> list[Sighting]:
        """Return what all texts of a pool show together under each of a title's keys."""
        sightings = self._each(title, epochs, texts, lambda mark, rows: mark.detect(*rows))
        return [
            each if isinstance(each.seen, NotExamined) else replace(each, seen=pool([each.seen])) for each in sightings
        ]

    def describe(self, title: int, seen: Detection, texts: Sequence[str]) -> dict[str, Any]:
        """Return what a report says of a reading of texts beside its numbers: ``{"tokenizer", "geometry"}``."""
        tokenizer, geometry = self._tokenizers[title], dict(seen.geometry)
        assert isinstance(tokenizer, TextTokenizer)  # or there would be no reading
        if len(texts) == 1 and "first" in geometry:
            geometry["characters"] = _characters(tokenizer, texts[0], int(geometry["first"]), int(geometry["last"]))
        return {"tokenizer": tokenizer.digest, "geometry": geometry}

    def _each(self, title: Title, epochs: Epochs, texts: Sequence[str], look: _Look) -> list[Sighting]:
        rows = self._rows(title, texts)
        if isinstance(rows, NotExamined):
            return [Sighting(title.id, epoch, key, rows) for epoch, key in epochs]
        sightings = []
        for epoch, key in epochs:
            seen = look(TextMark(key.embedding, key_id=key.key_id), rows)
            looks = seen if isinstance(seen, tuple) else (seen,)
            sightings += [Sighting(title.id, epoch, key, each) for each in looks]
        return sightings

    def _rows(self, title: Title, texts: Sequence[str]) -> list[Rows] | NotExamined:
        tokenizer = self._open(title)
        if isinstance(tokenizer, NotExamined):
            return tokenizer
        if not texts:
            return NotExamined("no-text", "the file is empty, or a chat in which no model says anything")
        try:
            return [tokenizer.rows(text) for text in texts]
        except InputError as error:
            return NotExamined(error.code, str(error))

    def _open(self, title: Title) -> TextTokenizer | NotExamined:
        if title.id not in self._tokenizers:
            self._tokenizers[title.id] = self._opened(title)
        return self._tokenizers[title.id]

    def _opened(self, title: Title) -> TextTokenizer | NotExamined:
        try:
            return title_tokenizer(self._office, title, self._models)
        except ManifestMismatch as error:
            return NotExamined("tokenizer-mismatch", str(error))
        except CountermarkError as error:
            return NotExamined("tokenizer-missing", str(error))


def _characters(tokenizer: TextTokenizer, text: str, first: int, last: int) -> list[int]:
    """Return where tokens from ``first`` to ``last`` begin and end in a text, in characters."""
    places = tokenizer.places(text)
    return [places[first][0], places[last][1]]
