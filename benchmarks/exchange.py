"""What a fair exchange costs: MB/s to seal, check and open a model on one core, and the gas of one complaint.

    python -m benchmarks.exchange --json OUT --size-mb 500

Beside it, over the same files in the same run: SHA-256 in counter mode with two trees over chunks of 4 KiB, which needs
no cipher on the ledger, and what one would do without fairness, AES-GCM with one hash of the file; and copying, which
is what reading and writing alone cost. Every way runs in a process of its own and on one core; ``mb_per_s`` counts
processor time, because others may share the machine. Gas is that of whole transactions on the embedded engine, at the
depth of files up to 16 TB: where the buyer has credit in the vault already, and where nobody has any.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.register import peak_mb, write_model
from benchmarks.report import arguments, write_report
from countermark.adapters.ledger import Ledger
from countermark.adapters.records import Receipt, Role
from countermark.artifact.exchange import check_package, read_package, seal, unseal
from countermark.core.exchange import BLOCK_BYTES, block_count, climb, path_length
from countermark.core.keys import Secret
from countermark.core.merkle import leaf_hash, root_of

REPEATS = 3
STEP = 2**20
CHUNK = 4096
KEY = Secret(bytes(range(32)))
FILES = {"1 MB": 10**6, "1 GB": 10**9, "200 GB": 200 * 10**9, "16 TB": 16 * 10**12}
PRICE = 1000
Work = Callable[[Path], object]


def main() -> None:
    parser = arguments("Seal, check and open a synthetic model, and complain about a block.")
    parser.add_argument("--size-mb", type=int, default=200, metavar="N", help="size of the model (default 200)")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "DIR"), help="one way in this process (internal)")
    options = parser.parse_args()
    if options.measure:
        way, folder = options.measure
        print(json.dumps(measure(WAYS[way], Path(folder))))
        return
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        size = write_model(folder / "model", options.size_mb * 1_000_000)
        rows: list[dict[str, Any]] = [{"way": way, **in_own_process(way, folder, size)} for way in WAYS]
        with_gas = list(complaints(folder / "ledger.sqlite"))
    rates = {row["way"]: row["mb_per_s"] for row in rows}
    gas = {row["file"]: row for row in with_gas}
    summary = {
        "model_mb": round(size / 1e6),
        "seal_mb_per_s": rates["seal"],
        "check_mb_per_s": rates["check"],
        "open_mb_per_s": rates["open"],
        "complaint_gas_200_gb": gas["200 GB"]["gas"],
        "complaint_gas_200_gb_no_credit": gas["200 GB"]["gas_no_credit"],
    }
    write_report("exchange", [*rows, *with_gas], summary, options.json)


def in_own_process(way: str, folder: Path, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.exchange", "--measure", way, str(folder)]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {"mb_per_s": round(size / 1e6 / measured["cpu_s"], 1), **measured}


def measure(work: Work, folder: Path) -> dict[str, float]:
    """Return the best of some runs in processor seconds, and the growth of the peak resident size in MB."""
    before, used = peak_mb(), []
    for _ in range(REPEATS):
        shutil.rmtree(folder / "out", ignore_errors=True)
        cpu = time.process_time()
        work(folder)
        used.append(time.process_time() - cpu)
    return {"cpu_s": round(min(used), 3), "peak_mb": round(peak_mb() - before, 1)}


def by_seal(folder: Path) -> object:
    shutil.rmtree(folder / "package", ignore_errors=True)
    return seal(folder / "model", folder / "package", KEY, progress=_silent)


def by_check(folder: Path) -> object:
    return check_package(read_package(folder / "package"), progress=_silent)


def by_open(folder: Path) -> object:
    assert unseal(read_package(folder / "package"), KEY, folder / "out", progress=_silent) is None
    return None


def by_sha256_ctr(folder: Path) -> object:
    """Keystream of SHA-256(key, chunk, count) and two trees as in RFC 6962, over chunks of 4 KiB."""
    plain: list[bytes] = []
    cipher: list[bytes] = []
    with _out(folder).open("wb") as stream:
        for data in _steps(folder / "model", CHUNK):
            prefix = KEY.reveal() + len(plain).to_bytes(8, "big")
            counts = range(-(-len(data) // 32))
            pad = b"".join([sha256(prefix + count.to_bytes(4, "big")).digest() for count in counts])[: len(data)]
            mixed = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(data), "big")
            plain.append(leaf_hash(data))
            cipher.append(leaf_hash(mixed))
            stream.write(mixed)
    return root_of(plain), root_of(cipher)


def by_aes_gcm(folder: Path) -> object:
    """AES-256-GCM in steps of 1 MiB, and one SHA-256 over everything: a sale without any proof."""
    cipher, whole = AESGCM(KEY.reveal()), sha256()
    with _out(folder).open("wb") as stream:
        for number, data in enumerate(_steps(folder / "model", STEP)):
            whole.update(data)
            stream.write(cipher.encrypt(number.to_bytes(12, "big"), data, None))
    return whole.digest()


def by_copy(folder: Path) -> object:
    with _out(folder).open("wb") as stream:
        for data in _steps(folder / "model", STEP):
            stream.write(data)
    return None


WAYS: dict[str, Work] = {
    "seal": by_seal,
    "check": by_check,
    "open": by_open,
    "sha-256 counter mode, 4 KiB": by_sha256_ctr,
    "aes-gcm and one hash": by_aes_gcm,
    "copy": by_copy,
}


def complaints(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a complaint that succeeds costs on files of different sizes."""
    ledger = Ledger.create(path, chain_id=20_261_124, treasury=_account("office"), clock=_now)
    try:
        desk = _Desk(ledger)
        desk.complain(block_count(0))  # the listing's first sale that is over
        desk.do("buyer", "Revenue.claim")
        for name, size in FILES.items():
            blocks = block_count(size)
            gas = {"gas_no_credit": desk.complain(blocks), "gas": desk.complain(blocks)}
            desk.do("buyer", "Revenue.claim")
            yield {"file": name, "blocks": blocks, "path": path_length(blocks), **gas}
    finally:
        ledger.close()


