"""Standard terms: contract templates that an owner fills in instead of writing terms and a legal text.

``fill`` turns a template and its parameters into terms and a legal text in English and Chinese. The digest in
``Terms.legal_text`` is the plain SHA-256 of ``legal.json``: the canonical JSON (RFC 8785, UTF-8, no line end) of ::

    {"format": "countermark.legal-text/1", "template": "NAME/VERSION", "parameters": {…}, "texts": {"en": …, "zh": …}}

so ``sha256sum legal.json`` recomputes it, and it covers both languages and every parameter. Amounts are held in the
smallest unit and shares in basis points.

Laws:
    ``fill`` is a function: equal parameters give equal texts and digests, different ones different digests;
    every field of the terms is said in both texts, by the same function of the terms;
    ``LegalText.from_json(t.to_json()) == t``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countermark.core.canonical import canonical_json, parse_json, show_digest
from countermark.errors import CountermarkError, InputError
from countermark.licensing import Terms
from countermark.standard_terms.catalogue import FIELDS, LEDGER_FIELDS, Source, Template, template, templates
from countermark.standard_terms.parameters import LANGUAGES, Parameter, Value
from countermark.standard_terms.wording import write_text

__all__ = [
    "FIELDS",
    "LANGUAGES",
    "LEDGER_FIELDS",
    "LEGAL_FORMAT",
    "LEGAL_LIMIT",
    "LegalText",
    "Parameter",
    "Source",
    "StandardTerms",
    "Template",
    "Value",
    "fill",
    "read_legal",
    "read_parameters",
    "template",
    "templates",
]

LEGAL_FORMAT = "countermark.legal-text/1"
#: Largest legal text in bytes: what a bundle takes.
LEGAL_LIMIT = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalText:
    """A legal text in both languages, with the template and the parameters behind it.

    Attributes:
        template: name and version of the template.
        parameters: their values, as documents hold them.
        texts: Markdown, by language.
    """

    template: str
    parameters: Mapping[str, Value]
    texts: Mapping[str, str]

    @property
    def document(self) -> bytes:
        """The bytes of ``legal.json``."""
        return canonical_json(self.to_json())

    @property
    def digest(self) -> str:
        """What ``Terms.legal_text`` holds: SHA-256 of the document."""
        return show_digest(hashlib.sha256(self.document).digest())

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        body = {"template": self.template, "parameters": dict(self.parameters), "texts": dict(self.texts)}
        return {"format": LEGAL_FORMAT, **body}

    @classmethod
    def from_json(cls, value: Any) -> LegalText:
        """Validate a document.

        Raises:
            InputError: it is no legal text of this format.
        """
        if not isinstance(value, Mapping) or value.get("format") != LEGAL_FORMAT:
            raise InputError("not a legal text in the format {format}", format=LEGAL_FORMAT)
        known = set(value) == {"format", "template", "parameters", "texts"}
        if not known or not isinstance(value["template"], str) or not isinstance(value["parameters"], dict):
            raise InputError("the legal text has other parts than template, parameters and texts")
        texts = value["texts"]
        if not isinstance(texts, dict) or set(texts) != set(LANGUAGES) or not all(map(_is_text, texts.values())):
            raise InputError("the legal text is not given in English and in Chinese")
        return cls(template=value["template"], parameters=value["parameters"], texts=texts)

    def is_standard(self) -> bool:
        """Whether the template of that name and version, with these parameters, gives these very texts."""
        try:
            found = template(self.template.rpartition("/")[0])
            return fill(found, self.parameters).document == self.document
        except CountermarkError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardTerms(LegalText):
    """A template as it was filled in: the legal text, and the terms that carry its digest."""

    terms: Terms


def fill(source: Template, parameters: Mapping[str, Any]) -> StandardTerms:
    """Fill in a template.

    Args:
        source: the template.
        parameters: values as documents hold them; where one with a default is left out, the default counts.

    Raises:
        InputError: a parameter is missing, unknown, of another kind or out of range.
    """
    values = _complete(source, parameters)
    fields = {name: each.value(values) if isinstance(each, Source) else each for name, each in source.terms.items()}
    terms = Terms.from_json(fields)
    texts = {lang: write_text(source, terms, values, lang) for lang in LANGUAGES}
    legal = LegalText(template=source.id, parameters=values, texts=texts)
    return StandardTerms(
        template=source.id,
        parameters=values,
        texts=texts,
        terms=Terms.from_json({**fields, "legal_text": legal.digest}),
    )


def read_parameters(source: Template, given: Mapping[str, str]) -> dict[str, Value]:
    """Return the values that a person wrote for parameters of a template.

    Raises:
        InputError: a parameter is unknown, of another kind or out of range.
    """
    return {name: _named(source, name).read(text) for name, text in given.items()}


def read_legal(data: bytes) -> LegalText:
    """Read the bytes of ``legal.json``.

    Raises:
        InputError: they are no legal text of this format, or not in canonical form.
    """
    legal = LegalText.from_json(parse_json(data, limit=LEGAL_LIMIT))
    if legal.document != data:
        raise InputError("the legal text is not in canonical form, so its digest is another one")
    return legal


def _complete(source: Template, given: Mapping[str, Any]) -> dict[str, Value]:
    """Check what is given, and put the defaults beside it, in the order of the template."""
    checked = {name: _named(source, name).check(value) for name, value in given.items()}
    missing = [name for name, each in source.parameters.items() if each.required and name not in checked]
    if missing:
        raise InputError(
            "template {template} needs the parameter {name}",
            hint="Give it with: --set {name}={example}",
            template=source.name,
            name=missing[0],
            example=source.parameters[missing[0]].show(source.parameters[missing[0]].example),
        )
    return {name: checked.get(name, each.example) for name, each in source.parameters.items()}


def _named(source: Template, name: str) -> Parameter:
    if name not in source.parameters:
        raise InputError(
            "template {template} has no parameter {name}",
            hint="Parameters: {known}",
            template=source.name,
            name=str(name)[:40],
            known=", ".join(source.parameters),
        )
    return source.parameters[name]


def _is_text(value: object) -> bool:
    return isinstance(value, str)
