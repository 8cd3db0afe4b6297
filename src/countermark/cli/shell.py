"""Click, with four habits of ours: lazy commands, options that stand anywhere, help in two languages, one error edge.

Exit status: 0 yes, 1 a clear no, 2 wrong usage or input, 3 could not tell (also: interrupted, or a bug of ours).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from countermark.cli.session import Session
from countermark.cli.text import EXAMPLE, pad, paragraphs, width, wrap
from countermark.errors import CountermarkError, Internal, Interrupted, UsageProblem
from countermark.i18n import LANGUAGES, tr

COULD_NOT_TELL = 3
_WIDEST_OPTION = 30


class Formatter(click.HelpFormatter):
    """Help laid out by display width, in the session's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line with a translated prefix."""
        super().write_usage(prog, args, prefix or tr("Usage:", _lang()) + " ")

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
        if args[0].isidentifier() and self.get_command(ctx, args[0]) is None:
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


class Root(Group):
    """The program: commands are imported when they are named, and every error is shown in one way.

    Args:
        nouns: module of this package and attribute of each command, as ``"verify"`` for both alike or
            ``"module:attribute"``, in the order of the help.
    """

    def __init__(self, *args: Any, nouns: MutableMapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._nouns = nouns

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the path."""
        return list(self._nouns)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._nouns:
            return None
        module, _, attribute = self._nouns[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"countermark.cli.{module}"), attribute or module)
        return command

    def main(  # type: ignore[override]  # click's may return, ours never does
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command line and exit with its status."""
        arguments = list(sys.argv[1:] if args is None else args)
        session = Session.guess(arguments)
        extra |= {"standalone_mode": False, "obj": session}
        sys.exit(_run(session, lambda: super(Root, self).main(arguments, prog_name or "countermark", **extra)))


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


def _run(session: Session, work: Callable[[], Any]) -> int:
    with _tolerant_streams():
        try:
            return int(work() or 0)
        except (BrokenPipeError, SystemExit):
            raise
        except click.exceptions.NoArgsIsHelpError as error:
            return _without_command(session, error)
        except BaseException as error:
            if session.debug:
                import traceback

                traceback.print_exc()
            ours = _as_ours(error)
            session.explain(ours)
            return ours.exit_code


def _without_command(session: Session, error: click.exceptions.NoArgsIsHelpError) -> int:
    if session.json:
        session.explain(_usage(error))
    else:
        click.echo(error.message, err=True)
    return UsageProblem.exit_code


def _as_ours(error: BaseException) -> CountermarkError:
    if isinstance(error, CountermarkError):
        return error
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Interrupted("interrupted", hint="An unfinished act is finished when the command is repeated.")
    return Internal(
        "unexpected {kind}: {reason}",
        hint="This is a bug. Repeat with --debug to see where, and please report it.",
        kind=type(error).__name__,
        reason=str(error)[:500],
    )


def _usage(error: click.ClickException) -> CountermarkError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "countermark"
    hint = "See: {command} --help"
    if isinstance(error, click.exceptions.NoSuchOption):
        return UsageProblem("there is no option {option}", hint=hint, option=error.option_name, command=command)
    if isinstance(error, click.exceptions.MissingParameter):
        return UsageProblem("{name} is missing", hint=hint, name=_name(error.param, context), command=command)
    if isinstance(error, click.exceptions.BadParameter):
        name = _name(error.param, context)
        return UsageProblem("{name}: {reason}", hint=hint, name=name, reason=error.message, command=command)
    if context is not None and isinstance(context.command, Group):
        return UsageProblem("give a command", hint=hint, command=command)
    return UsageProblem("{reason}", hint=hint, reason=error.format_message(), command=command)


def _name(param: click.Parameter | None, context: click.Context | None) -> str:
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.make_metavar(context) if param and context else ""


@contextmanager
def _tolerant_streams() -> Iterator[None]:
    """Let no character stop an answer, and no closed pipe end in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
