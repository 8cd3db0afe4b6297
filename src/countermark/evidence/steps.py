"""The steps of a verification, in the order in which they run (``STEPS``).

Each takes what the earlier ones have established (``Check``), proves one thing more, and returns what it saw; the first
contradiction raises. ``verification.verify`` runs them.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from countermark.artifact import ModelManifest
from countermark.artifact.directory import TOKENIZER
from countermark.core.canonical import digest, document_digest, parse_json, read_digest, show_digest
from countermark.core.dsse import open_document, read_unverified
from countermark.core.keys import PublicKey, Secret, epoch_commitment, key_commitment
from countermark.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from countermark.core.payload import commit_identifier, commit_nonce, derive_identifier, permute, read_identifier
from countermark.core.times import from_unix, read_time, show_time
from countermark.core.trie import VerifiedReceipt, verify_receipt
from countermark.errors import CheckpointInconsistent, PolicyUnmet, ProofInvalid, SignatureInvalid
from countermark.evidence.bundle import Bundle, unpack
from countermark.evidence.checkpoint import Checkpoint, checkpoint_digest, open_checkpoint
from countermark.evidence.checkpoint import read_unverified as read_head
from countermark.evidence.findings import check_pool, innocence, presence
from countermark.evidence.policy import Demand
from countermark.evidence.timestamp import verify_timestamp
from countermark.evidence.trust import Trust
from countermark.licensing import Terms, coverage
from countermark.marking.reading import Reading, recompute
from countermark.registry import name_digest, signing_key_digest

#: A statement is made when its log entry is stamped, give or take clocks and queues.
_STAMP_SLACK = timedelta(days=1)
#: Relative slack for recomputed probabilities: another machine's libm may round the last bit otherwise.
_SAME = 1e-9


class Detail(NamedTuple):
    """What a step saw, as a template with its fields, so that the edge can say it in the reader's language."""

    template: str
    params: Mapping[str, object]

    def __str__(self) -> str:
        return self.template.format(**self.params)


def say(template: str, **params: object) -> Detail:
    """Return a step's detail."""
    return Detail(template, params)


@dataclass(slots=True)
class Check:
    """What the steps have established so far. A field is set by the step that proves it."""

    data: bytes
    demand: Demand
    bundle: Bundle = field(init=False)
    trust: Trust = field(init=False)
    statement: dict[str, Any] = field(init=False)
    head: Checkpoint = field(init=False)
    stamped_at: datetime = field(init=False)
    receipts: dict[str, VerifiedReceipt] = field(init=False)
    entries: dict[str, dict[str, Any]] = field(init=False)
    parties: dict[str, dict[str, Any]] = field(init=False)
    title: dict[str, Any] = field(init=False)
    terms: Terms = field(init=False)
    acceptance: dict[str, Any] = field(init=False)
    granted: dict[str, Any] = field(init=False)
    permutation: Secret = field(init=False)
    reading: Reading = field(init=False)
    caveats: list[str] = field(default_factory=list)

    def event(self, role: str, name: str, contract: str) -> dict[str, Any]:
        """Return the event that a proven receipt holds, emitted by the contract that the trust file names."""
        if role not in self.receipts:
            raise ProofInvalid("the bundle holds no ledger receipt for the {role}", role=role)
        return self.receipts[role].event(name, bytes.fromhex(self.trust.contracts[contract].removeprefix("0x")))


def _contents(check: Check) -> Detail:
    check.bundle = unpack(check.data)
    return say("{count} members", count=len(check.bundle.members))


def _issuer(check: Check) -> Detail:
    claimed = Trust.from_json(check.bundle.json("issuer.json"))
    check.trust = check.demand.trust or claimed
    if claimed.office != check.trust.office:
        raise PolicyUnmet("the bundle is of office {found}, not of the trusted one", found=claimed.office)
    if (claimed.chain_id, claimed.genesis_hash) != (check.trust.chain_id, check.trust.genesis_hash):
        raise PolicyUnmet("the bundle is of another ledger than the trusted one")
    if check.trust.engine == "embedded":
        check.caveats.append("ledger-self-attested")
    else:
        check.caveats.append("ledger-blocks-not-checked")
    if check.demand.trust is None:
        return say("no trust file: the bundle's own claims are used")
    return say("{office}", office=check.trust.name)


