"""How fast and how sure the search for training images is, beside what else one would use.

Parts: ``exact`` (the loop of the source over training images, scaled from a few queries; numpy; faiss IndexFlatL2;
ours), ``million`` (exact search among many synthetic images in a mapped file), ``approximate`` (inverted lists against
flat), ``changes`` (copies under changes: the share found at 0.1 % false positives, by pixels, aligned, and by the
built-in descriptor). Every peer has as many threads as ours. Times are the least of the repeats, wall and processor
seconds: on a machine that does other work, the processor's say more.

``--data NPZ`` gives ``x_train, y_train, x_test, y_test``; without it the example's images, enlarged to 60,000.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import arguments, write_report
from countermark.audit.decisions import ALIGNED_OFFSET, conformal_p, statistic
from countermark.audit.images.alignment import AlignedIndex
from countermark.audit.images.approximate import ApproximateIndex
from countermark.audit.images.descriptors import BuiltIn, DescriptorIndex
from countermark.audit.images.search import Index, available_threads, exact_index, rmse
from countermark.audit.images.store import ImageStore

Bytes = NDArray[np.uint8]
Row = dict[str, Any]

PARTS = ("exact", "million", "approximate", "changes")
EXAMPLE = Path(__file__).parent.parent / "examples" / "memorization" / "images.npz"
_LEVEL, _NEXT = 0.001, 50

_FULL = {"queries": 1000, "images": 1_000_000, "coded": 300_000, "copies": 1000, "held_out": 10_000, "repeats": 3}
_QUICK = {"queries": 200, "images": 60_000, "coded": 60_000, "copies": 100, "held_out": 1000, "repeats": 1}


def main() -> None:
    parser = arguments("Measure the search for training images.")
    parser.add_argument(
        "--data", type=Path, metavar="NPZ", help="x_train, y_train, x_test, y_test (default: the example's)"
    )
    parser.add_argument("--search", default=",".join(PARTS), help="which parts, with commas between")
    parser.add_argument("--queries", type=int, default=_FULL["queries"], help="queries of the timed searches")
    parser.add_argument("--images", type=int, default=_FULL["images"], help="images of the part 'million'")
    parser.add_argument("--coded", type=int, default=_FULL["coded"], help="images of the part 'approximate'")
    parser.add_argument("--copies", type=int, default=_FULL["copies"], help="copies per change")
    parser.add_argument(
        "--held-out", type=int, default=_FULL["held_out"], help="held-out images that set the threshold"
    )
    parser.add_argument(
        "--repeats", type=int, default=_FULL["repeats"], help="repeats of every timing; the least counts"
    )
    options = parser.parse_args()
    rows, summary = measure(options)
    write_report("memorization_search", rows, summary, options.json)


def measure(options: argparse.Namespace) -> tuple[list[Row], Row]:
    """Return rows of all parts asked for, and the summary."""
    options = argparse.Namespace(**(_QUICK if getattr(options, "quick", False) else _FULL) | vars(options))
    data = Data.read(getattr(options, "data", None))
    rows: list[Row] = []
    summary: Row = {"data": data.name, "threads": available_threads()}
    for part in str(getattr(options, "search", None) or ",".join(PARTS)).split(","):
        found, about = _PARTS[part](data, options)
        rows += [{"part": f"search: {part}", **row} for row in found]
        summary.update(about)
    return rows, summary


class Data:
    """Training and held-out images with labels."""

    def __init__(self, name: str, train: Bytes, labels: Any, held_out: Bytes, held_out_labels: Any) -> None:
        self.name, self.train, self.held_out = name, train, held_out
        self.labels, self.held_out_labels = np.asarray(labels, np.int64), np.asarray(held_out_labels, np.int64)
        self.store = ImageStore.of(train, self.labels)

    @classmethod
    def read(cls, path: Path | None) -> Data:
        """Return the data of a file, or the example's, enlarged to 60,000 training images."""
        with np.load(path or EXAMPLE, allow_pickle=False) as file:
            train, labels, held_out, others = (file[key] for key in ("x_train", "y_train", "x_test", "y_test"))
        if path is None:
            labels = np.resize(labels, 60_000)
            train = np.concatenate(list(enlarged(train, 60_000)))
        return cls((path or EXAMPLE).stem, train, labels, held_out, others)


