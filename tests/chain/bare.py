"""The contracts on a bare machine: messages from any sender, without keys, blocks or files, hundreds a second.

The state after deployment and founding is kept; every ``Bare`` starts from it. A sender is a name: a party's, whose
address follows from it, or a contract's, so that a test can speak for the Disputes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from eth.chains.base import MiningChain
from eth.consensus.noproof import NoProofConsensus
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.db.atomic import AtomicDB
from eth.vm.forks.cancun import CancunVM
from eth.vm.message import Message
from eth_abi.abi import decode, encode

from countermark.adapters.contracts import CONTRACTS, artefact, read_event, refusal
from countermark.adapters.records import Role
from countermark.core.events import checksum_address
from countermark.core.rlp import keccak256

START = 1_795_262_400
FOREVER = 2**64 - 1
GAS = 30_000_000
DAY = 86_400
FEE_BPS = 250

CAST = {
    "office": Role.GOVERNOR | Role.REGISTRAR | Role.TREASURER,
    "platform": Role.LICENSOR,
    "regulator": Role.REGULATOR,
    "maker": Role.LICENSOR,
    "owner": Role.LICENSOR,
    "heir": Role.LICENSOR | Role.LICENSEE,
    "partner": Role.EXPERT,
    "licensee": Role.LICENSEE,
    "second": Role.LICENSEE,
}

#: Stands for the Disputes: answers ``pending(subject)`` with the storage word at the subject.
STAND_IN = bytes.fromhex("6004355460005260206000f3")

#: In the order of ``Conditions`` in ``contracts/src/Ports.sol``.
CONDITIONS = {
    "price": 10_000,
    "bond": 3_000,
    "duration": 30 * DAY,
    "expires_at": 0,
    "seats": 0,
    "notice": 0,
    "scope": 1,
    "revenue_bps": 1_000,
    "resale_bps": 1_200,
    "revocable": True,
    "resale": True,
    "renewable": True,
    "on_market": True,
    "territory_digest": bytes(32),
}
SUBJECTS = {"account": 1, "title": 2, "grant": 3, "sale": 4}


def word(text: str) -> bytes:
    return text.encode().rjust(32, b"\x01")


def name_word(text: str) -> bytes:
    return text.encode().ljust(32, b"\0")


def raw_address(who: str) -> bytes:
    return keccak256(who.encode())[-20:]


@cache
def functions(contract: str) -> dict[str, tuple[bytes, list[str], list[str]]]:
    """Selector, argument types and result types of each function of a contract."""
    entries = [entry for entry in artefact(contract)["abi"] if entry["type"] == "function"]
    return {entry["name"]: _function(entry) for entry in entries}


def _function(entry: dict[str, Any]) -> tuple[bytes, list[str], list[str]]:
    inputs, outputs = ([_type(item) for item in entry[side]] for side in ("inputs", "outputs"))
    return keccak256(f"{entry['name']}({','.join(inputs)})".encode())[:4], inputs, outputs


def _type(item: dict[str, Any]) -> str:
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    return f"({','.join(map(_type, item['components']))}){item['type'][5:]}"


class Done:
    """What a call gave: its value, its events in order, and the gas of its execution."""

    def __init__(self, value: Any, events: list[tuple[str, dict[str, Any]]], gas: int) -> None:
        self.value, self.events, self.gas = value, events, gas

    def event(self, name: str) -> dict[str, Any]:
        return next(args for found, args in self.events if found == name)

    def all(self, name: str) -> list[dict[str, Any]]:
        return [args for found, args in self.events if found == name]


class Bare:
    """One machine. Amounts, times and addresses as in the contracts; addresses come out checksummed."""

    def __init__(self, state: Any, addresses: dict[str, bytes]) -> None:
        self.state, self.addresses = state, addresses
        self.names = {who: raw_address(who) for who in CAST}
        self.serial = itertools.count()
        self.other_pots = 0
        self.now = START

    @property
    def now(self) -> int:
        return int(self.state.timestamp)

    @now.setter
    def now(self, value: int) -> None:
        self.state.execution_context._timestamp = value

    def turn(self, seconds: int) -> None:
        self.now += seconds

    def raw(self, who: str) -> bytes:
        if who in self.addresses:
            return self.addresses[who]
        return self.names.setdefault(who, raw_address(who))

    def address(self, who: str) -> str:
        return checksum_address(self.raw(who))

    def create(self, code: bytes) -> bytes:
        place = keccak256(b"contract" + bytes([len(self.addresses)]))[-20:]
        done = self._apply("deployer", CREATE_CONTRACT_ADDRESS, b"", code, place)
        assert done.is_success, done.error
        return place

    def deploy(self, contract: str) -> None:
        needed = CONTRACTS[contract]
        told = encode(["address"], [self.addresses[needed]]) if needed else b""
        self.addresses[contract] = self.create(bytes.fromhex(artefact(contract)["bytecode"][2:]) + told)

    def do(self, who: str, call: str, *args: Any) -> Done:
        contract, name = call.split(".")
        selector, inputs, outputs = functions(contract)[name]
        target = self.addresses[contract]
        done = self._apply(who, target, selector + encode(inputs, args), self.state.get_code(target))
        if done.is_error:
            raise refusal(bytes(done.output))
        found = decode(outputs, done.output) if outputs else ()
        return Done(found[0] if len(found) == 1 else found, self._events(done), done.get_gas_used())

    def refused(self, kind: type[Exception], reason: str, who: str, call: str, *args: Any) -> None:
        with pytest.raises(kind) as caught:
            self.do(who, call, *args)
        assert caught.value.params["error"] == reason, caught.value
        assert str(caught.value)

    def read(self, call: str, *args: Any) -> Any:
        return self.do("reader", call, *args).value

    def set_pending(self, subject: bytes, pending: bool) -> None:
        self.state.set_storage(self.addresses["Disputes"], int.from_bytes(subject, "big"), int(pending))

    def set_parameter(self, name: str, value: int) -> None:
        """Set a parameter as governance would, with its delay already over."""
        now = self.now
        proposal = self.do("office", "Directory.propose", name_word(name), value).value
        self.turn(DAY)
        self.do("office", "Directory.activate", proposal)
        self.now = now

    def hold(self, subject: bytes, days: int = 1) -> None:
        self.do("regulator", "Members.hold", subject, self.now + days * DAY, word("case"), word("reason"))

    def release(self, subject: bytes) -> None:
        self.do("regulator", "Members.release", subject, word("reason"))

    def subject(self, kind: str, what: str | int) -> bytes:
        number = int.from_bytes(self.raw(what), "big") if isinstance(what, str) else what
        return bytes([SUBJECTS[kind]]) + number.to_bytes(31, "big")

    def pay_in(self, who: str, amount: int) -> None:
        """Give a party tokens, and let the vault take all that it has."""
        self.do("office", "SettlementToken.mint", self.address(who), amount, word(f"booking {next(self.serial)}"))
        self.do(who, "SettlementToken.approve", self.address("Revenue"), 2**256 - 1)

    def title(self, holder: str = "owner", parents: Sequence[tuple[int, int]] = ()) -> int:
        root = word(f"weights {next(self.serial)}")
        args = (word("manifest"), root, word("keys"), list(parents), 0, True)
        return int(self.do("office", "ModelTitles.register", self.address(holder), *args).value)

    def offer(self, title: int, holder: str = "owner", **conditions: Any) -> int:
        """Offer on the market; what is not said is ``CONDITIONS``."""
        values = CONDITIONS | conditions
        return int(self.do(holder, "Grants.offer", title, word("terms"), tuple(values.values())).value)

    def buy(self, offer: int, who: str = "licensee") -> int:
        """Pay for a license, with money of its own; return the sale."""
        args = (word("acceptance"), self.now, 2**53, 10_000)
        return int(self.do(who, "Market.buyLicense", offer, *args).value)

    def deliver(self, sale: int) -> int:
        return int(self.do("office", "Market.deliver", sale, word(f"mark {next(self.serial)}")).value)

    def credit(self, who: str) -> int:
        return int(self.read("Revenue.creditOf", self.address(who)))

    def tokens(self, who: str) -> int:
        return int(self.read("SettlementToken.balanceOf", self.address(who)))

    def pot(self, sale: int) -> int:
        return int(self.read("Revenue.inPot", self.address("Market"), sale.to_bytes(32, "big")))

    def tag(self, title: int, tagged: bool = True) -> None:
        self.do("Disputes", "ModelTitles.setTag", title, tagged, 1)

    def check_books(self) -> None:
        """Every token is somewhere, and the vault's balance is what it has booked."""
        credits, pots = self.read("Revenue.totalCredits"), self.read("Revenue.totalPots")
        everybody = [*self.names, *self.addresses]
        assert self.tokens("Revenue") == credits + pots
        assert sum(map(self.credit, everybody)) == credits
        assert sum(map(self.tokens, everybody)) == self.read("SettlementToken.totalSupply")
        withheld = [self.read("Revenue.withheld", 1 + at) for at in range(self.read("ModelTitles.titlesIssued"))]
        sales = [self.pot(1 + at) for at in range(self.read("Market.salesMade"))]
        assert sum(withheld) + sum(sales) + self.other_pots == pots

    def _apply(self, who: str, to: bytes, data: bytes, code: bytes, create: bytes | None = None) -> Any:
        sender = self.raw(who)
        self.state.lock_changes()
        context = self.state.get_transaction_context_class()(gas_price=0, origin=sender)
        message = Message(GAS, to, sender, 0, data, code, create_address=create)
        computation = self.state.computation_class
        run = computation.apply_create_message if create else computation.apply_message
        done = run(self.state, message, context)
        self.state.clear_transient_storage()
        return done

    def _events(self, done: Any) -> list[tuple[str, dict[str, Any]]]:
        names = {address: name for name, address in self.addresses.items() if name != "Disputes"}
        found = []
        for address, topics, data in done.get_log_entries():
            event = read_event(names[address], [topic.to_bytes(32, "big") for topic in topics], data)
            if event:
                found.append(event)
        return found


