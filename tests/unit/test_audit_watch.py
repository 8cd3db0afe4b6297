"""Watches on real training loops of a model that memorizes: transformers' Trainer, Lightning's and plain torch."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from countermark.audit.watch import Watch, lightning_callback, transformers_callback
from countermark.errors import IndexMismatch, InputError, StorageError

torch = pytest.importorskip("torch")

CALIBRATION = np.linspace(0.0, 1.0, 999)
NEAR, FAR = np.full(16, -1.0), np.linspace(0.02, 1.0, 16)


class Scores:
    """An examiner of numbers: an output is its own score."""

    calibration = SimpleNamespace(scores=CALIBRATION)

    def __init__(self) -> None:
        self.subjects: list[dict[str, Any]] = []

    def audit(self, samples: Any, *, subject: dict[str, Any], **_: Any) -> Any:
        self.subjects.append(subject)
        ranks = np.searchsorted(CALIBRATION, np.asarray(samples), side="right")
        return SimpleNamespace(items=[SimpleNamespace(p=(1 + rank) / (1 + len(CALIBRATION))) for rank in ranks])


class Pictures(torch.nn.Module):  # type: ignore[misc, name-defined]
    """As many free pictures as there are images: trained, it stores them."""

    def __init__(self, images: Any) -> None:
        super().__init__()
        self.drawn = torch.nn.Parameter(torch.full_like(images, 0.5))
        self.dropped = torch.nn.Dropout(0.5)
        self.register_buffer("images", images)

    def forward(self, rows: Any = None, **_: Any) -> dict[str, Any]:
        rows = rows.long().flatten()
        noise = self.dropped(torch.ones(len(rows))).mean() * 1e-3
        return {"loss": ((self.drawn[rows] - self.images[rows]) ** 2).mean() + noise}

    def draw(self) -> np.ndarray:
        assert not self.training
        torch.rand(3)
        return np.clip(self.drawn.detach().numpy() * 255, 0, 255).round().astype(np.uint8)


IMAGES = np.random.default_rng(4).integers(0, 256, (1064, 4, 4, 1), dtype=np.uint8)
COUNT = 64


@pytest.fixture(scope="module")
def examiner() -> Any:
    from countermark.audit.images.examine import Examiner
    from countermark.audit.images.store import ImageStore

    train, held_out = ImageStore.of(IMAGES[:COUNT]), ImageStore.of(IMAGES[COUNT:])
    return Examiner.prepare(train, held_out, engine="numpy", unseen_sets=5)


@pytest.fixture
def model() -> Pictures:
    return Pictures(torch.from_numpy(IMAGES[:COUNT] / 255).float())


class Rows(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"rows": torch.tensor(at)}


def test_a_plain_loop_stops_when_the_model_stores_its_images(examiner: Any, model: Pictures, tmp_path: Path) -> None:
    watch = Watch(examiner, tmp_path / "watch.jsonl", looks=10)
    optimizer, step = torch.optim.Adam(model.parameters(), 0.02), 0
    for step in range(1, 201):
        model(torch.arange(COUNT))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0 and watch.checkpoint(step, model, Pictures.draw).stop:
            break
    assert watch.stopped
    assert step < 200
    assert [look.step for look in watch.looks] == list(range(20, step + 1, 20))
    assert model.training
    assert model.dropped.training


def test_a_watched_run_trains_as_an_unwatched_one(examiner: Any, tmp_path: Path) -> None:
    weights = []
    for watched in (False, True):
        torch.manual_seed(3)
        model = Pictures(torch.from_numpy(IMAGES[:COUNT] / 255).float())
        watch = Watch(examiner, tmp_path / "watch.jsonl", looks=10)
        for step in range(5):
            rows = torch.randint(COUNT, (8,))
            model.zero_grad()
            model(rows)["loss"].backward()
            with torch.no_grad():
                model.drawn -= model.drawn.grad + torch.rand(()) * 1e-3
            if watched:
                watch.checkpoint(step, model, Pictures.draw)
        weights.append(model.drawn.detach().clone())
    assert torch.equal(*weights)


def train_with_transformers(model: Pictures, watch: Watch, folder: Path, every: Any, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=16, learning_rate=0.03, report_to=[], use_cpu=True,
        disable_tqdm=True, logging_strategy="no", lr_scheduler_type="constant", dataloader_pin_memory=False, **options,
    )  # fmt: skip
    callback = transformers_callback(watch, Pictures.draw, every=every)
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[callback])
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("every", "options"),
    [(20, {"save_strategy": "no"}), ("epoch", {"save_strategy": "no"}), ("save", {"save_steps": 25})],
)
def test_the_trainer_of_transformers_is_stopped(
    examiner: Any, model: Pictures, tmp_path: Path, every: Any, options: dict[str, Any]
) -> None:
    watch = Watch(examiner, tmp_path / "watch.jsonl", looks=50)
    trainer = train_with_transformers(model, watch, tmp_path, every, num_train_epochs=60, **options)
    assert watch.stopped
    apart = {20: 20, "epoch": 4, "save": 25}[every]
    assert [look.step for look in watch.looks] == list(range(apart, trainer.state.global_step + 1, apart))
    assert trainer.state.global_step < 240
    # A second run on the same journal ends at once, and looks no more.
    again = train_with_transformers(model, watch, tmp_path, every, num_train_epochs=60, **options)
    assert again.state.global_step <= 1
    assert watch.looks[-1].step == trainer.state.global_step


@pytest.fixture
def lightning() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("lightning.pytorch")
        yield module


@pytest.mark.parametrize("every", [10, "epoch"])
def test_the_trainer_of_lightning_is_stopped(
    examiner: Any, model: Pictures, tmp_path: Path, lightning: Any, every: Any
) -> None:
    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def training_step(self, batch: Any, _: int) -> Any:
            return self.inner(**batch)["loss"]

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 0.03)

    watch = Watch(examiner, tmp_path / "watch.jsonl", looks=50)
    callback = lightning_callback(watch, lambda module: module.inner.draw(), every=every)
    trainer = lightning.Trainer(
        max_epochs=60, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback], accumulate_grad_batches=2, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(Rows(), batch_size=8))
    assert watch.stopped
    apart = {10: 10, "epoch": 4}[every]
    assert [look.step for look in watch.looks] == list(range(apart, trainer.global_step + 1, apart))
    assert trainer.global_step < 240


def test_every_look_is_counted_and_none_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "watch.jsonl"
    for _ in range(3):  # a restart before each look
        watch = Watch(Scores(), path, looks=5)
        assert not watch.look(7, FAR).stop
    with pytest.raises(ZeroDivisionError):
        Watch(Scores(), path, looks=5).look(8, lambda: 1 / 0)
    watch = Watch(Scores(), path, looks=5)
    assert watch.spent == pytest.approx(0.04)
    last = watch.look(9, FAR)
    assert (last.number, last.spent) == (5, pytest.approx(0.01))
    assert watch.spent == pytest.approx(0.05)
    beyond = watch.look(10, NEAR)  # no level is left for a sixth
    assert (beyond.number, beyond.spent, beyond.stop) == (6, 0.0, False)
    assert [look.number for look in watch.looks] == [1, 2, 3, 5, 6]
    assert json.loads(path.read_text().splitlines()[0])["type"] == "countermark.watch/1"


@pytest.mark.parametrize("rule", ["spending", "evidence"])
def test_a_stopped_watch_stays_stopped(tmp_path: Path, rule: Any) -> None:
    examiner = Scores()
    watch = Watch(examiner, tmp_path / "watch.jsonl", looks=4, rule=rule)
    looks = [watch.look(step, NEAR) for step in range(4)]
    assert looks[-1].stop
    asked = len(examiner.subjects)
    again = Watch(examiner, tmp_path / "watch.jsonl", looks=4, rule=rule)
    assert again.stopped
    assert again.look(99, FAR) == looks[-1]
    assert len(examiner.subjects) == asked


def test_a_journal_may_be_cut_anywhere(tmp_path: Path) -> None:
    """Whatever a crash leaves of the file, looks that it shows as begun stay spent and the next gets a new number."""
    whole = tmp_path / "whole.jsonl"
    watch = Watch(Scores(), whole, looks=10)
    for step in range(3):
        watch.look(step, FAR)
    data = whole.read_bytes()
    ends = [at for at, byte in enumerate(data) if byte == ord("\n")]
    for size in sorted({*range(0, len(data), 23), *ends, *(end + 1 for end in ends), *(end + 2 for end in ends[:-1])}):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(data[:size])
        begun = sum(b'"p"' not in line for line in data[:size].split(b"\n")[1:] if line)
        ended = sum(b'"stop"' in line for line in data[:size].split(b"\n")[:-1])
        cut = Watch(Scores(), path, looks=10)
        assert len(cut.looks) == ended
        look = cut.look(9, FAR)
        # A line cut inside the result of a look is not yet known to be one.
        assert begun - 1 <= look.number - 1 <= begun
        assert look.number - 1 >= ended
        again = Watch(Scores(), path, looks=10)
        assert again.looks[-1] == look
        assert again.spent == pytest.approx(look.number * 0.005)


def test_a_journal_of_another_watch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watch.jsonl"
    Watch(Scores(), path, looks=5).look(1, FAR)
    with pytest.raises(IndexMismatch, match="journal of another watch"):
        Watch(Scores(), path, looks=6)
    other = Scores()
    other.calibration = SimpleNamespace(scores=CALIBRATION + 1)
    with pytest.raises(IndexMismatch):
        Watch(other, path, looks=5)
    header = path.read_text().splitlines()[0]
    for line in ('{"look": 7, "step": 1}', "[]", '{"p": 1, "look": 1}', "{"):
        path.write_text(f"{header}\n{line}\n")
        with pytest.raises(InputError):
            Watch(Scores(), path, looks=5)


def test_a_journal_that_cannot_be_written_stops_the_look(tmp_path: Path) -> None:
    watch = Watch(Scores(), tmp_path / "none" / "watch.jsonl", looks=5)
    with pytest.raises(StorageError):
        watch.look(1, pytest.fail)
    with pytest.raises(StorageError):
        Watch(Scores(), tmp_path, looks=5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": 0.01, "looks": 20}, "no look could ever stop"),
        ({"level": 0.001, "looks": 1, "rule": "evidence"}, "no look could ever stop"),
        ({"level": 0.7}, "between 0 and 0.5"),
        ({"looks": 0}, "at least one look"),
        ({"rule": "product"}, "spending or evidence"),
    ],
)
def test_plans_that_mean_nothing_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Watch(Scores(), tmp_path / "watch.jsonl", **options)


@pytest.mark.parametrize("every", [0, -1, "step"])
def test_a_callback_looks_at_times_that_there_are(tmp_path: Path, every: Any) -> None:
    watch = Watch(Scores(), tmp_path / "watch.jsonl")
    with pytest.raises(InputError, match="look each so many steps"):
        transformers_callback(watch, Pictures.draw, every=every)


def test_texts_are_watched_too(tmp_path: Path) -> None:
    pytest.importorskip("pydivsufsort")
    from countermark.audit.text.examine import TextExaminer
    from countermark.audit.text.reading import Corpus
    from countermark.audit.watch import Texts

    source = random.Random(1)

    def texts(count: int) -> list[str]:
        return ["".join(source.choices("abcdefgh ", k=400)).strip() for _ in range(count)]

    stored, held_out = texts(20), Corpus.of(texts(80), "held-out")
    examiner = Texts(TextExaminer.prepare(Corpus.of(stored, "train"), held_out, near=False), held_out)
    watch = Watch(examiner, tmp_path / "watch.jsonl", looks=4)
    clean = watch.look(1, [*texts(10), ""])
    assert (clean.count, clean.stop) == (11, False)
    assert watch.look(2, [""]).p_value == 1.0
    copying = watch.look(3, [text[50:250] for text in stored])
    assert copying.stop
    assert copying.p_value >= watch.plan.floor
    assert Watch(examiner, tmp_path / "watch.jsonl", looks=4).stopped
    other = Corpus.of(texts(80), "held-out")
    with pytest.raises(IndexMismatch):
        Watch(Texts(None, other), tmp_path / "watch.jsonl", looks=4)
