"""The shipped bytecode is what the committed sources compile to."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from countermark.adapters.contracts import CONTRACTS, artefact

SOURCES = Path(__file__).parents[2] / "contracts"


@pytest.mark.tool("node", "npm")
def test_the_artefacts_are_reproducible():
    if not (SOURCES / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=SOURCES, check=True, capture_output=True)
    done = subprocess.run(["node", "compile.mjs", "--check"], cwd=SOURCES, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CONTRACTS)
def test_an_artefact_names_the_committed_sources_that_it_was_made_of(name):
    named = {path: digest for path, digest in artefact(name)["sources"].items() if path.startswith("src/")}
    assert f"src/{name}.sol" in named
    assert named == {path: hashlib.sha256((SOURCES / path).read_bytes()).hexdigest() for path in named}
    assert artefact(name)["settings"]["evmVersion"] == "cancun"


def test_every_source_is_part_of_an_artefact():
    named = set().union(*(artefact(name)["sources"] for name in CONTRACTS))
    assert {f"src/{path.name}" for path in SOURCES.glob("src/*.sol")} <= named


@pytest.mark.parametrize("name", CONTRACTS)
def test_contracts_fit_the_size_limit_of_public_chains(name):
    assert len(bytes.fromhex(artefact(name)["deployedBytecode"][2:])) <= 24_576, "EIP-170"


def _external(name):
    """The functions of a contract that our source declares, with their documentation."""
    source = (SOURCES / "src" / f"{name}.sol").read_text()
    return re.findall(r"((?: *///[^\n]*\n)*) *function (\w+)\([^{;]*?\b(?:external|public)\b", source)


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_external_function_is_documented(name):
    found = _external(name)
    assert found
    assert [function for comment, function in found if not re.search(r"@(notice|inheritdoc) ", comment)] == []
