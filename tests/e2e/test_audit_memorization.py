"""``countermark audit memorization``: its exit statuses and its refusals, on the example's models and images."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from countermark.cli.root import root

EXAMPLE = Path(__file__).parents[2] / "examples" / "memorization"
IMAGES, COPYIST = EXAMPLE / "images.npz", EXAMPLE / "copyist"
TRAIN = f"{IMAGES}:train[:300]"


def audit(tmp_path, subject, *extra, train=TRAIN, held_out=f"{IMAGES}:test[:400]", samples=40):
    options = ["--train", train, "--held-out", held_out, "--out", str(tmp_path / "report")]
    command = ["audit", "memorization", str(subject), *options, "--samples", str(samples), *extra, "--json"]
    result = CliRunner().invoke(root, command)
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def test_copies_are_found_and_reported(tmp_path):
    status, found = audit(tmp_path, COPYIST)
    assert status == 0
    assert found["decision"]["verdict"] == "copies-found"
    assert {Path(file).name for file in found["files"]} == {"report.html", "report.zh.html", "report.json"}
    assert json.loads((tmp_path / "report" / "report.json").read_bytes())["decision"] == found["decision"]


def test_unseen_images_are_no_copies(tmp_path):
    status, found = audit(tmp_path, f"{IMAGES}:test[400:500]", samples=100, held_out=f"{IMAGES}:test[500:4000]")
    assert (status, found["decision"]["flagged"]) == (1, 0)
    assert found["subject"]["weights"] is None


def test_what_cannot_be_named_is_no_answer(tmp_path):
    status, found = audit(tmp_path, COPYIST, held_out=f"{IMAGES}:test[:20]")
    assert (status, found["decision"]["flagged"]) == (3, 0)
    assert found["decision"]["at_least"] > 0


@pytest.mark.parametrize(
    ("subject", "options", "code"),
    [
        (COPYIST, {"held_out": TRAIN}, "held-out-overlap"),
        (EXAMPLE / "nothing", {}, "input"),
        (COPYIST, {"train": f"{EXAMPLE / 'README.md'}x"}, "input"),
        (COPYIST, {"held_out": f"{IMAGES}:validation"}, "input"),
        (COPYIST, {"train": str(EXAMPLE / "training.json")}, "input"),
    ],
)
def test_what_cannot_be_audited_is_refused(tmp_path, subject, options, code):
    status, error = audit(tmp_path, subject, **options)
    assert (status, error["code"]) == (2, code)


def test_an_index_of_other_data_is_refused(tmp_path):
    kept = ("--index", str(tmp_path / "index"))
    assert audit(tmp_path, COPYIST, *kept)[0] == 0
    status, error = audit(tmp_path, COPYIST, *kept, train=f"{IMAGES}:train[300:600]")
    assert (status, error["code"]) == (1, "index-mismatch")
