"""A collage of two licensees' pictures: an answer for each of its parts, drawn, and provable by itself."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from countermark.bootstrap import open_office
from countermark.errors import InputError, PolicyUnmet
from countermark.evidence.rereading import read_embedding_key, reread
from countermark.evidence.verification import VERIFIED, Demand, verify
from countermark.marking.image.files import read_pixels
from countermark.workflows import bundle, drawings, keys, mark, register, trace

PASSPHRASE = "a passphrase for tests"


@pytest.fixture(scope="module")
def office(case_office, tmp_path_factory):
    with open_office(case_office.copy_workspace(tmp_path_factory.mktemp("regions") / "office"), PASSPHRASE) as opened:
        yield opened


@pytest.fixture(scope="module")
def collage(office, tmp_path_factory):
    """North's astronaut on the left, South's coffee on the right, an unmarked cat below."""
    folder = tmp_path_factory.mktemp("collage")
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    mark.mark_images(office, 1, [folder / "astronaut.png"], folder / "marked")
    mark.mark_images(office, 2, [folder / "coffee.png"], folder / "marked")
    canvas = np.asarray(Image.fromarray(data.chelsea()).resize((780, 520))).copy()
    canvas[:400, :390] = np.asarray(Image.open(folder / "marked" / "astronaut.png"))[60:460, 30:420]
    canvas[:400, 390:] = np.asarray(Image.open(folder / "marked" / "coffee.png"))[:, 90:480]
    Image.fromarray(canvas).save(folder / "collage.jpg", quality=95)
    return folder / "collage.jpg"


@pytest.fixture(scope="module")
def answers(office, collage):
    return trace.trace_regions(office, [collage], use=trace.Use(scope="publish", territory="CN"))


def test_each_part_has_its_own_answer(answers, collage):
    assert {each.licensee_name for each in answers} == {"North", "South"}
    assert len(answers) == 2
    middles = {each.licensee_name: (each.region[0] + each.region[2]) / 2 for each in answers}
    assert middles["North"] < middles["South"]
    assert {each.suspect for each in answers} == {f"sha256:{hashlib.sha256(collage.read_bytes()).hexdigest()}"}
    assert [each.p_ours["value"] < 1e-6 for each in answers] == [True, True]
    assert answers[0].p_ours["value"] <= answers[1].p_ours["value"]


def test_drawings_show_every_part_with_its_number(office, collage, answers, tmp_path):
    drawn = drawings.draw_marks(office, [collage], answers, tmp_path / "new" / "drawn")
    assert drawn == {each.id: tmp_path / "new" / "drawn" / "collage.jpg.lattice.png" for each in answers}
    with Image.open(drawn[answers[0].id]) as image:
        pixels = np.asarray(image).astype(int)
    colored = np.abs(pixels[..., 0] - pixels[..., 1]) > 25
    assert colored[:, pixels.shape[1] // 2 :].sum() > 10_000
    with pytest.raises(InputError, match="same name"):
        drawings.draw_marks(office, [collage, tmp_path / collage.name], answers, tmp_path)


def test_what_carries_nothing_has_one_answer_and_no_drawing(office, tmp_path):
    Image.fromarray(data.chelsea()[:260, 100:360]).save(tmp_path / "cat.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (20, 20)).save(tmp_path / "tiny.png")
    suspects = [tmp_path / name for name in ("cat.png", "text.png", "tiny.png")]
    found = trace.trace_regions(office, suspects)
    assert [each.verdict for each in found] == ["nothing-found", "not-examined", "not-examined"]
    assert [each.region for each in found] == [None] * 3
    assert drawings.draw_marks(office, suspects, found, tmp_path / "drawn") == {}
    assert not (tmp_path / "drawn").exists()


def test_a_part_proves_and_is_read_again_where_it_lies(case_office, office, collage, answers):
    south = next(each for each in answers if each.licensee_name == "South")
    evidence = bundle.make_bundle(office, south.id, case="case 9", audience="court")
    demand = Demand(trust=keys.export_trust(office), suspect=south.suspect, case="case 9", audience="court")
    verified = verify(evidence, demand)
    assert (verified.outcome, verified.statement["region"]) == (VERIFIED, south.region)
    register.rotate_epoch(office, 1)
    key = read_embedding_key(json.dumps(keys.disclose_key(office, 1, 0)).encode())
    assert reread(evidence, verified, [read_pixels(collage)], key).significant(1e-6)
    for region in ([0, 0, 260, 260], [0, 0, 0, 0], [1, 2], "all", 7):
        elsewhere = replace(verified, statement={**verified.statement, "region": region})
        with pytest.raises(PolicyUnmet):
            reread(evidence, elsewhere, [read_pixels(collage)], key)
