"""The benchmark of image marks, on two small pictures: the run, its bars, its nulls."""

import json
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from benchmarks import image_adversaries, image_marks, image_nulls
from benchmarks.image_bars import bar_lines, kept_area, ratio_lines
from benchmarks.image_trials import drawn
from benchmarks.photographs import few_of_each_folder, photographs, psnr, random_crop, size_class
from benchmarks.workers import each
from countermark.core.stats import cosine_sum_tail
from countermark.errors import InputError
from countermark.marking.attacks import RESEARCH_LIST


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(skimage.data, name)()[:300, :400]).save(path / f"{name}.png")
    Image.fromarray(skimage.data.astronaut()[:100, :100]).save(path / "too-small.png")
    (path / "broken.jpg").write_bytes(b"no picture")
    return path


def run(monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["image_marks", *map(str, options), "--jobs", "0"])
    image_marks.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def trial(attack, matching=64, size="large"):
    times = {"embed_ms_per_mp": 10.0, "detect_ms_per_mp": 900.0}
    return {"size_class": size, "attack": attack, "bits": 64, "matching": matching, "psnr": 43.0, "ssim": 0.99,
            "word_log10_p": 19.0, **times}  # fmt: skip


def test_parts_of_a_folder_are_disjoint_and_hold_what_every_method_can_mark(folder, capsys):
    first, rest = photographs([folder], limit=2), photographs([folder], skip=2)
    assert [path.name for path in first + rest] == ["astronaut.png", "chelsea.png", "coffee.png"]
    assert "broken.jpg" in capsys.readouterr().err
    assert few_of_each_folder(first + rest, 1) == first[:1]


def test_sizes_and_distances_of_pictures():
    image = skimage.data.coffee()
    assert [size_class(image[:h, :w]) for h, w in ((400, 600), (300, 410), (300, 200))] == ["small", "small", "tiny"]
    assert size_class(np.zeros((600, 600, 3), np.uint8)) == "large"
    assert psnr(image, image) == 99.0
    assert psnr(image, image ^ 1) == pytest.approx(48.13, abs=0.01)
    assert min(random_crop(image, np.random.default_rng(0)).shape[:2]) >= 192


def test_keys_differ_by_picture_and_number_and_not_by_run(folder):
    one, other = folder / "astronaut.png", folder / "coffee.png"
    assert drawn(one, 0) == drawn(one, 0)
    assert len({drawn(path, number)[1] for path in (one, other) for number in (0, 1)}) == 4


def test_bars_are_read_off_the_trials():
    trials = [trial(attack) for attack in RESEARCH_LIST] + [trial("jpeg(50)", matching=63), trial("crop(0.25)", 60)]
    lines = {(line["class"], line["bar"]): line for line in bar_lines(trials)}
    together = lines["large", "research list together"]
    assert (together["n"], together["met"]) == (40, False)
    assert lines["large", "each of it but the hard"]["row"] == "jpeg(50)"
    assert lines["large", "crop to 25 % and NL-means"]["row"] == "crop(0.25)"
    assert lines["large", "list without crops below 50 %"]["n"] == 37
    assert not lines["large", "detect_ms_per_mp"]["met"]
    assert not any(size == "small" for size, _ in lines)


def test_times_are_compared_on_pictures_that_both_marked():
    trials = [trial("clean") | {"method": "lattice", "picture": name} for name in "ab"]
    slower = trial("clean") | {"method": "peer", "picture": "a", "detect_ms_per_mp": 1800.0}
    (line,) = ratio_lines([*trials, slower], "lattice")
    assert (line["row"], line["value"], line["n"], line["met"]) == ("peer", 2.0, 1, True)


def test_attacks_are_listed_once_and_checked_before_a_long_run():
    assert image_marks.attacks_of("clean,further,aspect(0.8)")[:2] == ("clean", "aspect(0.8)")
    assert "regenerate_vae(0)" in image_marks.attacks_of("regeneration")
    with pytest.raises(InputError):
        image_marks.attacks_of("research,jepg(50)")


def test_the_area_that_a_chain_keeps():
    areas = {attack: kept_area(attack) for attack in ("clean", "crop(0.25)+back", "crop(0.9,0.5,0.5)+crop(0.5)")}
    assert list(areas.values()) == [1.0, 0.25, 0.5]


