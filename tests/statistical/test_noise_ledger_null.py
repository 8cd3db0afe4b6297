"""Generations of one key do not point at each other: the second null of the noise ledger, with the real patterns."""

from __future__ import annotations

import numpy as np
import pytest

from countermark.core.keys import Secret
from countermark.core.stats import clopper_pearson
from countermark.marking.image.noise import NoiseMark
from countermark.marking.image.noise_ledger import Recorded, search

WORD, RECORDS = 0x0F1E_2D3C_4B5A_6978, 40


@pytest.mark.parametrize(("size", "keys"), [(1024, 60), (4096, 60), pytest.param(4096, 1000, marks=pytest.mark.slow)])
def test_a_generation_that_is_not_recorded_is_no_other_one(size: int, keys: int) -> None:
    """A fresh key each time; the latent is exact, of the same key and word, and of the next counter."""
    generator = np.random.default_rng(size + keys)
    innocent = 0
    for _ in range(keys):
        mark = NoiseMark(Secret(generator.bytes(32)))
        signs = np.stack([mark.pattern(WORD, counter, size) for counter in range(RECORDS)])
        latent = np.abs(generator.normal(size=size)) * mark.pattern(WORD, RECORDS, size)
        match = search(Recorded.of(range(RECORDS), signs), latent[None], own=mark.own_signs(size))
        assert match is not None
        innocent += match.p_innocent <= 0.05
    assert clopper_pearson(innocent, keys, 0.999)[0] <= 0.05


def test_the_pattern_is_the_sign_of_the_noise_in_the_order_of_the_ledger() -> None:
    from countermark.marking.image.noise import coefficients

    mark = NoiseMark(Secret(bytes(32)))
    noise = mark.noise(WORD, 3, (4, 32, 32), Secret(b"s" * 32))
    assert np.array_equal(np.sign(mark.spread(coefficients(noise))), mark.pattern(WORD, 3, 4096))
    assert 0 < mark.own_signs(4096) < 4096
