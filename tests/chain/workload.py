"""A day on the ledger: one of everything that its contracts do, from admissions to a case and its execution.

Every block has a second of its own, so that the same transactions can be replayed on a machine that wants increasing
times.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from countermark.adapters.contracts import artefact
from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Receipt, Role
from countermark.adapters.statements import sign_statement
from countermark.adapters.transactions import account_of
from countermark.core.keys import Secret
from countermark.core.statements import Statement

CHAIN_ID = 20_261_122
DAY = 86_400
FOREVER = 2**64 - 1
PEOPLE = {
    "owner": Role.LICENSOR,
    "second": Role.LICENSOR | Role.LICENSEE,
    "licensee": Role.LICENSEE,
    "buyer": Role.LICENSEE | Role.LICENSOR,
    "regulator": Role.REGULATOR,
    "arbiter": Role.ARBITER,
    "judge": Role.ARBITER,
    "expert": Role.EXPERT,
    "marker": Role.MARKER,
    "deputy": Role.GOVERNOR,
}


def secret(name: str) -> Secret:
    """Return the account of somebody; ``office`` is the founder's."""
    return Secret(name.encode().ljust(32, b"."))


def word(text: str) -> bytes:
    """Return 32 bytes that stand for a digest."""
    return text.encode().rjust(32, b"\x01")


def conditions(**changes: Any) -> tuple[Any, ...]:
    """Return the conditions of an offer on the market that allows everything."""
    everything = {
        "price": 10_000,
        "bond": 2_000,
        "duration": 30 * DAY,
        "expires_at": 0,
        "seats": 0,
        "notice": 0,
        "scope": 1,
        "revenue_bps": 1_000,
        "resale_bps": 500,
        "revocable": True,
        "resale": True,
        "renewable": True,
        "on_market": True,
        "territory": bytes(32),
    }
    return tuple((everything | changes).values())


