"""``countermark license templates`` and ``license text``: standard terms, and the legal text behind an offer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, read_file, write_file
from countermark.cli.shell import Command
from countermark.cli.terms import read_terms
from countermark.cli.text import Row, card, pad, plain, table, width, wrap
from countermark.errors import ConflictError, InputError, StorageError

if TYPE_CHECKING:
    from countermark.licensing import Terms
    from countermark.standard_terms import LegalText, StandardTerms, Template
    from countermark.standard_terms.parameters import Parameter

_PATH = click.Path(path_type=Path)
_LINE = 100

#: The option by which parameters are given.
SET = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter; may be given often.")


@click.command("templates", cls=Command)
@click.argument("name", required=False)
@SET
@click.option("--out", type=_PATH, metavar="DIR", help="Folder for terms.yaml, legal.json, legal.en.md, legal.zh.md.")
def templates(name: str | None, settings: tuple[str, ...], out: Path | None) -> None:
    """List the standard terms, show one with its parameters and text, or fill it in. Needs no workspace.

    A template is a legal text in English and Chinese, and the terms that go with it. Amounts are written as 100.00,
    shares in percent, territories as CN,SG. Without --set the text is shown with the defaults, and with examples where
    a parameter has no default. The digest that the terms name is the SHA-256 of legal.json.

    Templates are no legal advice.

    Example:
      countermark license templates
      countermark license templates hosted-monthly
      countermark license templates hosted-monthly --set price=100.00 --set months=1 --out terms
    """
    from countermark.standard_terms import fill, read_parameters, template

    session = current()
    if name is None:
        if settings or out is not None:
            raise InputError("name the template that is to be filled in")
        _list(session)
        return
    found = template(name)
    given: dict[str, Any] = {**read_parameters(found, _pairs(settings))}
    borrowed = [each for each, parameter in found.parameters.items() if parameter.required and each not in given]
    if out is None:
        given |= {each: found.parameters[each].example for each in borrowed}
        _show(session, found, fill(found, given), borrowed)
    else:
        filled = fill(found, given)
        _write(filled, out)
        _answer(session, found, filled, card([*_fields(session, filled), (session.tr("written to"), str(out))]))


@click.command("text", cls=Command)
@click.argument("source", metavar="OFFER|FILE")
@click.option("--terms", type=_PATH, metavar="FILE", help="Terms that have to name this text.")
def text(source: str, terms: Path | None) -> None:
    """Print the legal text of an offer, and check it against the digest that the terms name.

    With a file (legal.json) no workspace is needed; give --terms to hold it against terms. It is also said whether the
    text is the template's own, word for word.

    Example:
      countermark license text 1
      countermark license text legal.json --terms terms.yaml
    """
    session = current()
    bound, legal = _find(session, source, terms)
    if bound is not None and bound.legal_text != legal.digest:
        raise ConflictError("the terms name another legal text than {digest}", digest=legal.digest)
    standard = legal.is_standard()
    rows = [
        (session.tr("template"), legal.template),
        (session.tr("legal text"), legal.digest),
        (session.tr("named by the terms"), session.tr("not checked") if bound is None else session.tr("yes")),
        (session.tr("template's own words"), session.tr("yes") if standard else session.tr("no")),
    ]
    document = {**legal.to_json(), "digest": legal.digest, "named_by_terms": bound is not None, "standard": standard}
    body = "\n".join(plain(line) for line in legal.texts[session.lang].splitlines())
    session.answer("legal-text", document, f"{body}\n\n{card(rows)}")


def complete(name: str, settings: Sequence[str]) -> StandardTerms:
    """Return a template filled in with what people wrote.

    Raises:
        NotFoundError: no such template.
        InputError: a parameter is missing, unknown, of another kind or out of range.
    """
    from countermark.standard_terms import fill, read_parameters, template

    found = template(name)
    return fill(found, read_parameters(found, _pairs(settings)))


def read_kept_text(path: Path | None) -> LegalText | None:
    """Return the legal text in a file, or None where the file is of another kind, such as a PDF."""
    from countermark.standard_terms import LEGAL_LIMIT, read_legal

    try:
        return read_legal(read_file(path, limit=LEGAL_LIMIT)) if path else None
    except InputError:
        return None


def values_of(parameter: Parameter, lang: str) -> str:
    """Return which values a parameter takes, in few words."""
    from countermark.i18n import tr
    from countermark.standard_terms.parameters import Choice, Number, Text

    if isinstance(parameter, Number):
        unit = parameter.unit[lang] if parameter.unit else "%" if parameter.kind == "share" else ""
        low, high = parameter.show(parameter.low), parameter.show(parameter.high)
        return tr("{low} to {high} {unit}", lang, low=low, high=high, unit=unit).strip()
    if isinstance(parameter, Text):
        return tr("{low} to {high} characters", lang, low=parameter.low, high=parameter.high)
    if isinstance(parameter, Choice):
        return ", ".join(parameter.choices)
    return {"flag": "yes, no", "currency": "CNY, EUR, …", "territory": "worldwide; CN,SG; …"}[parameter.kind]


def _list(session: Session) -> None:
    from countermark.standard_terms import templates as all_templates

    found = all_templates()
    column = max(width(each.name) for each in found) + 2
    lines = []
    for each in found:
        needed = [f"{name}=" for name, parameter in each.parameters.items() if parameter.required]
        others = [name for name, parameter in each.parameters.items() if not parameter.required]
        heading = session.tr("{title}: {purpose}", title=each.title[session.lang], purpose=each.purpose[session.lang])
        names = wrap(", ".join(needed + others), _LINE - column)
        lines += [f"  {pad(each.name, column)}{heading}", *(f"  {'':{column}}{line}" for line in names)]
    session.answer("templates", {"templates": [_describe(each) for each in found]}, "\n".join(lines))
    session.note(session.tr("What is written with = has to be given; the rest has defaults."))


def _describe(found: Template) -> dict[str, Any]:
    """Return a template as a JSON object: values as people write them."""
    parameters = [
        {
            "name": each.name,
            "kind": each.kind,
            "label": dict(each.label),
            "values": values_of(each, "en"),
            "required": each.required,
            "example" if each.required else "default": each.show(each.example),
        }
        for each in found.parameters.values()
    ]
    words = {"title": dict(found.title), "purpose": dict(found.purpose)}
    return {"name": found.name, "version": found.version, **words, "parameters": parameters}


def _show(session: Session, found: Template, filled: StandardTerms, borrowed: list[str]) -> None:
    head = [session.tr("parameter"), session.tr("meaning"), session.tr("values"), session.tr("here")]
    rows = [
        [name, each.label[session.lang], values_of(each, session.lang), each.show(filled.parameters[name])]
        for name, each in found.parameters.items()
    ]
    parts = [table(head, rows), filled.texts[session.lang].rstrip(), card(_fields(session, filled))]
    _answer(session, found, filled, "\n\n".join(parts))
    if borrowed:
        session.note(session.tr("Shown with examples; these have to be given: {names}", names=", ".join(borrowed)))


def _answer(session: Session, found: Template, filled: StandardTerms, text: str) -> None:
    document = {**_describe(found), "filled": {**filled.to_json(), "digest": filled.digest}}
    session.answer("template", {**document, "terms": filled.terms.to_json()}, text)


def _fields(session: Session, filled: StandardTerms) -> list[Row]:
    """Return the rows that say what the offer will fix on the ledger."""
    from countermark.standard_terms import LEDGER_FIELDS
    from countermark.standard_terms.wording import field_label, say_field

    lang = session.lang
    on_ledger = [(field_label(field, lang), say_field(filled.terms, field, lang)) for field in LEDGER_FIELDS]
    digests = [(session.tr("legal text"), filled.digest), (session.tr("terms"), f"sha256:{filled.terms.digest.hex()}")]
    return [*on_ledger, *digests]


def _write(filled: StandardTerms, folder: Path) -> None:
    """Write the four files; replace nothing that differs.

    Raises:
        ConflictError: another file is in the way.
        StorageError: the folder cannot be written.
    """
    import yaml

    head = f"# Standard terms {filled.template}; the legal text is legal.json.\n"
    terms = yaml.safe_dump(filled.terms.to_json(), sort_keys=False, allow_unicode=True)
    files = {"terms.yaml": (head + terms).encode(), "legal.json": filled.document}
    files |= {f"legal.{lang}.md": words.encode() for lang, words in filled.texts.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot write in {path}", path=folder) from error
    for name, data in files.items():
        if (folder / name).exists() and read_file(folder / name, limit=2**20) != data:
            raise ConflictError("{path} is there already", hint="Choose another folder with --out.", path=folder / name)
    for name, data in files.items():
        write_file(folder / name, data)


def _find(session: Session, source: str, terms: Path | None) -> tuple[Terms | None, LegalText]:
    from countermark.standard_terms import LEGAL_LIMIT, read_legal
    from countermark.workflows.legal import text_of_offer

    given = read_terms(terms) if terms is not None else None
    if not (source.isascii() and source.isdigit()):
        return given, read_legal(read_file(Path(source), limit=LEGAL_LIMIT))
    with session.office() as office:
        bound, legal = text_of_offer(office, int(source))
    return given or bound, legal


def _pairs(settings: Sequence[str]) -> dict[str, str]:
    pairs = [(name.strip(), value.strip()) for name, _, value in (text.partition("=") for text in settings)]
    if any("=" not in text for text in settings):
        raise InputError("a parameter is given as NAME=VALUE")
    if len(dict(pairs)) < len(pairs):
        raise InputError("a parameter is given twice")
    return dict(pairs)
