"""``countermark generate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.license import read_document
from countermark.cli.orders import order_options, read_order, read_text_order
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import table
from countermark.errors import UsageProblem

if TYPE_CHECKING:
    from countermark.core.dsse import Envelope
    from countermark.workflows.mark import Marked
    from countermark.workflows.office import Office


@click.command(cls=Command)
@click.argument("grant", type=int)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of what is made.")
@order_options
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of the model; the one that it was registered from by default.",
)  # fmt: skip
@click.option(
    "--request", type=click.Path(path_type=Path), metavar="FILE", help="The request that the licensee signed."
)
def generate(grant: int, out: Path, model: Path | None, request: Path | None, **given: Any) -> None:
    """Generate pictures or text under a grant, marked as they come to be; each output gets a log entry.

    The model is a registered one, of the weights that were registered. A diffusers pipeline draws pictures with the
    mark in the noise that they grow from; those that are large enough carry the lattice mark too. A causal language
    model of transformers goes on from each prompt; the mark decides among the tokens that it leaves open, and the
    receipt of every reply says how much that is. At temperature 0 there is none.

    A signed --request holds its own order, so the options that say what to make are not given with it, but for
    --image, whose digest it names. Where the office holds the licensee's key, it signs the request itself; then the
    request proves no more than the office's word.

    A command that was interrupted goes on when it is repeated with the same --request.

    Example:
      countermark generate 1 --prompt "a lighthouse at dusk" --n 4 --out pictures
      countermark generate 2 --prompt "The keeper of the lighthouse" --max-tokens 300 --out texts
      countermark generate 1 --request request.json --out pictures
    """
    from countermark.workflows.write import writes_text

    session = current()
    envelope = read_document(request) if request else None
    if envelope is not None and any(value is not None for name, value in given.items() if name != "image"):
        raise UsageProblem("a signed request holds its own order", hint="Leave out the options that say what to make.")
    with session.office() as office:
        is_text = writes_text(office, grant)
        run = _write if is_text else _draw
        made = run(office, grant, out, envelope, model, given)
    outputs = [_show(each, is_text=is_text) for each in made]
    describe = _describe_texts if is_text else _describe
    session.answer("generation", {"grant": grant, "outputs": outputs}, describe(session, made))


def _draw(
    office: Office, grant: int, out: Path, envelope: Envelope | None, model: Path | None, given: dict[str, Any]
) -> list[Marked]:
    from countermark.workflows.generate import generate_pictures
    from countermark.workflows.pipelines import Order

    order = None if envelope else read_order(given) or Order()
    return generate_pictures(office, grant, out, order=order, request=envelope, model=model, source=given["image"])


def _write(
    office: Office, grant: int, out: Path, envelope: Envelope | None, model: Path | None, given: dict[str, Any]
) -> list[Marked]:
    from countermark.workflows.write import generate_texts

    if given["image"] is not None:
        raise UsageProblem("{option} is for models that draw", option="--image")
    order = None if envelope else read_text_order(given)
    return generate_texts(office, grant, out, order=order, request=envelope, model=model)


def _show(made: Marked, *, is_text: bool) -> dict[str, Any]:
    output = made.output
    return {
        "path": str(made.path),
        "content": output.content_digest,
        **({} if is_text else {"psnr_db": output.psnr_db}),
        "log_index": output.log_index,
        "time": output.time,
        **(output.generation or {}),
    }


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


def _describe_texts(session: Session, made: list[Marked]) -> str:
    """Return a table of replies, and in words what it means that some are unmarked."""
    head = [
        session.tr("text"),
        session.tr("reply"),
        session.tr("entropy"),
        session.tr("identifies"),
        session.tr("mark"),
        session.tr("log entry"),
    ]
    receipts = [each.output.generation or {} for each in made]
    rows = [
        [
            each.path,
            session.tr("{count} tokens", count=receipt["tokens"]),
            session.tr("{nats} nats", nats=f"{receipt['entropy']:.0f}"),
            f"{receipt['power']:.1%}",
            _mark(session, receipt["reason"]),
            each.output.log_index,
        ]
        for each, receipt in zip(made, receipts, strict=True)
    ]
    lines = [
        table(head, rows),
        "",
        session.tr("identifies: how likely the whole reply names its licensee in a million"),
    ]
    unmarked = sum(receipt["status"] == "unmarked" for receipt in receipts)
    if unmarked:
        lines.append(
            session.tr(
                "{count} of {total} replies bear no mark: nobody can trace them", count=unmarked, total=len(made)
            )
        )
    return "\n".join(lines)


def _mark(session: Session, reason: str) -> str:
    known = {
        "": session.tr("marked"),
        "not-sampled": session.tr("unmarked: temperature 0 leaves no choice"),
        "empty": session.tr("unmarked: the reply is empty"),
        "no-entropy": session.tr("unmarked: the model left almost no choice"),
    }
    return known.get(reason, reason)
