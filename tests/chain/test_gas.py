"""Gas per operation: deterministic, so the README's table is held to the unit."""

from __future__ import annotations

import re
from pathlib import Path

from countermark.adapters.contracts import CONTRACTS
from countermark.adapters.records import Role

README = Path(__file__).parents[2] / "contracts" / "README.md"


def word(text):
    return text.encode().rjust(32, b"\x01")


def measured(world):
    web3 = world.ledger.web3
    gas = {f"deploy {name}": web3.eth.get_block(1 + at)["gasUsed"] for at, name in enumerate(CONTRACTS)}

    def act(label, *call):
        gas[label] = world.do(*call).gas_used

    gas["Members.admit"] = world.admit("new", Role.LICENSEE).gas_used
    act(
        "ModelTitles.register",
        "office",
        "ModelTitles.register",
        world.address("owner"),
        word("m"),
        word("w"),
        word("k"),
    )
    act("ModelTitles.commitKey", "office", "ModelTitles.commitKey", 1, word("k1"))
    act("Grants.offer", "owner", "Grants.offer", 1, word("terms"), True, True, 0)
    act("Grants.grant (first)", "owner", "Grants.grant", *world.grant_args(1, "a"))
    act("Grants.grant (next)", "owner", "Grants.grant", *world.grant_args(1, "b"))
    act("Grants.revoke", "owner", "Grants.revoke", 1, word("r"))
    act("Grants.commitBatch", "office", "Grants.commitBatch", word("c"), 1000)
    act("Grants.transferFrom", "licensee", "Grants.transferFrom", world.address("licensee"), world.address("other"), 2)
    act("Anchors.anchor (first)", "office", "Anchors.anchor", word("log"), 10, word("r10"), word("c10"))
    act("Anchors.anchor (next)", "office", "Anchors.anchor", word("log"), 20, word("r20"), word("c20"))
    return gas


def test_the_table_in_the_readme_is_what_operations_cost(world):
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", README.read_text(), re.MULTILINE)
    assert {name: int(gas.replace(",", "")) for name, gas in rows} == measured(world)
