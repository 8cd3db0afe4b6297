"""The commands, on a real workspace with small pictures: every answer in JSON and in words, every exit status."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from skimage import data

from countermark.cli.root import root
from countermark.evidence.bundle import pack, unpack
from countermark.marking.attacks import apply

PASSPHRASE = "correct horse battery"
TERMS = """
name: Catalogue pictures
scope: [infer, commercial, publish]
price: 250000
currency: EUR
duration_days: 365
seats: 0
resale: false
territory: [NO, DE]
revocable: true
"""
COST = {
    "kind": "data", "from": "2026-01-01", "to": "2026-02-01", "amount": 5, "currency": "CNY",
    "evidence": "sha256:" + "0" * 64,
}  # fmt: skip


@dataclass(frozen=True)
class Desk:
    """A folder with a workspace, and the commands run in it."""

    folder: Path
    answers: dict[str, dict[str, Any]]

    def run(self, *arguments: str, **environment: str) -> Result:
        workspace = {"COUNTERMARK_WORKSPACE": str(self.folder / "office"), "COUNTERMARK_PASSPHRASE": PASSPHRASE}
        env = workspace | {"COUNTERMARK_LANG": "en"} | environment
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(root, arguments, env=env)

    def ask(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run with --json, keep the answer under the command's words, and return it."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == status, result.output
        assert len(result.stdout.splitlines()) == 1
        answer: dict[str, Any] = json.loads(result.stdout)
        assert answer["type"].startswith("countermark.")
        noun, *rest = arguments
        self.answers.setdefault(f"{noun} {rest[0]}" if f"{noun} {(*rest, '')[0]}" in NAMES else noun, answer)
        return answer


def write_model(folder: Path) -> None:
    """Write a model of one tensor, as safetensors."""
    folder.mkdir()
    header = json.dumps({"weight": {"dtype": "F32", "shape": [64, 4], "data_offsets": [0, 1024]}}).encode()
    content = struct.pack("<Q", len(header)) + header + np.arange(256, dtype="<f4").tobytes()
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text("{}")


def write_pictures(folder: Path) -> None:
    Image.fromarray(data.astronaut()[:320, :320]).save(folder / "photo.png")
    Image.fromarray(data.coffee()[:256, :256]).save(folder / "unmarked.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)


def commands(command: click.Command = root, name: str = "") -> list[str]:
    if not isinstance(command, click.Group):
        return [name]
    context = click.Context(command)
    children = [(child, command.get_command(context, child)) for child in command.list_commands(context)]
    return [deep for child, member in children if member for deep in commands(member, f"{name} {child}".strip())]


NAMES = commands()
#: Nouns whose commands test_market_cli.py, test_demo_market.py, test_consortium.py, test_two_offices.py,
#: test_attack.py, test_generate.py and test_whose.py ask.
ELSEWHERE = (
    *("market", "money", "case", "hold", "history", "document", "demo", "ledger", "attack", "generate", "whose"),
    *("audit", "train"),
)
LATER = {
    "party challenge",
    "party forget",
    "party identify",
    "party show",
    "key rotate",
    "key epoch",
    "key disclose",
    "license revoke",
    "license withdraw-notice",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """An office that has done everything once: the acts are the fixture, the tests look at them."""
    desk = Desk(tmp_path_factory.mktemp("cli"), {})
    write_model(desk.folder / "model")
    write_pictures(desk.folder)
    (desk.folder / "terms.yaml").write_text(TERMS)
    (desk.folder / "licence.txt").write_text("In words.")
    (desk.folder / "costs.json").write_text(json.dumps({"items": [COST]}))
    ask = desk.ask
    ask("init", "--name", "Test Office")
    key = ask("party", "keygen", "--out", "nord.pem")
    ask("party", "add", "Lin", "--role", "owner")
    ask("party", "add", "Nord", "--role", "licensee", "--public-key", key["public_key"])
    ask("party", "add", "Sud", "--role", "licensee")
    ask("party", "list")
    ask("register", "model", "--owner", "Lin")
    ask("title", "list")
    ask("title", "show", "1")
    ask("title", "accept-market", "1")
    ask("license", "templates", "hosted-monthly", "--set", "price=100.00", "--set", "months=1", "--out", "standard")
    ask("license", "text", "standard/legal.json", "--terms", "standard/terms.yaml")
    ask("license", "offer", "1", "--terms", "terms.yaml", "--legal-text", "licence.txt")
    invitation = ask("license", "invite", "1", "--to", "Nord", "--out", "invitation.json")
    ask("license", "accept", "invitation.json", "--key", "nord.pem", "--out", "acceptance.json",
        "--terms", "terms.yaml", "--legal-text", "licence.txt")  # fmt: skip
    ask("license", "grant", "1", "--acceptance", "acceptance.json")
    ask("license", "grant", "1", "--to", "Sud")
    ask("license", "reserve", "--count", "50")
    ask("request", "1", "photo.png", "--office", invitation["invitation"]["office"], "--key", "nord.pem",
        "--out", "request.json")  # fmt: skip
    ask("mark", "1", "photo.png", "--out", "marked", "--request", "request.json")
    ask("mark", "2", "photo.png", "--out", "marked-sud")
    leaked = apply("resize(0.75)", np.asarray(Image.open(desk.folder / "marked" / "photo.png")))
    Image.fromarray(leaked).save(desk.folder / "leak.jpg", quality=70)
    ask("trace", "leak.jpg", "--use", "publish", "--where", "FR")
    ask("anchor")
    ask("trust", "export", "--out", "trust.json")
    trace = desk.answers["trace"]["traces"][0]["id"]
    ask("bundle", trace, "--out", "case.zip", "--case", "2026-17", "--audience", "court")
    ask("verify", "case.zip", "--trust", "trust.json", "--suspect", "leak.jpg", "--case", "2026-17")
    ask("log", "check")
    ask("log", "prove", "5")
    ask("log", "export", "public")
    ask("doctor")
    ask("license", "show", "1")
    weights = desk.answers["title show"]["weights_root"]
    ask("title", "sign-costs", "costs.json", "--weights", weights, "--key", "nord.pem", "--out", "signed.json")
    ask("title", "valuation", "1", "--cost", "costs.json", "--out", "record.json")
    ask("title", "check-valuation", "record.json", "--trust", "trust.json")
    pass_title_on(desk, weights)
    return desk


def pass_title_on(desk: Desk, weights: str) -> None:
    """Pass the title to an owner with a key of its own, and back by the deed that this one signs."""
    (desk.folder / "deed.txt").write_text("Sold for a song.")
    key = desk.ask("party", "keygen", "--out", "ost.pem")
    desk.ask("party", "add", "Ost", "--role", "owner", "--public-key", key["public_key"])
    desk.ask("title", "derivatives", "1", "300")
    desk.ask("title", "approve", "1", "--weights", weights, "--share", "100")
    desk.ask("title", "transfer", "1", "--to", "Ost", "--deed", "deed.txt")
    desk.ask("title", "draft-deed", "1", "--to", "Lin", "--text", "deed.txt", "--out", "deed.json")
    desk.ask("title", "sign-deed", "deed.json", "--key", "ost.pem", "--out", "signed-deed.json")
    desk.ask("title", "transfer", "1", "--to", "Lin", "--deed", "signed-deed.json")


def test_every_command_was_asked(desk: Desk) -> None:
    here = {name for name in NAMES if name.split()[0] not in ELSEWHERE}
    assert here - desk.answers.keys() == LATER, "asked by a test below, or too long"


def test_a_title_shows_who_holds_it_and_what_derived_models_owe(desk: Desk) -> None:
    answer = desk.answers["title transfer"]
    assert answer["previous"] == desk.answers["register"]["holder"] != answer["holder"]
    shown = desk.run("title", "show", "1").stdout
    assert "Lin" in shown
    assert "anybody's, at 3 %" in shown
    wrong = desk.run("title", "transfer", "1", "--to", "Ost", "--deed", "signed-deed.json")
    assert (wrong.exit_code, "another title, or to another party" in wrong.stderr) == (1, True)


@pytest.mark.parametrize("words", [["--derived-from", "1"], ["--derived-from", "x:5"], ["--derivatives", "half"],
                                   ["--derivatives", "5001"]])  # fmt: skip
def test_shares_are_written_in_basis_points(desk: Desk, words: list[str]) -> None:
    assert desk.run("register", "model", "--owner", "Lin", *words).exit_code == 2


def test_registering_says_what_was_digested_and_proves_the_entry(desk: Desk) -> None:
    answer = desk.answers["register"]
    assert answer["manifest_digest"].startswith("sha256:")
    assert answer["weights_root"].startswith("sha256:")
    assert (answer["files"], answer["tensors"], answer["total_bytes"]) == (2, 1, answer["total_bytes"])
    assert answer["megabytes_per_second"] > 0
    assert answer["inclusion"]["index"] == answer["log_index"]
    assert answer["transaction"].startswith("0x")


def test_a_trace_names_the_licensee_with_both_p_values(desk: Desk) -> None:
    (trace,) = desk.answers["trace"]["traces"]
    assert (trace["verdict"], trace["grant"], trace["licensee_name"]) == ("attributed", 1, "Nord")
    assert trace["p_ours"]["value"] < 1e-6
    assert "observations" not in trace
    assert trace["p_innocent"]["corrected_for"]["identifiers"] == 52
    assert trace["coverage"]["reasons"] == ["outside-territory"]
    assert trace["output"]["log_index"] == desk.answers["mark"]["outputs"][0]["log_index"]


def test_a_trace_reads_well(desk: Desk) -> None:
    result = desk.run("trace", "leak.jpg", "unmarked.png", "broken.png")
    assert result.exit_code == 0
    for words in ("leak.jpg: attributed", "p_innocent", "corrected for 52 identifiers", "Nord", "dishonest key holder",
                  "unmarked.png: nothing found", "broken.png: not examined", "countermark bundle t-"):  # fmt: skip
        assert words in result.stdout


@pytest.mark.parametrize(
    ("files", "status"),
    [
        (["unmarked.png"], 1),
        (["broken.png"], 3),
        (["unmarked.png", "broken.png"], 3),
        (["unmarked.png", "leak.jpg"], 0),
    ],
)
def test_the_status_of_several_files_is_any_yes_then_any_doubt(desk: Desk, files: list[str], status: int) -> None:
    assert desk.run("trace", *files).exit_code == status


def test_a_pool_has_one_answer_and_one_suspect(desk: Desk) -> None:
    files = ("unmarked.png", "leak.jpg", "broken.png")
    (trace,) = desk.ask("trace", *files, "--pool")["traces"]
    assert (trace["verdict"], trace["grant"], trace["read"]) == ("attributed", 1, "exact")
    assert [each["examined"] for each in trace["pictures"]] == [True, True, False]
    shown = desk.run("trace", *files, "--pool").stdout
    for words in ("unmarked.png, leak.jpg, broken.png: attributed", "3 files, 2 examined", "exact: a word"):
        assert words in shown
    desk.ask("bundle", trace["id"], "--out", "pool.zip")
    every = [part for name in files for part in ("--suspect", name)]
    answer = desk.run("verify", "pool.zip", "--trust", "trust.json", *every)
    assert answer.exit_code == 0
    assert "(a pool of 3 pictures)" in answer.stdout
    assert desk.ask("verify", "pool.zip", "--trust", "trust.json", *every[:4], status=1)["params"]["step"] == 4
    assert desk.ask("trace", "leak.jpg", "leak.jpg", "--pool", status=2)["code"] == "input"


def test_verifying_prints_every_step_and_what_is_not_proven(desk: Desk) -> None:
    result = desk.run("verify", "case.zip", "--trust", "trust.json", "--suspect", "leak.jpg")
    assert result.exit_code == 0
    assert result.stdout.count("✓") == 18
    assert "VERIFIED" in result.stdout
    assert "What this does not prove" in result.stdout
    assert "no audience was given" in result.stdout
    # Nord holds its own key; that the office could have signed for it must not be said.
    assert "the office holds its key" not in result.stdout


def test_without_trust_or_suspect_nothing_is_verified(desk: Desk) -> None:
    for arguments in ([], ["--trust", "trust.json"], ["--suspect", "leak.jpg"]):
        result = desk.run("verify", "case.zip", *arguments)
        assert result.exit_code == 3
        assert "ISSUER UNKNOWN" in result.stdout


def test_a_failing_step_is_named(desk: Desk) -> None:
    result = desk.run("verify", "case.zip", "--trust", "trust.json", "--suspect", "photo.png")
    assert result.exit_code == 1
    assert "✗  4" in result.stdout
    assert result.stderr.startswith("error[policy-unmet]: ")
    answer = desk.ask("verify", "case.zip", "--case", "another", status=1)
    assert (answer["type"], answer["params"]["step"], answer["params"]["step_name"]) == (
        "countermark.error/1",
        4,
        "audience",
    )


def test_a_changed_byte_is_found(desk: Desk) -> None:
    members = dict(unpack((desk.folder / "case.zip").read_bytes()).members)
    members["offer.json"] = members["offer.json"].replace(b"payload", b"paylaod", 1)
    (desk.folder / "tampered.zip").write_bytes(pack(members))
    answer = desk.ask("verify", "tampered.zip", status=1)
    assert answer["params"]["step_name"] == "statement"
    broken = bytearray((desk.folder / "case.zip").read_bytes())
    broken[len(broken) // 2] ^= 1
    (desk.folder / "broken.zip").write_bytes(bytes(broken))
    assert desk.run("verify", "broken.zip").exit_code in (1, 2)


def test_verifying_needs_no_workspace_and_loads_nothing_heavy(desk: Desk, tmp_path: Path) -> None:
    for name in ("case.zip", "trust.json", "leak.jpg"):
        shutil.copy(desk.folder / name, tmp_path / name)
    arguments = ["verify", "case.zip", "--trust", "trust.json", "--suspect", "leak.jpg", "--json"]
    probe = (
        "import sys\nfrom countermark.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'web3', 'eth', 'sqlalchemy', 'PIL', 'scipy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMARK")}
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "verified"


def test_titles_grants_and_parties_are_listed_without_secrets(desk: Desk) -> None:
    shown = desk.answers["license show"]
    assert shown["state"] == "in force"
    assert shown["permitted_by_ledger"] is True
    assert not {"identifier", "salt", "platform_nonce"} & shown.keys()
    assert all("name_salt" not in party for party in desk.answers["party list"]["parties"])
    assert "Nord" in desk.run("license", "show", "all").stdout
    assert "Lin" in desk.run("title", "list").stdout


def test_the_same_weights_are_registered_once(desk: Desk) -> None:
    answer = desk.ask("register", "model", "--owner", "Lin", status=1)
    assert (answer["code"], answer["params"]["title"]) == ("already-registered", 1)


def test_a_revoked_grant_marks_nothing_more(desk: Desk) -> None:
    desk.run("license", "grant", "1", "--to", "Sud")
    assert desk.ask("license", "revoke", "3", "--reason", "unpaid")["state"] == "revoked"
    assert desk.ask("mark", "3", "photo.png", "--out", "never", status=1)["code"] == "grant-revoked"
    assert desk.ask("license", "revoke", "3", "--reason", "again", status=1)["code"] == "grant-revoked"


def test_other_terms_than_those_read_are_not_accepted(desk: Desk) -> None:
    (desk.folder / "other.yaml").write_text(TERMS.replace("250000", "1"))
    desk.ask("license", "invite", "1", "--to", "Nord", "--out", "again.json")
    answer = desk.ask(
        "license", "accept", "again.json", "--key", "nord.pem", "--terms", "other.yaml", "--out", "no.json", status=1
    )
    assert answer["code"] == "conflict"
    assert not (desk.folder / "no.json").exists()


def test_a_request_for_one_file_does_not_mark_another(desk: Desk) -> None:
    answer = desk.ask("mark", "1", "unmarked.png", "--out", "m2", "--request", "request.json", status=1)
    assert answer["code"] == "signature-invalid"


def test_a_trace_is_drawn_and_told_part_by_part(desk: Desk) -> None:
    marked, unmarked = desk.ask("trace", "leak.jpg", "unmarked.png", "--draw", "drawn/traces")["traces"]
    assert (Path(marked["drawing"]).name, unmarked["drawing"]) == ("leak.jpg.lattice.png", None)
    assert (desk.folder / marked["drawing"]).read_bytes().startswith(b"\x89PNG")
    assert (marked["region"], unmarked["region"]) == (None, None)
    shown = desk.run("trace", "leak.jpg", "--regions", "--draw", "drawn").stdout
    for text in ("leak.jpg: attributed", "0, 0 to 240, 240, in pixels", "leak.jpg.lattice.png"):
        assert text in shown
    assert desk.ask("trace", "leak.jpg", "unmarked.png", "--regions", "--pool", status=2)["code"] == "input"


def test_a_preview_is_drawn_beside_the_copy_and_a_lost_palette_is_told(desk: Desk) -> None:
    with Image.open(desk.folder / "photo.png") as photo:
        photo.quantize(64).save(desk.folder / "few.png")
        photo.save(desk.folder / "few.png.preview.png")
    (output,) = desk.ask("mark", "2", "few.png", "--out", "drawn", "--preview")["outputs"]
    assert (output["had_palette"], Path(output["preview"]).name) == (True, "few.png.preview.png")
    with Image.open(desk.folder / output["preview"]) as drawn, Image.open(desk.folder / output["path"]) as copy:
        assert (drawn.format, drawn.width > 3 * 320, copy.mode) == ("PNG", True, "RGB")
    said = desk.run("mark", "2", "few.png", "--out", "drawn").stderr
    assert "few.png: its palette was replaced by full colors" in said
    both = ("mark", "2", "few.png", "few.png.preview.png", "--out", "both")
    assert desk.ask(*both, "--preview", status=2)["message"].endswith("few.png.preview.png would be overwritten")
    assert not (desk.folder / "both").exists()


def test_a_rotated_key_needs_a_new_trust_file(desk: Desk) -> None:
    assert desk.ask("key", "rotate", "platform")["role"] == "platform"
    trace = desk.answers["trace"]["traces"][0]["id"]
    desk.ask("bundle", trace, "--out", "later.zip")
    arguments = ("verify", "later.zip", "--suspect", "leak.jpg", "--trust")
    assert desk.ask(*arguments, "trust.json", status=1)["params"]["step_name"] == "statement"
    desk.ask("trust", "export", "--out", "trust2.json")
    assert desk.ask(*arguments, "trust2.json")["statement"]["audience"] == "any"
    assert desk.run("verify", "case.zip", "--suspect", "leak.jpg", "--trust", "trust2.json").exit_code == 0


def test_an_expert_reads_the_suspect_again_with_a_disclosed_key(desk: Desk) -> None:
    assert desk.ask("key", "disclose", "1", "--epoch", "0", "--out", "key.json", status=1)["code"] == "conflict"
    assert desk.ask("key", "epoch", "1")["epoch"] == 1
    desk.ask("key", "disclose", "1", "--epoch", "0", "--out", "key.json")
    assert (desk.folder / "key.json").stat().st_mode & 0o077 == 0
    arguments = ("verify", "case.zip", "--trust", "trust.json", "--key", "key.json")
    answer = desk.ask(*arguments, "--suspect", "leak.jpg")
    assert answer["read_again"]["p_value"] < 1e-6
    assert "reading-not-repeated" not in answer["caveats"]
    assert desk.ask(*arguments, status=2)["code"] == "input"
    assert desk.run("trace", "leak.jpg").exit_code == 0  # old epochs stay readable
    desk.ask("log", "check")


def test_the_trust_file_can_go_to_stdout(desk: Desk) -> None:
    result = desk.run("trust", "export")
    assert json.loads(result.stdout)["format"] == "countermark.trust/1"


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["-w", "nowhere", "title", "list"], 2, "not-found"),
        (["title", "show", "99"], 2, "not-found"),
        (["register", "nowhere", "--owner", "Lin"], 2, "input"),
        (["register", "model", "--owner", "Nord"], 2, "input"),
        (["register", "model", "--owner", "Nobody"], 2, "not-found"),
        (["license", "show", "first"], 2, "input"),
        (["license", "grant", "1"], 2, "input"),
        (["license", "offer", "1", "--terms", "licence.txt"], 2, "input"),
        (["party", "add", "Lin", "--role", "owner"], 1, "conflict"),
        (["party", "add", "X", "--role", "licensee", "--public-key", "nord.pem"], 2, "input"),
        (["party", "add", "X", "--role", "licensee", "--address", "0x12"], 2, "input"),
        (["party", "keygen", "--out", "nord.pem"], 1, "conflict"),
        (["mark", "1", "broken.png", "--out", "m", "--request", "request.json"], 1, "signature-invalid"),
        (["mark", "1", "photo.png", "--out", "m"], 2, "keystore"),
        (["bundle", "t-none", "--out", "x.zip"], 2, "not-found"),
        (["trace", "photo.png", "--alpha", "0.5"], 2, "input"),
        (["trace", "photo.png", "--use", "dance"], 2, "input"),
        (["trace", "photo.png", "--where", "France"], 2, "input"),
        (["trace", "photo.png", "--at", "yesterday"], 2, "input"),
        (["verify", "photo.png"], 2, "hostile-file"),
        (["verify", "case.zip", "--trust", "terms.yaml"], 2, "input"),
        (["verify", "case.zip", "--alpha", "nan"], 2, "input"),
        (["log", "prove", "9999"], 2, "not-found"),
        (["init"], 1, "conflict"),
        (["dance"], 2, "usage"),
        (["trace"], 2, "usage"),
        (["trace", "--dance", "x"], 2, "usage"),
        (["party", "add", "X", "--role", "king"], 2, "usage"),
    ],
)
def test_errors_have_a_code_and_a_status(desk: Desk, arguments: list[str], status: int, code: str) -> None:
    answer = desk.ask(*arguments, status=status)
    assert (answer["type"], answer["code"]) == ("countermark.error/1", code)
    result = desk.run("--lang", "zh", *arguments)
    assert result.exit_code == status
    assert result.stderr.startswith(f"错误[{code}]：")


def test_a_wrong_passphrase_opens_nothing(desk: Desk) -> None:
    result = desk.run("title", "list", COUNTERMARK_PASSPHRASE="another one")
    assert (result.exit_code, result.stderr.split(":")[0]) == (2, "error[keystore]")


def test_the_passphrase_comes_from_a_file_or_is_asked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.folder / "secret").write_text(PASSPHRASE + "\n")
    wrong = {"COUNTERMARK_PASSPHRASE": "another one"}
    assert desk.run("--passphrase-file", "secret", "title", "list", **wrong).exit_code == 0
    nobody = desk.run("title", "list", COUNTERMARK_PASSPHRASE="")
    assert (nobody.exit_code, "no passphrase" in nobody.stderr) == (2, True)
    monkeypatch.setattr("countermark.cli.session._can_ask", lambda: True)
    env = {"COUNTERMARK_WORKSPACE": str(desk.folder / "office"), "COUNTERMARK_PASSPHRASE": ""}
    asked = CliRunner().invoke(root, ["title", "list"], input=PASSPHRASE + "\n", env=env)
    assert asked.exit_code == 0
    assert PASSPHRASE not in asked.output


def test_init_asks_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countermark.cli.session._can_ask", lambda: True)
    env = {"COUNTERMARK_PASSPHRASE": "", "COUNTERMARK_LANG": "en"}
    made = CliRunner().invoke(root, ["init", str(tmp_path / "o")], input=f"{PASSPHRASE}\n{PASSPHRASE}\n", env=env)
    assert made.exit_code == 0
    assert "The office is open" in made.stdout
    stopped = CliRunner().invoke(root, ["init", str(tmp_path / "p"), "--json"], input="", env=env)
    assert (stopped.exit_code, json.loads(stopped.stdout)["code"]) == (3, "interrupted")
    assert not (tmp_path / "p").exists()


def test_a_notice_says_when_it_takes_effect_and_is_withdrawn(desk: Desk) -> None:
    (desk.folder / "notice.yaml").write_text(TERMS + "notice_hours: 96\n")
    number = desk.ask("license", "offer", "1", "--terms", "notice.yaml")["id"]
    grant = str(desk.ask("license", "grant", str(number), "--to", "Sud")["id"])
    given = desk.ask("license", "revoke", grant, "--reason", "unpaid")
    assert (given["state"], given["permitted_by_ledger"]) == ("under notice", True)
    assert given["revoked_at"] in desk.run("license", "show", grant).stdout
    assert desk.ask("license", "withdraw-notice", grant)["state"] == "in force"
    assert desk.run("license", "withdraw-notice", grant).exit_code == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def read_terminal(terminal: int) -> str:
    """Read until the other end is closed. A terminal that nobody reads stops who writes to it after some kilobytes."""
    drawn = b""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as stream:
        while part := stream.read(65536):
            drawn += part
    return drawn.decode(errors="replace")


def test_progress_is_drawn_on_a_terminal_alone_and_respects_no_color(desk: Desk) -> None:
    import pty

    terminal, slave = pty.openpty()
    environment = os.environ | {"COUNTERMARK_PASSPHRASE": PASSPHRASE, "NO_COLOR": "1", "COUNTERMARK_LANG": "en"}
    arguments = [sys.executable, "-m", "countermark.cli", "-w", str(desk.folder / "office")]
    with subprocess.Popen(
        [*arguments, "trace", str(desk.folder / "photo.png")],
        env=environment, stdin=slave, stdout=subprocess.PIPE, stderr=slave,
    ) as running:  # fmt: skip
        os.close(slave)
        drawn = read_terminal(terminal)
    assert running.returncode == 1, drawn
    assert "tracing" in drawn
    assert "\x1b[3" not in drawn  # no colour, though the cursor moves
    assert desk.run("trace", "photo.png").stderr == ""


def test_a_bug_is_called_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countermark.workflows.anchor.anchor_log", lambda office: 1 / 0)
    result = desk.run("anchor")
    assert (result.exit_code, result.stderr.split(":")[0]) == (3, "error[internal]")
    assert "Traceback" in desk.run("anchor", "--debug").stderr


def test_a_strangers_text_cannot_steer_the_terminal(desk: Desk) -> None:
    result = desk.run("verify", "\x1b[2Jcase.zip")
    assert "\x1b" not in result.output
