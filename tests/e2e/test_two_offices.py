"""Two offices on one ledger: the second joins the first one's deployment, is admitted, and works beside it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from countermark.bootstrap import LedgerNode, create_office, open_office
from countermark.cli.root import root
from countermark.core.keys import PublicKey
from countermark.errors import (
    AlreadyRegistered,
    ConflictError,
    InputError,
    LedgerError,
    NetworkError,
    NotFoundError,
    ProofInvalid,
    RightsError,
)
from countermark.evidence.verification import VERIFIED, Demand, verify
from countermark.licensing import Terms
from countermark.workflows import anchor, bundle, check, governance, keys, license, register, title, trace
from countermark.workflows.market import catalogue, money, sales
from countermark.workflows.market.history import history
from countermark.workflows.office import Office

PASSPHRASE = "a passphrase for tests"
FREE = ("--gas-price", "0", "--base-fee", "0", "--no-priority-fee")
FIRST, SECOND = "First Office", "Second Office"
TERMS = {
    "name": "Hosted use", "scope": ["infer"], "price": 40_000, "currency": "EUR", "duration_days": 30, "seats": 0,
    "resale": True, "territory": "worldwide", "revocable": True, "legal_text": None, "on_market": True, "bond": 500,
}  # fmt: skip
pytestmark = pytest.mark.tool("npm")


def run(workspace, *words, status=0):
    result = CliRunner().invoke(
        root, ["--json", "-w", str(workspace), *words], env={"COUNTERMARK_PASSPHRASE": PASSPHRASE}
    )
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def write_model(folder: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).normal(size=64).astype("<f4").tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values)
    return folder


@pytest.fixture(scope="module")
def node(anvil):
    with anvil(*FREE) as running:
        yield running


@pytest.fixture(scope="module")
def deployed(node, tmp_path_factory):
    """The first office, with a title on sale and another offered, and the file of its deployment."""
    folder = tmp_path_factory.mktemp("first")
    workspace, file = folder / "office", folder / "deployment.json"
    create_office(
        workspace, PASSPHRASE, name=FIRST, node=LedgerNode(url=node.url), platform_fee_bps=250, currency="EUR"
    )
    assert run(workspace, "ledger", "deployment", "--out", str(file))["roles"] == [
        "governor",
        "treasurer",
        "marker",
        "operator",
    ]
    with open_office(workspace, PASSPHRASE) as office:
        register.add_party(office, "Atelier", ["owner"])
        register.add_party(office, "North", ["licensee"])
        register.register_model(office, write_model(folder / "model", 1), "Atelier", derivatives=500)
        license.offer_terms(office, 1, Terms.from_json(TERMS))
        sales.sell_title(office, 1, price=90_000, until=datetime.now(UTC) + timedelta(days=9), deed="Assignment")
    return workspace, file


def join(node, deployed, workspace) -> str:
    return str(run(workspace, "init", "--name", SECOND, "--ledger", node.url, "--join", str(deployed[1]))["account"])


def admit(first: Office, workspace, account: str, *roles: str) -> None:
    key = run(workspace, "ledger", "deployment", "--out", str(workspace.parent / "again.json"))["public_key"]
    register.add_party(first, SECOND, ["operator", *roles], public_key=PublicKey.from_text(key), address=account)


@dataclass
class Two:
    """Both offices, open; the second one is operator and governor, with an owner, two licensees and a title."""

    first: Office
    second: Office
    model: Path

    def sell(self, licensee: str) -> int:
        """Sell a licence of the second office's title for money of the first one's treasurer."""
        buyer = money.read_party(self.second, licensee).address
        money.issue_money(self.first, buyer, 100_000, f"bank booking for {licensee}")
        with self.second.store.transaction() as transaction:
            offer = next(int(body["id"]) for body in transaction.all("offer"))
        return int(sales.buy_license(self.second, offer, licensee)["sale_id"])


@pytest.fixture(scope="module")
def two(node, deployed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    account = join(node, deployed, folder / "office")
    with ExitStack() as stack:
        first = stack.enter_context(open_office(deployed[0], PASSPHRASE))
        admit(first, folder / "office", account, "governor")
        second = stack.enter_context(open_office(folder / "office", PASSPHRASE))
        register.add_party(second, "Manufactory", ["owner"])
        for name in ("South", "West"):
            register.add_party(second, name, ["licensee"])
        model = write_model(folder / "model", 2)
        register.register_model(second, model, "Manufactory", parents=[(1, 500)])
        license.offer_terms(second, 2, Terms.from_json(TERMS))
        yield Two(first, second, model)


def test_joining_deploys_nothing_and_shows_the_account(node, deployed, tmp_path):
    height = node.ask("eth_blockNumber")
    made = run(tmp_path / "ws", "init", "--name", SECOND, "--ledger", node.url, "--join", str(deployed[1]))
    assert node.ask("eth_blockNumber") == height
    assert made["market"] == {"platform_fee_bps": 250, "currency": "EUR"}
    file = json.loads(deployed[1].read_text())
    assert file.pop("format") == "countermark.deployment/1"
    assert made["deployment"] == file
    assert node.url not in deployed[1].read_text()
    shown = run(tmp_path / "ws", "ledger", "deployment", "--out", str(tmp_path / "again.json"))
    assert (shown["roles"], shown["account"], shown["public_key"]) == ([], made["account"], made["public_key"])
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(deployed[1].read_text())
    assert run(tmp_path / "ws", "doctor")["workspace"]["problems"] == []


def test_an_office_that_is_not_admitted_is_refused_with_a_hint(node, deployed, tmp_path):
    account = join(node, deployed, tmp_path / "ws")
    for words in (["party", "add", "Manufactory", "--role", "owner"], ["anchor"]):
        refused = run(tmp_path / "ws", *words, status=1)
        assert refused["code"] == "rights"
        assert account in refused["message"]
        assert "party add NAME --role ROLE --address" in refused["hint"]
    assert run(tmp_path / "ws", "market", "list")["on_sale"], "what others sell is seen all the same"
    assert run(tmp_path / "ws", "log", "check")["acts"] == 0


def test_an_operator_issues_no_money_and_admits_nobody(node, deployed, tmp_path):
    account = join(node, deployed, tmp_path / "ws")
    with open_office(deployed[0], PASSPHRASE) as first:
        register.add_party(first, "Third Office", ["operator"], address=account)
    with open_office(tmp_path / "ws", PASSPHRASE) as third:
        assert governance.office_roles(third) == ["marker", "operator"]
        license.reserve_identifiers(third, 3)
        anchor.anchor_log(third)
        for act in (
            lambda: register.add_party(third, "Manufactory", ["owner"]),
            lambda: money.issue_money(third, None, 5, "booking"),
            lambda: governance.propose(third, "market.fee", "1%"),
        ):
            with pytest.raises(RightsError):
                act()
        assert check.check_office(third)["identifiers_issued"] == 3


def test_join_is_taken_up_again(node, deployed, tmp_path, anvil):
    document, workspace = json.loads(deployed[1].read_text()), tmp_path / "ws"
    with pytest.raises(NetworkError):
        create_office(workspace, PASSPHRASE, name=SECOND, node=LedgerNode(url="http://127.0.0.1:9", join=document))
    with anvil(*FREE, chain_id=7) as other, pytest.raises(LedgerError, match="serves chain 7"):
        create_office(workspace, PASSPHRASE, name=SECOND, node=LedgerNode(url=other.url, join=document))
    made = create_office(workspace, PASSPHRASE, name=SECOND, node=LedgerNode(url=node.url, join=document))
    assert made["deployment"]["contracts"] == document["contracts"]
    with pytest.raises(ConflictError):
        create_office(workspace, PASSPHRASE, name=SECOND, node=LedgerNode(url=node.url, join=document))


def test_an_unfinished_deployment_of_ones_own_is_not_joined_over(node, deployed, tmp_path):
    document = json.loads(deployed[1].read_text())
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "ledger.json").write_text(json.dumps(document | {"contracts": {}}))
    with pytest.raises(ConflictError, match="another deployment"):
        create_office(tmp_path / "ws", PASSPHRASE, name=SECOND, node=LedgerNode(url=node.url, join=document))


def swapped(contracts):
    return contracts | {"Market": contracts["Grants"]}


def one_more(contracts):
    return contracts | {"Stranger": "0x" + "11" * 20}


def one_less(contracts):
    return {name: address for name, address in contracts.items() if name != "Disputes"}


def nowhere(contracts):
    return contracts | {"Anchors": "0x" + "11" * 20}


@pytest.mark.parametrize(
    ("change", "error"),
    [(swapped, LedgerError), (nowhere, LedgerError), (one_more, InputError), (one_less, InputError)],
)
def test_a_deployment_that_is_not_ours_is_refused(node, deployed, tmp_path, change, error):
    document = json.loads(deployed[1].read_text())
    document["contracts"] = change(document["contracts"])
    with pytest.raises(error):
        create_office(tmp_path / "ws", PASSPHRASE, name=SECOND, node=LedgerNode(url=node.url, join=document))
    assert not (tmp_path / "ws" / "workspace.json").exists()


def test_a_contract_that_is_not_in_force_is_refused(node, deployed, tmp_path):
    """Of a second deployment's file, the market is ours in its code, but the first one's directory names another."""
    create_office(tmp_path / "own", PASSPHRASE, name="Own", node=LedgerNode(url=node.url))
    own, document = tmp_path / "own.json", json.loads(deployed[1].read_text())
    run(tmp_path / "own", "ledger", "deployment", "--out", str(own))
    document["contracts"]["Market"] = json.loads(own.read_text())["contracts"]["Market"]
    with pytest.raises(LedgerError):
        create_office(tmp_path / "ws", PASSPHRASE, name=SECOND, node=LedgerNode(url=node.url, join=document))


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"format": "countermark.deployment/1"}'])
def test_what_is_no_deployment_file(node, tmp_path, text):
    (tmp_path / "file").write_text(text)
    command = ("init", "--ledger", node.url, "--join", str(tmp_path / "file"))
    assert run(tmp_path / "ws", *command, status=2)["code"] == "input"


def test_options_that_belong_to_the_deployment(deployed, tmp_path):
    for words in (
        ["--join", str(deployed[1])],
        ["--ledger", "http://h", "--join", str(deployed[1]), "--currency", "XYZ"],
    ):
        assert run(tmp_path / "ws", "init", *words, status=2)["code"] == "input"


def test_a_ledger_of_ones_own_is_nobody_elses(tmp_path):
    create_office(tmp_path / "ws", PASSPHRASE, name="Alone")
    refused = run(tmp_path / "ws", "ledger", "deployment", "--out", str(tmp_path / "file"), status=1)
    assert refused["code"] == "conflict"
    assert not (tmp_path / "file").exists()


def test_an_account_keeps_its_roles_and_its_key(two):
    west = money.read_party(two.second, "West")
    with pytest.raises(ConflictError, match="another signing key"):
        register.add_party(two.first, "West", ["owner"], address=west.address)
    register.add_party(two.first, "West", ["owner"], address=west.address, public_key=west.key)
    roles = register.role_mask(["owner", "licensee"])
    assert two.first.ledger.record("Members", "memberOf", west.address)["roles"] == roles


def test_weights_of_another_office_are_not_registered_again(two, tmp_path):
    with pytest.raises(AlreadyRegistered, match="title 1") as refused:
        register.register_model(two.second, write_model(tmp_path / "copy", 1), "Manufactory")
    assert "history title:1" in refused.value.hint


def test_a_licence_is_sold_for_money_of_the_others_treasurer(two):
    before = money.balance(two.first, "Atelier")["credit"]
    grant = sales.deliver_license(two.second, two.sell("South"))
    assert two.first.ledger.permitted(grant.id, int(two.first.clock().timestamp()) + 5)
    owed = money.balance(two.first, "Atelier")["credit"] - before
    assert owed == 2_000, "the parent model's owner, whom the other office serves, has its share"
    assert money.balance(two.second, "Manufactory")["credit"] >= 40_000 - 1_000 - 2_000


def test_everything_on_sale_is_listed_by_both(two):
    shown = [[quote.to_json() for quote in catalogue.on_sale(office)] for office in (two.first, two.second)]
    assert shown[0] == shown[1]
    assert {(quote["kind"], quote["title"]) for quote in shown[0]} == {("license", 1), ("license", 2), ("title", 1)}
    steps = [history(office, "title:2") for office in (two.first, two.second)]
    assert [step.event for step in steps[0]] == [step.event for step in steps[1]]


def test_what_another_office_sells_is_not_bought_half(two):
    money.issue_money(two.first, money.read_party(two.second, "West").address, 90_000, "for a title")
    before = len(two.second.ledger.events())
    for act in (
        lambda: sales.buy_license(two.second, 1, "West"),
        lambda: sales.buy_title(two.second, 1, "Manufactory"),
        lambda: sales.sell_title(two.second, 1, price=1, until=datetime.now(UTC) + timedelta(days=1), deed="x"),
        lambda: title.set_derivatives(two.second, 1, None),
        lambda: license.offer_terms(two.second, 1, Terms.from_json(TERMS)),
    ):
        with pytest.raises(NotFoundError, match="in this workspace") as refused:
            act()
        assert "another office" in refused.value.hint
    assert len(two.second.ledger.events()) == before


def test_a_paid_sale_is_delivered_and_refunded_by_its_own_office(two):
    sale = two.sell("West")
    for act in (lambda: sales.refund(two.first, sale), lambda: sales.deliver_license(two.first, sale)):
        with pytest.raises(NotFoundError):
            act()
    assert sales.refund(two.second, sale)["amount"] == 40_500


def test_both_logs_are_anchored_and_both_offices_in_order(two):
    anchors = [anchor.anchor_log(office) for office in (two.first, two.second)]
    assert anchors[0]["root"] != anchors[1]["root"]
    for office in (two.first, two.second):
        assert check.check_office(office)["anchors"] >= 1
    with pytest.raises(RightsError):
        two.second.ledger.prepare_call(
            two.second.account,
            "Anchors",
            "anchor",
            (anchor.log_id(two.first.origin), 10**6, bytes(31) + b"1", bytes(31) + b"1"),
        )


def test_both_indexes_are_the_same_from_block_0(two):
    for office in (two.first, two.second):
        office.index.follow()
        followed = list(office.index.named())
        office.index.rebuild()
        assert list(office.index.named()) == followed
    assert list(two.first.index.named()) == list(two.second.index.named())


def test_identifiers_are_counted_over_both_and_checked_for_each(two):
    before = [check.check_office(office)["identifiers_issued"] for office in (two.first, two.second)]
    license.reserve_identifiers(two.second, 7)
    after = [check.check_office(office)["identifiers_issued"] for office in (two.first, two.second)]
    assert after == [before[0], before[1] + 7]
    assert two.first.ledger.identifiers_issued() >= sum(after)


def test_what_an_account_of_ours_did_and_the_log_lacks_is_found(two):
    """The second office is out of order from here on."""
    raw = two.second.ledger.prepare_call(two.second.account, "Grants", "commitBatch", (bytes(31) + b"9", 1))
    two.second.ledger.submit(raw)
    with pytest.raises(ProofInvalid, match="0 in the log, 1 on the ledger"):
        check.check_office(two.second)
    check.check_office(two.first)


def test_a_trace_counts_the_identifiers_of_every_office(anvil, build_case, tmp_path):
    with anvil(*FREE) as node:
        case = build_case(tmp_path, LedgerNode(url=node.url))
        run(case.workspace, "ledger", "deployment", "--out", str(tmp_path / "deployment.json"))
        account = join(node, (case.workspace, tmp_path / "deployment.json"), tmp_path / "second" / "office")
        with open_office(case.workspace, PASSPHRASE) as first:
            admit(first, tmp_path / "second" / "office", account)
        with open_office(tmp_path / "second" / "office", PASSPHRASE) as second:
            license.reserve_identifiers(second, 50)
        with open_office(case.workspace, PASSPHRASE) as first:
            (traced,) = trace.trace_files(first, [case.leak])
            assert traced.p_innocent is not None
            assert traced.p_innocent["corrected_for"]["identifiers"] == 1052
            evidence = bundle.make_bundle(first, traced.id, case="case 8", audience="court")
            trust = keys.describe_trust(first)
            check.check_office(first)
    verified = verify(evidence, Demand(trust=trust, suspect=case.suspect, case="case 8", audience="court"))
    assert verified.outcome == VERIFIED
