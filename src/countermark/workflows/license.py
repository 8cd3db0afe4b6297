"""Offers and grants: put terms on offer, accept them, revoke, and reserve identifiers in a committed batch."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from countermark.core.canonical import document_digest, show_digest
from countermark.core.dsse import Envelope, open_document, read_unverified
from countermark.core.keys import Secret, SigningKey, derive_key, keystream
from countermark.core.merkle import leaf_hash, root_of
from countermark.core.payload import commit_identifier, commit_nonce, derive_identifier, show_identifier
from countermark.core.times import from_unix, read_time, show_time
from countermark.errors import (
    AdapterError,
    CountermarkError,
    GrantExpired,
    GrantNotStarted,
    GrantRevoked,
    InputError,
    RightsError,
    SignatureInvalid,
)
from countermark.licensing import Terms
from countermark.registry import Grant, Offer, Party, Title, Transaction, log_entry
from countermark.standard_terms import LegalText
from countermark.workflows.audit import require_audit
from countermark.workflows.legal import keep_text
from countermark.workflows.office import (
    Intent,
    Office,
    Receipt,
    append,
    envelope_digest,
    load,
    party,
    perform,
    recorder,
    sign,
)
from countermark.workflows.register import ROLE_BITS

_MAX_BATCH = 1_000_000


def offer_terms(office: Office, title: int, terms: Terms, legal: LegalText | None = None) -> Offer:
    """Put terms on offer under a title, signed by its holder; ``legal`` is the text that they name, to be kept.

    Raises:
        NotFoundError: no such title.
        InputError: the terms have expired.
        ConflictError: the terms name another legal text.
        AuditMissing: the market asks for a recorded audit of the model.
    """
    with office.store.transaction() as transaction:
        model = Title.from_json(load(transaction, "title", title))
        holder = party(transaction, model.holder)
        if legal is not None:
            keep_text(transaction, terms, legal)
    terms.window(office.clock())

    def plan() -> Intent:
        require_audit(office, title)
        body = {
            "office": office.id,
            "title": title,
            "licensor": holder.id,
            "licensor_key": holder.signing_key,
            "terms": terms.to_json(),
            "nonce": secrets.token_hex(16),
            "offered_at": office.now(),
        }
        call = (title, terms.digest, terms.conditions())
        raw = office.ledger.prepare_call(office.party_account(holder), "Grants", "offer", call)
        return {"transaction": raw.hex(), "envelope": sign(office.party_key(holder), "offer", body)}

    return Offer.from_json(perform(office, "offer", {"title": title, "terms": terms.to_json()}, plan))


@recorder("offer")
def _record_offer(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    event, body = receipt.event("Offered"), read_unverified(intent["envelope"])
    terms = Terms.from_json(body["terms"])
    entry = log_entry(
        "offer",
        offer=int(event["offerId"]),
        title=body["title"],
        terms=show_digest(terms.digest),
        document=envelope_digest(intent["envelope"]),
        transaction=receipt.transaction_hash,
        time=office.now(),
    )
    offer = Offer(
        id=int(event["offerId"]),
        title=body["title"],
        terms=terms.to_json(),
        envelope=intent["envelope"],
        transaction=receipt.transaction_hash,
        log_index=append(transaction, entry),
    ).to_json()
    transaction.put("offer", str(offer["id"]), offer, index=(f"title:{body['title']}",))
    return offer


def invite(office: Office, offer: int, licensee: str, *, starts: datetime | None = None) -> dict[str, Any]:
    """Invite a licensee to accept an offer: fixes the window and the platform's half of the mark identifier.

    The invitation holds only the commitment to the platform's nonce; the nonce waits in the store. The licensee then
    chooses its own half and signs (``accept``), so neither can steer the identifier.
    """
    with office.store.transaction() as transaction:
        terms = Terms.from_json(load(transaction, "offer", offer)["terms"])
    return invite_to(office, offer, licensee, *terms.window(starts or office.clock()))


def invite_to(office: Office, offer: int, licensee: str, first: datetime, last: datetime) -> dict[str, Any]:
    """Invite a licensee to accept an offer for a window that is fixed already, as on a resale."""
    with office.store.transaction() as transaction:
        terms = Terms.from_json(load(transaction, "offer", offer)["terms"])
        member = party(transaction, licensee)
        if "licensee" not in member.roles:
            raise InputError("{name} is not admitted as a licensee", name=member.name)
        nonce = secrets.token_bytes(32)
        invitation: dict[str, Any] = {
            "office": office.id,
            "offer": offer,
            "terms": show_digest(terms.digest),
            "licensee": member.id,
            "licensee_key": member.signing_key,
            "address": member.address,
            "starts": show_time(first),
            "expires": show_time(last),
            "platform_commitment": commit_nonce(nonce).hex(),
        }
        transaction.put("invitation", invitation["platform_commitment"], {"nonce": nonce.hex(), **invitation})
    return invitation


def accept(invitation: dict[str, Any], key: SigningKey, *, at: datetime) -> Envelope:
    """Accept an invitation as the licensee, with a fresh nonce. Needs no workspace.

    Raises:
        InputError: the invitation is for another key.
    """
    if invitation.get("licensee_key") != key.public.text:
        raise InputError("the invitation is for another licensee's key")
    return sign(
        key, "acceptance", {**invitation, "licensee_nonce": secrets.token_hex(32), "accepted_at": show_time(at)}
    )


def grant_license(office: Office, acceptance: Envelope) -> Grant:
    """Turn a signed acceptance into a grant on the ledger that carries the commitment to its mark identifier.

    One acceptance gives one grant, however often it is handed in.

    Raises:
        SignatureInvalid: not signed by the invited licensee, or not the invitation that was made.
        RightsError: the ledger refuses (seats, suspended member).
    """
    body = read_unverified(acceptance)
    with office.store.transaction() as transaction:
        member = party(transaction, str(body.get("licensee")))
        body = open_document(acceptance, "acceptance", member.key)
        offer = Offer.from_json(load(transaction, "offer", body["offer"]))
        holder = party(transaction, Title.from_json(load(transaction, "title", offer.title)).holder)
        accepted_before = transaction.find("grant", f"acceptance:{envelope_digest(acceptance)}")

    def plan() -> Intent:
        nonce = invited_nonce(office, body)
        accepted = acceptance_digest(body)
        identifier = identifier_of(nonce, body)
        salt = secrets.token_bytes(32)
        window = [int(read_time(body[name]).timestamp()) for name in ("starts", "expires")]
        call = (offer.id, member.address, accepted, commit_identifier(identifier, salt), *window)
        raw = office.ledger.prepare_call(office.party_account(holder), "Grants", "grant", call)
        return {
            "transaction": raw.hex(),
            "grant": {
                "offer": offer.id,
                "title": offer.title,
                "licensee": member.id,
                "identifier": show_identifier(identifier),
                "salt": salt.hex(),
                "platform_nonce": nonce,
                "acceptance": acceptance,
                "starts": body["starts"],
                "expires": body["expires"],
            },
        }

    subject, earlier = {"acceptance": envelope_digest(acceptance)}, accepted_before[0] if accepted_before else None
    return Grant.from_json(perform(office, "grant", subject, plan, earlier=earlier))


def identifier_of(nonce: str, body: dict[str, Any]) -> int:
    """Return the mark identifier that the platform's nonce (hex) and an acceptance fix together."""
    return derive_identifier(bytes.fromhex(nonce), _nonce(body), acceptance_digest(body))


