"""Audits on record: what an office signs, logs and bundles, what a stranger is convinced of, and what a market asks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from countermark.artifact import digest_model, survey
from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.audit.text.examine import TextExaminer
from countermark.audit.text.reading import Corpus
from countermark.bootstrap import create_office, open_office
from countermark.cli.root import root
from countermark.core.dsse import read_unverified, sign_document
from countermark.core.keys import SigningKey
from countermark.errors import (
    AuditMissing,
    HostileFile,
    InputError,
    ManifestMismatch,
    NotFoundError,
    ProofInvalid,
    VerificationError,
)
from countermark.evidence import log
from countermark.evidence.bundle import AUDIT, Bundle, pack, unpack
from countermark.evidence.trust import Trust
from countermark.evidence.verification import SELF_CONSISTENT, STEPS, VERIFIED, Demand, verify
from countermark.licensing import Terms
from countermark.workflows import audit, check, governance, keys, license, register
from countermark.workflows.market import files, money, sales
from countermark.workflows.market.history import audits_about

PASSPHRASE = "a passphrase for tests"
REPORT = b"<html>the report</html>"
REPORT_DIGEST = f"sha256:{hashlib.sha256(REPORT).hexdigest()}"
TERMS = {
    "name": "Evaluation", "scope": ["infer"], "price": 1000, "currency": "CNY", "duration_days": 30, "seats": 0,
    "resale": True, "territory": ["CN"], "revocable": True, "on_market": True,
}  # fmt: skip


def sha(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@cache
def examiner():
    """An examiner of small noise: training images, and three times as many that nothing was trained on."""
    draw = np.random.default_rng(1)
    train, held_out = (ImageStore.of(draw.integers(0, 256, (count, 8, 8, 1), np.uint8)) for count in (100, 300))
    return Examiner.prepare(train, held_out, engine="numpy")


@cache
def _audited(weights: str | None, copies: int, seed: int, fdr: float) -> str:
    outputs = np.random.default_rng(100 + seed).integers(0, 256, (40, 8, 8, 1), np.uint8)
    outputs[:copies] = examiner().train.take(np.arange(copies)) ^ 1
    subject = {"name": "digits", "weights": weights, "sampler": "example", "seed": seed, "drawn": 40}
    return json.dumps(examiner().audit(outputs, subject=subject, fdr=fdr).to_json())


def make_document(weights: str | None, *, copies: int = 20, seed: int = 0, fdr: float = 0.05):
    """Return the document of an audit of 40 small pictures in which so many are copies."""
    return json.loads(_audited(weights, copies, seed, fdr))


def samples(**given) -> str:
    """Return the digest of the outputs that a document is about."""
    return make_document(None, **given)["subject"]["samples"]["digest"]


def write_model(directory: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).normal(size=64).astype("<f4").tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    directory.mkdir(exist_ok=True)
    (directory / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values)
    return directory


def root_of(model: Path) -> str:
    return f"sha256:{digest_model(survey(model)).content_root.hex()}"


@dataclass(frozen=True)
class Desk:
    """An office with a registered model that was audited before, one that was not, and the first one's evidence."""

    folder: Path
    weights: str
    recorded: str
    bundle: bytes
    outside: bytes
    trust: Trust
    key: SigningKey

    @property
    def workspace(self) -> Path:
        return self.folder / "office"


def build(folder: Path) -> Desk:
    create_office(folder / "office", PASSPHRASE, name="Test office", platform_fee_bps=100)
    with open_office(folder / "office", PASSPHRASE) as office:
        for name, role in (("Atelier", "owner"), ("Second", "owner"), ("North", "licensee"), ("South", "licensee")):
            register.add_party(office, name, [role])
        weights = root_of(write_model(folder / "model", 1))
        made = audit.record_audit(office, make_document(weights), reports={"report.html": REPORT_DIGEST})
        register.register_model(office, folder / "model", "Atelier")
        register.register_model(office, write_model(folder / "other", 2), "Atelier")
        stranger = audit.record_audit(office, make_document(None, copies=0, seed=1))
        trust = keys.export_trust(office)
        bundle, outside = (
            audit.make_audit_bundle(office, each.id, case="case 7", audience="court") for each in (made, stranger)
        )
        return Desk(folder, weights, made.id, bundle, outside, trust, office.platform_key)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return build(tmp_path_factory.mktemp("audits"))


