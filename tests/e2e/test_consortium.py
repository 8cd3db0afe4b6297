"""Governance and identity in an office on the embedded ledger, and the commands that show them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.bootstrap import create_office, open_office
from countermark.cli.root import root as program
from countermark.errors import (
    ConflictError,
    IdentityInvalid,
    InputError,
    KeystoreError,
    NetworkError,
    NotFoundError,
    RightsError,
)
from countermark.evidence import log
from countermark.workflows import check, governance, identity, register
from countermark.workflows.market.documents import document_behind, erase_document

PASSPHRASE = "a passphrase for tests"
NORTH = "Agency North"
_SPEC = importlib.util.spec_from_file_location(
    "identity_authority", Path(__file__).parents[1] / "unit" / "identity_authority.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
authority = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = authority
_SPEC.loader.exec_module(authority)


@dataclass
class Time:
    """A clock that a test moves."""

    now: datetime = field(default_factory=lambda: authority.NOW)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consortium") / "office"
    create_office(folder, PASSPHRASE, name="Consortium", clock=Time())
    with open_office(folder, PASSPHRASE, clock=Time()) as office:
        register.add_party(office, NORTH, ["licensee"])
        register.add_party(office, "Second governor", ["governor"])
    return folder


@pytest.fixture
def workspace(made, tmp_path):
    import shutil

    return shutil.copytree(made, tmp_path / "office")


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def office(workspace, clock):
    with open_office(workspace, PASSPHRASE, clock=clock) as opened:
        yield opened


@pytest.fixture(scope="module")
def trusted():
    return authority.make_root()


@pytest.fixture(scope="module")
def seal(trusted):
    return trusted.issue(NORTH)


def answer(office, seal, trusted, *, name=NORTH, days=365, challenge=None):
    asked = challenge or identity.challenge_party(office, name)
    return identity.identify_by_certificate(
        office,
        name,
        chain=seal.pem,
        signature=seal.sign(asked.to_bytes()),
        roots=trusted.certificate.public_bytes(Encoding.PEM),
        days=days,
    )


def values(office):
    return {entry["name"]: (entry["value"], entry["version"]) for entry in governance.parameters(office)}


def test_the_foundation_is_shown_as_people_write_it(office):
    shown = values(office)
    assert shown["governance.threshold"] == ("1", 1)
    assert shown["governance.delay"] == ("1 d", 1)
    assert shown["market.fee"] == ("0%", 1)
    assert shown["market.currency"] == ("CNY", 1)
    assert shown["market.fee.account"][0] == office.ledger.address_of(office.account)
    assert shown["Grants"][0] == office.ledger.deployment["contracts"]["Grants"]
    assert governance.proposals(office) == []


def test_a_change_waits_for_its_delay(office, clock):
    done = governance.propose(office, "market.fee", "2.5%")
    (proposal,) = governance.proposals(office)
    assert (proposal["id"], proposal["value"], proposal["state"], proposal["ready"]) == (1, "2.5%", "open", False)
    assert proposal["approvals"] == [proposal["by"]]
    assert done["proposal_id"] == 1
    with pytest.raises(ConflictError, match="cannot take effect before"):
        governance.activate(office, 1)
    clock.now += timedelta(days=1, seconds=5)
    assert governance.proposals(office)[0]["ready"]
    governance.activate(office, 1)
    assert values(office)["market.fee"] == ("2.5%", 2)
    assert governance.proposals(office)[0]["state"] == "active"
    with pytest.raises(NotFoundError):
        governance.activate(office, 1)
    check.check_office(office)


def test_two_governors_have_to_agree(office, clock):
    assert len(governance.governors(office)) == 2
    governance.propose(office, "governance.threshold", "2")
    clock.now += timedelta(days=1, seconds=5)
    governance.activate(office, 1)
    governance.propose(office, "market.identity", "yes")
    clock.now += timedelta(days=1, seconds=5)
    with pytest.raises(RightsError, match="1 approvals in force of 2"):
        governance.activate(office, 2)
    with pytest.raises(ConflictError, match="before"):
        governance.approve(office, 2)
    governance.approve(office, 2, by="Second governor")
    governance.activate(office, 2)
    assert values(office)["market.identity"] == ("yes", 1)


def test_a_proposal_may_be_given_up_by_who_made_it(office, clock):
    governance.propose(office, "case.bond", "20000", by="Second governor")
    with pytest.raises(NotFoundError):
        governance.withdraw(office, 1)
    governance.withdraw(office, 1, by="Second governor")
    assert governance.proposals(office)[0]["state"] == "withdrawn"
    clock.now += timedelta(days=1, seconds=5)
    with pytest.raises(NotFoundError):
        governance.activate(office, 1)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("market.color", "1", InputError),
        ("market.fee", "11%", InputError),
        ("governance.delay", "1 h", InputError),
        ("governance.threshold", "0", InputError),
        ("governance.threshold", "3", ConflictError),
        ("market.fee", "much", InputError),
    ],
)
def test_proposals_that_are_none(office, name, value, error):
    with pytest.raises(error):
        governance.propose(office, name, value)
    assert governance.proposals(office) == []


def test_only_governors_govern(office):
    with pytest.raises(RightsError, match="governor"):
        governance.propose(office, "market.fee", "1%", by=NORTH)
    with pytest.raises(NotFoundError):
        governance.approve(office, 2**70)


def test_a_certificate_identifies_a_party(office, seal, trusted, clock):
    with pytest.raises(NotFoundError, match="no challenge"):
        identity.identify_by_certificate(office, NORTH, chain=b"", signature=b"", roots=b"", days=1)
    done = answer(office, seal, trusted)
    with office.store.transaction() as transaction:
        member = register.Party.from_json(transaction.find("party", NORTH)[0])
        entries = [json.loads(raw) for raw in log.entries(transaction.tiles, 0, log.fsck(transaction.tiles).size)]
    on_ledger = office.ledger.record("Members", "identityOf", member.address)
    assert on_ledger["proof_digest"].hex() == done["proof"]
    assert on_ledger["registrar"] == office.ledger.address_of(office.account)
    assert on_ledger["valid_until"] == int((clock.now + timedelta(days=365)).timestamp())
    entry = entries[done["log_index"]]
    assert set(entry["facts"]) == {"account", "proof_digest", "valid_until", "registrar"}
    assert "Agency" not in json.dumps(entries)
    kept = document_behind(office, done["proof"])
    assert kept["body"]["certificates"][0] in seal.pem.decode()
    check.check_office(office)


def test_a_proof_ends_with_its_certificate_or_earlier(office, trusted, clock):
    brief = trusted.issue(NORTH, ends=clock.now + timedelta(days=3))
    assert answer(office, brief, trusted)["valid_until"].startswith("2026-11-24")
    assert answer(office, brief, trusted, days=1)["valid_until"].startswith("2026-11-22")
    with pytest.raises(InputError):
        answer(office, brief, trusted, days=0)


def test_the_same_answer_is_recorded_once(office, seal, trusted):
    challenge = identity.challenge_party(office, NORTH)
    signature, roots = seal.sign(challenge.to_bytes()), trusted.certificate.public_bytes(Encoding.PEM)
    twice = [
        identity.identify_by_certificate(office, NORTH, chain=seal.pem, signature=signature, roots=roots, days=365)[
            "transaction"
        ]
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
    assert len(office.ledger.events("Identified")) == 1


def test_a_new_challenge_voids_the_old_one(office, seal, trusted):
    old = identity.challenge_party(office, NORTH)
    identity.challenge_party(office, NORTH)
    with pytest.raises(IdentityInvalid, match="did not sign this challenge"):
        answer(office, seal, trusted, challenge=old)


def test_a_challenge_grows_old(office, seal, trusted, clock):
    challenge = identity.challenge_party(office, NORTH)
    clock.now += timedelta(days=30, seconds=1)
    with pytest.raises(IdentityInvalid, match="is void"):
        answer(office, seal, trusted, challenge=challenge)


def test_a_refused_proof_leaves_nothing(office, seal):
    with pytest.raises(IdentityInvalid):
        answer(office, seal, authority.make_root())
    assert office.ledger.events("Identified") == []
    member = identity.read_party(office, NORTH)
    assert identity.identity_of(office, member) is None


def test_a_token_identifies_a_party(office):
    provider, challenge = authority.Provider("ES256"), identity.challenge_party(office, NORTH)
    done = identity.identify_by_token(
        office,
        NORTH,
        token=provider.token(challenge.digest, organization=NORTH),
        jwks=provider.jwks,
        issuer=authority.ISSUER,
        audience=authority.AUDIENCE,
        claim="organization",
        days=90,
    )
    assert done["method"] == "oidc"
    assert office.ledger.events("Identified")[0].args["proofDigest"].hex() == done["proof"]


def test_what_was_checked_can_be_erased_and_the_digest_stays(office, seal, trusted):
    done = answer(office, seal, trusted)
    member = identity.read_party(office, NORTH)
    assert identity.identity_of(office, member)["kept"]
    erase_document(office, done["proof"])
    found = identity.identity_of(office, member)
    assert (found["kept"], found["in_force"], found["proof"]) == (False, True, done["proof"])
    check.check_office(office)


@pytest.mark.parametrize("arrived", [False, True], ids=["the request was lost", "the reply was lost"])
def test_an_identification_that_was_cut_off_is_finished_once(workspace, clock, seal, trusted, monkeypatch, arrived):
    with open_office(workspace, PASSPHRASE, clock=clock) as office:
        challenge = identity.challenge_party(office, NORTH)
        submit = type(office.ledger).submit

        def cut_off(ledger, raw):
            if arrived:
                submit(ledger, raw)
            raise NetworkError("cut off")

        with monkeypatch.context() as patch:
            patch.setattr(type(office.ledger), "submit", cut_off)
            with pytest.raises(NetworkError):
                answer(office, seal, trusted, challenge=challenge)
    with open_office(workspace, PASSPHRASE, clock=clock) as office:
        assert len(office.ledger.events("Identified")) == 1, "recovery finished it"
        member = identity.read_party(office, NORTH)
        assert identity.identity_of(office, member)["method"] == "certificate"
        check.check_office(office)


@dataclass
class Desk:
    """A folder, and the commands run in it."""

    folder: Path

    def run(self, *words, status=0, **env):
        environment = {
            "COUNTERMARK_PASSPHRASE": PASSPHRASE,
            "COUNTERMARK_LANG": "en",
            "COUNTERMARK_WORKSPACE": "office",
            **env,
        }
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(program, words, env=environment)
        assert result.exit_code == status, result.output
        return result

    def ask(self, *words, status=0):
        return json.loads(self.run(*words, "--json", status=status).stdout)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_commands_that_make_a_chain(desk):
    key = desk.ask("ledger", "account", "--out", "office.key")
    assert (desk.folder / "office.key").stat().st_mode & 0o777 == 0o600
    assert desk.run("ledger", "account", "--out", "office.key", status=1).exit_code == 1
    command = ("ledger", "genesis", "--besu", "--validators", "4", "--account", key["address"])
    made = desk.ask(*command, "--out", "chain", "--chain-id", "4242")
    assert (made["chain_id"], made["tolerates"], len(made["validators"])) == (4242, 1, 4)
    assert (desk.folder / "chain" / "node4" / "key").exists()
    assert desk.ask(*command, "--out", "chain", status=1)["code"] == "conflict"
    few = desk.run("ledger", "genesis", "--fisco", "--validators", "1", "--account", key["address"], "--out", "few")
    assert "With fewer than 4 validators" in few.stderr
    assert "node1" in few.stdout
    assert "README.txt" in desk.run(*command, "--out", "zh", COUNTERMARK_LANG="zh").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--validators", "4", "--out", "x"],
        ["--besu", "--validators", "0", "--out", "x"],
        ["--besu", "--validators", "101", "--out", "x"],
        ["--besu", "--validators", "4", "--out", "x", "--account", "0x12"],
        ["--besu", "--validators", "4", "--out", "x", "--host", "node"],
        ["--fisco", "--validators", "4", "--out", "x"],
    ],
)
def test_wrong_words_make_no_chain(desk, words):
    desk.run("ledger", "genesis", *words, status=2)
    assert not (desk.folder / "x").exists()


def test_commands_that_identify(desk, workspace, seal, trusted):
    """The machine's clock here, so a certificate of today."""
    root = authority.make_root("Trial")
    now = datetime.now(UTC)
    root.certificate = authority.build(
        authority.subject("Authority", "Trial"), root.key, None, root.key, ca=True,
        begins=now - timedelta(days=2), ends=now + timedelta(days=9),
    )  # fmt: skip
    fresh = root.issue(NORTH, begins=now - timedelta(days=1), ends=now + timedelta(days=2))
    assert desk.ask("party", "show", NORTH)["identity"] is None
    made = desk.ask("party", "challenge", NORTH, "--out", "challenge.json")
    challenge = (desk.folder / "challenge.json").read_bytes()
    assert identity.Challenge.from_bytes(challenge).digest == made["nonce"]
    files = {
        "chain.pem": fresh.pem,
        "sig": fresh.sign(challenge),
        "roots.pem": root.certificate.public_bytes(Encoding.PEM),
    }
    for name, data in files.items():
        (desk.folder / name).write_bytes(data)
    command = ("party", "identify", NORTH, "--certificate", "chain.pem", "--roots", "roots.pem")
    assert desk.ask(*command, status=2)["code"] == "input", "no signature"
    found = desk.ask(*command, "--signature", "sig")
    shown = desk.ask("party", "show", NORTH)
    assert shown["identity"]["proof"] == found["proof"]
    assert "name_salt" not in shown
    text = desk.run("party", "show", NORTH).stdout
    assert f"sha256:{found['proof']}" in text
    assert desk.ask("document", "erase", found["proof"], "--yes")["kind"] == "identity-proof"
    assert "erased" in desk.run("party", "show", NORTH).stdout
    provider = authority.Provider()
    (desk.folder / "token").write_text(provider.token("00" * 32))
    (desk.folder / "keys").write_bytes(provider.jwks)
    by_token = ("party", "identify", NORTH, "--oidc", "token", "--issuer", authority.ISSUER, "--audience", "x")
    assert desk.ask(*by_token, "--jwks", "keys", status=1)["code"] == "identity-invalid"


