"""``countermark title``: what is registered."""

from __future__ import annotations

import click

from countermark.cli.register import show_title
from countermark.cli.session import current
from countermark.cli.shell import Group
from countermark.cli.text import card, table


@click.group(cls=Group)
def title() -> None:
    """List and show titles.

    Example:
      countermark title list
    """


@title.command("list")
def list_() -> None:
    """List the titles.

    Example:
      countermark title list
    """
    from countermark.workflows.office import titles

    session = current()
    with session.office() as office, office.store.transaction() as transaction:
        found = list(titles(transaction))
        names = {body["id"]: body["name"] for body in transaction.all("party")}
    head = [session.tr(label) for label in ("title", "model", "holder", "parameters", "registered")]
    rows = [[t.id, t.name, names.get(t.holder, t.holder), f"{t.parameters:,}", t.registered_at] for t in found]
    empty = session.tr("No model has been registered yet.")
    session.answer("titles", {"titles": [show_title(t) for t in found]}, table(head, rows) if rows else empty)


@title.command("show")
@click.argument("number", metavar="TITLE", type=int)
def show(number: int) -> None:
    """Show a title, its manifest digest, and the offers under it.

    Example:
      countermark title show 1
    """
    from countermark.registry import Offer, Title
    from countermark.workflows.office import load, party

    session = current()
    with session.office() as office, office.store.transaction() as transaction:
        found = Title.from_json(load(transaction, "title", number))
        holder = party(transaction, found.holder)
        offers = [Offer.from_json(body) for body in transaction.find("offer", f"title:{number}")]
    rows = [
        (session.tr("title"), f"{found.id}  ({found.name})"),
        (session.tr("holder"), f"{holder.name}  ({holder.id})"),
        (session.tr("registered"), found.registered_at),
        (session.tr("size"), f"{found.total_bytes / 1e6:.1f} MB, {found.parameters:,}"),
        (session.tr("manifest"), found.manifest_digest),
        (session.tr("weights"), found.weights_root),
        (session.tr("detection key"), found.key_id),
        (session.tr("transaction"), found.transaction),
        (session.tr("offers"), ", ".join(f"{o.id} ({o.terms['name']})" for o in offers) or "-"),
    ]
    document = {
        **show_title(found),
        "registration": found.registration,
        "offers": [{"id": o.id, "terms": o.terms} for o in offers],
    }
    session.answer("title", document, card(rows))