@pytest.fixture
def office(desk, tmp_path):
    shutil.copytree(desk.workspace, tmp_path / "office")
    with open_office(tmp_path / "office", PASSPHRASE) as opened:
        yield opened


@pytest.fixture
def demand(desk):
    return Demand(trust=desk.trust, suspect=desk.weights, case="case 7", audience="court")


def failing_step(data, demand):
    with pytest.raises((VerificationError, HostileFile)) as caught:
        verify(data, demand)
    return caught.value.params["step_name"]


# Recording.


def test_an_audit_is_signed_logged_and_attached_by_its_weights(desk, office):
    with office.store.transaction() as transaction:
        (found,) = audit.audits_of(transaction, desk.weights)
        document = audit.audit_document(transaction, found.id)
        entry = json.loads(log.entry(transaction.tiles, found.log_index))
    assert (found.id, found.title) == (desk.recorded, None)  # registered later
    assert document == make_document(desk.weights)
    assert found.about == {
        "document": found.about["document"], "weights": desk.weights, "samples": samples(),
        "report.html": REPORT_DIGEST,
    }  # fmt: skip
    assert found.findings["verdict"] == "copies-found"
    assert found.findings["flagged"] == document["decision"]["flagged"] >= 20
    assert (found.findings["items"], found.findings["model_p"]) == (40, 0.05)
    assert set(entry) == {"type", "audit", "title", "document", "weights", "samples", "envelope", "time"}
    signed = read_unverified(found.envelope)
    assert (signed["office"], signed["about"], signed["findings"]) == (office.id, found.about, found.findings)
    check.check_office(office)


def test_the_same_document_is_recorded_once(desk, office):
    again = audit.record_audit(office, make_document(desk.weights), title=1)
    reordered = audit.record_audit(office, dict(reversed(make_document(desk.weights).items())))
    assert again.id == reordered.id == desk.recorded
    with office.store.transaction() as transaction:
        assert len(list(audit.audits(transaction))) == 2
        assert transaction.tiles.head().size == again.log_index + 1 + 5  # two titles, one audit, two disclosures


def test_an_audit_of_other_weights_is_none_of_the_title(desk, office):
    for weights in (root_of(desk.folder / "other"), None):
        with pytest.raises(ManifestMismatch):
            audit.record_audit(office, make_document(weights, seed=3), title=1)
    with pytest.raises(NotFoundError):
        audit.record_audit(office, make_document(desk.weights, seed=3), title=9)
    assert audit.record_audit(office, make_document(desk.weights, seed=3)).title == 1


REFUSED = [
    (lambda d: d["items"][30].update(flagged=True), ProofInvalid),
    (lambda d: d["items"][0].update(flagged=False), ProofInvalid),
    (lambda d: d["items"][30].update(p=0.001), ProofInvalid),
    (lambda d: d["items"][0].update(score=0.5), ProofInvalid),
    (lambda d: d["decision"].update(verdict="no-copies-found"), ProofInvalid),
    (lambda d: d["model_test"].update(p=0.5), ProofInvalid),
    (lambda d: d["subject"].update(weights="sha256:1"), HostileFile),
    (lambda d: d.update(type="countermark.other/1"), HostileFile),
    (lambda d: d.pop("items"), HostileFile),
    (lambda d: d["decision"].update(at_least=float("nan")), InputError),
    (lambda d: d.update(items=1), HostileFile),
]


def test_what_does_not_follow_is_not_recorded(office, desk):
    for change, error in REFUSED:
        document = make_document(desk.weights, seed=5)
        change(document)
        with pytest.raises(error):
            audit.record_audit(office, document)
    for reports in ({"weights": REPORT_DIGEST}, {"report.html": "sha256:1"}):
        with pytest.raises(InputError):
            audit.record_audit(office, make_document(desk.weights, seed=6), reports=reports)
    with office.store.transaction() as transaction:
        assert len(list(audit.audits(transaction))) == 2


def test_the_bundle_of_no_audit(office):
    with pytest.raises(NotFoundError):
        audit.make_audit_bundle(office, "a-0", case="c", audience="a")


# Verifying.


def test_a_stranger_verifies_an_audit(desk, demand):
    verified = verify(desk.bundle, demand)
    assert (verified.outcome, verified.kind) == (VERIFIED, "audit")
    assert [name for _, name, _ in verified.steps] == [name for name, _ in STEPS["audit"]]
    assert verified.statement["findings"]["verdict"] == "copies-found"
    assert verified.statement["title"] == 1
    assert set(verified.caveats) == {"ledger-self-attested", "audit-not-repeated"}