@cache
def _founded() -> tuple[Any, Any, bytes, dict[str, bytes]]:
    """Deploy and found on an empty chain, once in a process; return what a machine starts from."""
    rules = CancunVM.configure(consensus_class=NoProofConsensus)
    chain_class = MiningChain.configure(__name__="Bare", vm_configuration=((0, rules),), chain_id=1)
    genesis = {"gas_limit": GAS, "timestamp": START, "parent_beacon_block_root": bytes(32), "base_fee_per_gas": 0}
    chain = chain_class.from_genesis(AtomicDB(), genesis, {})
    machine = Bare(chain.get_vm().state, {"Disputes": raw_address("Disputes")})
    machine.state.set_code(machine.addresses["Disputes"], STAND_IN)
    for name in CONTRACTS:
        if name != "Disputes":
            machine.deploy(name)
    populate(machine)
    machine.state.persist()
    return machine.state, chain.chaindb.db, machine.state.state_root, machine.addresses


def populate(machine: Bare) -> None:
    """Found with a fee of 2.5 % for the office, and admit the cast."""
    named = [name for name, needed in CONTRACTS.items() if needed == "Directory"]
    values = {name: int.from_bytes(machine.addresses[name], "big") for name in {*named, "Disputes"}}
    values |= {"governance.threshold": 1, "governance.delay": DAY, "market.fee": FEE_BPS}
    values |= {"market.fee.account": int.from_bytes(machine.raw("platform"), "big")}
    machine.do("deployer", "Directory.found", list(map(name_word, values)), list(values.values()))
    for who, roles in CAST.items():
        machine.do("deployer", "Members.admit", machine.address(who), word(who), word("key"), roles, FOREVER)


def fresh() -> Bare:
    """A machine in the state after founding."""
    state, db, root, addresses = _founded()
    context = type(state.execution_context)(**_context(state))
    return Bare(type(state)(db, context, root), dict(addresses))


def _context(state: Any) -> dict[str, Any]:
    names = ("coinbase", "timestamp", "block_number", "difficulty", "mix_hash", "gas_limit", "prev_hashes")
    given = {name: getattr(state.execution_context, name) for name in names}
    return given | {"chain_id": 1, "base_fee_per_gas": 0, "excess_blob_gas": 0}
