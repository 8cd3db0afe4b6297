"""``countermark audit memorization``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.edge import COULD_NOT_TELL
from countermark.cli.session import Session, current, read_file
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import InputError, UsageProblem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from countermark.adapters.completions import LocalCompletions, ServedCompletions
    from countermark.audit.images.batches import ImageSource
    from countermark.audit.text.reading import Corpus
    from countermark.registry import Audit
    from countermark.workflows.memorization import ProgressFactory

    Writer = LocalCompletions | ServedCompletions

COPIES, NONE = 0, 1
_PROMPTS_LIMIT = 2**20
_PATH = click.Path(path_type=Path)
_ENGINES = click.Choice(["auto", "int8", "faiss", "numpy", "approximate"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The command line."""

    subject: str
    train: str
    held_out: str
    out: Path
    fdr: float
    labels: bool
    folders: bool
    align: bool
    descriptor: Path | None
    samples: int | None
    seed: int
    prompts: Path | None
    tokens: int
    api_model: str | None
    extract: int
    folded: bool
    blank_lines: bool
    leave_out: bool
    size: str | None
    skip_broken: bool
    index: Path | None
    engine: str
    unseen_sets: int
    title: int | None
    record: bool


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Outputs to examine, and what is known of where they came from."""

    images: NDArray[np.uint8]
    labels: NDArray[Any] | None
    subject: dict[str, Any]


@click.command(cls=Command)
@click.argument("subject", metavar="MODEL|SAMPLES")
@click.option("--train", required=True, metavar="DATA", help="What the model was trained on.")
@click.option("--held-out", required=True, metavar="DATA", help="Data of the same source that it never saw.")
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="Folder for the report.")
@click.option("--fdr", type=float, default=0.05, show_default=True, help="Share of false flags among the flagged.")
@click.option("--labels", is_flag=True, help="Search among items of the same label only. Copies of others are lost.")
@click.option("--folders", is_flag=True, help="Subfolders of the data are labels.")
@click.option("--align", is_flag=True, help="Find copies that were mirrored, moved up to 2 pixels or re-lit, too.")
@click.option("--descriptor", type=_PATH, metavar="FILE.onnx|built-in", help="Compare descriptors instead of pixels.")
@click.option("--samples", type=click.IntRange(1, 1_000_000), metavar="N", help="How many outputs.  [1000 of a model]")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of what is drawn.")
@click.option("--prompts", type=_PATH, metavar="FILE", help="Prompts for a model that takes them, one a line.")
@click.option("--tokens", type=click.IntRange(8, 4096), default=200, show_default=True, help="Of a reply, at most.")
@click.option("--api-model", metavar="NAME", help="Name of the model where MODEL is the address of an API.")
@click.option("--extract", type=click.IntRange(0, 10_000), default=0, metavar="N", help="Ask N passages of a model.")
@click.option("--folded", is_flag=True, help="Texts: let case and spaces make no difference.")
@click.option("--blank-lines", is_flag=True, help="Texts: blank lines part documents, as in poems.")
@click.option("--leave-out", is_flag=True, help="Leave out held-out texts that stand in the training texts.")
@click.option("--size", metavar="HxW", help="Bring all images to this size.")
@click.option("--skip-broken", is_flag=True, help="Leave out images that cannot be read, and name them.")
@click.option("--index", type=_PATH, metavar="DIR", help="Folder to keep the index in.  [OUT/index]")
@click.option("--engine", type=_ENGINES, default="auto", show_default=True, help="Of the search.")
@click.option("--unseen-sets", type=click.IntRange(1, 999), default=19, show_default=True, help="Of the model's test.")
@click.option("--title", type=int, metavar="TITLE", help="Sign and log the audit, and attach it to this title.")
@click.option("--record", is_flag=True, help="Sign and log the audit in the workspace, for weights without title too.")
def memorization(**given: Any) -> int:
    """Decide whether a model stores what it was trained on, with an error rate.

    MODEL is a folder that "train example", diffusers or transformers wrote, package.module:function, or the address of
    an OpenAI-compatible API; SAMPLES are outputs that were made before. DATA is a folder of images, an .npz, .npy, idx
    or Parquet file, or a saved Hugging Face data set; after it :part and [start:stop]. Texts are folders and files of
    .txt, .md, .jsonl or Parquet. What kind it is, the training data say.

    Every output gets a p-value: the chance that unseen data of the same source lie as near to the training data. The
    list of copies holds at most the share --fdr of false ones, on average. The report is written as one HTML file in
    each language and as JSON, whose decision anybody can recompute. Needs a workspace only for --title and --record.

    Exit status: 0 copies were found; 1 none; 3 none, though there were too few data to flag any, or only the share of
    outputs that lie near shows copies.

    Example:
      countermark audit memorization model/ --train images.npz:train --held-out images.npz:test --out report
      countermark audit memorization samples/ --train photos/ --held-out unseen/ --align --out report --title 1
    """
    session, options = current(), _Options(**given)
    if not 0 < options.fdr < 1:  # "not a number" would flag everything
        raise InputError("the false discovery rate is between 0 and 1, and {fdr} is not", fdr=options.fdr)
    is_text = _is_text(options.train)
    with session.progress() as progress:
        document, files = (_audit_texts if is_text else _audit_images)(session, options, progress)
    audit = _record(session, options, document, files) if options.record or options.title is not None else None
    shown = {name: value for name, value in document.items() if name not in ("type", "items", "calibration")}
    extra = {"files": [str(file) for file in files], "audit": audit.to_json() if audit else None}
    session.answer("memorization", {**shown, **extra}, _describe(session, document, files, audit))
    return _status(document)


def _status(document: Mapping[str, Any]) -> int:
    decision = document["decision"]
    if decision["flagged"]:
        return COPIES
    could = decision["smallest_flaggable"] <= len(document["items"])
    return NONE if could and decision["at_least"] == 0 else COULD_NOT_TELL


def _is_text(train: str) -> bool:
    """Whether the training data are texts: told by what is there."""
    from countermark.audit.images.reading import parse_data
    from countermark.audit.text.reading import holds_texts

    return holds_texts(parse_data(train).path)


def _audit_images(_session: Session, options: _Options, progress: ProgressFactory) -> tuple[dict[str, Any], list[Path]]:
    from countermark.bootstrap import utc_now
    from countermark.core.times import show_time
    from countermark.workflows.memorization import Measure, audit_images, prepare_images

    train, held_out = (_open(data, options) for data in (options.train, options.held_out))
    if held_out.shape != train.shape:
        held_out = _open(options.held_out, options, like=train)
    measure = Measure(
        align=options.align,
        same_label=options.labels,
        descriptor=_descriptor(options),
        engine=options.engine,
        unseen_sets=options.unseen_sets,
    )
    examiner = prepare_images(train, held_out, options.index or options.out / "index", measure, progress=progress)
    outputs = _draw(options, examiner.train.shape, progress)
    return audit_images(
        examiner,
        outputs.images,
        options.out,
        outputs.subject,
        labels=outputs.labels,
        fdr=options.fdr,
        made_at=show_time(utc_now()),
        progress=progress,
    )


def _open(data: str, options: _Options, *, like: ImageSource | None = None) -> ImageSource:
    from countermark.audit.images.reading import open_images

    size = _size(options.size) if options.size else like.shape[:2] if like else None
    return open_images(
        data,
        size=size,
        channels=like.shape[2] if like else None,
        labels="folders" if options.folders else None,
        skip_broken=options.skip_broken,
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text, re.ASCII)
    if found is None:
        raise InputError("a size is written HEIGHTxWIDTH, not {text}", text=text[:40])
    return int(found[1]), int(found[2])


def _descriptor(options: _Options) -> Any:
    if options.descriptor is None:
        return None
    from countermark.audit.images.descriptors import open_descriptor

    return open_descriptor(options.descriptor)


def _draw(options: _Options, shape: tuple[int, int, int], progress: ProgressFactory) -> _Outputs:
    """Draw from a model, or read what was drawn before."""
    from countermark.adapters.samplers import DataSampler, open_sampler
    from countermark.audit.images.reading import open_images
    from countermark.audit.images.store import ImageStore

    generator = open_sampler(options.subject, prompts=_prompts(options))
    if isinstance(generator, DataSampler):
        source = open_images(options.subject, size=shape[:2], channels=shape[2], skip_broken=options.skip_broken)
        store = ImageStore.read(source)
        count = min(store.count, options.samples or store.count)
        labels = None if store.labels is None else store.labels[:count]
        subject = {"name": store.data_name, "weights": None, "sampler": "as handed in", "seed": None, "drawn": count}
        return _Outputs(store.take(range(count)), labels, subject)
    count = options.samples or 1000
    images = generator.sample(count, seed=options.seed, progress=progress("draw"))
    weights = _weights(options.subject)
    subject = {"name": generator.name, "weights": weights, "sampler": type(generator).__name__}
    return _Outputs(images, generator.labels(count), {**subject, "seed": options.seed, "drawn": count})


def _weights(subject: str) -> str | None:
    """Return the digest of a model directory's weights, as a title has it; None where there is no directory."""
    if not Path(subject).is_dir():
        return None
    from countermark.artifact import digest_model, survey
    from countermark.core.canonical import show_digest

    return show_digest(digest_model(survey(Path(subject))).content_root)