def enlarged(images: Bytes, count: int, seed: int = 0) -> Iterator[Bytes]:
    """Yield ``count`` images in all: those given, then shifted, re-lit and noised ones of them."""
    generator, done = np.random.default_rng(seed), 0
    while done < count:
        part = images[: count - done]
        if done:
            moved = np.roll(part, tuple(generator.integers(-4, 5, 2)), axis=(1, 2))
            noised = moved * generator.uniform(0.6, 1) + generator.integers(-12, 13, moved.shape, np.int8)
            part = np.clip(noised, 0, 255).astype(np.uint8)
        yield part
        done += len(part)


def timed(work: Callable[[], Any], repeats: int) -> Row:
    """Return the least wall and processor seconds of some repeats."""
    walls, used = [], []
    for _ in range(max(1, repeats)):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        used.append(time.process_time() - cpu)
    return {"seconds": min(walls), "cpu_s": min(used)}


def exact(data: Data, options: argparse.Namespace) -> tuple[list[Row], Row]:
    """The loop of the source, numpy, faiss and ours on the same queries."""
    train = data.train.reshape(len(data.train), -1)
    queries = data.held_out[: options.queries].reshape(-1, train.shape[1])
    labels = data.held_out_labels[: len(queries)]
    size = f"{len(queries)} x {len(train)}"
    loop = timed(lambda: [loop_of_source(query, train) for query in queries[:3]], 1)
    same = timed(
        lambda: [
            loop_of_source(q, train[data.labels == label]) for q, label in zip(queries[:10], labels, strict=False)
        ],
        1,
    )
    scaled = {key: value * len(queries) / 3 for key, value in loop.items()}
    rows: list[Row] = [
        {"way": "loop of the source (scaled from 3 queries)", "k": 1, **scaled},
        {
            "way": "loop, same label (scaled from 10)",
            "k": 1,
            **{key: value * len(queries) / 10 for key, value in same.items()},
        },
    ]
    flat = flat_index(train)
    ours = exact_index(data.store)
    ours.nearest(queries, 1)  # norms of the images, once
    ways: dict[str, Callable[[int], Any]] = {
        "faiss IndexFlatL2": lambda k: flat.search(queries.astype(np.float32), k),
        f"ours: {ours.name}": lambda k: ours.nearest(queries, k),
        "ours: exact numpy": lambda k: exact_index(data.store, engine="numpy").nearest(queries, k),
        "ours, same label": lambda k: ours.nearest(queries, k, labels=labels),
    }
    for k in (1, 1 + _NEXT):
        rows += [{"way": way, "k": k, **timed(lambda: call(k), options.repeats)} for way, call in ways.items()]  # noqa: B023
    for row in rows:
        row |= {"size": size, "over_loop": scaled["seconds"] / row["seconds"]}
    found = ours.nearest(queries, 1)
    best = np.array([loop_of_source(query, train)[0] for query in queries[:3]])
    by = {(row["way"], row["k"]): row for row in rows}
    mine, theirs = by[f"ours: {ours.name}", 1], by["faiss IndexFlatL2", 1]
    return rows, {
        "exact_over_loop": round(mine["over_loop"]),
        "exact_over_faiss": round(theirs["seconds"] / mine["seconds"], 2),
        "exact_over_faiss_cpu": round(theirs["cpu_s"] / mine["cpu_s"], 2),
        "loop_agrees": bool(np.allclose(best, rmse(found.squared[:3, 0], train.shape[1]))),
    }


def loop_of_source(query: Bytes, train: Bytes) -> tuple[float, int]:
    """Return (RMSE in [0, 1], image) as the demonstration finds it: one image after another."""
    best, where = np.inf, -1
    for number, image in enumerate(train):
        error = float(np.sqrt(np.mean((query / 255.0 - image / 255.0) ** 2)))
        if error < best:
            best, where = error, number
    return best, where


def flat_index(rows: Bytes) -> Any:
    import faiss

    faiss.omp_set_num_threads(available_threads())
    index = faiss.IndexFlatL2(rows.shape[1])
    for at in range(0, len(rows), 65_536):
        index.add(rows[at : at + 65_536].astype(np.float32))
    return index


def million(data: Data, options: argparse.Namespace) -> tuple[list[Row], Row]:
    """Exact search among many images in a mapped file."""
    with tempfile.TemporaryDirectory() as directory:
        store = mapped(data.train, options.images, Path(directory))
        index, queries = exact_index(store), data.held_out[: options.queries]
        first = timed(lambda: index.nearest(queries[:1], 1), 1)
        rows = [{"way": "norms of all images, once, and one query", "k": 1, **first}]
        for k in (1, 1 + _NEXT):
            rows.append({"way": index.name, "k": k, **timed(lambda: index.nearest(queries, k), 1)})  # noqa: B023
    for row in rows:
        row["size"] = f"{len(queries)} x {store.count}"
    return rows, {"million_seconds": round(rows[1]["seconds"], 2), "million_cpu_s": round(rows[1]["cpu_s"], 2)}


