"""``countermark train example``: from data to a directory that can be opened, audited and registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from countermark.artifact.directory import survey
from countermark.audit.images.store import ImageStore
from countermark.audit.models.files import open_model
from countermark.cli.root import root

PICTURES = np.random.default_rng(5).integers(0, 256, (30, 8, 8), dtype=np.uint8)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["train", "example", *arguments])


def ask(*arguments: str, status: int = 0) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == status, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.savez(tmp_path / "data.npz", x_train=PICTURES, y_train=np.arange(30) % 3, x_test=PICTURES[::-1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERMARK_LANG", "en")
    return tmp_path


@pytest.mark.parametrize("kind", ["diffusion", "gan"])
def test_a_model_is_trained_on_the_first_images(folder: Path, kind: str) -> None:
    answer = ask(kind, "--data", "data.npz:train", "--count", "20", "--steps", "5", "--width", "16", "--out", "made")
    assert answer["type"] == "countermark.training-run/1"
    record = answer["record"]
    assert record == json.loads((folder / "made" / "training.json").read_text())
    assert record["result"]["steps"] == 5
    assert record["data"]["count"] == 20
    assert record["data"]["digest"] == ImageStore.of(PICTURES[:20]).digest
    assert record["recipe"]["hidden"] == 16
    assert open_model(folder / "made").sample(2, seed=0).shape == (2, 8, 8, 1)
    assert survey(folder / "made").layout == "safetensors"


def test_the_analytic_denoiser_needs_no_training(folder: Path) -> None:
    record = ask("analytic", "--data", "data.npz:train[10:]", "--count", "4", "--out", "known")["record"]
    assert record["data"]["digest"] == ImageStore.of(PICTURES[10:14]).digest
    assert "steps" not in record["result"]
    drawn = open_model(folder / "known").sample(20, seed=1)
    assert {image.tobytes() for image in drawn} == {image.tobytes() for image in PICTURES[10:14]}
    error = ask("analytic", "--data", "data.npz:train", "--steps", "4", "--out", "other", status=2)
    assert "not trained" in error["message"]


def test_the_same_seed_repeats_and_another_does_not(folder: Path) -> None:
    common = ("diffusion", "--data", "data.npz:train", "--steps", "5", "--width", "16")
    first = ask(*common, "--seed", "3", "--out", "first")["record"]
    again = ask(*common, "--seed", "3", "--out", "again")["record"]
    other = ask(*common, "--seed", "4", "--out", "other")["record"]
    assert first["weights"] == again["weights"] != other["weights"]


def test_held_out_images_and_labels(folder: Path) -> None:
    record = ask(
        "diffusion", "--data", "data.npz:train", "--steps", "5", "--width", "16", "--labels",
        "--held-out", "data.npz:test", "--out", "made",
    )["record"]  # fmt: skip
    assert record["recipe"]["classes"] == 3
    assert record["held_out"]["count"] == 30
    assert record["result"]["held_out_loss"] > 0
    labels = open_model(folder / "made").labels(4)
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0]


def test_random_images_are_written_for_the_audit(folder: Path) -> None:
    record = ask(
        "analytic", "--data", "data.npz:train", "--count", "6", "--shuffle", "--seed", "2",
        "--trained-on", "seen.npz", "--out", "made",
    )["record"]  # fmt: skip
    with np.load(folder / "seen.npz") as seen:
        images, labels = seen["x_train"], seen["y_train"]
    assert record["data"]["digest"] == ImageStore.of(images).digest != ImageStore.of(PICTURES[:6]).digest
    places = [PICTURES.tolist().index(image[..., 0].tolist()) for image in images]
    assert places == sorted(set(places))
    assert labels.tolist() == [place % 3 for place in places]
    assert ask("gan", "--data", "data.npz:train", "--shuffle", "--out", "x", status=2)["code"] == "usage"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "nowhere.npz:train", "--steps", "5"),
        ("--data", "data.npz:train", "--count", "31", "--steps", "5"),
        ("--data", "data.npz:train[:10]", "--count", "11", "--steps", "5"),
        ("--data", "data.npz:train", "--count", "31", "--shuffle", "--steps", "5"),
        ("--data", "data.npz:train", "--count", "0", "--steps", "5"),
        ("--data", "data.npz:train", "--steps", "5", "--minutes", "1"),
        ("--data", "data.npz:train", "--minutes", "0"),
        ("--data", "data.npz:test", "--steps", "5", "--labels"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(folder: Path, arguments: tuple[str, ...]) -> None:
    assert ask("diffusion", *arguments, "--out", "made", status=2)["code"] in ("input", "usage")
    assert not (folder / "made").exists()


def test_a_folder_of_something_else_stays_as_it_is(folder: Path) -> None:
    (folder / "made").mkdir()
    (folder / "made" / "thesis.txt").write_text("dear")
    error = ask("gan", "--data", "data.npz:train", "--steps", "5", "--out", "made", status=2)
    assert "not empty" in error["message"]
    assert [path.name for path in (folder / "made").iterdir()] == ["thesis.txt"]


def test_the_answer_in_words(folder: Path) -> None:
    result = run(
        "diffusion", "--data", "data.npz:train", "--count", "20", "--steps", "5", "--width", "16",
        "--held-out", "data.npz:test", "--out", "made",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for words in ("20 images", "5 steps in", "on held-out ones", "sha256:"):
        assert words in result.output
