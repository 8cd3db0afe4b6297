"""Groups of near-equal outputs: what a model draws again and again it may have stored.

The distance of two pictures is the largest root mean squared error among the tiles of a 4 x 4 grid, so that a flat
background does not make different pictures near (N. Carlini et al., Extracting Training Data from Diffusion Models,
USENIX Security 2023, section 4.2). It is a metric, as a maximum of norms. Outputs gather around *leaders*: the first
output of a clique is its leader, and a later one joins the earliest leader within half the limit. By the triangle
inequality any two members are within the limit, for the price of one comparison with each leader.

Laws:
    any two members of a clique are within ``near``;
    every output is in one clique, and equal outputs are in the same;
    cliques do not depend on the batches in which outputs come.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError

Images = NDArray[np.uint8]

TILES = 4
#: Of 3,000 unseen pictures of MNIST, on which it was chosen, two are in one clique at this limit; of 1,000 that a model
#: trained on 300 of them draws, 662 are in cliques of two and more.
NEAR = 0.2
_BLOCK = 1024


def tile_distance(one: Images, other: Images) -> NDArray[np.float64]:
    """Return the largest root mean squared error of a tile, in [0, 1], for images (n, h, w, c) pairwise in order."""
    squared = (one.astype(np.int32) - other.astype(np.int32)) ** 2
    means = [squared[:, rows, columns].mean(axis=(1, 2, 3)) for rows, columns in _tiles(one)]
    return np.asarray(np.sqrt(np.max(means, axis=0)) / 255, dtype=np.float64)


class Cliques:
    """Grows by batches of images, all of one shape.

    Args:
        near: limit on the distance of any two members, in (0, 1].

    Raises:
        InputError: a limit out of range.
    """

    def __init__(self, near: float) -> None:
        if not 0 < near <= 1:
            raise InputError("near-equal is a distance between 0 and 1, not {near}", near=near)
        self.near = near
        self._leaders: Images | None = None
        self._count = 0
        self._of: list[int] = []

    @property
    def of(self) -> NDArray[np.int64]:
        """The clique of every image so far, numbered by their leaders in order."""
        return np.array(self._of, dtype=np.int64)

    def add(self, images: Images) -> None:
        """Put images (n, h, w, c) into cliques."""
        joined = self._among_leaders(images)
        pending = np.flatnonzero(joined < 0)
        close = _close(images[pending], images[pending], self.near / 2)
        while len(pending):
            joined[pending[close[0]]] = self._lead(images[pending[0]])
            left = ~close[0]
            pending, close = pending[left], close[left][:, left]
        self._of += joined.tolist()

    def _among_leaders(self, images: Images) -> NDArray[np.int64]:
        joined = np.full(len(images), -1, dtype=np.int64)
        for start in range(0, self._count, _BLOCK):
            waiting = np.flatnonzero(joined < 0)
            if not len(waiting) or self._leaders is None:
                break
            close = _close(images[waiting], self._leaders[start : min(start + _BLOCK, self._count)], self.near / 2)
            found = close.any(axis=1)
            joined[waiting[found]] = start + close[found].argmax(axis=1)
        return joined

    def _lead(self, image: Images) -> int:
        if self._leaders is None:
            self._leaders = np.empty((_BLOCK, *image.shape), dtype=np.uint8)
        if self._count == len(self._leaders):
            self._leaders = np.concatenate([self._leaders, np.empty_like(self._leaders)])
        self._leaders[self._count] = image
        self._count += 1
        return self._count - 1


def _close(images: Images, others: Images, limit: float) -> NDArray[np.bool_]:
    """Return which of images (n) by others (m) are within ``limit``; the root mean squared error is never larger."""
    close = np.zeros((len(images), len(others)), dtype=np.bool_)
    if not close.size:
        return close
    # Sums of products of bytes are whole numbers far below 2**53, so float64 adds them up exactly.
    a, b = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (images, others))
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    # The mean square of the whole is a weighted mean of those of the tiles, never above the largest.
    rows, columns = np.nonzero(squared <= (255 * limit) ** 2 * a.shape[1] * (1 + 1e-9))
    for start in range(0, len(rows), _BLOCK):
        i, j = rows[start : start + _BLOCK], columns[start : start + _BLOCK]
        close[i, j] = tile_distance(images[i], others[j]) <= limit
    return close


def _tiles(images: Images) -> list[tuple[slice, slice]]:
    """Return the slices of the tiles; of a side below 4 pixels there are as many as it has."""
    across = [_cuts(side) for side in images.shape[1:3]]
    return [(rows, columns) for rows in across[0] for columns in across[1]]


def _cuts(side: int) -> list[slice]:
    edges = np.linspace(0, side, min(TILES, side) + 1).round().astype(int).tolist()
    return [slice(low, high) for low, high in itertools.pairwise(edges)]
