"""``countermark request``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from countermark.cli.generate import order_options, read_order
from countermark.cli.session import current, write_json
from countermark.cli.shell import Command
from countermark.errors import UsageProblem


@click.command(cls=Command)
@click.argument("grant", type=int)
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--office", required=True, metavar="ID", help="Id of the office; the invitation names it.")
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="KEY.pem", help="Your signing key.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where to write the request."
)
@order_options
def request(grant: int, images: tuple[Path, ...], office: str, key: Path, out: Path, **given: Any) -> None:
    """Sign a request to mark images, or to generate some, as the licensee. Needs no workspace.

    With images named it is a request to mark these; only their digests go in. Without, it is an order of pictures, as
    the options say. A request is good for 24 hours, and for this under this grant alone.

    Example:
      countermark request 1 photo.jpg --office 3f2a9c0d11e4b865 --key nord.pem --out request.json
      countermark request 1 --n 4 --prompt "a lighthouse" --office 3f2a9c0d11e4b865 --key nord.pem --out request.json
    """
    from countermark.bootstrap import load_party_key, utc_now
    from countermark.workflows.generate import request_pictures
    from countermark.workflows.mark import request_marks

    session, order = current(), read_order(given)
    if (order is None) == (not images):
        raise UsageProblem("a request names images to mark, or says what to generate with --n and the like")
    signer = load_party_key(key)
    if order is None:
        envelope = request_marks(grant, office, images, signer, clock=utc_now)
    else:
        envelope = request_pictures(grant, office, order, signer, clock=utc_now)
    write_json(out, envelope)
    count = len(images) if order is None else order.count
    text = session.tr("Request for {count} images under grant {grant}: {path}", count=count, grant=grant, path=out)
    session.answer("request", {"path": str(out), "request": envelope}, text)
