"""What a transaction costs on each engine: deploy the contracts, register titles, grant licences, sell licences.

    python -m benchmarks.ledger --json OUT --limit 50

``--limit`` is how many titles, grants and sales there are (0: 50); a sale is two transactions, payment and delivery.
The client's run on the embedded engine is recorded, and its signed transactions run again on every other one.

*Sequential* waits for each receipt before the next begins; the client tries, signs, sends and reads the outcome.
*Burst* has everything signed beforehand and pushes it as fast as it is taken. Beneath the client, the embedded engine
and bare py-evm make each transaction a durable block of its own; the row with 100 to a block, which nobody could wait
for one by one, shows what that costs. ``cpu_ms`` is processor time per transaction, client and node together; where
there are rounds it is their median.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.bare_evm import BareChain
from benchmarks.report import arguments, write_report
from countermark.adapters.evm import EmbeddedEngine
from countermark.adapters.index import EventIndex
from countermark.adapters.ledger import Ledger
from countermark.adapters.node import connect_node
from countermark.adapters.records import Role
from countermark.adapters.rpc_shapes import header_fields
from countermark.adapters.store import SqlStore
from countermark.adapters.transactions import account_of
from countermark.core.keys import Secret
from countermark.core.rlp import decode_int

CHAIN_ID = 20_261_123
ROUNDS = 3
BATCH = 100
READS = 200
OPERATIONS = ("deploy", "mint", "grant", "sale")
OFFICE, OWNER, BUYER = (Secret(name.encode().ljust(32, b".")) for name in ("office", "owner", "buyer"))
TREASURY = bytes.fromhex(account_of(OFFICE).address[2:])
FOREVER = 2**63
Row = dict[str, Any]
Clock = Callable[[], float]


class Act(NamedTuple):
    """A call and the operation that it is measured as; preparations have none."""

    operation: str
    sender: Secret
    call: str
    args: tuple[Any, ...]
    value: int = 0


class Sent(NamedTuple):
    """A transaction of the recorded run, and the gas that it used."""

    operation: str
    raw: bytes
    gas: int


class Spent:
    """Wall and processor seconds of each operation, and how many transactions those were."""

    def __init__(self, clock: Clock = time.process_time) -> None:
        self._clock = clock
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.count: dict[str, int] = defaultdict(int)

    @contextmanager
    def on(self, operation: str, count: int = 1) -> Iterator[None]:
        """Count what happens inside."""
        wall, cpu = time.perf_counter(), self._clock()
        yield
        self.wall[operation] += time.perf_counter() - wall
        self.cpu[operation] += self._clock() - cpu
        self.count[operation] += count

    def rate(self, operation: str) -> float:
        """Return transactions per second."""
        return self.count[operation] / self.wall[operation]

    def cpu_ms(self, operation: str) -> float:
        """Return processor milliseconds per transaction."""
        return 1000 * self.cpu[operation] / self.count[operation]


def main() -> None:
    options = arguments("Run titles, grants and sales (--limit of each, 0: 50) on every engine.").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, summary = measure(Path(folder), options.limit or 50)
    write_report("ledger", rows, summary, options.json)


def measure(folder: Path, count: int) -> tuple[list[Row], Row]:
    """Run everything; return the rows and the claims."""
    client, script = by_client(folder / "client.db", count)
    burst = by_client_in_burst(folder / "burst.db", script)
    engine, bare = [], []
    for number in range(ROUNDS):
        engine.append(by_engine(folder / f"engine-{number}.db", script))
        bare.append(by_bare(folder / f"bare-{number}.db", script, 1))
    packed = by_bare(folder / "packed.db", script, BATCH)
    rows = [
        *table("embedded, client", script, sequential=[client], burst=[burst]),
        *table("embedded, engine alone", script, sequential=engine),
        *table("bare py-evm + SQLite", script, sequential=bare),
        *table(f"bare py-evm + SQLite, {BATCH} to a block", script, burst=[packed]),
        *(by_anvil(script, count) if shutil.which("npm") else ()),
    ]
    reads = list(by_reading(folder / "client.db", folder / "store.db"))
    return rows + reads, summarise(rows, reads)


def acts(ledger: Ledger, count: int) -> Iterator[Act]:
    """Yield what happens, in order; the numbers of titles, offers and sales follow from it."""
    address, vault, start = ledger.address_of, ledger.deployment["contracts"]["Revenue"], int(time.time())
    for who, role in ((OWNER, Role.LICENSOR), (BUYER, Role.LICENSEE)):
        yield Act("", OFFICE, "Members.admit", (address(who), word("o"), word("k"), role, FOREVER), 10**18)
    yield Act("", OFFICE, "SettlementToken.mint", (address(BUYER), 12_000 * count, word("bank")))
    yield Act("", BUYER, "SettlementToken.approve", (vault, 12_000 * count))
    for number in range(count):
        digests = (word("m"), word(f"w{number}"), word("k"))
        yield Act("mint", OFFICE, "ModelTitles.register", (address(OWNER), *digests, [], 0, False))
    for on_market in (False, True):
        conditions = (10_000, 2_000, 30 * 86_400, 0, 0, 0, 1, 0, 0, True, False, False, on_market, bytes(32))
        yield Act("", OWNER, "Grants.offer", (1, word("terms"), conditions))
    for number in range(count):
        window = (word("a"), word(f"granted {number}"), start, start + 86_400)
        yield Act("grant", OWNER, "Grants.grant", (1, address(BUYER), *window))
    for number in range(count):
        yield Act("sale", BUYER, "Market.buyLicense", (2, word("a"), start, 10_000, 1_000))
        yield Act("sale", OFFICE, "Market.deliver", (number + 1, word(f"sold {number}")))


def word(text: str) -> bytes:
    return text.encode().rjust(32, b"\x01")


def now() -> datetime:
    return datetime.now(UTC)


def by_client(path: Path, count: int) -> tuple[Spent, list[Sent]]:
    """Run everything through the client on the embedded engine; return what it took and what was sent."""
    spent = Spent()
    with spent.on("deploy"):
        ledger = Ledger.create(path, chain_id=CHAIN_ID, treasury=OFFICE, clock=now)
    with closing(ledger):
        deployed = spent.count["deploy"] = ledger.web3.eth.block_number
        operations = ["deploy"] * deployed + act_all(ledger, count, spent)
    with closing(EmbeddedEngine(path, now)) as engine:
        blocks = [engine.block(number) for number in range(1, engine.height() + 1)]
    gas = [decode_int(header_fields(block.header)[10]) for block in blocks]
    return spent, [
        Sent(*each) for each in zip(operations, (block.transactions[0] for block in blocks), gas, strict=True)
    ]


def act_all(ledger: Ledger, count: int, spent: Spent) -> list[str]:
    """Do everything through the client; return the operation of each transaction."""
    done = []
    for act in acts(ledger, count):
        with spent.on(act.operation):
            ledger.submit(ledger.prepare_call(act.sender, *act.call.split("."), act.args, act.value))
        done.append(act.operation)
    return done


def by_client_in_burst(path: Path, script: Sequence[Sent]) -> Spent:
    """Submit what was signed before through the client, on a ledger of its own."""
    spent = Spent()
    with closing(Ledger.create(path, chain_id=CHAIN_ID, treasury=OFFICE, clock=now)) as ledger:
        for sent in without_deployment(script):
            with spent.on(sent.operation):
                ledger.submit(sent.raw)
    return spent


def by_engine(path: Path, script: Sequence[Sent]) -> Spent:
    """Hand every transaction to the embedded engine."""
    spent = Spent()
    with closing(EmbeddedEngine.create(path, chain_id=CHAIN_ID, treasury=TREASURY, clock=now)) as engine:
        for sent in script:
            with spent.on(sent.operation):
                engine.send_raw(sent.raw)
    return spent


def by_bare(path: Path, script: Sequence[Sent], size: int) -> Spent:
    """Hand every transaction to py-evm, so many to a block."""
    spent = Spent()
    with closing(BareChain(path, chain_id=CHAIN_ID, treasury=TREASURY)) as chain:
        for operation, raws in runs(script):
            for block in batched(raws, size if operation != "deploy" else 1):
                with spent.on(operation, len(block)):
                    assert chain.mine(block) == [1] * len(block)
    return spent


def without_deployment(script: Sequence[Sent]) -> list[Sent]:
    return [sent for sent in script if sent.operation != "deploy"]


def runs(script: Sequence[Sent]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the operations in order, each with its transactions."""
    for operation, group in groupby(script, key=lambda sent: sent.operation):
        yield operation, [sent.raw for sent in group]


