"""What every benchmark shares: its command line, the printed table, and the JSON document that keeps the provenance.

The document is ``{"name", "when", "machine", "versions", "rows": [flat dicts], "summary": {...}}``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("countermark", "numpy", "pillow", "cryptography", "torch", "web3", "py-evm", "tokenizers", "transformers")
_PEERS = ("blind-watermark", "invisible-watermark", "onnxruntime", "opencv-python")


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows ``--json OUT`` and ``--limit N`` (0: no limit); add the benchmark's own options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="OUT", help="also write the result to this file")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N items (0: no limit)")
    return parser


def write_report(
    name: str, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], json_path: str | None
) -> None:
    """Print ``rows`` as a table and the whole report as one last line of JSON; write it to ``json_path`` if given."""
    report = {
        "name": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "rows": [dict(row) for row in rows],
        "summary": dict(summary),
    }
    print(table(rows), flush=True)
    if json_path:
        Path(json_path).parent.mkdir(parents=True, exist_ok=True)
        Path(json_path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report), flush=True)


def machine() -> dict[str, Any]:
    """Return processor, core count, load and platform: what a time depends on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results may depend on, where installed."""
    found = {"python": platform.python_version()}
    for package in (*_PACKAGES, *_PEERS):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as aligned text columns, in the order of their keys' first appearance."""
    if not rows:
        return "(no rows)"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_show(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def _show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
