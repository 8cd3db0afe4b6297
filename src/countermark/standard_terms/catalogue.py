"""The templates that are part of the package: one strict file each, and the words that they share.

A template's file names its parameters, the value or the parameter behind every field of the terms, and the order of
its articles; a name among the parameters stands for one in ``common.json``. A field is a value, ``{"of": parameter}``,
or ``{"of": parameter, "times": number or parameter}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from countermark.core.canonical import parse_json
from countermark.errors import InputError, NotFoundError
from countermark.licensing import SCOPES, Terms
from countermark.standard_terms.parameters import KINDS, LANGUAGES, Choice, Number, Parameter, Text, Value, Words

TEMPLATE_FORMAT = "countermark.template/1"
WORDS_FORMAT = "countermark.template-words/1"
#: The fields of terms that a template sets: all but the digest of the text, which follows.
FIELDS = tuple(name for name in Terms.__dataclass_fields__ if name != "legal_text")
#: Those that an offer fixes on the ledger one by one (``Terms.conditions``); of the others it holds the digest.
LEDGER_FIELDS = tuple(
    name for name in FIELDS if name not in ("name", "currency", "derivative_royalty_bps", "attribution")
)

_HERE = Path(__file__).parent
_TEMPLATE_KEYS = frozenset({"format", "name", "version", "title", "purpose", "parameters", "terms", "articles"})
_NUMBERS = ("number", "amount", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a field of the terms comes from: a parameter, perhaps multiplied."""

    of: str
    times: int | str | None = None

    def value(self, parameters: Mapping[str, Value]) -> Any:
        """Return the field's value."""
        value = parameters[self.of]
        if self.times is None:
            return value
        factor = parameters[self.times] if isinstance(self.times, str) else self.times
        assert isinstance(value, int)  # the template's file was checked
        assert isinstance(factor, int)
        return value * factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A contract template.

    Attributes:
        name: what people call it by.
        version: changes with every change of its words; together they are its ``id``.
        title: its heading, in every language.
        purpose: what it is for.
        parameters: by name, in the order in which they are listed.
        terms: for every field in ``FIELDS`` its value, or its ``Source``.
        articles: names of its articles, in order.
    """

    name: str
    version: int
    title: Words
    purpose: Words
    parameters: Mapping[str, Parameter]
    terms: Mapping[str, Any]
    articles: tuple[str, ...]

    @property
    def id(self) -> str:
        """Name and version, as legal texts cite it."""
        return f"{self.name}/{self.version}"

    @property
    def examples(self) -> dict[str, Value]:
        """Values that complete the template: the defaults, and an example where there is none."""
        return {name: parameter.example for name, parameter in self.parameters.items()}

    def in_terms(self) -> set[str]:
        """Return the parameters that stand in the terms as they are."""
        return {source.of for source in self.terms.values() if isinstance(source, Source) and source.times is None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What the templates share: parameters, words, and the names of acts and of fields, in every language."""

    parameters: Mapping[str, Parameter]
    words: Mapping[str, Words]
    scopes: Mapping[str, Words]
    fields: Mapping[str, Words]


def templates() -> tuple[Template, ...]:
    """Return every template, in the order of the alphabet."""
    return tuple(_load(path.stem) for path in sorted((_HERE / "templates").glob("*.json")))


def template(name: str) -> Template:
    """Return a template by its name.

    Raises:
        NotFoundError: there is none.
    """
    known = [each.name for each in templates()]
    if name not in known:
        raise NotFoundError(
            "there is no template {name}", hint="Templates: {known}", name=name[:40], known=", ".join(known)
        )
    return _load(name)


@lru_cache(maxsize=1)
def common() -> Common:
    """Return what the templates share."""
    body = _read(_HERE / "common.json", WORDS_FORMAT)
    _keys(body, "common", frozenset({"format", "parameters", "words", "scopes", "fields"}))
    found = Common(
        parameters={each.name: each for each in map(read_parameter, body["parameters"])},
        words={name: _words(each, name) for name, each in body["words"].items()},
        scopes={name: _words(each, name) for name, each in body["scopes"].items()},
        fields={name: _words(each, name) for name, each in body["fields"].items()},
    )
    if tuple(found.scopes) != SCOPES or set(found.fields) != set(FIELDS):
        raise malformed("common", "it does not name every act and every field")
    return found


