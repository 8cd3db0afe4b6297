"""``countermark attack``: copies in a folder, their names kept, nothing done to them but the attack."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from skimage import data

from countermark.cli.root import root
from countermark.marking.attacks import ATTACKS, CHAINS, LISTS, apply

PIXELS = data.coffee()[:120, :160]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    Image.fromarray(PIXELS).save(tmp_path / "other.webp", lossless=True)
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    with contextlib.chdir(folder):
        return CliRunner().invoke(root, ["attack", *arguments], env={"COUNTERMARK_LANG": "en"})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_one_attack_writes_into_the_folder(folder: Path) -> None:
    chain = "crop(0.5)+jpeg(60)"
    result = run(folder, chain, "photo.png", "other.webp", "--out", "attacked", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["type"] == "countermark.attack/1"
    expected = apply(chain, PIXELS)
    for copy, name in zip(answer["copies"], ("photo", "other"), strict=True):
        assert copy["path"] == str(Path("attacked", f"{name}.png"))
        assert (copy["height"], copy["width"]) == expected.shape[:2]
        assert (pixels(folder / copy["path"]) == expected).all()


def test_several_attacks_have_a_folder_each(folder: Path) -> None:
    result = run(folder, "hflip,further,crop(0.5,0,1)", "photo.png", "--out", "attacked")
    assert result.exit_code == 0
    assert "hflip" in result.stdout
    written = {path.parent.name for path in folder.glob("attacked/*/photo.png")}
    assert written == {"hflip", *LISTS["further"], "crop(0.5,0,1)"}
    assert (pixels(folder / "attacked" / "hflip" / "photo.png") == PIXELS[:, ::-1]).all()


def test_the_list_names_every_attack(folder: Path) -> None:
    answer = json.loads(run(folder, "--list", "--json").stdout)
    assert answer["type"] == "countermark.attack-list/1"
    assert answer["attacks"].keys() == ATTACKS.keys()
    assert answer["attacks"]["crop"] == ["area", "left=0.6", "top=0.6"]
    assert answer["chains"] == CHAINS
    assert answer["lists"].keys() == LISTS.keys()
    text = run(folder, "--list").stdout
    assert all(name in text for name in (*ATTACKS, *CHAINS, *LISTS["research"]))


def test_texts_are_edited(folder: Path) -> None:
    (folder / "reply.txt").write_text("one two three four\n" * 50, encoding="utf-8")
    result = run(folder, "substitute(0.2)+delete(0.5)", "reply.txt", "--out", "attacked", "--json")
    assert result.exit_code == 0
    (copy,) = json.loads(result.stdout)["copies"]
    written = (folder / "attacked" / "reply.txt").read_text(encoding="utf-8")
    assert copy["characters"] == len(written)
    assert 60 < len(written.split()) < 140
    assert "substitute(share)" in run(folder, "--list").stdout
    assert run(folder, "delete(0)", "reply.txt", "--out", "again").stdout.split()[-1] == str(19 * 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give an attack"),
        (["hflip", "photo.png"], "give an attack"),
        (["hflip", "--out", "attacked"], "give an attack"),
        (["melt", "photo.png", "--out", "attacked"], "no such attack: melt"),
        (["hflip,jpeg", "photo.png", "--out", "attacked"], "takes 1 numbers"),
        (["jpeg(500)", "photo.png", "--out", "attacked"], "not between"),
        (["delete(2)", "photo.png", "--out", "attacked"], "no such edit: delete(2)"),
        (["delete(0.1)", "photo.png", "--out", "attacked"], "holds no text"),
        (["hflip", "nothing.png", "--out", "attacked"], "cannot read"),
        (["hflip", "photo.png", "copy/PHOTO.png", "--out", "attacked"], "same name"),
        (["hflip", "photo.png", "--out", "."], "would be overwritten"),
        (["hflip", "photo.png", "--out", "photo.png"], "cannot make the folder"),
    ],
)
def test_what_cannot_be_done_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    before = (folder / "photo.png").read_bytes()
    result = run(folder, *arguments)
    assert (result.exit_code in (2, 3), message in result.stderr) == (True, True), result.stderr
    assert (folder / "photo.png").read_bytes() == before
    assert not list(folder.glob("attacked/**/*.png"))
