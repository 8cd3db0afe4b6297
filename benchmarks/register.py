"""How fast a model is digested: MB/s beside plain hashing and ``model_signing``, with peak memory.

Every way reads the same synthetic shards from a warm page cache, in a process of its own so that its peak memory is its
own. ``digest_model`` does twice the hashing of ``hashlib`` (a digest per file and one per tensor). ``--limit`` is the
size of the model in MB (0: 1000).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import arguments, write_report
from countermark.artifact import digest_model, survey

_TENSOR_BYTES = 8 * 2**20
_SHARDS = 4
_REPEATS = 3


def main() -> None:
    parser = arguments("Digest a synthetic model of --limit MB (0: 1000).")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "DIR"), help="one way in this process (internal)")
    options = parser.parse_args()
    if options.measure:
        way, directory = options.measure
        print(json.dumps(measure(WAYS[way], Path(directory))))
        return
    with tempfile.TemporaryDirectory() as directory:
        size = write_model(Path(directory) / "model", (options.limit or 1000) * 1_000_000)
        rows: list[dict[str, Any]] = [
            {"way": way, **in_own_process(way, Path(directory) / "model", size)} for way in available()
        ]
    rate = {row["way"]: row["mb_per_s"] for row in rows}
    summary = {
        "model_mb": round(size / 1e6),
        "digest_mb_per_s": rate["digest_model"],
        "of_one_hash_per_byte": round(rate["digest_model"] / rate["hashlib"], 2),
        "peak_mb": rows[0]["peak_mb"],
    }
    write_report("register", rows, summary, options.json)


def write_model(directory: Path, size: int) -> int:
    """Write shards of U8 tensors with random bytes, ``size`` bytes of them in all; return the size of the files."""
    directory.mkdir()
    tensors = max(1, size // _TENSOR_BYTES)
    for shard in range(_SHARDS):
        names = [f"block.{i}.weight" for i in range(shard, tensors, _SHARDS)]
        write_shard(directory / f"model-{shard + 1:05}-of-{_SHARDS:05}.safetensors", names)
    return sum(file.stat().st_size for file in directory.iterdir())


def write_shard(path: Path, names: list[str]) -> None:
    entry = {"dtype": "U8", "shape": [_TENSOR_BYTES]}
    offsets = ([i * _TENSOR_BYTES, (i + 1) * _TENSOR_BYTES] for i in range(len(names)))
    header = json.dumps({name: {**entry, "data_offsets": span} for name, span in zip(names, offsets, strict=True)})
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        for name in names:
            file.write(random.Random(name).randbytes(_TENSOR_BYTES))


def available() -> list[str]:
    """Return the ways that can run here; the peer only where it is installed, with the pyOpenSSL that it imports."""
    peer = all(map(importlib.util.find_spec, ("model_signing", "OpenSSL")))
    return [way for way in WAYS if way != "model_signing" or peer]


def in_own_process(way: str, directory: Path, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.register", "--measure", way, str(directory)]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {"mb_per_s": round(size / 1e6 / measured["seconds"], 1), **measured}


def measure(digest: Callable[[Path], object], directory: Path) -> dict[str, float]:
    """Return the best of some runs (wall and processor seconds), and the growth of the peak resident size in MB."""
    before, walls, used = peak_mb(), [], []
    for _ in range(_REPEATS):
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        digest(directory)
        walls.append(time.perf_counter() - start)
        used.append(sum(os.times()[:4]) - cpu)
    return {"seconds": round(min(walls), 4), "cpu_s": round(min(used), 2), "peak_mb": round(peak_mb() - before, 1)}


def peak_mb() -> float:
    """Return the peak resident size; from /proc, because ``ru_maxrss`` starts with the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def by_countermark(directory: Path) -> object:
    return digest_model(survey(directory)).digest


def by_hashlib(directory: Path) -> object:
    digests = []
    for path in sorted(directory.iterdir()):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return digests


def by_sha256sum(directory: Path) -> object:
    return subprocess.run(["sha256sum", *sorted(directory.iterdir())], check=True, capture_output=True).stdout


def by_model_signing(directory: Path) -> object:
    from model_signing import hashing

    return hashing.Config().hash(directory)


WAYS: dict[str, Callable[[Path], object]] = {
    "digest_model": by_countermark,
    "hashlib": by_hashlib,
    "sha256sum": by_sha256sum,
    "model_signing": by_model_signing,
}


if __name__ == "__main__":
    main()
