"""The program: its commands, in the order of the path that they serve."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from countermark import __version__
from countermark.cli.edge import run
from countermark.cli.session import Session
from countermark.cli.shell import Group

NOUNS = (
    "init",
    "party",
    "train",
    "audit",
    "register",
    "title",
    "license",
    "market",
    "money",
    "case",
    "hold",
    "history",
    "document",
    "request",
    "mark",
    "generate",
    "attack",
    "trace",
    "anchor",
    "trust",
    "bundle",
    "verify",
    "whose",
    "key",
    "log",
    "ledger",
    "doctor",
    "demo",
)


class Root(Group):
    """The program: commands are imported when they are named, and every error is shown in one way.

    A noun's module and its command have its name.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the path."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in NOUNS:
            return None
        command: click.Command = getattr(importlib.import_module(f"countermark.cli.{cmd_name}"), cmd_name)
        return command

    def main(  # type: ignore[override]  # click's may return, ours never does
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command line and exit with its status."""
        arguments = list(sys.argv[1:] if args is None else args)
        session = Session.guess(arguments)
        extra |= {"standalone_mode": False, "obj": session}
        sys.exit(run(session, lambda: super(Root, self).main(arguments, prog_name or "countermark", **extra)))


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"countermark {__version__}")
        ctx.exit()


root = Root(
    name="countermark",
    help="""A rights office for AI models: titles, licences, marks, traces, evidence.

    The path: init, party add, audit memorization, register, license offer and grant, mark or generate, trace, trust
    export, bundle; elsewhere verify.

    The workspace is the one of -w, else COUNTERMARK_WORKSPACE, else the folder you are in if it is one, else
    ./countermark-workspace. The passphrase comes from --passphrase-file, COUNTERMARK_PASSPHRASE_FILE,
    COUNTERMARK_PASSPHRASE or a prompt; there is no default. The language comes from --lang, COUNTERMARK_LANG or the
    locale.

    Exit status: 0 yes; 1 a clear no; 2 wrong usage or input; 3 could not tell.

    Example:
      countermark demo
      countermark init
    """,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version.",
        )
    ],
)
