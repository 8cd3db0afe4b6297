"""Click, with our habits: global options that stand anywhere, and help in two languages, laid out by display width."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from countermark.cli.session import Session
from countermark.cli.text import EXAMPLE, pad, paragraphs, width, wrap
from countermark.errors import UsageProblem
from countermark.i18n import LANGUAGES, tr

_WIDEST_OPTION = 30


class Formatter(click.HelpFormatter):
    """Help laid out by display width, in the session's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line with a translated prefix."""
        super().write_usage(prog, args, prefix or tr("Usage: ", _lang()))

    def write_heading(self, heading: str) -> None:
        """Write a translated heading."""
        self.write(f"{'':>{self.current_indent}}{tr(heading, _lang())}{tr(':', _lang())}\n")

    def write_text(self, text: str) -> None:
        """Write one paragraph."""
        for line in wrap(text, self.width - self.current_indent):
            self.write(f"{'':>{self.current_indent}}{line}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = _WIDEST_OPTION, col_spacing: int = 2) -> None:
        """Write names and their explanations in two columns."""
        rows = list(rows)
        column = min(max(width(name) for name, _ in rows), col_max) + col_spacing
        for name, text in rows:
            lines = wrap(text, max(20, self.width - self.current_indent - column)) or [""]
            if width(name) > column - col_spacing:
                self.write(f"{'':>{self.current_indent}}{name}\n")
                name = ""
            for line in lines:
                self.write(f"{'':>{self.current_indent}}{pad(name, column)}{line}".rstrip() + "\n")
                name = ""


class _Context(click.Context):
    formatter_class = Formatter


class _Helpful(click.Command):
    """What commands and groups share: global options, and help in the reader's language."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {"help_option_names": ["-h", "--help"], **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)
        self.params += global_options()

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first line of the help, translated and whole."""
        return tr(next(paragraphs(self.help or "")), _lang())

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help's paragraphs; the lines of an example are not wrapped."""
        for paragraph in paragraphs(self.help or ""):
            formatter.write_paragraph()
            with formatter.indentation():
                if not paragraph.startswith(EXAMPLE):
                    formatter.write_text(tr(paragraph, _lang()))
                    continue
                heading, *lines = paragraph.splitlines()
                formatter.write_text(tr(heading, _lang()))
                formatter.write("".join(f"{'':>{formatter.current_indent}}{line}\n" for line in lines))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's options, then the global ones."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = _described(param, ctx)
            if record is not None:
                (shared if isinstance(param, _Global) or param.name == "help" else own).append(record)
        for heading, rows in (("Options", own), ("Global options", shared)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Command(_Helpful):
    """A command whose function returns its exit status, None for 0."""


class Group(_Helpful, click.Group):
    """A noun with its verbs."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of their life."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        Raises:
            UsageProblem: there is none.
        """
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = ", ".join(self.list_commands(ctx))
            raise UsageProblem("there is no command {name}", hint="Commands: {known}", name=args[0], known=known)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands first, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every command with the first line of its help."""
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str()) for name, command in named if command])


def global_options() -> list[click.Parameter]:
    """Return the options that every command takes, before or after its name."""
    return [
        _Global(["-w", "--workspace"], metavar="DIR", help="Folder of the workspace."),
        _Global(["--passphrase-file"], metavar="FILE", help="File that holds the passphrase."),
        _Global(["--lang"], type=click.Choice(LANGUAGES), help="Language of what people read."),
        _Global(["--json"], is_flag=True, help="Print one JSON object on stdout."),
        _Global(["-q", "--quiet"], is_flag=True, help="Print the answer and nothing else."),
        _Global(["--debug"], is_flag=True, help="Show the traceback of an error."),
    ]


class _Global(click.Option):
    def __init__(self, names: list[str], **kwargs: Any) -> None:
        super().__init__(names, expose_value=False, callback=_note, **kwargs)


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    session = ctx.find_object(Session)
    if session is not None and value and param.name:
        setattr(session, param.name, value)


def _described(param: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    if isinstance(param, click.Argument):
        return None
    record = param.get_help_record(ctx)
    if record is None or not isinstance(param, click.Option):
        return record
    extra = param.get_help_extra(ctx)
    notes = [tr("required", _lang())] if "required" in extra else []
    notes += [tr("default: {value}", _lang(), value=extra["default"])] if "default" in extra else []
    return record[0], tr(param.help or "", _lang()) + (f"  [{', '.join(notes)}]" if notes else "")


def _lang() -> str:
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context else None
    return session.lang if session else LANGUAGES[0]
