"""The steps of a trace's bundle after those that every bundle has (``STEPS``): whose mark it is, and what it proves."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from countermark.artifact import ModelManifest
from countermark.artifact.directory import TOKENIZER
from countermark.core.canonical import digest, document_digest, read_digest, show_digest
from countermark.core.dsse import open_document
from countermark.core.keys import PublicKey, Secret, epoch_commitment, key_commitment
from countermark.core.payload import commit_identifier, commit_nonce, derive_identifier, permute, read_identifier
from countermark.core.times import from_unix, read_time, show_time
from countermark.errors import PolicyUnmet, ProofInvalid
from countermark.evidence.findings import check_pool, innocence, presence
from countermark.evidence.steps import COMMON, Check, Detail, Step, admitted, registered, say
from countermark.licensing import Terms, coverage
from countermark.marking.reading import recompute

#: Relative slack for recomputed probabilities: another machine's libm may round the last bit otherwise.
_SAME = 1e-9


def _parties(check: Check) -> Detail:
    named = check.bundle.json("parties.json").keys()
    check.parties = {role: admitted(check, role) for role in ("owner", "licensee", *({"licensor"} & named))}
    if check.parties["licensee"]["custody"] != "external":
        check.caveats.append("licensee-key-held-by-office")
    return say("{owner}; {licensee}", owner=check.parties["owner"]["name"], licensee=check.parties["licensee"]["name"])


def _title(check: Check) -> Detail:
    manifest = registered(check)
    _tokenizer(check, manifest)
    return say("title {number}: {name}", number=check.title["titleId"], name=manifest.name)


def _tokenizer(check: Check, manifest: ModelManifest) -> None:
    """Check that a text was read with the tokenizer that was registered with the model."""
    registered = [show_digest(record.sha256) for record in manifest.files if record.path == TOKENIZER]
    is_text = str(check.bundle.json("detection.json")["method"]).startswith("text.")
    if is_text and check.statement.get("tokenizer") not in registered:
        raise ProofInvalid("the tokenizer is not the one that was registered with the model")


def _offer(check: Check) -> Detail:
    licensor = check.parties.get("licensor", check.parties["owner"])
    body = open_document(check.bundle.json("offer.json"), "offer", PublicKey.from_text(licensor["signing_key"]))
    check.terms = Terms.from_json(body["terms"])
    event = check.event("offer", "Offered", "Grants")
    if bytes(event["termsDigest"]) != check.terms.digest or event["titleId"] != check.title["titleId"]:
        raise ProofInvalid("the ledger offers other terms, or another title")
    if tuple(event["conditions"].values()) != check.terms.conditions():
        raise ProofInvalid("the ledger fixes other conditions than the terms")
    if "licensor" in check.parties:
        _assignment(check, licensor)
    offered = {"number": event["offerId"], "name": check.terms.name}
    text = check.bundle.members.get("legal.json")
    if text is None:
        return say("offer {number}: {name}", **offered)
    if show_digest(hashlib.sha256(text).digest()) != check.terms.legal_text:
        raise ProofInvalid("the terms name another legal text than the one in the bundle")
    return say("offer {number}: {name}; its legal text is in the bundle", **offered)


def _assignment(check: Check, licensor: Mapping[str, Any]) -> None:
    """Prove that the title had passed to the licensor: the ledger lets its holder alone offer."""
    event = check.event("assignment", "TitleAssigned", "ModelTitles")
    if (
        event["titleId"] != check.title["titleId"]
        or str(event["to"]).lower() != str(licensor["address"]).lower()
        or check.receipts["assignment"].block_number > check.receipts["offer"].block_number
    ):
        raise ProofInvalid("the title had not passed to the licensor when it made the offer")


def _grant(check: Check) -> Detail:
    licensee = check.parties["licensee"]
    check.acceptance = open_document(
        check.bundle.json("acceptance.json"), "acceptance", PublicKey.from_text(licensee["signing_key"])
    )
    check.granted = check.event("grant", "Granted", "Grants")
    window = [int(read_time(check.acceptance[name]).timestamp()) for name in ("starts", "expires")]
    if (
        check.granted["grantId"] != check.statement["grant"]
        or check.granted["titleId"] != check.title["titleId"]
        or check.granted["offerId"] != check.acceptance["offer"]
        or str(check.granted["licensee"]).lower() != str(licensee["address"]).lower()
        or bytes(check.granted["acceptanceDigest"]) != document_digest("acceptance/1", check.acceptance)
        or bytes(check.granted["termsDigest"]) != check.terms.digest
        or [check.granted["startsAt"], check.granted["expiresAt"]] != window
        or check.acceptance["office"] != check.trust.office
    ):
        raise ProofInvalid("the grant on the ledger is not the one that the licensee accepted")
    if check.entry("grant")["commitment"] != bytes(check.granted["markCommitment"]).hex():
        raise ProofInvalid("the log entry of the grant holds another commitment")
    return say("grant {number} to {licensee}", number=check.granted["grantId"], licensee=licensee["name"])


def _identifier(check: Check) -> Detail:
    opening = check.bundle.json("opening.json")
    nonce, salt = bytes.fromhex(opening["platform_nonce"]), bytes.fromhex(opening["salt"])
    identifier = read_identifier(opening["identifier"])
    if commit_nonce(nonce).hex() != check.acceptance["platform_commitment"]:
        raise ProofInvalid("the platform's nonce is not the one it had committed to")
    accepted = bytes(check.granted["acceptanceDigest"])
    if derive_identifier(nonce, bytes.fromhex(check.acceptance["licensee_nonce"]), accepted) != identifier:
        raise ProofInvalid("the identifier does not follow from both nonces")
    if commit_identifier(identifier, salt) != bytes(check.granted["markCommitment"]):
        raise ProofInvalid("the identifier is not the one committed to on the ledger")
    committed = from_unix(check.receipts["grant"].timestamp)
    return say("{identifier}, committed at {time}", identifier=opening["identifier"], time=show_time(committed))


def _key(check: Check) -> Detail:
    part = check.bundle.json("detection.json")
    check.permutation = Secret(bytes.fromhex(part["permutation_key"]))
    key = key_commitment(bytes.fromhex(part["embedding_commitment"]), check.permutation.reveal())
    keys = [bytes.fromhex(each) for each in part["commitments"]]
    bound = epoch_commitment(keys) if key in keys else b""
    role = "title" if part["epoch"] == 0 else "key"
    committed = check.title if role == "title" else check.event("key", "KeyCommitted", "ModelTitles")
    if bytes(committed["keyCommitment"]) != bound or committed["titleId"] != check.title["titleId"]:
        raise ProofInvalid("the detection key is not the one committed to on the ledger")
    if part["epoch"] != committed.get("epoch", 0):
        raise ProofInvalid("the ledger commits to the key of another epoch")
    if part["epoch"] == 0 and check.receipts["title"].timestamp > check.receipts["grant"].timestamp:
        raise ProofInvalid("the detection key was committed to after the grant")
    if "output" in check.entries and from_unix(check.receipts[role].timestamp) > read_time(
        check.entry("output")["time"]
    ):
        raise ProofInvalid("the detection key was committed to after the output was marked")
    return say("{key}, epoch {epoch}", key=part["key_id"], epoch=part["epoch"])


def _presence(check: Check) -> Detail:
    part = check.bundle.json("detection.json")
    tried = int(part["keys_tried"])
    if tried < 1:
        raise PolicyUnmet("no key was tried")
    check_pool(check.statement, part["observations"])
    check.reading = recompute(str(part["method"]), part["observations"])
    word = permute(check.permutation, read_identifier(check.bundle.json("opening.json")["identifier"]))
    issued = _issued_total(check) if check.reading.proves_words else 1
    p_ours = presence(check.reading, word, tried, issued)
    check.caveats.append("reading-not-repeated")
    _close(p_ours, check.statement["p_ours"]["value"], "p_ours")
    if p_ours > check.demand.alpha:
        raise PolicyUnmet("p_ours is {p}, above the level asked", p=p_ours)
    return say("p_ours = {value}", value=f"{p_ours:.3g}")


def _attribution(check: Check) -> Detail:
    opened = read_identifier(check.bundle.json("opening.json")["identifier"])
    issued = _issued_total(check)
    if check.statement["read"] == "recorded":
        _recorded(check)
    p_innocent = innocence(check.reading, permute(check.permutation, opened), check.statement, issued)
    _close(p_innocent, check.statement["p_innocent"]["value"], "p_innocent")
    if p_innocent > check.demand.alpha:
        raise PolicyUnmet("p_innocent is {p}, above the level asked", p=p_innocent)
    found = {"value": f"{p_innocent:.3g}", "count": issued}
    if check.statement["read"] == "recorded":
        return say("p_innocent = {value}; the log holds the signs that were recognized", value=found["value"])
    if check.statement["read"] == "soft":
        return say("p_innocent = {value} among {count} identifiers, by a soft read", **found)
    return say("p_innocent = {value} among {count} identifiers", **found)


def _recorded(check: Check) -> None:
    """Hold the signs that were recognized against those that the log was told of when the output was made."""
    entry, pattern = check.entry("output"), check.reading.pattern
    if pattern is None or entry.get("pattern") != show_digest(pattern) or entry["grant"] != check.granted["grantId"]:
        raise ProofInvalid("the generation that was recognized is not that of the logged output")


def _issued_total(check: Check) -> int:
    """Return the ledger's own count of identifiers ever issued, by its newest proven receipt."""
    try:
        return int(check.event("issued", "BatchCommitted", "Grants")["issuedTotal"])
    except ProofInvalid:
        return int(check.event("issued", "Granted", "Grants")["issuedTotal"])


