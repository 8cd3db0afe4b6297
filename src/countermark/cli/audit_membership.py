"""``countermark audit membership``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Command
from countermark.cli.text import card, table
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.audit.membership import Membership, OneWork
    from countermark.audit.models import Generator
    from countermark.audit.signals import Loss

USED, NO_SIGN, CANNOT_TELL = 0, 1, 3
_STATUS = {"used": USED, "no-sign": NO_SIGN, "cannot-tell": CANNOT_TELL}


@click.command(cls=Command)
@click.argument("model")
@click.option("--works", required=True, metavar="DATA", help="Works of one owner, at least 70.")
@click.option(
    "--unseen", required=True, metavar="DATA",
    help="Works of the same owner and kind that cannot have been in the training data, at least 70.",
)  # fmt: skip
@click.option(
    "--samples",
    type=click.IntRange(1, 1_000_000),
    default=2000,
    show_default=True,
    help="Images to draw from the model.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draws.")
@click.option("--level", type=float, default=0.01, show_default=True, help="Bound on the chance of a false yes.")
@click.option("--prompt", "prompts", multiple=True, help="Prompt, for a model that needs one. May be given again.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="File for the answer with all signals.")
def membership(
    model: str, works: str, unseen: str, samples: int, seed: int, level: float, prompts: tuple[str, ...],
    out: Path | None,
) -> int:  # fmt: skip
    """Say whether a model was trained on an owner's works, from many works together.

    MODEL is a folder of an example model, a pipeline or a language model, a function as package.module:function, or a
    folder of images that were drawn from it. DATA is a folder of images or texts, or an array, table or data set, as
    audit memorization takes them; every image and every text is a work. Works that were held back by lot before
    publishing are the best unseen works; later works in another style answer another question, and a check looks for
    that.

    One work gets a rank and no verdict: what a model says of a single work is not reliable.

    Exit status: 0 it was; 1 no sign of it; 3 cannot tell.

    Example:
      countermark audit membership model --works mine/published --unseen mine/held-back --out answer.json
    """
    from countermark.audit.images.reading import parse_data
    from countermark.audit.text.reading import holds_texts

    session = current()
    asked = _Asked(session, model, works, unseen, samples, seed, level, prompts)
    found, subject = (_texts if holds_texts(parse_data(works).path) else _images)(asked)
    document = {**found.to_json(), "subject": subject}
    if out is not None:
        write_json(out, document)
    session.answer("membership", document, _describe(session, found))
    return _STATUS[document["verdict"]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command line."""

    session: Session
    model: str
    works: str
    unseen: str
    samples: int
    seed: int
    level: float
    prompts: tuple[str, ...]


def _images(asked: _Asked) -> tuple[Membership | OneWork, dict[str, Any]]:
    from countermark.adapters.samplers import open_sampler
    from countermark.audit.images.store import ImageStore
    from countermark.audit.membership import infer
    from countermark.audit.signals import measure_images, rank_image

    generator = open_sampler(asked.model, prompts=asked.prompts)
    works, unseen = (_pictures(data, generator.shape) for data in (asked.works, asked.unseen))
    loss = _loss(generator, works[:1])
    count = min(asked.samples, getattr(generator, "count", asked.samples))
    with asked.session.progress() as progress:
        outputs = generator.sample(count, seed=asked.seed, progress=progress("draw"))
        drawn = {"count": count, "seed": asked.seed, "digest": ImageStore.of(outputs).digest}
        subject = {"name": generator.name, "samples": drawn}
        if len(works) == 1:
            return rank_image(works, unseen, outputs, loss=loss), subject
        measured = measure_images(works, unseen, outputs, loss=loss, progress=progress("examine"))
    return infer(measured, level=asked.level, subject=subject), subject


def _texts(asked: _Asked) -> tuple[Membership | OneWork, dict[str, Any]]:
    from countermark.adapters.likelihoods import LocalLikelihoods
    from countermark.audit.membership import infer
    from countermark.audit.signals import measure_texts, rank_text
    from countermark.audit.text.reading import open_corpus

    works, unseen = (
        [document.text for document in open_corpus(Path(data)).documents()] for data in (asked.works, asked.unseen)
    )
    model = LocalLikelihoods(Path(asked.model))
    subject = {"name": model.name, "samples": None}
    if len(works) == 1:
        return rank_text(works[0], unseen, model), subject
    with asked.session.progress() as progress:
        measured = measure_texts(works, unseen, model, progress=progress("examine"))
    return infer(measured, level=asked.level, subject=subject), subject


def _pictures(data: str, shape: tuple[int, int, int]) -> Any:
    """Read images as the model draws them: of its size and its number of channels."""
    from countermark.audit.images.reading import open_images
    from countermark.audit.images.store import ImageStore

    store = ImageStore.read(open_images(data, size=shape[:2], channels=shape[2]))
    return store.take(range(store.count))


def _loss(generator: Generator, one: Any) -> Loss | None:
    """Return the model's loss where it has one; a pipeline that has none for its kind says so when it is asked."""
    loss: Loss | None = getattr(generator, "loss", None)
    try:
        if loss is not None:
            loss(one)
    except InputError:
        return None
    return loss


def _describe(session: Session, found: Membership | OneWork) -> str:
    from countermark.audit.membership import OneWork

    if isinstance(found, OneWork):
        return _describe_one(session, found)
    said = {"used": _used, "no-sign": _no_sign, "cannot-tell": _not_comparable}[found.verdict](session, found)
    rows = [
        (session.tr("works"), f"{found.measured.works} / {len(found.measured.neighbor) - found.measured.works}"),
        (session.tr("p-value"), f"{found.p_value:.2g}"),
        (session.tr("least possible p-value"), f"{found.floor:.2g}"),
        (session.tr("same source"), f"p = {found.same_source:.2g}"),
    ]
    head = [session.tr("signal"), session.tr("p-value"), session.tr("a work below an unseen one")]
    known = {
        "nearest": session.tr("distance to what it draws"),
        "loss": session.tr("loss"),
        "min_k": session.tr("loss on the least likely tokens"),
    }
    signs = [[known.get(name, name), f"{sign.p_value:.2g}", f"{sign.auc:.0%}"] for name, sign in found.signs.items()]
    return "\n\n".join((said, card(rows), table(head, signs), _caveat(session)))


def _used(session: Session, found: Membership) -> str:
    return session.tr(
        "The model knows these works better than the unseen ones, at level {level}: it was trained on some of them, or "
        "on copies.",
        level=f"{found.level:g}",
    )


def _no_sign(session: Session, found: Membership) -> str:
    return session.tr(
        "No sign at level {level} that the model was trained on these works. That does not prove that it was not.",
        level=f"{found.level:g}",
    )


def _not_comparable(session: Session, _found: Membership) -> str:
    return session.tr(
        "Cannot tell: works and unseen works differ already without the model, so that what it says of them proves "
        "nothing."
    )


def _caveat(session: Session) -> str:
    return session.tr(
        "The p-value is exact if works and unseen works are of one source. Whether they are is checked as far as it "
        "can be, and is for their owner to show."
    )


def _describe_one(session: Session, answer: OneWork) -> str:
    return session.tr(
        "This work has rank {rank} of {among}; 1 is most like training data. That is no verdict: on real models, "
        "signals of a single work hardly differ between works that were in the training data and works that were not.",
        rank=answer.rank,
        among=answer.among,
    )
