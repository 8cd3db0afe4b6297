"""Work shared among processes of one thread each, so that processor time means the work and not idle threads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def each(work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int, name: str = "") -> Iterator[Result]:
    """Yield the results in the order of the tasks, and count them on stderr; an interrupt ends them early.

    Args:
        work: a function of a module, as it is sent to the processes by name.
        tasks: what it is called with.
        jobs: processes; 0 works in this one, for tests.
        name: what to count.
    """
    results = enumerate(_results(work, tasks, jobs), start=1)
    try:
        for done, result in results:
            print(f"{name} {done}/{len(tasks)}", end="\n" if done == len(tasks) else "\r", file=sys.stderr, flush=True)
            yield result
    except KeyboardInterrupt:
        print("\ninterrupted: what is done is reported", file=sys.stderr)


def _results(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
    if jobs == 0:
        yield from map(work, tasks)
        return
    # Processes that are spawned read these when they load their libraries.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    ignore = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=signal.signal, initargs=ignore)
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)
