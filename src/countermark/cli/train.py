"""``countermark train``: small models to try an audit on."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, write_file
from countermark.cli.shell import Group
from countermark.cli.text import card
from countermark.errors import InputError, UsageProblem

if TYPE_CHECKING:
    from countermark.audit.images.store import ImageStore
    from countermark.audit.models.example import Example

_KINDS = ("diffusion", "gan", "analytic")
_MINUTES = 2.5


@click.group(cls=Group)
def train() -> None:
    """Train small models to try an audit on.

    Example:
      countermark train example diffusion --data fashion-mnist.npz:train --count 300 --out copyist
    """


@train.command()
@click.argument("kind", metavar="KIND", type=click.Choice(_KINDS))
@click.option("--data", required=True, metavar="DATA", help="Images, such as fashion-mnist.npz:train or a folder.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Train on the first N images; all by default.")
@click.option("--shuffle", is_flag=True, help="Take N images at random, by the seed, and not the first ones.")
@click.option(
    "--trained-on",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Also write the images that it is trained on, for the audit.",
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), metavar="M", help="How long to train; 2.5 by default."
)
@click.option("--steps", type=click.IntRange(min=1), metavar="S", help="How many steps to train, in place of minutes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--held-out", metavar="DATA", help="Images outside the training set, to measure the loss on.")
@click.option("--labels", "with_labels", is_flag=True, help="Let the model learn the labels of the images.")
@click.option(
    "--width", type=click.IntRange(1, 8192), metavar="W", help="Width of the network; by default the recipe's."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the model.")
def example(
    kind: str,
    data: str,
    count: int | None,
    minutes: float | None,
    steps: int | None,
    shuffle: bool,
    trained_on: Path | None,
    held_out: str | None,
    out: Path,
    **choices: Any,
) -> None:
    """Train a model of KIND on the first N images: a diffusion model, a GAN, or the analytic denoiser.

    The diffusion model memorizes its images when they are few and learns from them when they are many, with the same
    recipe; the GAN is that of the early demonstrations, made correct; the analytic denoiser is not trained and stores
    its images by design, so that an audit has a known answer. One processor core is enough.

    The folder holds model.safetensors, config.json and training.json: digests, recipe, seed, steps, versions. With the
    steps of that record in place of minutes, the same machine makes the same weights again.

    Example:
      countermark train example diffusion --data fashion-mnist.npz:train --count 300 --out copyist
      countermark audit memorization copyist --train fashion-mnist.npz:train[:300] --held-out fashion-mnist.npz:test
    """
    from countermark.audit.models.example import Example
    from countermark.audit.models.files import check_free
    from countermark.audit.models.training import Budget

    session = current()
    if minutes is None and steps is None and kind != "analytic":
        minutes = _MINUTES
    if shuffle and count is None:
        raise UsageProblem("{option} needs {other}", option="--shuffle", other="--count")
    budget = None if minutes is None and steps is None else Budget(steps, minutes)
    wanted = Example(kind, budget, choices["seed"], choices["width"], choices["with_labels"])
    check_free(out)
    images = _drawn(data, count, choices["seed"]) if shuffle else _read(data, count)
    unseen = None if held_out is None else _read(held_out, None)
    if trained_on is not None:
        _write(images, trained_on)
    record = _train(session, wanted, images, out, unseen)
    session.answer("training-run", {"path": str(out), "record": record}, _describe(session, record, out))


def _train(
    session: Session, wanted: Example, images: ImageStore, out: Path, unseen: ImageStore | None
) -> dict[str, Any]:
    """Train behind a bar that shows the loss."""
    from countermark.audit.models.example import train_example

    with session.progress() as factory:
        bar = factory("train")

        def watch(step: int, steps: int, loss: float) -> None:
            bar(step, steps, session.tr("steps, loss {loss}", loss=f"{loss:.4f}"))

        return train_example(wanted, images, out, held_out=unseen, watch=watch)


def _read(data: str, count: int | None) -> ImageStore:
    from countermark.audit.images.reading import open_images, parse_data
    from countermark.audit.images.store import ImageStore

    spec = parse_data(data)
    start, stop = spec.span
    if count is not None:
        spec = replace(spec, span=(start, start + count if stop is None else min(stop, start + count)))
    store = ImageStore.read(open_images(spec))
    if count is not None and store.count < count:
        raise InputError("{name} holds {held} images, not {count}", name=spec.name, held=store.count, count=count)
    return store


def _drawn(data: str, count: int | None, seed: int) -> ImageStore:
    """Return images drawn at random, in the order of the data."""
    import numpy as np

    from countermark.audit.images.store import ImageStore

    store = _read(data, None)
    if count is not None and store.count < count:
        raise InputError("{name} holds {held} images, not {count}", name=store.data_name, held=store.count, count=count)
    chosen = np.sort(np.random.default_rng(seed).permutation(store.count)[:count])
    labels = None if store.labels is None else np.asarray(store.labels)[chosen]
    return ImageStore.of(store.take(chosen), labels, data_name=f"{store.data_name}, {count} by seed {seed}")


def _write(images: ImageStore, path: Path) -> None:
    import numpy as np

    arrays: dict[str, Any] = {"x_train": images.take(np.arange(images.count))}
    if images.labels is not None:
        arrays["y_train"] = np.asarray(images.labels)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_file(path, content.getvalue())


def _describe(session: Session, record: dict[str, Any], out: Path) -> str:
    result = record["result"]
    rows: list[tuple[str, str]] = [
        (session.tr("model"), str(out)),
        (session.tr("trained on"), session.tr("{count} images", count=record["data"]["count"])),
    ]
    if "steps" in result:
        rows.append(
            (
                session.tr("training"),
                session.tr("{steps} steps in {seconds} s", steps=result["steps"], seconds=result["seconds"]),
            )
        )
        rows.append((session.tr("loss"), f"{result['loss']:.4f}"))
    if "held_out_loss" in result:
        told = session.tr(
            "{train} on training images, {unseen} on held-out ones",
            train=f"{result['train_loss']:.4f}",
            unseen=f"{result['held_out_loss']:.4f}",
        )
        rows.append((session.tr("denoising loss"), told))
    rows.append((session.tr("weights"), f"sha256:{record['weights']['sha256']}"))
    return card(rows)
