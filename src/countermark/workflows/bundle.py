"""Put a trace's evidence into one file that a stranger can verify offline."""

from __future__ import annotations

from typing import Any

from countermark.core.dsse import read_unverified
from countermark.core.keys import DetectionKey
from countermark.core.payload import permute, read_identifier
from countermark.errors import RightsError
from countermark.evidence.bundle import TRACE
from countermark.evidence.findings import innocence, presence
from countermark.licensing import Terms
from countermark.marking.reading import recompute
from countermark.registry import Grant, Offer, Output, Party, Title, Transaction
from countermark.tracing import ATTRIBUTED
from countermark.workflows.exhibits import as_member, bundle_of, card
from countermark.workflows.legal import find_text
from countermark.workflows.office import Office, load, party
from countermark.workflows.trace import Trace

_READ_ME = """\
This file is evidence by a Countermark office. Check it with no network and no access to the office:

    countermark verify THIS.zip --trust trust.json --suspect FILE

Obtain trust.json from the office by another way than this file. See docs/guides/verify.md for what is proven.

本文件是 Countermark 登记机构出具的证据。离线验证，无需联网，也无需访问该机构：

    countermark verify THIS.zip --trust trust.json --suspect FILE

trust.json 须通过其他途径从该机构获得。证明范围见 docs/guides/verify.md。
"""


def make_bundle(office: Office, trace_id: str, *, case: str, audience: str) -> bytes:
    """Log the statement, anchor the log, and return the bundle of an attributed trace as the bytes of a zip file.

    Args:
        office: where.
        trace_id: of ``trace_files``.
        case: the case that the statement is for; it cannot be used in another.
        audience: whom it is for.

    Raises:
        NotFoundError: no such trace.
        RightsError: the trace attributes nothing, so there is nothing to state.
    """
    issuance = _newest_issuance(office)

    def open_case(transaction: Transaction) -> _CaseFile:
        trace = Trace.from_json(load(transaction, "trace", trace_id))
        if trace.verdict != ATTRIBUTED or trace.grant is None:
            raise RightsError(
                "trace {trace} attributes nothing",
                hint="Its verdict: {verdict}.",
                trace=trace_id,
                verdict=trace.verdict,
            )
        return _CaseFile(office, transaction, trace, issuance)

    return bundle_of(office, open_case, case=case, audience=audience)


def _newest_issuance(office: Office) -> dict[str, Any]:
    """Return ``{"transaction", "issued_total"}`` of the newest identifiers on the ledger, of whichever office."""
    with office.store.transaction() as transaction:
        latest = transaction.get("issuance", "latest")
    if latest is not None and latest["issued_total"] == office.ledger.identifiers_issued():
        return latest
    office.index.follow()
    event = office.index.named("Granted", "BatchCommitted")[-1]
    return {"transaction": event.transaction_hash, "issued_total": int(event.args["issuedTotal"])}


