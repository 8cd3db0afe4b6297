"""A ledger with its members, a clock to turn, and shorthand to act and to be refused."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Receipt, Role
from countermark.core.keys import Secret
from countermark.errors import CountermarkError

CHAIN_ID = 20_261_121
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FOREVER = 2**64 - 1


class TurnableClock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())

    def turn(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    ledger: Ledger
    clock: TurnableClock

    def secret(self, name: str) -> Secret:
        return Secret(name.encode().ljust(32, b"."))

    def address(self, name: str) -> str:
        return self.ledger.address_of(self.secret(name))

    def do(self, who: str, call: str, *args: Any, value: int = 0) -> Receipt:
        contract, function = call.split(".")
        return self.ledger.submit(self.ledger.prepare_call(self.secret(who), contract, function, args, value))

    def refused(self, kind: type[CountermarkError], reason: str, who: str, call: str, *args: Any) -> None:
        height = self.ledger.web3.eth.block_number
        with pytest.raises(kind) as caught:
            self.do(who, call, *args)
        assert caught.value.params["error"] == reason
        assert str(caught.value)
        assert self.ledger.web3.eth.block_number == height

    def admit(self, name: str, roles: Role, until: int = FOREVER) -> Receipt:
        return self.do(
            "office", "Members.admit", self.address(name), word(name), word(name + " key"), roles, until, value=10**18
        )

    def registration(
        self, number: object = 1, to: str = "owner", parents: Sequence[tuple[int, int]] = (), bps: int | None = None
    ) -> list[Any]:
        """Arguments of a registration; ``bps`` opens the title to derivatives at that share."""
        return [
            self.address(to), word("m"), word(f"w{number}"), word("k"), list(parents), bps or 0, bps is not None
        ]  # fmt: skip

    def title(self, number: object = 1, **given: Any) -> int:
        receipt = self.do("office", "ModelTitles.register", *self.registration(number, **given))
        return int(receipt.event("TitleRegistered")["titleId"])

    def offer(self, title: int, *, by: str = "owner", **given: Any) -> int:
        receipt = self.do(by, "Grants.offer", title, word("terms"), conditions(**given))
        return int(receipt.event("Offered")["offerId"])

    def govern(self, name: str, value: int) -> None:
        """Change what the Directory says, as its one governor, after the delay."""
        made = self.do("office", "Directory.propose", name.encode().ljust(32, b"\0"), value).event("Proposed")
        self.clock.turn(86_400)
        self.do("office", "Directory.activate", made["proposalId"])

    def stand_in(self, name: str) -> str:
        """Let an account act as the contract of that name."""
        self.admit(name, Role.EXPERT)
        self.govern(name, int(self.address(name), 16))
        return name

    def hold(self, kind: int, number: int, seconds: int = 1000) -> None:
        """Let the regulator hold a subject: its kind as in Members.sol, and its number or address."""
        self.admit("regulator", Role.REGULATOR)
        until = self.clock.seconds + seconds
        self.do("regulator", "Members.hold", subject(kind, number), until, word("case"), word("reason"))

    def grant_args(self, offer: int, mark: str, start: int = 0, length: int = 1000, to: str = "licensee") -> list[Any]:
        first = self.clock.seconds + start
        return [offer, self.address(to), word("acceptance"), word(mark), first, first + length]

    def grant(self, offer: int, mark: str, **window: Any) -> int:
        return int(
            self.do("owner", "Grants.grant", *self.grant_args(offer, mark, **window)).event("Granted")["grantId"]
        )


def word(text: str) -> bytes:
    return text.encode().rjust(32, b"\x01")


def subject(kind: int, number: int) -> bytes:
    return bytes([kind]) + number.to_bytes(31, "big")


def conditions(**given: Any) -> tuple[Any, ...]:
    """Conditions of an offer, as Ports.sol orders them: revocable at once, for up to a million seconds."""
    fields = {
        "price": 0, "bond": 0, "duration": 1_000_000, "expires_at": 0, "seats": 0, "notice": 0, "scope": 1,
        "revenue_bps": 0, "resale_bps": 0, "revocable": True, "resale": False, "renewable": False,
        "on_market": False, "territory": bytes(32),
    }  # fmt: skip
    assert given.keys() <= fields.keys()
    return tuple((fields | given).values())


@pytest.fixture(name="conditions")
def conditions_fixture() -> Callable[..., tuple[Any, ...]]:
    """``conditions`` itself."""
    return conditions


@pytest.fixture(scope="session")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger file with an office, an owner and two licensees."""
    path, clock = tmp_path_factory.mktemp("ledger") / "ledger.sqlite", TurnableClock()
    office = Secret(b"office".ljust(32, b"."))
    world = World(Ledger.create(path, chain_id=CHAIN_ID, treasury=office, clock=clock), clock)
    world.admit("owner", Role.LICENSOR)
    world.admit("licensee", Role.LICENSEE)
    world.admit("other", Role.LICENSEE | Role.LICENSOR)
    world.ledger.close()
    return path


@pytest.fixture
def fresh_world(populated: Path, tmp_path: Path) -> Iterator[Callable[[], World]]:
    opened: list[World] = []

    def make() -> World:
        path, clock = tmp_path / f"{len(opened)}.sqlite", TurnableClock()
        shutil.copy(populated, path)
        opened.append(World(Ledger.open(path, clock=clock), clock))
        return opened[-1]

    yield make
    for world in opened:
        world.ledger.close()


@pytest.fixture(scope="module")
def shared(populated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Iterator[int]]]:
    """A world with one title that a module's examples share, and serial numbers for their marks."""
    path, clock = tmp_path_factory.mktemp("shared") / "ledger.sqlite", TurnableClock()
    shutil.copy(populated, path)
    world = World(Ledger.open(path, clock=clock), clock)
    world.title()
    yield world, itertools.count()
    world.ledger.close()


@pytest.fixture
def world(fresh_world: Callable[[], World]) -> World:
    return fresh_world()
