"""Is the noise mark read, can it be seen, and what does it cost? Beside Gaussian Shading with its key fixed.

``python -m benchmarks.noise_marks --json OUT`` generates marked pictures with the example pipelines, damages them,
inverts them and reads. Parts, each of which ``--parts`` chooses by name:

* ``rates``: ``exact`` reads of the whole identifier (ours 64 bits, the baseline's 256) and ``tpr_1e6``, the share
  found at a false-positive rate of 1e-6: ours by its own p-value, corrected for everything it searched; the baseline's
  by the binomial tail of its matching bits, for a message known beforehand; ``noise ledger`` by its own bound with
  ``--records`` generations searched, which reads no identifier;
* ``classifiers``: can somebody without the key learn to tell marked from plain, from exact latents or from pictures?
  The baseline twice: with one account's message in every picture, and with a fresh message in each;
* ``overhead``: processor time of marked noise as a share of one generation's;
* ``ledger``: one search among ``--records`` generations;
* ``functional``: pictures edited by the registered pipeline, by one tuned on 20 pictures and by a foreign network:
  image to image at strength 0.2 and 0.4, and inpainting of a quarter; pictures made by the tuned pipeline. The lattice
  mark's rates, on photographs edited by the same networks, stand apart. Needs ``--photographs``.

Intervals are Clopper and Pearson's, of 95 %. Times are processor time of one thread unless they say wall.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.classifiers import JUDGES, separate
from benchmarks.functional import functional
from benchmarks.gaussian_shading import MESSAGE_BITS, GaussianShading
from benchmarks.image_bars import share
from benchmarks.noise_trials import Floats, Row, Task, in_ledger, our_read, rate_row, renamed, secret, their_read
from benchmarks.report import arguments, table, write_report
from benchmarks.workers import each
from countermark.core.payload import WORD_BITS
from countermark.marking.attacks import apply
from countermark.marking.image import noise_ledger
from countermark.marking.image.noise import NoiseMark

Pixels = NDArray[np.uint8]

EXAMPLES = Path(__file__).parents[1] / "examples"
PIPELINES = (EXAMPLES / "photos-64", EXAMPLES / "fashion-mnist")
ATTACKS = ("clean", "jpeg(50)", "noise(12.75)", "blur(1)", "brightness(0.7)", "brightness(1.3)")
OWN_STEPS = 50
# Up to this size a pipeline is small: its pictures come by the thousand.
SMALL = 4096


def main() -> None:
    given = _parser().parse_args()
    parts = [part for part in given.parts.split(",") if part != "functional" or given.photographs]
    folders = [Path(folder) for folder in given.pipelines or PIPELINES]
    tasks = [Task(part, folder, given) for part in parts for folder in folders]
    rows: list[Row] = []
    for found in each(measure, tasks, jobs=given.jobs, name="parts"):
        print(table(found), end="\n\n", flush=True)
        rows += found
    bars = list(_bars(rows))
    print(table(bars), end="\n\n")
    write_report("noise_marks", rows, {"method": NoiseMark.METHOD, "bars": bars}, given.json)


def measure(task: Task) -> list[Row]:
    """Run one part; a part that a pipeline is not for has no rows."""
    torch.set_num_threads(1)
    about = {"part": task.part, "pipeline": task.folder.name}
    return [about | row for row in PARTS[task.part](task)]


def rates(task: Task) -> Iterator[Row]:
    """Generate, attack, invert and read, with both methods."""
    generator, count = task.generator(), task.given.limit
    studio = task.studio(generator, task.given.steps)
    words = [int(word) for word in generator.integers(0, 2**64, count, dtype=np.uint64)]
    ours = np.concatenate([studio.marked(word, i, 1, secret(generator)) for i, word in enumerate(words)])
    shading = GaussianShading(secret(generator), studio.size)
    messages = generator.integers(0, 2, (count, MESSAGE_BITS), dtype=np.int8)
    theirs = shading.latents(messages, generator).reshape(ours.shape)
    pictures, others = studio.render(ours), studio.render(theirs)
    for attack in ATTACKS:
        inverted = studio.invert([apply(attack, picture) for picture in pictures])
        yield rate_row("noise mark", attack, WORD_BITS, map(partial(our_read, studio.mark), inverted, words))
        found = [
            in_ledger(latent, studio.mark.signs(word, i, studio.size), task.given.records)
            for i, (latent, word) in enumerate(zip(inverted, words, strict=True))
        ]
        yield {"method": "noise ledger", "attack": attack} | renamed(share(found), "tpr_1e6")
        inverted = studio.values(studio.invert([apply(attack, picture) for picture in others]))
        yield rate_row("gaussian shading", attack, MESSAGE_BITS, map(partial(their_read, shading), inverted, messages))


def classifiers(task: Task) -> Iterator[Row]:
    """Train and test classifiers on marked and plain latents, and on pictures of small pipelines."""
    generator, count = task.generator(), task.given.latents
    studio = task.studio(generator, task.given.classifier_steps)
    shading = GaussianShading(secret(generator), studio.size)
    messages = generator.integers(0, 2, (count, MESSAGE_BITS), dtype=np.int8)
    plain = studio.plain(count, generator)
    marked = {
        "noise mark": studio.marked(int(generator.integers(2**63)), 0, count, secret(generator)),
        "gaussian shading, one message": shading.latents(messages[:1].repeat(count, axis=0), generator),
        "gaussian shading, many messages": shading.latents(messages, generator),
    }
    marked = {method: noise.reshape(plain.shape) for method, noise in marked.items()}
    for method, noise in marked.items():
        for row in separate(noise, plain, ("linear", "quadratic")):
            yield {"set": "latents", "method": method} | renamed(row, "accuracy")
    few = task.given.pictures if studio.size <= SMALL else task.given.large_pictures
    if few:
        plain_pictures = _levels(studio.render(plain[:few]))
    for method, noise in marked.items() if few else ():
        for row in separate(_levels(studio.render(noise[:few])), plain_pictures, JUDGES):
            yield {"set": "pictures", "method": method} | renamed(row, "accuracy")


def overhead(task: Task) -> Iterator[Row]:
    """Compare the time of marked noise with that of one generation by as many steps as is usual."""
    generator = task.generator()
    studio = task.studio(generator, OWN_STEPS)
    studio.marked(0, 0, 1, secret(generator))  # what a key derives once is no part of a generation
    marked_s = _time(lambda: studio.marked(0, 1, 20, secret(generator))) / 20
    plain_s = _time(lambda: studio.plain(20, generator)) / 20
    render_s = _time(lambda: studio.render(studio.plain(1, generator)))
    yield {
        "noise_ms": round(1e3 * marked_s, 3),
        "plain_noise_ms": round(1e3 * plain_s, 3),
        "generate_ms": round(1e3 * render_s),
        "overhead": round((marked_s - plain_s) / render_s, 5),
    }


def ledger(task: Task) -> Iterator[Row]:
    """Search for a damaged picture among recorded generations, one of which is its own, and for a stranger."""
    generator, records = task.generator(), task.given.records
    studio, place = task.studio(generator, task.given.steps), records // 3
    own = studio.marked(1, 1, 1, secret(generator))
    words = generator.integers(0, 2**64, (records, -(-studio.size // 64)), dtype=np.uint64)
    words[place] = noise_ledger.pack(studio.mark.signs(1, 1, studio.size)[None])[0]
    head = noise_ledger.HEAD // 64
    recorded = noise_ledger.Recorded(studio.size, np.arange(records, dtype=np.uint64), words[:, :head], words[:, head:])
    for suspect, noise in {"recorded": own, "stranger": studio.plain(1, generator)}.items():
        inverted = studio.invert([apply("jpeg(50)", studio.render(noise)[0])])
        started, began = time.process_time(), time.perf_counter()
        match = noise_ledger.search(recorded, inverted)
        seconds = {"search_s": time.process_time() - started, "wall_s": time.perf_counter() - began}
        if match:
            found = {"p_value": match.p_value, "right": match.name == place}
            yield {"suspect": suspect, "records": records} | seconds | found


def _levels(pictures: list[Pixels]) -> Floats:
    """Return pictures as (n, channels, H, W) from -1 to 1; one channel where all are gray."""
    values = (np.stack(pictures).astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
    return values[:, :1] if (values[:, :1] == values).all() else values


def _bars(rows: list[Row]) -> Iterator[Row]:
    """Yield what is wanted of our rows, so that nobody has to pick them by hand."""
    ours = [row for row in rows if row.get("method") == "noise mark"]
    for row in (row for row in ours if row["part"] == "rates"):
        yield _bar(row, f"exact, {row['attack']}", row["exact"], ">=", 0.99 if row["attack"] == "clean" else 0.95)
    for row in (row for row in ours if row["part"] == "classifiers"):
        yield _bar(row, f"{row['classifier']} on {row['set']}", abs(row["accuracy"] - 0.5), "<=", 0.02)
    for row in rows:
        if row["part"] == "overhead":
            yield _bar(row, "overhead", row["overhead"], "<=", 0.02)
        if row["part"] == "ledger":
            yield _bar(row, f"search, {row['suspect']}", row["search_s"], "<=", 2.0)


def _bar(row: Row, name: str, value: float, sign: str, wanted: float) -> Row:
    met = value <= wanted if sign == "<=" else value >= wanted
    return {
        "pipeline": row["pipeline"],
        "bar": name,
        "value": round(value, 4),
        "wanted": f"{sign} {wanted}",
        "met": met,
    }


def _time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


PARTS: dict[str, Callable[[Task], Iterator[Row]]] = {
    "rates": rates, "classifiers": classifiers, "overhead": overhead, "ledger": ledger, "functional": functional,
}  # fmt: skip


def _parser() -> ArgumentParser:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.set_defaults(limit=20)
    add = parser.add_argument
    add("--pipelines", action="append", metavar="DIR", help="a diffusers pipeline; repeatable (default: the examples)")
    add("--parts", default=",".join(PARTS), metavar="LIST", help="separated by commas")
    add("--photographs", metavar="DIR", help="for the functional part")
    add("--edited", type=int, default=8, metavar="N", help="pictures of the functional part")
    add("--updates", type=int, default=100, metavar="N", help="of the tuning on 20 pictures")
    add("--steps", type=int, default=20, metavar="N", help="of sampler and inversion")
    add("--latents", type=int, default=2500, metavar="N", help="of each kind, for classifiers")
    add("--pictures", type=int, default=2500, metavar="N", help="of each kind, for classifiers, of small pipelines")
    add("--large-pictures", type=int, default=0, metavar="N", help="the same, of large ones")
    add("--classifier-steps", type=int, default=10, metavar="N", help="of the sampler, for those pictures")
    add("--records", type=int, default=1_000_000, metavar="N", help="of the noise ledger")
    add("--jobs", type=int, default=1, metavar="N", help="processes; 0 works in this one")
    return parser


if __name__ == "__main__":
    main()
