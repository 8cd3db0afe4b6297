"""Nobody wrong is named: damaged reads, with list and soft decoding on, against all that was ever issued.

Damage is the real detector's: what JPEG, noise, crops and the like leave of each of the 256 symbols, on photographs,
is carried over to fresh words under fresh keys, and drowned further in noise, from none to hopeless.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from countermark.core.coding import codeword_tail, decode, encode
from countermark.core.keys import DetectionKey, Secret
from countermark.core.payload import permute
from countermark.core.stats import binomial_tail, clopper_pearson
from countermark.marking.attacks import apply
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.observations import recompute
from countermark.marking.reading import pool
from countermark.tracing import Roster, Sighting, attribute

DAMAGE = ("clean", "jpeg(30)", "jpeg(10)", "noise(0.1)", "blur(3)", "crop(0.25)", "resize(0.4)", "rotate(9)+jpeg(50)")
WORD = 0x0123_4567_89AB_CDEF
CHUNK = 50_000


@functools.cache
def readings():
    """Return a sure detection, and what the symbols of damaged pictures keep: positive where a symbol is right."""
    mark, kept, sure = LatticeMark(Secret(bytes(32))), [], None
    for name in ("astronaut", "coffee"):
        marked = mark.embed(getattr(skimage.data, name)(), WORD)
        for damage in DAMAGE:
            seen = mark.detect(marked if damage == "clean" else apply(damage, marked))
            kept.append(np.array(seen.observations["symbols"]) * encode(WORD))
            sure = seen if sure is None else sure
    return sure, kept


def damaged(word, generator):
    """Return a detection of a word that some damage and some noise have passed over."""
    sure, kept = readings()
    noise = 10 ** generator.uniform(-1.0, 0.5) * generator.normal(size=256)
    symbols = encode(word) * kept[int(generator.integers(len(kept)))] + noise
    symbols = (symbols / np.sqrt(np.mean(symbols**2))).round(4).tolist()
    observations = {**sure.observations, "symbols": symbols}
    found = recompute(observations)
    return replace(sure, word=found.word, words=found.words, words_tried=found.words_tried, observations=observations)


class Registry:
    """As many licensees as identifiers: nobody is a decoy that could be named without harm."""

    def __init__(self, count, generator):
        self.identifiers = np.unique(generator.integers(0, 2**64, count, dtype=np.uint64))

    def issued_to(self, identifier):
        place = int(np.searchsorted(self.identifiers, np.uint64(identifier)))
        known = place < len(self.identifiers) and int(self.identifiers[place]) == identifier
        return f"grant:{place}" if known else None

    def trace(self, key, seen, alpha):
        return attribute(
            [Sighting(1, 0, key, seen)],
            alpha=alpha,
            identifiers_issued=len(self.identifiers),
            issued_to=self.issued_to,
            roster=Roster(lambda: np.split(self.identifiers, range(CHUNK, len(self.identifiers), CHUNK))),
        )


def draw(registry, generator, see):
    """Mark for a licensee or, as often, for an identifier that is not there; return its owner, and the key and view."""
    identifier = int(generator.choice(registry.identifiers))
    if generator.random() < 0.5:
        identifier = int(generator.integers(0, 2**64, dtype=np.uint64))
    key = DetectionKey.derive(Secret(generator.bytes(32)), method=LatticeMark.METHOD, model="m", epoch=0)
    return registry.issued_to(identifier), key, see(permute(key.permutation, identifier), generator)


def outcomes(traces, count, seed, *, alpha=1e-6, see=damaged):
    """Trace damaged reads; return how many named the right one exactly, the right one softly, a wrong one, nobody."""
    generator = np.random.Generator(np.random.PCG64(seed))
    registry, counts = Registry(count, generator), dict.fromkeys(("exact", "soft", "wrong", "nobody"), 0)
    for _ in range(traces):
        owner, key, seen = draw(registry, generator, see)
        found = registry.trace(key, seen, alpha)
        named = found.owner is not None
        counts[(found.read if found.owner == owner else "wrong") if named else "nobody"] += 1
        assert not named or found.p_innocent <= alpha
    return counts


def test_no_wrong_licensee_is_named():
    counts = outcomes(60, 20_000, seed=31)
    assert counts["wrong"] == 0
    assert min(counts["exact"], counts["soft"], counts["nobody"]) > 0, "every kind of damage is among them"


def test_a_soft_read_reaches_further_than_the_decoder():
    """Noise of 1.8 times the symbols; "found" is what a table of a million identifiers would allow at 1e-6."""
    generator, decoded, soft = np.random.Generator(np.random.PCG64(36)), 0, 0
    for _ in range(60):
        word = int(generator.integers(0, 2**64, dtype=np.uint64))
        code = encode(word)
        symbols = code + 1.8 * generator.normal(size=256)
        decoded += decode(symbols) == word
        soft += 1_000_000 * codeword_tail(symbols, float(code @ symbols)) <= 1e-6
    print(decoded, soft)
    assert decoded < 15 < 40 < soft


@pytest.mark.slow
@pytest.mark.timeout(10_800)
def test_no_wrong_licensee_is_named_among_a_million_in_ten_thousand_traces():
    counts = outcomes(10_000, 1_000_000, seed=32)
    print(counts, "wrong:", clopper_pearson(counts["wrong"], 10_000))
    assert counts["wrong"] == 0
    assert min(counts["exact"], counts["soft"], counts["nobody"]) > 100


def several(word, generator):
    """Return three damaged readings of one word as one."""
    return pool([damaged(word, generator) for _ in range(3)])


@pytest.mark.parametrize("see", [damaged, several])
def test_the_bound_holds_at_levels_that_chance_reaches(see):
    """Ask at 0.05, where the bound is used up: one-sided, as the bound is."""
    counts = outcomes(40, 500, seed=33, alpha=0.05, see=see)
    assert binomial_tail(counts["wrong"], 40, 0.05) > 1e-6


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_bound_holds_in_two_thousand_traces(alpha):
    counts = outcomes(2000, 500, seed=35, alpha=alpha)
    assert binomial_tail(counts["wrong"], 2000, alpha) > 1e-6


def test_noise_alone_is_nobodys():
    """Symbols that carry no word at all, so that every attribution is wrong; at 0.1."""

    def noise(_, generator):
        seen = damaged(0, generator)
        symbols = generator.standard_t(3, 256).round(4).tolist()
        found = recompute(observations := {**seen.observations, "symbols": symbols})
        return replace(seen, word=found.word, words=found.words, observations=observations)

    counts = outcomes(100, 50, seed=34, alpha=0.1, see=noise)
    assert counts["exact"] == 0
    assert binomial_tail(counts["wrong"] + counts["soft"], 100, 0.1) > 1e-6