def test_a_run_reports_every_row_and_skips_what_is_not_installed(folder, monkeypatch, capsys):
    monkeypatch.setattr(image_marks, "is_installed", lambda name: name == "lattice")
    found = run(monkeypatch, capsys, "--images", folder, "--limit", 1, "--keys", 2, "--attacks", "clean,crop(0.5)")
    assert [(row["method"], row["attack"], row["n"], row["pictures"]) for row in found["rows"]] == [
        ("lattice", "clean", 2, 1),
        ("lattice", "crop(0.5)", 2, 1),
    ]
    clean = found["rows"][0]
    assert clean["exact"] == clean["tpr_1e6"] == 1.0
    assert clean["exact_low"] < 1.0 == clean["exact_high"]
    assert clean["word_log10_p"] == pytest.approx(19.27, abs=0.01)
    assert found["summary"]["methods"][0]["size_class"] == "small"


def test_a_batch_is_timed_by_one_thread_and_by_two(folder, monkeypatch, capsys):
    found = run(monkeypatch, capsys, "--images", folder, "--limit", 1, "--batch", 2)
    assert [row["threads"] for row in found["rows"]] == [1, 2]
    assert found["summary"]["detect_ratio"] > 0


def test_unmarked_crops_are_compared_with_every_level(folder, monkeypatch, capsys):
    monkeypatch.setattr(image_nulls, "SAMPLES", 100)
    found = run(monkeypatch, capsys, "--images", folder, "--limit", 1, "--null", 2)
    by_kind = {(row["statistic"], row["level"]): row for row in found["rows"]}
    assert by_kind["p-value", 1e-6]["rate"] == 0.0
    assert by_kind["one hypothesis", 0.5]["n"] == 2 * image_nulls.NONCES
    assert all(row["largest"] <= 1 for row in found["rows"] if "largest" in row)


def test_the_sampled_tail_agrees_with_counting_where_both_can():
    generator = np.random.default_rng(3)
    weights = generator.uniform(0.5, 1.5, 20)
    tail, threshold = image_nulls.sampled_tail(weights, 0.5, generator)
    counted = np.mean(np.cos(generator.uniform(0, 2 * np.pi, (200_000, 20))) @ weights >= threshold)
    assert tail == pytest.approx(counted, rel=0.15)
    assert tail <= cosine_sum_tail(weights, threshold)


def test_strangers_are_asked_about_damaged_copies(folder, monkeypatch, capsys):
    monkeypatch.setattr(image_nulls, "STRANGERS", 1000)
    monkeypatch.setattr(image_nulls, "DAMAGES", ("jpeg(50)",))
    found = run(monkeypatch, capsys, "--images", folder, "--limit", 1, "--trace", 1)
    assert found["rows"][-1] == {"attack": "all", "n": 1, "found": 1.0, "listed": 1.0, "named": 1.0, "wrong": 0.0,
                                 "wrong_low": 0.0, "wrong_high": 0.975}  # fmt: skip


def test_adversaries_learn_from_other_pictures_of_the_account(folder, monkeypatch, capsys):
    monkeypatch.setattr(image_adversaries, "LINES", (20,))
    options = ("--images", folder, "--limit", 1, "--pool", folder, "--attacks", "adversaries")
    found = run(monkeypatch, capsys, *options)
    kinds = {row["attack"].split(":")[0] for row in found["rows"]}
    assert kinds == {"removal", "forgery"}
    assert all(row["attack_psnr"] > 20 for row in found["rows"])
    with pytest.raises(SystemExit, match="--pool"):
        run(monkeypatch, capsys, "--images", folder, "--attacks", "adversaries")


def test_an_interrupt_ends_a_run_and_keeps_what_is_done(capsys):
    def work(task):
        if task == 2:
            raise KeyboardInterrupt
        return task

    assert list(each(work, [0, 1, 2, 3], jobs=0)) == [0, 1]
    assert "what is done is reported" in capsys.readouterr().err


def test_work_is_shared_among_processes_in_order():
    assert list(each(abs, [-3, 2, -1], jobs=2)) == [3, 2, 1]


def test_a_folder_without_photographs_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="no photograph"):
        run(monkeypatch, capsys, "--images", tmp_path)