class _CaseFile:
    """The records behind one trace (``exhibits.Matter``)."""

    kind = TRACE.name

    def __init__(self, office: Office, transaction: Transaction, trace: Trace, issuance: dict[str, Any]) -> None:
        self.office, self.trace, self.issuance = office, trace, issuance
        self.suspect = trace.suspect
        self.grant = Grant.from_json(load(transaction, "grant", trace.grant))
        self.offer = Offer.from_json(load(transaction, "offer", self.grant.offer))
        self.title = Title.from_json(load(transaction, "title", self.grant.title))
        self.owner: Party = party(transaction, read_unverified(self.title.registration)["owner"])
        self.licensor: Party = party(transaction, read_unverified(self.offer.envelope)["licensor"])
        self.licensee: Party = party(transaction, self.grant.licensee)
        self.output = self._find_output(transaction)
        self.text = find_text(transaction, Terms.from_json(self.offer.terms))
        self.indices = {"title": self.title.log_index, "grant": self.grant.log_index}
        if self.output is not None:
            self.indices["output"] = self.output.log_index

    def _find_output(self, transaction: Transaction) -> Output | None:
        if self.trace.output is None:
            return None
        return Output.from_json(load(transaction, "output", f"{self.grant.id}/{self.trace.output['content']}"))

    def findings(self) -> dict[str, Any]:
        """Return what the statement says: the attribution with both p-values, recomputed as a verifier will."""
        trace, key, issued = self.trace, self._key(), self.issuance["issued_total"]
        assert trace.p_ours is not None  # an attributed trace has both
        assert trace.p_innocent is not None
        reading = recompute(str(trace.method), trace.observations)
        word = permute(key.permutation, read_identifier(self.grant.identifier))
        read = {"read": trace.read, "p_innocent": trace.p_innocent}
        keys = trace.p_ours["corrected_for"]
        pictures = [{name: each[name] for name in ("suspect", "examined")} for each in trace.pictures]
        return {
            "verdict": trace.verdict,
            "trace": trace.id,
            "title": self.title.id,
            "grant": self.grant.id,
            "licensee": self.licensee.id,
            "alpha": trace.alpha,
            "read": trace.read,
            "p_ours": {
                "value": presence(reading, word, keys["keys"], issued),
                "corrected_for": keys | ({"identifiers": issued} if "identifiers" in keys else {}),
            },
            "p_innocent": {
                "value": innocence(reading, word, read, issued),
                "corrected_for": trace.p_innocent["corrected_for"] | {"identifiers": issued},
            },
            "coverage": trace.coverage,
            **({"pictures": pictures} if pictures else {}),
            **({"region": trace.region} if trace.region else {}),
            **({"tokenizer": trace.tokenizer} if trace.tokenizer else {}),
        }

    def _key(self) -> DetectionKey:
        assert self.trace.method is not None  # as has every detection
        assert self.trace.epoch is not None
        keys = self.office.epoch_keys(self.title, self.trace.epoch)
        return next(key for key in keys if key.key_id == self.trace.key_id)

    def documents(self) -> dict[str, bytes]:
        """Return what was registered, offered, accepted and read, and who did it."""
        opening = {
            "identifier": self.grant.identifier,
            "salt": self.grant.salt,
            "platform_nonce": self.grant.platform_nonce,
        }
        members = {
            "registration.json": as_member(self.title.registration),
            "offer.json": as_member(self.offer.envelope),
            "acceptance.json": as_member(self.grant.acceptance),
            "parties.json": as_member({role: card(member) for role, member in self._parties().items()}),
            "opening.json": as_member(opening),
            "detection.json": as_member(self._detection()),
            "READ-ME.txt": _READ_ME.encode(),
        }
        if self.text is not None:
            members["legal.json"] = self.text.document
        if self.output is not None:
            members["request.json"] = as_member(self.output.request)
        return members

    def _parties(self) -> dict[str, Party]:
        """Return who registered the model and who uses it, and who licensed it if the title had passed on."""
        moved = {"licensor": self.licensor} if self.licensor.id != self.owner.id else {}
        return {"owner": self.owner, "licensee": self.licensee, **moved}

    def _assignment(self) -> str:
        """Return the transaction by which the title had passed to the licensor when it made the offer."""
        offered = int(self.office.ledger.prove(self.offer.transaction)["block_number"])
        passed = [
            event.transaction_hash
            for event in self.office.ledger.events("TitleAssigned")
            if (event.args["titleId"], event.args["to"]) == (self.title.id, self.licensor.address)
            and event.block_number <= offered
        ]
        return passed[-1]

    def _detection(self) -> dict[str, Any]:
        assert self.trace.epoch is not None
        assert self.trace.p_ours is not None
        key = self._key()
        return {
            "method": self.trace.method,
            "key_id": key.key_id,
            "epoch": self.trace.epoch,
            "keys_tried": self.trace.p_ours["corrected_for"]["keys"],
            "geometry": self.trace.geometry,
            "observations": self.trace.observations,
            "permutation_key": key.permutation.reveal().hex(),
            "embedding_commitment": key.embedding_commitment.hex(),
            "commitments": [each.commitment.hex() for each in self.office.epoch_keys(self.title, self.trace.epoch)],
        }

    def transactions(self) -> dict[str, str]:
        """Return who was admitted, what was registered, offered and granted, and the newest count of identifiers."""
        roles = {
            "owner": self.owner.admission,
            "licensee": self.licensee.admission,
            "title": self.title.transaction,
            "offer": self.offer.transaction,
            "grant": self.grant.transaction,
            "issued": self.issuance["transaction"],
        }
        if self.licensor.id != self.owner.id:
            roles |= {"licensor": self.licensor.admission, "assignment": self._assignment()}
        if self.trace.epoch:
            roles["key"] = self.title.epochs[str(self.trace.epoch)]
        if self.grant.revocation is not None:
            roles["revocation"] = self.grant.revocation
        return roles
