"""What experts sign about a case: handed in once, for this ledger alone, until it expires or is taken back."""

from __future__ import annotations

import pytest

from countermark.adapters.records import Role
from countermark.core.statements import Statement, statement_digest
from countermark.errors import (
    ConflictError,
    InputError,
    NotAParty,
    NotFoundError,
    NotImpartial,
    OutOfTime,
    RightsError,
    SignatureInvalid,
)

from .courthouse import fresh, word

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def court():
    return fresh()


def test_a_statement_is_handed_in_by_anybody_and_counts_until_it_expires(court):
    statement = court.statement(court.open(), length=100)
    digest = statement_digest(Statement(*statement), **court.place)
    assert court.view("Disputes.statementDigest", statement) == digest
    name = court.add(statement)
    found = court.view("Disputes.statementRecord", name)
    assert found["expert"] == court.address("expert")
    assert tuple(found["statement"].values()) == statement
    court.turn(99)
    assert court.view("Disputes.counts", name)
    court.turn(1)
    assert not court.view("Disputes.counts", name)


def test_a_statement_is_taken_back_by_its_expert_for_good(court):
    statement = court.statement(court.open())
    name = court.add(statement)
    court.admit("expert", Role.LICENSEE)
    court.refused(NotAParty, "NotTheExpert", "rival", "Disputes.revokeStatement", name)
    assert court.do("expert", "Disputes.revokeStatement", name).event("StatementRevoked")["statementId"] == name
    assert not court.view("Disputes.counts", name)
    court.refused(ConflictError, "StatementUsed", "expert", "Disputes.revokeStatement", name)
    court.admit("expert", Role.EXPERT)
    replayed = (statement, court.address("expert"), court.signed(statement))
    court.refused(ConflictError, "StatementUsed", "stranger", "Disputes.addStatement", *replayed)


def test_a_signature_counts_once_and_for_its_statement_alone(court):
    statement = court.statement(court.open())
    expert, signature = court.address("expert"), court.signed(statement)
    court.add(statement)
    court.refused(ConflictError, "StatementUsed", "rival", "Disputes.addStatement", statement, expert, signature)
    for changed in ({0: court.open()}, {1: word("x")}, {2: word("x")}, {3: statement[3] + 1}):
        other = tuple(changed.get(at, value) for at, value in enumerate(statement))
        court.refused(SignatureInvalid, "BadSignature", "rival", "Disputes.addStatement", other, expert, signature)


@pytest.mark.parametrize("place", [{"chain_id": 2}, {"chain_id": 20_261_121}, {"contract": "0x" + "11" * 20}], ids=str)
def test_a_signature_for_another_chain_or_contract_is_refused(court, place):
    statement, expert = court.statement(court.open()), court.address("expert")
    signature = court.signed(statement, **place)
    court.refused(SignatureInvalid, "BadSignature", "rival", "Disputes.addStatement", statement, expert, signature)


def test_after_a_fork_of_the_chain_a_signature_counts_on_one_side_only(court):
    statement, expert = court.statement(court.open()), court.address("expert")
    before = court.read("Disputes.domainSeparator")
    court.state.execution_context._chain_id = 2
    assert court.read("Disputes.domainSeparator") != before
    here, there = court.signed(statement, chain_id=2), court.signed(statement)
    court.refused(SignatureInvalid, "BadSignature", "rival", "Disputes.addStatement", statement, expert, there)
    court.do("rival", "Disputes.addStatement", statement, expert, here)


@pytest.mark.parametrize(
    "change",
    [
        lambda good: b"",
        lambda good: good[:64],
        lambda good: good + b"\0",
        lambda good: good[:64] + bytes([good[64] - 27]),
        lambda good: bytes(64) + b"\x1b",
        # The other signature of the pair: it verifies too, but only one of them may.
        lambda good: (
            good[:32] + (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
        ),
    ],
)
def test_a_malformed_signature_is_refused(court, change):
    statement, expert = court.statement(court.open()), court.address("expert")
    forged = change(court.signed(statement))
    court.refused(SignatureInvalid, "BadSignature", "rival", "Disputes.addStatement", statement, expert, forged)


def test_only_experts_in_force_who_are_no_parties_state(court):
    court.admit("other", Role.EXPERT | Role.LICENSOR)
    own = court.statement(court.open("other"))
    statement = court.statement(court.open())
    for who, kind, reason, said in (
        ("judge", RightsError, "MissingRole", statement),
        ("other", NotImpartial, "IsAParty", own),
        ("owner", NotImpartial, "IsAParty", own),
    ):
        call = (said, court.address(who), court.signed(said, who))
        court.refused(kind, reason, "stranger", "Disputes.addStatement", *call)
    forged = (statement, court.address("expert"), court.signed(statement, "other"))
    court.refused(SignatureInvalid, "BadSignature", "stranger", "Disputes.addStatement", *forged)


def test_statements_that_say_nothing_or_come_too_late_are_refused(court):
    case = court.open()
    now, expert = court.now, court.address("expert")
    for kind, reason, said in (
        (OutOfTime, "StatementExpired", (case, word("s"), word("d"), now)),
        (InputError, "EmptyDigest", (case, bytes(32), word("d"), now + 1)),
        (InputError, "EmptyDigest", (case, word("s"), bytes(32), now + 1)),
        (NotFoundError, "UnknownCase", (case + 1, word("s"), word("d"), now + 1)),
    ):
        court.refused(kind, reason, "expert", "Disputes.addStatement", said, expert, court.signed(said))
    court.do("rival", "Disputes.withdraw", case)
    late = court.statement(case)
    court.refused(ConflictError, "WrongState", "expert", "Disputes.addStatement", late, expert, court.signed(late))
    court.refused(NotFoundError, "UnknownStatement", "expert", "Disputes.revokeStatement", word("none"))
    with pytest.raises(NotFoundError):
        court.view("Disputes.statementRecord", word("none"))