class TurnableClock:
    """A clock that stands still between turns."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self._now

    def turn(self, seconds: int) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class Day:
    """Acts on a ledger in a file, and the numbers of what they made."""

    path: Path
    ledger: Ledger
    clock: TurnableClock
    made: dict[str, int] = field(default_factory=dict)

    def now(self) -> int:
        return int(self.clock().timestamp())

    def turn(self, seconds: int) -> None:
        self.clock.turn(seconds)

    def secret(self, who: str) -> Secret:
        return secret(who)

    def address(self, who: str) -> str:
        return self.ledger.address_of(secret(who))

    def do(self, who: str, call: str, *args: Any, value: int = 0) -> Receipt:
        self.turn(1)
        contract, function = call.split(".")
        return self.ledger.submit(self.ledger.prepare_call(secret(who), contract, function, args, value))

    def subject(self, kind: int, number: int) -> bytes:
        return bytes([kind]) + number.to_bytes(31, "big")


def one_day(path: Path) -> Day:
    """Create a ledger in a file, let everything happen once, and close it."""
    clock = TurnableClock()
    day = Day(path, Ledger.create(path, chain_id=CHAIN_ID, treasury=secret("office"), clock=clock), clock)
    try:
        play(day)
    finally:
        day.ledger.close()
    return day


def play(day: Day) -> None:
    """Let everything happen once."""
    trade = (grants, money, licenses, resale, revenue, title_sales, files)
    for part in (members, governance, anchors, titles, *trade, cases, bonds, failures):
        part(day)


def members(day: Day) -> None:
    for name, roles in PEOPLE.items():
        call = (day.address(name), word(name), word(f"{name} key"), roles, FOREVER)
        day.do("office", "Members.admit", *call, value=10**18)
    day.do("owner", "Members.rotateKey", day.address("owner"), word("new key"))
    day.do("office", "Members.identify", day.address("owner"), word("certificate"), FOREVER)
    day.do("office", "Members.suspend", day.address("licensee"))
    call = (day.address("licensee"), word("licensee"), word("licensee key"), Role.LICENSEE, FOREVER)
    day.do("office", "Members.admit", *call)
    held = day.subject(1, int(day.address("owner"), 16))
    day.do("regulator", "Members.hold", held, day.now() + DAY, word("case"), word("reason"))
    day.do("regulator", "Members.release", held, word("over"))


def governance(day: Day) -> None:
    name = b"market.fee".ljust(32, b"\0")
    for value in (100, 250):
        receipt = day.do("office", "Directory.propose", name, value)
        day.made["proposal"] = receipt.event("Proposed")["proposalId"]
    day.do("office", "Directory.withdraw", 1)
    day.do("deputy", "Directory.approve", day.made["proposal"])
    day.turn(2 * DAY)
    day.do("office", "Directory.activate", day.made["proposal"])


def anchors(day: Day) -> None:
    for size in (10, 20):
        day.do("office", "Anchors.anchor", word("log"), size, word(f"r{size}"), word(f"c{size}"))
    day.do("office", "Anchors.handOver", word("log"), day.address("office"))


def titles(day: Day) -> None:
    def register(to: str, name: str, parents: list[tuple[int, int]]) -> int:
        call = (day.address(to), word(f"m {name}"), word(f"w {name}"), word(f"k {name}"), parents, 500, True)
        return int(day.do("office", "ModelTitles.register", *call).event("TitleRegistered")["titleId"])

    base = day.made["base"] = register("owner", "base", [])
    day.do("office", "ModelTitles.commitKey", base, word("k2"))
    day.do("owner", "ModelTitles.setDerivativeTerms", base, False, 800)
    day.do("owner", "ModelTitles.approveDerivative", base, word("w tuned"), 700)
    day.made["tuned"] = register("second", "tuned", [(base, 700)])
    spare = day.made["spare"] = register("owner", "spare", [])
    day.do("owner", "ModelTitles.approve", day.address("second"), spare)
    day.do("second", "ModelTitles.transferByDeed", spare, day.address("second"), word("deed"))
    day.do("second", "ModelTitles.setApprovalForAll", day.address("owner"), True)


def grants(day: Day) -> None:
    def offer(**changes: Any) -> int:
        call = (day.made["base"], word("terms"), conditions(**changes))
        return int(day.do("owner", "Grants.offer", *call).event("Offered")["offerId"])

    def grant(number: int, mark: str) -> int:
        window = (day.now(), day.now() + 10 * DAY)
        call = (number, day.address("licensee"), word("acceptance"), word(mark), *window)
        return int(day.do("owner", "Grants.grant", *call).event("Granted")["grantId"])

    closed = offer(price=0, bond=0, on_market=False, notice=4 * DAY)
    revoked = grant(closed, "mark 1")
    day.do("owner", "Grants.revoke", revoked, word("reason"))
    day.do("owner", "Grants.withdrawNotice", revoked)
    day.do("office", "Grants.commitBatch", word("batch"), 1000)
    day.do("owner", "Grants.withdrawOffer", closed)
    day.made["given"] = revoked
    day.made["offer"] = offer()


def money(day: Day) -> None:
    vault = day.ledger.deployment["contracts"]["Revenue"]
    for who in ("licensee", "buyer", "second", "owner", "marker"):
        day.do("office", "SettlementToken.mint", day.address(who), 1_000_000, word(f"bank {who}"))
        day.do(who, "SettlementToken.approve", vault, 900_000)
    day.do("buyer", "SettlementToken.transfer", day.address("licensee"), 5)
    day.do("buyer", "SettlementToken.redeem", 1000, word("out"))


def licenses(day: Day) -> None:
    sale = buy(day, "licensee")
    receipt = day.do("office", "Market.deliver", sale, word("mark bought"))
    day.made["sale"], day.made["grant"] = sale, receipt.event("Granted")["grantId"]
    day.do("office", "Market.refund", buy(day, "buyer"))
    day.do("licensee", "Market.renew", day.made["grant"], 10_000)


def buy(day: Day, who: str) -> int:
    call = (day.made["offer"], word("acceptance"), day.now() + 1, 10_000, 1000)
    return int(day.do(who, "Market.buyLicense", *call).event("Paid")["saleId"])


def resale(day: Day) -> None:
    for price in (9_000, 9_999):
        receipt = day.do("licensee", "Market.offerGrant", day.made["grant"], price, day.now() + DAY)
        sale = receipt.event("GrantOffered")["saleId"]
        if price == 9_000:
            day.do("licensee", "Market.withdraw", sale)
    day.do("buyer", "Market.buyGrant", sale, word("acceptance 2"), 9_999)
    receipt = day.do("office", "Market.deliver", sale, word("mark resold"))
    day.made["resale"], day.made["resold"] = sale, receipt.event("Resold")["newGrantId"]


def revenue(day: Day) -> None:
    people = [day.address("second"), day.address("licensee")]
    day.do("owner", "Revenue.setSplits", day.made["base"], people, [1000, 333])
    start = day.now()
    day.turn(100)
    call = (day.made["resold"], start, start + 50, 123_457, word("report"))
    day.do("buyer", "Revenue.report", *call)
    for who in ("owner", "licensee", "office"):
        day.do(who, "Revenue.claim")


def title_sales(day: Day) -> None:
    spare = day.made["spare"]
    for price in (500, 700):
        day.do("second", "ModelTitles.acceptMarket", spare)
        receipt = day.do("second", "Market.offerTitle", spare, price, word("deed 2"), day.now() + DAY)
        sale = receipt.event("TitleOffered")["saleId"]
        if price == 500:
            day.do("second", "Market.withdraw", sale)
    day.do("buyer", "Market.buyTitle", sale, 700)


def files(day: Day) -> None:
    """Four copies of one block: one is right, one is not, one is given up, and one's key does not come."""
    call = (day.made["base"], 1000, 300, word("use"), day.now() + 9 * DAY)
    listing = day.made["listing"] = day.do("owner", "FileSales.offer", *call).event("Listed")["listingId"]
    block = bytes(512)
    leaf = hashlib.sha256(word("plain") + block).digest()
    path = [bytes(32)] * 7  # a group of eight, of which only the first is there
    root = hashlib.sha256(b"".join([leaf, *path])).digest()

    def deliver(key: str) -> int:
        digest = hashlib.sha256(word(key)).digest()
        package = (listing, day.made["resold"], word("plain root"), root, digest, 1, word("attested"), bytes(32), 1000)
        return int(day.do("marker", "FileSales.deliver", *package).event("Delivered")["saleId"])

    right, wrong, late, unwanted = (deliver(f"key {number}") for number in range(4))
    for sale in (right, wrong, late):
        day.do("buyer", "FileSales.pay", sale, 1000)
    for number, sale in enumerate((right, wrong)):
        day.do("marker", "FileSales.reveal", sale, word(f"key {number}"))
    day.do("buyer", "FileSales.complain", wrong, word("key 1"), 0, block, word("plain"), path)
    day.do("marker", "FileSales.abort", unwanted)
    day.turn(3 * DAY)
    day.do("office", "FileSales.abort", late)
    day.do("office", "FileSales.settle", right)
    day.made["file"] = right


