"""Check a bundle offline, in numbered steps that an auditor can follow with a pencil.

No workspace, no network, no torch, no web3: hashes, Ed25519, a receipt trie, an RFC 3161 token, and one small decoder.
Each step raises on its first contradiction, and the error carries the step's number; ``VerifiedBundle`` is made
nowhere else.

The steps, in order (``STEPS``):

    1 contents   2 issuer   3 statement   4 audience   5 checkpoint   6 history   7 anchor   8 entries   9 parties
    10 title   11 offer   12 grant   13 identifier   14 key   15 presence   16 attribution   17 request   18 coverage
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from countermark.artifact import ModelManifest
from countermark.core.canonical import digest, document_digest, parse_json, read_digest, show_digest
from countermark.core.dsse import open_document, read_unverified
from countermark.core.keys import PublicKey, Secret, key_commitment
from countermark.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from countermark.core.payload import commit_identifier, commit_nonce, derive_identifier, read_identifier, unpermute
from countermark.core.stats import innocent_p
from countermark.core.times import from_unix, read_time
from countermark.core.trie import VerifiedReceipt, verify_receipt
from countermark.errors import (
    CheckpointInconsistent,
    CountermarkError,
    InputError,
    PolicyUnmet,
    ProofInvalid,
    SignatureInvalid,
    VerificationError,
)
from countermark.evidence.bundle import Bundle, unpack
from countermark.evidence.checkpoint import Checkpoint, checkpoint_digest, open_checkpoint
from countermark.evidence.checkpoint import read_unverified as read_head
from countermark.evidence.timestamp import verify_timestamp
from countermark.evidence.trust import Trust
from countermark.licensing import Terms, coverage
from countermark.marking.image.lattice import recompute
from countermark.registry import name_digest, signing_key_digest

VERIFIED = "verified"
SELF_CONSISTENT = "self-consistent, issuer unknown"

#: A statement is made when its log entry is stamped, give or take clocks and queues.
_STAMP_SLACK = timedelta(days=1)
#: Relative slack for recomputed probabilities: another machine's libm may round the last bit otherwise.
_SAME = 1e-9

OnStep = Callable[[int, str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a verifier brings and asks. Without ``trust`` or ``suspect`` the answer is never "verified" (rule 11).

    ``suspect`` is the plain SHA-256 of the suspect's bytes as ``sha256:…``; ``alpha`` is the largest p-value, after all
    corrections, that the verifier takes for either null, whatever level the statement chose.
    """

    trust: Trust | None = None
    suspect: str | None = None
    case: str | None = None
    audience: str | None = None
    alpha: float = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBundle:
    """A bundle whose every step holds. ``outcome`` is ``VERIFIED`` or ``SELF_CONSISTENT``; ``caveats`` are slugs."""

    outcome: str
    statement: Mapping[str, Any]
    stamped_at: datetime
    caveats: tuple[str, ...]
    steps: tuple[tuple[int, str, str], ...]


def verify(data: bytes, demand: Demand, *, on_step: OnStep | None = None) -> VerifiedBundle:
    """Check a bundle against what a verifier demands.

    Args:
        data: the zip file.
        demand: trust file, suspect digest, case and audience; each may be absent.
        on_step: called with number, name and a detail after each step that holds.

    Raises:
        VerificationError: a step does not hold; ``params`` hold ``step`` and ``step_name``.
        InputError: the data is not a readable bundle (step 1).
    """
    check, done = _Check(data, demand), []
    for number, (name, step) in enumerate(STEPS, start=1):
        try:
            detail = step(check)
        except CountermarkError as error:
            raise _at_step(error, number, name) from error
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
            binascii.Error,
        ) as error:
            raise _at_step(InputError("malformed: {reason}", reason=repr(error)[:200]), number, name) from error
        done.append((number, name, detail))
        if on_step is not None:
            on_step(number, name, detail)
    return VerifiedBundle(
        outcome=VERIFIED if demand.trust is not None and demand.suspect is not None else SELF_CONSISTENT,
        statement=check.statement,
        stamped_at=check.stamped_at,
        caveats=tuple(check.caveats),
        steps=tuple(done),
    )


