"""What a hold or a case is about, in words (``title:3``, ``grant:17``, ``account:NAME``) and as the ledger's 32 bytes.

Law: ``core.subjects.show_subject(read_subject(office, text)) == text`` for every text with a number.
"""

from __future__ import annotations

from countermark.core.subjects import KINDS, subject_word
from countermark.errors import InputError
from countermark.workflows.market.acts import read_party
from countermark.workflows.office import Office

_NUMBERS = 2**64


def read_subject(office: Office, text: str) -> bytes:
    """Return the ledger's name of a subject: 32 bytes.

    Args:
        office: where.
        text: kind and number, or ``account:`` and the name or id of a party, or of the office.

    Raises:
        InputError: another form.
        NotFoundError: no such party.
    """
    kind, _, name = text.partition(":")
    if kind == "account" and name:
        return subject_word(kind, int(_address(office, name), 16))
    if kind not in KINDS or kind == "account" or not (name.isascii() and name.isdigit()) or int(name) >= _NUMBERS:
        raise InputError(
            "not a subject: {text}",
            hint="Write title:1, grant:1, sale:1, file-sale:1 or account:NAME.",
            text=text[:80],
        )
    return subject_word(kind, int(name))


def _address(office: Office, name: str) -> str:
    if name in (office.name, office.id):
        return office.ledger.address_of(office.account)
    return read_party(office, name).address