def bonds(day: Day) -> None:
    """The bond for the master of one listing goes to the buyer, that of another one back to the seller."""
    call = (day.subject(5, day.made["file"]), day.address("owner"), word("evidence"), 5)
    case = day.do("buyer", "Disputes.open", *call).event("CaseOpened")["caseId"]
    day.turn(8 * DAY)
    day.do("arbiter", "Disputes.rule", case, True, 16, word("ruling"))
    day.turn(15 * DAY)
    day.do("office", "Disputes.execute", case)
    call = (day.made["base"], 1000, 300, word("use"), day.now() + 9 * DAY)
    listing = day.do("owner", "FileSales.offer", *call).event("Listed")["listingId"]
    day.do("owner", "FileSales.withdrawListing", listing)


def cases(day: Day) -> None:
    appealed_to_the_end(day)
    stayed_and_withdrawn(day)
    tagged_and_lifted(day)
    lapsed(day)


def appealed_to_the_end(day: Day) -> None:
    revoke_and_slash = 4 | 16
    call = (day.subject(3, day.made["resold"]), day.address("buyer"), word("evidence"), 3)
    case = day.made["case"] = day.do("owner", "Disputes.open", *call).event("CaseOpened")["caseId"]
    day.do("buyer", "Disputes.respond", case, word("answer"))
    for name in ("report", "draft"):
        statement = Statement(case, word("schema"), word(name), day.now() + DAY)
        place = {
            "chain_id": day.ledger.deployment["chain_id"],
            "contract": day.ledger.deployment["contracts"]["Disputes"],
        }
        signature = sign_statement(secret("expert"), statement, **place)
        fields = (case, statement.schema, statement.digest, statement.expires_at)
        receipt = day.do("owner", "Disputes.addStatement", fields, day.address("expert"), signature)
    day.do("expert", "Disputes.revokeStatement", receipt.event("StatementAdded")["statementId"])
    day.do("arbiter", "Disputes.rule", case, True, revoke_and_slash, word("ruling"))
    day.do("buyer", "Disputes.appeal", case, word("grounds"))
    day.do("judge", "Disputes.ruleAppeal", case, True, revoke_and_slash, word("ruling 2"))
    day.do("office", "Disputes.execute", case)