def test_commands_that_govern(desk, workspace):
    done = desk.ask("ledger", "propose", "market.fee", "2.5%")
    assert done["proposal_id"] == 1
    shown = desk.ask("ledger", "parameters")
    assert shown["proposals"][0]["value"] == "2.5%"
    assert {entry["name"] for entry in shown["parameters"]} >= {"market.fee", "Grants"}
    assert "2.5%" in desk.run("ledger", "parameters").stdout
    assert desk.ask("ledger", "activate", "1", status=1)["code"] == "conflict"
    assert desk.ask("ledger", "approve", "1", "--as", "Second governor")["proposal_id"] == 1
    assert "withdrawn" in desk.run("ledger", "withdraw", "1").stdout
    assert desk.ask("ledger", "approve", "1", "--as", "Nobody", status=2)["code"] == "not-found"
    assert desk.ask("ledger", "propose", "market.fee", "99%", status=2)["code"] == "input"


def test_a_governor_elsewhere_is_admitted_and_acts_elsewhere(office):
    elsewhere = "0x" + "42" * 20
    register.add_party(office, "Abroad", ["governor"], address=elsewhere)
    assert len(governance.governors(office)) == 3
    with pytest.raises((KeystoreError, NotFoundError)):
        governance.propose(office, "market.fee", "1%", by="Abroad")
