"""The market's demo, as a user starts it, and the workspace that it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "countermark.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("market") / "demo"
    done = run("demo", "market", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout.splitlines()[-1])


def test_everything_comes_out_as_it_must(played: tuple[Path, dict[str, Any]]) -> None:
    _, answer = played
    assert answer["right"] is True
    assert set(answer["checks"].values()) == {True}
    assert answer["refusals"] == {
        "undeclared_derivative": "undeclared-derivative",
        "false_complaint": "complaint-refused",
        "execution_before_the_appeal_window_is_over": "out-of-time",
        "marking_after_the_ruling": "grant-revoked",
        "claim_under_a_hold": "on-hold",
    }
    assert answer["p_ours"] < 1e-6


def test_each_amount_is_what_the_terms_say(played: tuple[Path, dict[str, Any]]) -> None:
    # Fee 2 %, parent's share 5 %, of 3,000.00 for the licence, 4,000.00 for the file and a royalty of 250.00 (10 % of
    # the resale at 2,500.00, whose fee is taken off the whole price).
    accounts = played[1]["accounts"]
    assert accounts["Origin Lab"]["royalty"] == 15_000 + 20_000 + 1_250
    assert accounts["Example Studio"]["revenue"] == 279_000 + 372_000 + 23_750
    assert accounts["Demo Exchange"]["fee"] + 5_000 == 6_000 + 8_000 + 5_000
    assert accounts["Agency North"]["payout"] == 250_000 - 5_000 - 25_000
    assert accounts["Agency South"]["payout"] == 2 * 400_000
    assert accounts["Example Studio"]["payout"] == 50_000 + 10_000


def test_money_is_neither_made_nor_lost(played: tuple[Path, dict[str, Any]]) -> None:
    _, answer = played
    held = sum(row["tokens"] for row in answer["accounts"].values())
    assert sum(row["brought"] for row in answer["accounts"].values()) == answer["supply"]
    assert held + answer["vault"] == answer["supply"]


def test_the_workspace_that_it_leaves_tells_its_story(played: tuple[Path, dict[str, Any]]) -> None:
    out, _ = played
    office = ["-w", str(out / "workspace"), "--passphrase-file", str(out / "passphrase")]
    told = run(*office, "history", "file-sale:2")
    assert "was proven wrong" in told.stdout
    assert "Agency South" in told.stdout
    in_chinese = run(*office, "--lang", "zh", "history", "case:1")
    assert "Example Studio" in in_chinese.stdout
    assert not {"{", "}"} & set(told.stdout + in_chinese.stdout)
    drawing = ElementTree.parse(out / "who-got-what.svg").getroot()
    assert drawing.tag.endswith("svg")
