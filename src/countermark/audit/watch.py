"""Watch a training run: audit its checkpoints, and stop when it stores what it is trained on.

Null of a watch: at none of its looks does the model draw outputs that are nearer to the training data than held-out
data of the same source are. Under it the watch ever stops the run with probability at most ``level``: over all its
looks, however they depend on each other, and over the draw of the held-out data. A stop therefore says "some checkpoint
copies", at that level. It does not say which outputs are copies (an audit of the checkpoint does), and a run that was
never stopped is not proven clean: what few outputs, few held-out items or the distance cannot show is not seen.

What the number does not cover: held-out data of another source than the training data, and a model whose outputs are
all of the simplest kind (empty pictures, say), near to everything without copying anything.

A journal keeps every look (``journal``): after a crash, a restart or a second run on the same journal, what was spent
stays spent.

With PyTorch alone::

    watch = Watch(examiner, Path("watch.jsonl"), looks=20)
    for step, batch in enumerate(loader, start=1):
        ...
        if step % 500 == 0 and watch.checkpoint(step, model, draw).stop:
            break

Laws:
    the level that all looks have spent is at most ``level``;
    a watch that stopped stays stopped, and looks no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from countermark.audit.journal import Journal
from countermark.audit.sequential import Look, Plan, Rule
from countermark.errors import InputError, MissingExtra, require

T = TypeVar("T")

TYPE = "countermark.watch/1"
# Bytes; of the held-out windows that texts are calibrated on.
_SHORTEST_WINDOW = 16
#: When a callback looks: each so many optimizer steps, at the end of each epoch, or after each saved checkpoint.
Every = int | Literal["epoch", "save"]
Sampler = Callable[[Any], Any]
"""``sample(model)`` returns images, uint8 of shape (n, h, w, c), or texts; images and labels for a search by label."""


class Examiner(Protocol):
    """What judges outputs: ``countermark.audit.images.examine.Examiner``, or the one for texts."""

    @property
    def calibration(self) -> Any:
        """Scores of held-out items, ``scores``, and where they are not one per item how many, ``count``."""

    @property
    def audit(self) -> Callable[..., Any]:
        """``audit(samples, subject=..., labels=...)`` returns what has ``items`` with a p-value ``p`` each."""


class Watch:
    """Looks at a training run, judged together.

    Args:
        examiner: made of the training data and of held-out data of the same source.
        journal: file of JSON lines; an existing one of the same plan is continued.
        level: bound on the chance that a run which copies nothing is ever stopped.
        looks: how many are planned; later ones are recorded and can no longer stop. None: any number, each worth less
            than the one before.
        rule: ``spending`` tests each look at its share of the level, which suits copies that are plain to see;
            ``evidence`` adds up e-values and needs no assumption on how the outputs of one look depend on each other.
        name: of the run, for the audits' subject.
        seed: look k draws with torch seeded at ``seed + k``.

    Raises:
        InputError: a plan that could never stop, or a journal that is none.
        IndexMismatch: the journal belongs to another plan or other held-out data.
        StorageError: the journal cannot be read or written.
    """

    def __init__(
        self, examiner: Examiner, journal: Path, *, level: float = 0.05, looks: int | None = 20,
        rule: Rule = "spending", name: str = "training run", seed: int = 0,
    ) -> None:  # fmt: skip
        self._examiner, self._name, self._seed = examiner, name, seed
        self.plan = Plan(level, looks, rule, calibration_floor(examiner))
        kept = {"level": level, "looks": looks, "rule": rule, "floor": self.plan.floor}
        self._journal = Journal(Path(journal), {"type": TYPE, **kept, "calibration": _digest(examiner)})
        self._journal.read()

    @property
    def looks(self) -> tuple[Look, ...]:
        """Every look that ended, of this run and of earlier ones on the same journal."""
        return self._journal.read().looks

    @property
    def spent(self) -> float:
        """The level that was spent, with looks that began and never ended."""
        return sum(self.plan.share(number) for number in range(1, self._journal.read().begun + 1)) * self.plan.level

    @property
    def stopped(self) -> bool:
        """Whether a look has stopped the run."""
        return any(look.stop for look in self._journal.read().looks)

    def look(self, step: int, samples: Any) -> Look:
        """Audit what a checkpoint draws and return the decision; after a stop, the look that stopped.

        Args:
            step: of the training.
            samples: outputs of the model as it is now, or a function that draws them. How many is up to the caller, as
                long as it does not depend on earlier looks.

        Raises:
            StorageError: the journal cannot be written; nothing was drawn then.
        """
        state = self._journal.read()
        if state.looks and state.looks[-1].stop:
            return state.looks[-1]
        number = self._journal.begin(step)
        drawn = samples() if callable(samples) else samples
        drawn, known = (drawn[0], {"labels": drawn[1]}) if isinstance(drawn, tuple) else (drawn, {})
        subject = {"name": f"{self._name}, step {step}", "sampler": "watch", "seed": self._seed + number}
        values = p_values(self._examiner.audit(drawn, subject=subject, **known))
        judged = self.plan.judge(number, step, state.total, values)
        self._journal.end(judged)
        return judged

    def checkpoint(self, step: int, model: Any, sample: Sampler) -> Look:
        """``look`` at a torch module: drawn in evaluation mode, without gradients, from a random stream of its own.

        The module's modes and torch's random state are put back, so a watched run trains as an unwatched one does.
        Among processes that train together the first draws and judges, and all get its answer; each has to call this.
        """
        torch = require("torch", "train")

        def first() -> Look:
            seed = self._seed + self._journal.read().begun + 1
            return self.look(step, lambda: _draw(torch, _unwrapped(torch, model), sample, seed))

        return _of_first(torch, first)

    def ended(self) -> bool:
        """Whether a look has stopped the run, as the first of the processes that train together knows it."""
        return _of_first(require("torch", "train"), lambda: self.stopped)


def transformers_callback(watch: Watch, sample: Sampler, *, every: Every = "save") -> Any:
    """Return a ``transformers.TrainerCallback`` that looks at a run and stops it through ``should_training_stop``.

    Args:
        watch: what judges.
        sample: ``sample(model)`` draws outputs.
        every: so many optimizer steps, ``"epoch"``, or ``"save"``: after each checkpoint that the trainer saves.
    """
    transformers = require("transformers", "train")
    _check_every(every, ("epoch", "save"))

    class WatchCallback(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = control.should_training_stop or watch.ended()

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if isinstance(every, int) and state.global_step % every == 0:
                self._look(state, control, model)

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if every == "epoch":
                self._look(state, control, model)

        def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if every == "save":
                self._look(state, control, model)

        def _look(self, state: Any, control: Any, model: Any) -> None:
            if watch.checkpoint(state.global_step, model, sample).stop:
                control.should_training_stop = True

    return WatchCallback()


def lightning_callback(watch: Watch, sample: Sampler, *, every: int | Literal["epoch"] = "epoch") -> Any:
    """Return a Lightning ``Callback`` that looks at a run and stops it through ``trainer.should_stop``.

    Lightning trains on until its ``min_epochs`` and ``min_steps`` all the same.

    Args:
        watch: what judges.
        sample: ``sample(module)`` draws outputs.
        every: so many optimizer steps, or ``"epoch"``.
    """
    base = _lightning().Callback
    _check_every(every, ("epoch",))

    class WatchCallback(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self._last = 0

        def on_train_start(self, trainer: Any, _module: Any) -> None:
            trainer.should_stop = trainer.should_stop or watch.ended()

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            step = trainer.global_step  # of the optimizer: several batches may share one
            if isinstance(every, int) and step % every == 0 and step != self._last:
                self._last = step
                self._look(trainer, module)

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if every == "epoch":
                self._look(trainer, module)

        def _look(self, trainer: Any, module: Any) -> None:
            if watch.checkpoint(trainer.global_step, module, sample).stop:
                trainer.should_stop = True

    return WatchCallback()


def calibration_floor(examiner: Examiner) -> float:
    """Return the least p-value that an examiner can give: 1 / (1 + number of held-out items)."""
    calibration = examiner.calibration
    count = getattr(calibration, "count", None)
    return 1.0 / (1 + int(len(calibration.scores) if count is None else count))


def p_values(audit: Any) -> list[float]:
    """Return the p-values of an audit's items."""
    return [float(item.p) for item in audit.items]


