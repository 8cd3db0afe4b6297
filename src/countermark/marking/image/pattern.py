"""The secret tile: which frequencies are pilots, their phases, and where each code symbol lives.

The tile is periodic with ``TILE`` pixels, so its energy lies on the lattice of frequencies ``k / TILE`` cycles per
pixel, k a pair of integers. Only those of an annulus are used: lower ones show and fight the picture's own energy,
higher ones die in JPEG and in a resize to half. A key shuffles them; the first ``PILOTS`` become pilots, the next carry
two code symbols each (real and imaginary part), every symbol ``REPEATS`` times at different radii.

Positions, pilot phases and symbol signs come from three independently derived keys. That the phases are independent of
the positions is what the null of the detector rests on (``lattice``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.core.coding import SYMBOLS
from countermark.core.keys import Secret, derive_key, keystream

TILE = 128
PILOTS = 96
REPEATS = 6
BAND = (0.06, 0.20)
_CARRIERS = REPEATS * SYMBOLS // 2

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What one key places in the tile.

    ``pilots`` (PILOTS, 2) and ``carriers`` (REPEATS * SYMBOLS / 2, 2): frequencies in cycles per tile, one of each
    conjugate pair, in the order (x, y). ``phases`` (PILOTS,): radians in [0, 2 pi). ``symbols`` and ``signs``
    (carriers, 2): which code symbol the real and the imaginary part hold, and its whitening sign.
    """

    pilots: Floats
    phases: Floats
    carriers: Floats
    symbols: NDArray[np.intp]
    signs: Floats

    @classmethod
    def derive(cls, secret: Secret) -> Pattern:
        """Derive the pattern of an embedding key."""
        lattice = _annulus()
        order = _order(derive_key(secret, "lattice", "positions"), len(lattice))
        pilots, carriers = lattice[order[:PILOTS]], lattice[order[PILOTS : PILOTS + _CARRIERS]]
        carriers = carriers[np.argsort((carriers**2).sum(axis=1), kind="stable")]
        numbers = _integers(derive_key(secret, "lattice", "phases"), PILOTS)
        signs = 1.0 - 2.0 * (_integers(derive_key(secret, "lattice", "signs"), 2 * _CARRIERS) >> np.uint64(63))
        return cls(
            pilots=pilots,
            phases=numbers.astype(np.float64) * (2 * np.pi / 2**64),
            carriers=carriers,
            symbols=_places(derive_key(secret, "lattice", "symbols")),
            signs=signs.astype(np.float64).reshape(_CARRIERS, 2),
        )


def _annulus() -> Floats:
    """Return the lattice frequencies of one half plane within ``BAND``, as (n, 2) integers in a fixed order."""
    reach = int(np.ceil(BAND[1] * TILE))
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(0, reach + 1))
    radius = np.hypot(x, y) / TILE
    chosen = (radius >= BAND[0]) & (radius <= BAND[1]) & ((y > 0) | (x > 0))
    return np.stack((x[chosen], y[chosen]), axis=1).astype(np.float64)


def _places(key: Secret) -> NDArray[np.intp]:
    """Give every block of 128 carriers, taken in order of radius, all 256 symbols once, each block in its own order."""
    blocks = [_order(key, SYMBOLS, stream=block) for block in range(REPEATS)]
    return np.concatenate(blocks).reshape(_CARRIERS, 2)


def _order(key: Secret, size: int, *, stream: int = 0) -> NDArray[np.intp]:
    return np.argsort(_integers(key, size, stream=stream), kind="stable")


def _integers(key: Secret, size: int, *, stream: int = 0) -> NDArray[np.uint64]:
    return np.frombuffer(keystream(key, 8 * size, stream=stream), dtype="<u8").astype(np.uint64)
