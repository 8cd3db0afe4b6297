"""One recipe, more and more images: which models does the audit call copyists, and which do fixed cut-offs?

A diffusion model of one network, one recipe and one number of steps is trained on 1, 300, 3,000 and all images, the
GAN of the early demonstrations on 300 and all, and the analytic denoiser, whose samples are training images, stands
for certainty. Each draws images that the examiner judges against images that no model has seen; the source's two
cut-offs, read as RMSE and as L2 / dims, judge the same images. Training images are drawn at random, by seed 0.

    python -m benchmarks.memorization_models --data fashion-mnist.npz --json OUT
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import arguments, write_report
from countermark.audit.images.examine import Examiner
from countermark.audit.images.store import ImageStore
from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.models.diffusion import train_diffusion
from countermark.audit.models.gan import train_gan
from countermark.audit.models.training import Budget, Course

DRAWN, QUICK_DRAWN = 1000, 200
FEW, SOME = 300, 3000
#: Kind, images (0: all), steps: about two minutes of a free core for most.
PLAN = (
    ("diffusion", 1, 2_000),
    ("diffusion", FEW, 8_000),
    ("diffusion", SOME, 8_000),
    ("diffusion", 0, 8_000),
    ("gan", FEW, 10_000),
    ("gan", 0, 10_000),
    ("analytic", FEW, 0),
)
QUICK_PLAN = (("diffusion", FEW, 2_000), ("diffusion", 0, 2_000), ("analytic", FEW, 0))

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawn:
    """What a model drew, what it was trained on, and what that took."""

    kind: str
    train: Images
    samples: Images
    course: Course | None = None


def main() -> None:
    parser = arguments((__doc__ or "").splitlines()[0])
    sample = Path(__file__).parent.parent / "examples" / "memorization" / "images.npz"
    parser.add_argument("--data", type=Path, default=sample, metavar="NPZ")
    parser.add_argument("--develop", type=Path, metavar="NPZ", help="other images, on which constants were chosen")
    parser.add_argument("--samples", type=Path, metavar="DIR", help="drawn samples (*.npz) instead of training models")
    parser.add_argument("--quick", action="store_true", help="three models, a quarter of the steps, fewer images")
    options = parser.parse_args()
    rows, summary = measure(options)
    write_report("memorization_models", rows, summary, options.json)


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one row a model, and for each data set what share of the copyist's and the honest model is flagged."""
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for path in filter(None, (options.develop, options.data)):
        with np.load(path) as data:
            train, held_out = data["x_train"][..., None], data["x_test"][..., None]
        found = [judge(path.stem, drawn, held_out) for drawn in _drawn(options, path.stem, train)]
        rows += found
        summary[path.stem] = _summary(found, len(train))
    return rows, summary


def judge(name: str, drawn: Drawn, held_out: Images) -> dict[str, Any]:
    """Return the row of one model."""
    began = time.monotonic()
    audit = Examiner.prepare(ImageStore.of(drawn.train), ImageStore.of(held_out)).audit(drawn.samples)
    decision, course = audit.decision, drawn.course
    row: dict[str, Any] = {
        "part": "models",
        "data": name,
        "model": drawn.kind,
        "train": len(drawn.train),
        "steps": "" if course is None else course.steps,
        "train_s": "" if course is None else round(course.seconds),
        "drawn": len(drawn.samples),
        "median_rmse": float(np.median([item.rmse for item in audit.items])),
        "unseen_rmse": float(np.median(audit.calibration.rmse)),
        "flagged": decision.flagged / len(drawn.samples),
        "copied_at_least": decision.at_least,
        "model_p": "" if audit.model_test.p is None else audit.model_test.p,
        "audit_s": round(time.monotonic() - began, 1),
    }
    for cutoff in audit.cutoffs:
        if cutoff.name == "near copy":
            row[f"fixed {cutoff.unit}"] = cutoff.flagged / len(drawn.samples)
            row[f"false {cutoff.unit}"] = cutoff.false_positive_rate
    return row


def _summary(rows: list[dict[str, Any]], most: int) -> dict[str, Any]:
    found = {(row["model"], row["train"]): row for row in rows}
    copyist, honest = found.get(("diffusion", FEW)), found.get(("diffusion", most))
    return {
        "memorizing_flagged": copyist and copyist["flagged"],
        "honest_flagged": honest and honest["flagged"],
        "memorizing_by_fixed_cutoff": copyist and copyist["fixed rmse"],
        "analytic_flagged": found.get(("analytic", FEW), {}).get("flagged"),
        "met": bool(copyist and honest and copyist["flagged"] >= 0.6 and honest["flagged"] <= 0.01),
    }


def _drawn(options: argparse.Namespace, name: str, images: Images) -> Iterator[Drawn]:
    if options.samples:
        yield from _saved(options.samples, name.split("-")[0], images)
        return
    plan, count = (QUICK_PLAN, QUICK_DRAWN) if options.quick else (PLAN, DRAWN)
    order = np.random.default_rng(0).permutation(len(images))
    for kind, size, steps in plan:
        chosen = images[np.sort(order[: size or len(images)])]
        model, course = _trained(kind, chosen, steps)
        yield Drawn(kind, chosen, model.sample(count, seed=1), course)


def _trained(kind: str, images: Images, steps: int) -> tuple[Any, Course | None]:
    if kind == "analytic":
        return AnalyticModel("analytic", images), None
    train = train_gan if kind == "gan" else train_diffusion
    return train(images, Budget(steps=steps))


def _saved(folder: Path, prefix: str, images: Images) -> Iterator[Drawn]:
    """Yield samples that were drawn before: ``{prefix}_n{size}.npz`` and ``{prefix}_gan_n{size}.npz``."""
    for path in sorted(folder.glob(f"{prefix}_*.npz")):
        with np.load(path) as data:
            chosen, samples = images[data["train_indices"]], data["samples"]
        yield Drawn("gan" if "_gan_" in path.name else "diffusion", chosen, samples)


if __name__ == "__main__":
    main()