class _Desk:
    """A seller, a marking service and a buyer with money and a grant, and complaints about blocks."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._draw = ledger, random.Random(1)
        until = int(_now().timestamp()) + 10**6
        for who, role in (("seller", Role.LICENSOR), ("buyer", Role.LICENSEE), ("service", Role.MARKER)):
            admission = (self._address(who), _word(who), _word("key"), role, 2**63)
            self.do("office", "Members.admit", *admission, value=10**18)
            self.do("office", "SettlementToken.mint", self._address(who), 10**9, _word(who))
            self.do(who, "SettlementToken.approve", ledger.deployment["contracts"]["Revenue"], 10**9)
        title = (self._address("seller"), _word("manifest"), _word("weights"), _word("marks"), [], 0, False)
        self.do("office", "ModelTitles.register", *title)
        conditions = (0, 0, 10**6, 0, 0, 0, 1, 0, 0, False, False, False, False, bytes(32))
        self.do("seller", "Grants.offer", 1, _word("terms"), conditions)
        grant = (1, self._address("buyer"), _word("acceptance"), _word("mark"), until - 10**6, until - 1)
        self.do("seller", "Grants.grant", *grant)
        self.do("seller", "FileSales.offer", 1, PRICE, PRICE, _word("terms"), until)

    def complain(self, blocks: int) -> int:
        """Deliver, pay and reveal a file of so many blocks, of which one is wrong; return the complaint's gas."""
        key, block, leaf = map(self._draw.randbytes, (32, BLOCK_BYTES, 32))
        index, path = self._draw.randrange(blocks), [self._draw.randbytes(32) for _ in range(path_length(blocks))]
        root = climb(sha256(leaf + block).digest(), index, blocks, path)
        package = (_word("plain"), root, sha256(key).digest(), blocks, _word("attestation"), bytes(32))
        sale = self.do("service", "FileSales.deliver", 1, 1, *package, PRICE).event("Delivered")["saleId"]
        self.do("buyer", "FileSales.pay", sale, PRICE)
        self.do("service", "FileSales.reveal", sale, key)
        return self.do("buyer", "FileSales.complain", sale, key, index, block, leaf, path).gas_used

    def do(self, who: str, call: str, *args: Any, value: int = 0) -> Receipt:
        contract, function = call.split(".")
        return self._ledger.submit(self._ledger.prepare_call(_account(who), contract, function, args, value))

    def _address(self, who: str) -> str:
        return self._ledger.address_of(_account(who))


def _steps(directory: Path, size: int) -> Iterator[bytes]:
    for path in sorted(directory.iterdir()):
        with path.open("rb") as stream:
            yield from iter(partial(stream.read, size), b"")


def _out(folder: Path) -> Path:
    (folder / "out").mkdir()
    return folder / "out" / "stream"


def _silent(_done: int, _total: int, _unit: str) -> None:
    pass


def _account(who: str) -> Secret:
    return Secret(who.encode().ljust(32, b"."))


def _word(text: str) -> bytes:
    return text.encode().rjust(32, b"\1")


def _now() -> datetime:
    return datetime(2026, 11, 21, tzinfo=UTC)


if __name__ == "__main__":
    main()
