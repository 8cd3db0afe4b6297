"""kill -9 while transactions are sent: what was acknowledged is there, and the ledger opens and goes on."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime

import pytest

from countermark.adapters.ledger import Ledger
from countermark.core.keys import Secret

SENDER = textwrap.dedent("""
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from countermark.adapters.ledger import Ledger
    from countermark.core.keys import Secret
    office = Secret(bytes([1]) * 32)
    ledger = Ledger.create(Path(sys.argv[1]), chain_id=7, treasury=office, clock=lambda: datetime.now(UTC))
    print("open", flush=True)
    while True:
        root = ledger.identifiers_issued() + 1
        raw = ledger.prepare_call(office, "Grants", "commitBatch", (root.to_bytes(32, "big"), 1))
        print("sending", raw.hex(), flush=True)
        print("acknowledged", ledger.submit(raw).transaction_hash, flush=True)
""")


def run_and_kill(path, seconds):
    """Run the sender, kill it that long after it opened the ledger, and return the lines it finished."""
    with subprocess.Popen([sys.executable, "-c", SENDER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        return [
            line.split() for line in (first + process.stdout.read()).splitlines(keepends=True) if line.endswith("\n")
        ]


@pytest.mark.parametrize("run", range(2))
def test_nothing_acknowledged_is_lost(tmp_path, run):
    path, randomness = tmp_path / "ledger.sqlite", random.Random(run)
    acknowledged = 0
    for _ in range(2):
        lines = run_and_kill(path, 0.15 + 0.5 * randomness.random())
        ledger = Ledger.open(path, clock=lambda: datetime.now(UTC))
        done = [line[1] for line in lines if line[0] == "acknowledged"]
        acknowledged += len(done)
        assert all(ledger.receipt(transaction).events for transaction in done)
        sent = [line[1] for line in lines if line[0] == "sending"]
        if len(sent) > len(done):
            before = ledger.identifiers_issued()
            ledger.submit(bytes.fromhex(sent[-1]))
            acknowledged += 1
            assert ledger.identifiers_issued() - before in (0, 1), "mined before the kill or now, once"
        assert ledger.identifiers_issued() == acknowledged
        ledger.close()
    assert acknowledged > 0


def test_a_kill_during_creation_is_taken_up(tmp_path):
    command = [sys.executable, "-c", SENDER, str(tmp_path / "ledger.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "ledger.sqlite").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
    office = Secret(bytes([1]) * 32)
    clock = lambda: datetime.now(UTC)  # noqa: E731
    ledger = Ledger.create(tmp_path / "ledger.sqlite", chain_id=7, treasury=office, clock=clock)
    assert ledger.identifiers_issued() >= 0
    ledger.close()
