"""Cases about titles, grants, sales and accounts: claims, answers, statements, rulings, appeals, execution.

What is written stays with the parties as salted documents; the ledger holds who said what when, and brings about what
was ruled. Deadlines are the contract's: without an answer the arbiter goes on after seven days, a ruling can be
appealed for fourteen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from countermark.core.canonical import digest
from countermark.core.statements import CaseKind, CaseState, Remedy
from countermark.core.subjects import show_subject
from countermark.core.times import from_unix, show_time
from countermark.errors import InputError
from countermark.registry import Party
from countermark.workflows.market.acts import Call, act, read_party, show_facts
from countermark.workflows.market.documents import salted_digest
from countermark.workflows.market.money import allow
from countermark.workflows.market.sales import party_at
from countermark.workflows.market.subjects import read_subject
from countermark.workflows.office import Office

#: What a case can claim, and what a ruling can do, in words.
KINDS = tuple(kind.name.lower() for kind in CaseKind)
REMEDIES = tuple(str(remedy.name).lower() for remedy in Remedy)


def open_case(
    office: Office, claimant: str, subject: str, respondent: str, *, kind: str, evidence: str
) -> dict[str, Any]:
    """Open a case; the claimant leaves the bond that the consortium asks, unless its account is held.

    Args:
        office: where.
        claimant: party whom the subject concerns.
        subject: as ``read_subject`` takes it.
        respondent: party against whom.
        kind: one of ``KINDS``.
        evidence: what it rests on, for instance the digest of an evidence bundle; the ledger holds a salted digest.

    Returns:
        The act, with ``case_id``.
    """
    party, against = read_party(office, claimant), read_party(office, respondent)
    if kind not in KINDS:
        raise InputError("unknown kind of case: {kind}", hint="Kinds: {kinds}", kind=kind, kinds=", ".join(KINDS))
    grounds = salted_digest(office, "case-evidence", {"subject": subject, "evidence": evidence})
    named = {"subject": subject, "respondent": against.id, "evidence": grounds.hex()}
    _allow_bond(office, party, named)
    args = (read_subject(office, subject), against.address, grounds, CaseKind[kind.upper()])
    call = Call(contract="Disputes", function="open", args=args, event="CaseOpened")
    return act(office, "open-case", call, by=party, subject=named)


def respond(office: Office, case: int, text: str) -> dict[str, Any]:
    """Answer a case, as its respondent."""
    respondent = party_at(office, case_record(office, case)["respondent"])
    answer = salted_digest(office, "case-response", {"case": case, "text": text})
    call = Call(contract="Disputes", function="respond", args=(case, answer), event="Responded")
    return act(office, "respond", call, by=respondent, subject={"case": case})


def stay_notice(office: Office, case: int) -> dict[str, Any]:
    """Stay a notice that was given while a licensee's case about its grant was open, as that licensee."""
    claimant = party_at(office, case_record(office, case)["claimant"])
    call = Call(contract="Disputes", function="stay", args=(case,), event="Stayed")
    return act(office, "stay-notice", call, by=claimant, subject={"case": case})


def add_statement(
    office: Office, case: int, expert: str, *, schema: str, text: str, expires: datetime
) -> dict[str, Any]:
    """Sign a statement about a case as an expert (EIP-712), and hand it in.

    Args:
        office: where.
        case: not over yet.
        expert: party with that role, whose account is held here.
        schema: name of what kind of statement it is, such as ``image-trace/1``.
        text: the statement; the ledger holds its salted digest.
        expires: until when it counts, excluded.
    """
    signer = read_party(office, expert)
    said = salted_digest(office, "statement", {"case": case, "schema": schema, "text": text})
    body = (case, digest("statement-schema/1", schema.encode()), said, int(expires.timestamp()))
    signature = office.ledger.sign_statement(office.party_account(signer), body)
    args = (body, signer.address, signature)
    call = Call(contract="Disputes", function="addStatement", args=args, event="StatementAdded")
    return act(office, "add-statement", call, subject={"case": case, "statement": said.hex()})


def revoke_statement(office: Office, statement: str, expert: str) -> dict[str, Any]:
    """Take a statement back, as its expert; that it was made stays readable.

    Args:
        office: where.
        statement: its id, 64 hex digits.
        expert: who signed it.
    """
    call = Call(contract="Disputes", function="revokeStatement", args=(_word(statement),), event="StatementRevoked")
    return act(office, "revoke-statement", call, by=read_party(office, expert), subject={"statement": statement})


def rule(
    office: Office, case: int, arbiter: str, *, upheld: bool, remedies: Sequence[str] = (), text: str
) -> dict[str, Any]:
    """Rule on a case, as an arbiter who is no party to it.

    Args:
        office: where.
        case: answered, or open for longer than the time for an answer.
        arbiter: party with that role.
        upheld: whether the claimant is right.
        remedies: what follows, from ``REMEDIES``.
        text: the ruling with its reasons.
    """
    return _rule(office, case, arbiter, "rule", upheld, remedies, text)