def _close(mine: float, stated: float, name: str) -> None:
    if not math.isclose(mine, float(stated), rel_tol=_SAME):
        raise PolicyUnmet("{name} is {mine}, not {stated} as stated", name=name, mine=mine, stated=stated)


def _request(check: Check) -> Detail:
    if "request.json" not in check.bundle.members:
        check.caveats.append("no-signed-request")
        return say("none: a lead, not an accusation")
    envelope = check.bundle.json("request.json")
    licensee = check.parties["licensee"]
    body = open_document(envelope, "request", PublicKey.from_text(licensee["signing_key"]))
    entry = check.entry("output")
    if (
        body["grant"] != check.granted["grantId"]
        or body["office"] != check.trust.office
        or entry["grant"] != check.granted["grantId"]
        or entry["request"] != show_digest(digest("envelope/1", envelope["payload"].encode()))
    ):
        raise ProofInvalid("the signed request is not that of the logged output")
    read_digest(entry["content"])
    pictures = [picture["suspect"] for picture in check.statement.get("pictures", [])]
    if entry["content"] not in (pictures or [check.statement["suspect"]]) and check.statement["read"] != "recorded":
        check.caveats.append("output-linked-by-likeness")
    return say("signed {signed}; output logged {logged}", signed=body["requested_at"], logged=entry["time"])


