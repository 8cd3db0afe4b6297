"""Cases from their opening to what they bring about: windows, bonds, statements, remedies, and every refusal."""

from __future__ import annotations

import hashlib

import pytest

from countermark.adapters.records import Role
from countermark.core.statements import CaseKind, CaseState, Remedy
from countermark.errors import (
    ConflictError,
    InputError,
    NotAParty,
    NotFoundError,
    NotImpartial,
    OutOfTime,
    TitleInDispute,
)

from .courthouse import (
    BOND,
    DAY,
    DERIVED,
    GRANT,
    GRANT_CASE,
    LICENSE_BOND,
    PRICE,
    SALE,
    TITLE,
    TITLE_CASE,
    fresh,
    subject,
    word,
)

word, subject, DAY = word, subject, DAY
BOND, LICENSE_BOND, PRICE = BOND, LICENSE_BOND, PRICE
TITLE, DERIVED, GRANT, SALE = TITLE, DERIVED, GRANT, SALE
TITLE_CASE, GRANT_CASE = TITLE_CASE, GRANT_CASE
RESPONSE, APPEAL, RULING = 7 * DAY, 14 * DAY, 60 * DAY


@pytest.fixture
def court():
    machine = fresh()
    yield machine
    machine.other_pots += sum(map(machine.pot_of, range(1, 1 + machine.read("Disputes.casesOpened"))))
    machine.check_books()


# --- the way of a case ---------------------------------------------------------------------------------------------


def test_a_case_goes_from_its_opening_to_what_was_ruled(court):
    start = court.now
    opened = court.do(
        "rival", "Disputes.open", subject(*TITLE_CASE), court.address("owner"), word("e"), CaseKind.OWNERSHIP
    )
    assert opened.event("CaseOpened") == {
        "caseId": 1,
        "subject": subject(*TITLE_CASE),
        "claimant": court.address("rival"),
        "respondent": court.address("owner"),
        "kind": CaseKind.OWNERSHIP,
        "evidenceDigest": word("e"),
        "bond": BOND,
    }
    assert court.pending()
    assert not court.pending(GRANT_CASE)
    assert court.pot_of(1) == BOND
    court.do("owner", "Disputes.respond", 1, word("answer"))
    ruled = court.do("judge", "Disputes.rule", 1, True, Remedy.TAG, word("ruling"))
    assert ruled.event("Ruled")["arbiter"] == court.address("judge")
    assert court.clear(), "nothing happens while the ruling can be appealed"
    court.turn(APPEAL)
    done = court.do("stranger", "Disputes.execute", 1)
    assert done.event("Executed") == {"caseId": 1, "remedies": Remedy.TAG, "amount": 0}
    assert done.event("StatusChanged") == {"titleId": TITLE, "tagged": True, "caseId": 1}
    assert not court.pending()
    assert court.case(1) == {
        "subject": subject(*TITLE_CASE),
        "claimant": court.address("rival"),
        "bond": BOND,
        "state": CaseState.EXECUTED,
        "kind": CaseKind.OWNERSHIP,
        "upheld": True,
        "remedies": Remedy.TAG,
        "respondent": court.address("owner"),
        "since": start + APPEAL,
        "fitting": Remedy.TAG | Remedy.FORFEIT,
        "arbiter": court.address("judge"),
        "appeal_bond": 0,
        "appellant": "0x" + "00" * 20,
        "evidence_digest": word("e"),
        "response_digest": word("answer"),
        "ruling_digest": word("ruling"),
    }


def test_a_tag_reaches_what_derives_from_the_title_and_stops_its_money(court):
    court.executed(court.open(), remedies=Remedy.TAG)
    assert not court.clear(TITLE)
    assert not court.clear(DERIVED)
    assert court.view("ModelTitles.record", TITLE)["tagged"]
    assert not court.view("ModelTitles.record", DERIVED)["tagged"], "only what it derives from is"
    licence = (1, word("a2"), court.now, PRICE, 0)
    court.refused(TitleInDispute, "TitleTagged", "other", "Market.buyLicense", *licence)


def test_without_an_answer_the_arbiter_goes_on_after_the_window(court):
    case = court.open()
    court.turn(RESPONSE - 1)
    court.refused(OutOfTime, "TooEarly", "judge", "Disputes.rule", case, True, 0, word("ruling"))
    court.turn(1)
    court.do("owner", "Disputes.respond", case, word("late, but before the ruling"))
    court.do("judge", "Disputes.rule", case, True, 0, word("ruling"))
    assert court.stage(case) == CaseState.RULED


