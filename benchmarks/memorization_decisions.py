"""Do the decisions of the memorization audit hold what they state, and how much do they find? Beside fixed cut-offs.

    python -m benchmarks.memorization_decisions --json OUT --data NPZ [--develop NPZ] [--samples DIR]

* ``planted``: outputs that are real, unseen images, 2,000 of them, of which 0.5 % are replaced by training images with
  noise of 3/255. A draw (seed) chooses by lot which held-out images are outputs and which calibrate; no image is both.
  A *design* says how many of the training images are in the index: the others were never trained on and are held out
  too. ``found`` of ``planted`` at a stated rate, ``false`` flags of unseen images, ``fdr`` the mean false share. All
  designs are printed, none is left out.
* ``unseen``: the same without copies: whoever is flagged is flagged falsely.
* ``strangest``: the held-out images that lie nearest to training images, by number: the data's own near-duplicates.
  They are calibration images and outputs like all others, and count as false when they are flagged.
* ``models``: outputs of a model that memorized and of an honest one of the same recipe, where ``--samples`` has them.
  ``control`` rows hold the same outputs against as many training images that the model never saw: what is flagged
  there is owed to what the model draws at large, blurred or of few motifs, and not to copying.
* ``weights``: how the weight of the ratio was chosen, on ``--develop`` alone, and how the report data would have it.

Draws share their images. ``interval`` is of the mean over draws given these images (normal, clipped); ``clustered`` is
of the mean over other images of the source too: delete-a-group jackknife, 20 groups of held-out images by lot.
``cutoff`` rows hold the same outputs against fixed RMSE: 0.006, as the source does, and 0.05.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import arguments, table, write_report
from countermark.audit.decisions import NEIGHBOURS, RATIO_WEIGHT, benjamini_hochberg, conformal_p, statistic
from countermark.audit.images.examine import Examiner
from countermark.audit.images.search import exact_index, rmse
from countermark.audit.images.store import ImageStore

Row = dict[str, Any]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

SHARES_TRAINED = (1.0, 2 / 3, 1 / 2, 1 / 3)
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 1000.0)
CUTOFFS = (0.006, 0.05)
GROUPS = 20
CONTROLS = 3
PLANTED, NOISE = 0.005, 3.0
STATED = 0.05
SAMPLE = Path(__file__).parent.parent / "examples" / "memorization" / "images.npz"


@dataclass(frozen=True)
class Distances:
    """Of some images to the training images: to the nearest, and mean of the next."""

    rmse: Floats
    next: Floats
    nearest: NDArray[np.int64]

    def scores(self, weight: float = RATIO_WEIGHT) -> Floats:
        """Return the audit's statistic, or the same with another weight."""
        return statistic(self.rmse, self.next, weight=weight)


@dataclass(frozen=True)
class Design:
    """The training images in the index, by their place; the pool of unseen images; noised copies of the former."""

    trained: NDArray[np.int64]
    pool: Distances
    copies: dict[float, Distances]


@dataclass(frozen=True)
class Draw:
    """What one draw flagged: copies found, unseen images flagged."""

    found: int
    false: int

    @property
    def share(self) -> float:
        """False flags among all, 0 where nothing is flagged."""
        return self.false / max(1, self.found + self.false)


def main() -> None:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=SAMPLE, metavar="NPZ", help="x_train, x_test")
    parser.add_argument("--develop", type=Path, metavar="NPZ", help="images on which constants were chosen")
    parser.add_argument("--samples", type=Path, metavar="DIR", help="drawn samples: NAME_nCOUNT.npz")
    parser.add_argument("--quick", action="store_true", help="20 draws, one design")
    options = parser.parse_args()
    rows, summary = measure(options)
    write_report("memorization_decisions", rows, summary, options.json)


