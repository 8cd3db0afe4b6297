"""Every function that writes, of every contract, called by everybody whose call is wrong.

The table says who may call what. For each row the right caller succeeds; everybody else, with the very same arguments,
is refused by name and nothing changes: a stranger, members with one role each, with all but one, with all, one
suspended, one expired, a former holder, and every other contract. The right caller itself is tried again while its
account is held, suspended and expired. A function that the table lacks fails the test, so none can be forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from eth_abi.abi import encode

from countermark.adapters.contracts import CONTRACTS, artefact
from countermark.adapters.records import Role
from countermark.core.exchange import BLOCK_BYTES, climb, leaves, path_length
from countermark.core.rlp import keccak256
from countermark.core.statements import CaseKind, Remedy
from countermark.errors import CountermarkError

from .bare import CONDITIONS as CONDITIONS_BY_NAME
from .bare import _type, refusal
from .courthouse import DAY, PRICE, TITLE, Court, copy, fresh, subject, word

word, subject, DAY, PRICE, Court = word, subject, DAY, PRICE, Court
TITLE, GRANT = TITLE, 3  # the grant came to the licensee by a resale
TITLE_SUBJECT = subject(2, TITLE)
ALL = Role((1 << len(Role)) - 1)
NONE = Role(0)
MUCH = 2**53

SINGLE = {f"only {role.name.lower()}": role for role in Role}
# Roles only add rights, so whoever has all but one is the strongest caller without it.
BUT_ONE = {f"all but {role.name.lower()}": ALL & ~role for role in Role}
MEMBERS = {**SINGLE, **BUT_ONE, "everything": ALL, "former": Role.LICENSOR | Role.LICENSEE}
CROWD = (*MEMBERS, "suspended", "expired", "stranger", *CONTRACTS)

Prepare = Callable[[Any], object]


@dataclass(frozen=True)
class Row:
    """Who may call a function.

    Attributes:
        call: contract and function, with its types where the name is overloaded.
        by: the right caller; None where nobody is.
        args: its arguments, which the wrong callers use too.
        roles: members with one of these are right as well.
        also: and so are these.
        held: whether a hold on the right caller's account stops it.
        lapsed: whether its suspension or expiry does.
        given: what has to have happened.
    """

    call: str
    by: str | None
    args: Callable[[Any], list[Any]]
    roles: tuple[Role, ...] = ()
    also: tuple[str, ...] = ()
    held: bool = False
    lapsed: bool = True
    given: Prepare = lambda court: None

    @property
    def right(self) -> set[str]:
        with_role = {name for name, roles in MEMBERS.items() if any(role & roles == role for role in self.roles)}
        return {*with_role, *self.also, *([self.by] if self.by else [])}


def role(call: str, needed: Role, args: Any, **more: Any) -> Row:
    """Anyone in force with a role."""
    return Row(call, f"only {needed.name.lower()}", args, roles=(needed,), **more)


def party(call: str, by: str, args: Any, **more: Any) -> Row:
    """One account, whatever its roles."""
    return Row(call, by, args, **more)


def contract(call: str, by: str, args: Any, **more: Any) -> Row:
    """One contract of the Directory."""
    return Row(call, by, args, lapsed=False, **more)


def anyone(call: str, args: Any, **more: Any) -> Row:
    return Row(call, "stranger", args, also=CROWD, lapsed=False, **more)


def nobody(call: str, args: Any, **more: Any) -> Row:
    return Row(call, None, args, also=(), **more)


def some(*fixed: Any) -> Callable[[Any], list[Any]]:
    """Arguments where ``@name`` is an account's address and ``+seconds`` a time from now."""

    def make(court: Any) -> list[Any]:
        return [_value(court, item) for item in fixed]

    return make


def _value(court: Any, item: Any) -> Any:
    if isinstance(item, list | tuple):
        return type(item)(_value(court, part) for part in item)
    if isinstance(item, str) and item[0] in "@+":
        return court.address(item[1:]) if item[0] == "@" else court.now + int(item[1:])
    return item


