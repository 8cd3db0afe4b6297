"""The scan over blocks of images that every exact search is: scores, limits, and the best of each query.

A search packs squared distance and index into one integer, so that sorting keys sorts by distance, then by index. Few
scores come to be sorted: the least of every 64 columns is compared with the query's limit, the distance of its k-th
best so far, which all threads share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.products import LOT, Bytes, Integers, Kernel

NO_KEY = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Block:
    """Some images to search: how to get their bytes, how many, and their numbers (or the first of them)."""

    fetch: Callable[[], Bytes]
    size: int
    numbers: Integers | int

    def numbered(self, columns: Integers) -> Integers:
        """Return the numbers of the images in these columns."""
        return columns + self.numbers if isinstance(self.numbers, int) else self.numbers[columns]

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what ``values``, one per image of the store, holds for this block."""
        where = slice(self.numbers, self.numbers + self.size) if isinstance(self.numbers, int) else self.numbers
        return np.asarray(values[where])


@dataclass(frozen=True, slots=True)
class Scan:
    """What is searched for, and how.

    Attributes:
        queries: (q, ...) as the kernel takes them, by pieces of ``piece``.
        norms: (q,) what turns a query's scores into distances of at least 0.
        k: how many of the best are kept.
        shift: bits of an index in a key.
        kind: the integers of scores.
        kernel: makes the kernel of a thread.
        torch: told to keep each of the threads to itself; none where the kernel does not need it.
    """

    queries: NDArray[Any]
    norms: Integers
    k: int
    piece: int
    shift: int
    kind: type[np.signedinteger[Any]]
    kernel: Callable[[], Kernel]
    threads: int
    torch: Any = None

    def over(self, blocks: Sequence[Block], norms: NDArray[Any], say: Callable[[float], None]) -> Integers:
        """Return (q, k) ascending keys; ``norms`` are one per image of the store, ``say`` is told the share done."""
        shared = _Shared(self)
        spans = _spans(len(shared.pieces), len(blocks), self.threads)
        tasks = deque((block, span) for block in blocks for span in spans)
        whole = len(tasks)

        def work() -> _Found:
            found = _Found(shared, self.kernel())
            while tasks:
                try:
                    block, span = tasks.popleft()
                except IndexError:  # another thread took the last one
                    break
                found.visit(block, block.of(norms), span)
            return found

        workers = min(self.threads, whole)
        with single_threaded(self.torch, workers) as pool:
            futures = [pool.submit(work) for _ in range(workers)]
            return shared.merged(_together(futures, tasks, lambda: say(1 - len(tasks) / whole)))