def test_the_suspect_may_be_a_report_or_the_samples(desk, demand):
    for subject in (REPORT_DIGEST, samples()):
        assert verify(desk.bundle, replace(demand, suspect=subject)).outcome == VERIFIED


def test_an_audit_of_an_unknown_model_says_so(desk, demand):
    verified = verify(desk.outside, replace(demand, suspect=samples(copies=0, seed=1)))
    assert (verified.outcome, verified.statement["title"]) == (VERIFIED, None)
    assert "audited-model-unnamed" in verified.caveats
    assert verified.statement["findings"]["flagged"] == 0


def test_an_audit_of_texts_goes_the_same_way(desk, office, demand):
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 8))) for _ in range(800)]
    train, held_out = ([" ".join(draw.choices(words, k=300)) for _ in range(count)] for count in (20, 60))
    fresh = [" ".join(draw.choices(words, k=80)) for _ in range(10)]
    outputs = Corpus.of([*fresh, *(text[100:600] for text in train[:10])], "outputs")
    asked = TextExaminer.prepare(Corpus.of(train, "train"), Corpus.of(held_out, "held out"))
    made = audit.record_audit(office, asked.audit(outputs, subject={"name": "prose", "weights": desk.weights}))
    evidence = audit.make_audit_bundle(office, made.id, case="case 7", audience="court")
    verified = verify(evidence, demand)
    assert (verified.outcome, made.title) == (VERIFIED, 1)
    assert (verified.statement["findings"]["kind"], verified.statement["findings"]["flagged"]) == ("texts", 10)


@pytest.mark.parametrize("missing", ["trust", "suspect"])
def test_without_trust_or_suspect_it_is_only_self_consistent(desk, demand, missing):
    assert verify(desk.bundle, replace(demand, **{missing: None})).outcome == SELF_CONSISTENT


@pytest.mark.parametrize("changes", [{"suspect": sha("other")}, {"case": "case 8"}, {"audience": "another court"}])
def test_a_replayed_bundle(desk, demand, changes):
    assert failing_step(desk.bundle, replace(demand, **changes)) == "audience"


@pytest.mark.parametrize("name", sorted(AUDIT.members.keys() - {"statement.json"}))
def test_every_member_is_bound_by_the_statement(desk, demand, name):
    members = dict(unpack(desk.bundle).members)
    members[name] = members[name][:-2] + bytes([members[name][-2] ^ 1]) + members[name][-1:]
    assert failing_step(pack(members), demand) in {"statement", "issuer"}


def test_verification_needs_no_workspace_no_network_and_no_heavy_library(desk, tmp_path):
    (tmp_path / "audit.zip").write_bytes(desk.bundle)
    (tmp_path / "trust.json").write_text(json.dumps(desk.trust.to_json()))
    program = f"""
        import socket, sys
        def refuse(*args, **kwargs): raise AssertionError("network")
        socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
        from countermark.evidence.trust import read_trust
        from countermark.evidence.verification import Demand, verify
        trust = read_trust(open("trust.json", "rb").read())
        print(verify(open("audit.zip", "rb").read(), Demand(trust=trust, suspect="{desk.weights}")).outcome)
        heavy = ("torch", "faiss", "pyarrow", "pydivsufsort", "web3", "eth", "sqlalchemy", "sqlite3", "scipy", "PIL")
        print([name for name in heavy if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [VERIFIED, "[]"]


def forge(desk, change, **statement_changes):
    """Change members and sign the statement again with the office's own key: the office itself as the liar."""
    members = {name: data for name, data in unpack(desk.bundle).members.items() if name != "statement.json"}
    statement = read_unverified(json.loads(unpack(desk.bundle).members["statement.json"])) | statement_changes
    change(members, statement, lambda kind, body: sign_document(desk.key, kind, body))
    statement["members"] = Bundle(members).digests()
    members["statement.json"] = json.dumps(sign_document(desk.key, "statement", statement)).encode()
    return pack(members)


def edit(member, change):
    def apply(members, statement, sign):
        body = json.loads(members[member])
        change(body)
        members[member] = json.dumps(body).encode()

    return apply


