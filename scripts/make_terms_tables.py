"""Write the tables of docs/guides/standard-terms.md from the templates themselves; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from countermark.cli.templates import values_of
from countermark.standard_terms import FIELDS, LEDGER_FIELDS, Source, templates

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "standard-terms.md"
BEGIN, END = "<!-- made by scripts/make_terms_tables.py -->\n", "<!-- end of what is made -->\n"


def row(*cells: str) -> str:
    """Return a row of a table in Markdown."""
    return "| " + " | ".join(cells) + " |\n"


def origin(value: Any) -> str:
    """Return where a field of the terms comes from: a value, or a parameter."""
    if isinstance(value, Source):
        factor = {str: f" × `{value.times}`", int: f" × {value.times}"}.get(type(value.times), "")
        return f"`{value.of}`{factor}"
    if isinstance(value, list):
        return ", ".join(value)
    return "yes" if value is True else "no" if value is False else "-" if value is None else str(value)


def fields() -> str:
    """Return the table of fields: those of every template that are the same in all, then one column each."""
    found = templates()
    head = row("field", *(f"`{each.name}`" for each in found)) + row(*["---"] * (len(found) + 1))
    shown = {field: [origin(each.terms[field]) for each in found] for field in FIELDS}
    names = {field: f"{field} ⛓" if field in LEDGER_FIELDS else field for field in FIELDS}
    return head + "".join(row(names[field], *values) for field, values in shown.items())


def parameters() -> str:
    """Return the table of parameters: each kind of use once."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for each in templates():
        for name, parameter in each.parameters.items():
            default = "" if parameter.required else parameter.show(parameter.example)
            default = "its title" if name == "name" else default
            line = (f"`{name}`", parameter.label["en"], values_of(parameter, "en"), default)
            lines.setdefault(line, []).append(each.name)
    every = len(templates())
    head = row("parameter", "meaning", "values", "default", "in") + row(*["---"] * 5)
    where = {line: "all" if len(names) == every else ", ".join(names) for line, names in lines.items()}
    return head + "".join(row(*line, where[line]) for line in sorted(lines))


def purposes() -> str:
    """Return the table of what each template is for."""
    head = row("template", "", "for", "模板") + row(*["---"] * 4)
    return head + "".join(
        row(f"`{each.name}`", each.title["en"], each.purpose["en"], f"{each.title['zh']}：{each.purpose['zh']}")
        for each in templates()
    )


def main() -> int:
    """Write the tables, or compare them."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    made = (
        f"{purposes()}\n### Parameters\n\nWhere no default is given, the parameter has to be.\n\n{parameters()}\n"
        f"### Fields of the terms\n\nA name in `code` is a parameter. What bears ⛓ stands on the ledger field by "
        f"field, the rest by its digest.\n\n{fields()}"
    )
    text = f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}"
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
