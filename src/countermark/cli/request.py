"""``countermark request``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.orders import order_options, orders_text, read_order, read_text_order
from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Command
from countermark.errors import UsageProblem

if TYPE_CHECKING:
    from countermark.workflows.languages import TextOrder
    from countermark.workflows.pipelines import Order


@click.command(cls=Command)
@click.argument("grant", type=int)
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--office", required=True, metavar="ID", help="Id of the office; the invitation names it.")
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="KEY.pem", help="Your signing key.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where to write the request."
)
@order_options
@click.option("--text", is_flag=True, help="Order text of a language model; options for these say so too.")
def request(grant: int, images: tuple[Path, ...], office: str, key: Path, out: Path, text: bool, **given: Any) -> None:
    """Sign a request to mark images, or to generate pictures or text, as the licensee. Needs no workspace.

    With images named it is a request to mark these; only their digests go in. Without, it is an order of pictures or of
    text, as the options say; prompts go in as they are. A request is good for 24 hours, and for this under this grant
    alone.

    Example:
      countermark request 1 photo.jpg --office 3f2a9c0d11e4b865 --key nord.pem --out request.json
      countermark request 1 --n 4 --prompt "a lighthouse" --office 3f2a9c0d11e4b865 --key nord.pem --out request.json
      countermark request 2 --text --prompt "The sea" --office 3f2a9c0d11e4b865 --key nord.pem --out request.json
    """
    from countermark.bootstrap import load_party_key, utc_now
    from countermark.workflows.generate import request_generation
    from countermark.workflows.mark import request_marks

    session = current()
    order = read_text_order(given) if text or orders_text(given) else read_order(given)
    if (order is None) == (not images):
        raise UsageProblem("a request names images to mark, or says what to generate with --n and the like")
    signer = load_party_key(key)
    if order is None:
        envelope = request_marks(grant, office, images, signer, clock=utc_now)
    else:
        envelope = request_generation(grant, office, order, signer, clock=utc_now)
    write_json(out, envelope)
    session.answer("request", {"path": str(out), "request": envelope}, _describe(session, grant, images, order, out))


def _describe(
    session: Session, grant: int, images: tuple[Path, ...], order: Order | TextOrder | None, out: Path
) -> str:
    from countermark.workflows.languages import TextOrder

    if isinstance(order, TextOrder):
        return session.tr(
            "Request for {count} replies under grant {grant}: {path}", count=order.total, grant=grant, path=out
        )
    count = len(images) if order is None else order.count
    return session.tr("Request for {count} images under grant {grant}: {path}", count=count, grant=grant, path=out)