def _prompts(options: _Options) -> tuple[str, ...]:
    if options.prompts is None:
        return ()
    try:
        text = read_file(options.prompts, limit=_PROMPTS_LIMIT).decode()
    except UnicodeDecodeError as error:
        raise InputError("{path} is not UTF-8 text", path=options.prompts) from error
    return tuple(line for line in text.splitlines() if line.strip())


def _audit_texts(_session: Session, options: _Options, progress: ProgressFactory) -> tuple[dict[str, Any], list[Path]]:
    from countermark.audit.report import write_report
    from countermark.audit.text.examine import TextExaminer
    from countermark.audit.text.reading import open_corpus
    from countermark.bootstrap import utc_now
    from countermark.core.times import show_time

    _refuse_image_options(options)
    split = "blank" if options.blank_lines else "separator"
    corpus, held_out = (open_corpus(Path(data), split=split) for data in (options.train, options.held_out))
    examiner = TextExaminer.prepare(
        corpus,
        held_out,
        directory=options.index or options.out / "index",
        form="folded" if options.folded else "bytes",
        leave_out=options.leave_out,
        progress=progress,
    )
    writer = _writer(options)
    outputs, subject = _write(writer, options, progress) if writer else _written(options)
    extraction = _extract(writer, corpus, held_out, options, progress) if options.extract else None
    document = examiner.audit(
        outputs,
        fdr=options.fdr,
        subject=subject,
        extraction=extraction,
        made_at=show_time(utc_now()),
        progress=progress,
    )
    return document, write_report(options.out, document, examiner.passages(outputs))