@contextmanager
def single_threaded(torch: Any, threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads in each of which torch, if there is one, computes with that thread alone.

    Threads that work on blocks of their own need not wait for one another after every product, as those of one
    product do: on a machine that does other work as well, that waiting is most of the time.
    """
    before = torch.get_num_threads() if torch is not None else 0
    alone = (lambda: torch.set_num_threads(1)) if torch is not None else None
    try:
        with ThreadPoolExecutor(threads, initializer=alone) as pool:
            yield pool
    finally:
        if before:
            torch.set_num_threads(before)


def _spans(pieces: int, blocks: int, threads: int) -> list[range]:
    """Return ranges of pieces of queries, so many that there are some tasks for every thread."""
    parts = min(pieces, max(1, -(-4 * threads // blocks)))
    cuts = [pieces * i // parts for i in range(parts + 1)]
    return [range(a, b) for a, b in pairwise(cuts)]


def _together(futures: list[Future[_Found]], tasks: deque[Any], say: Callable[[], None]) -> list[_Found]:
    """Return what every worker found; ``say`` is called from this thread, and no task is begun after a failure."""
    waiting = set(futures)
    try:
        while waiting:
            ended, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
            say()
    finally:
        tasks.clear()
    return [future.result() for future in futures]


class _Shared:
    """What the threads of one scan share: the queries in pieces, and per query a limit that no result exceeds.

    Limits only fall; a value that one thread overwrites with another's older one is still a limit.
    """

    def __init__(self, job: Scan) -> None:
        self.job = job
        count = len(job.queries)
        self.pieces = [slice(at, min(at + job.piece, count)) for at in range(0, count, job.piece)]
        self.limits = np.full(count, np.iinfo(job.kind).max - 1, job.kind)

    def merged(self, found: Sequence[_Found]) -> Integers:
        """Return (q, k) ascending keys of what all threads found."""
        tables = [each.keys() for each in found]
        return np.sort(np.concatenate(tables, axis=1), axis=1)[:, : self.job.k]


class _Found:
    """What one thread has found: per piece of queries the best keys, and candidates not sorted in yet."""

    def __init__(self, shared: _Shared, kernel: Kernel) -> None:
        self._shared, self._kernel = shared, kernel
        self._bests: dict[int, _Best] = {}

    def visit(self, block: Block, norms: Integers, span: range) -> None:
        """Compare a block of images with some pieces of queries."""
        images = self._kernel.images(block.fetch(), norms)
        for number in span:
            best = self._bests.get(number)
            if best is None:
                best = self._bests[number] = _Best(self._shared, self._shared.pieces[number], self._kernel)
            best.offer(self._kernel.scores(best.operand, images), block)

    def keys(self) -> Integers:
        """Return (q, k) keys; the greatest number where nothing was found."""
        table = np.full((len(self._shared.job.queries), self._shared.job.k), NO_KEY)
        for best in self._bests.values():
            best.sort_in()
            table[best.piece] = best.keys
        return table


class _Best:
    """The ``k`` best keys of the queries of one piece, in one thread."""

    def __init__(self, shared: _Shared, piece: slice, kernel: Kernel) -> None:
        job = shared.job
        self.piece, self.operand = piece, kernel.queries(job.queries[piece])
        self._k, self._shift, self._kernel = job.k, job.shift, kernel
        self._norms, self._limits = job.norms[piece], shared.limits[piece]
        self.keys = np.full((len(self._norms), job.k), NO_KEY)
        self._rows: list[NDArray[np.uint32]] = []
        self._waiting: list[Integers] = []
        self._open = len(self._norms) * max(job.k // 2, 16)
        self._count, self._begun = 0, False

    def offer(self, scores: Any, block: Block) -> None:
        """Take the scores of a block: keep what is within the limits."""
        if not self._begun:
            self._begin(scores)
        lots = self._kernel.lows(scores)
        hits = np.flatnonzero(lots <= self._limits[:, None])
        if not len(hits):
            return
        rows, values = hits // lots.shape[1], self._kernel.lots(scores, hits)
        within = np.flatnonzero(values <= self._limits[rows][:, None])
        rows, columns = rows[within // LOT], hits[within // LOT] % lots.shape[1] * LOT + within % LOT
        distances = values.reshape(-1)[within] + self._norms[rows]
        self._rows.append(rows.astype(np.uint32))
        self._waiting.append(distances << self._shift | block.numbered(columns))
        self._count += len(rows)
        if self._count > self._open:
            self.sort_in()

    def _begin(self, scores: Any) -> None:
        """Set first limits from some columns of the first block."""
        self._begun = True
        head = self._kernel.head(scores, max(4 * self._k, 256))
        if head.shape[1] >= self._k:
            self._lower(np.partition(head, self._k - 1, axis=1)[:, self._k - 1])

    def _lower(self, limits: NDArray[Any]) -> None:
        np.minimum(self._limits, limits, out=self._limits, casting="same_kind")

    def sort_in(self) -> None:
        """Merge the candidates that wait into the best."""
        if not self._count:
            return
        rows, keys = np.concatenate(self._rows), np.concatenate(self._waiting)
        order = np.argsort(rows, kind="stable")
        rows, keys = rows[order], keys[order]
        counts = np.bincount(rows, minlength=len(self.keys))
        places = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        table = np.full((len(self.keys), self._k + int(counts.max())), NO_KEY)
        table[:, : self._k] = self.keys
        table[rows, self._k + places] = keys
        table.partition(self._k - 1, axis=1)
        self.keys = table[:, : self._k].copy()
        self._rows, self._waiting, self._count = [], [], 0
        last = self.keys[:, self._k - 1]
        whole = np.where(last == NO_KEY, np.iinfo(self._limits.dtype).max - 1, (last >> self._shift) - self._norms)
        self._lower(whole.astype(self._limits.dtype))
