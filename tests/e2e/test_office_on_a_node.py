"""A whole office whose ledger is a chain behind a node: the same path, a lost reply, a node that is away."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from countermark.adapters.node import NodeProvider
from countermark.bootstrap import LedgerNode, create_office, open_office, read_workspace
from countermark.cli.root import root
from countermark.core.keys import Secret
from countermark.errors import ConflictError, InputError, NetworkError
from countermark.evidence.verification import VERIFIED, Demand, verify
from countermark.workflows import check, register

PASSPHRASE = "a passphrase for tests"
FREE = ("--gas-price", "0", "--base-fee", "0", "--no-priority-fee")
needs_node = pytest.mark.tool("npm")


@needs_node
def test_the_whole_path_on_a_free_gas_chain(anvil, build_case, tmp_path):
    with anvil(*FREE) as node:
        case = build_case(tmp_path, LedgerNode(url=node.url))
        document = read_workspace(case.workspace)
        assert document["chain_id"] == document["ledger"]["chain_id"] == case.trust.chain_id
        assert not (case.workspace / "ledger.db").exists()
        with open_office(case.workspace, PASSPHRASE) as office:
            assert check.check_office(office)["identifiers_issued"] == 1002
    # The node is gone: a bundle is verified without any.
    verified = verify(case.bundle, Demand(trust=case.trust, suspect=case.suspect, case="case 7", audience="court"))
    assert verified.outcome == VERIFIED
    assert "ledger-blocks-not-checked" in verified.caveats
    assert "ledger-self-attested" not in verified.caveats


def run(*arguments):
    return CliRunner().invoke(root, ["--json", *arguments], env={"COUNTERMARK_PASSPHRASE": PASSPHRASE})


@needs_node
def test_init_names_the_account_that_needs_coin_and_goes_on_when_it_has_some(anvil, tmp_path):
    workspace = str(tmp_path / "ws")
    with anvil() as node:
        command = ("init", workspace, "--ledger", node.url, "--confirmations", "0")
        poor = run(*command)
        assert poor.exit_code == 3
        error = json.loads(poor.stdout)["error"] if "error" in json.loads(poor.stdout) else json.loads(poor.stdout)
        node.fund(error["params"]["address"])
        made = run(*command)
        assert made.exit_code == 0, made.output
        deployment = json.loads(made.stdout)["deployment"]
        assert (deployment["engine"], deployment["chain_id"]) == ("rpc", 20_261_122)
        assert run("-w", workspace, "party", "add", "Atelier", "--role", "owner").exit_code == 0
        assert run("-w", workspace, "doctor").exit_code == 0
    away = run("-w", workspace, "party", "add", "North", "--role", "licensee")
    assert away.exit_code == 3
    assert "network" in away.stdout


@needs_node
@pytest.mark.parametrize("arrived", [False, True], ids=["the request was lost", "the reply was lost"])
def test_an_act_that_the_network_cut_off_is_finished_once(anvil, tmp_path, monkeypatch, arrived):
    original, cut = NodeProvider.make_request, []

    def cut_off(provider, method, params):
        if method != "eth_sendRawTransaction" or not cut:
            return original(provider, method, params)
        if arrived:
            original(provider, method, params)
        raise NetworkError("cut off")

    monkeypatch.setattr(NodeProvider, "make_request", cut_off)
    with anvil(*FREE) as node:
        create_office(tmp_path / "ws", PASSPHRASE, name="Cut off", node=LedgerNode(url=node.url))
        with open_office(tmp_path / "ws", PASSPHRASE) as office:
            cut.append(True)
            with pytest.raises(NetworkError, match="cut off"):
                register.add_party(office, "Atelier", ["owner"])
            cut.clear()
        with open_office(tmp_path / "ws", PASSPHRASE) as office:
            party = register.add_party(office, "Atelier", ["owner"])
            admitted = [event.args["account"] for event in office.ledger.events("Admitted")]
            assert admitted.count(party.address) == 1
            assert len(admitted) == 2, "the office itself, and the party once"
            check.check_office(office)


@needs_node
def test_an_account_of_ones_own_pays(anvil, tmp_path):
    key = Secret(bytes(31) + b"\x07")
    with anvil() as node:
        from countermark.adapters.transactions import account_of

        node.fund(account_of(key).address)
        (tmp_path / "key").write_text("0x" + key.reveal().hex() + "\n")
        made = run("init", str(tmp_path / "ws"), "--ledger", node.url, "--ledger-key", str(tmp_path / "key"))
        assert made.exit_code == 0, made.output
        with open_office(tmp_path / "ws", PASSPHRASE) as office:
            assert office.account == key


@needs_node
def test_an_unfinished_workspace_keeps_its_account(anvil, tmp_path):
    with anvil() as node:
        command = ("init", str(tmp_path / "ws"), "--ledger", node.url)
        assert run(*command).exit_code == 3
        with pytest.raises(ConflictError, match="another ledger account"):
            create_office(tmp_path / "ws", PASSPHRASE, name="x", node=LedgerNode(url=node.url, key=Secret(b"1" * 32)))


@pytest.mark.parametrize(
    "node",
    [
        LedgerNode(url="host:8545"),
        LedgerNode(url="http://host", confirmations=-1),
        LedgerNode(url="http://host", confirmations=10_001),
        LedgerNode(url="http://host", key=Secret(bytes(32))),
    ],
    ids=str,
)
def test_what_is_not_a_chain_makes_no_workspace(tmp_path, node):
    with pytest.raises(InputError):
        create_office(tmp_path / "ws", PASSPHRASE, name="x", node=node)
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    "arguments", [["--confirmations", "3"], ["--ledger-key", "f"], ["--ledger", "http://h", "--ledger-key", "text"]]
)
def test_options_that_do_not_fit(tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no key")
    assert run("init", "ws", *arguments).exit_code == 2
