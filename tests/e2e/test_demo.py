"""The demo, as a user starts it: in a process of its own."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from PIL import Image

from countermark.cli.root import root


def test_the_demo_traces_the_leak_and_a_stranger_verifies_it(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "countermark.cli", "demo", "--out", str(out), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert list(answer) == [
        "traced_licensee",
        "grant",
        "p_ours",
        "p_innocent",
        "candidates",
        "bundle_verified",
        "tampered_bundle_rejected",
        "seconds",
    ]
    assert (answer["traced_licensee"], answer["grant"], answer["candidates"]) == ("Agency South", 2, 1002)
    assert answer["p_ours"] < 1e-6
    assert answer["p_innocent"] < 1e-6
    assert answer["bundle_verified"] is answer["tampered_bundle_rejected"] is True
    assert answer["seconds"] < 120
    assert stat.S_IMODE((out / "passphrase").stat().st_mode) == 0o600
    report = (out / "case-verification.txt").read_text(encoding="utf-8")
    assert "VERIFIED" in report
    assert "the office holds its key" not in report
    assert "opening.json" in (out / "tampered-verification.txt").read_text(encoding="utf-8")
    with Image.open(out / "pictures.png") as sheet:
        assert sheet.width > 1000


def test_the_demo_replaces_nothing_but_a_demo(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    result = CliRunner().invoke(root, ["demo", "--out", str(tmp_path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "conflict")
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_the_demo_says_what_is_wrong_with_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    arguments = ["demo", "--out", str(tmp_path / "out"), "--model", str(tmp_path / "model"), "--json"]
    result = CliRunner().invoke(root, arguments)
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "input")


def test_the_text_demo_names_who_wrote_and_a_stranger_verifies_it(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "countermark.cli", "demo", "text", "--out", str(out), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["traced_licensee"], answer["grant"], answer["candidates"]) == ("Agency South", 2, 1002)
    assert answer["mixed_licensees"] == ["Agency North", "Agency South"]
    assert answer["unmarked"] == "nothing-found"
    assert answer["bundle_verified"] is answer["right"] is True
    report = (out / "case-verification.txt").read_text(encoding="utf-8")
    assert "VERIFIED" in report
    assert "signed 20" in report, "the request for the reply that the leak was made from"
    page = (out / "leaked.txt.marks.html").read_text(encoding="utf-8")
    assert "The ferry leaves at ten past six" in re.sub("<[^>]*>", "", page)
