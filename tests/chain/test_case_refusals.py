"""Who is refused what in a case, in each of its states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from countermark.adapters.contracts import artefact
from countermark.adapters.records import Role
from countermark.core.statements import CaseKind, Remedy
from countermark.errors import (
    ConflictError,
    InputError,
    NotAParty,
    NotFoundError,
    NotImpartial,
    OutOfTime,
    RightsError,
    ShortPayment,
)

from .courthouse import APPEAL, DAY, GRANT_CASE, PRICE, SALE, TITLE, fresh, subject, word

word, subject, DAY, PRICE = word, subject, DAY, PRICE
TITLE, SALE, GRANT_CASE, APPEAL = TITLE, SALE, GRANT_CASE, APPEAL


@pytest.fixture
def court():
    return fresh()


def test_a_case_is_opened_by_members_whom_it_concerns(court):
    for kind, reason, who, changed in (
        (RightsError, "MissingRole", "stranger", {}),
        (InputError, "UnknownKind", "rival", {"kind": 0}),
        (InputError, "UnknownKind", "rival", {"kind": 8}),
        (InputError, "EmptyDigest", "rival", {"evidence": bytes(32)}),
        (NotAParty, "NotConcerned", "rival", {"against": "licensee"}),
        (NotAParty, "NotConcerned", "owner", {}),
        (NotAParty, "NotConcerned", "rival", {"about": GRANT_CASE}),
        (NotAParty, "NotConcerned", "rival", {"about": GRANT_CASE, "against": "licensee"}),
        (NotAParty, "NotConcerned", "licensee", {"about": GRANT_CASE, "against": "other"}),
        (NotAParty, "NotConcerned", "owner", {"about": GRANT_CASE, "against": "rival"}),
        (NotAParty, "NotConcerned", "rival", {"about": (4, SALE)}),
        (NotAParty, "NotConcerned", "owner", {"about": (4, SALE), "against": "rival"}),
        (NotAParty, "NotConcerned", "owner", {"about": (4, SALE)}),
        (NotAParty, "NotConcerned", "rival", {"about": (1, int(court.address("other"), 16))}),
        (NotAParty, "NotConcerned", "rival", {"about": (1, 2**200 + int(court.address("owner"), 16))}),
        (
            NotFoundError,
            "UnknownSubject",
            "rival",
            {"about": (1, int(court.address("nobody"), 16)), "against": "nobody"},
        ),
        (NotFoundError, "UnknownSubject", "rival", {"about": bytes(32)}),
        (NotFoundError, "UnknownSubject", "rival", {"about": (6, 1)}),
        (NotFoundError, "ERC721NonexistentToken", "rival", {"about": (2, 3)}),
        (NotFoundError, "ERC721NonexistentToken", "rival", {"about": (3, 2)}),
        (NotFoundError, "UnknownSale", "rival", {"about": (4, 2)}),
    ):
        court.refused(kind, reason, who, *court.opening(**changed))


def test_a_sale_without_a_buyer_is_nobodys_case(court):
    court.do("owner", "Market.offerTitle", TITLE, PRICE, word("deed"), court.now + DAY)
    nobody = (subject(4, 2), "0x" + "00" * 20, word("e"), CaseKind.DELIVERY)
    court.refused(NotAParty, "NotConcerned", "owner", "Disputes.open", *nobody)


def test_a_bond_has_to_be_there(court):
    court.admit("poor", Role.LICENSOR)
    court.refused(ShortPayment, "ShortPayment", "poor", *court.opening())
    court.govern("case.bond", 2**53)
    court.refused(InputError, "AmountOutOfRange", "rival", *court.opening())


def test_each_step_is_for_its_party_in_its_turn(court):
    case, ruling = court.open(), (True, 0, word("ruling"))
    for kind, reason, who, call in (
        (NotAParty, "NotAParty", "rival", ("Disputes.respond", case, word("answer"))),
        (InputError, "EmptyDigest", "owner", ("Disputes.respond", case, bytes(32))),
        (NotAParty, "NotAParty", "owner", ("Disputes.withdraw", case)),
        (ConflictError, "WrongState", "owner", ("Disputes.appeal", case, word("grounds"))),
        (ConflictError, "WrongState", "second", ("Disputes.ruleAppeal", case, *ruling)),
        (ConflictError, "WrongState", "stranger", ("Disputes.execute", case)),
        (ConflictError, "NoTagToLift", "rival", ("Disputes.liftTag", TITLE, word("reason"))),
        (InputError, "EmptyDigest", "rival", ("Disputes.liftTag", TITLE, bytes(32))),
    ):
        court.refused(kind, reason, who, *call)
    court.do("owner", "Disputes.respond", case, word("answer"))
    court.refused(ConflictError, "AlreadyResponded", "owner", "Disputes.respond", case, word("more"))
    court.do("judge", "Disputes.rule", case, *ruling)
    for kind, reason, who, call in (
        (ConflictError, "WrongState", "owner", ("Disputes.respond", case, word("answer"))),
        (ConflictError, "WrongState", "rival", ("Disputes.withdraw", case)),
        (ConflictError, "WrongState", "second", ("Disputes.rule", case, *ruling)),
        (ConflictError, "WrongState", "stranger", ("Disputes.lapse", case)),
        (OutOfTime, "TooEarly", "stranger", ("Disputes.execute", case)),
        (NotAParty, "NotAParty", "other", ("Disputes.appeal", case, word("grounds"))),
        (InputError, "EmptyDigest", "owner", ("Disputes.appeal", case, bytes(32))),
    ):
        court.refused(kind, reason, who, *call)
    court.turn(APPEAL)
    court.refused(OutOfTime, "TooLate", "owner", "Disputes.appeal", case, word("grounds"))


def test_a_ruling_is_by_an_arbiter_who_is_no_party_and_fits(court):
    court.admit("owner", Role.LICENSOR | Role.ARBITER)
    case = court.open()
    court.do("owner", "Disputes.respond", case, word("answer"))
    for kind, reason, who, ruling in (
        (RightsError, "MissingRole", "rival", (True, 0, word("ruling"))),
        (NotImpartial, "IsAParty", "owner", (True, 0, word("ruling"))),
        (InputError, "EmptyDigest", "judge", (True, 0, bytes(32))),
        (InputError, "UnfitRemedies", "judge", (False, Remedy.TAG, word("ruling"))),
        (InputError, "UnfitRemedies", "judge", (True, Remedy.UNTAG, word("ruling"))),
        (InputError, "UnfitRemedies", "judge", (True, Remedy.TAG | Remedy.SLASH, word("ruling"))),
        (InputError, "UnfitRemedies", "judge", (True, Remedy.REVOKE, word("ruling"))),
        (InputError, "UnfitRemedies", "judge", (True, 1 << 7, word("ruling"))),
    ):
        court.refused(kind, reason, who, "Disputes.rule", case, *ruling)


@pytest.mark.parametrize(
    ("call", "rest"),
    [
        ("respond", [word("d")]),
        ("rule", [True, 0, word("d")]),
        ("appeal", [word("d")]),
        ("ruleAppeal", [True, 0, word("d")]),
        ("execute", []),
        ("withdraw", []),
        ("lapse", []),
        ("stay", []),
        ("caseRecord", []),
    ],
)
def test_an_unknown_case_is_not_found(court, call, rest):
    court.refused(NotFoundError, "UnknownCase", "judge", f"Disputes.{call}", 7, *rest)


def test_every_error_of_the_contract_is_met_here():
    errors = {entry["name"] for entry in artefact("Disputes")["abi"] if entry["type"] == "error"}
    files = [*Path(__file__).parent.glob("test_case_*.py"), Path(__file__).with_name("test_disputes.py")]
    met = {name for file in files for name in re.findall(r'"([A-Z]\w+)"', file.read_text(encoding="utf-8"))}
    # The guard would need a contract that calls back, and none of ours does.
    assert {error for error in errors - met if not error.startswith("ReentrancyGuard")} == set()
