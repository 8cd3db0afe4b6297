"""What ``check_office`` finds: a log that was edited, an anchor of another history, an act without its entry."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from countermark.bootstrap import create_office, open_office
from countermark.errors import CheckpointInconsistent, ProofInvalid, VerificationError
from countermark.governance import name_word
from countermark.registry import log_entry
from countermark.workflows.anchor import anchor_log
from countermark.workflows.check import check_office
from countermark.workflows.governance import propose
from countermark.workflows.license import reserve_identifiers
from countermark.workflows.market.acts import show_facts
from countermark.workflows.office import Office, append
from countermark.workflows.register import add_party

PASSPHRASE = "a passphrase for tests"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An office with a party, a batch and an anchor."""
    folder = tmp_path_factory.mktemp("check") / "office"
    create_office(folder, PASSPHRASE, name="Checked")
    with open_office(folder, PASSPHRASE) as office:
        add_party(office, "Lin", ["owner"])
        reserve_identifiers(office, 5)
        anchor_log(office)
    return folder


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "office"
    copy.mkdir()
    for file in template.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_an_office_in_order_passes(workspace: Path) -> None:
    with open_office(workspace, PASSPHRASE) as office:
        found = check_office(office)
    assert (found["size"], found["anchors"], found["acts"], found["identifiers_issued"]) == (4, 1, 2, 5)


def test_acts_are_checked_by_their_facts(workspace: Path) -> None:
    with open_office(workspace, PASSPHRASE) as office:
        propose(office, "market.fee", "1%")
        propose_and_log(office)
        assert check_office(office)["acts"] == 4


def test_an_edited_entry_is_found(workspace: Path) -> None:
    with sqlite3.connect(workspace / "store.db") as database:
        ((index, data),) = database.execute('SELECT "index", data FROM log_bundles').fetchall()
        edited = data.replace(b'"count":5', b'"count":6')
        assert edited != data
        database.execute('UPDATE log_bundles SET data = ? WHERE "index" = ?', (edited, index))
    database.close()
    with open_office(workspace, PASSPHRASE) as office, pytest.raises(VerificationError):
        check_office(office)


def break_anchor(office: Office) -> None:
    with office.store.transaction() as transaction:
        (anchor,) = transaction.all("anchor")
        transaction.put("anchor", str(anchor["size"]), {**anchor, "root": "00" * 32})


def drop_anchor(office: Office) -> None:
    with office.store.transaction() as transaction:
        (anchor,) = transaction.all("anchor")
        transaction.delete("anchor", str(anchor["size"]))


def log_an_act_twice(office: Office) -> None:
    with office.store.transaction() as transaction:
        (member,) = transaction.all("party")
        append(transaction, log_entry("party", party=member["id"], transaction=member["admission"]))


def log_an_act_that_never_was(office: Office) -> None:
    with office.store.transaction() as transaction:
        append(transaction, log_entry("grant", grant=1, transaction="0x" + "11" * 32))


def propose_and_log(office: Office, **changes: object) -> None:
    """Do an act on the ledger, and write another entry of it than the office would."""
    call = ("Directory", "propose", (name_word("market.fee"), 100))
    receipt = office.ledger.submit(office.ledger.prepare_call(office.account, *call))
    facts = show_facts(receipt.event("Proposed"))
    entry = {"event": "Proposed", "facts": facts | changes, "transaction": receipt.transaction_hash}
    with office.store.transaction() as transaction:
        append(transaction, log_entry("act", act="propose", **entry, time=office.now()))


def log_other_facts_of_an_act(office: Office) -> None:
    propose_and_log(office, value=101)


def log_another_event_of_an_act(office: Office) -> None:
    done = propose(office, "market.fee", "1%")
    with office.store.transaction() as transaction:
        facts = {"proposal_id": done["proposal_id"]}
        append(
            transaction,
            log_entry("act", act="withdraw", event="Withdrawn", facts=facts, transaction=done["transaction"]),
        )


def log_an_act_of_no_transaction(office: Office) -> None:
    with office.store.transaction() as transaction:
        append(transaction, log_entry("act", act="x", event="Proposed", facts={}, transaction="0x" + "11" * 32))


def act_without_the_log(office: Office) -> None:
    call = ("Directory", "propose", (name_word("market.fee"), 100))
    office.ledger.submit(office.ledger.prepare_call(office.account, *call))


def issue_without_the_ledger(office: Office) -> None:
    with office.store.transaction() as transaction:
        transaction.issue([12345], "grant:9")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (break_anchor, CheckpointInconsistent),
        (drop_anchor, CheckpointInconsistent),
        (log_an_act_twice, ProofInvalid),
        (log_an_act_that_never_was, ProofInvalid),
        (issue_without_the_ledger, ProofInvalid),
        (log_other_facts_of_an_act, ProofInvalid),
        (log_another_event_of_an_act, ProofInvalid),
        (log_an_act_of_no_transaction, ProofInvalid),
        (act_without_the_log, ProofInvalid),
    ],
)
def test_a_contradiction_is_found(
    workspace: Path, change: Callable[[Office], None], error: type[VerificationError]
) -> None:
    with open_office(workspace, PASSPHRASE) as office:
        change(office)
        with pytest.raises(error):
            check_office(office)