def test_an_appeal_replaces_the_ruling_for_good(court):
    case = court.ruled(court.open(), remedies=Remedy.TAG)
    court.turn(APPEAL - 1)
    court.do("owner", "Disputes.appeal", case, word("grounds"))
    assert court.pot_of(case) == 2 * BOND
    court.refused(ConflictError, "WrongState", "stranger", "Disputes.execute", case)
    court.refused(NotImpartial, "SameArbiter", "judge", "Disputes.ruleAppeal", case, True, 0, word("r2"))
    court.do("second", "Disputes.ruleAppeal", case, False, 0, word("r2"))
    assert court.case(case)["ruling_digest"] == word("r2")
    court.do("stranger", "Disputes.execute", case)
    assert court.clear()
    assert court.credits("rival", "owner") == [0, PRICE + 2 * BOND]
    court.refused(ConflictError, "WrongState", "stranger", "Disputes.execute", case)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("appellant", [None, "rival", "owner"])
@pytest.mark.parametrize("last", [True, False])
def test_whoever_wins_in_the_end_gets_every_bond(court, first, appellant, last):
    case = court.ruled(court.open(), upheld=first)
    if appellant:
        court.do(appellant, "Disputes.appeal", case, word("grounds"))
        court.do("second", "Disputes.ruleAppeal", case, last, 0, word("r2"))
    court.turn(APPEAL)
    before = court.credits("rival", "owner")
    court.do("stranger", "Disputes.execute", case)
    paid = BOND * (2 if appellant else 1)
    won = last if appellant else first
    gains = [after - was for after, was in zip(court.credits("rival", "owner"), before, strict=True)]
    assert gains == ([paid, 0] if won else [0, paid])
    assert court.pot_of(case) == 0


def test_money_in_and_out_of_cases_adds_up(court):
    for case in (court.open(), court.open("owner", "licensee", GRANT_CASE), court.open("other")):
        court.ruled(case, upheld=case != 3, remedies=Remedy.SLASH if case == 2 else 0)
    court.do("other", "Disputes.appeal", 3, word("grounds"))
    court.turn(APPEAL)
    for case in (1, 2):
        court.do("stranger", "Disputes.execute", case)
    court.do("second", "Disputes.ruleAppeal", 3, False, 0, word("r2"))
    court.do("stranger", "Disputes.execute", 3)
    total = court.view("Revenue.totalCredits") + court.view("Revenue.totalPots")
    assert total == court.tokens("Revenue")
    assert court.view("Revenue.totalPots") == 0
    assert court.credits("rival", "other", "owner") == [BOND, 0, PRICE + BOND + LICENSE_BOND + 2 * BOND]


def test_a_case_that_nobody_hears_lapses_and_its_bond_comes_back(court):
    case = court.open()
    court.turn(RULING - 1)
    court.refused(OutOfTime, "TooEarly", "stranger", "Disputes.lapse", case)
    court.turn(1)
    court.refused(OutOfTime, "TooLate", "judge", "Disputes.rule", case, True, 0, word("ruling"))
    assert court.do("stranger", "Disputes.lapse", case).event("CaseLapsed") == {
        "caseId": case,
        "state": CaseState.LAPSED,
    }
    assert not court.pending()
    assert court.credits("rival") == [BOND]
    court.refused(ConflictError, "WrongState", "stranger", "Disputes.lapse", case)


def test_an_appeal_that_nobody_hears_leaves_the_first_ruling(court):
    case = court.ruled(court.open(), remedies=Remedy.TAG)
    court.do("owner", "Disputes.appeal", case, word("grounds"))
    court.turn(RULING)
    court.refused(OutOfTime, "TooLate", "second", "Disputes.ruleAppeal", case, False, 0, word("r2"))
    court.do("stranger", "Disputes.lapse", case)
    assert court.stage(case) == CaseState.FINAL
    assert court.pending()
    assert court.credits("rival", "owner") == [0, PRICE + BOND]
    court.do("stranger", "Disputes.execute", case)
    assert not court.clear()
    assert court.credits("rival", "owner") == [BOND, PRICE + BOND]


