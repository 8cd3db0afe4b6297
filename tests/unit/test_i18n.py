"""The Chinese catalogue is complete, has nothing stale and keeps every field; templates are collected from the code."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import click
import pytest

from countermark import errors
from countermark.cli.root import root
from countermark.cli.text import EXAMPLE, paragraphs
from countermark.i18n import pick_language, tr

PACKAGE = Path(errors.__file__).parent
CATALOGUE: dict[str, str] = json.loads((PACKAGE / "locale" / "zh.json").read_text(encoding="utf-8"))
# Written into help by click or by the formatter, not by a literal call.
FIXED = {"Options", "Global options", "Commands", ":", EXAMPLE, "Show this message and exit."}
# One field and no words: a translation could not say more.
WORDLESS = {"{reason}", "{name}: {reason}", "{office}", "{owner}; {licensee}", "p_ours = {value}"}
# A template passed on from another error.
PASSED_ON = {"error.template", "error.hint_template"}


def subclasses(base: type) -> Iterator[type]:
    yield base
    for child in base.__subclasses__():
        yield from subclasses(child)


ERRORS = {cls.__name__ for cls in subclasses(errors.CountermarkError)}


def literals(node: ast.expr, constants: dict[str, ast.expr]) -> Iterator[str]:
    """The strings that an expression may be: a literal, a module's constant, or either branch of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in constants:
        yield from literals(constants[node.id], constants)
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body, constants)
        yield from literals(node.orelse, constants)


def sites(tree: ast.Module) -> Iterator[ast.expr]:
    """Every expression of a module that is a template."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in ERRORS and call.args:
            yield call.args[0]
            yield from (keyword.value for keyword in call.keywords if keyword.arg == "hint")
        elif name == "Meaning":  # of a contract's refusal: class of the error, template, hint
            yield from call.args[1:]
        elif name in ("tr", "say") and call.args and isinstance(call.args[0], ast.Constant):
            yield call.args[0]


def collected() -> dict[str, str]:
    """Every template, and the module that it stands in."""
    found = {text: "help" for text in FIXED | set(help_texts(root))}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for site in sites(tree):
            where = f"{path.relative_to(PACKAGE)}:{site.lineno}"
            texts = list(literals(site, constants))
            assert texts or ast.unparse(site) in PASSED_ON, f"{where}: a template must be a literal string"
            found |= dict.fromkeys(texts, where)
    return {text: where for text, where in found.items() if text and text not in WORDLESS}


def help_texts(command: click.Command) -> Iterator[str]:
    yield from (text for text in paragraphs(command.help or "") if not text.startswith(EXAMPLE))
    yield from (option.help for option in command.params if isinstance(option, click.Option) and option.help)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from help_texts(child)


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def test_every_template_has_a_translation() -> None:
    missing = {text: where for text, where in collected().items() if text not in CATALOGUE}
    assert missing == {}


def test_no_translation_is_stale() -> None:
    assert set(CATALOGUE) - set(collected()) == set()


@pytest.mark.parametrize("template", CATALOGUE)
def test_a_translation_has_the_fields_of_its_template(template: str) -> None:
    assert fields(CATALOGUE[template]) == fields(template)


def test_translations_are_chinese() -> None:
    plain = [text for template, text in CATALOGUE.items() if not re.search(r"[\u3400-\u9fff：、]", text)]
    assert plain == []


def test_an_unknown_template_is_shown_in_english() -> None:
    assert tr("no such template {x}", "zh", x=1) == "no such template 1"
    assert tr("no such template {x}", "fr") == "no such template {x}"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"COUNTERMARK_LANG": "zh", "LC_ALL": "C"}, "zh"),
        ({"COUNTERMARK_LANG": "fr"}, "en"),
    ],
)
def test_the_environment_picks_the_language(environment: dict[str, str], language: str) -> None:
    assert pick_language(environment) == language