def signed_again(**changes):
    """The record, changed and signed anew; the log still holds the first one's digest."""

    def apply(members, statement, sign):
        body = read_unverified(json.loads(members["audit.json"]))
        members["audit.json"] = json.dumps(sign("audit", body | changes)).encode()

    return apply


def without_title(members, statement, sign):
    del members["registration.json"], members["parties.json"]
    statement["title"] = None


def stated(**changes):
    def apply(members, statement, sign):
        for name, value in changes.items():
            statement[name] = statement[name] | value

    return apply


def another_document(members, statement, sign):
    members["document.json"] = json.dumps(make_document(statement["about"]["weights"], copies=3)).encode()


def drop(member, role):
    def change(body):
        kept = body[member]
        body[member] = (
            {name: value for name, value in kept.items() if name != role}
            if isinstance(kept, dict)
            else [each for each in kept if each["role"] != role]
        )

    return change


def swap_entries(body):
    entries = {each["role"]: each for each in body["entries"]}
    entries["audit"]["role"], entries["title"]["role"] = "title", "audit"


LIES = {
    "office-of-another": (edit("issuer.json", lambda b: b.update(office="0" * 16)), "issuer"),
    "history-rewritten": (edit("history.json", lambda b: b["checkpoints"][0].update(root="00" * 32)), "history"),
    "history-left-out": (edit("history.json", lambda b: b.update(checkpoints=[])), "history"),
    "anchor-left-out": (edit("receipts.json", drop("roles", "anchor")), "anchor"),
    "disclosure-left-out": (edit("entries.json", drop("entries", "disclosure")), "entries"),
    "entry-changed": (
        edit("entries.json", lambda b: b["entries"][0].update(entry=b["entries"][1]["entry"])),
        "entries",
    ),
    "owner-renamed": (edit("parties.json", lambda b: b["owner"].update(name="Somebody")), "title"),
    "title-receipt-left-out": (edit("receipts.json", drop("roles", "title")), "title"),
    "title-of-another": (lambda members, statement, sign: statement.update(title=2), "title"),
    "title-unmentioned-in-the-log": (edit("entries.json", drop("entries", "title")), "title"),
    "entries-swapped": (edit("entries.json", swap_entries), "title"),
    "weights-of-another": (stated(about={"weights": sha("other")}), "title"),
    "record-left-unlogged": (edit("entries.json", drop("entries", "audit")), "record"),
    "record-signed-again": (signed_again(findings={"verdict": "no-copies-found"}), "record"),
    "record-of-another-name": (lambda members, statement, sign: statement.update(audit="a-0"), "record"),
    "samples-of-another": (stated(about={"samples": sha("other")}), "record"),
    "report-of-another": (stated(about={"report.html": sha("other")}), "record"),
    "document-of-another": (stated(about={"document": sha("other")}), "record"),
    "document-swapped": (another_document, "decision"),
    "document-whitewashed": (edit("document.json", lambda b: b["items"][0].update(flagged=False)), "decision"),
    "document-renamed": (edit("document.json", lambda b: b["subject"].update(name="other")), "decision"),
    "document-emptied": (edit("document.json", lambda b: b.clear()), "decision"),
    "verdict-painted-white": (stated(findings={"verdict": "no-copies-found"}), "decision"),
    "fewer-flagged": (stated(findings={"flagged": 1}), "decision"),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_office_itself_cannot_lie_about(desk, demand, lie):
    change, step = LIES[lie]
    asked = replace(demand, suspect=verify(desk.bundle, demand).statement["suspect"])  # the document's digest
    assert failing_step(forge(desk, change), asked) == step


def test_an_office_that_recorded_a_lie_is_found_out(desk, demand, tmp_path, monkeypatch):
    """A document whose flags do not follow, recorded all the same: signed, logged, bundled, and refused."""
    liar = make_document(desk.weights, seed=8)
    liar["items"][0]["flagged"] = False
    honest = audit.describe(make_document(desk.weights, seed=8))
    digest = audit.describe.__globals__["show_digest"](
        audit.describe.__globals__["document_digest"]("memorization-audit/1", liar)
    )
    monkeypatch.setattr(audit, "describe", lambda _: {**honest, "about": {**honest["about"], "document": digest}})
    shutil.copytree(desk.workspace, tmp_path / "office")
    with open_office(tmp_path / "office", PASSPHRASE) as office:
        made = audit.record_audit(office, liar)
        evidence = audit.make_audit_bundle(office, made.id, case="case 7", audience="court")
    assert failing_step(evidence, demand) == "decision"


def test_leaving_the_title_out_proves_less_and_says_so(desk, demand):
    verified = verify(forge(desk, without_title), demand)
    assert "audited-model-unregistered" in verified.caveats


def test_a_forged_workspace_is_not_the_trusted_office(desk, demand, tmp_path):
    forged = build(tmp_path)
    assert verify(forged.bundle, Demand()).outcome == SELF_CONSISTENT
    assert failing_step(forged.bundle, demand) == "issuer"
    masked = forge(forged, edit("issuer.json", lambda b: b.update(desk.trust.to_json())), office=desk.trust.office)
    assert failing_step(masked, demand) == "statement"


def test_a_trace_cannot_be_passed_off_as_about_more_than_its_suspect(case_office, demand):
    """Only an audit's statement is about several things."""
    members = dict(unpack(case_office.bundle).members)
    statement = read_unverified(json.loads(members["statement.json"])) | {"about": {"weights": demand.suspect}}
    with open_office(case_office.workspace, PASSPHRASE) as office:
        members["statement.json"] = json.dumps(sign_document(office.platform_key, "statement", statement)).encode()
    asked = Demand(trust=case_office.trust, suspect=demand.suspect)
    assert failing_step(pack(members), asked) == "audience"


def test_a_rotated_key_keeps_the_record(desk, demand, office):
    keys.rotate_key(office, "platform")
    newer = audit.make_audit_bundle(office, desk.recorded, case="case 7", audience="court")
    assert verify(newer, replace(demand, trust=keys.export_trust(office))).outcome == VERIFIED
    assert failing_step(newer, demand) == "statement"


# The market.


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def market(desk, tmp_path):
    """The office with offers of both models from before, and then a market that asks for audits."""
    shutil.copytree(desk.workspace, tmp_path / "office")
    clock = Clock()
    with open_office(tmp_path / "office", PASSPHRASE, clock=clock) as opened:
        for number in (1, 2):
            license.offer_terms(opened, number, Terms.from_json(TERMS))
        money.issue_money(opened, "South", 100_000, "first deposit")
        governance.propose(opened, audit.REQUIRED, "yes")
        clock.now += timedelta(days=1, seconds=5)
        governance.activate(opened, 1)
        yield opened


def offers(office, title):
    later = office.clock() + timedelta(days=9)
    terms = Terms.from_json({**TERMS, "name": "Another"})
    yield lambda: license.offer_terms(office, title, terms)
    yield lambda: sales.buy_license(office, title, "South")
    yield lambda: files.sell_file(office, title, price=10, bond=0, until=later)
    yield lambda: sales.sell_title(office, title, price=10, until=later, deed="deed")


def test_a_market_may_ask_for_audits(market):
    assert audit.is_audit_required(market)
    for act in offers(market, 2):
        with pytest.raises(AuditMissing) as caught:
            act()
        assert caught.value.params["title"] == 2
        assert "countermark audit memorization" in caught.value.hint
    for act in offers(market, 1):
        act()
    check.check_office(market)


def test_a_recorded_audit_opens_the_market_whatever_it_found(desk, market):
    weights = root_of(desk.folder / "other")
    audit.record_audit(market, make_document(weights, copies=40, seed=9))
    for act in offers(market, 2):
        act()


def test_an_audit_that_could_not_find_anything_opens_nothing(desk, market):
    weights = root_of(desk.folder / "other")
    made = audit.record_audit(market, make_document(weights, fdr=0.003))  # 1 / 301 is the least p-value
    assert made.findings["smallest_flaggable"] > 40
    for act in offers(market, 2):
        with pytest.raises(AuditMissing):
            act()


def test_by_default_no_market_asks(office):
    assert not audit.is_audit_required(office)
    license.offer_terms(office, 2, Terms.from_json(TERMS))


# The commands.


@pytest.fixture
def ask(desk, tmp_path):
    shutil.copytree(desk.workspace, tmp_path / "office")
    shutil.copytree(desk.folder / "model", tmp_path / "model")

    def run(*arguments, status=0, lang="en"):
        env = {
            "COUNTERMARK_WORKSPACE": str(tmp_path / "office"), "COUNTERMARK_PASSPHRASE": PASSPHRASE,
            "COUNTERMARK_LANG": lang,
        }  # fmt: skip
        with contextlib.chdir(tmp_path):
            done = CliRunner().invoke(root, arguments, env=env)
        assert done.exit_code == status, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    run.folder = tmp_path
    return run


def test_titles_show_their_audits(desk, ask):
    shown = ask("title", "show", "1", "--json")["audits"]
    assert [each["id"] for each in shown] == [desk.recorded]
    assert "envelope" not in shown[0]
    line = f"copies found: {shown[0]['findings']['flagged']} of 40 flagged  ({desk.recorded}"
    assert line in ask("title", "show", "1")
    assert "none recorded" in ask("title", "show", "2")
    assert ask("title", "show", "2", "--json")["audits"] == []
    told = ask("history", "title:1", "--json")
    assert [each["id"] for each in told["audits"]] == [desk.recorded]
    assert f"A memorization audit was recorded, {desk.recorded}: copies found" in ask("history", "title:1")
    assert ask("history", "account:Atelier", "--json")["audits"] == []


def test_registering_shows_earlier_audits(desk, ask):
    model = write_model(ask.folder / "third", 3)
    with open_office(ask.folder / "office", PASSPHRASE) as office:
        made = audit.record_audit(office, make_document(root_of(model), copies=0))
    done = ask("register", "third", "--owner", "Second", "--json")
    assert [each["id"] for each in done["audits"]] == [made.id]
    write_model(ask.folder / "fourth", 4)
    assert "none recorded" in ask("register", "fourth", "--owner", "Second")


def test_audits_are_listed_and_shown(desk, ask):
    listed = ask("audit", "list", "--json")["audits"]
    assert (len(listed), listed[0]["id"]) == (2, desk.recorded)
    assert [each["id"] for each in ask("audit", "list", "--title", "1", "--json")["audits"]] == [desk.recorded]
    assert ask("audit", "list", "--title", "2").strip() == "No audit has been recorded yet."
    assert desk.recorded in ask("audit", "list")
    shown = ask("audit", "show", desk.recorded, "--json")
    assert shown["findings"]["flagged"] == make_document(desk.weights)["decision"]["flagged"]
    assert shown["inclusion"]["index"] == shown["log_index"]
    text = ask("audit", "show", desk.recorded, "--out", "document.json")
    assert ", at a false discovery rate of 5 %" in text
    assert "inclusion proof of" in text
    assert json.loads((ask.folder / "document.json").read_text())["subject"]["weights"] == desk.weights
    assert ask("audit", "show", "a-0", "--json", status=2)["code"] == "not-found"


def test_one_command_bundles_traces_and_audits(desk, ask):
    made = ask("bundle", desk.recorded, "--out", "audit.zip", "--case", "7", "--audience", "court", "--json")
    assert (made["audit"], made["case"]) == (desk.recorded, "7")
    ask("trust", "export", "--out", "trust.json")
    (ask.folder / "report.html").write_bytes(REPORT)
    for suspect in ("model", "report.html", samples()):
        answer = ask("verify", "audit.zip", "--trust", "trust.json", "--suspect", suspect, "--case", "7", "--json")
        assert (answer["outcome"], answer["kind"]) == ("verified", "audit")
    told = ask("verify", "audit.zip", "--trust", "trust.json", "--suspect", "model")
    for part in ("VERIFIED", "✓ 11 p-values, rank test and verdict follow", "copies found", "rank test of the model",
                 "this very model or report", "until somebody repeats"):  # fmt: skip
        assert part in " ".join(told.split()), part
    assert ask("verify", "audit.zip", "--json", status=3)["outcome"] == SELF_CONSISTENT
    wrong = ask("verify", "audit.zip", "--trust", "trust.json", "--suspect", "office/ledger.db", "--json", status=1)
    assert wrong["params"]["step_name"] == "audience"
    key = {"format": "countermark.embedding-key/1", "embedding_key": "00" * 32}
    (ask.folder / "key.json").write_text(json.dumps(key))
    refused = ask("verify", "audit.zip", "--suspect", "model", "--key", "key.json", "--json", status=2)
    assert "no mark" in refused["message"]
    assert ask("bundle", "a-0", "--out", "none.zip", "--json", status=2)["code"] == "not-found"


def test_history_asks_the_ledger_for_the_weights(desk, office):
    assert [each.id for each in audits_about(office, "title:1")] == [desk.recorded]
    assert audits_about(office, "title:2") == audits_about(office, "grant:1") == []