def _refuse_image_options(options: _Options) -> None:
    given = ("labels", "folders", "align", "descriptor", "size", "skip_broken")
    asked = [name for name in given if getattr(options, name)]
    if asked:
        raise UsageProblem("--{option} is for images", option=asked[0].replace("_", "-"))


def _writer(options: _Options) -> Writer | None:
    """Open a model that writes; None where outputs were handed in."""
    from countermark.adapters.completions import open_completions

    path = Path(options.subject)
    is_model = path.is_dir() and (path / "config.json").is_file()
    if is_model or options.subject.startswith(("http://", "https://")):
        return open_completions(options.subject, model=options.api_model)
    return None


def _written(options: _Options) -> tuple[Corpus, dict[str, Any]]:
    from countermark.audit.text.reading import open_corpus

    corpus = open_corpus(Path(options.subject))
    known = {"name": corpus.name, "weights": None, "sampler": "as handed in"}
    return corpus, {**known, "seed": None, "drawn": corpus.count}


def _write(writer: Writer, options: _Options, progress: ProgressFactory) -> tuple[Corpus, dict[str, Any]]:
    """Let a language model write."""
    from countermark.audit.text.reading import Corpus

    prompts, count, report = _prompts(options) or ("",), options.samples or 200, progress("draw")
    texts = []
    for number in range(count):
        prompt = prompts[number % len(prompts)]
        texts.append(writer.write(prompt, tokens=options.tokens, seed=options.seed + number))
        report(number + 1, count, "replies")
    subject = {"name": writer.name, "weights": _weights(options.subject), "sampler": type(writer).__name__}
    return Corpus.of(texts, writer.name), {**subject, "seed": options.seed, "drawn": count}


