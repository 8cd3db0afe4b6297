"""One office with two licensees, a marked picture each, a leak, and its evidence: built once, then only read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from countermark.bootstrap import LedgerNode, create_office, open_office
from countermark.evidence.trust import Trust
from countermark.licensing import Terms
from countermark.standard_terms import fill, template

PASSPHRASE = "a passphrase for tests"
LEGAL = fill(template("evaluation"), {})  # any legal text: the terms below name its digest
TERMS = {
    "name": "Evaluation", "scope": ["infer", "publish"], "price": 120_000, "currency": "CNY", "duration_days": 30,
    "seats": 2, "resale": False, "territory": ["CN", "SG"], "revocable": True, "legal_text": LEGAL.digest,
}  # fmt: skip


@dataclass(frozen=True)
class CaseOffice:
    """Where the office is, and what a stranger holds."""

    workspace: Path
    leak: Path
    trace_id: str
    bundle: bytes
    trust: Trust

    @property
    def suspect(self) -> str:
        return f"sha256:{hashlib.sha256(self.leak.read_bytes()).hexdigest()}"

    def copy_workspace(self, target: Path) -> Path:
        return Path(shutil.copytree(self.workspace, target))


def write_model(directory: Path, seed: int) -> Path:
    """Write a one-tensor safetensors model whose bytes follow from the seed."""
    values = np.random.default_rng(seed).normal(size=64).astype("<f4").tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    directory.mkdir(exist_ok=True)
    (directory / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values)
    return directory


def build_office(folder: Path, node: LedgerNode | None = None) -> CaseOffice:
    """Go the whole path in a folder."""
    from PIL import Image
    from skimage import data

    from countermark.workflows import bundle, keys, license, mark, register, trace

    workspace, original, leak = folder / "office", folder / "astronaut.png", folder / "leak.jpg"
    Image.fromarray(data.astronaut()).save(original)
    create_office(workspace, PASSPHRASE, name="Test office", node=node)
    with open_office(workspace, PASSPHRASE) as office:
        register.add_party(office, "Atelier", ["owner"])
        title = register.register_model(office, write_model(folder / "model", 1), "Atelier")
        offer = license.offer_terms(office, title.id, Terms.from_json(TERMS), LEGAL)
        for name in ("North", "South"):
            register.add_party(office, name, ["licensee"])
            grant = license.grant_to_held(office, offer.id, name)
            (marked,) = mark.mark_images(office, grant.id, [original], folder / name)
        license.reserve_identifiers(office, 1000)
        with Image.open(marked.path) as picture:
            picture.crop((20, 20, 490, 490)).resize((376, 376), Image.Resampling.LANCZOS).save(leak, quality=70)
        (traced,) = trace.trace_files(office, [leak], use=trace.Use(scope="publish", territory="CN"))
        trust = keys.export_trust(office)
        evidence = bundle.make_bundle(office, traced.id, case="case 7", audience="court")
    return CaseOffice(workspace, leak, traced.id, evidence, trust)


@pytest.fixture(scope="session")
def case_office(tmp_path_factory: pytest.TempPathFactory) -> CaseOffice:
    """The office of the evidence tests; copy its workspace before changing it."""
    return build_office(tmp_path_factory.mktemp("case-office"))


@pytest.fixture
def build_case() -> Callable[..., CaseOffice]:
    """``build_office`` itself, for an office on another ledger."""
    return build_office


@pytest.fixture
def second_office(tmp_path: Path) -> CaseOffice:
    """Another office that looks the same."""
    return build_office(tmp_path)
