"""Marked noise and its reading: channels, candidates, limits, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import NotExamined
from countermark.marking.image.noise import MIN_SIZE, NoiseMark, coefficients, collision_bound, describe, latent_of

SHAPE, SIZE = (3, 64, 64), 12288
KEY, SEED = Secret(bytes(32)), Secret(bytes(range(32)))
WORD = 0x0123_4567_89AB_CDEF
MARK = NoiseMark(KEY, key_id="mark:test")


def received(counter, correlation, *, mark=MARK, shape=SHAPE):
    """Coefficients after a Gaussian channel of this correlation."""
    sent = coefficients(mark.noise(WORD, counter, shape, SEED))
    other = np.random.Generator(np.random.PCG64(counter)).standard_normal(sent.size)
    return correlation * sent + np.sqrt(1 - correlation**2) * other


@pytest.mark.parametrize(
    ("shape", "correlation"), [((1, 32, 32), 0.75), (SHAPE, 0.27), ((4, 64, 64), 0.23), ((4, 128, 128), 0.12)]
)
def test_the_word_is_read_through_noise(shape, correlation):
    for counter in range(4):
        seen = MARK.read(received(counter, correlation, shape=shape))
        assert seen.word == WORD
        assert seen.words[0] == seen.word
        assert len(set(seen.words)) == len(seen.words) == seen.words_tried
        assert MARK.counter(seen.nonce, int(np.prod(shape))) == counter
        assert seen.significant(1e-6)
        assert seen.key_id == "mark:test"


def test_bands_are_trusted_by_what_they_carry():
    """A picture that lost its upper four fifths of frequencies to strong noise is read by the rest."""
    sent = coefficients(MARK.noise(WORD, 1, SHAPE, SEED))
    other = np.random.Generator(np.random.PCG64(9)).standard_normal(SIZE)
    low = np.arange(SIZE) < SIZE // 5
    seen = MARK.read(np.where(low, 0.7 * sent + 0.7 * other, 1.5 * other))
    assert seen.word == WORD
    assert seen.p_value < 1e-12


def test_the_best_of_several_candidates_is_reported_and_all_are_counted():
    strange = np.random.Generator(np.random.PCG64(1)).standard_normal(SIZE)
    good = received(5, 0.5)
    alone, among = MARK.read(good), MARK.read(strange, good, searched=3)
    assert among.geometry == {"candidate": 1}
    assert among.word == WORD
    assert among.searched > 3 * alone.searched
    assert among.p_value == pytest.approx(alone.p_value * among.searched / alone.searched)


def test_another_key_reads_nothing():
    seen = NoiseMark(Secret(bytes([1]) * 32)).read(received(0, 1.0))
    assert not seen.significant(1e-3)


def test_deliberate_errors_cost_the_nonce_share_alone():
    flipped = NoiseMark(KEY, flips=0.2)
    plan = MARK._plan(SIZE)
    plain, wrong = MARK.signs(WORD, 3, SIZE), flipped.signs(WORD, 3, SIZE)
    assert (plain == wrong)[plan.pilot_at].all()
    assert (plain == wrong)[plan.word_at].all()
    assert 0.17 < (plain != wrong)[plan.nonce_at].mean() < 0.23
    assert MARK.read(received(3, 0.5, mark=flipped)).word == WORD


def test_counters_of_small_latents_end():
    MARK.signs(WORD, 2**24 - 1, MIN_SIZE)
    for counter in (-1, 2**24):
        with pytest.raises(InputError, match="counter") as refusal:
            MARK.signs(WORD, counter, MIN_SIZE)
        assert "epoch" in refusal.value.hint
    MARK.signs(WORD, 2**64 - 1, SIZE)


def test_latents_that_are_too_small_are_not_examined():
    assert isinstance(MARK.read(np.ones(MIN_SIZE - 1)), NotExamined)
    for call in (lambda: MARK.signs(WORD, 0, 1000), lambda: describe(10), lambda: collision_bound(2, 10)):
        with pytest.raises(InputError):
            call()


def test_a_latent_of_nothing_is_not_found():
    assert MARK.read(np.zeros(SIZE)).p_value == 1.0


@pytest.mark.parametrize(
    "latents",
    [(), (np.zeros(SIZE), np.zeros(SIZE + 1)), (np.full(SIZE, np.nan),), (np.zeros((64, 192)),)],
)
def test_what_is_no_row_of_coefficients_is_refused(latents):
    with pytest.raises(InputError):
        MARK.read(*latents)


@pytest.mark.parametrize("flips", [-0.1, 0.5])
def test_flips_have_a_limit(flips):
    with pytest.raises(InputError):
        NoiseMark(KEY, flips=flips)


def test_words_have_64_bits():
    with pytest.raises(InputError):
        MARK.signs(2**64, 0, SIZE)
    with pytest.raises(InputError):
        coefficients(np.zeros(5))
    with pytest.raises(InputError):
        collision_bound(-1, SIZE)


def test_describe_says_how_long_a_key_lasts():
    small, large = describe(1024), describe(16384)
    assert (small["nonce_bits"], large["nonce_bits"]) == (24, 64)
    assert small["generations_per_key"] == 2**24
    assert small["collision_bound_of_1e6_random_counters"] == 1.0
    assert large["collision_bound_of_1e6_random_counters"] < 3e-8
    for said in (small, large):
        assert said["nonce_signs"] + said["pilot_signs"] + said["word_signs"] == said["dimensions"]


def test_grey_comes_first_and_color_differences_late():
    grey = np.broadcast_to(np.outer(np.ones(64), np.cos(np.pi * (np.arange(64) + 0.5) / 64)), SHAPE)
    values = coefficients(grey)
    assert np.argmax(np.abs(values)) <= 4
    tint = np.zeros(SHAPE)
    tint[0], tint[2] = 1.0, -1.0
    assert np.allclose(latent_of(coefficients(tint), SHAPE), tint, atol=1e-5)


def test_neither_torch_nor_diffusers_is_loaded():
    code = (
        "import sys, countermark; from countermark import NoiseMark, DiffusionMark;"
        "assert not {'torch', 'diffusers', 'PIL', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
