"""The null of pooled pictures: unmarked crops, copies among them, a fresh key each pool; one-sided, as the bound is."""

import numpy as np
import pytest
import skimage.data

from countermark.core.keys import Secret
from countermark.core.stats import binomial_tail
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.reading import pool

NAMES = ("astronaut", "coffee", "chelsea")


def p_values(count, seed):
    """Pool three crops of one photograph, the last a flipped copy of the first: as dependent as pictures get."""
    generator = np.random.Generator(np.random.PCG64(seed))
    values = []
    for i in range(count):
        image = getattr(skimage.data, NAMES[i % len(NAMES)])()
        top, left = generator.integers(0, 60, 2)
        crops = [image[top : top + 200, left : left + 220], image[top + 20 : top + 220, left : left + 200]]
        mark = LatticeMark(Secret(generator.bytes(32)))
        values.append(pool([mark.detect(np.ascontiguousarray(crop)) for crop in (*crops, crops[0][:, ::-1])]).p_value)
    return np.array(values)


def assert_no_excess(values):
    for level in (1e-6, 1e-3, 1e-2, 0.1, 0.5):
        false = int((values <= level).sum())
        assert binomial_tail(false, len(values), level) > 1e-6, (level, false)


def test_unmarked_pictures_are_not_found_together():
    assert_no_excess(p_values(5, seed=41))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_unmarked_pools_are_not_found():
    assert_no_excess(p_values(200, seed=42))
