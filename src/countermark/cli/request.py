"""``countermark request``."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.session import current, write_json
from countermark.cli.shell import Command


@click.command(cls=Command)
@click.argument("grant", type=int)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--office", required=True, metavar="ID", help="Id of the office; the invitation names it.")
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="KEY.pem", help="Your signing key.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where to write the request."
)
def request(grant: int, images: tuple[Path, ...], office: str, key: Path, out: Path) -> None:
    """Sign a request to mark images, as the licensee. Needs no workspace.

    Only the digests of the images go in. A request is good for 24 hours, and for these images under this grant alone.

    Example:
      countermark request 1 photo.jpg --office 3f2a9c0d11e4b865 --key nord.pem --out request.json
    """
    from countermark.bootstrap import load_party_key, utc_now
    from countermark.workflows.mark import request_marks

    session = current()
    envelope = request_marks(grant, office, images, load_party_key(key), clock=utc_now)
    write_json(out, envelope)
    text = session.tr(
        "Request for {count} images under grant {grant}: {path}", count=len(images), grant=grant, path=out
    )
    session.answer("request", {"path": str(out), "request": envelope}, text)