def acts(*calls: tuple[Any, ...]) -> Prepare:
    """Calls that have to have happened: who, what, arguments; a number alone turns the clock."""

    def prepare(court: Any) -> None:
        for step in calls:
            if len(step) == 1:
                court.turn(step[0])
            else:
                court.do(step[0], step[1], *_value(court, step[2:]))

    return prepare


CONDITIONS = tuple(CONDITIONS_BY_NAME.values())
REGISTRATION = ("@owner", word("m"), word("new"), word("k"), [], 0, False)
PAID = ("only licensee", "Market.buyLicense", 1, word("a"), "+0", MUCH, 10_000)
SALE = 4  # the next one, after those of the preparation
CASE = ("rival", "Disputes.open", TITLE_SUBJECT, "@owner", word("e"), CaseKind.LEAK)
ANSWERED = ("owner", "Disputes.respond", 1, word("answer"))
RULED = ("judge", "Disputes.rule", 1, True, Remedy.TAG, word("r"))
APPEALED = ("owner", "Disputes.appeal", 1, word("g"))
TAGGED = (CASE, ANSWERED, RULED, (14 * DAY,), ("stranger", "Disputes.execute", 1))
REPORT = ("licensee", "Revenue.report", GRANT, "+-1", "+0", 50_000, word("report"))
PROPOSED = ("only governor", "Directory.propose", b"case.bond".ljust(32, b"\0"), 5)
NOTICE = ("owner", "Grants.revoke", GRANT, word("reason"))
SOLD_ON = ("licensee", "Market.offerGrant", GRANT, PRICE, "+1000")
# One block, whose leaf is another block's: what a service that cheats delivers.
KEY = word("file key")
PATH = [bytes(32)] * path_length(1)
CHEAT = climb(leaves([word("another leaf")], bytes(BLOCK_BYTES))[0], 0, 1, PATH)
SEALED = (word("plain"), CHEAT, hashlib.sha256(KEY).digest(), 1, word("attestation"), bytes(32))
LISTED = ("owner", "FileSales.offer", TITLE, PRICE, 5_000, word("terms"), "+1000")
DELIVERED = ("only marker", "FileSales.deliver", 1, GRANT, *SEALED, 5_000)
BOUGHT = ("licensee", "FileSales.pay", 1, MUCH)
REVEALED = ("only marker", "FileSales.reveal", 1, KEY)
ANCHOR = (word("log"), 1, word("root"), word("checkpoint"))