def _at_step(error: CountermarkError, number: int, name: str) -> CountermarkError:
    """Return the error with its step; malformed content counts as a failed verification from step 2 on."""
    params = {**error.params, "step": number, "step_name": name}
    kind = type(error) if isinstance(error, VerificationError) or number == 1 else VerificationError
    return kind(error.template, hint=error.hint_template, **params)


@dataclass(slots=True)
class _Check:
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
    caveats: list[str] = field(default_factory=list)

    def event(self, role: str, name: str, contract: str) -> dict[str, Any]:
        """Return the event that a proven receipt holds, emitted by the contract that the trust file names."""
        if role not in self.receipts:
            raise ProofInvalid("the bundle holds no ledger receipt for the {role}", role=role)
        return self.receipts[role].event(name, bytes.fromhex(self.trust.contracts[contract].removeprefix("0x")))


def _contents(check: _Check) -> str:
    check.bundle = unpack(check.data)
    return f"{len(check.bundle.members)} members"


def _issuer(check: _Check) -> str:
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
    return check.trust.name if check.demand.trust else "no trust file: the bundle's own claims are used"


def _statement(check: _Check) -> str:
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
    return f"signed by {key.key_id} at {claimed['issued_at']}"


def _audience(check: _Check) -> str:
    _same(check.demand.suspect, check.statement["suspect"], "suspect")
    _same(check.demand.case, check.statement["case"], "case")
    _same(check.demand.audience, check.statement["audience"], "audience")
    unasked = [name for name in ("suspect", "case", "audience") if getattr(check.demand, name) is None]
    check.caveats += [f"{name}-not-checked" for name in unasked]
    return f"case {check.statement['case']}, for {check.statement['audience']}"


def _same(demanded: str | None, stated: str, name: str) -> None:
    if demanded is not None and demanded != stated:
        raise PolicyUnmet("the statement is about another {name}", name=name)


def _checkpoint(check: _Check) -> str:
    text = check.bundle.members["checkpoint.txt"]
    roots = [pem.encode() for pem in check.trust.timestamp_roots]
    check.stamped_at = verify_timestamp(check.bundle.members["checkpoint.tsr"], text, roots)
    check.head = _open_with_any(text.decode("utf-8", "replace"), check.trust, check.stamped_at)
    if abs(read_time(check.statement["issued_at"]) - check.stamped_at) > _STAMP_SLACK:
        raise PolicyUnmet("the statement's date is not that of its time stamp")
    return f"{check.head.size} entries, stamped {check.stamped_at.isoformat()}"


def _open_with_any(text: str, trust: Trust, moment: datetime) -> Checkpoint:
    for key in trust.log_keys_at(moment):
        try:
            return open_checkpoint(text, trust.origin, key)
        except SignatureInvalid:
            continue
    read_head(text)
    raise SignatureInvalid("the checkpoint is not signed by a log key in office then")


def _history(check: _Check) -> str:
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
    return f"consistent with {len(proven.keys() & known.keys())} of {len(known)} known checkpoints"


def _anchor(check: _Check) -> str:
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
    return f"block {check.receipts['anchor'].block_number}"


def _entries(check: _Check) -> str:
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
    return f"{len(check.entries)} entries included"


def _entry(check: _Check, role: str) -> dict[str, Any]:
    if role not in check.entries:
        raise ProofInvalid("the bundle holds no log entry for the {role}", role=role)
    return check.entries[role]


def _parties(check: _Check) -> str:
    check.parties = dict(check.bundle.json("parties.json"))
    for role in ("owner", "licensee"):
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
    return f"{check.parties['owner']['name']}; {check.parties['licensee']['name']}"


def _title(check: _Check) -> str:
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
    return f"title {check.title['titleId']}: {manifest.name}"


def _offer(check: _Check) -> str:
    owner = PublicKey.from_text(check.parties["owner"]["signing_key"])
    body = open_document(check.bundle.json("offer.json"), "offer", owner)
    check.terms = Terms.from_json(body["terms"])
    event = check.event("offer", "Offered", "Grants")
    if bytes(event["termsDigest"]) != check.terms.digest or event["titleId"] != check.title["titleId"]:
        raise ProofInvalid("the ledger offers other terms, or another title")
    return f"offer {event['offerId']}: {check.terms.name}"