def _statement(check: Check) -> Detail:
    envelope = check.bundle.json("statement.json")
    claimed = read_unverified(envelope)
    moment = read_time(claimed["issued_at"])
    key = check.trust.platform_key(str(claimed["platform_key"]), moment)
    check.statement = open_document(envelope, "statement", key)
    bound = check.bundle.digests()
    for name in sorted(bound.keys() | check.statement["members"].keys()):
        if bound.get(name) != check.statement["members"].get(name):
            raise SignatureInvalid("{name} is not what the statement was made about", name=name)
    if check.statement["office"] != check.trust.office:
        raise SignatureInvalid("the statement is of another office")
    return say("signed by {key} at {time}", key=key.key_id, time=claimed["issued_at"])


def _audience(check: Check) -> Detail:
    _same(check.demand.suspect, check.statement["suspect"], "suspect")
    _same(check.demand.case, check.statement["case"], "case")
    _same(check.demand.audience, check.statement["audience"], "audience")
    unasked = [name for name in ("suspect", "case", "audience") if getattr(check.demand, name) is None]
    check.caveats += [f"{name}-not-checked" for name in unasked]
    return say("case {case}, for {audience}", case=check.statement["case"], audience=check.statement["audience"])


def _same(demanded: str | None, stated: str, name: str) -> None:
    if demanded is not None and demanded != stated:
        raise PolicyUnmet("the statement is about another {name}", name=name)


def _checkpoint(check: Check) -> Detail:
    text = check.bundle.members["checkpoint.txt"]
    roots = [pem.encode() for pem in check.trust.timestamp_roots]
    check.stamped_at = verify_timestamp(check.bundle.members["checkpoint.tsr"], text, roots)
    check.head = _open_with_any(text.decode("utf-8", "replace"), check.trust, check.stamped_at)
    if abs(read_time(check.statement["issued_at"]) - check.stamped_at) > _STAMP_SLACK:
        raise PolicyUnmet("the statement's date is not that of its time stamp")
    return say("{size} entries, stamped {time}", size=check.head.size, time=show_time(check.stamped_at))


def _open_with_any(text: str, trust: Trust, moment: datetime) -> Checkpoint:
    for key in trust.log_keys_at(moment):
        try:
            return open_checkpoint(text, trust.origin, key)
        except SignatureInvalid:
            continue
    read_head(text)
    raise SignatureInvalid("the checkpoint is not signed by a log key in office then")


def _history(check: Check) -> Detail:
    """Hold the checkpoint against every one that the verifier knows: one log, one history."""
    proven = {int(item["size"]): item for item in check.bundle.json("history.json")["checkpoints"]}
    known = {item.size: item.root for item in check.trust.checkpoints}
    if check.demand.trust is None or not known:
        check.caveats.append("log-history-not-checked")
    earlier = [size for size in known if size <= check.head.size]
    for size in earlier:
        if size in proven and proven[size]["root"] != known[size]:
            raise CheckpointInconsistent("the log shows another history at {size} entries", size=size)
        if size in proven:
            proof = [bytes.fromhex(node) for node in proven[size]["proof"]]
            verify_consistency(size, check.head.size, bytes.fromhex(known[size]), check.head.root, proof)
    if earlier and max(earlier) not in proven:
        raise CheckpointInconsistent("no proof that the log extends the known one of {size} entries", size=max(earlier))
    if known and max(known) > check.head.size and check.head.size not in known:
        raise CheckpointInconsistent("the trusted log never had a checkpoint of {size} entries", size=check.head.size)
    return say(
        "consistent with {count} of {known} known checkpoints",
        count=len(proven.keys() & known.keys()),
        known=len(known),
    )