MEMBERS_ROWS = [
    role("Members.admit", Role.GOVERNOR, some("@new", word("o"), word("k"), 1, "+1000")),
    role("Members.suspend", Role.GOVERNOR, some("@other")),
    Row("Members.rotateKey", "owner", some("@owner", word("key")), roles=(Role.GOVERNOR,)),
    role("Members.identify", Role.REGISTRAR, some("@owner", word("proof"), "+1000")),
    role("Members.hold", Role.REGULATOR, some(TITLE_SUBJECT, "+1000", word("case"), word("reason"))),
    role(
        "Members.release",
        Role.REGULATOR,
        some(TITLE_SUBJECT, word("reason")),
        given=acts(("regulator", "Members.hold", TITLE_SUBJECT, "+1000", word("case"), word("reason"))),
    ),
]
DIRECTORY_ROWS = [
    nobody("Directory.found", some([b"x".ljust(32, b"\0")], [1])),
    role("Directory.propose", Role.GOVERNOR, some(b"case.bond".ljust(32, b"\0"), 5)),
    role(
        "Directory.approve",
        Role.GOVERNOR,
        lambda court: [court.read("Directory.proposalsMade")],
        given=acts(("office", *PROPOSED[1:])),
    ),
    party(
        "Directory.withdraw",
        "only governor",
        lambda court: [court.read("Directory.proposalsMade")],
        given=acts(PROPOSED),
    ),
    anyone("Directory.activate", lambda court: [court.read("Directory.proposalsMade")], given=acts(PROPOSED, (DAY,))),
]
ANCHORS_ROWS = [
    role("Anchors.anchor", Role.ANCHORER, some(*ANCHOR)),
    party(
        "Anchors.anchor",
        "only anchorer",
        some(word("log"), 2, word("root"), word("checkpoint")),
        given=acts(("only anchorer", "Anchors.anchor", *ANCHOR)),
    ),
    Row(
        "Anchors.handOver",
        "only anchorer",
        some(word("log"), "@everything"),
        roles=(Role.GOVERNOR,),
        given=acts(("only anchorer", "Anchors.anchor", *ANCHOR)),
    ),
]
TITLE_ROWS = [
    role("ModelTitles.register", Role.REGISTRAR, some(*REGISTRATION)),
    role("ModelTitles.commitKey", Role.REGISTRAR, some(TITLE, word("k2"))),
    party("ModelTitles.setDerivativeTerms", "owner", some(TITLE, True, 100)),
    party("ModelTitles.approveDerivative", "owner", some(TITLE, word("w9"), 100)),
    party("ModelTitles.acceptMarket", "owner", some(TITLE)),
    party("ModelTitles.approve", "owner", some("@rival", TITLE), lapsed=False),
    anyone("ModelTitles.setApprovalForAll", some("@rival", True)),
    party("ModelTitles.transferByDeed", "owner", some(TITLE, "@rival", word("deed")), held=True),
    nobody("ModelTitles.transferFrom", some("@owner", "@rival", TITLE)),
    nobody("ModelTitles.safeTransferFrom(address,address,uint256)", some("@owner", "@rival", TITLE)),
    nobody("ModelTitles.safeTransferFrom(address,address,uint256,bytes)", some("@owner", "@rival", TITLE, b"")),
    contract("ModelTitles.lockForSale", "Market", some(TITLE, SALE)),
    contract("ModelTitles.unlock", "Market", some(TITLE), given=acts(("Market", "ModelTitles.lockForSale", TITLE, 9))),
    contract(
        "ModelTitles.assignBySale",
        "Market",
        some(TITLE, "@rival", word("deed")),
        given=acts(("Market", "ModelTitles.lockForSale", TITLE, 9)),
    ),
    contract("ModelTitles.setTag", "Disputes", some(TITLE, True, 1)),
]
GRANT_ROWS = [
    party("Grants.offer", "owner", some(TITLE, word("terms"), CONDITIONS), held=True),
    party("Grants.withdrawOffer", "owner", some(1)),
    party("Grants.grant", "owner", some(1, "@licensee", word("a"), word("mark"), "+0", "+1000"), held=True),
    party("Grants.revoke", "owner", some(GRANT, word("reason"))),
    party("Grants.withdrawNotice", "owner", some(GRANT), given=acts(NOTICE)),
    role("Grants.commitBatch", Role.REGISTRAR, some(word("root"), 5)),
    party("Grants.approve", "licensee", some("@rival", GRANT), lapsed=False),
    anyone("Grants.setApprovalForAll", some("@rival", True)),
    nobody("Grants.transferFrom", some("@licensee", "@other", GRANT)),
    nobody("Grants.safeTransferFrom(address,address,uint256)", some("@licensee", "@other", GRANT)),
    nobody("Grants.safeTransferFrom(address,address,uint256,bytes)", some("@licensee", "@other", GRANT, b"")),
    contract("Grants.issue", "Market", some(1, "@licensee", word("a"), word("mark"), "+0")),
    contract("Grants.resell", "Market", some(GRANT, "@other", word("a"), word("mark"))),
    contract("Grants.renew", "Market", some(GRANT)),
    contract("Grants.strike", "Disputes", some(GRANT, 1)),
    contract("Grants.stay", "Disputes", some(GRANT, 1), given=acts(NOTICE)),
]
TOKEN_ROWS = [
    role("SettlementToken.mint", Role.TREASURER, some("@owner", 1, word("booking"))),
    party("SettlementToken.redeem", "owner", some(9 * PRICE, word("payment")), held=True, lapsed=False),
    anyone("SettlementToken.approve", some("@rival", 5)),
    party("SettlementToken.transfer", "owner", some("@rival", 9 * PRICE), held=True, lapsed=False),
    party(
        "SettlementToken.transferFrom",
        "rival",
        some("@owner", "@rival", 5),
        also=("Revenue",),  # which the owner lets take what it buys
        given=acts(("owner", "SettlementToken.approve", "@rival", 5)),
    ),
]
REVENUE_ROWS = [
    party("Revenue.claim", "owner", some(), also=("former",), held=True),
    party("Revenue.setSplits", "owner", some(TITLE, ["@other"], [100]), held=True),
    party("Revenue.report", "licensee", some(*REPORT[2:]), held=True, lapsed=False),
    anyone(
        "Revenue.releaseWithheld",
        some(TITLE),
        given=acts(*TAGGED, REPORT, ("rival", "Disputes.liftTag", TITLE, word("settled"))),
    ),
    contract("Revenue.fund", "Market", some(b"p".ljust(32, b"\0"), "@owner", 5), also=("Disputes", "FileSales")),
    contract("Revenue.payOut", "Market", some((1).to_bytes(32, "big"), "@owner", 5)),
    contract("Revenue.distribute", "Market", some((1).to_bytes(32, "big"), TITLE, 5, 0)),
    contract("Revenue.forfeit", "Disputes", some(TITLE, "@rival"), given=acts(*TAGGED, REPORT)),
]
MARKET_ROWS = [
    party("Market.offerTitle", "owner", some(TITLE, PRICE, word("deed"), "+1000"), held=True),
    party("Market.offerGrant", "licensee", some(GRANT, PRICE, "+1000"), held=True),
    party("Market.withdraw", "licensee", some(SALE), lapsed=False, given=acts(SOLD_ON)),
    anyone("Market.withdraw", some(SALE), given=acts(SOLD_ON, (1000,))),
    role(
        "Market.buyTitle",
        Role.LICENSOR,
        some(SALE, MUCH),
        held=True,
        given=acts(("owner", "Market.offerTitle", TITLE, PRICE, word("deed"), "+1000")),
    ),
    role("Market.buyLicense", Role.LICENSEE, some(1, word("a"), "+0", MUCH, 10_000), held=True),
    role("Market.buyGrant", Role.LICENSEE, some(SALE, word("a"), MUCH), held=True, given=acts(SOLD_ON)),
    role("Market.deliver", Role.REGISTRAR, some(SALE, word("mark")), given=acts(PAID)),
    role("Market.refund", Role.REGISTRAR, some(SALE), given=acts(PAID)),
    Row(
        "Market.refund",
        "only licensee",
        some(SALE),
        roles=(Role.REGISTRAR,),
        also=("owner",),
        lapsed=False,
        given=acts(PAID, (7 * DAY,)),
    ),
    party("Market.renew", "licensee", some(GRANT, MUCH), held=True),
    anyone("Market.returnBond", some(1), given=acts((400 * DAY,))),
    contract("Market.slash", "Disputes", some(GRANT, "@owner")),
]
FILE_ROWS = [
    party("FileSales.offer", "owner", some(*LISTED[2:]), held=True),
    party("FileSales.withdrawListing", "owner", some(1), lapsed=False, given=acts(LISTED)),
    role("FileSales.deliver", Role.MARKER, some(*DELIVERED[2:]), held=True, given=acts(LISTED)),
    party("FileSales.pay", "licensee", some(1, MUCH), held=True, given=acts(LISTED, DELIVERED)),
    party(
        "FileSales.reveal", "only marker", some(1, KEY), held=True, lapsed=False, given=acts(LISTED, DELIVERED, BOUGHT)
    ),
    party(
        "FileSales.complain",
        "licensee",
        some(1, KEY, 0, bytes(BLOCK_BYTES), word("another leaf"), PATH),
        lapsed=False,
        given=acts(LISTED, DELIVERED, BOUGHT, REVEALED),
    ),
    anyone("FileSales.settle", some(1), given=acts(LISTED, DELIVERED, BOUGHT, REVEALED, (3 * DAY,))),
    party("FileSales.abort", "only marker", some(1), lapsed=False, given=acts(LISTED, DELIVERED)),
    anyone("FileSales.abort", some(1), given=acts(LISTED, DELIVERED, BOUGHT, (2 * DAY,))),
    contract("FileSales.slash", "Disputes", some(1, "@licensee"), given=acts(LISTED, DELIVERED)),
]
DISPUTE_ROWS = [
    Row("Disputes.open", "rival", some(*CASE[2:]), roles=(NONE,)),
    Row("Disputes.open", "licensee", some(subject(3, GRANT), "@owner", word("e"), CaseKind.BREACH)),
    party("Disputes.respond", "owner", some(*ANSWERED[2:]), lapsed=False, given=acts(CASE)),
    party(
        "Disputes.stay",
        "licensee",
        some(1),
        lapsed=False,
        given=acts(("licensee", "Disputes.open", subject(3, GRANT), "@owner", word("e"), CaseKind.BREACH), NOTICE),
    ),
    anyone("Disputes.addStatement", lambda court: _handed_in(court), given=acts(CASE)),
    party("Disputes.revokeStatement", "expert", lambda court: [_statement_id(court)], lapsed=False, given=acts(CASE)),
    role("Disputes.rule", Role.ARBITER, some(*RULED[2:]), given=acts(CASE, ANSWERED)),
    Row(
        "Disputes.appeal",
        "owner",
        some(*APPEALED[2:]),
        also=("rival",),
        lapsed=False,
        given=acts(CASE, ANSWERED, RULED),
    ),
    role(
        "Disputes.ruleAppeal",
        Role.ARBITER,
        some(1, False, 0, word("r2")),
        given=acts(CASE, ANSWERED, RULED, APPEALED),
    ),
    anyone("Disputes.execute", some(1), given=acts(CASE, ANSWERED, RULED, (14 * DAY,))),
    party("Disputes.withdraw", "rival", some(1), lapsed=False, given=acts(CASE)),
    anyone("Disputes.lapse", some(1), given=acts(CASE, (60 * DAY,))),
    party("Disputes.liftTag", "rival", some(TITLE, word("settled")), lapsed=False, given=acts(*TAGGED)),
]
ROWS = [
    *MEMBERS_ROWS,
    *DIRECTORY_ROWS,
    *ANCHORS_ROWS,
    *TITLE_ROWS,
    *GRANT_ROWS,
    *TOKEN_ROWS,
    *REVENUE_ROWS,
    *MARKET_ROWS,
    *FILE_ROWS,
    *DISPUTE_ROWS,
]


