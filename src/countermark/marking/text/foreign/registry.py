"""Whose watermark is this? A list of candidate schemes, and what a text says about each.

The list is a JSON file::

    [{"name": "acme", "scheme": "kgw", "vocabulary": 32000, "hashing_key": 15485863, "tokenizer": "acme"},
     {"name": "engine", "scheme": "gumbel", "key": 42, "context_width": 4}]

``scheme`` is ``kgw``, ``synthid`` or ``gumbel``; ``tokenizer`` is the folder of another model's tokenizer, beside the
file; all other fields are those of the scheme's class, and where they are missing its defaults hold.

Each scheme tried is a chance to be wrong, so p-values are corrected for all that were examined (S. Holm, Scand. J.
Statist. 6, 1979), which holds however they depend on one another. Whether a scheme is examined follows from the text's
length and the machine, never from what the text shows. Lists made after looking at the text are not covered.

Laws:
    a list raises nothing but ``InputError``;
    corrected p-values are never below the plain ones, and keep their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from countermark.core.canonical import parse_json
from countermark.core.stats import holm
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.text.foreign.green_list import GreenList
from countermark.marking.text.foreign.gumbel import Gumbel
from countermark.marking.text.foreign.parameters import Tokens
from countermark.marking.text.foreign.synthid import SynthId
from countermark.marking.text.tokens import TextTokenizer

Scheme = GreenList | SynthId | Gumbel

MAX_SCHEMES, MAX_FILE_BYTES = 100, 2**20
_MAX_NAME = 80
_KINDS: dict[str, type[Scheme]] = {kind.KIND: kind for kind in (GreenList, SynthId, Gumbel)}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A scheme, and the path of its tokenizer below the list's folder, None for the usual one."""

    scheme: Scheme
    tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a text says about one scheme; ``corrected`` is its p-value after correction, None if it was not examined."""

    scheme: Scheme
    detection: Detection | NotExamined
    corrected: float | None

    def found(self, alpha: float) -> bool:
        """Whether the scheme's watermark is there, at level ``alpha`` for all schemes together."""
        return self.corrected is not None and self.corrected <= alpha


def parse_schemes(data: bytes) -> tuple[Candidate, ...]:
    """Read a list of candidate schemes.

    Raises:
        InputError: too large, not such a list, two of one name, a field that is missing, unknown or out of its range.
    """
    items = parse_json(data, limit=MAX_FILE_BYTES)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_SCHEMES:
        raise InputError("a list of schemes holds 1 to {limit} of them", limit=MAX_SCHEMES)
    candidates = tuple(_candidate(item) for item in items)
    names = [each.scheme.name for each in candidates]
    for name in names:
        if names.count(name) > 1:
            raise InputError("two schemes are named {name}", name=name)
    return candidates


def whose(
    candidates: Sequence[Candidate], texts: Sequence[str], tokenizer: Callable[[str | None], TextTokenizer]
) -> tuple[Finding, ...]:
    """Examine texts, read as one, for the watermark of each candidate; the order stays.

    Args:
        candidates: all schemes that come into question.
        texts: excerpts.
        tokenizer: returns the tokenizer at a candidate's path.

    Raises:
        InputError: a text that is too long.
        MissingExtra: without tokenizers or torch.
    """
    rows: dict[str | None, list[tuple[Tokens, ...]]] = {}
    detections = []
    for each in candidates:
        if each.tokenizer not in rows:
            known = tokenizer(each.tokenizer)
            rows[each.tokenizer] = [known.rows(text) for text in texts]
        detections.append(each.scheme.detect(*rows[each.tokenizer]))
    corrected = iter(holm([each.p_value for each in detections if isinstance(each, Detection)]))
    return tuple(
        Finding(candidate.scheme, each, next(corrected) if isinstance(each, Detection) else None)
        for candidate, each in zip(candidates, detections, strict=True)
    )


def _candidate(item: Any) -> Candidate:
    if not isinstance(item, Mapping):
        raise InputError("a scheme is an object with a name and a scheme")
    given = {field: tuple(value) if isinstance(value, list) else value for field, value in item.items()}
    name, kind, tokenizer = (given.pop(field, None) for field in ("name", "scheme", "tokenizer"))
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise InputError("a scheme has a name of 1 to {limit} printable characters", limit=_MAX_NAME)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InputError("scheme {name}: {field} is one of {choices}", name=name, field="scheme", choices=_known())
    return Candidate(_scheme(_KINDS[kind], name, given), _path(name, tokenizer))


def _scheme(kind: type[Scheme], name: str, given: Mapping[str, Any]) -> Scheme:
    known = {field.name: field for field in fields(kind) if field.name != "name"}
    for field in given:
        if field not in known:
            raise InputError("scheme {name}: there is no field {field}", name=name, field=field[:_MAX_NAME])
    for field in known:
        if known[field].default is MISSING and field not in given:
            raise InputError("scheme {name}: {field} is missing", name=name, field=field)
    return kind(name=name, **given)


def _path(name: str, value: Any) -> str | None:
    """Check that a tokenizer lies below the list's folder."""
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value or "\\" in value:
        raise InputError("scheme {name}: the tokenizer is a path below the folder of the list", name=name)
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise InputError("scheme {name}: the tokenizer is a path below the folder of the list", name=name)
    return value


def _known() -> str:
    return ", ".join(_KINDS)
