"""The steps of an audit's bundle after those that every bundle has (``STEPS``): what was recorded, and that it follows.

The document of an audit holds every score that its decision rests on, and the scores of the calibration. So p-values,
q-values, flags, rank test and verdict are computed again here, with numpy alone. That these scores were measured on
these samples and data is the office's word until somebody repeats the audit.

Law:
    a bundle passes with a recorded document if and only if that document's decision follows from its scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from countermark.audit.decisions import COPIES
from countermark.audit.result import recompute
from countermark.core.canonical import digest, document_digest, show_digest
from countermark.core.dsse import open_document, read_unverified
from countermark.core.times import read_time
from countermark.errors import ProofInvalid
from countermark.evidence.steps import COMMON, Check, Detail, Step, admitted, registered, say

LOG_TYPE = "countermark.audit/1"


def describe(document: Mapping[str, Any]) -> dict[str, Any]:
    """Recompute an audit's document, and return what a record and a statement say of it.

    Returns:
        ``about``: digests of ``document`` (over its canonical JSON), ``weights`` (None where it names none) and
        ``samples``. ``findings``: ``kind``, ``name`` of the model, ``items`` looked at, ``fdr``, ``verdict``,
        ``flagged``, ``smallest_flaggable``, ``at_least`` (share copied, lower bound), and ``model_p``, the p-value of
        the rank test, or None.

    Raises:
        HostileFile: not the document of an audit.
        ProofInvalid: something in it does not follow from its scores.
    """
    audit = recompute(document)
    subject, decision, test = audit.subject, audit.decision, audit.model_test
    about = {
        "document": show_digest(document_digest("memorization-audit/1", document)),
        "weights": subject.weights,
        "samples": subject.samples.digest,
    }
    findings = {
        "kind": document["kind"],
        "name": subject.name,
        "items": len(audit.items),
        "fdr": audit.method.fdr,
        "verdict": decision.verdict,
        "flagged": decision.flagged,
        "smallest_flaggable": decision.smallest_flaggable,
        "at_least": decision.at_least,
        "model_p": None if test is None else test.p,
    }
    return {"about": about, "findings": findings}


def could_find(findings: Mapping[str, Any]) -> bool:
    """Whether an audit had outputs and held-out data enough to flag copies, had there been any."""
    return bool(findings["smallest_flaggable"] <= findings["items"])


def _title(check: Check) -> Detail:
    weights, number = check.statement["about"]["weights"], check.statement["title"]
    if weights is None:
        check.caveats.append("audited-model-unnamed")
    elif number is None:
        check.caveats.append("audited-model-unregistered")
    if number is None:
        return say("none")
    check.parties = {"owner": admitted(check, "owner")}
    manifest = registered(check)
    if show_digest(manifest.content_root) != weights:
        raise ProofInvalid("the audit is of other weights than those of title {title}", title=number)
    return say("title {number}: {name}", number=number, name=manifest.name)


def _record(check: Check) -> Detail:
    envelope = check.bundle.json("audit.json")
    claimed = read_unverified(envelope)
    key = check.trust.platform_key(str(claimed["platform_key"]), read_time(claimed["audited_at"]))
    check.audit = open_document(envelope, "audit", key)
    entry = check.entry("audit")
    if entry["type"] != LOG_TYPE or entry["envelope"] != show_digest(
        digest("envelope/1", envelope["payload"].encode())
    ):
        raise ProofInvalid("the log entry of the audit is of another record")
    if check.audit["office"] != check.trust.office or check.audit["audit"] != check.statement["audit"]:
        raise ProofInvalid("the record is of another audit, or of another office")
    about, stated = check.audit["about"], check.statement["about"]
    if about != stated or about["document"] != check.statement["suspect"]:
        raise ProofInvalid("the statement is about something else than the record")
    return say("audit {audit}, recorded {time}", audit=check.audit["audit"], time=check.audit["audited_at"])


def _decision(check: Check) -> Detail:
    described = describe(check.bundle.json("document.json"))
    about, found = described["about"], described["findings"]
    if any(check.audit["about"].get(name) != each for name, each in about.items()):
        raise ProofInvalid("the document is not the one that was recorded")
    if found != check.audit["findings"] or found != check.statement["findings"]:
        raise ProofInvalid("record or statement say something else than the document")
    check.caveats.append("audit-not-repeated")
    counted = {"flagged": found["flagged"], "items": found["items"], "fdr": f"{100 * found['fdr']:g}"}
    if found["verdict"] == COPIES:
        return say("copies found: {flagged} of {items} flagged, false discovery rate {fdr} %", **counted)
    if could_find(found):
        return say("no copies found: {flagged} of {items} flagged, false discovery rate {fdr} %", **counted)
    return say("could not tell: too few data to flag any of {items}, false discovery rate {fdr} %", **counted)


STEPS: tuple[Step, ...] = (*COMMON, ("title", _title), ("record", _record), ("decision", _decision))
