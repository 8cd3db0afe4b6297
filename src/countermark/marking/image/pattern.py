"""The secret tile: which frequencies carry what, under one key.

The tile has ``TILE`` pixels a side, so its energy lies on the lattice of frequencies ``k / TILE`` cycles per pixel, k a
pair of integers. Only those of an annulus are used: lower ones show and fight the picture's own energy, higher ones die
in JPEG and in a resize to half. A key shuffles them. The first ``SYNC`` become the *sync lines*, few and strong, the
same in every picture of the key: they say how a picture was cropped, resized and turned, and nothing else. The rest is
dealt into 64 hands of ``PILOTS`` lines. A *pattern* is a pair (a, b), its number the *nonce*: the lines of hand a are
its *pilots*, the first ``ANCHORS`` of them with phases of a's, the others with sums of a's and b's; all other lines are
*carriers* of two code symbols each.

So pictures of one key and word share the sync lines, and one in 64 the phases of its anchors too. Averaging shows
little of them and nothing of the rest, and no line of a single picture stands out but the sync lines. Where these were
filtered out, a picture that was cropped can still be placed, by the anchors: there are few enough hands to try.

Law: sync lines, hands and symbols' places depend on the key's *positions* alone, sync phases, pilot phases and signs on
four further keys derived independently. The null of the detector (``lattice``) rests on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.core.coding import SYMBOLS
from countermark.core.keys import Secret, derive_key, keystream

TILE = 1024
SYNC = 48
HANDS, TURNS, PILOTS, ANCHORS = 64, 256, 768, 384
PATTERNS = HANDS * TURNS
BAND = (0.06, 0.20)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What one key places in the tile. A line (x, y) is in cycles per tile, one of each conjugate pair, x >= 0.

    Attributes:
        sync: (SYNC, 2) lines.
        sync_phases: (SYNC,) radians in [0, 2 pi).
        lines: (n, 2) all other lines; hand ``a`` is ``lines[a * PILOTS : (a + 1) * PILOTS]``.
        symbols: (n, 2) which code symbol the real and the imaginary part of a carrier hold.
        hand_phases: (HANDS, PILOTS) and ``turn_phases`` (TURNS, PILOTS - ANCHORS), which are added to the last.
    """

    sync: Places
    sync_phases: Singles
    lines: Places
    symbols: Places
    hand_phases: Singles
    turn_phases: Singles
    signs_key: Secret

    @classmethod
    def derive(cls, secret: Secret) -> Pattern:
        """Derive the patterns of an embedding key."""
        annulus = _annulus()
        order = _order(derive_key(secret, "lattice", "positions"), len(annulus))
        lines = annulus[order[SYNC:]]
        phases = _phases(derive_key(secret, "lattice", "pilots"), HANDS * PILOTS + TURNS * (PILOTS - ANCHORS))
        return cls(
            sync=annulus[order[:SYNC]],
            sync_phases=_phases(derive_key(secret, "lattice", "sync"), SYNC),
            lines=lines,
            symbols=_symbols(derive_key(secret, "lattice", "symbols"), lines),
            hand_phases=phases[: HANDS * PILOTS].reshape(HANDS, PILOTS),
            turn_phases=phases[HANDS * PILOTS :].reshape(TURNS, PILOTS - ANCHORS),
            signs_key=derive_key(secret, "lattice", "signs"),
        )

    def signs(self, nonce: int) -> Singles:
        """Return the whitening signs of all lines under a pattern: (n, 2), independent from pattern to pattern."""
        stream = keystream(self.signs_key, -(-2 * len(self.lines) // 8), stream=nonce)
        bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=2 * len(self.lines))
        return (1.0 - 2.0 * bits.astype(np.float32)).reshape(-1, 2)

    def pilots(self, nonce: int) -> tuple[slice, Singles]:
        """Return which of ``lines`` are the pilots of a pattern, and their phases (PILOTS,) in radians."""
        hand, turn = divmod(nonce, TURNS)
        phases = self.hand_phases[hand].copy()
        phases[ANCHORS:] += self.turn_phases[turn]
        return slice(hand * PILOTS, (hand + 1) * PILOTS), phases


def _annulus() -> Places:
    """Return the lattice frequencies of one half plane within ``BAND``, as (n, 2) integers in a fixed order."""
    reach = int(BAND[1] * TILE)
    x, y = np.meshgrid(np.arange(0, reach + 1), np.arange(-reach, reach + 1))
    radius = np.hypot(x, y) / TILE
    chosen = (radius >= BAND[0]) & (radius <= BAND[1]) & ((x > 0) | (y > 0))
    return np.stack((x[chosen], y[chosen]), axis=1)


def _symbols(key: Secret, lines: Places) -> Places:
    """Give every block of 128 lines, taken in order of radius, all 256 symbols once, each block in its own order."""
    by_radius = np.argsort((lines**2).sum(axis=1), kind="stable")
    blocks = -(-len(lines) * 2 // SYMBOLS)
    numbers = _integers(key, blocks * SYMBOLS).reshape(blocks, SYMBOLS)
    places = np.empty_like(lines)
    places[by_radius] = np.argsort(numbers, axis=1, kind="stable").reshape(-1, 2)[: len(lines)]
    return places


def _order(key: Secret, size: int) -> Places:
    return np.argsort(_integers(key, size), kind="stable")


def _phases(key: Secret, size: int) -> Singles:
    return (_integers(key, size).astype(np.float64) * (2 * np.pi / 2**64)).astype(np.float32)


def _integers(key: Secret, size: int) -> NDArray[np.uint64]:
    return np.frombuffer(keystream(key, 8 * size), dtype="<u8").astype(np.uint64)
