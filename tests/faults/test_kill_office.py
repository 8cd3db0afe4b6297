"""kill -9 at random moments during register, grant, mark and anchor: nothing acknowledged is lost."""

import random
import sys
import time
from pathlib import Path

import pytest

from countermark.bootstrap import create_office, open_office
from countermark.core.canonical import show_digest
from countermark.licensing import Terms
from countermark.marking.image.files import content_digest
from countermark.workflows.check import check_office
from countermark.workflows.license import grant_to_held, offer_terms
from countermark.workflows.register import add_party, register_model

from .killing import run_and_kill

WORKER = Path(__file__).with_name("office_worker.py")
PASSPHRASE = "a passphrase for tests"
KINDS = {"register", "grant", "mark", "anchor"}
TERMS = {
    "name": "Test", "scope": ["infer"], "price": 0, "currency": "CNY", "duration_days": 30, "seats": 0,
    "resale": False, "territory": "worldwide", "revocable": True,
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path):
    sys.path.insert(0, str(WORKER.parent))
    from office_worker import write_model

    sys.path.pop(0)
    directory = tmp_path / "office"
    create_office(directory, PASSPHRASE, name="Test office")
    with open_office(directory, PASSPHRASE) as office:
        add_party(office, "owner", ["owner"])
        add_party(office, "licensee", ["licensee"])
        register_model(office, write_model(tmp_path / "model", 1), "owner")
        offer_terms(office, 1, Terms.from_json(TERMS))
        grant_to_held(office, 1, "licensee")
    return directory


@pytest.mark.parametrize("kills", [30, pytest.param(150, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_nothing_acknowledged_is_lost(workspace, kills):
    chance = random.Random(20261121)
    acknowledged, interrupted, number = [], None, 0
    started = time.monotonic()
    # A busy machine may get nothing of some kind done between kills: then it goes on, with more time, until it has.
    while number < kills or {act["kind"] for act, _ in acknowledged} != KINDS:
        delay = chance.uniform(0.0, 0.6) if number < kills else 3.0
        done, interrupted = run_and_kill(WORKER, workspace, number, interrupted, delay)
        acknowledged += done
        number += 1
        assert time.monotonic() - started < 15 * kills
    with open_office(workspace, PASSPHRASE) as office:
        check_office(office)  # log and ledger agree
        with office.store.transaction() as transaction:
            for act, result in acknowledged:
                confirm(office, transaction, act["kind"], result)
        grants = [result["grant"] for act, result in acknowledged if act["kind"] == "grant"]
        assert len(set(grants)) == len(grants)  # no act was done for two commands


def confirm(office, transaction, kind, result):
    if kind == "register":
        body = transaction.get("title", str(result["title"]))
        assert office.ledger.title(body["id"]).weights_root.hex() == body["weights_root"].removeprefix("sha256:")
    elif kind == "grant":
        assert transaction.get("grant", str(result["grant"])) is not None
        assert office.ledger.grant(result["grant"]) is not None
    elif kind == "mark":
        assert show_digest(content_digest(Path(result["path"]))) == result["content"]
        assert transaction.find("output", result["content"])
    else:
        assert transaction.get("anchor", str(result["size"])) is not None
