"""``countermark generate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.license import read_document
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import table
from countermark.errors import UsageProblem

if TYPE_CHECKING:
    from countermark.workflows.mark import Marked
    from countermark.workflows.pipelines import Order

_STRENGTH = 0.6
_OPTIONS = (
    click.option("--n", "count", type=int, metavar="N", help="How many pictures; 1 by default."),
    click.option("--prompt", metavar="TEXT", help="What to draw, where the model takes a prompt."),
    click.option("--steps", type=int, metavar="N", help="Steps of the sampler; the pipeline's own number by default."),
    click.option("--seed", type=int, metavar="N", help="Repeats everything but the signs of the noise."),
    click.option("--image", type=click.Path(path_type=Path), metavar="FILE", help="A picture to start from."),
    click.option("--strength", type=float, metavar="S", help="With --image: how far from it, up to 1; 0.6 by default."),
)


def order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what to draw."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_order(given: dict[str, Any]) -> Order | None:
    """Return the order that options name, or None where none of them was given.

    Raises:
        InputError: a value out of range, or an unreadable picture.
    """
    from countermark.core.canonical import show_digest
    from countermark.marking.image.files import content_digest
    from countermark.workflows.pipelines import Order

    named = {name: value for name, value in given.items() if value is not None}
    if not named:
        return None
    image = named.pop("image", None)
    if image is not None:
        named = {"strength": _STRENGTH, **named, "source": show_digest(content_digest(image))}
    return Order(**named)


@click.command(cls=Command)
@click.argument("grant", type=int)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the pictures.")
@order_options
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of the model; the one that it was registered from by default.",
)  # fmt: skip
@click.option(
    "--request", type=click.Path(path_type=Path), metavar="FILE", help="The request that the licensee signed."
)
def generate(grant: int, out: Path, model: Path | None, request: Path | None, **given: Any) -> None:
    """Generate pictures under a grant, with the mark in the noise that they grow from; each gets a log entry.

    The model is a registered diffusers pipeline, of the weights that were registered. Pictures that are large enough
    carry the lattice mark too. A signed --request holds its own order, so the options that say what to draw are not
    given with it, but for --image, whose digest it names. Where the office holds the licensee's key, it signs the
    request itself; then the request proves no more than the office's word.

    A command that was interrupted goes on when it is repeated with the same --request.

    Example:
      countermark generate 1 --prompt "a lighthouse at dusk" --n 4 --out pictures
      countermark generate 1 --request request.json --out pictures
    """
    from countermark.workflows.generate import generate_pictures

    session = current()
    envelope = read_document(request) if request else None
    image = given["image"]
    if envelope is not None and any(value is not None for name, value in given.items() if name != "image"):
        raise UsageProblem("a signed request holds its own order", hint="Leave out the options that say what to draw.")
    order = None if envelope else read_order(given) or _one()
    with session.office() as office:
        made = generate_pictures(office, grant, out, order=order, request=envelope, model=model, source=image)
    outputs = [
        {
            "path": str(each.path),
            "content": each.output.content_digest,
            "psnr_db": each.output.psnr_db,
            "log_index": each.output.log_index,
            "time": each.output.time,
            **(each.output.generation or {}),
        }
        for each in made
    ]
    session.answer("generation", {"grant": grant, "outputs": outputs}, _describe(session, made))


def _one() -> Order:
    from countermark.workflows.pipelines import Order

    return Order()


def _describe(session: Session, made: list[Marked]) -> str:
    head = [
        session.tr("picture"),
        session.tr("number"),
        session.tr("marks"),
        session.tr("log entry"),
        session.tr("content"),
    ]
    rows = []
    for each in made:
        born = each.output.generation or {}
        marks = session.tr("noise and lattice") if born.get("lattice") else session.tr("noise")
        shown = each.output.content_digest[:23] + "…"
        rows.append([each.path, born.get("counter", ""), marks, each.output.log_index, shown])
    return table(head, rows)
