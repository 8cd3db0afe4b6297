"""All contracts on the bare machine, the real Disputes among them, with parties who have money and something at stake.

There are a title, a model derived from it, and a grant with a bond.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from countermark.adapters.contracts import read_event, read_outputs
from countermark.adapters.records import Role
from countermark.adapters.statements import sign_statement
from countermark.adapters.transactions import account_of
from countermark.core.keys import Secret
from countermark.core.statements import CaseKind, CaseState, Statement

from .bare import DAY, FOREVER, Bare, _context, _founded, word
from .bare import fresh as fresh_machine

RESPONSE, APPEAL = 7 * DAY, 14 * DAY
BOND, LICENSE_BOND, PRICE, MONEY = 10_000, 5_000, 100_000, 1_000_000
CHAIN_ID = 1
PARTIES = {
    "owner": Role.LICENSOR,
    "rival": Role.LICENSOR,
    "licensee": Role.LICENSEE,
    "other": Role.LICENSEE | Role.LICENSOR,
    "judge": Role.ARBITER,
    "second": Role.ARBITER,
    "expert": Role.EXPERT,
    "regulator": Role.REGULATOR,
}
TITLE, DERIVED, GRANT, SALE = 1, 2, 1, 1
TITLE_CASE, GRANT_CASE = (2, TITLE), (3, GRANT)


def subject(kind: int, number: int) -> bytes:
    return bytes([kind]) + number.to_bytes(31, "big")


def secret(name: str) -> Secret:
    return Secret(name.encode().ljust(32, b"."))


class Court(Bare):  # type: ignore[misc]
    """The machine with cases: parties have keys, so that experts can sign."""

    def __init__(self, state: Any, addresses: dict[str, bytes]) -> None:
        super().__init__(state, addresses)
        self.names |= {name: bytes.fromhex(account_of(secret(name)).address[2:]) for name in PARTIES}

    def view(self, call: str, *args: Any) -> Any:
        """Return what a view function answers, structs as dicts with names in snake_case."""
        return read_outputs(*call.split("."), self.read(call, *args))

    def admit(self, name: str, roles: Role, until: int = FOREVER) -> None:
        self.do("office", "Members.admit", self.address(name), word(name), word("key"), roles, until)

    def govern(self, name: str, value: int) -> None:
        """Change what the Directory says, after its delay."""
        proposal = self.do("office", "Directory.propose", name.encode().ljust(32, b"\0"), value).value
        self.turn(DAY)
        self.do("stranger", "Directory.activate", proposal)

    def open(
        self, who: str = "rival", against: str = "owner", about: tuple[int, int] = TITLE_CASE, kind: int = CaseKind.LEAK
    ) -> int:
        return int(self.do(who, *self.opening(about, against, kind=kind)).value)

    def opening(
        self,
        about: tuple[int, int] | bytes = TITLE_CASE,
        against: str = "owner",
        evidence: bytes = word("evidence"),
        kind: int = CaseKind.LEAK,
    ) -> tuple[Any, ...]:
        """Return a call that opens a case."""
        named = about if isinstance(about, bytes) else subject(*about)
        return "Disputes.open", named, self.address(against), evidence, kind

    def ruled(self, case: int, *, upheld: bool = True, remedies: int = 0, by: str = "judge") -> int:
        """Rule on a case, after the time for an answer if there is none."""
        if self.case(case)["response_digest"] == bytes(32):
            self.turn(RESPONSE)
        self.do(by, "Disputes.rule", case, upheld, remedies, word("ruling"))
        return case

    def executed(self, case: int, **ruling: Any) -> Any:
        """Rule on a case and carry it out."""
        self.ruled(case, **ruling)
        self.turn(APPEAL)
        return self.do("stranger", "Disputes.execute", case)

    def case(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.view("Disputes.caseRecord", number)
        return found

    def stage(self, number: int) -> CaseState:
        return CaseState(self.case(number)["state"])

    def pending(self, about: tuple[int, int] = TITLE_CASE) -> bool:
        return bool(self.read("Disputes.pending", subject(*about)))

    def clear(self, title: int = TITLE) -> bool:
        return bool(self.read("ModelTitles.isClear", title))

    def credits(self, *names: str) -> list[int]:
        return [self.credit(name) for name in names]

    def pot_of(self, case: int) -> int:
        return int(self.read("Revenue.inPot", self.address("Disputes"), case.to_bytes(32, "big")))

    def hold_account(self, name: str, days: int = 80) -> None:
        self.hold(subject(1, int.from_bytes(self.raw(name), "big")), days)

    @property
    def place(self) -> dict[str, Any]:
        return {"chain_id": CHAIN_ID, "contract": self.address("Disputes")}

    def statement(self, case: int, length: int = DAY) -> tuple[int, bytes, bytes, int]:
        return (case, word("schema"), word("report"), self.now + length)

    def signed(self, statement: tuple[int, bytes, bytes, int], by: str = "expert", **place: Any) -> bytes:
        return sign_statement(secret(by), Statement(*statement), **self.place | place)

    def add(self, statement: tuple[int, bytes, bytes, int], by: str = "expert", sender: str = "stranger") -> bytes:
        args = (statement, self.address(by), self.signed(statement, by))
        return bytes(self.do(sender, "Disputes.addStatement", *args).value)

    def _events(self, done: Any) -> list[tuple[str, dict[str, Any]]]:
        names = {address: name for name, address in self.addresses.items()}
        logs = ((names[address], topics, data) for address, topics, data in done.get_log_entries())
        found = (read_event(name, [topic.to_bytes(32, "big") for topic in topics], data) for name, topics, data in logs)
        return [event for event in found if event]


def furnish(court: Court) -> None:
    court.deploy("Disputes")
    court.set_parameter("Disputes", int.from_bytes(court.addresses["Disputes"], "big"))
    court.set_parameter("case.bond", BOND)
    court.set_parameter("market.fee", 0)
    for name, roles in PARTIES.items():
        court.admit(name, roles)
    for name in ("owner", "rival", "licensee", "other"):
        court.pay_in(name, MONEY)
    for number, parents in ((TITLE, []), (DERIVED, [(TITLE, 1_000)])):
        args = (court.address("owner"), word("m"), word(f"w{number}"), word("k"), parents, 0, False)
        court.do("office", "ModelTitles.register", *args)
    offer = court.offer(TITLE, price=PRICE, bond=LICENSE_BOND, duration=365 * DAY, notice=4 * DAY)
    court.deliver(court.buy(offer))


@cache
def _furnished() -> Court:
    start = fresh_machine()
    court = Court(start.state, start.addresses)
    furnish(court)
    return court


def fresh() -> Court:
    """A machine in the state after furnishing, of its own."""
    return copy(_furnished())


def copy(court: Court) -> Court:
    """Another machine in the same state."""
    court.state.persist()
    state, db = court.state, _founded()[1]
    context = type(state.execution_context)(**_context(state))
    other, now = Court(type(state)(db, context, state.state_root), dict(court.addresses)), court.now
    other.names, other.now = dict(court.names), now
    other.serial = itertools.count(next(court.serial))
    return other