def invited_nonce(office: Office, body: dict[str, Any]) -> str:
    """Return the platform's nonce behind the invitation that an acceptance answers."""
    with office.store.transaction() as transaction:
        invitation = load(transaction, "invitation", body.get("platform_commitment"))
    nonce = str(invitation.pop("nonce"))
    if any(body.get(name) != value for name, value in invitation.items()):
        raise SignatureInvalid("the acceptance does not match the invitation")
    return nonce


def grant_to_held(office: Office, offer: int, licensee: str, *, starts: datetime | None = None) -> Grant:
    """Invite, accept and grant in one go, for a licensee whose key this workspace holds.

    A killed call is taken up again by the next one for the same offer and licensee.
    """
    with office.store.transaction() as transaction:
        member = party(transaction, licensee)
        waiting = transaction.get("acceptance-held", f"{offer}/{member.id}")
    if waiting is None:
        waiting = accept(invite(office, offer, licensee, starts=starts), office.party_key(member), at=office.clock())
        with office.store.transaction() as transaction:
            transaction.put("acceptance-held", f"{offer}/{member.id}", waiting)
    try:
        grant = grant_license(office, waiting)
    except AdapterError:
        raise  # could not tell: the same acceptance is handed in again
    except CountermarkError:
        _forget_acceptance(office, offer, member)
        raise
    _forget_acceptance(office, offer, member)
    return grant


def _forget_acceptance(office: Office, offer: int, member: Party) -> None:
    with office.store.transaction() as transaction:
        transaction.delete("acceptance-held", f"{offer}/{member.id}")


