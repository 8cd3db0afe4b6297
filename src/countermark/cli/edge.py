"""The edge: whatever a command raises becomes one message with a code, and one exit status.

Exit status: 0 yes, 1 a clear no, 2 wrong usage or input, 3 could not tell (also: interrupted, or a bug of ours).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from countermark.cli.session import Session
from countermark.errors import CountermarkError, Internal, Interrupted, UsageProblem

COULD_NOT_TELL = 3


def run(session: Session, work: Callable[[], Any]) -> int:
    """Do the work of a command line and return its exit status; whatever is raised is shown in one way."""
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
    if context is not None and isinstance(context.command, click.Group):
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
