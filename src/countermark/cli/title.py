"""``countermark title``: what is registered, who holds it, and what derived models owe it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.audit_records import audit_rows, shown_audits
from countermark.cli.register import read_derivatives, show_derivatives, show_parents, show_title
from countermark.cli.session import current, read_file, write_json
from countermark.cli.shell import Group
from countermark.cli.text import card, table
from countermark.cli.valuation import check_valuation, sign_costs, valuation
from countermark.errors import ConflictError, InputError

if TYPE_CHECKING:
    from countermark.workflows.office import Office

_TEXT_LIMIT = 2**20
_PATH = click.Path(path_type=Path)


@click.group(cls=Group)
def title() -> None:
    """List and show titles, pass them on by deed, and say what derived models owe.

    Example:
      countermark title list
      countermark title transfer 1 --to "Atelier" --deed deed.txt
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
    """Show a title, its manifest digest, the offers under it, and the recorded audits of its model.

    Example:
      countermark title show 1
    """
    from countermark.registry import Offer, Title
    from countermark.workflows.audit import audits_of
    from countermark.workflows.office import load, party

    session = current()
    with session.office() as office, office.store.transaction() as transaction:
        found = Title.from_json(load(transaction, "title", number))
        holder = party(transaction, found.holder)
        offers = [Offer.from_json(body) for body in transaction.find("offer", f"title:{number}")]
        audits = audits_of(transaction, found.weights_root)
    rows = [
        (session.tr("title"), f"{found.id}  ({found.name})"),
        (session.tr("holder"), f"{holder.name}  ({holder.id})"),
        (session.tr("registered"), found.registered_at),
        (session.tr("derived from"), show_parents(session, found)),
        (session.tr("derivatives"), show_derivatives(session, found)),
        *audit_rows(session, audits),
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
        "audits": shown_audits(audits),
    }
    session.answer("title", document, card(rows))


@title.command("transfer")
@click.argument("number", metavar="TITLE", type=int)
@click.option("--to", required=True, metavar="NAME", help="The new holder: name or id, admitted as an owner.")
@click.option(
    "--deed", required=True, type=_PATH, metavar="FILE",
    help="Text of the deed, signed here where the holder's key is held; or the deed that the holder signed.",
)  # fmt: skip
def transfer(number: int, to: str, deed: Path) -> None:
    """Pass a title on by deed. The deed stays in the workspace; the ledger holds its salted digest.

    Approvals for the title end with it. A hold by the regulator or an open sale stops a transfer.

    Example:
      countermark title transfer 1 --to "Atelier" --deed deed.txt
    """
    from countermark.workflows.title import transfer_title

    session, given = current(), read_file(deed, limit=_TEXT_LIMIT)
    with session.office() as office:
        moved = transfer_title(office, _deed(office, number, to, given))
    rows = [
        (session.tr("title"), str(moved["title"])),
        (session.tr("holder"), to),
        (session.tr("transaction"), moved["transaction"]),
    ]
    session.answer("assignment", moved, card(rows))


@title.command("draft-deed")
@click.argument("number", metavar="TITLE", type=int)
@click.option("--to", required=True, metavar="NAME", help="The new holder: name or id, admitted as an owner.")
@click.option("--text", required=True, type=_PATH, metavar="FILE", help="Text of the deed.")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="Where to write the deed, to be signed.")
def draft(number: int, to: str, text: Path, out: Path) -> None:
    """Write the deed that a holder with a key of its own signs.

    Example:
      countermark title draft-deed 1 --to "Atelier" --text deed.txt --out deed.json
    """
    from countermark.workflows.title import draft_deed

    session, given = current(), _text(read_file(text, limit=_TEXT_LIMIT))
    with session.office() as office:
        made = draft_deed(office, number, to, given)
    write_json(out, made)
    session.answer("deed", {"path": str(out), "deed": made}, session.tr("Deed to be signed: {path}", path=out))


@title.command("sign-deed")
@click.argument("deed", type=_PATH)
@click.option("--key", required=True, type=_PATH, metavar="KEY.pem", help="Your signing key (party keygen).")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="Where to write the signed deed.")
def sign(deed: Path, key: Path, out: Path) -> None:
    """Sign a deed as the holder of the title. Needs no workspace.

    Example:
      countermark title sign-deed deed.json --key studio.pem --out signed.json
    """
    from countermark.bootstrap import load_party_key
    from countermark.cli.license import read_document
    from countermark.workflows.title import sign_deed

    session = current()
    envelope = sign_deed(read_document(deed), load_party_key(key))
    write_json(out, envelope)
    session.answer("deed", {"path": str(out), "deed": envelope}, session.tr("Signed deed: {path}", path=out))


@title.command("derivatives")
@click.argument("number", metavar="TITLE", type=int)
@click.argument("terms", metavar="BPS|closed")
def derivatives(number: int, terms: str) -> None:
    """Say what models derived from this one owe it from now on: basis points, or closed for approval only.

    Models that are registered already keep their shares.

    Example:
      countermark title derivatives 1 500
    """
    from countermark.workflows.title import set_derivatives

    session, owed = current(), read_derivatives(terms)
    with session.office() as office:
        result = set_derivatives(office, number, owed)
    session.answer("act", result, card([(session.tr("transaction"), result["transaction"])]))


@title.command("accept-market")
@click.argument("number", metavar="TITLE", type=int)
def accept_market(number: int) -> None:
    """Let the market that the consortium's directory names now sell a title.

    A title stays with the market of the day of its registration. Governors can name another one after a delay, and
    cannot have it move a title whose holder has not accepted it.

    Example:
      countermark title accept-market 1
    """
    from countermark.workflows.title import accept_market as accept

    session = current()
    with session.office() as office:
        result = accept(office, number)
    session.answer("act", result, card([(session.tr("transaction"), result["transaction"])]))


@title.command("approve")
@click.argument("number", metavar="TITLE", type=int)
@click.option("--weights", required=True, metavar="sha256:…", help="Weights root of the derived model.")
@click.option("--share", required=True, type=click.IntRange(0, 5000), metavar="BPS", help="Least share that it owes.")
def approve(number: int, weights: str, share: int) -> None:
    """Approve one model as derived from this one, at a share of its revenue.

    Example:
      countermark title approve 1 --weights sha256:6f1d… --share 300
    """
    from countermark.workflows.title import approve_derivative

    session = current()
    with session.office() as office:
        result = approve_derivative(office, number, weights, share)
    session.answer("act", result, card([(session.tr("transaction"), result["transaction"])]))


for _command in (valuation, check_valuation, sign_costs):
    title.add_command(_command)


def _deed(office: Office, number: int, to: str, given: bytes) -> Any:
    """Return the signed deed that was given, or sign the text that was given as the holder."""
    from countermark.core.canonical import parse_json
    from countermark.core.dsse import read_unverified
    from countermark.workflows.office import load, party
    from countermark.workflows.title import draft_deed, sign_deed

    try:
        signed = parse_json(given, limit=_TEXT_LIMIT)
    except InputError:
        signed = None
    with office.store.transaction() as transaction:
        holder, receiver = party(transaction, load(transaction, "title", number)["holder"]), party(transaction, to)
    if isinstance(signed, dict) and "payload" in signed:
        body = read_unverified(signed)
        if (body.get("title"), body.get("to")) != (number, receiver.id):
            raise ConflictError("the deed is of another title, or to another party, than the command")
        return signed
    return sign_deed(draft_deed(office, number, to, _text(given)), office.party_key(holder))


def _text(given: bytes) -> str:
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        raise InputError("the deed is not text in UTF-8") from error
