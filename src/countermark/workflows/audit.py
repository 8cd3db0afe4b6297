"""Memorization audits on record: signed by the office, logged, attached to a title by the weights, and bundled.

An audit is recorded before or after its model is registered: what binds the two is the digest of the weights. A record
is a claim of the office that signed it, and holds whatever the audit found; a market can ask that there be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from countermark.core.canonical import canonical_json, parse_json, read_digest
from countermark.core.dsse import read_unverified
from countermark.core.keys import SigningKey
from countermark.errors import AuditMissing, InputError, ManifestMismatch
from countermark.evidence.audits import could_find, describe
from countermark.evidence.bundle import AUDIT
from countermark.governance import name_word
from countermark.registry import Audit, Party, Title, Transaction, log_entry
from countermark.workflows.exhibits import as_member, bundle_of, card
from countermark.workflows.office import Office, append, envelope_digest, load, party, sign

REQUIRED = "market.audit"
_MAX_REPORTS = 16
_READ_ME = """\
This file is evidence by a Countermark office about a memorization audit. Check it with no network and no access to the
office:

    countermark verify THIS.zip --trust trust.json --suspect MODEL_DIR

In place of the model's directory, give a file of the report. Obtain trust.json from the office by another way than this
file. See docs/guides/verify.md for what is proven.

本文件是 Countermark 登记机构就记忆审计出具的证据。离线验证，无需联网，也无需访问该机构：

    countermark verify THIS.zip --trust trust.json --suspect MODEL_DIR