@recorder("grant")
def record_grant(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    """Record a grant that came into being: its log entry, its record, and its identifier as issued."""
    event, waiting = receipt.event("Granted"), intent["grant"]
    number = int(event["grantId"])
    entry = log_entry(
        "grant",
        grant=number,
        offer=waiting["offer"],
        title=waiting["title"],
        licensee=waiting["licensee"],
        acceptance=envelope_digest(waiting["acceptance"]),
        commitment=bytes(event["markCommitment"]).hex(),
        transaction=receipt.transaction_hash,
        time=office.now(),
    )
    index = append(transaction, entry)
    grant = Grant(id=number, transaction=receipt.transaction_hash, log_index=index, **waiting).to_json()
    transaction.put("grant", str(number), grant, index=grant_words(grant))
    _issue(transaction, [int(waiting["identifier"], 16)], f"grant:{number}", receipt, int(event["issuedTotal"]))
    transaction.delete("invitation", read_unverified(waiting["acceptance"])["platform_commitment"])
    return grant


def grant_words(grant: dict[str, Any]) -> tuple[str, ...]:
    """Return what a grant is found by."""
    return (
        f"licensee:{grant['licensee']}",
        f"offer:{grant['offer']}",
        f"acceptance:{envelope_digest(grant['acceptance'])}",
    )


def revoke_grant(office: Office, number: int, reason: str) -> Grant:
    """Give notice to a grant, as the title holder, where the terms allow it; it ends when their notice has passed.

    The reason goes on the ledger as a digest. The grant's ``revoked_at`` is when it ends.

    Raises:
        RightsError: the terms do not allow it.
        GrantRevoked: it was revoked before, or notice was given.
        ConflictError: a case is pending for which an earlier notice was stopped.
    """
    grant, holder, terms = _granted(office, number)

    def plan() -> Intent:
        if grant.revoked_at is not None:
            raise GrantRevoked("grant {grant} was revoked at {time}", grant=number, time=grant.revoked_at)
        if not terms.revocable:
            raise RightsError("the terms of grant {grant} do not allow revocation", grant=number)
        body = {
            "office": office.id,
            "grant": number,
            "reason": reason,
            "salt": secrets.token_hex(32),
            "given_at": office.now(),
        }
        call = (number, document_digest("revocation/1", body))
        raw = office.ledger.prepare_call(office.party_account(holder), "Grants", "revoke", call)
        return {
            "transaction": raw.hex(),
            "envelope": sign(office.party_key(holder), "revocation", body),
            "grant": number,
        }

    return Grant.from_json(perform(office, "revoke", {"grant": number}, plan))


@recorder("revoke")
def _record_revocation(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    ends = show_time(from_unix(int(receipt.event("Revoked")["effectiveAt"])))
    entry = log_entry(
        "revocation",
        grant=intent["grant"],
        document=envelope_digest(intent["envelope"]),
        transaction=receipt.transaction_hash,
        effective=ends,
        time=show_time(from_unix(receipt.timestamp)),
    )
    append(transaction, entry)
    return _set_end(transaction, intent["grant"], ends, receipt.transaction_hash)


def withdraw_notice(office: Office, number: int) -> Grant:
    """Withdraw a notice before it takes effect, as the title holder.

    Raises:
        ConflictError: no notice is running.
    """
    _, holder, _ = _granted(office, number)

    def plan() -> Intent:
        raw = office.ledger.prepare_call(office.party_account(holder), "Grants", "withdrawNotice", (number,))
        return {"transaction": raw.hex(), "grant": number}

    return Grant.from_json(perform(office, "withdraw-notice", {"grant": number}, plan))


@recorder("withdraw-notice")
def _record_withdrawal(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    entry = log_entry(
        "notice-withdrawal",
        grant=intent["grant"],
        transaction=receipt.transaction_hash,
        time=show_time(from_unix(receipt.timestamp)),
    )
    append(transaction, entry)
    return _set_end(transaction, intent["grant"], None, None)


def _granted(office: Office, number: int) -> tuple[Grant, Party, Terms]:
    """Return a grant, the present holder of its title, and its terms."""
    with office.store.transaction() as transaction:
        grant = Grant.from_json(load(transaction, "grant", number))
        holder = party(transaction, load(transaction, "title", grant.title)["holder"])
        return grant, holder, Terms.from_json(load(transaction, "offer", grant.offer)["terms"])


def _set_end(transaction: Transaction, number: int, ends: str | None, revocation: str | None) -> dict[str, Any]:
    grant = load(transaction, "grant", number) | {"revoked_at": ends, "revocation": revocation}
    transaction.put("grant", str(number), grant, index=grant_words(grant))
    return grant


def reserve_identifiers(office: Office, count: int) -> dict[str, Any]:
    """Issue ``count`` identifiers at once, committed under one Merkle root: 1 to 1,000,000.

    They name nobody; they stand for licensees that a trace must not confuse with the right one.
    """
    if not 1 <= count <= _MAX_BATCH:
        raise InputError("a batch holds 1 to {limit} identifiers", limit=_MAX_BATCH)

    def plan() -> Intent:
        seed = Secret.random()
        root = root_of([leaf_hash(commit_identifier(*pair)) for pair in _batch(seed, count)])
        raw = office.ledger.prepare_call(office.account, "Grants", "commitBatch", (root, count))
        return {"transaction": raw.hex(), "seed": seed.reveal().hex(), "count": count, "root": root.hex()}

    return perform(office, "reserve", {"count": count}, plan)


def _batch(seed: Secret, count: int) -> list[tuple[int, bytes]]:
    """Return (identifier, salt) pairs; both are pseudo-random functions of the batch's seed."""
    words = keystream(derive_key(seed, "batch-identifiers"), 8 * count)
    salts = keystream(derive_key(seed, "batch-salts"), 32 * count)
    return [(int.from_bytes(words[8 * i : 8 * i + 8], "big"), salts[32 * i : 32 * i + 32]) for i in range(count)]


@recorder("reserve")
def _record_batch(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    event = receipt.event("BatchCommitted")
    batch = {
        "id": receipt.transaction_hash,
        "count": intent["count"],
        "root": intent["root"],
        "seed": intent["seed"],
        "issued_total": int(event["issuedTotal"]),
    }
    entry = log_entry(
        "batch",
        count=batch["count"],
        root=batch["root"],
        transaction=receipt.transaction_hash,
        time=office.now(),
    )
    batch["log_index"] = append(transaction, entry)
    pairs = _batch(Secret(bytes.fromhex(batch["seed"])), batch["count"])
    owner = f"batch:{batch['id']}"
    _issue(transaction, [identifier for identifier, _ in pairs], owner, receipt, batch["issued_total"])
    transaction.put("batch", batch["id"], batch)
    return {name: value for name, value in batch.items() if name != "seed"}


def _issue(transaction: Transaction, identifiers: list[int], owner: str, receipt: Receipt, total: int) -> None:
    """Record identifiers as issued, and the receipt that proves the ledger's count of all of them."""
    transaction.issue(identifiers, owner)
    transaction.put("issuance", "latest", {"transaction": receipt.transaction_hash, "issued_total": total})


def usable_grant(office: Office, number: int, *, at: datetime) -> tuple[Grant, Terms, Title, Party]:
    """Return a grant that may be used at ``at``, with its terms, title and licensee.

    Raises:
        GrantRevoked, GrantExpired, GrantNotStarted: it may not.
    """
    with office.store.transaction() as transaction:
        grant = Grant.from_json(load(transaction, "grant", number))
        terms = Terms.from_json(load(transaction, "offer", grant.offer)["terms"])
        title = Title.from_json(load(transaction, "title", grant.title))
        licensee = party(transaction, grant.licensee)
    if grant.revoked_at is not None and at >= read_time(grant.revoked_at):
        raise GrantRevoked("grant {grant} was revoked at {time}", grant=number, time=grant.revoked_at)
    if at >= read_time(grant.expires):
        raise GrantExpired("grant {grant} expired at {time}", grant=number, time=grant.expires)
    if at < read_time(grant.starts):
        raise GrantNotStarted("grant {grant} starts at {time}", grant=number, time=grant.starts)
    if not office.ledger.permitted(number, int(at.timestamp())):
        raise GrantRevoked("the ledger does not hold grant {grant} for valid", grant=number)
    if not office.ledger.is_member(licensee.address, ROLE_BITS["licensee"]):
        raise RightsError("{party} is suspended, or no longer a member", party=licensee.name)
    return grant, terms, title, licensee


def acceptance_digest(body: dict[str, Any]) -> bytes:
    """Return the digest of an acceptance that stands on the ledger and enters the identifier: 32 bytes."""
    return document_digest("acceptance/1", body)


def _nonce(body: dict[str, Any]) -> bytes:
    try:
        return bytes.fromhex(body["licensee_nonce"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("the acceptance holds no licensee nonce") from error
