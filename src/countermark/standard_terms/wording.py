"""The legal text: articles with their gaps filled, numbered, and a schedule of every field of the terms.

A gap ``{terms.FIELD}`` is filled from the terms, ``{PARAMETER}`` from a parameter, ``{@ARTICLE}`` with an article's
number. A paragraph that begins with ``{?terms.FIELD}`` stands only where the field is set, with ``{!terms.FIELD}`` only
where it is not; a paragraph ``{+ARTICLE}`` stands for those of the common article. So what the text says of a field of
the terms is what the terms say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from countermark.licensing import WORLDWIDE, Terms
from countermark.standard_terms.catalogue import FIELDS, LEDGER_FIELDS, Template, articles, common, malformed
from countermark.standard_terms.parameters import Amount, Parameter, Value, say_amount, say_share

_CONDITION = re.compile(r"\{([?!])terms\.([a-z_]+)\}")
_COMMON = re.compile(r"\{\+([a-z-]+)\}")
_GAP = re.compile(r"\{(@?[a-z_.-]+)\}")


def write_text(template: Template, terms: Terms, parameters: Mapping[str, Value], lang: str) -> str:
    """Return the legal text of a completed template in one language, as Markdown."""
    name = "" if terms.name in template.title.values() else _word("colon", lang) + terms.name
    advice = "> " + _word("advice", lang).format(template=template.id)
    gaps = _gaps(template, terms, parameters, lang)
    body = (_article(template, number, terms, gaps, lang) for number in range(1, len(template.articles) + 1))
    return (
        "\n\n".join([f"# {template.title[lang]}{name}", advice, *body, _schedule(template, terms, parameters, lang)])
        + "\n"
    )


def field_label(field: str, lang: str) -> str:
    """Return what a field of the terms is called."""
    return common().fields[field][lang]


def say_field(terms: Terms, field: str, lang: str) -> str:
    """Return a field of the terms as the legal text says it."""
    value = getattr(terms, field)
    if field in ("price", "bond"):
        return f"{terms.currency} {say_amount(value)}"
    if field.endswith("_bps"):
        return _word("none", lang) if value is None else say_share(value, lang)
    if field == "scope":
        return _word("comma", lang).join(common().scopes[act][lang] for act in value)
    if field == "territory":
        return _territory(value, lang)
    if isinstance(value, bool):
        return _word("yes" if value else "no", lang)
    if isinstance(value, int):
        return _count(field, value, lang)
    return value if isinstance(value, str) else _word("open", lang)


def _count(field: str, value: int, lang: str) -> str:
    if field == "seats":
        return f"{value:,}" if value else _word("any", lang)
    unit = {"duration_days": "day", "notice_hours": "hour"}[field]
    return _word(unit if value == 1 else unit + "s", lang).format(value=f"{value:,}")


def _territory(codes: tuple[str, ...], lang: str) -> str:
    if codes == (WORLDWIDE,):
        return _word("worldwide", lang)
    return _word("codes", lang).format(codes=_word("comma", lang).join(codes))


def _gaps(template: Template, terms: Terms, parameters: Mapping[str, Value], lang: str) -> dict[str, str]:
    """Return what fills each gap."""
    said = {f"terms.{field}": say_field(terms, field, lang) for field in FIELDS}
    said |= {name: template.parameters[name].say(value, lang) for name, value in parameters.items()}
    return said | {f"@{name}": str(at) for at, name in enumerate(template.articles, 1)}


def _article(template: Template, number: int, terms: Terms, gaps: Mapping[str, str], lang: str) -> str:
    heading, *paragraphs = _find(template, template.articles[number - 1], lang)
    kept = [text for text in (_kept(each, terms) for each in paragraphs) if text]
    lines = [f"{number}.{at} {_fill(text, gaps, template.name)}" for at, text in enumerate(kept, 1)]
    return "\n\n".join(["## " + _word("heading", lang).format(number=number, title=heading), *lines])


def _find(template: Template, name: str, lang: str) -> Iterator[str]:
    """Return an article's heading and paragraphs: the template's own, or else the common one."""
    own, shared = articles(lang, template.name), articles(lang, "common")
    if name not in own and name not in shared:
        raise malformed(template.name, f"there is no article {name}")
    for paragraph in own.get(name) or shared[name]:
        inserted = _COMMON.fullmatch(paragraph)
        yield from shared[inserted[1]][1:] if inserted else (paragraph,)


def _kept(paragraph: str, terms: Terms) -> str:
    """Return a paragraph without its condition, or nothing where that does not hold."""
    condition = _CONDITION.match(paragraph)
    if condition is None:
        return paragraph
    holds = bool(getattr(terms, condition[2])) == (condition[1] == "?")
    return paragraph[condition.end() :] if holds else ""


def _fill(paragraph: str, gaps: Mapping[str, str], where: str) -> str:
    def fill(gap: re.Match[str]) -> str:
        if gap[1] not in gaps:
            raise malformed(where, f"nothing fills {gap[0]}")
        return gaps[gap[1]]

    return _GAP.sub(fill, paragraph)


def _schedule(template: Template, terms: Terms, parameters: Mapping[str, Value], lang: str) -> str:
    """Return the schedule: the fields on the ledger, the other fields, the parameters that only the text holds."""
    said = {field: (field_label(field, lang), say_field(terms, field, lang)) for field in FIELDS}
    on_ledger = [said.pop(field) for field in LEDGER_FIELDS]
    further = [
        (each.label[lang][:1].upper() + each.label[lang][1:], _particular(each, parameters[name], terms.currency, lang))
        for name, each in template.parameters.items()
        if name not in template.in_terms()
    ]
    parts = [("part_a", on_ledger), ("part_b", list(said.values())), ("part_c", further)]
    blocks = [f"### {_word(part, lang)}\n\n{_table(rows, lang)}" for part, rows in parts]
    return "\n\n".join([f"## {_word('schedule', lang)}", *blocks])


def _particular(parameter: Parameter, value: Any, currency: str, lang: str) -> str:
    said = parameter.say(value, lang)
    return f"{currency} {said}" if type(parameter) is Amount else said


def _table(rows: list[tuple[str, str]], lang: str) -> str:
    head = f"| {_word('field', lang)} | {_word('value', lang)} |\n|---|---|"
    return "\n".join([head, *(f"| {label} | {value} |" for label, value in rows)])


def _word(name: str, lang: str) -> str:
    return common().words[name][lang]
