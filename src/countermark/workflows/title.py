"""Titles that pass on by deed, and what models derived from them owe.

A deed is a document that the holder signs: whose title passes to whom, and the text. It stays in the workspace; the
ledger holds its salted digest.
"""

from __future__ import annotations

from typing import Any

from countermark.core.canonical import read_digest, show_digest
from countermark.core.dsse import Envelope, open_document, read_unverified
from countermark.core.keys import SigningKey
from countermark.errors import InputError, SignatureInvalid
from countermark.registry import Party, Title, Transaction, log_entry
from countermark.workflows.market.acts import Call, act
from countermark.workflows.market.documents import salted_digest
from countermark.workflows.office import Intent, Office, Receipt, append, load, party, perform, recorder, sign


def draft_deed(office: Office, number: int, to: str, text: str) -> dict[str, Any]:
    """Return the deed by which a title passes from its holder to another owner, for the holder to sign.

    Raises:
        NotFoundError: no such title or party.
        InputError: the other party is not admitted as an owner, or holds the title already.
    """
    with office.store.transaction() as transaction:
        title, receiver = Title.from_json(load(transaction, "title", number)), party(transaction, to)
        holder = party(transaction, title.holder)
    if "owner" not in receiver.roles:
        raise InputError("{name} is not admitted as an owner", name=receiver.name)
    if receiver.id == holder.id:
        raise InputError("{name} holds title {title} already", name=receiver.name, title=number)
    return {
        "office": office.id,
        "title": number,
        "weights": title.weights_root,
        "from": holder.id,
        "from_key": holder.signing_key,
        "to": receiver.id,
        "to_address": receiver.address,
        "text": text,
        "drafted_at": office.now(),
    }


def sign_deed(deed: dict[str, Any], key: SigningKey) -> Envelope:
    """Sign a deed as the holder. Needs no workspace.

    Raises:
        InputError: the deed is another holder's.
    """
    if deed.get("from_key") != key.public.text:
        raise InputError("the deed is for another holder's key")
    return sign(key, "deed", deed)


def transfer_title(office: Office, deed: Envelope) -> dict[str, Any]:
    """Pass a title on by a deed that its holder signed.

    Returns:
        ``{"title", "previous", "holder", "deed", "transaction", "log_index"}``: the deed by its salted digest.

    Raises:
        SignatureInvalid: not signed by the holder, or not about the title as it stands.
        OnHold: the title, or either side's account, is held.
        ConflictError: the title is locked for a sale.
        KeystoreError: the holder's ledger account is not held here.
    """
    number = _opened(deed)
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", number))
        holder = party(transaction, title.holder)

    def plan() -> Intent:
        receiver = _checked(office, deed, title, holder)
        digest = salted_digest(office, "deed", {"title": number, "deed": deed})
        call = (number, receiver.address, digest)
        raw = office.ledger.prepare_call(office.party_account(holder), "ModelTitles", "transferByDeed", call)
        return {"transaction": raw.hex(), "title": number, "from": holder.id, "to": receiver.id}

    return perform(office, "transfer", {"title": number, "deed": deed["payload"]}, plan)


def _opened(deed: Envelope) -> int:
    number = read_unverified(deed).get("title")
    if not isinstance(number, int):
        raise InputError("the deed names no title")
    return number


def _checked(office: Office, deed: Envelope, title: Title, holder: Party) -> Party:
    """Return who receives the title by a deed, which is the present holder's."""
    body = open_document(deed, "deed", holder.key)
    with office.store.transaction() as transaction:
        receiver = party(transaction, str(body.get("to")))
    expected = draft_deed(office, title.id, receiver.id, str(body.get("text")))
    if any(body.get(name) != value for name, value in expected.items() if name != "drafted_at"):
        raise SignatureInvalid("the deed is not about title {title} as it stands", title=title.id)
    return receiver


@recorder("transfer")
def _record_transfer(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    title = load(transaction, "title", intent["title"]) | {"holder": intent["to"]}
    transaction.put("title", str(title["id"]), title, index=(title["weights_root"],))
    facts = {
        "title": title["id"],
        "previous": intent["from"],
        "holder": intent["to"],
        "deed": show_digest(receipt.event("TitleAssigned")["deedDigest"]),
        "transaction": receipt.transaction_hash,
    }
    return {**facts, "log_index": append(transaction, log_entry("assignment", **facts, time=office.now()))}


def set_derivatives(office: Office, number: int, bps: int | None) -> dict[str, Any]:
    """Say what models derived from a title's model owe it from now on, as its holder.

    Args:
        office: where.
        number: of the title.
        bps: basis points of their revenue, 0 to 5,000; None where nobody may derive without approval.
    """
    with office.store.transaction() as transaction:
        holder = party(transaction, load(transaction, "title", number)["holder"])
    args = (number, bps is not None, bps or 0)
    call = Call(contract="ModelTitles", function="setDerivativeTerms", args=args, event="DerivativeTermsSet")
    result = act(office, "set-derivatives", call, by=holder, subject={"title": number, "bps": bps})
    with office.store.transaction() as transaction:
        title = load(transaction, "title", number) | {"derivatives": bps}
        transaction.put("title", str(number), title, index=(title["weights_root"],))
    return result


def accept_market(office: Office, number: int) -> dict[str, Any]:
    """Let the market that the consortium's directory names now sell a title, as its holder.

    A title stays with the market of the day of its registration until then, whoever governs the directory.
    """
    with office.store.transaction() as transaction:
        holder = party(transaction, load(transaction, "title", number)["holder"])
    call = Call(contract="ModelTitles", function="acceptMarket", args=(number,), event="MarketAccepted")
    return act(office, "accept-market", call, by=holder, subject={"title": number})


def approve_derivative(office: Office, number: int, weights: str, bps: int) -> dict[str, Any]:
    """Approve one model as derived from a title's model at a share, as its holder.

    Args:
        office: where.
        number: of the title.
        weights: the derived model's weights, ``sha256:…``.
        bps: least share that it owes, 0 to 5,000 basis points.
    """
    root = read_digest(weights)
    with office.store.transaction() as transaction:
        holder = party(transaction, load(transaction, "title", number)["holder"])
    call = Call(
        contract="ModelTitles", function="approveDerivative", args=(number, root, bps), event="DerivativeApproved"
    )
    return act(office, "approve-derivative", call, by=holder, subject={"title": number, "weights": weights, "bps": bps})
