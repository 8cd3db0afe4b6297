"""The program's commands, in the order of the path that they serve."""

from __future__ import annotations

import click

from countermark import __version__
from countermark.cli.shell import Root

NOUNS = {
    "init": "init",
    "party": "party",
    "register": "register",
    "title": "title",
    "license": "license",
    "request": "request",
    "mark": "mark",
    "trace": "trace",
    "anchor": "anchor",
    "trust": "trust",
    "bundle": "bundle",
    "verify": "verify",
    "key": "key",
    "log": "log",
    "doctor": "doctor",
    "demo": "demo",
}


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"countermark {__version__}")
        ctx.exit()


root = Root(
    name="countermark",
    nouns=NOUNS,
    help="""A rights office for AI models: titles, licences, marks, traces, evidence.

    The path: init, party add, register, license offer and grant, mark, trace, trust export, bundle; elsewhere verify.

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
