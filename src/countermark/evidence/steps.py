"""The steps of a verification that bundles of every kind share (``COMMON``), in the order in which they run.

Each takes what the earlier ones have established (``Check``), proves one thing more, and returns what it saw; the first
contradiction raises. ``verification.verify`` runs them, and then those of the bundle's kind (``traces``, ``audits``).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from countermark.artifact import ModelManifest
from countermark.core.canonical import digest, document_digest, parse_json, show_digest
from countermark.core.dsse import open_document, read_unverified
from countermark.core.keys import PublicKey, Secret
from countermark.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from countermark.core.times import read_time, show_time
from countermark.core.trie import VerifiedReceipt, verify_receipt
from countermark.errors import CheckpointInconsistent, PolicyUnmet, ProofInvalid, SignatureInvalid
from countermark.evidence.bundle import AUDIT, TRACE, Bundle, unpack
from countermark.evidence.checkpoint import Checkpoint, checkpoint_digest, open_checkpoint
from countermark.evidence.checkpoint import read_unverified as read_head
from countermark.evidence.policy import Demand
from countermark.evidence.timestamp import verify_timestamp
from countermark.evidence.trust import Trust
from countermark.licensing import Terms
from countermark.marking.reading import Reading
from countermark.registry import name_digest, signing_key_digest

#: The role of the log entry that a statement of each kind was logged by.
DISCLOSURE = {TRACE.name: "trace", AUDIT.name: "disclosure"}
#: A statement is made when its log entry is stamped, give or take clocks and queues.
_STAMP_SLACK = timedelta(days=1)


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
    audit: dict[str, Any] = field(init=False)
    caveats: list[str] = field(default_factory=list)

    def event(self, role: str, name: str, contract: str) -> dict[str, Any]:
        """Return the event that a proven receipt holds, emitted by the contract that the trust file names."""
        if role not in self.receipts:
            raise ProofInvalid("the bundle holds no ledger receipt for the {role}", role=role)
        return self.receipts[role].event(name, bytes.fromhex(self.trust.contracts[contract].removeprefix("0x")))

    def entry(self, role: str) -> dict[str, Any]:
        """Return the log entry of a role, whose place in the log is proven."""
        if role not in self.entries:
            raise ProofInvalid("the bundle holds no log entry for the {role}", role=role)
        return self.entries[role]


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
    _same(check.demand.suspect, _subjects(check), "suspect")
    _same(check.demand.case, [check.statement["case"]], "case")
    _same(check.demand.audience, [check.statement["audience"]], "audience")
    unasked = [name for name in ("suspect", "case", "audience") if getattr(check.demand, name) is None]
    check.caveats += [f"{name}-not-checked" for name in unasked]
    return say("case {case}, for {audience}", case=check.statement["case"], audience=check.statement["audience"])


def _subjects(check: Check) -> list[str]:
    """Return the digests that may be asked for: of the suspect; of an audit's document, reports, weights, samples."""
    about = check.statement["about"].values() if check.bundle.kind is AUDIT else ()
    return [check.statement["suspect"], *(each for each in about if each is not None)]


def _same(demanded: str | None, stated: Sequence[str], name: str) -> None:
    if demanded is not None and demanded not in stated:
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
    disclosed = check.entry(DISCLOSURE[check.bundle.kind.name])
    bound = {name: check.statement[name] for name in ("suspect", "case", "audience", "nonce")}
    if disclosed["statement"] != show_digest(document_digest("statement-binding/1", bound)):
        raise ProofInvalid("the log entry of the {role} is about another statement", role=check.bundle.kind.name)
    return say("{count} entries included", count=len(check.entries))


def admitted(check: Check, role: str) -> dict[str, Any]:
    """Return a party of the bundle: the member that the ledger admitted in that role, with this signing key.

    Raises:
        ProofInvalid: it is another one.
    """
    person: dict[str, Any] = check.bundle.json("parties.json")[role]
    event = check.event(role, "Admitted", "Members")
    key = PublicKey.from_text(person["signing_key"])
    named = name_digest(person["name"], bytes.fromhex(person["name_salt"]))
    if (
        str(event["account"]).lower() != str(person["address"]).lower()
        or bytes(event["organizationDigest"]) != named
        or bytes(event["signingKeyDigest"]) != signing_key_digest(key)
    ):
        raise ProofInvalid("the {role} is not the member that the ledger admitted", role=role)
    return person


def registered(check: Check) -> ModelManifest:
    """Prove the title that the statement names, in ``check.title``, and return the manifest that its owner signed.

    Raises:
        ProofInvalid: ledger, log and registration are not of one model and holder.
    """
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
    if check.entry("title")["manifest"] != show_digest(manifest.digest):
        raise ProofInvalid("the log entry of the title is of another manifest")
    return manifest


Step = tuple[str, Callable[[Check], Detail]]
COMMON: tuple[Step, ...] = (
    ("contents", _contents),
    ("issuer", _issuer),
    ("statement", _statement),
    ("audience", _audience),
    ("checkpoint", _checkpoint),
    ("history", _history),
    ("anchor", _anchor),
    ("entries", _entries),
)