class Texts:
    """An examiner of texts as a watch takes one: of lists of texts. An empty text is no copy: its p-value is 1.

    Args:
        examiner: ``countermark.audit.text.examine.TextExaminer``.
        held_out: the ``Corpus`` that it was prepared with.
    """

    def __init__(self, examiner: Any, held_out: Any) -> None:
        self._examiner = examiner
        # There are no more windows than of the shortest length, so no p-value is below 1 / (1 + count).
        self.calibration = SimpleNamespace(count=held_out.measure.size // _SHORTEST_WINDOW, digest=held_out.digest)

    def audit(self, samples: Sequence[str], /, *, subject: dict[str, Any]) -> Any:
        """Return an audit's items with their p-values, in the order of the texts."""
        from countermark.audit.text.reading import Corpus

        values: Iterator[float] = iter(())
        if any(text.strip() for text in samples):
            document = self._examiner.audit(Corpus.of(list(samples), "outputs"), subject=subject)
            values = iter([item["p"] for item in document["items"]])
        return SimpleNamespace(items=[SimpleNamespace(p=next(values) if text.strip() else 1.0) for text in samples])


def _digest(examiner: Examiner) -> str | None:
    scores = getattr(examiner.calibration, "scores", None)
    if scores is None:
        return getattr(examiner.calibration, "digest", None)
    return f"sha256:{hashlib.sha256(np.asarray(scores, dtype='<f8').tobytes()).hexdigest()}"


def _draw(torch: Any, model: Any, sample: Sampler, seed: int) -> Any:
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices), torch.no_grad(), _evaluating(model):
        torch.manual_seed(seed)
        return sample(model)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _of_first(torch: Any, compute: Callable[[], T]) -> T:
    """Compute something in the first of the processes that train together, and return it in all."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return compute()
    answer = [compute() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(answer, src=0)
    value: T = answer[0]  # type: ignore[assignment]
    return value


def _unwrapped(torch: Any, model: Any) -> Any:
    return model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model


def _check_every(every: object, named: Sequence[str]) -> None:
    if every not in named and not (isinstance(every, int) and every > 0):
        raise InputError("look each so many steps, or at: {known}; not {every}", known=", ".join(named), every=every)


def _lightning() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return require(name, "train")
        except MissingExtra:
            continue
    raise MissingExtra("{module} is not installed", hint="Install it with: pip install lightning", module="lightning")
