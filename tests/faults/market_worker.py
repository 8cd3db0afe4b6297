"""Child process of test_kill_market: does one act on the market after another, and says so once each is acknowledged.

Usage: python market_worker.py WORKSPACE SEED. Reads the act to begin with from stdin (an act that was interrupted), one
JSON line or "null"; prints "ready", then "begin <act>" and "done <act> <result>" lines for ever.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from countermark.bootstrap import open_office
from countermark.core.times import from_unix, read_time
from countermark.errors import AdapterError, CountermarkError
from countermark.workflows import market

PASSPHRASE = "a passphrase for tests"
BUYERS = ("alice", "bob")


def possible(office, chance: random.Random) -> Iterator[dict]:
    """Yield acts that can be done now, each with everything that it takes to do it again."""
    for name in BUYERS:
        yield {"kind": "mint", "to": name, "amount": chance.randint(1, 5000), "reference": f"bank {chance.random()}"}
    with office.store.transaction() as transaction:
        people = {body["id"]: body["name"] for body in transaction.all("party")}
        waiting = {body["sale"]: body for body in transaction.all("purchase") if body["grant"] is None}
        grants = list(transaction.all("grant"))
    buying = {sale: people[body["waiting"]["licensee"]] for sale, body in waiting.items()}
    for name in set(BUYERS) - set(buying.values()):
        yield {"kind": "buy", "buyer": name, "order": f"order {chance.random()}"}
    for sale, name in buying.items():
        yield {"kind": "deliver", "sale": sale}
        yield {"kind": "refund", "sale": sale, "buyer": name}
    for name in ("owner", *BUYERS):
        if market.balance(office, name)["credit"]:
            yield {"kind": "claim", "who": name}
    for grant in grants:
        until = office.ledger.view("Revenue", "reportedUntil", grant["id"])
        start = max(until, int(read_time(grant["starts"]).timestamp()))
        if start + 1 < time.time() - 1:
            gross = chance.randint(1000, 9000)
            period = {"from": start, "to": start + 1}
            yield {"kind": "report", "grant": grant["id"], "who": people[grant["licensee"]], "gross": gross, **period}


def perform(office, act: dict) -> dict:
    kind = act["kind"]
    if kind == "mint":
        return market.issue_money(office, act["to"], act["amount"], act["reference"])
    if kind == "buy":
        return market.buy_license(office, 1, act["buyer"], order=act["order"])
    if kind == "deliver":
        return {"grant": market.deliver_license(office, act["sale"]).id}
    if kind == "refund":
        return market.refund(office, act["sale"])
    if kind == "claim":
        return market.claim(office, act["who"])
    since, until = from_unix(act["from"]), from_unix(act["to"])
    return market.report_revenue(office, act["grant"], since=since, until=until, gross=act["gross"])


def repeat(office, act: dict) -> dict:
    """Do an interrupted act again: the ledger refuses what was done, where its result was already handed out."""
    try:
        return perform(office, act)
    except AdapterError:
        raise
    except CountermarkError as error:
        return {"refused": str(error)}


def main() -> None:
    workspace, seed = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    interrupted = json.loads(sys.stdin.readline())
    with open_office(workspace, PASSPHRASE) as office:
        print("ready", flush=True)
        while True:
            act = interrupted or fair(chance, list(possible(office, chance)))
            print(f"begin {json.dumps(act)}", flush=True)
            result = repeat(office, act) if interrupted else perform(office, act)
            interrupted = None
            print(f"done {json.dumps(act)} {json.dumps(result)}", flush=True)


def fair(chance: random.Random, acts: list[dict]) -> dict:
    """Choose a kind first, so that each is as frequent as it can be."""
    kind = chance.choice(sorted({act["kind"] for act in acts}))
    return chance.choice([act for act in acts if act["kind"] == kind])


if __name__ == "__main__":
    main()
