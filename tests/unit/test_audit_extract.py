"""``countermark audit extract``: draws that were made before, a result in JSON and a sheet of what is drawn again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from countermark.cli.audit_extract import extract
from countermark.cli.session import Session

image = pytest.importorskip("PIL.Image")


def pictures(count: int, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(4, axis=1).repeat(4, axis=2))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    copies = pictures(60, 1)[rng.integers(0, 5, 40)].astype(int) + rng.integers(-4, 5, (40, 16, 16, 3))
    drawn = np.concatenate([pictures(60, 3), np.clip(copies, 0, 255).astype(np.uint8)])
    path = tmp_path / "data.npz"
    np.savez(path, x_train=pictures(60, 1), x_test=pictures(500, 2), x_drawn=drawn, x_clean=pictures(80, 3))
    return path


@pytest.mark.parametrize(("part", "status"), [("drawn", 0), ("clean", 1)])
def test_what_is_drawn_again_is_held_against_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, status: int
) -> None:
    out = tmp_path / "found"
    arguments = [f"{data}:{part}", "--train", f"{data}:train", "--held-out", f"{data}:test", "--out", str(out)]
    assert extract.main(arguments, standalone_mode=False, obj=Session(json=True)) == status
    answer = json.loads(capsys.readouterr().out)
    kept = json.loads((out / "extraction.json").read_text())
    assert (kept["type"], kept["stop"]) == ("countermark.extraction/1", "all-looked-at" if status else "copies-found")
    assert {**kept, "files": answer["files"]} == answer
    assert (out / "sheet.png").exists() == (status == 0)
    if status == 0:
        copied = [copy["nearest"] for copy in kept["copies"]]
        assert set(range(5)) <= set(copied)
        assert sum(nearest >= 5 for nearest in copied) <= 0.05 * len(copied)
        assert all(clique["nearest"] < 5 for clique in kept["cliques"])
        with image.open(io.BytesIO((out / "sheet.png").read_bytes())) as sheet:
            assert sheet.size == ((16 + 2 + 16) * 8, 5 * (16 + 2) * 8)
    assert extract.main(arguments, standalone_mode=False, obj=Session()) == status
    said = capsys.readouterr().out
    assert ("copies of training items were found" in said) == (status == 0)
    assert f"{kept['drawn']} of {kept['planned']}" in said