@pytest.mark.parametrize(("answered", "gets"), [(False, "rival"), (True, "owner")])
def test_a_case_given_up_costs_its_bond_once_it_was_answered(court, answered, gets):
    case = court.open()
    if answered:
        court.do("owner", "Disputes.respond", case, word("answer"))
    before = court.credits(gets)[0]
    assert court.do("rival", "Disputes.withdraw", case).event("CaseWithdrawn") == {"caseId": case}
    assert court.credits(gets) == [before + BOND]
    assert court.stage(case) == CaseState.WITHDRAWN
    assert not court.pending()


def test_cases_about_one_subject_stay_pending_until_the_last_is_over(court):
    first, second = court.open(), court.open("other")
    court.do("rival", "Disputes.withdraw", first)
    assert court.pending()
    court.do("other", "Disputes.withdraw", second)
    assert not court.pending()


def test_a_bond_is_what_it_was_when_the_case_was_opened(court):
    case = court.open()
    court.govern("case.bond", 7)
    court.do("rival", "Disputes.withdraw", case)
    assert court.credits("rival") == [BOND]
    assert court.case(court.open())["bond"] == 7


def test_a_consortium_may_ask_no_bond(court):
    court.govern("case.bond", 0)
    court.executed(court.open(), remedies=Remedy.TAG)
    assert not court.clear()
    assert court.credits("rival") == [0]


def test_a_contract_that_was_replaced_pays_the_bonds_and_brings_nothing_about(court):
    case = court.ruled(court.open(), remedies=Remedy.TAG)
    court.set_parameter("Disputes", 1)
    court.turn(APPEAL)
    assert court.do("stranger", "Disputes.execute", case).event("Executed")["remedies"] == 0
    assert court.clear()
    assert court.credits("rival") == [BOND]


# --- titles: tags and withheld money -------------------------------------------------------------------------------


def test_the_holder_of_a_tagged_title_brings_whoever_won_the_tag(court):
    court.refused(NotAParty, "NotConcerned", "owner", *court.opening(against="rival"))
    court.executed(court.open(), remedies=Remedy.TAG)
    court.refused(NotAParty, "NotConcerned", "owner", *court.opening(against="other"))
    case = court.open("owner", "rival")
    assert court.case(case)["fitting"] == Remedy.UNTAG
    done = court.executed(case, remedies=Remedy.UNTAG)
    assert done.event("StatusChanged") == {"titleId": TITLE, "tagged": False, "caseId": case}
    assert court.clear(DERIVED)


def test_a_title_is_clear_when_nobodys_tag_is_left(court):
    for claimant in ("rival", "other", "rival"):
        court.executed(court.open(claimant), remedies=Remedy.TAG)
    lifted = court.do("rival", "Disputes.liftTag", TITLE, word("settled"))
    assert lifted.event("TagLifted")["by"] == court.address("rival")
    assert not court.clear(), "the other one's is"
    court.refused(ConflictError, "NoTagToLift", "rival", "Disputes.liftTag", TITLE, word("settled"))
    court.do("other", "Disputes.liftTag", TITLE, word("settled"))
    assert court.clear()


def test_a_tag_that_was_lifted_meanwhile_is_not_taken_back_twice(court):
    for claimant in ("rival", "other"):
        court.executed(court.open(claimant), remedies=Remedy.TAG)
    case = court.ruled(court.open("owner", "rival"), remedies=Remedy.UNTAG)
    court.do("rival", "Disputes.liftTag", TITLE, word("settled"))
    court.turn(APPEAL)
    court.do("stranger", "Disputes.execute", case)
    assert not court.clear(), "the other one's tag stands"


def test_withheld_money_goes_where_the_ruling_says(court):
    court.executed(court.open(), remedies=Remedy.TAG)
    start = court.view("Grants.windowOf", GRANT)["starts_at"]
    court.do("licensee", "Revenue.report", GRANT, start, start + DAY, 50_000, word("report"))
    assert court.view("Revenue.withheld", TITLE) == 5_000
    before = court.credits("rival")[0]
    done = court.executed(court.open(), remedies=Remedy.FORFEIT)
    assert done.event("Executed")["amount"] == 5_000
    assert court.credits("rival") == [before + 5_000 + BOND]
    assert court.view("Revenue.withheld", TITLE) == 0


def test_nothing_withheld_is_nothing_forfeited(court):
    done = court.executed(court.open(), remedies=Remedy.TAG | Remedy.FORFEIT)
    assert done.event("Executed")["amount"] == 0


