"""The documents keep up with the code: error codes, decision records, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from countermark import errors
from countermark.cli import main
from countermark.evidence import audits, steps, traces

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md", "contracts/*.md", "vectors/*.md")
    for path in ROOT.glob(pattern)
)
RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
# Fenced code and comments hold no headings and no links that a reader sees.
_UNSEEN = re.compile(r"^(```|~~~).*?^\1|<!--.*?-->", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")


def error_classes(
    root: type[errors.CountermarkError] = errors.CountermarkError,
) -> Iterator[type[errors.CountermarkError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def anchors(page: Path) -> set[str]:
    """Heading anchors as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _UNSEEN.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for target in _LINK.findall(_UNSEEN.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = unquote(target).partition("#")
        goal = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", target):
            continue
        if not goal.exists() or (anchor and goal.suffix == ".md" and anchor not in anchors(goal)):
            yield target


def test_every_error_code_is_unique_and_documented() -> None:
    codes = [cls.code for cls in error_classes()]
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    documented = re.findall(r"^##+ `([a-z-]+)`$", page, re.MULTILINE)
    assert len(set(codes)) == len(codes)
    assert sorted(documented) == sorted(codes)


def test_every_error_class_stands_in_the_tree_with_its_code() -> None:
    tree = errors.__doc__ or ""
    for cls in error_classes():
        if cls is not errors.CountermarkError:
            assert re.search(rf"^ +{cls.__name__} +{cls.code}\b", tree, re.MULTILINE), cls


def test_the_error_page_states_the_exit_status_of_each_top_code() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    stated = {code: int(status) for code, status in re.findall(r"^##+ `([a-z-]+)`\n\nExit (\d)", page, re.MULTILINE)}
    by_code = {cls.code: cls for cls in error_classes()}
    assert all(by_code[code].exit_code == status for code, status in stated.items())
    assert {cls.code for cls in errors.CountermarkError.__subclasses__()} <= stated.keys()


def test_the_guide_lists_the_steps_of_a_verification_in_order_and_its_caveats() -> None:
    page = (ROOT / "docs" / "guides" / "verify.md").read_text(encoding="utf-8")
    named = [name for name, _ in (*traces.STEPS, *audits.STEPS[len(steps.COMMON) :])]
    assert re.findall(r"^\d+\. \*\*([a-z]+)\*\* — ", page, re.MULTILINE) == named
    sources = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (steps, traces, audits))
    caveats = re.findall(r"caveats\.append\(\"([a-z-]+)\"\)", sources)
    assert caveats
    assert all(f"`{caveat}`" in page for caveat in caveats)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_decision_record_names_its_price_and_its_evidence(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert re.match(rf"# {int(record.stem[:4])}\. \S", text)
    sections = dict(re.findall(r"^## (.+)\n\n((?:(?!^## ).*\n?)+)", text, re.MULTILINE))
    assert list(sections) == ["Decision", "Why", "Price", "Evidence"]
    assert all(len(body.split()) >= 15 for body in sections.values())


def test_the_index_lists_every_decision_record() -> None:
    listed = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8"))
    assert listed == [record.name for record in RECORDS]
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    pages = [*PAGES, ROOT / ".ci" / "run"]
    named = {name for page in pages for name in re.findall(r"(?:^ *|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert {"install", "demo", "test", "test-slow", "check", "bench", "contracts"} <= targets
    assert named <= targets


def unknown_words(line: str) -> list[str]:
    """What a documented command line names and the program does not know: a command or an option."""
    command: click.Command = main
    words = shlex.split(line, comments=True)[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        if found is None:
            return [name]
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    return [word for word in words if word.startswith("-") and word not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    lines = re.findall(r"^ {4}(countermark .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {line: unknown_words(line) for line in lines if unknown_words(line)} == {}
