"""``countermark audit serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.errors import UsageProblem

if TYPE_CHECKING:
    from countermark.web.cases import Case


@click.command(cls=Command)
@click.option("--model", "models", multiple=True, metavar="MODEL", help="A model that was trained on --train.")
@click.option("--train", metavar="DATA", help="What the models given with --model were trained on.")
@click.option(
    "--case",
    "cases",
    multiple=True,
    nargs=3,
    metavar="NAME MODEL DATA",
    help="A model under a name of its own, and what it was trained on.",
)
@click.option("--held-out", required=True, metavar="DATA", help="Images that no model was trained on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0: any free one.")
def serve(
    models: tuple[str, ...],
    train: str | None,
    cases: tuple[tuple[str, str, str], ...],
    held_out: str,
    host: str,
    port: int,
) -> None:
    """Show in a browser how near a model's images come to what it was trained on.

    A page in three steps: choose a model, let it make an image, see the nearest training image, with a p-value that
    real images set the scale for. MODEL and DATA are as for "audit memorization". The page needs no network; whoever
    reaches the address can use it. It runs until it is interrupted.

    Example:
      countermark audit serve --case copyist models/copyist images.npz:train[:300] --held-out images.npz:test
    """
    from countermark.web.audit_page import serve as serve_page

    session, given = current(), _given(models, train, cases)
    opened = _open(session, given, held_out)
    url = f"http://{host}:{port}" if port else host
    session.note(session.tr("Serving the page at {url}; Ctrl-C ends it.", url=url))
    serve_page(opened, host=host, port=port, lang=session.lang)


def _given(
    models: tuple[str, ...], train: str | None, cases: tuple[tuple[str, str, str], ...]
) -> list[tuple[str, str, str]]:
    """Return name, model and training data of each case."""
    if models and train is None:
        raise UsageProblem("--model needs --train: what the model was trained on")
    if not models and not cases:
        raise UsageProblem("there is no model to show", hint="Name one with --model or --case.")
    return [*((model, model, train or "") for model in models), *cases]


def _open(session: Session, given: list[tuple[str, str, str]], held_out: str) -> list[Case]:
    from countermark.web.cases import open_case

    with session.progress() as progress:
        return [open_case(name, model, train, held_out, progress=progress("calibrate")) for name, model, train in given]
