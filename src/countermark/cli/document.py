"""``countermark document``: the texts behind salted digests, and erasing them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import card
from countermark.errors import NotFoundError

if TYPE_CHECKING:
    from countermark.workflows.office import Office

#: Fields of a document that hold its words, the most telling one first.
_WORDS = ("text", "reason", "grounds", "evidence", "note", "case")
_LONGEST = 120


@click.group(cls=Group)
def document() -> None:
    """Show and erase what ledger and log know only as a salted digest.

    Reasons, deeds, reports, statements and rulings stay in the workspace. On the ledger stands a digest of text and
    salt: whoever is shown both can check it, and once they are erased it says nothing any more.

    Example:
      countermark document show sha256:5c1f...
    """


@document.command("show")
@click.argument("digest")
def show(digest: str) -> None:
    """Show the document behind a digest, with the salt that proves it.

    Example:
      countermark document show sha256:5c1f...
    """
    from countermark.workflows.market.documents import document_behind

    session = current()
    with session.office() as office:
        found = document_behind(office, digest)
    rows = [
        (session.tr("digest"), _shown(digest)),
        (session.tr("kind"), found["kind"]),
        *((name, _plain(value)) for name, value in found["body"].items()),
        (session.tr("salt"), found["salt"]),
    ]
    answer = {"digest": _shown(digest), **{name: found[name] for name in ("kind", "body", "salt")}}
    session.answer("document", answer, card(rows))


@document.command("erase")
@click.argument("digest")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(digest: str, yes: bool) -> None:
    """Erase the document behind a digest, for good. Ledger and log keep the digest, which then says nothing.

    What was erased cannot be shown to an arbiter, and nobody can prove any more what it said.

    Example:
      countermark document erase sha256:5c1f... --yes
    """
    from countermark.workflows.market.documents import document_behind, erase_document

    session = current()
    with session.office() as office:
        found = document_behind(office, digest)
        matter = card([(found["kind"], json.dumps(found["body"], ensure_ascii=False))])
        session.confirm(session.tr("Erase it for good?"), matter, yes=yes)
        erase_document(office, digest)
    text = session.tr("Erased. {digest} says nothing any more.", digest=_shown(digest))
    session.answer("document-erased", {"digest": _shown(digest), "kind": found["kind"]}, text)


def _shown(digest: str) -> str:
    return f"sha256:{digest.removeprefix('sha256:').removeprefix('0x')}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Documents:
    """Quotes the document behind a digest, where it is still kept here."""

    def __init__(self, session: Session, office: Office) -> None:
        self._session, self._office = session, office

    def show(self, digest: str) -> str:
        """Return the document's words in quotation marks, or its digest if it is not here or was erased."""
        from countermark.workflows.market.documents import document_behind

        if not int(digest, 16):
            return self._session.tr("none")
        try:
            words = words_of(document_behind(self._office, digest)["body"])
        except NotFoundError:
            words = ""
        return f"“{words}”" if words else f"sha256:{digest}"


def words_of(body: dict[str, Any]) -> str:
    """Return the words of a document on one line, shortened; empty if it has none."""
    found = next((str(body[name]) for name in _WORDS if body.get(name)), "")
    line = " ".join(found.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
