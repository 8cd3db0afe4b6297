"""``countermark audit membership``: folders of pictures, an answer in words, in JSON and as an exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from countermark.audit.membership import recompute
from countermark.cli.audit_membership import membership
from countermark.cli.session import Session
from countermark.errors import HeldOutOverlap, InputError


def pictures(count: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 3, 3, 1), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(3, axis=1).repeat(3, axis=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published works, works held back, another's works, and what a model draws that stored the first."""
    folder = tmp_path_factory.mktemp("works")
    rng = np.random.default_rng(1)
    drawn = pictures(90, 1)[rng.integers(0, 90, 300)].astype(int) + rng.integers(-30, 31, (300, 9, 9, 1))
    np.savez(
        folder / "data.npz", x_published=pictures(90, 1), x_back=pictures(80, 2), x_other=pictures(75, 3),
        x_few=pictures(20, 4), x_one=pictures(1, 1), x_drawn=np.clip(drawn, 0, 255).astype(np.uint8),
    )  # fmt: skip
    return folder


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command without the group around it: (exit status, stdout)."""

    def run(works: str, *arguments: str, unseen: str = "back", **session: Any) -> tuple[int, str]:
        data = f"{folder / 'data.npz'}:"
        command = [data + "drawn", "--works", data + works, "--unseen", data + unseen, *arguments]
        status = membership.main(command, standalone_mode=False, obj=Session(**session))
        return int(status), capsys.readouterr().out

    return run


def test_stored_works_are_a_yes_with_the_least_p_value(run: Run, tmp_path: Path) -> None:
    status, out = run("published", "--out", str(tmp_path / "answer.json"), json=True)
    assert status == 0
    answer = json.loads(out)
    assert (answer["type"], answer["verdict"]) == ("countermark.membership/1", "used")
    assert (answer["works"], answer["unseen"], answer["test"]["p"]) == (90, 80, 1e-4)
    assert answer["subject"]["samples"] | {"digest": ""} == {"count": 300, "seed": 0, "digest": ""}
    kept = json.loads((tmp_path / "answer.json").read_text())
    assert kept == answer
    assert recompute(kept).verdict == "used"


def test_the_answer_in_words(run: Run) -> None:
    assert "The model knows these works better than the unseen ones, at level 0.01" in run("published")[1]
    status, said = run("other")
    assert status == 1
    assert "No sign at level 0.01" in said
    assert "exact if works and unseen works are of one source" in said


def test_one_work_gets_a_rank_and_no_verdict(run: Run) -> None:
    status, said = run("one")
    assert status == 3
    assert "This work has rank 1 of 81" in said
    assert "no verdict" in said
    assert json.loads(run("one", json=True)[1])["reason"] == "single-work"


def test_what_cannot_be_answered_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="20 different works and 80 different unseen works are too few"):
        run("few")
    with pytest.raises(HeldOutOverlap, match="90 works are called unseen, too"):
        run("published", unseen="published")
    with pytest.raises(InputError, match="a level lies between"):
        run("published", "--level", "0.00001")