def _handed_in(court: Any) -> list[Any]:
    statement = court.statement(1)
    return [statement, court.address("expert"), court.signed(statement)]


def _statement_id(court: Any) -> bytes:
    return court.add(court.statement(1))


@cache
def _gathered() -> Any:
    """Return the machine with the crowd: all have money, and a title and a grant went through the former holder."""
    court = fresh()
    for name, roles in {**MEMBERS, "suspended": ALL, "expired": ALL}.items():
        court.admit(name, roles)
        court.pay_in(name, 5 * PRICE)
    court.do("office", "Members.suspend", court.address("suspended"))
    court.admit("expired", ALL, until=court.now + 1)
    for seller, buyer in (("owner", "former"), ("former", "owner")):
        court.do(seller, "ModelTitles.transferByDeed", TITLE, court.address(buyer), word("deed"))
    bought = court.deliver(court.buy(1, "former"))
    court.do("former", "Market.offerGrant", bought, PRICE, court.now + 1)
    court.do("licensee", "Market.buyGrant", 3, word("a"), MUCH)
    assert court.deliver(3) == GRANT
    court.turn(2)
    return court


@pytest.fixture
def court():
    return copy(_gathered())


def call(court: Any, who: str, row: Row, args: list[Any]) -> None:
    """Call a function by its name, or by its whole signature where the name is overloaded."""
    if "(" not in row.call:
        court.do(who, row.call, *args)
        return
    name, signature = row.call.split(".")
    types = signature[signature.index("(") + 1 : -1].split(",")
    target = court.addresses[name]
    data = keccak256(signature.encode())[:4] + encode(types, args)
    done = court._apply(who, target, data, court.state.get_code(target))
    if done.is_error:
        raise refusal(bytes(done.output))