def _extract(
    writer: Writer | None, corpus: Corpus, held_out: Corpus, options: _Options, progress: ProgressFactory
) -> dict[str, Any]:
    """Ask how likely the model is to go on as training texts do, beside held-out texts."""
    from countermark.audit.text.extraction import Sampling, cut_pairs, extract

    if writer is None:
        raise UsageProblem("--extract needs a model, not outputs that it made")
    places = getattr(writer, "places", None)
    asked, control = (
        cut_pairs(texts, options.extract, places=places, seed=options.seed) for texts in (corpus, held_out)
    )
    return extract(writer, asked, control, sampling=Sampling(), progress=progress("extract"))


def _record(session: Session, options: _Options, document: dict[str, Any], files: list[Path]) -> Audit:
    """Sign and log the audit. Outputs that were handed in are attached to a title on its holder's word."""
    from countermark.workflows.audit import record_audit
    from countermark.workflows.office import load

    with session.office() as office:
        if options.title is not None and document["subject"]["weights"] is None:
            raise InputError(
                "the outputs are not known to be of title {title}",
                hint="Audit the model's folder instead; outputs that were handed in prove nothing about a model.",
                title=options.title,
            )
        with office.store.transaction() as transaction:
            if options.title is not None:
                load(transaction, "title", options.title)
        return record_audit(office, document, title=options.title, reports=digests_of(files))


def digests_of(files: Sequence[Path]) -> dict[str, str]:
    """Return what ``sha256sum`` says of files, as ``sha256:…`` by name."""
    from countermark.core.canonical import show_digest
    from countermark.marking.image.files import content_digest

    return {file.name: show_digest(content_digest(file)) for file in files}


def _describe(session: Session, document: Mapping[str, Any], files: list[Path], audit: Audit | None) -> str:
    decision, data = document["decision"], document["data"]
    rows = [
        (session.tr("answer"), _answer(session, document)),
        (
            session.tr("flagged"),
            session.tr(
                "{flagged} of {count}, at a false discovery rate of {rate} %; {least} copies would be enough",
                flagged=decision["flagged"],
                count=len(document["items"]),
                rate=f"{100 * document['method']['fdr']:g}",
                least=decision["smallest_flaggable"],
            ),
        ),
        (
            session.tr("share copied"),
            session.tr(
                "at least {share} % with {confidence} % confidence",
                share=f"{100 * decision['at_least']:.3g}",
                confidence=f"{100 * decision['confidence']:g}",
            ),
        ),
        (session.tr("whole model"), _whole(session, document["model_test"])),
        (session.tr("training data"), f"{data['train']['name']}  {data['train']['count']:,}"),
        (session.tr("held out"), f"{data['held_out']['name']}  {data['held_out']['count']:,}"),
        (session.tr("report"), ", ".join(map(str, files))),
    ]
    if audit is not None:
        recorded = session.tr("{audit}, log entry {index}", audit=audit.id, index=audit.log_index)
        rows.append((session.tr("recorded"), recorded))
    return card(rows)


def _answer(session: Session, document: Mapping[str, Any]) -> str:
    status = _status(document)
    if status == COPIES:
        return session.tr("copies of training items were found")
    if status == NONE:
        return session.tr("no copies were found")
    if document["decision"]["at_least"] > 0:
        return session.tr("no single output can be called a copy, yet some of them are: see the share")
    return session.tr("none found, but there were too few held-out items to flag any")


def _whole(session: Session, test: Mapping[str, Any] | None) -> str:
    if test is None or test["p"] is None:
        return session.tr("not testable with these data")
    return session.tr(
        "p = {p}: the training set ranks {rank} among {sets} unseen sets (least possible p {floor})",
        p=f"{test['p']:.3g}",
        rank=test["rank"],
        sets=test["sets"],
        floor=f"{test['floor']:.3g}",
    )
