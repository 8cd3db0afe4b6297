"""What one call of the command line shares: its options, its language, its streams, and the open office.

stdout is data: the answer for people, or with ``--json`` one JSON object whose ``type`` names it. stderr is for people:
progress, notes, questions.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.text import is_utf8
from countermark.errors import CountermarkError, InputError
from countermark.i18n import LANGUAGES, pick_language, tr

if TYPE_CHECKING:
    from countermark.config import Settings
    from countermark.core.progress import Progress
    from countermark.workflows.office import Office

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{40}\b")


@dataclass(slots=True)
class Session:
    """One call. The fields are the global options."""

    lang: str = LANGUAGES[0]
    json: bool = False
    quiet: bool = False
    debug: bool = False
    workspace: str | None = None
    passphrase_file: str | None = None

    @classmethod
    def guess(cls, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Session:
        """Look for ``--lang``, ``--json`` and ``--debug`` before parsing: help and usage errors need them."""
        options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
        flagged = [value.removeprefix("--lang=") for value in options if value.startswith("--lang=")]
        flagged += [options[at + 1] for at, value in enumerate(options[:-1]) if value == "--lang"]
        lang = flagged[-1] if flagged and flagged[-1] in LANGUAGES else pick_language(environment)
        return cls(lang=lang, json="--json" in options, debug="--debug" in options)

    def tr(self, template: str, /, **params: object) -> str:
        """Return a template in the session's language."""
        return tr(template, self.lang, **params)

    @property
    def settings(self) -> Settings:
        """Where the workspace and its passphrase are."""
        from countermark.config import read_settings

        return read_settings(workspace=self.workspace, passphrase_file=self.passphrase_file)

    def passphrase(self, *, confirm: bool = False) -> str:
        """Return the passphrase from file, environment, or a hidden prompt on the terminal; there is no default.

        Raises:
            InputError: neither file nor environment holds it, and nobody can be asked.
        """
        from countermark.config import read_passphrase

        known = read_passphrase(self.settings)
        if known is not None:
            return known
        if not _can_ask():
            raise InputError(
                "no passphrase",
                hint="Give it with --passphrase-file or COUNTERMARK_PASSPHRASE, or run this in a terminal.",
            )
        asked: str = click.prompt(
            self.tr("Passphrase"),
            hide_input=True,
            err=True,
            confirmation_prompt=self.tr("Again, to be sure") if confirm else False,
        )
        return asked

    def confirm(self, question: str, matter: str, *, yes: bool) -> None:
        """Show what an act is about, and ask whether to go on unless ``yes`` was said beforehand.

        Raises:
            InputError: nobody can be asked.
            click.Abort: the answer is no.
        """
        if not yes and _can_ask():
            click.echo(matter, err=True)
            click.confirm(question, abort=True, err=True)
            return
        self.note(matter)
        if not yes:
            raise InputError(
                "nobody can be asked to confirm this", hint="Repeat the command with --yes, or run it in a terminal."
            )

    @contextmanager
    def office(self, wrap: Callable[[str, Progress], Progress] | None = None) -> Iterator[Office]:
        """Open the office of the workspace; ``wrap`` may watch each progress callback by its label."""
        from countermark.bootstrap import open_office, read_workspace

        directory = self.settings.workspace
        read_workspace(directory)  # says that there is none before anybody is asked for a passphrase
        passphrase = self.passphrase()
        with self.progress() as factory:
            watched = factory if wrap is None else lambda label: wrap(label, factory(label))
            with open_office(directory, passphrase, progress=watched) as office:
                try:
                    yield office
                except CountermarkError as error:
                    if not self.json:
                        _name_accounts(office, error)
                    raise

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], Progress]]:
        """Yield a factory of progress callbacks: bars on a terminal's stderr, silence everywhere else."""
        if self.quiet or self.json or not sys.stderr.isatty():
            yield lambda _label: lambda _done, _total, _unit: None
            return
        from countermark.cli.progress import bars

        with bars(self.lang) as factory:
            yield factory

    def answer(self, kind: str, document: Mapping[str, Any], text: str) -> None:
        """Print the answer: ``text`` for people, or with ``--json`` the document as ``countermark.<kind>/1``."""
        if self.json:
            self.print_json({"type": f"countermark.{kind}/1", **document})
        else:
            click.echo(text)

    def print_json(self, document: Mapping[str, Any]) -> None:
        """Print one JSON object on one line of stdout."""
        click.echo(json.dumps(document, ensure_ascii=not is_utf8(sys.stdout)))

    def note(self, text: str) -> None:
        """Say something beside the answer, on stderr."""
        if not (self.quiet or self.json):
            click.echo(text, err=True)

    def explain(self, error: CountermarkError) -> None:
        """Print an error: on stderr as ``error[code]: message`` and a hint; with ``--json`` as an object on stdout."""
        params = {name: _as_json(value) for name, value in error.params.items()}
        if self.json:
            document = {"code": error.code, "message": str(error), "hint": error.hint, "params": params}
            self.print_json({"type": "countermark.error/1", **document})
            return
        message = self.tr(error.template, **error.params)
        click.echo(self.tr("error[{code}]: {message}", code=error.code, message=_lines(message)), err=True)
        if error.hint_template:
            click.echo(self.tr("hint: {hint}", hint=_lines(self.tr(error.hint_template, **error.params))), err=True)


def current() -> Session:
    """Return the session of the command that is running."""
    session = click.get_current_context().find_object(Session)
    assert session is not None  # Root.main puts it there
    return session


def read_file(path: Path, *, limit: int) -> bytes:
    """Return a file's bytes.

    Raises:
        InputError: unreadable, or over ``limit`` bytes.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=path, reason=error.strerror) from error
    if len(data) > limit:
        raise InputError("{path} is over the limit of {limit} bytes", path=path, limit=limit)
    return data


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file as a whole.

    Raises:
        StorageError: it cannot be written.
    """
    from countermark.adapters.keystore import write_atomically

    write_atomically(path, data, mode=mode)


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """Write a JSON document, readable by people."""
    write_file(path, json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n", mode=mode)


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _name_accounts(office: Office, error: CountermarkError) -> None:
    """Say who is meant where an error names an account of the ledger."""
    from countermark.workflows.market.history import known_accounts

    names = known_accounts(office)
    for name, value in error.params.items():
        if isinstance(value, str):
            error.params[name] = _ADDRESS.sub(lambda found: names.get(found[0].lower(), found[0]), value)


def _as_json(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _lines(text: str) -> str:
    from countermark.cli.text import plain

    return "\n".join(plain(line) for line in text.splitlines())