def refused(court: Any, who: str, row: Row, args: list[Any]) -> None:
    with pytest.raises(CountermarkError) as caught:
        call(court, who, row, args)
    assert caught.value.params["error"], f"{row.call} refuses {who} without a name"


def succeeds(court: Any, who: str, row: Row, args: list[Any]) -> None:
    call(copy(court), who, row, args)


def lapse(court: Any, who: str) -> list[Prepare]:
    """Two ways in which a member's roles end."""
    address, roles = court.address(who), court.view("Members.memberOf", court.address(who))["roles"]

    def suspend(court: Any) -> None:
        court.do("deployer", "Members.suspend", address)

    def expire(court: Any) -> None:
        court.do("deployer", "Members.admit", address, word("o"), word("k"), roles, court.now + 1)
        court.turn(1)

    return [suspend, expire]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.call} by {row.by}")
def test_everybody_but_the_right_caller_is_refused_and_nothing_changes(court, row):
    row.given(court)
    args = row.args(court)
    for who in sorted(row.right & {*CROWD, row.by} - {None}):
        succeeds(court, who, row, args)
    before = court.state.make_state_root()
    for who in set(CROWD) - row.right:
        refused(court, who, row, args)
    assert court.state.make_state_root() == before


MEMBER_ROWS = [row for row in ROWS if row.by and row.by not in (*CONTRACTS, "stranger")]


