"""The shipped bytecode is what the committed sources compile to."""

from __future__ import annotations

import hashlib
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
def test_the_artefacts_name_the_committed_sources(name):
    sources = artefact(name)["sources"]
    for path in SOURCES.glob("src/*.sol"):
        assert sources[f"src/{path.name}"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert artefact(name)["settings"]["evmVersion"] == "cancun"


@pytest.mark.parametrize("name", CONTRACTS)
def test_contracts_fit_the_size_limit_of_public_chains(name):
    assert len(bytes.fromhex(artefact(name)["deployedBytecode"][2:])) <= 24_576, "EIP-170"