def mapped(images: Bytes, count: int, directory: Path) -> ImageStore:
    """Return a store of ``count`` images, made of these, in a file that is mapped into memory."""
    path = directory / "images.npy"
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *images.shape[1:]))
    done = 0
    for part in enlarged(images, count):
        rows[done : done + len(part)] = part
        done += len(part)
    rows.flush()
    return ImageStore.of(np.load(path, mmap_mode="r"))


def approximate(data: Data, options: argparse.Namespace) -> tuple[list[Row], Row]:
    """Inverted lists of codes with exact re-ranking against faiss IndexFlatL2 over the same images."""
    generator = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as directory:
        store = mapped(data.train, options.coded, Path(directory))
        begin, cpu = time.perf_counter(), time.process_time()
        index = ApproximateIndex(store, Path(directory) / "index")
        built = {"seconds": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
        size = sum(file.stat().st_size for file in (Path(directory) / "index").glob("part-*")) / store.count
        half = options.queries // 2
        chosen = np.sort(generator.choice(store.count, half, replace=False))
        originals = store.take(chosen)
        noised = np.clip(originals + generator.normal(0, 8, originals.shape), 0, 255).astype(np.uint8)
        others = data.held_out[: options.queries - half].reshape(-1, *store.shape)
        queries = np.concatenate([noised, others])
        truth = exact_index(store).nearest(queries, 1 + _NEXT)
        flat = flat_index(np.concatenate([rows for _, rows in store.shards()]))
        every = queries.reshape(-1, store.dims).astype(np.float32)
        rows: list[Row] = [{"way": f"build {index.name}", "bytes_per_vector": size, **built}]
        for k in (1, 1 + _NEXT):
            slow = timed(lambda: flat.search(every, k), 1)  # noqa: B023
            rows.append({"way": "faiss IndexFlatL2", "k": k, **slow})
            for probes in (4, 16, 64):
                coded: Index = ApproximateIndex(store, Path(directory) / "index", probes=probes)
                fast = timed(lambda: coded.nearest(queries, k), options.repeats)  # noqa: B023
                rows.append({"way": coded.name, "k": k, **fast, **recalls(coded, queries, truth, k, half)})
                rows[-1] |= {
                    "over_flat": slow["seconds"] / fast["seconds"],
                    "over_flat_cpu": slow["cpu_s"] / fast["cpu_s"],
                }
        copies = coded.nearest(originals, 1)
    for row in rows:
        row["size"] = f"{len(queries)} x {store.count}"
    default = next(row for row in rows if row.get("k") == 1 and "probes 16," in row["way"])
    return rows, {
        "approximate_over_flat": round(default["over_flat"], 1),
        "approximate_over_flat_cpu": round(default["over_flat_cpu"], 1),
        "approximate_recall_noised": default["recall_noised"],
        "approximate_recall_copies": float((copies.squared[:, 0] == 0).mean()),
        "approximate_build_cpu_s": round(built["cpu_s"], 1),
        "approximate_bytes_per_vector": round(size, 1),
    }


def recalls(index: Index, queries: Bytes, truth: Any, k: int, half: int) -> Row:
    """Return recall of the nearest, of noised copies and of others, and of all ``k``."""
    found = index.nearest(queries, k)
    first = found.squared[:, 0] == truth.squared[:, 0]
    every = np.mean([np.isin(a[:k], b).mean() for a, b in zip(truth.index, found.index, strict=True)])
    return {
        "recall_noised": float(first[:half].mean()),
        "recall_others": float(first[half:].mean()),
        "recall_k": float(every),
    }


def changes(data: Data, options: argparse.Namespace) -> tuple[list[Row], Row]:
    """Shares of changed copies that are found at 0.1 % false positives of held-out images."""
    generator = np.random.default_rng(11)
    chosen = generator.choice(len(data.train), options.copies, replace=False)
    held_out = data.held_out[: options.held_out]
    seconds: Row = {}
    scorers = scorers_of(data.store)
    limits = {}
    for name, score in scorers.items():
        begin, cpu = time.perf_counter(), time.process_time()
        limits[name] = score(held_out.reshape(-1, *data.store.shape))
        seconds[name] = {"seconds": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
    limits["pixels or aligned"] = np.minimum(limits["pixels"], limits["aligned"] + ALIGNED_OFFSET)
    rows: list[Row] = []
    for change, changed in changed_copies(data.train[chosen], generator):
        pictures = changed.reshape(-1, *data.store.shape)
        scores = {name: score(pictures) for name, score in scorers.items()}
        scores["pixels or aligned"] = np.minimum(scores["pixels"], scores["aligned"] + ALIGNED_OFFSET)
        found = {name: float((conformal_p(scores[name], limits[name]) <= _LEVEL).mean()) for name in scores}
        rows.append({"change": change, "copies": len(chosen), "held_out": len(held_out), **found})
    rows += [{"change": f"time of {len(held_out)} held-out images: {name}", **spent} for name, spent in seconds.items()]
    asked = [row["pixels or aligned"] for row in rows if row["change"] in _ASKED]
    return rows, {
        "changed_copies_least": min(asked),
        "aligned_cpu_s_per_1000": round(1000 * seconds["aligned"]["cpu_s"] / len(held_out), 2),
    }


def scorers_of(store: ImageStore) -> dict[str, Callable[[Bytes], NDArray[np.float64]]]:
    pixels, aligned, described = exact_index(store), AlignedIndex(store), DescriptorIndex(store, BuiltIn())
    near = 1 + _NEXT

    def score(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return statistic(distance[:, 0], distance[:, 1:].mean(1))

    return {
        "pixels": lambda images: score(rmse(pixels.nearest(images, near).squared, store.dims)),
        "aligned": lambda images: score(aligned.nearest(images, near).residual),
        "descriptor": lambda images: score(described.nearest(images, near).distance),
    }


_ASKED = ("none", "gain x0.9", "gain x0.75", "shift 1 px", "shift 2 px", "mirror", "mirror, shift, gain, offset")


def changed_copies(images: Bytes, generator: np.random.Generator) -> Iterator[tuple[str, Bytes]]:
    """Yield (what was done, images)."""
    whole = images.astype(np.float64)

    def as_bytes(values: NDArray[Any]) -> Bytes:
        return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)

    yield "none", images
    for deviation in (5, 15):
        yield f"noise {deviation}/255", as_bytes(whole + generator.normal(0, deviation, whole.shape))
    for gain in (0.9, 0.75):
        yield f"gain x{gain}", as_bytes(whole * gain)
    yield "shift 1 px", shifted(images, 0, 1)
    yield "shift 2 px", shifted(images, 2, -2)
    yield "mirror", images[:, :, ::-1]
    yield "mirror, shift, gain, offset", as_bytes(shifted(images[:, :, ::-1], -1, 2) * 0.8 + 12)
    yield "JPEG quality 50", np.stack([reencoded(image, 50) for image in images])
    yield "blur 3x3", as_bytes(blurred(whole))
    for border in (1, 2, 3):
        yield f"crop {border} px a side, enlarged", np.stack([enlarged_middle(image, border) for image in images])
    yield "crop off the middle, enlarged", np.stack([enlarged_part(image, 4, 1, 0, 3) for image in images])
    yield (
        "crop 2 px, enlarged, blur",
        as_bytes(blurred(np.stack([enlarged_middle(i, 2) for i in images]).astype(float))),
    )
    yield "inverted", 255 - images


def shifted(images: Bytes, down: int, right: int) -> Bytes:
    """Return images moved, with black where nothing was."""
    moved = np.roll(images, (down, right), axis=(1, 2))
    height, width = images.shape[1:3]
    moved[:, : max(down, 0)] = moved[:, height + min(down, 0) :] = 0
    moved[:, :, : max(right, 0)] = moved[:, :, width + min(right, 0) :] = 0
    return moved


def blurred(images: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[1:3]
    moved = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(np.mean(moved, axis=0))


def reencoded(image: Bytes, quality: int) -> Bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.uint8)


def enlarged_middle(image: Bytes, border: int) -> Bytes:
    return enlarged_part(image, border, border, border, border)


def enlarged_part(image: Bytes, top: int, bottom: int, left: int, right: int) -> Bytes:
    from PIL import Image

    height, width = image.shape[:2]
    part = Image.fromarray(image[top : height - bottom, left : width - right])
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), np.uint8)


_PARTS: dict[str, Callable[[Data, argparse.Namespace], tuple[list[Row], Row]]] = {
    "exact": exact,
    "million": million,
    "approximate": approximate,
    "changes": changes,
}

if __name__ == "__main__":
    main()