@pytest.mark.parametrize("row", MEMBER_ROWS, ids=lambda row: f"{row.call} by {row.by}")
def test_what_a_hold_stops_and_what_it_does_not(court, row):
    row.given(court)
    args = row.args(court)
    court.hold_account(row.by)
    (refused if row.held else succeeds)(court, row.by, row, args)


@pytest.mark.parametrize("way", [0, 1], ids=["suspended", "expired"])
@pytest.mark.parametrize("row", MEMBER_ROWS, ids=lambda row: f"{row.call} by {row.by}")
def test_what_the_end_of_a_membership_stops_and_what_it_does_not(court, row, way):
    row.given(court)
    args = row.args(court)
    lapse(court, row.by)[way](court)
    (refused if row.lapsed else succeeds)(court, row.by, row, args)


def test_the_table_has_every_function_that_writes():
    def writes(entry: dict[str, Any]) -> bool:
        return entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")

    def signature(name: str, entry: dict[str, Any]) -> str:
        return f"{name}.{entry['name']}({','.join(_type(item) for item in entry['inputs'])})"

    every = {signature(name, entry) for name in CONTRACTS for entry in artefact(name)["abi"] if writes(entry)}
    listed = {row.call for row in ROWS}
    missing = {text for text in every if text not in listed and text.split("(")[0] not in listed}
    assert missing == set()
    assert {text.split("(")[0] for text in listed} == {text.split("(")[0] for text in every}
