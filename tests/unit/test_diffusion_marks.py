"""The noise mark inside pipelines: every family in miniature, every sampler, given pictures, and what is refused."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    DDIMPipeline,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image, ImageFilter

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking.image.diffusion import DiffusionMark
from countermark.marking.image.noise import NoiseMark, coefficients
from countermark.marking.image.samplers import Level, raised

from .tiny_pipelines import FAMILIES, build, inpainting, quiet

WORD = 0xFEED_FACE_CAFE_BEEF
SEED = Secret(bytes(range(32)))
# Samplers in sigmas make arrays of tensors in ways that NumPy will drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
MARK = NoiseMark(Secret(bytes(32)), key_id="mark:test")
STEPS = 5
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def made(tmp_path):
    """Build a pipeline by name, quietly."""
    return lambda name: build(name, tmp_path)


def plugged(pipeline, **options):
    side = None if isinstance(pipeline, DDIMPipeline) or not hasattr(pipeline, "vae") else (64, 64)
    return DiffusionMark(pipeline, MARK, side=side, **{"steps": STEPS, **options})


def asked(plug):
    return {"prompt": "a"} if plug.takes_prompt else {}


def truth(plug, counter):
    return coefficients(MARK.noise(WORD, counter, plug.shape, SEED))


def correlation(plug, pictures, **options):
    found = plug.invert(pictures, **asked(plug), **options)
    return min(np.corrcoef(one, truth(plug, i))[0, 1] for i, one in enumerate(found))


def slope():
    down, across = np.mgrid[0:64, 0:64]
    return np.stack([down * 3, across * 3, np.full_like(down, 127)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("ddim", "ddpm")])
def test_every_family_generates_and_is_read(made, name):
    plug = plugged(made(name))
    sampler = plug.pipeline.scheduler
    pictures = plug.generate(WORD, 0, 2, seed=SEED, guidance_scale=1.0, **asked(plug))
    assert pictures.shape == (2, 64, 64, 3)
    assert plug.size == 4096
    assert correlation(plug, pictures) > 0.98
    seen = plug.detect(pictures[1], prompt="a")
    assert (seen.word, seen.nonce) == (WORD, MARK.nonce(1, plug.size))
    assert seen.significant(1e-6)
    assert plug.pipeline.scheduler is sampler
    assert "prepare_latents" not in vars(plug.pipeline)


@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_pipelines_without_a_prompt_generate_and_are_read(made, name):
    plug = plugged(made(name), steps=10)
    pictures = plug.generate(WORD, 3, seed=SEED)
    assert pictures.shape == (1, 32, 32, 3)
    seen = plug.detect(pictures[0])
    assert (seen.word, MARK.counter(seen.nonce, plug.size)) == (WORD, 3)


@pytest.mark.parametrize("name", ["sd-epsilon", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("strength", [0.4, 0.8])
def test_image_to_image_is_read_at_its_strength(made, name, strength):
    pipeline = quiet(AutoPipelineForImage2Image.from_pipe(made(name)))
    plug = plugged(pipeline)
    pictures = plug.generate(WORD, 0, seed=SEED, guidance_scale=1.0, prompt="a", image=slope(), strength=strength)
    assert correlation(plug, pictures, strength=strength, original=slope()) > 0.9


@pytest.mark.parametrize("name", ["sd-epsilon", "sdxl", "sd3", "flux"])
def test_inpainting_is_read(made, name):
    plug = plugged(quiet(AutoPipelineForInpainting.from_pipe(made(name))))
    given = {"image": slope(), "mask_image": np.full((64, 64), 255, dtype=np.uint8), "strength": 1.0}
    pictures = plug.generate(WORD, 0, seed=SEED, guidance_scale=1.0, prompt="a", **given)
    assert correlation(plug, pictures) > 0.98


def test_a_network_made_for_inpainting_is_read(tmp_path):
    plug = plugged(inpainting(tmp_path))
    given = {"image": slope(), "mask_image": np.full((64, 64), 255, dtype=np.uint8), "strength": 1.0}
    pictures = plug.generate(WORD, 0, seed=SEED, guidance_scale=1.0, prompt="a", **given)
    assert correlation(plug, pictures) > 0.95


def test_pipelines_without_a_prompt_take_pictures_too(made):
    plug = plugged(made("ddim"), steps=20)
    start = slope()[:32, :32]
    whole = plug.generate(WORD, 0, seed=SEED, image=start, strength=1.0)
    assert (whole == plug.generate(WORD, 0, seed=SEED)).all()
    changes = [
        np.abs(plug.generate(WORD, 0, seed=SEED, image=start, strength=strength).astype(int) - start).mean()
        for strength in (0.05, 0.2, 0.6)
    ]
    assert changes[0] < 25
    assert changes == sorted(changes)
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[8:24, 8:24] = 255
    patched = plug.generate(WORD, 0, seed=SEED, image=start, mask_image=mask, strength=1.0)[0].astype(int)
    assert np.abs(patched - start)[mask == 0].max() <= 1
    assert np.abs(patched - start)[mask > 0].mean() > 20


def test_a_tuned_variant_is_read_by_the_registered_pipeline(made):
    """A LoRA merged into the weights: a low-rank change of every attention."""
    plug, tuned = plugged(made("sd-epsilon")), plugged(made("sd-epsilon"))
    generator = torch.Generator().manual_seed(1)
    for name, weight in tuned.pipeline.unet.named_parameters():
        if "attn" in name and weight.ndim == 2:
            rank_one = torch.randn(len(weight), 1, generator=generator) @ torch.randn(
                1, weight.shape[1], generator=generator
            )
            weight.data += 0.1 * rank_one / rank_one.norm() * weight.norm()
    pictures = tuned.generate(WORD, 0, seed=SEED, guidance_scale=1.0, prompt="a")
    assert not (pictures == plug.generate(WORD, 0, seed=SEED, guidance_scale=1.0, prompt="a")).all()
    assert correlation(plug, pictures) > 0.9


VP_SAMPLERS = [
    (PNDMScheduler, {"skip_prk_steps": True}),
    (EulerDiscreteScheduler, {}),
    (HeunDiscreteScheduler, {}),
    (LMSDiscreteScheduler, {}),
    (DPMSolverMultistepScheduler, {}),
    (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    (DPMSolverSinglestepScheduler, {}),
    (DEISMultistepScheduler, {}),
    (UniPCMultistepScheduler, {}),
]
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
FLOW_SAMPLERS = [
    (FlowMatchEulerDiscreteScheduler, {}),
    (FlowMatchHeunDiscreteScheduler, {}),
    (DPMSolverMultistepScheduler, FLOW),
    (UniPCMultistepScheduler, FLOW),
]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("sd-epsilon", *one) for one in VP_SAMPLERS] + [("sd3", *one) for one in FLOW_SAMPLERS],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_sampler_with_a_reversal_is_read(made, name, kind, options):
    pipeline = made(name)
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **options)
    plug = plugged(pipeline, steps=10)
    assert correlation(plug, plug.generate(WORD, 0, seed=SEED, guidance_scale=1.0, prompt="a")) > 0.98


RULES = ["epsilon", "v_prediction", "sample", "flow"]
LOW, HIGH = Level(100.0, 0.9, math.sqrt(1 - 0.9**2)), Level(200.0, 0.7, math.sqrt(1 - 0.7**2))
FLOW_LOW, FLOW_HIGH = Level(100.0, 0.8, 0.2), Level(200.0, 0.6, 0.4)


def lowered(sample, output, rule):
    """One step of the sampler, from the definitions: say picture and noise, mix them at the lower level."""
    low, high = (FLOW_LOW, FLOW_HIGH) if rule == "flow" else (LOW, HIGH)
    a, s = high.signal, high.noise
    picture, noise = {
        "epsilon": lambda: ((sample - s * output) / a, output),
        "v_prediction": lambda: (a * sample - s * output, a * output + s * sample),
        "sample": lambda: (output, (sample - a * output) / s),
        "flow": lambda: (sample - s * output, sample + a * output),
    }[rule]()
    return low.signal * picture + low.noise * noise, low, high


@pytest.mark.parametrize("rule", RULES)
def test_refinements_converge_to_the_exact_inverse(rule):
    network = lambda sample: 0.3 * np.tanh(sample + 0.2)  # noqa: E731
    sample = np.random.Generator(np.random.PCG64(4)).standard_normal(500)
    base, low, high = lowered(sample, network(sample), rule)
    assert np.allclose(raised(base, sample, network(sample), low, high, rule), sample)
    guess, errors = base, []
    for _ in range(12):
        guess = raised(base, guess, network(guess), low, high, rule)
        errors.append(np.abs(guess - sample).max())
    assert errors[1] < errors[0]
    assert errors[3] < errors[1]
    assert errors[-1] < 1e-3


def test_the_ledger_hears_of_every_picture_before_it_is_drawn(made):
    plug, heard = plugged(made("ddim")), []
    plug.generate(WORD, 7, 3, seed=SEED, at_once=2, keep=lambda counter, signs: heard.append((counter, signs)))
    assert [counter for counter, _ in heard] == [7, 8, 9]
    for counter, signs in heard:
        assert (signs == MARK.signs(WORD, counter, plug.size)).all()


def test_the_same_seed_gives_the_same_pictures_and_a_fresh_one_others(made):
    plug = plugged(made("ddim"))
    first = plug.generate(WORD, 0, 2, seed=SEED)
    assert (plug.generate(WORD, 0, 2, seed=SEED, at_once=1) == first).all()
    assert not (plug.generate(WORD, 0, 2) == first).all()
    noise = np.stack([MARK.noise(WORD, i, plug.shape, SEED) for i in range(2)])
    assert (plug.render(noise) == first).all()


def test_other_threads_draw_their_own_noise(made, tmp_path):
    """Two pipelines of one class, one marked and one not, at the same time."""
    plug, other = plugged(made("ddim")), made("ddim")
    alone = other(num_inference_steps=STEPS, generator=torch.Generator().manual_seed(3), output_type="np").images
    results = []

    def run():
        seeded = torch.Generator().manual_seed(3)
        results.append(other(num_inference_steps=STEPS, generator=seeded, output_type="np").images)

    def keep(_counter, _signs):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    plug.generate(WORD, 0, keep=keep)
    assert np.array_equal(results[0], alone)


def test_a_mirrored_picture_is_read_when_asked(made):
    plug = plugged(made("ddim"), steps=10)
    mirrored = plug.generate(WORD, 0, seed=SEED)[0][:, ::-1]
    assert not plug.detect(mirrored).significant(1e-6)
    seen = plug.detect(Image.fromarray(np.ascontiguousarray(mirrored)), mirror=True)
    assert seen.word == WORD
    assert seen.geometry["candidate"] == 1
    assert seen.searched > plug.detect(mirrored).searched


def test_a_foreign_picture_is_not_found(made):
    seen = plugged(made("ddim")).detect(slope())
    assert not seen.significant(1e-3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (DDPMScheduler, {}),
        (EulerAncestralDiscreteScheduler, {}),
        (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_samplers_that_add_noise_are_refused(made, kind, options):
    pipeline = made("sd-epsilon")
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **options)
    with pytest.raises(InputError, match="cannot be read back") as refusal:
        plugged(pipeline)
    assert "DDIMScheduler" in refusal.value.hint


@pytest.mark.parametrize("options", [{"steps": 0}, {"refinements": 0}])
def test_steps_and_refinements_are_counts(made, options):
    with pytest.raises(InputError):
        plugged(made("ddim"), **options)


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.5])
def test_a_strength_is_a_share(made, strength):
    with pytest.raises(InputError):
        plugged(made("ddim")).invert([Image.new("RGB", (32, 32))], strength=strength)


def test_an_unknown_draw_is_refused(made):
    plug = plugged(made("sd-epsilon"))
    with pytest.raises(InputError, match="pictures"):
        plug.generate(WORD, 0, 3, prompt=["a", "b"])


def test_every_picture_can_have_its_prompt(made):
    plug = plugged(made("sd-epsilon"))
    together = plug.generate(WORD, 0, 3, seed=SEED, prompt=["a", "b", "c"], at_once=2)
    alone = [plug.generate(WORD, i, seed=SEED, prompt=prompt)[0].astype(int) for i, prompt in enumerate("abc")]
    assert np.abs(together - np.stack(alone)).max() <= 2


@pytest.fixture(scope="module")
def photos():
    """The example of 64 pixels a side, and two pictures of it."""
    plug = DiffusionMark(quiet(DDIMPipeline.from_pretrained(EXAMPLES / "photos-64")), MARK, steps=20)
    return plug, plug.generate(WORD, 0, 2, seed=SEED)


def compressed(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=50)
    return Image.open(stream)


@pytest.mark.parametrize(
    "damage",
    [
        lambda picture: picture,
        compressed,
        pytest.param(lambda picture: picture.filter(ImageFilter.GaussianBlur(1)), marks=pytest.mark.slow),
        pytest.param(lambda picture: picture.point(lambda value: value * 0.7), marks=pytest.mark.slow),
        pytest.param(lambda picture: picture.resize((48, 48), Image.Resampling.BICUBIC), marks=pytest.mark.slow),
    ],
    ids=["clean", "jpeg", "blur", "dark", "smaller"],
)
def test_pictures_of_the_trained_example_are_read_after_damage(photos, damage):
    plug, pictures = photos
    found = plug.invert([damage(Image.fromarray(picture)) for picture in pictures])
    for counter, one in enumerate(found):
        seen = MARK.read(one)
        assert (seen.word, MARK.counter(seen.nonce, plug.size)) == (WORD, counter)
        assert seen.significant(1e-6)


def test_the_small_example_is_marked_and_sometimes_read():
    """A trained model, 1,024 dimensions of grey: about half of its pictures hold enough of their noise to be read."""
    plug = DiffusionMark(quiet(DDIMPipeline.from_pretrained(EXAMPLES / "fashion-mnist")), MARK, steps=20)
    pictures = plug.generate(WORD, 0, 4, seed=SEED)
    found = plug.invert(pictures)
    assert np.mean([np.corrcoef(one, truth(plug, i))[0, 1] for i, one in enumerate(found)]) > 0.35
    seen = [MARK.read(one) for one in found]
    assert all(one.word == WORD for one in seen if one.significant(1e-6))


class Aloof(DDIMPipeline):
    """Draws its noise somewhere else."""

    def __call__(self, batch_size=1, num_inference_steps=50, output_type="pil"):
        return super().__call__(batch_size, num_inference_steps=num_inference_steps, output_type=output_type)


def test_noise_that_is_drawn_out_of_reach_is_refused(made):
    plug = plugged(quiet(Aloof(**made("ddim").components)))
    with pytest.raises(InputError, match="cannot be replaced"):
        plug.generate(WORD, 0)


class Stray(StableDiffusionImg2ImgPipeline):
    """Has no text-to-image pipeline of its name."""


def test_a_pipeline_that_cannot_start_from_noise_is_not_inverted(made):
    plug = plugged(quiet(Stray(**made("sd-epsilon").components, requires_safety_checker=False)))
    with pytest.raises(InputError, match="no text-to-image pipeline"):
        plug.invert([slope()])
