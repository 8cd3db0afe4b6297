"""One example model from data to directory: train, measure on held-out images, save with the record that repeats it."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.store import ImageStore
from countermark.audit.models.analytic import AnalyticModel
from countermark.audit.models.diffusion import Denoiser, DiffusionRecipe, train_diffusion, training_precision
from countermark.audit.models.files import KINDS, ExampleModel, check_free, save_model
from countermark.audit.models.gan import GanRecipe, train_gan
from countermark.audit.models.training import Budget, Course, Watch
from countermark.errors import InputError, require

RECORD_TYPE = "countermark.training/1"
_LOSS_IMAGES = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """What to make.

    Args:
        kind: one of ``KINDS``.
        budget: how long to train; None for ``analytic`` alone.
        seed: of everything random.
        hidden: width of the network; None for the recipe's.
        with_labels: whether the model learns the labels of the images; for ``diffusion`` alone.

    Raises:
        InputError: a choice that the kind does not have.
    """

    kind: str
    budget: Budget | None = None
    seed: int = 0
    hidden: int | None = None
    with_labels: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("there is no example model of kind {kind}", kind=self.kind)
        if self.kind != "diffusion" and self.with_labels:
            raise InputError("only a diffusion model learns labels")
        if (self.budget is None) != (self.kind == "analytic"):
            raise InputError("an analytic model is not trained; the others need steps or minutes")
        if not 0 <= self.seed < 2**53:
            raise InputError("the seed must be 0 or more")
        if self.hidden is not None and not 1 <= self.hidden <= 8192:
            raise InputError("the width must be 1 to 8192")


def train_example(
    wanted: Example, train: ImageStore, out: Path, *, held_out: ImageStore | None = None, watch: Watch | None = None
) -> dict[str, Any]:
    """Train on all images of ``train``, write a directory, and return the record that stands in it.

    Raises:
        MissingExtra: torch or safetensors is not installed.
        InputError: the directory holds something else, or the images do not fit.
    """
    check_free(out)
    if held_out is not None and held_out.shape != train.shape:
        raise InputError("held-out images must have the shape of the training images")
    model, recipe, course = _trained(wanted, train, out.resolve().name, watch)
    record = {
        "type": RECORD_TYPE,
        "kind": wanted.kind,
        "data": _named(train),
        "held_out": held_out and _named(held_out),
        "recipe": recipe,
        "result": _result(model, course, train, held_out),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "numpy")},
        "machine": _machine(wanted.kind),
    }
    return save_model(model, out, record)


def _trained(
    wanted: Example, train: ImageStore, name: str, watch: Watch | None
) -> tuple[ExampleModel, dict[str, Any], Course | None]:
    """Return the model, its recipe as the record holds it, and the course of its training."""
    images = train.take(np.arange(train.count))
    if wanted.budget is None:
        return AnalyticModel(name, images), {}, None
    width = {} if wanted.hidden is None else {"hidden": wanted.hidden}
    if wanted.kind == "gan":
        plain = GanRecipe(seed=wanted.seed, **width)
        painter, course = train_gan(images, wanted.budget, plain, watch=watch, name=name)
        return painter, asdict(plain), course
    labels = _labels(train) if wanted.with_labels else None
    recipe = DiffusionRecipe(seed=wanted.seed, classes=0 if labels is None else int(labels.max()) + 1, **width)
    model, course = train_diffusion(images, wanted.budget, recipe, labels=labels, watch=watch, name=name)
    return model, asdict(recipe), course


def _labels(train: ImageStore) -> NDArray[np.int64]:
    if train.labels is None:
        raise InputError("the training images have no labels", hint="Leave out --labels.")
    return np.asarray(train.labels)


def _named(store: ImageStore) -> dict[str, Any]:
    return {"name": store.data_name, "count": store.count, "digest": store.digest}


def _result(
    model: ExampleModel, course: Course | None, train: ImageStore, held_out: ImageStore | None
) -> dict[str, Any]:
    """Return when and how training ended, and the same loss on training and on held-out images."""
    found: dict[str, Any] = {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
    if course is not None:
        found |= {"steps": course.steps, "seconds": round(course.seconds), "loss": round(course.loss, 6)}
    if held_out is not None and isinstance(model, Denoiser):
        found |= {"train_loss": _mean_loss(model, train), "held_out_loss": _mean_loss(model, held_out)}
    return found


def _mean_loss(model: Denoiser, store: ImageStore) -> float:
    few = np.arange(min(store.count, _LOSS_IMAGES))
    labels = np.asarray(store.labels)[few] if model.classes and store.labels is not None else None
    return round(float(model.loss(store.take(few), labels).mean()), 6)


def _machine(kind: str) -> dict[str, Any]:
    torch = require("torch", "train")
    precision = training_precision() if kind == "diffusion" else "float32"
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }
