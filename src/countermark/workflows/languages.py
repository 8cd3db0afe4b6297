"""What workflows need of language models that run: ports, orders of text, and the tokenizer that a title stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from countermark.artifact import digest_model, survey
from countermark.core.canonical import show_digest
from countermark.core.dsse import read_unverified
from countermark.errors import InputError, ManifestMismatch, NotFoundError
from countermark.marking.text.tokens import FILE, TextTokenizer
from countermark.registry import Record, Title
from countermark.workflows.generate import model_directory
from countermark.workflows.office import Office

if TYPE_CHECKING:
    from countermark.marking.text.generation import Contexts, Receipt
    from countermark.marking.text.sampling import TextMark

#: Replies of one order, characters of all its prompts, and tokens of one reply. Every reply's record holds the order.
MAX_REPLIES, MAX_PROMPT_CHARACTERS, MAX_TOKENS = 1000, 200_000, 100_000
TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOrder(Record):
    """What a licensee asks a language model for.

    Attributes:
        kind: ``TEXT``, which tells it from an order of pictures.
        prompts: what to go on from, each for itself.
        count: replies to each prompt, at most ``MAX_REPLIES`` in all.
        max_tokens: of one reply.
        temperature: 0 to 100, where 0 takes the likeliest token always, unmarked; the model's own where None.
        top_p: over 0 and up to 1: only the likeliest tokens that together have this probability; the model's own where
            None.
        top_k: only so many likeliest tokens; the model's own where None, and all where it has none.
        seed: of what the mark does not choose; None draws afresh.

    Raises:
        InputError: a value is of another type or out of range.
    """

    kind: str = TEXT
    prompts: list[str]
    count: int = 1
    max_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None

    @property
    def total(self) -> int:
        """Replies to all prompts."""
        return len(self.prompts) * self.count

    def prompt(self, number: int) -> str:
        """Return what the order's reply of a number, from 0 on, goes on from."""
        return self.prompts[number // self.count]

    def __post_init__(self) -> None:
        within = {
            "kind": self.kind == TEXT,
            "prompts": _are_prompts(self.prompts),
            "count": _is_whole(self.count, 1, MAX_REPLIES),
            "max_tokens": _is_whole(self.max_tokens, 1, MAX_TOKENS),
            "temperature": self.temperature is None or (_is_number(self.temperature) and 0 <= self.temperature <= 100),
            "top_p": self.top_p is None or (_is_number(self.top_p) and 0 < self.top_p <= 1),
            "top_k": self.top_k is None or _is_whole(self.top_k, 1, 2**31 - 1),
            "seed": self.seed is None or _is_whole(self.seed, 0, 2**53 - 1),
        }
        wrong = [field for field, right in within.items() if not right]
        if not wrong and self.total > MAX_REPLIES:
            wrong = ["count"]
        if wrong:
            raise InputError("an order's {field} is malformed or out of range", field=wrong[0])


class Writer(Protocol):
    """A loaded language model."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """Its tokenizer."""

    def check(self, order: TextOrder) -> None:
        """Return if the model can answer every prompt of an order; otherwise raise ``InputError``."""

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


class Languages(Protocol):
    """Loads language models."""

    def open(self, directory: Path) -> Writer:
        """Load a transformers directory; runs no code of its author."""


def open_language(office: Office, title: Title, directory: Path) -> Writer:
    """Load a title's language model from a directory.

    Raises:
        ManifestMismatch: it holds other weights or another tokenizer than those registered.
        InputError, HostileFile: it is no safe model directory.
    """
    manifest = digest_model(survey(directory), progress=office.progress("digest"))
    if show_digest(manifest.content_root) != title.weights_root:
        raise ManifestMismatch("{path} does not hold the weights of title {title}", path=directory, title=title.id)
    if _tokenizer_of(manifest.to_json()) != registered_tokenizer(title):
        raise _other_tokenizer(title, directory)
    return office.languages.open(directory)


def registered_tokenizer(title: Title) -> str:
    """Return the digest of a title's ``tokenizer.json``, by its signed manifest.

    Raises:
        NotFoundError: the model was registered without one.
    """
    digest = _tokenizer_of(read_unverified(title.registration)["manifest"])
    if digest is None:
        raise NotFoundError(
            "title {title} was registered without a {file}",
            hint="Text can be generated and traced only with the tokenizer that was registered.",
            title=title.id,
            file=FILE,
        )
    return digest


def title_tokenizer(office: Office, title: Title, models: Sequence[Path] = ()) -> TextTokenizer:
    """Return the tokenizer that was registered with a title.

    Args:
        office: where.
        title: of a language model.
        models: directories to look in before the one that the model was registered from; other models' too.

    Raises:
        NotFoundError: the title has none, or it is in none of these directories.
        ManifestMismatch: the directories hold others.
        InputError, HostileFile: one cannot be read.
        MissingExtra: without tokenizers.
    """
    wanted = registered_tokenizer(title)
    held = [path for path in (*models, *_registered_from(office, title)) if (path / FILE).is_file()]
    for path in held:
        tokenizer = TextTokenizer.open(path)
        if tokenizer.digest == wanted:
            return tokenizer
    if held:
        raise _other_tokenizer(title, held[0])
    raise NotFoundError(
        "the tokenizer of title {title} is not where it was registered from",
        hint="Name the model's folder with --model; its {file} is enough.",
        title=title.id,
        file=FILE,
    )


def _tokenizer_of(manifest: dict[str, Any]) -> str | None:
    return next((str(record["sha256"]) for record in manifest["files"] if record["path"] == FILE), None)


def _registered_from(office: Office, title: Title) -> list[Path]:
    try:
        return [model_directory(office, title)]
    except NotFoundError:
        return []


def _other_tokenizer(title: Title, path: Path) -> ManifestMismatch:
    return ManifestMismatch(
        "{path} does not hold the tokenizer of title {title}",
        hint="Text has to be read with the {file} that was registered, byte for byte.",
        path=path,
        title=title.id,
        file=FILE,
    )


def _are_prompts(value: Any) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_REPLIES:
        return False
    return all(isinstance(each, str) for each in value) and sum(map(len, value)) <= MAX_PROMPT_CHARACTERS


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