@lru_cache
def articles(lang: str, name: str) -> Mapping[str, tuple[str, ...]]:
    """Return the articles of a file of texts: each its heading, then its paragraphs."""
    text = (_HERE / "texts" / f"{name}.{lang}.md").read_text(encoding="utf-8")
    found: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head, *paragraphs = (part.strip() for part in re.split(r"\n\s*\n", block.strip()))
        key, _, heading = head.partition(": ")
        found[key] = (heading, *paragraphs)
    return found


def malformed(where: str, reason: str) -> InputError:
    """Return the error of a file of ours that breaks its schema."""
    return InputError("template {name} is malformed: {reason}", name=where, reason=reason)


def read_template(body: Any) -> Template:
    """Validate the document of a template.

    Raises:
        InputError: naming what is wrong, missing or unknown.
    """
    name = str(body.get("name"))
    _keys(body, name, _TEMPLATE_KEYS)
    listed = [common().parameters.get(each) if isinstance(each, str) else read_parameter(each)
              for each in body["parameters"]]  # fmt: skip
    if None in listed:
        raise malformed(name, "a parameter is not among the common ones")
    parameters = {each.name: each for each in listed if each is not None}
    if len(parameters) != len(listed):
        raise malformed(name, "a parameter is listed twice")
    return Template(
        name=name,
        version=int(body["version"]),
        title=_words(body["title"], name),
        purpose=_words(body["purpose"], name),
        parameters=parameters,
        terms=_sources(body["terms"], parameters, name),
        articles=tuple(body["articles"]),
    )


def read_parameter(body: Any) -> Parameter:
    """Validate the document of a parameter.

    Raises:
        InputError: naming what is wrong, missing or unknown.
    """
    name = str(body.get("name"))
    cls = KINDS.get(body.get("kind"))
    if cls is None or ("default" in body) == ("example" in body):
        raise malformed(name, "a parameter has a kind, and either a default or an example")
    own: dict[str, Any] = {}
    if issubclass(cls, Number):
        own = {"low": cls.parse(body["low"]), "high": cls.parse(body["high"])}
        own |= {"unit": _words(body["unit"], name)} if cls is Number else {}
    elif issubclass(cls, Text):
        own = {"low": int(body["low"]), "high": int(body["high"])}
    elif issubclass(cls, Choice):
        own = {"choices": {key: _words(each, name) for key, each in body["choices"].items()}}
    required = "example" in body
    written = "example" if required else "default"
    _keys(body, name, frozenset({"name", "kind", "label", written, *own}))
    blank = cls(name=name, label=_words(body["label"], name), **own)
    return replace(blank, example=blank.read(body[written]), required=required)


@lru_cache
def _load(name: str) -> Template:
    found = read_template(_read(_HERE / "templates" / f"{name}.json", TEMPLATE_FORMAT))
    if found.name != name:
        raise malformed(name, "it has another name than its file")
    return found


def _read(path: Path, kind: str) -> dict[str, Any]:
    body = parse_json(path.read_bytes())
    if not isinstance(body, dict) or body.get("format") != kind:
        raise malformed(path.stem, f"it is no {kind}")
    return body


def _keys(body: Mapping[str, Any], where: str, wanted: frozenset[str]) -> None:
    if set(body) != wanted:
        raise malformed(where, f"its keys are {sorted(body)}, not {sorted(wanted)}")


def _words(body: Any, where: str) -> Words:
    if (
        not isinstance(body, dict)
        or tuple(body) != LANGUAGES
        or not all(isinstance(each, str) for each in body.values())
    ):
        raise malformed(where, "a text is given in English and in Chinese")
    return body


def _sources(body: Mapping[str, Any], parameters: Mapping[str, Parameter], where: str) -> dict[str, Any]:
    _keys(body, where, frozenset(FIELDS))
    found = {field: Source(**each) if isinstance(each, dict) else each for field, each in body.items()}
    for source in (each for each in found.values() if isinstance(each, Source)):
        names = [name for name in (source.of, source.times) if isinstance(name, str)]
        if not set(names) <= set(parameters):
            raise malformed(where, f"{source.of} is no parameter")
        if source.times is not None and any(parameters[name].kind not in _NUMBERS for name in names):
            raise malformed(where, f"{source.of} is no number")
    return found
