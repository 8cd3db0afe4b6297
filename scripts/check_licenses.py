"""Check the licence of every distribution that Countermark ships with: the dependency closure of one or more extras.

    python scripts/check_licenses.py [--extras all]

Only what a user receives is walked, not the development tools. A licence is read from the installed metadata, in this
order: the SPDX expression (core metadata 2.4), the free-text field, the trove classifiers. Whatever is not on the
allowed list is refused, so an unknown licence is a refusal and never a pass.

Exit status: 0 all allowed, 1 at least one refused or not installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PUBLIC_DOMAIN = "LicenseRef-Public-Domain"
ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"),
        *(
            "CNRI-Python",
            "HPND",
            "ISC",
            "MIT",
            "MIT-0",
            "MIT-CMU",
            "MPL-2.0",
            "PSF-2.0",
            "Python-2.0",
            "Unlicense",
            "Zlib",
        ),
        PUBLIC_DOMAIN,
    }
)

# How projects without an SPDX expression write a licence that we know.
_ALIASES = {
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd, public domain": f"BSD-2-Clause AND {PUBLIC_DOMAIN}",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "public domain": PUBLIC_DOMAIN,
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}

# Distributions that the list would refuse and a person has cleared: name -> (licence, why it is acceptable).
# Example of what belongs here: an unmodified LGPL library behind an optional extra.
EXCEPTIONS: dict[str, tuple[str, str]] = {}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One distribution, what its metadata says, the verdict, and a note where the verdict needs one."""

    name: str
    version: str
    license: str
    allowed: bool
    note: str = ""


def closure(root: str, extras: list[str]) -> set[str]:
    """Return the normalised names of everything that ``root[extras]`` needs on this machine, without ``root``."""
    waiting: list[tuple[str, str]] = [(canonicalize_name(root), extra) for extra in ["", *extras]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(_needs(*node))
    return {name for name, _ in seen} - {canonicalize_name(root)}


def _needs(name: str, extra: str) -> Iterator[tuple[str, str]]:
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(requirement.name), wanted) for wanted in ["", *requirement.extras])


def inspect(name: str) -> Finding:
    """Judge one installed distribution; one that is missing is refused, because nobody looked at it."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return Finding(name, "-", "-", False, "not installed")
    if name in EXCEPTIONS:
        return Finding(name, found.version, EXCEPTIONS[name][0], True, EXCEPTIONS[name][1])
    text = read_license(found.metadata)
    return Finding(name, found.version, text, permits(text), "" if text != "unknown" else "no licence that we can read")


def read_license(metadata: PackageMetadata) -> str:
    """Return an SPDX expression, or ``unknown``. Several classifiers are read as "all of them apply"."""
    expression, stated = (_field(metadata, name) for name in ("License-Expression", "License"))
    if expression:
        return expression
    if stated.lower() in _ALIASES or permits(stated):
        return _ALIASES.get(stated.lower(), stated)
    classifiers = (text.split(" :: ") for text in metadata.get_all("Classifier", []))
    labels = (parts[-1] for parts in classifiers if parts[0] == "License" and parts[-1] != "OSI Approved")
    return " AND ".join(_ALIASES.get(label.lower(), label) for label in labels) or "unknown"


def _field(metadata: PackageMetadata, name: str) -> str:
    return str(metadata[name]).strip() if name in metadata else ""


def permits(expression: str) -> bool:
    """Whether an SPDX expression can be satisfied with allowed licences only; anything malformed cannot."""
    tokens = re.findall(r"\(|\)|\bAND\b|\bOR\b|(?:(?!\bAND\b|\bOR\b)[^()])+", expression)
    words = [_truth(token.strip()) for token in tokens if token.strip()]
    try:
        # Only the five words of _truth reach eval; SPDX and Python agree that "and" binds tighter than "or".
        return bool(eval(" ".join(words)))
    except (SyntaxError, TypeError):
        return False


def _truth(token: str) -> str:
    return token.lower() if token in ("AND", "OR", "(", ")") else str(token in ALLOWED)


def main(arguments: list[str] | None = None) -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--extras", nargs="+", default=["all"], help="shipped extras to walk")
    findings = sorted(inspect(name) for name in closure("countermark", parser.parse_args(arguments).extras))
    for finding in findings:
        verdict = "ok     " if finding.allowed else "REFUSED"
        print(f"{verdict}  {finding.name:24} {finding.version:14} {finding.license}  {finding.note}".rstrip())
    refused = sum(not finding.allowed for finding in findings)
    print(f"{len(findings)} distributions, {refused} refused")
    return 1 if refused or not findings else 0


if __name__ == "__main__":
    sys.exit(main())