也可以用报告文件代替模型目录。trust.json 须通过其他途径从该机构获得。证明范围见 docs/guides/verify.md。
"""


def record_audit(
    office: Office, document: Mapping[str, Any], *, title: int | None = None, reports: Mapping[str, str] | None = None
) -> Audit:
    """Check an audit's document, sign it as the office, log it, and keep it. The same document is recorded once.

    Args:
        office: where.
        document: of an audit, as ``audit.result`` writes it.
        title: to the audited model; found by the weights if left out.
        reports: plain SHA-256, as ``sha256:…``, of each file that shows the audit to people, by file name.

    Raises:
        InputError: not the document of an audit, over its limit in a bundle, or reports that are none.
        ProofInvalid: something in the document does not follow from its scores.
        NotFoundError: no such title.
        ManifestMismatch: the audit is of other weights than the title.
    """
    data, limit = canonical_json(document), AUDIT.members["document.json"]
    if len(data) > limit:
        raise InputError("the audit's document is over the limit of {limit} bytes", limit=limit)
    body = parse_json(data, limit=limit)  # as a verifier will read it
    described = describe(body)
    about = described["about"] = {**_check_reports(reports or {}), **described["about"]}
    key = office.platform_key
    with office.store.transaction() as transaction:
        number = _title_of(transaction, about["weights"], title)
        earlier = transaction.get("audit", _name(about["document"]))
        if earlier is not None:
            return Audit.from_json(earlier)
        audit = _signed(office, transaction, key, described, number)
        words = () if about["weights"] is None else (str(about["weights"]),)
        transaction.put("audit", audit.id, audit.to_json(), index=words)
        transaction.put("audit-document", audit.id, body)
        return audit


def audits_of(transaction: Transaction, weights_root: str) -> list[Audit]:
    """Return the recorded audits of weights, oldest first, whether they were registered then or not."""
    return [Audit.from_json(body) for body in transaction.find("audit", weights_root)]


def audits(transaction: Transaction) -> Iterator[Audit]:
    """Return every recorded audit, oldest first."""
    return (Audit.from_json(body) for body in transaction.all("audit"))


def audit_document(transaction: Transaction, audit_id: str) -> dict[str, Any]:
    """Return the document of a recorded audit.

    Raises:
        NotFoundError: no such audit.
    """
    return load(transaction, "audit-document", audit_id)


def is_audit_required(office: Office) -> bool:
    """Whether the Directory asks for a recorded audit of what is sold."""
    return int(office.ledger.view("Directory", "parameter", name_word(REQUIRED))) == 1


def require_audit(office: Office, title: int) -> None:
    """Refuse what needs an audit of a title's model, where the market asks for one and none is recorded here.

    One that found copies will do. One with too few data to find any will not.

    Raises:
        AuditMissing: so it is.
    """
    with office.store.transaction() as transaction:
        weights = str(load(transaction, "title", title)["weights_root"])
        recorded = [each for each in audits_of(transaction, weights) if could_find(each.findings)]
    if not recorded and is_audit_required(office):
        raise AuditMissing(
            "the market asks for a memorization audit of title {title} that could find copies, and none is recorded",
            hint="Record one with: countermark audit memorization … --title {title}",
            title=title,
        )


def make_audit_bundle(office: Office, audit_id: str, *, case: str, audience: str) -> bytes:
    """Log the statement, anchor the log, and return the bundle of a recorded audit as the bytes of a zip file.

    Args:
        office: where.
        audit_id: of ``record_audit``.
        case: the case that the statement is for; it cannot be used in another.
        audience: whom it is for.

    Raises:
        NotFoundError: no such audit.
    """
    return bundle_of(office, lambda transaction: _AuditFile(transaction, audit_id), case=case, audience=audience)


class _AuditFile:
    """The records behind one audit (``exhibits.Matter``); its title, if there is one by now."""

    kind = AUDIT.name

    def __init__(self, transaction: Transaction, audit_id: str) -> None:
        self.audit = Audit.from_json(load(transaction, "audit", audit_id))
        self.document = audit_document(transaction, audit_id)
        self.suspect = str(self.audit.about["document"])
        self.indices = {"audit": self.audit.log_index}
        self.title: Title | None = None
        number = _registered(transaction, self.audit.about["weights"])
        if number is not None:
            self.title = Title.from_json(load(transaction, "title", number))
            self.owner: Party = party(transaction, read_unverified(self.title.registration)["owner"])
            self.indices["title"] = self.title.log_index

    def findings(self) -> dict[str, Any]:
        """Return what the statement says: what is audited, and what came of it."""
        return {
            "audit": self.audit.id,
            "about": self.audit.about,
            "title": None if self.title is None else self.title.id,
            "findings": self.audit.findings,
        }

    def documents(self) -> dict[str, bytes]:
        """Return record and document, and of a registered model its registration and owner."""
        members = {
            "audit.json": as_member(self.audit.envelope),
            "document.json": canonical_json(self.document),
            "READ-ME.txt": _READ_ME.encode(),
        }
        if self.title is not None:
            members["registration.json"] = as_member(self.title.registration)
            members["parties.json"] = as_member({"owner": card(self.owner)})
        return members

    def transactions(self) -> dict[str, str]:
        """Return who was admitted, and what was registered."""
        return {} if self.title is None else {"owner": self.owner.admission, "title": self.title.transaction}


def _signed(
    office: Office, transaction: Transaction, key: SigningKey, described: Mapping[str, Any], title: int | None
) -> Audit:
    """Sign and log an audit."""
    about, moment = described["about"], office.now()
    named = {"audit": _name(about["document"]), "title": title}
    signed = {
        "office": office.id,
        **named,
        **described,
        "platform_key": key.public.text,
        "audited_at": moment,
    }
    envelope = sign(key, "audit", signed)
    digests = {which: about[which] for which in ("document", "weights", "samples")}
    entry = log_entry("audit", **named, **digests, envelope=envelope_digest(envelope), time=moment)
    return Audit(
        id=_name(about["document"]),
        about=about,
        findings=described["findings"],
        title=title,
        envelope=envelope,
        audited_at=moment,
        log_index=append(transaction, entry),
    )


def _name(document: str) -> str:
    """Return the name of the audit with this document: the same document has the same name."""
    return f"a-{read_digest(document).hex()[:16]}"


def _registered(transaction: Transaction, weights: str | None) -> int | None:
    found = transaction.find("title", weights) if weights is not None else []
    return int(found[0]["id"]) if found else None


def _title_of(transaction: Transaction, weights: str | None, title: int | None) -> int | None:
    """Return the title to some weights: the one that was named, which has to be it, or else the one there is."""
    if title is None:
        return _registered(transaction, weights)
    if load(transaction, "title", title)["weights_root"] != weights:
        raise ManifestMismatch("the audit is of other weights than those of title {title}", title=title)
    return title


def _check_reports(reports: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of report files; their names cannot be taken for those of anything else."""
    if len(reports) > _MAX_REPORTS or any("." not in name or len(name) > 120 for name in reports):
        raise InputError("an audit has at most {limit} report files, named with their ending", limit=_MAX_REPORTS)
    return {name: reports[name] for name in sorted(reports) if read_digest(reports[name])}