def stayed_and_withdrawn(day: Day) -> None:
    day.do("owner", "Grants.revoke", day.made["given"], word("reason"))
    call = (day.subject(3, day.made["given"]), day.address("owner"), word("evidence"), 7)
    case = day.do("licensee", "Disputes.open", *call).event("CaseOpened")["caseId"]
    day.do("licensee", "Disputes.withdraw", case)


def tagged_and_lifted(day: Day) -> None:
    base = day.made["base"]

    def execute(remedies: int) -> None:
        call = (day.subject(2, base), day.address("owner"), word("evidence"), 1)
        case = day.do("second", "Disputes.open", *call).event("CaseOpened")["caseId"]
        day.turn(8 * DAY)
        day.do("arbiter", "Disputes.rule", case, True, remedies, word("ruling"))
        day.turn(15 * DAY)
        day.do("office", "Disputes.execute", case)

    def earn() -> None:
        day.turn(100)
        period = (day.now() - 50, day.now())
        day.do("licensee", "Revenue.report", day.made["given"], *period, 50_000, word("report 2"))

    tag, forfeit = 1, 8
    execute(tag)
    earn()
    execute(forfeit)
    earn()
    day.do("second", "Disputes.liftTag", base, word("settled"))
    day.do("office", "Revenue.releaseWithheld", base)


def lapsed(day: Day) -> None:
    sale = buy(day, "licensee")
    grant = day.do("office", "Market.deliver", sale, word("mark last")).event("Granted")["grantId"]
    call = (day.subject(1, int(day.address("owner"), 16)), day.address("owner"), word("evidence"), 7)
    case = day.do("licensee", "Disputes.open", *call).event("CaseOpened")["caseId"]
    day.turn(70 * DAY)
    day.do("office", "Disputes.lapse", case)
    day.do("office", "Market.returnBond", grant)


def failures(day: Day) -> None:
    """Mine what no client would send: a call that is refused, and one that runs out of gas."""
    web3, office = day.ledger.web3, account_of(secret("office"))
    address = day.ledger.deployment["contracts"]["Grants"]
    data = web3.eth.contract(abi=artefact("Grants")["abi"]).encode_abi("commitBatch", [word("batch"), 1000])
    for gas in (200_000, 30_000):
        day.turn(1)
        fees = {"type": 2, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 0, "chainId": CHAIN_ID}
        turn = {"nonce": web3.eth.get_transaction_count(office.address), "gas": gas}
        call = {"to": address, "value": 0, "data": data}
        web3.eth.send_raw_transaction(office.sign_transaction(fees | turn | call).raw_transaction)