def _anchor(check: Check) -> Detail:
    member = check.bundle.json("receipts.json")
    seal_key = read_unverified(member["seal"])
    key = check.trust.platform_key(str(seal_key["platform_key"]), read_time(seal_key["sealed_at"]))
    seal = open_document(member["seal"], "seal", key)
    if (seal["chain_id"], seal["genesis_hash"]) != (check.trust.chain_id, check.trust.genesis_hash):
        raise ProofInvalid("the blocks are sealed for another ledger")
    proven = {name: verify_receipt(proof) for name, proof in member["receipts"].items()}
    for receipt in proven.values():
        if seal["blocks"].get(str(receipt.block_number)) != receipt.block_hash.hex() or receipt.status != 1:
            raise ProofInvalid("block {number} is not sealed, or its transaction failed", number=receipt.block_number)
    check.receipts = {role: proven[name] for role, name in member["roles"].items()}
    event = check.event("anchor", "Anchored", "Anchors")
    text = check.bundle.members["checkpoint.txt"].decode()
    if (
        bytes(event["logId"]) != digest("log-id/1", check.trust.origin.encode())
        or event["size"] != check.head.size
        or bytes(event["root"]) != check.head.root
        or bytes(event["checkpointDigest"]) != checkpoint_digest(text)
    ):
        raise ProofInvalid("the ledger anchors another checkpoint")
    return say("block {number}", number=check.receipts["anchor"].block_number)


def _entries(check: Check) -> Detail:
    check.entries = {}
    for item in check.bundle.json("entries.json")["entries"]:
        raw = base64.b64decode(item["entry"], validate=True)
        proof = [bytes.fromhex(node) for node in item["proof"]]
        verify_inclusion(leaf_hash(raw), int(item["index"]), check.head.size, proof, check.head.root)
        check.entries[str(item["role"])] = parse_json(raw)
    trace = _entry(check, "trace")
    bound = {name: check.statement[name] for name in ("suspect", "case", "audience", "nonce")}
    if trace["statement"] != show_digest(document_digest("statement-binding/1", bound)):
        raise ProofInvalid("the log entry of the trace is about another statement")
    return say("{count} entries included", count=len(check.entries))


def _entry(check: Check, role: str) -> dict[str, Any]:
    if role not in check.entries:
        raise ProofInvalid("the bundle holds no log entry for the {role}", role=role)
    return check.entries[role]


def _parties(check: Check) -> Detail:
    check.parties = dict(check.bundle.json("parties.json"))
    for role in ("owner", "licensee", *({"licensor"} & check.parties.keys())):
        person, event = check.parties[role], check.event(role, "Admitted", "Members")
        key = PublicKey.from_text(person["signing_key"])
        named = name_digest(person["name"], bytes.fromhex(person["name_salt"]))
        if (
            str(event["account"]).lower() != str(person["address"]).lower()
            or bytes(event["organizationDigest"]) != named
            or bytes(event["signingKeyDigest"]) != signing_key_digest(key)
        ):
            raise ProofInvalid("the {role} is not the member that the ledger admitted", role=role)
    if check.parties["licensee"]["custody"] != "external":
        check.caveats.append("licensee-key-held-by-office")
    return say("{owner}; {licensee}", owner=check.parties["owner"]["name"], licensee=check.parties["licensee"]["name"])


def _title(check: Check) -> Detail:
    check.title = check.event("title", "TitleRegistered", "ModelTitles")
    owner = check.parties["owner"]
    body = open_document(
        check.bundle.json("registration.json"), "registration", PublicKey.from_text(owner["signing_key"])
    )
    manifest = ModelManifest.from_json(body["manifest"])
    if (
        check.title["titleId"] != check.statement["title"]
        or bytes(check.title["manifestDigest"]) != manifest.digest
        or bytes(check.title["weightsRoot"]) != manifest.content_root
        or str(check.title["holder"]).lower() != owner["address"].lower()
    ):
        raise ProofInvalid("the title on the ledger is of another model, manifest or holder")
    if _entry(check, "title")["manifest"] != show_digest(manifest.digest):
        raise ProofInvalid("the log entry of the title is of another manifest")
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
    if _entry(check, "grant")["commitment"] != bytes(check.granted["markCommitment"]).hex():
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
        _entry(check, "output")["time"]
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
    entry, pattern = _entry(check, "output"), check.reading.pattern
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
    entry = _entry(check, "output")
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


STEPS: tuple[tuple[str, Callable[[Check], Detail]], ...] = (
    ("contents", _contents),
    ("issuer", _issuer),
    ("statement", _statement),
    ("audience", _audience),
    ("checkpoint", _checkpoint),
    ("history", _history),
    ("anchor", _anchor),
    ("entries", _entries),
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
