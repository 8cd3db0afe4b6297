"""Gas per operation: deterministic, so the README's table is held to the unit."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from countermark.adapters.contracts import CONTRACTS
from countermark.adapters.records import Role

README = Path(__file__).parents[2] / "contracts" / "README.md"


def word(text):
    return text.encode().rjust(32, b"\x01")


def measured(world, conditions):
    web3 = world.ledger.web3
    gas = {f"deploy {name}": web3.eth.get_block(1 + at)["gasUsed"] for at, name in enumerate(CONTRACTS)}
    gas["Directory.found"] = web3.eth.get_block(1 + len(CONTRACTS))["gasUsed"]

    def act(label, *call):
        gas[label] = world.do(*call).gas_used

    owner = world.address("owner")
    gas["Members.admit"] = world.admit("new", Role.REGULATOR).gas_used
    act("Members.identify", "office", "Members.identify", owner, word("proof"), world.clock.seconds + 1000)
    held = bytes([2]) + (9).to_bytes(31, "big"), world.clock.seconds + 1000, word("case"), word("reason")
    act("Members.hold", "new", "Members.hold", *held)
    act("Members.release", "new", "Members.release", held[0], word("reason"))
    act("Directory.propose", "office", "Directory.propose", b"market.fee".ljust(32, b"\0"), 100)
    world.clock.turn(86_400)
    act("Directory.activate", "office", "Directory.activate", 1)
    act("ModelTitles.register", "office", "ModelTitles.register", *world.registration(1, bps=100))
    act("ModelTitles.register (1 parent)", "office", "ModelTitles.register", *world.registration(2, parents=[(1, 100)]))
    act("ModelTitles.commitKey", "office", "ModelTitles.commitKey", 1, word("k1"))
    act("ModelTitles.transferByDeed", "owner", "ModelTitles.transferByDeed", 2, world.address("other"), word("deed"))
    act("Grants.offer", "owner", "Grants.offer", 1, word("terms"), conditions(price=100, bond=10, notice=3600))
    act("Grants.grant (first)", "owner", "Grants.grant", *world.grant_args(1, "a"))
    act("Grants.grant (next)", "owner", "Grants.grant", *world.grant_args(1, "b"))
    act("Grants.revoke", "owner", "Grants.revoke", 1, word("r"))
    act("Grants.withdrawNotice", "owner", "Grants.withdrawNotice", 1)
    act("Grants.commitBatch", "office", "Grants.commitBatch", word("c"), 1000)
    trade(world, conditions, act)
    act("Anchors.anchor (first)", "office", "Anchors.anchor", word("log"), 10, word("r10"), word("c10"))
    act("Anchors.anchor (next)", "office", "Anchors.anchor", word("log"), 20, word("r20"), word("c20"))
    return gas


def trade(world, conditions, act):
    """What the market does, each with fresh accounts or not as it comes; the second of its kind where that differs."""
    vault, day, court = world.ledger.deployment["contracts"]["Revenue"], 86_400, "new judge"
    world.admit(court, Role.ARBITER)
    act("SettlementToken.mint", "office", "SettlementToken.mint", world.address("licensee"), 10**6, word("bank 1"))
    for number, name in enumerate(("owner", "other", "office"), 2):
        world.do("office", "SettlementToken.mint", world.address(name), 10**6, word(f"bank {number}"))
    act("SettlementToken.approve", "licensee", "SettlementToken.approve", vault, 10**6)
    for name in ("owner", "other", "office"):
        world.do(name, "SettlementToken.approve", vault, 10**6)

    terms = conditions(price=1000, bond=100, duration=30 * day, on_market=True, resale=True, resale_bps=500)
    world.do("owner", "Grants.offer", 1, word("market terms"), terms)
    now = world.clock.seconds
    act("Market.buyLicense", "licensee", "Market.buyLicense", 2, word("a"), now, 1000, 100)
    act("Market.deliver (license)", "office", "Market.deliver", 1, word("m1"))
    act("Market.offerGrant", "licensee", "Market.offerGrant", 3, 800, now + day)
    act("Market.buyGrant", "other", "Market.buyGrant", 2, word("b"), 800)
    act("Market.deliver (resale)", "office", "Market.deliver", 2, word("m2"))
    act("Market.offerTitle", "owner", "Market.offerTitle", 1, 5000, word("deed"), now + day)
    act("Market.buyTitle", "other", "Market.buyTitle", 3, 5000)
    act("Revenue.claim", "owner", "Revenue.claim")

    act("FileSales.offer", "other", "FileSales.offer", 1, 900, 100, word("t"), now + day)
    roots = word("plain"), word("cipher"), sha256(word("key")).digest(), 1000, word("attested"), bytes(32)
    act("FileSales.deliver", "office", "FileSales.deliver", 1, 4, *roots, 900)
    act("FileSales.pay", "other", "FileSales.pay", 1, 900)
    act("FileSales.reveal", "office", "FileSales.reveal", 1, word("key"))
    world.clock.turn(4 * day)
    act("FileSales.settle", "office", "FileSales.settle", 1)

    subject = bytes([3]) + (4).to_bytes(31, "big")
    world.do("other", "ModelTitles.transferByDeed", 1, world.address("owner"), word("deed back"))
    act("Disputes.open", "owner", "Disputes.open", subject, world.address("other"), word("e"), 3)
    act("Disputes.respond", "other", "Disputes.respond", 1, word("r"))
    act("Disputes.rule", court, "Disputes.rule", 1, True, 1 << 2 | 1 << 4, word("ruling"))
    world.clock.turn(15 * day)
    act("Disputes.execute (revoke, slash)", "office", "Disputes.execute", 1)


def test_the_table_in_the_readme_is_what_operations_cost(world, conditions):
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", README.read_text(), re.MULTILINE)
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == measured(world, conditions)
