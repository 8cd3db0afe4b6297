"""Legal texts: kept under the digest that terms name, so that whoever sees the terms can read them."""

from __future__ import annotations

from countermark.errors import ConflictError, NotFoundError
from countermark.licensing import Terms
from countermark.registry import Offer, Transaction
from countermark.standard_terms import LegalText
from countermark.workflows.office import Office, load


def keep_text(transaction: Transaction, terms: Terms, legal: LegalText) -> None:
    """Keep the legal text of terms.

    Raises:
        ConflictError: the terms name another one.
    """
    if terms.legal_text != legal.digest:
        raise ConflictError("the terms name another legal text than {digest}", digest=legal.digest)
    transaction.put("legal-text", legal.digest, legal.to_json())


def find_text(transaction: Transaction, terms: Terms) -> LegalText | None:
    """Return the legal text of terms, if it is kept here; it has the digest that they name.

    Raises:
        ConflictError: what is kept was changed.
    """
    body = transaction.get("legal-text", terms.legal_text) if terms.legal_text else None
    if body is None:
        return None
    legal = LegalText.from_json(body)
    if legal.digest != terms.legal_text:
        raise ConflictError("the terms name another legal text than {digest}", digest=legal.digest)
    return legal


def text_of_offer(office: Office, number: int) -> tuple[Terms, LegalText]:
    """Return the terms of an offer and their legal text.

    Raises:
        NotFoundError: no such offer, or no text is kept for it.
    """
    with office.store.transaction() as transaction:
        terms = Terms.from_json(Offer.from_json(load(transaction, "offer", number)).terms)
        legal = find_text(transaction, terms)
    if legal is None:
        raise NotFoundError(
            "no legal text is kept with offer {offer}",
            hint="Its terms name the digest {digest}; ask the title holder for the file.",
            offer=number,
            digest=terms.legal_text or "-",
        )
    return terms, legal
