"""Write docs/reference/cli.md from the commands themselves; ``--check`` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from countermark.cli.root import root
from countermark.cli.session import Session
from countermark.cli.shell import Formatter

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """\
# Commands

Made from the commands themselves by `scripts/make_cli_reference.py`; `countermark COMMAND --help` shows the same.

Exit status: **0** yes · **1** a clear no · **2** wrong usage or input · **3** could not tell.

Every command takes the global options, before or after its name. With `--json` it prints one JSON object on stdout,
whose `type` names it, or `countermark.error/1` with one of the [codes](errors.md); `demo` alone ends with an object
without a type. What people read besides goes to stderr.
"""


def sections(command: click.Command, name: str) -> Iterator[str]:
    """Return the page's section of a command, then those of its subcommands."""
    context = click.Context(command, info_name=name, obj=Session())
    with context:
        formatter = Formatter(width=100)
        command.format_usage(context, formatter)
        command.format_help_text(context, formatter)
        command.format_options(context, formatter)
    depth = "#" * min(1 + len(name.split()), 4)
    yield f"{depth} {name}\n\n```text\n{formatter.getvalue().rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            member = command.get_command(context, child)
            if member is not None:
                yield from sections(member, f"{name} {child}")


def main() -> int:
    """Write the page, or compare it."""
    text = "\n".join([HEAD, *sections(root, "countermark")])
    if "--check" in sys.argv[1:]:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
