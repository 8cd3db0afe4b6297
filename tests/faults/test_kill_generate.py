"""kill -9 at random moments of generation: no counter serves twice, and no picture is without record and log entry."""

import json
import random
import time
from pathlib import Path

import pytest

from countermark.bootstrap import create_office, open_office
from countermark.core.canonical import show_digest
from countermark.evidence import log
from countermark.licensing import Terms
from countermark.marking.image.files import content_digest
from countermark.marking.image.noise_ledger import pattern_digest
from countermark.workflows.check import check_office
from countermark.workflows.license import grant_to_held, offer_terms
from countermark.workflows.register import add_party, register_model

from .killing import run_and_kill

WORKER = Path(__file__).with_name("generate_worker.py")
PASSPHRASE = "a passphrase for tests"
TERMS = {
    "name": "Test", "scope": ["infer"], "price": 0, "currency": "CNY", "duration_days": 30, "seats": 0,
    "resale": False, "territory": "worldwide", "revocable": True,
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path):
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(range(256))
    (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    (model / "model_index.json").write_text('{"_class_name": "DDIMPipeline", "unet": ["diffusers", "UNet2DModel"]}')
    create_office(tmp_path / "office", PASSPHRASE, name="Test office")
    with open_office(tmp_path / "office", PASSPHRASE) as office:
        add_party(office, "owner", ["owner"])
        add_party(office, "licensee", ["licensee"])
        register_model(office, model, "owner")
        offer_terms(office, 1, Terms.from_json(TERMS))
        grant_to_held(office, 1, "licensee")
    return tmp_path / "office"


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_counters_serve_once_and_pictures_have_records(workspace, kills):
    chance = random.Random(20261122)
    named, interrupted, number, started = [], None, 0, time.monotonic()
    while number < kills or not named:
        delay = chance.uniform(0.0, 0.5) if number < kills else 3.0
        done, interrupted = run_and_kill(WORKER, workspace, number, interrupted, delay)
        named += [name for _, names in done for name in names]
        number += 1
        assert time.monotonic() - started < 15 * kills
    out = workspace.parent / "out"
    pictures = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert len(named) == len(set(named))
    assert set(named) <= {path.name for path in pictures}
    with open_office(workspace, PASSPHRASE) as office:
        check_office(office)
        recorded = office.noise.of(1, 0, 4096).read()
        names = recorded.names.tolist()
        assert len(names) == len(set(names))
        with office.store.transaction() as transaction:
            for path in pictures:
                digest = show_digest(content_digest(path))
                output = transaction.get("output", f"1/{digest}")
                assert json.loads(log.entry(transaction.tiles, output["log_index"]))["content"] == digest
                place = names.index(output["generation"]["counter"])
                kept = recorded.words([place])
                assert show_digest(pattern_digest(kept)) == output["generation"]["pattern"]
            orders = list(transaction.all("order"))
            assert all(order["made"] <= 3 for order in orders)
            counters = [output["generation"]["counter"] for output in transaction.all("output")]
        assert len(counters) == len(set(counters))
        assert max(names) < transaction_next(office)


def transaction_next(office):
    with office.store.transaction() as transaction:
        return transaction.get("noise-counter", "1/0")["next"]
