"""The evidence log over the real store: SQLite, WAL, ``synchronous=FULL``, one commit per batch.

    python -m benchmarks.evidence_log --json OUT --limit 50000

``--limit`` is how many entries each batch size appends at most (batches of 1: a fiftieth of it); 0 stands for 200,000.
Entries are 90 random bytes, about one record with its digests. Beside it, on the same entries: merkletools, whose tree
lives in memory, is built in one go and knows no consistency proofs; pymerkle, whose licence (GPL) keeps it out of ours.
Each is measured only where it is installed.
"""

from __future__ import annotations

import importlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import arguments, write_report
from countermark.adapters.store import SqlStore
from countermark.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from countermark.evidence import log

ENTRY_BYTES = 90
BATCHES = (1, 100, 10_000)
PROOFS = 200
Row = dict[str, Any]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    limit = options.limit or 200_000
    with tempfile.TemporaryDirectory() as folder:
        appends = [measure_appends(Path(folder), batch, limit) for batch in BATCHES]
        rows = [*appends, measure_proofs(Path(folder) / f"{BATCHES[-1]}.db")]
    rows += [row for peer in (merkletools, pymerkle) for row in peer(min(limit, 50_000))]
    summary = {f"appends_per_s_batch_{row['batch']}": row["per_s"] for row in appends}
    write_report("evidence_log", rows, summary | {"bytes_per_leaf": appends[-1]["bytes_per_leaf"]}, options.json)


def measure_appends(folder: Path, batch: int, limit: int) -> Row:
    """Append in batches, one transaction each, and return the rate."""
    count = max(batch, (limit if batch > 1 else max(1, limit // 50)) // batch * batch)
    entries = [os.urandom(ENTRY_BYTES) for _ in range(count)]
    path = folder / f"{batch}.db"
    with opened(path) as store:
        started = time.perf_counter()
        for first in range(0, count, batch):
            with store.transaction() as transaction:
                log.append(transaction.tiles, entries[first : first + batch])
        seconds = time.perf_counter() - started
    return {
        "method": "countermark",
        "act": "append",
        "batch": batch,
        "size": count,
        "per_s": round(count / seconds),
        "ms": 1000 * seconds / (count / batch),
        "bytes_per_leaf": round(path.stat().st_size / count, 1),
    }


def measure_proofs(path: Path) -> Row:
    """Make and verify proofs at random places of the largest log, and recompute all of it."""
    choose = random.Random(1)
    with opened(path) as store, store.transaction() as transaction:
        tiles = transaction.tiles
        size = tiles.head().size
        root = log.root(tiles, size)
        places = [choose.randrange(1, size) for _ in range(PROOFS)]
        leaves = [leaf_hash(log.entry(tiles, place)) for place in places]
        inclusions, prove_ms = timed(lambda place: log.prove_inclusion(tiles, place, size), places)
        checked = list(zip(leaves, places, inclusions, strict=True))
        _, verify_ms = timed(lambda case: verify_inclusion(case[0], case[1], size, case[2], root), checked)
        proofs, consistency_ms = timed(lambda place: log.prove_consistency(tiles, place, size), places)
        for place, proof in zip(places, proofs, strict=True):
            verify_consistency(place, size, log.root(tiles, place), root, proof)
        _, fsck_ms = timed(lambda _: log.fsck(tiles), [None])
    return {
        "method": "countermark",
        "act": "prove",
        "size": size,
        "inclusion_ms": prove_ms,
        "verify_ms": verify_ms,
        "consistency_ms": consistency_ms,
        "proof_bytes": 32 * max(map(len, inclusions)),
        "fsck_s": fsck_ms / 1000,
    }


def merkletools(count: int) -> Iterator[Row]:
    """The peer with a tree in memory: build it, then prove."""
    if (module := installed("merkletools")) is None:
        return
    tree, entries = module.MerkleTools(hash_type="sha256"), [os.urandom(ENTRY_BYTES).hex() for _ in range(count)]
    _, build_ms = timed(lambda _: (tree.add_leaf(entries, True), tree.make_tree()), [None])
    _, prove_ms = timed(tree.get_proof, range(0, count, max(1, count // PROOFS)))
    yield peer_row("merkletools (memory, not durable)", count, build_ms, prove_ms)


def pymerkle(count: int) -> Iterator[Row]:
    """The peer with SQLite behind it: its bulk append, then inclusion proofs."""
    if (module := installed("pymerkle")) is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = module.SqliteTree(f"{folder}/tree.db", algorithm="sha256")
        entries = [os.urandom(ENTRY_BYTES) for _ in range(count)]
        _, build_ms = timed(lambda _: tree.append_entries(entries, chunksize=10_000), [None])
        _, prove_ms = timed(tree.prove_inclusion, range(1, count, max(1, count // 10)))
        tree.con.close()
    yield peer_row("pymerkle (SQLite)", count, build_ms, prove_ms)


def peer_row(method: str, count: int, build_ms: float, prove_ms: float) -> Row:
    rate = round(count / build_ms * 1000)
    return {
        "method": method,
        "act": "append and prove",
        "batch": count,
        "size": count,
        "per_s": rate,
        "inclusion_ms": prove_ms,
    }


def timed(function: Callable[[Any], Any], items: Any) -> tuple[list[Any], float]:
    """Return the results and the median time of a call in milliseconds."""
    results, times = [], []
    for item in items:
        started = time.perf_counter()
        results.append(function(item))
        times.append(1000 * (time.perf_counter() - started))
    return results, statistics.median(times)


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@contextmanager
def opened(path: Path) -> Iterator[SqlStore]:
    store = SqlStore(path)
    try:
        yield store
    finally:
        store.close()


if __name__ == "__main__":
    main()