# --- grants: revocation, bonds, notices ----------------------------------------------------------------------------


def test_a_leak_costs_the_licensee_grant_and_bond(court):
    case = court.open("owner", "licensee", GRANT_CASE)
    assert court.case(case)["fitting"] == Remedy.REVOKE | Remedy.SLASH
    before = court.credits("owner")[0]
    done = court.executed(case, remedies=Remedy.REVOKE | Remedy.SLASH)
    assert done.event("Executed")["amount"] == LICENSE_BOND
    assert done.event("Struck") == {"grantId": GRANT, "caseId": case}
    assert not court.view("Grants.permitted", GRANT, court.now)
    assert court.credits("owner") == [before + LICENSE_BOND + BOND]
    assert court.view("Market.bondOf", GRANT) == 0


def test_a_bond_can_be_taken_once(court):
    first, second = (court.open("owner", "licensee", GRANT_CASE) for _ in range(2))
    assert court.executed(first, remedies=Remedy.SLASH).event("Executed")["amount"] == LICENSE_BOND
    both = Remedy.REVOKE | Remedy.SLASH
    assert court.executed(second, remedies=both).event("Executed")["amount"] == 0


def test_while_a_case_is_pending_neither_bond_nor_grant_gets_away(court):
    court.open("owner", "licensee", GRANT_CASE)
    court.refused(ConflictError, "CasePending", "licensee", "Market.offerGrant", GRANT, PRICE, court.now + DAY)


def revoked_at(court):
    return int(court.view("Grants.grantRecord", GRANT)["revoked_at"])


def test_a_licensees_case_stays_a_notice_that_runs(court):
    court.do("owner", "Grants.revoke", GRANT, word("reason"))
    assert revoked_at(court) > 0
    case = court.open("licensee", "owner", GRANT_CASE, CaseKind.BREACH)
    assert court.case(case)["fitting"] == 0
    assert revoked_at(court) == 0
    court.refused(ConflictError, "NoticeStayed", "owner", "Grants.revoke", GRANT, word("again"))


def test_a_notice_that_comes_during_the_case_is_stayed_on_request(court):
    case = court.open("licensee", "owner", GRANT_CASE)
    court.refused(ConflictError, "NoNotice", "licensee", "Disputes.stay", case)
    court.do("owner", "Grants.revoke", GRANT, word("reason"))
    court.refused(NotAParty, "NotAParty", "owner", "Disputes.stay", case)
    assert court.do("licensee", "Disputes.stay", case).event("Stayed") == {"grantId": GRANT, "caseId": case}
    assert revoked_at(court) == 0


def test_a_licensee_who_lost_does_not_stay_another_notice(court):
    court.do("owner", "Grants.revoke", GRANT, word("reason"))
    court.executed(court.open("licensee", "owner", GRANT_CASE), upheld=False)
    court.do("owner", "Grants.revoke", GRANT, word("again"))
    case = court.open("licensee", "owner", GRANT_CASE)
    assert revoked_at(court) > 0
    court.refused(ConflictError, "NoNotice", "licensee", "Disputes.stay", case)


def test_a_licensee_who_won_can_stay_the_next_notice(court):
    court.do("owner", "Grants.revoke", GRANT, word("reason"))
    court.executed(court.open("licensee", "owner", GRANT_CASE))
    court.do("owner", "Grants.revoke", GRANT, word("again"))
    court.open("licensee", "owner", GRANT_CASE)
    assert revoked_at(court) == 0


def test_staying_a_notice_and_giving_the_case_up_costs_the_bond(court):
    court.do("owner", "Grants.revoke", GRANT, word("reason"))
    case, before = court.open("licensee", "owner", GRANT_CASE), court.credits("owner")[0]
    court.do("licensee", "Disputes.withdraw", case)
    assert court.credits("owner", "licensee") == [before + BOND, 0]


def test_the_title_holders_case_stays_nothing(court):
    court.do("owner", "Grants.revoke", GRANT, word("reason"))
    case = court.open("owner", "licensee", GRANT_CASE)
    assert revoked_at(court) > 0
    court.refused(ConflictError, "NoNotice", "owner", "Disputes.stay", case)