def batched(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (items[at : at + size] for at in range(0, len(items), size))


class Node:
    """anvil over HTTP, as tests start it, and the processor time that it takes together with this process."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.web3, self.close = connect_node(node.url, 20.0)

    def clock(self) -> float:
        """Return processor seconds of this process and the node's."""
        fields = Path(f"/proc/{self.node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, method: str, *params: Any) -> Any:
        """Call a method."""
        answer: Any = self.web3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        return answer["result"]

    def send(self, raw: bytes) -> str:
        """Send a signed transaction and return its hash."""
        return str(self.ask("eth_sendRawTransaction", f"0x{raw.hex()}"))

    def wait(self, transaction_hash: str) -> None:
        """Wait until a transaction is mined."""
        while (receipt := self.ask("eth_getTransactionReceipt", transaction_hash)) is None:
            time.sleep(0.001)
        assert receipt["status"] == "0x1"


@contextmanager
def on_anvil(*flags: str) -> Iterator[Node]:
    """Run a node whose treasury has the same coin as the embedded chain's."""
    with tests_anvil().anvil(*flags, chain_id=CHAIN_ID) as process:
        process.ask("anvil_setBalance", f"0x{TREASURY.hex()}", hex(10**30))
        node = Node(process)
        try:
            yield node
        finally:
            node.close()


def tests_anvil() -> Any:
    path = Path(__file__).parents[1] / "tests" / "node" / "anvil.py"
    spec = importlib.util.spec_from_file_location("node_anvil", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def by_anvil(script: Sequence[Sent], count: int) -> list[Row]:
    """Run everything on anvil: through the client, and as plain JSON-RPC."""
    with on_anvil() as node:
        client = Spent(node.clock)
        with client.on("deploy"):
            ledger = Ledger.deploy(node.node.url, treasury=OFFICE)
        client.count["deploy"] = int(node.ask("eth_blockNumber"), 16)
        with closing(ledger):
            act_all(ledger, count, client)
    with on_anvil("--base-fee", "7") as node:
        sequential = Spent(node.clock)
        for sent in script:
            with sequential.on(sent.operation):
                node.wait(node.send(sent.raw))
    with on_anvil("--base-fee", "7") as node:
        burst = Spent(node.clock)
        for operation, raws in runs(script):
            with burst.on(operation, len(raws)):
                node.wait([node.send(raw) for raw in raws][-1])
    return [
        *table("anvil over HTTP, client", script, sequential=[client]),
        *table("anvil over HTTP, plain JSON-RPC", script, sequential=[sequential], burst=[burst]),
    ]


def table(engine: str, script: Sequence[Sent], **kinds: Sequence[Spent]) -> Iterator[Row]:
    """Yield a row for each operation: medians over the rounds."""
    for operation in OPERATIONS:
        row: Row = {"engine": engine, "operation": operation}
        for kind, rounds in kinds.items():
            if all(spent.count[operation] for spent in rounds):
                row[f"{kind}_tx_per_s"] = round(statistics.median(spent.rate(operation) for spent in rounds), 1)
                row[f"{kind}_cpu_ms"] = round(statistics.median(spent.cpu_ms(operation) for spent in rounds), 2)
        yield row | {"gas": gas_of(operation, script)}


def gas_of(operation: str, script: Sequence[Sent]) -> int:
    """Return the gas of the whole deployment, or the median of an operation's."""
    used = [sent.gas for sent in script if sent.operation == operation]
    if operation == "deploy":
        return sum(used)
    each = 2 if operation == "sale" else 1
    return round(statistics.median(sum(used[at : at + each]) for at in range(0, len(used), each)))


def by_reading(path: Path, store_path: Path) -> Iterator[Row]:
    """Measure the index over the client's ledger, and reads of both."""
    with closing(Ledger.open(path, clock=now)) as ledger, closing(SqlStore(store_path)) as store:
        index = EventIndex(store, ledger.web3, ledger.deployment["contracts"])
        events, rates, cpu = 0, [], []
        for _ in range(ROUNDS):
            wall, used = time.perf_counter(), time.process_time()
            events = index.rebuild()
            rates.append(events / (time.perf_counter() - wall))
            cpu.append(1000 * (time.process_time() - used) / events)
        yield reading("index rebuild", statistics.median(rates), statistics.median(cpu), events)
        account = f"account:{ledger.address_of(BUYER).lower()}"
        for name, read in {
            "history of a grant": lambda: index.about("grant:1"),
            "history of an account": lambda: index.about(account),
            "index: nothing new": index.follow,
            "ledger: permitted": lambda: ledger.permitted(1, int(time.time())),
            "ledger: title": lambda: ledger.title(1),
        }.items():
            wall, used = time.perf_counter(), time.process_time()
            for _ in range(READS):
                read()
            yield reading(name, READS / (time.perf_counter() - wall), 1000 * (time.process_time() - used) / READS)


def reading(operation: str, rate: float, cpu_ms: float, events: int | None = None) -> Row:
    row = {"engine": "embedded", "operation": operation, "per_s": round(rate), "cpu_ms": round(cpu_ms, 3)}
    return row if events is None else row | {"events": events}


def summarise(rows: Sequence[Row], reads: Sequence[Row]) -> Row:
    """Return the claims: the engine's cost over bare py-evm's, and how fast the index is rebuilt."""
    cpu = {(row["engine"], row["operation"]): row.get("sequential_cpu_ms") for row in rows}
    ratios = {
        operation: round(cpu["embedded, engine alone", operation] / cpu["bare py-evm + SQLite", operation], 2)
        for operation in OPERATIONS
    }
    return {
        "engine_cpu_over_bare": ratios,
        "largest_ratio": max(ratios.values()),
        "index_rebuild_events_per_s": reads[0]["per_s"],
    }


if __name__ == "__main__":
    main()
