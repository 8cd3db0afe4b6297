"""Run the static analyser on the contracts, and fail on a finding that nobody has argued.

    python scripts/analyze_contracts.py [--slither build/analysis/bin/slither] [--all]

The contracts are compiled by the compiler that they ship with (``contracts/build_info.mjs``, needs Node.js and
``npm ci`` in ``contracts/``), and Slither reads its output. What it finds in our sources is compared with the tables of
``contracts/analysis.md``, which hold one sentence for each finding that stands. Slither is a program on its own
(AGPL-3.0, see ``contracts/analysis-requirements.txt``); only the JSON that it prints is read here.

Exit status: 0 every finding is argued and every argument is needed; 1 not so; 2 the analyser did not run.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).parents[1] / "contracts"
ARGUED = CONTRACTS / "analysis.md"
SLITHER = Path(__file__).parents[1] / "build" / "analysis" / "bin" / "slither"
# A row: detector, place, how often there, why it stands. Where the count is `any`, a place that ends in `*` stands for
# all that begin so, and `*` alone for all.
_ROW = re.compile(
    r"^\| `(?P<check>[a-z0-9-]+)` \| `(?P<where>[^`]+)` \| (?P<count>\d+|any) \| \S.{20,} \|$", re.MULTILINE
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What a detector found, named without line numbers so that it keeps its name while code around it changes."""

    check: str
    where: str
    text: str = ""


def analyze(slither: Path) -> list[Finding]:
    """Return what Slither finds in our sources, those of the libraries left out.

    Raises:
        OSError: there is no such program.
        subprocess.CalledProcessError: the contracts do not compile.
        ValueError: the analyser failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["node", "build_info.mjs", folder], cwd=CONTRACTS, check=True)
        report = Path(folder) / "report.json"
        command = [str(slither.absolute()), ".", "--ignore-compile", "--npx-disable", "--exclude-dependencies"]
        done = subprocess.run([*command, "--json", str(report)], cwd=folder, capture_output=True, text=True)
        if not report.exists():
            raise ValueError(done.stderr.strip().splitlines()[-1:])
        return list(read_report(json.loads(report.read_text(encoding="utf-8"))))


def read_report(report: dict[str, Any]) -> Iterator[Finding]:
    """Read Slither's JSON.

    Raises:
        ValueError: it says that the analysis failed, or was of nothing.
    """
    if not report["success"]:
        raise ValueError(report["error"])
    for found in report["results"].get("detectors", []):
        if found["elements"]:
            yield Finding(found["check"], _name(found["elements"][0]), found["description"].strip())


def _name(element: dict[str, Any]) -> str:
    """Return ``Contract.function(types)`` for a function or what stands in one, ``Contract`` or ``file`` otherwise."""
    fields = element.get("type_specific_fields", {})
    if element["type"] in ("node", "variable") and fields.get("parent", {}).get("type") == "function":
        return _name(fields["parent"])
    parent = fields.get("parent", {})
    owner = f"{parent['name']}." if parent.get("type") == "contract" else ""
    return owner + str(fields.get("signature", element["name"]))


@dataclass(frozen=True, slots=True)
class Argued:
    """What ``contracts/analysis.md`` argues: how many findings of a detector at a place, or any number."""

    counts: Counter[tuple[str, str]]
    any: frozenset[tuple[str, str]]

    def pattern(self, finding: Finding) -> tuple[str, str] | None:
        """Return the row that argues a finding however often it comes."""
        rows = (row for row in self.any if row[0] == finding.check)
        return next((row for row in rows if finding.where.startswith(row[1].removesuffix("*"))), None)


def read_argued(text: str) -> Argued:
    """Read the rows of the page's table."""
    rows = [((row["check"], row["where"]), row["count"]) for row in _ROW.finditer(text)]
    counts = {place: int(count) for place, count in rows if count != "any"}
    return Argued(Counter(counts), frozenset(place for place, count in rows if count == "any"))


def judge(findings: list[Finding], argued: Argued) -> tuple[list[Finding], list[str]]:
    """Return the findings at places where more are than argued, and the arguments that have too few."""
    counted = [finding for finding in findings if argued.pattern(finding) is None]
    found = Counter((finding.check, finding.where) for finding in counted)
    open_ = [finding for finding in counted if (finding.check, finding.where) in found - argued.counts]
    idle = argued.any - {argued.pattern(finding) for finding in findings}
    return sorted(open_), [f"{check}  {where}" for check, where in sorted([*(argued.counts - found), *idle])]


def main(arguments: list[str] | None = None) -> int:
    """Print what is not argued and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slither", type=Path, default=SLITHER, help="the program")
    parser.add_argument("--all", action="store_true", help="print the argued findings too")
    options = parser.parse_args(arguments)
    try:
        findings = analyze(options.slither)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"the analyser did not run: {error}", file=sys.stderr)
        return 2
    open_, stale = judge(findings, read_argued(ARGUED.read_text(encoding="utf-8")))
    for found in sorted(findings) if options.all else open_:
        print(f"{found.check}  {found.where}\n    {found.text}\n")
    for text in stale:
        print(f"argued in contracts/analysis.md, but not found so often any more: {text}")
    print(f"{len(findings)} findings, {len(open_)} without an argument, {len(stale)} arguments without a finding")
    return 1 if open_ or stale else 0


if __name__ == "__main__":
    sys.exit(main())