# --- sales and accounts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("claimant", "respondent"), [("licensee", "owner"), ("owner", "licensee")])
def test_a_market_sale_is_ruled_on_for_the_record(court, claimant, respondent):
    case = court.open(claimant, respondent, (4, SALE), CaseKind.DELIVERY)
    court.turn(RESPONSE)
    court.refused(InputError, "UnfitRemedies", "judge", "Disputes.rule", case, True, Remedy.SLASH, word("ruling"))
    assert court.executed(case).event("Executed")["remedies"] == 0


def test_an_account_is_ruled_on_for_the_record(court):
    about = (1, int(court.address("office"), 16))
    case = court.open("rival", "office", about, CaseKind.OTHER)
    assert court.case(case)["fitting"] == 0


FILE_SALE, MASTER_BOND = (5, 1), 7_000


@pytest.fixture
def file_sale(court):
    """A copy of the title's model that a marking service delivered and the licensee paid; its key is revealed."""
    court.admit("marker", Role.MARKER)
    court.pay_in("marker", BOND * 3)
    key = word("key")
    sealed = (word("plain"), word("cipher"), hashlib.sha256(key).digest(), 1, word("attestation"), bytes(32))
    court.do("owner", "FileSales.offer", TITLE, PRICE, MASTER_BOND, word("terms"), court.now + DAY)
    court.do("marker", "FileSales.deliver", 1, GRANT, *sealed, BOND)
    court.do("licensee", "FileSales.pay", 1, PRICE)
    court.do("marker", "FileSales.reveal", 1, key)
    yield FILE_SALE
    cases = sum(map(court.pot_of, range(1, 1 + court.read("Disputes.casesOpened"))))
    # What is left in the pots of file sales is theirs to check; that nothing is missing, the balance says.
    court.other_pots += court.read("Revenue.totalPots") - LICENSE_BOND - cases


def test_a_useless_master_costs_its_seller_the_bond(court, file_sale):
    case = court.open("licensee", "owner", file_sale, CaseKind.QUALITY)
    assert court.case(case)["fitting"] == Remedy.SLASH
    court.turn(3 * DAY)
    court.refused(ConflictError, "CasePending", "stranger", "FileSales.settle", 1)
    done = court.executed(case, remedies=Remedy.SLASH)
    assert done.event("Executed")["amount"] == MASTER_BOND
    assert court.credits("licensee", "marker") == [MASTER_BOND + BOND + PRICE, BOND], "the sale is undone"


@pytest.mark.parametrize(
    ("claimant", "respondent", "fitting"),
    [
        ("marker", "owner", Remedy.SLASH),
        ("licensee", "marker", 0),
        ("marker", "licensee", 0),
        ("owner", "licensee", 0),
        ("owner", "marker", 0),
    ],
)
def test_a_file_sale_concerns_seller_buyer_and_service(court, file_sale, claimant, respondent, fitting):
    assert court.case(court.open(claimant, respondent, file_sale))["fitting"] == fitting
    for call in (("rival", court.opening(file_sale)), ("owner", court.opening(file_sale, "rival"))):
        court.refused(NotAParty, "NotConcerned", call[0], *call[1])
    court.refused(NotFoundError, "UnknownSale", "licensee", *court.opening((5, 2)))


# --- who is held or suspended --------------------------------------------------------------------------------------


def test_a_held_account_opens_answers_and_appeals_without_a_bond(court):
    for name in ("rival", "owner", "expert"):
        court.hold_account(name)
    case = court.open()
    assert (court.case(case)["bond"], court.pot_of(case)) == (0, 0)
    court.do("owner", "Disputes.respond", case, word("answer"))
    court.add(court.statement(case))
    court.do("judge", "Disputes.rule", case, True, Remedy.TAG, word("ruling"))
    assert court.do("owner", "Disputes.appeal", case, word("grounds")).event("Appealed")["bond"] == 0
    court.do("second", "Disputes.ruleAppeal", case, True, Remedy.TAG, word("r2"))
    court.do("stranger", "Disputes.execute", case)
    assert not court.clear()
    assert court.view("Revenue.totalPots") == LICENSE_BOND


def test_a_suspended_respondent_still_answers_and_appeals(court):
    case = court.open()
    court.do("office", "Members.suspend", court.address("owner"))
    court.do("owner", "Disputes.respond", case, word("answer"))
    court.do("judge", "Disputes.rule", case, True, 0, word("ruling"))
    court.do("owner", "Disputes.appeal", case, word("grounds"))
    assert court.stage(case) == CaseState.APPEALED
