"""The self-test of the search: which engine and which block are fastest on this machine, in less than 0.3 s.

Every candidate searches the same few random images, and the least time of its repeats counts. Time is that of the
processors, shared among the threads: the clock would measure what else the machine does. An 8-bit engine without its
instructions can be a hundred times slower than floats: it is tried on few images first and left out where it is slow
there. faiss is tried only where 8-bit products do not win clearly. A candidate whose turn comes after the time is used
up is left out; if that is all of them, the first trial on few images decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache

import numpy as np

from countermark.audit.images.products import Bytes, Integers
from countermark.audit.images.search import PLANS, Index, Plan, index_of
from countermark.errors import InputError, MissingExtra

# Seconds, on a machine that does nothing else, after which no search is begun; loading torch and faiss comes on top.
BUDGET = 0.2
_QUERIES, _IMAGES, _DIMS = 256, 2048, 784
_BLOCKS = ((128, 1024), (512, 1024))
# 8-bit products that are so many times faster than floats leave faiss no chance.
_CLEARLY = 2.5


@cache
def best_plan(threads: int) -> Plan:
    """Return the fastest plan here for so many threads; tested once per process."""
    measured = rates(threads)
    return max(measured, key=lambda plan: measured[plan], default=PLANS["numpy"])


def rates(threads: int, budget: float = BUDGET) -> dict[Plan, float]:
    """Return queries by images per second of every plan that was tried, within ``budget`` seconds."""
    trial = _Trial(threads, budget)
    few = {engine: trial.rate(PLANS[engine], images=128) for engine in ("numpy", "int8")}
    if few["int8"] > few["numpy"] / 4:
        trial.run(PLANS["int8"])
    trial.run(PLANS["numpy"])
    best, floats = (trial.measured.get(PLANS[engine], 0.0) for engine in ("int8", "numpy"))
    if best < _CLEARLY * floats:
        trial.run(PLANS["faiss"])
    if best > floats:
        for block in _BLOCKS:
            trial.run(Plan("int8", *block))
    return trial.measured or {PLANS[engine]: rate for engine, rate in few.items() if rate}


class _Trial:
    def __init__(self, threads: int, budget: float) -> None:
        generator = np.random.default_rng(0)
        self._images = generator.integers(0, 256, (_IMAGES, _DIMS), np.uint8)
        self._queries = generator.integers(0, 256, (_QUERIES, _DIMS), np.uint8)
        self._threads, self._left = threads, budget
        self.measured: dict[Plan, float] = {}

    def run(self, plan: Plan) -> None:
        """Measure a plan if there is time left."""
        rate = self.rate(plan)
        if rate:
            self.measured[plan] = rate

    def rate(self, plan: Plan, images: int = _IMAGES) -> float:
        """Return the rate of the fastest of three searches, fewer where time ends; 0 where there is none left."""
        try:
            index = index_of(_Rows(self._images[:images]), plan, self._threads)
        except (MissingExtra, InputError):
            return 0.0
        times: list[float] = []
        # a trial on few images is made in any case, so that there is something to choose by
        while len(times) < 3 and (self._left > 0 or (images < _IMAGES and not times)):
            times.append(self._time(index))
            self._left -= times[-1]
        return len(self._queries) * images / min(times) if times else 0.0

    def _time(self, index: Index) -> float:
        begin = time.process_time()
        index.nearest(self._queries, 8)
        return (time.process_time() - begin) / self._threads


class _Rows:
    """Images of a trial as a store."""

    labels: Integers | None = None

    def __init__(self, rows: Bytes) -> None:
        self._rows = rows
        self.shape, self.count = (1, rows.shape[1], 1), len(rows)

    def take(self, indices: Integers) -> Bytes:
        return self._rows[indices].reshape(-1, *self.shape)

    def shards(self) -> Iterator[tuple[int, Bytes]]:
        yield 0, self._rows
