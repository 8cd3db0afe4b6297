"""Progress bars on stderr, drawn by rich (which respects ``NO_COLOR``); nothing where rich is not installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from countermark.core.progress import Progress
from countermark.i18n import tr


@contextmanager
def bars(lang: str) -> Iterator[Callable[[str], Progress]]:
    """Yield a factory of progress callbacks; each label has its own bar, gone when it is full."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
    except ModuleNotFoundError:
        yield lambda _label: lambda _done, _total, _unit: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as drawn:

        def factory(label: str) -> Progress:
            task, started = drawn.add_task(_label(label, lang), total=None, state=""), time.monotonic()

            def report(done: int, total: int, unit: str) -> None:
                seconds = time.monotonic() - started
                state = show_state(done, total, unit, seconds, lang)
                drawn.update(task, completed=done, total=total, state=state, visible=done < total)

            return report

        yield factory


def show_state(done: int, total: int, unit: str, seconds: float, lang: str) -> str:
    """Say how far work is; bytes are shown in MB with their rate."""
    if unit == "bytes":
        return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB, {show_rate(done, seconds)}"
    return f"{done}/{total} {_unit(unit, lang)}"


def show_rate(size: int, seconds: float) -> str:
    """Return megabytes (10**6 bytes) per second, as text."""
    return f"{size / 1e6 / max(seconds, 1e-6):.0f} MB/s"


def _label(label: str, lang: str) -> str:
    known = {
        "init": tr("making the workspace", lang),
        "digest": tr("digesting", lang),
        "mark": tr("marking", lang),
        "generate": tr("generating", lang),
        "trace": tr("tracing", lang),
        "read-train": tr("reading the training data", lang),
        "read-held-out": tr("reading the held-out data", lang),
        "index": tr("building the index", lang),
        "calibrate": tr("calibrating on held-out data", lang),
        "held-out": tr("calibrating on held-out data", lang),
        "near": tr("looking for near copies", lang),
        "draw": tr("drawing from the model", lang),
        "extract": tr("asking for passages", lang),
        "train": tr("training", lang),
        "examine": tr("examining the outputs", lang),
        "outputs": tr("examining the outputs", lang),
    }
    return known.get(label, label)


def _unit(unit: str, lang: str) -> str:
    known = {
        "steps": tr("steps", lang),
        "images": tr("images", lang),
        "replies": tr("replies", lang),
        "readings": tr("readings", lang),
    }
    return known.get(unit, unit)