def rule_appeal(
    office: Office, case: int, arbiter: str, *, upheld: bool, remedies: Sequence[str] = (), text: str
) -> dict[str, Any]:
    """Rule on an appeal, for good, as another arbiter than the first. Arguments as of ``rule``."""
    return _rule(office, case, arbiter, "ruleAppeal", upheld, remedies, text)


def appeal(office: Office, case: int, appellant: str, grounds: str) -> dict[str, Any]:
    """Appeal a ruling, as a party; it leaves the bond that the consortium asks, unless its account is held."""
    party = read_party(office, appellant)
    stated = salted_digest(office, "appeal", {"case": case, "grounds": grounds})
    named = {"case": case, "grounds": stated.hex()}
    _allow_bond(office, party, named)
    call = Call(contract="Disputes", function="appeal", args=(case, stated), event="Appealed")
    return act(office, "appeal", call, by=party, subject=named)


def execute(office: Office, case: int) -> dict[str, Any]:
    """Bring about what was ruled, once it can no longer be appealed; ``amount`` is what a slash or forfeit moved."""
    call = Call(contract="Disputes", function="execute", args=(case,), event="Executed")
    return act(office, "execute", call, subject={"case": case})


def withdraw_case(office: Office, case: int) -> dict[str, Any]:
    """Give a case up before its ruling, as its claimant."""
    claimant = party_at(office, case_record(office, case)["claimant"])
    call = Call(contract="Disputes", function="withdraw", args=(case,), event="CaseWithdrawn")
    return act(office, "withdraw-case", call, by=claimant, subject={"case": case})


def lapse_case(office: Office, case: int) -> dict[str, Any]:
    """End the wait for a ruling that did not come in time."""
    call = Call(contract="Disputes", function="lapse", args=(case,), event="CaseLapsed")
    return act(office, "lapse-case", call, subject={"case": case})


def lift_tag(office: Office, title: int, claimant: str, *, reason: str) -> dict[str, Any]:
    """Lift the tag that a party won on a title, for instance after a settlement."""
    stated = salted_digest(office, "lift-reason", {"title": title, "reason": reason})
    call = Call(contract="Disputes", function="liftTag", args=(title, stated), event="TagLifted")
    return act(office, "lift-tag", call, by=read_party(office, claimant), subject={"title": title})


def case_record(office: Office, case: int) -> dict[str, Any]:
    """Return a case as the ledger holds it.

    Raises:
        NotFoundError: there is none.
    """
    return office.ledger.record("Disputes", "caseRecord", case)


def show_case(office: Office, case: int) -> dict[str, Any]:
    """Return a case in JSON values: subject, kind, state and remedies in words, times as text."""
    found = case_record(office, case)
    return {
        **show_facts(found),
        "case": case,
        "subject": show_subject(found["subject"]),
        "kind": CaseKind(found["kind"]).name.lower(),
        "state": CaseState(found["state"]).name.lower(),
        "since": show_time(from_unix(found["since"])),
        "remedies": read_remedies(found["remedies"]),
        "fitting": read_remedies(found["fitting"]),
    }


def read_remedies(mask: int) -> list[str]:
    """Return the names of the remedies in a mask."""
    return [str(remedy.name).lower() for remedy in Remedy(mask)]


def _rule(
    office: Office, case: int, arbiter: str, function: str, upheld: bool, remedies: Sequence[str], text: str
) -> dict[str, Any]:
    unknown = sorted(set(remedies) - set(REMEDIES))
    if unknown:
        raise InputError(
            "unknown remedy: {remedy}", hint="Remedies: {known}", remedy=unknown[0], known=", ".join(REMEDIES)
        )
    mask = sum(Remedy[name.upper()] for name in set(remedies))
    ruling = salted_digest(
        office, "ruling", {"case": case, "upheld": upheld, "remedies": sorted(remedies), "text": text}
    )
    call = Call(contract="Disputes", function=function, args=(case, upheld, mask, ruling), event="Ruled")
    return act(office, "rule", call, by=read_party(office, arbiter), subject={"case": case, "function": function})


def _allow_bond(office: Office, payer: Party, purpose: dict[str, Any]) -> None:
    bond = int(office.ledger.view("Directory", "parameter", b"case.bond".ljust(32, b"\0")))
    if bond and not office.ledger.view("Members", "isHeld", read_subject(office, f"account:{payer.id}")):
        allow(office, payer, bond, purpose)


def _word(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise InputError("not 64 hex digits: {text}", text=text[:80])
    return value
