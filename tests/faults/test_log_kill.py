"""Kill the writer of the log at any moment: what it acknowledged is there, and the log is whole."""

import random
import subprocess
import sys
import time
from pathlib import Path

from countermark.adapters.store import SqlStore
from countermark.evidence import log

WRITER = """
import sys
from pathlib import Path
from countermark.adapters.store import SqlStore
from countermark.evidence import log

store = SqlStore(Path(sys.argv[1]))
while True:
    with store.transaction() as transaction:
        size = transaction.tiles.head().size
        done = log.append(transaction.tiles, [b"entry %d" % n for n in range(size, size + 1 + size % 90)])
    print(done.size, done.root.hex(), flush=True)
"""


def test_no_acknowledged_entry_is_lost(tmp_path: Path) -> None:
    path, choose = tmp_path / "store.db", random.Random(7)
    for _ in range(6):
        size, root = _write_and_kill(path, choose.uniform(0.05, 0.3))
        store = SqlStore(path)
        with store.transaction() as transaction:
            tiles = transaction.tiles
            head = log.fsck(tiles)
            assert head.size >= size
            assert log.root(tiles, size).hex() == root
            expected = [b"entry %d" % n for n in range(head.size)]
            assert list(log.entries(tiles, 0, head.size)) == expected
        store.close()


def _write_and_kill(path: Path, seconds: float) -> tuple[int, str]:
    """Return size and root of the last append that the writer acknowledged."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(seconds)
        writer.kill()
        lines = [first, *writer.stdout.read().splitlines(keepends=True)]
    size, root = [line for line in lines if line.endswith("\n")][-1].split()
    return int(size), root