def _grant(check: _Check) -> str:
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
    return f"grant {check.granted['grantId']} to {licensee['name']}"


def _identifier(check: _Check) -> str:
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
    return f"{opening['identifier']}, committed at {from_unix(check.receipts['grant'].timestamp).isoformat()}"


def _key(check: _Check) -> str:
    part = check.bundle.json("detection.json")
    check.permutation = Secret(bytes.fromhex(part["permutation_key"]))
    bound = key_commitment(bytes.fromhex(part["embedding_commitment"]), check.permutation.reveal())
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
    return f"{part['key_id']}, epoch {part['epoch']}"


def _presence(check: _Check) -> str:
    part = check.bundle.json("detection.json")
    tried = int(part["keys_tried"])
    if tried < 1:
        raise PolicyUnmet("no key was tried")
    p_ours = min(1.0, tried * recompute(part["observations"]).p_value)
    check.caveats.append("reading-not-repeated")
    _close(p_ours, check.statement["p_ours"]["value"], "p_ours")
    if p_ours > check.demand.alpha:
        raise PolicyUnmet("p_ours is {p}, above the level asked", p=p_ours)
    return f"p_ours = {p_ours:.3g}"


def _attribution(check: _Check) -> str:
    observed = recompute(check.bundle.json("detection.json")["observations"])
    opened = read_identifier(check.bundle.json("opening.json")["identifier"])
    if observed.word is None or unpermute(check.permutation, observed.word) != opened:
        raise PolicyUnmet("the word that was read is not this grant's")
    issued, words = _issued_total(check), int(check.statement["p_innocent"]["corrected_for"]["words"])
    if words < observed.words_tried:
        raise PolicyUnmet("fewer words are stated than the reading tried")
    p_innocent = innocent_p(issued, words)
    _close(p_innocent, check.statement["p_innocent"]["value"], "p_innocent")
    if p_innocent > check.demand.alpha:
        raise PolicyUnmet("p_innocent is {p}, above the level asked", p=p_innocent)
    return f"p_innocent = {p_innocent:.3g} among {issued} identifiers"


def _issued_total(check: _Check) -> int:
    """Return the ledger's own count of identifiers ever issued, by its newest proven receipt."""
    try:
        return int(check.event("issued", "BatchCommitted", "Grants")["issuedTotal"])
    except ProofInvalid:
        return int(check.event("issued", "Granted", "Grants")["issuedTotal"])


def _close(mine: float, stated: float, name: str) -> None:
    if not math.isclose(mine, float(stated), rel_tol=_SAME):
        raise PolicyUnmet("{name} is {mine}, not {stated} as stated", name=name, mine=mine, stated=stated)


def _request(check: _Check) -> str:
    if "request.json" not in check.bundle.members:
        check.caveats.append("no-signed-request")
        return "none: a lead, not an accusation"
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
    if entry["content"] != check.statement["suspect"]:
        check.caveats.append("output-linked-by-likeness")
    return f"signed {body['requested_at']}; output logged {entry['time']}"


def _coverage(check: _Check) -> str:
    stated = check.statement["coverage"]
    revoked = None
    if "revocation" in check.receipts:
        event = check.event("revocation", "Revoked", "Grants")
        if event["grantId"] != check.granted["grantId"]:
            raise ProofInvalid("the revocation is of another grant")
        revoked = from_unix(check.receipts["revocation"].timestamp)
    decided = coverage(
        check.terms,
        use=stated["use"],
        territory=stated["territory"],
        at=read_time(stated["at"]),
        starts=from_unix(check.granted["startsAt"]),
        expires=from_unix(check.granted["expiresAt"]),
        revoked_at=revoked,
    )
    if decided.covered != stated["covered"] or list(decided.reasons) != stated["reasons"]:
        raise PolicyUnmet("the terms do not give the stated answer about the use")
    return {True: "the grant covered the use", False: "the grant did not cover the use", None: "no use was named"}[
        decided.covered
    ]


STEPS: tuple[tuple[str, Callable[[_Check], str]], ...] = (
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
