"""The benchmark of noise marks, on a tiny untrained pipeline: its baseline, its classifiers, its edits, its parts."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from benchmarks import editing, functional, noise_marks  # noqa: E402
from benchmarks.classifiers import JUDGES, separate  # noqa: E402
from benchmarks.gaussian_shading import MESSAGE_BITS, GaussianShading, p_value  # noqa: E402
from benchmarks.studio import Studio, load  # noqa: E402
from countermark.core.keys import Secret  # noqa: E402
from countermark.marking.image.noise import NoiseMark  # noqa: E402

KEY = Secret(bytes(range(32)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline that makes gray pictures of 32 by 32, quick and untrained."""
    path = tmp_path_factory.mktemp("pipelines") / "tiny"
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=32, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), norm_num_groups=4,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    diffusers.DDIMPipeline(unet=unet, scheduler=scheduler).save_pretrained(path)
    return path


@pytest.fixture
def pictures():
    return np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def run(monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["noise_marks", *map(str, options), "--jobs", "0"])
    noise_marks.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_baseline_reads_its_own_message_and_looks_normal():
    generator = np.random.default_rng(2)
    shading = GaussianShading(KEY, 4096)
    messages = generator.integers(0, 2, (20, MESSAGE_BITS), dtype=np.int8)
    latents = shading.latents(messages, generator)
    assert latents.shape == (20, 4096)
    assert all((shading.read(latent) == message).all() for latent, message in zip(latents, messages, strict=True))
    assert abs(latents.mean()) < 0.02
    assert latents.std() == pytest.approx(1.0, abs=0.02)
    assert p_value(messages[0], messages[0]) < 1e-70
    assert p_value(messages[0], messages[1]) > 1e-6


def test_classifiers_tell_what_differs_and_only_that():
    generator = np.random.default_rng(4)
    shape = (1200, 1, 16, 16)
    plain, other = (generator.standard_normal(shape, dtype=np.float32) for _ in range(2))
    signs = np.sign(generator.standard_normal(shape[1:])).astype(np.float32)
    shared = np.abs(generator.standard_normal(shape, dtype=np.float32)) * signs
    flips = generator.choice((-1.0, 1.0), (len(plain), 1, 1, 1)).astype(np.float32)
    assert all(abs(row["rate"] - 0.5) < 0.15 for row in separate(other, plain, JUDGES))
    (linear,) = separate(shared, plain, ["linear"])
    (quadratic,) = separate(shared * flips, plain, ["quadratic"])
    assert linear["rate"] > 0.95 < quadratic["rate"]
    (network,) = separate(plain + np.linspace(-2, 2, 16, dtype=np.float32), plain, ["network"])
    assert network["rate"] > 0.95


def test_inverted_noise_comes_back_in_the_pipelines_own_coordinates(folder):
    studio = Studio(load(folder), NoiseMark(KEY), steps=2)
    noise = studio.marked(5, 0, 2, KEY)
    assert noise.shape == (2, 1, 32, 32)
    flat = studio.plug.mark.signs(5, 0, studio.size)
    own = studio.values(np.stack([flat, flat]).astype(np.float32))
    assert np.sum(own[0] * noise[0].ravel()) > 0.7 * studio.size


def test_edits_keep_the_size_and_inpainting_the_rest(folder, pictures):
    edit = editing.editor(load(folder), steps=5)
    edited = edit(pictures[0], 0.4)
    assert edited.shape == pictures[0].shape
    assert (edited == edit(pictures[0], 0.4)).all()
    assert (edited != pictures[0]).any()
    changed = (editing.inpainted(edit, pictures[0]) != pictures[0]).any(axis=2)
    assert changed[8:24, 8:24].any()
    changed[8:24, 8:24] = False
    assert not changed.any()


def test_tuning_changes_a_copy_by_a_low_rank(folder, pictures):
    pipeline = load(folder)
    tuned = editing.tuned(pipeline, list(pictures), updates=2)
    before, after = (one.unet.down_blocks[0].resnets[0].conv1.weight.flatten(1) for one in (pipeline, tuned))
    change = torch.linalg.svdvals(after - before)
    assert change[0] > 0
    assert change[editing.RANK :].max() < 1e-5 * change[0]


def test_every_part_runs_and_reports(folder, tmp_path, pictures, monkeypatch, capsys):
    from PIL import Image

    for i in range(4):
        Image.new("RGB", (300, 260), (60 * i, 90, 120)).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(functional, "TUNED_ON", 2)
    monkeypatch.setattr(functional, "foreign", lambda image, strength: image)
    monkeypatch.setattr(noise_marks, "ATTACKS", ("clean",))
    options = "--limit 2 --steps 3 --latents 20 --pictures 8 --classifier-steps 2 --records 2000 --edited 2 --updates 1"
    options += f" --pipelines {folder} --photographs {tmp_path}"
    found = run(monkeypatch, capsys, *options.split())
    parts = {row["part"] for row in found["rows"]}
    assert parts == {"rates", "classifiers", "overhead", "ledger", "functional"}
    methods = [row["method"] for row in found["rows"] if row["part"] == "rates"]
    assert methods == ["noise mark", "noise ledger", "gaussian shading"]
    edits = [row["attack"] for row in found["rows"] if row["part"] == "functional"]
    assert len(edits) == 10
    assert "image to image 0.2, foreign" in edits
    assert {bar["bar"] for bar in found["summary"]["bars"]} >= {"exact, clean", "linear on latents", "overhead"}