def measure(options: Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Return rows and a summary; see the module."""
    seeds = 20 if options.quick else 200
    shares = SHARES_TRAINED[:1] if options.quick else SHARES_TRAINED
    images = np.load(options.data)
    rows: list[Row] = []
    for share in shares:
        measured = design(images["x_train"], images["x_test"], share, noises=(NOISE,))
        rows += planted(measured, seeds)
        print(table(rows[-6:]), end="\n\n", flush=True)
        if share == 1.0:
            rows += strangest(measured)
    for path, role in ((options.data, "report"), (options.develop, "development")):
        rows += weights(path, seeds, role, options.samples) if path else []
    if options.samples:
        rows += models(options.data, options.samples)
    rows = [{"part": "decisions", **row} for row in rows]
    return rows, summarized(rows)


def design(train: Bytes, test: Bytes, share: float, *, noises: tuple[float, ...], seed: int = 6) -> Design:
    """Measure the pool and the copies against the first ``share`` of the training images, shuffled by ``seed``."""
    generator = np.random.Generator(np.random.PCG64(seed))
    order = generator.permutation(len(train))
    chosen, left = np.split(order, [round(share * len(train))])
    trained, rest = train[chosen], train[left]
    store = ImageStore.of(trained)
    index = exact_index(store)
    copies = {noise: distances(index, noised(trained, noise, 2000, generator), store.dims) for noise in noises}
    return Design(chosen, distances(index, np.concatenate([test, rest]), store.dims), copies)


def distances(index: Any, images: Bytes, dims: int) -> Distances:
    found = index.nearest(images.reshape(len(images), -1), NEIGHBOURS + 1)
    all_of = rmse(found.squared, dims)
    return Distances(all_of[:, 0], all_of[:, 1:].mean(axis=1), found.index[:, 0])


def noised(images: Bytes, noise: float, count: int, generator: np.random.Generator) -> Bytes:
    """Return ``count`` images drawn without repeats, with normal noise of that many grey levels."""
    chosen = images[generator.permutation(len(images))[: min(count, len(images))]]
    values = np.clip(np.rint(chosen + generator.normal(0, noise, chosen.shape)), 0, 255)
    return np.asarray(values, dtype=np.uint8)


def planted(design: Design, seeds: int) -> Iterator[Row]:
    """Yield rows with and without copies, at rates of 5 and 10 %, and of fixed cut-offs."""
    outputs = min(2000, len(design.pool.rmse) // 5)
    few = max(1, round(PLANTED * outputs))
    about = {"trained": len(design.trained), "calibration": len(design.pool.rmse) - outputs, "outputs": outputs}
    copies, pool = design.copies[NOISE].scores(), design.pool.scores()
    for fdr in (STATED, 2 * STATED):
        for count in (few, 0):
            yield {**about, **_row(pool, copies, outputs, count, fdr, seeds)}
    for limit in CUTOFFS:
        caught = design.copies[NOISE].rmse < limit
        yield {
            **about,
            "kind": "cutoff",
            "method": f"RMSE < {limit:g}",
            "planted": few,
            "found": float(caught.mean() * few),
            "false": float((design.pool.rmse < limit).mean() * (outputs - few)),
        }


def _row(pool: Floats, copies: Floats, outputs: int, count: int, fdr: float, seeds: int) -> Row:
    draws = [draw(pool, copies, outputs, count, fdr, seed) for seed in range(seeds)]
    shares, false = [each.share for each in draws], [each.false for each in draws]
    found = np.array([each.found for each in draws])
    row: Row = {
        "kind": "planted" if count else "unseen",
        "method": f"ours, FDR {fdr:.0%}",
        "draws": seeds,
        "planted": count,
        "found": float(found.mean()),
        "found_9_of_10": float((found >= 0.9 * count).mean()) if count else None,
        "false": float(np.mean(false)),
        "false_0_1": float(np.mean(np.array(false) <= 1)),
        "false_most": max(false),
        "fdr": float(np.mean(shares)),
        "interval": _normal(float(np.mean(shares)), float(np.std(shares, ddof=1)) / len(shares) ** 0.5),
    }
    if count and fdr == STATED:
        row["clustered"] = clustered(pool, copies, outputs, count, fdr, seeds)
    return row


def draw(
    pool: Floats,
    copies: Floats,
    outputs: int,
    count: int,
    fdr: float,
    seed: int,
    left_out: NDArray[np.bool_] | None = None,
) -> Draw:
    """Divide the pool by lot into outputs and calibration, plant copies, and flag."""
    generator = np.random.Generator(np.random.PCG64([606, seed]))
    order, chosen = generator.permutation(len(pool)), generator.permutation(len(copies))[:count]
    unseen, known = order[: outputs - count], order[outputs:]
    if left_out is not None:
        unseen, known = unseen[~left_out[unseen]], known[~left_out[known]]
    scores = np.concatenate([copies[chosen], pool[unseen]])
    flagged = benjamini_hochberg(conformal_p(scores, pool[known])) <= fdr
    return Draw(int(flagged[:count].sum()), int(flagged[count:].sum()))


def clustered(pool: Floats, copies: Floats, outputs: int, count: int, fdr: float, seeds: int) -> list[float]:
    """Return the interval of the mean false share over images of the source, not only over draws from this pool."""
    group = np.random.Generator(np.random.PCG64(607)).permutation(len(pool)) % GROUPS

    def mean(left_out: NDArray[np.bool_] | None) -> float:
        return float(np.mean([draw(pool, copies, outputs, count, fdr, s, left_out).share for s in range(seeds)]))

    means = np.array([mean(group == g) for g in range(GROUPS)])
    variance = (GROUPS - 1) / GROUPS * ((means - means.mean()) ** 2).sum()
    return _normal(mean(None), float(variance**0.5))


def strangest(design: Design) -> Iterator[Row]:
    """Yield the ten held-out images of least score, by their place in x_test and x_train."""
    scores = design.pool.scores()
    for place in np.argsort(scores, kind="stable")[:10]:
        yield {
            "kind": "near-duplicate",
            "held_out": int(place),
            "nearest": int(design.trained[design.pool.nearest[place]]),
            "rmse": float(design.pool.rmse[place]),
            "ratio": float(design.pool.rmse[place] / design.pool.next[place]),
            "copies_beyond": float((design.copies[NOISE].scores() < scores[place]).mean()),
        }


def weights(path: Path, seeds: int, role: str, samples: Path | None) -> Iterator[Row]:
    """Yield what each weight of the ratio finds at the stated rate: faint and noisy copies, a memorizing model's."""
    images = np.load(path)
    outputs = min(2000, len(images["x_test"]) // 5)
    noises = (NOISE, 15.0)
    measured = design(images["x_train"], images["x_test"], 1.0, noises=noises)
    memorizer = _memorizer(path, samples, images) if samples else None
    for weight in WEIGHTS:
        pool = measured.pool.scores(weight)
        row: Row = {"kind": "weight", "data": role, "weight": weight, "outputs": outputs}
        for noise, share in zip(noises, (PLANTED, 0.1), strict=True):
            count, copies = max(1, round(share * outputs)), measured.copies[noise].scores(weight)
            draws = [draw(pool, copies, outputs, count, 0.05, seed) for seed in range(min(seeds, 100))]
            row[f"found_noise_{noise:g}"] = float(np.mean([each.found for each in draws]) / count)
        if memorizer:
            p = conformal_p(memorizer[0].scores(weight), memorizer[1].scores(weight))
            row["flagged_n300"] = float((benjamini_hochberg(p) <= STATED).mean())
        yield row


def _memorizer(path: Path, samples: Path, images: Any) -> tuple[Distances, Distances] | None:
    """Return distances of outputs of the model that memorized 300 images of these data, and of unseen images."""
    found = samples / f"{path.stem.split('-')[0]}_n300.npz"
    if not found.is_file():
        return None
    drawn = np.load(found)
    store = ImageStore.of(images["x_train"][drawn["train_indices"]])
    index = exact_index(store)
    return distances(index, drawn["samples"], store.dims), distances(index, images["x_test"], store.dims)


def models(data: Path, samples: Path) -> Iterator[Row]:
    """Yield what is flagged of drawn samples: the file says which training images its model saw."""
    images = np.load(data)
    held_out = ImageStore.of(images["x_test"], data_name="x_test")
    for path in sorted(samples.glob("*.npz")):
        drawn = np.load(path)
        if "train_indices" not in drawn or not _same_shape(drawn["samples"], images["x_train"]):
            continue
        if not path.stem.startswith(data.stem.split("-")[0]):
            continue
        seen, all_of = drawn["train_indices"], images["x_train"]
        about = {"model": path.stem, "trained": len(seen)}
        yield {"kind": "model", **about, **_audited(ImageStore.of(all_of[seen]), held_out, drawn["samples"])}
        others = np.random.Generator(np.random.PCG64(8)).permutation(np.setdiff1d(np.arange(len(all_of)), seen))
        for k in range(CONTROLS if len(others) >= CONTROLS * len(seen) else 0):
            never = ImageStore.of(all_of[others[k * len(seen) : (k + 1) * len(seen)]])
            yield {"kind": "control", **about, **_audited(never, held_out, drawn["samples"])}


def _audited(train: ImageStore, held_out: ImageStore, samples: Bytes) -> Row:
    audit = Examiner.prepare(train, held_out).audit(samples)
    decision, count = audit.decision, len(audit.items)
    row: Row = {
        "outputs": count,
        "calibration": audit.calibration.count,
        "flagged": decision.flagged / count,
        "at_least": decision.at_least,
        "copies_interval": list(decision.interval),
        "model_p": audit.model_test.p,
        "model_reason": audit.model_test.reason,
        "same_source_p": audit.same_source.p,
        "median_rmse": float(np.median([item.rmse for item in audit.items])),
    }
    for limit in CUTOFFS:
        row[f"below_{limit:g}"] = float(np.mean([item.rmse < limit for item in audit.items]))
        row[f"unseen_below_{limit:g}"] = float(np.mean(np.array(audit.calibration.rmse) < limit))
    return row


def summarized(rows: list[Row]) -> dict[str, Any]:
    """Return the bars, so that nobody has to pick them by hand: of every design, the best one named."""
    ours = [row for row in rows if row["kind"] == "planted" and row["method"].endswith("5%")]
    unseen = [row for row in rows if row["kind"] == "unseen" and row["method"].endswith("5%")]
    best = max(ours, key=lambda row: row["found"] / row["planted"])
    return {
        "weight": RATIO_WEIGHT,
        "found_by_design": {row["trained"]: [row["calibration"], row["found"], row["planted"]] for row in ours},
        "best_design": best["trained"],
        "planted_found": best["found"] / best["planted"],
        "fdr_worst": max(row["fdr"] for row in ours),
        "fdr_clustered": {row["trained"]: row["clustered"] for row in ours},
        "unseen_at_most_one_false": min(row["false_0_1"] for row in unseen),
        "models": {row["model"]: row["flagged"] for row in rows if row["kind"] == "model"},
        "controls_flagged": max((row["flagged"] for row in rows if row["kind"] == "control"), default=None),
        "controls_at_least": max((row["at_least"] for row in rows if row["kind"] == "control"), default=None),
    }


def _same_shape(samples: Bytes, images: Bytes) -> bool:
    return samples.shape[1:3] == images.shape[1:3]


def _normal(mean: float, error: float) -> list[float]:
    return [max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error)]


if __name__ == "__main__":
    main()
