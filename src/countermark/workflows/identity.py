"""Identify a party: hand out a challenge, check the answer, and record its salted digest on the ledger.

The office acts as registrar. What it checked stays in the workspace as a document behind that digest, and can be erased
there; then ledger and log still say that somebody was checked, and nothing about whom or how.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from countermark.core.times import from_unix, read_time, show_time
from countermark.errors import ConflictError, IdentityInvalid, InputError, NotFoundError
from countermark.identity import MAX_AGE, Challenge, Proven, verify_certificate, verify_token
from countermark.registry import Party, Transaction
from countermark.workflows.market.acts import Call, act, read_party, record_act
from countermark.workflows.market.documents import document_behind, salted_digest
from countermark.workflows.office import Intent, Office, Receipt, recorder

MAX_DAYS = 3653


def challenge_party(office: Office, name: str) -> Challenge:
    """Hand out a challenge to a party; one that was handed out before is void.

    Raises:
        NotFoundError: no such party.
    """
    member = read_party(office, name)
    challenge = Challenge(
        office=office.id,
        party=member.id,
        signing_key=member.signing_key,
        address=member.address,
        nonce=secrets.token_hex(16),
        issued_at=office.now(),
    )
    with office.store.transaction() as transaction:
        transaction.put("identity-challenge", member.id, {"text": challenge.to_bytes().decode()})
    return challenge


def identify_by_certificate(
    office: Office, name: str, *, chain: bytes, signature: bytes, roots: bytes, days: int
) -> dict[str, Any]:
    """Identify a party by its organization's certificate. Arguments as of ``identity.verify_certificate``.

    Returns:
        ``{"party", "method", "proof", "valid_until", "transaction", "time", "log_index"}``; ``proof`` is the digest.

    Raises:
        NotFoundError: no such party, or no challenge was handed out to it.
        IdentityInvalid: the proof does not hold, or the challenge is too old.
        InputError: the proof is malformed, or ``days`` is not 1 to ``MAX_DAYS``.
    """
    member, challenge = _asked(office, name)
    proven = verify_certificate(
        chain, signature, roots, challenge=challenge, declared=member.name, moment=office.clock()
    )
    return _record(office, member, challenge, proven, days)


def identify_by_token(
    office: Office, name: str, *, token: str, jwks: bytes, issuer: str, audience: str, claim: str, days: int
) -> dict[str, Any]:
    """Identify a party by an ID token. Arguments as of ``identity.verify_token``; the rest as by certificate."""
    member, challenge = _asked(office, name)
    proven = verify_token(
        token,
        jwks,
        issuer=issuer,
        audience=audience,
        claim=claim,
        challenge=challenge,
        declared=member.name,
        moment=office.clock(),
    )
    return _record(office, member, challenge, proven, days)


def identity_of(office: Office, member: Party) -> dict[str, Any] | None:
    """Return a party's newest proof as ``identify_by_certificate`` does, or None.

    ``in_force`` says whether it counts now, ``kept`` whether what was checked is still here.
    """
    with office.store.transaction() as transaction:
        found = transaction.get("identity", member.id)
    if found is None:
        return None
    try:
        document_behind(office, found["proof"])
        kept = True
    except NotFoundError:
        kept = False
    return {**found, "in_force": office.clock() < read_time(found["valid_until"]), "kept": kept}


def _asked(office: Office, name: str) -> tuple[Party, Challenge]:
    """Return a party and the challenge that it may still answer."""
    member = read_party(office, name)
    with office.store.transaction() as transaction:
        kept = transaction.get("identity-challenge", member.id)
    if kept is None:
        raise NotFoundError(
            "no challenge was handed out to {name}",
            hint='Hand one out with: countermark party challenge "{name}" --out FILE',
            name=member.name,
        )
    challenge = Challenge.from_bytes(kept["text"].encode())
    too_old = office.clock() - read_time(challenge.issued_at) > MAX_AGE
    if too_old or (challenge.signing_key, challenge.address) != (member.signing_key, member.address):
        raise IdentityInvalid(
            "the challenge to {name} is void: it is too old, or the party's keys have changed",
            hint='Hand out a new one with: countermark party challenge "{name}" --out FILE',
            name=member.name,
        )
    return member, challenge


def _record(office: Office, member: Party, challenge: Challenge, proven: Proven, days: int) -> dict[str, Any]:
    if not 1 <= days <= MAX_DAYS:
        raise InputError("a proof counts for 1 to {limit} days", limit=MAX_DAYS)
    if office.ledger.address_of(office.account) == member.address:
        raise ConflictError("the office cannot identify its own account")
    ends = office.clock() + timedelta(days=days)
    ends = min(ends, proven.expires) if proven.expires else ends
    proof = salted_digest(office, "identity-proof", {"party": member.id, "method": proven.method, **proven.evidence})
    earlier = identity_of(office, member)
    if earlier is not None and earlier["proof"] == proof.hex():
        return earlier
    args = (member.address, proof, int(ends.timestamp()))
    call = Call(contract="Members", function="identify", args=args, event="Identified")
    keep = {"party": member.id, "method": proven.method}
    subject = {"party": member.id, "proof": proof.hex()}
    return act(office, "identify", call, subject=subject, keep=keep, kind="identify")


@recorder("identify")
def _record_identity(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    done = record_act(office, transaction, intent, receipt)
    identity = {
        **intent["keep"],
        "proof": done["proof_digest"],
        "valid_until": show_time(from_unix(int(done["valid_until"]))),
        **{name: done[name] for name in ("registrar", "transaction", "time", "log_index")},
    }
    transaction.put("identity", identity["party"], identity)
    return identity