def _coverage(check: Check) -> Detail:
    stated = check.statement["coverage"]
    decided = coverage(
        check.terms,
        use=stated["use"],
        territory=stated["territory"],
        at=read_time(stated["at"]),
        starts=from_unix(check.granted["startsAt"]),
        expires=from_unix(check.granted["expiresAt"]),
        revoked_at=_ended_early(check),
    )
    if decided.covered != stated["covered"] or list(decided.reasons) != stated["reasons"]:
        raise PolicyUnmet("the terms do not give the stated answer about the use")
    if decided.covered is None:
        return say("no use was named")
    return say("the grant covered the use") if decided.covered else say("the grant did not cover the use")


def _ended_early(check: Check) -> datetime | None:
    """Return when the grant ended before its time: by notice, by a ruling, or because it was sold on."""
    if "revocation" not in check.receipts:
        return None
    for name in ("Revoked", "Struck", "Resold"):
        try:
            event = check.event("revocation", name, "Grants")
        except ProofInvalid:
            continue
        if event["grantId"] != check.granted["grantId"]:
            raise ProofInvalid("the revocation is of another grant")
        return from_unix(int(event.get("effectiveAt", check.receipts["revocation"].timestamp)))
    raise ProofInvalid("the receipt of the revocation holds none")


STEPS: tuple[Step, ...] = (
    *COMMON,
    ("parties", _parties),
    ("title", _title),
    ("offer", _offer),
    ("grant", _grant),
    ("identifier", _identifier),
    ("key", _key),
    ("presence", _presence),
    ("attribution", _attribution),
    ("request", _request),
    ("coverage", _coverage),
)
