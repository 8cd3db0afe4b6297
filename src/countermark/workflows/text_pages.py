"""Show how a text agrees with the licensee who was named: a page of it, every token shaded.

A page is made anew from suspect and key, and is no part of the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from countermark.core.canonical import show_digest
from countermark.core.payload import permute, read_identifier
from countermark.errors import StorageError
from countermark.marking.image.files import content_digest
from countermark.marking.text.files import read_texts
from countermark.marking.text.page import shaded_page
from countermark.marking.text.sampling import TextMark
from countermark.registry import Grant, Title
from countermark.tracing import ATTRIBUTED
from countermark.workflows.languages import title_tokenizer
from countermark.workflows.office import Office, load
from countermark.workflows.trace import Trace

# Between the texts of one file, as the replies of a chat.
_BREAK = "\n\n\u2015\n\n"


@dataclass(frozen=True, slots=True)
class Caption:
    """What a page says around its text; the fields are those of ``shaded_page``."""

    heading: str
    facts: Sequence[tuple[str, str]]
    legend: tuple[str, str, str]
    language: str


def write_pages(
    office: Office,
    suspects: Sequence[Path],
    traces: Sequence[Trace],
    folder: Path,
    caption: Callable[[Trace], Caption],
    *,
    models: Sequence[Path] = (),
) -> dict[str, Path]:
    """Write a page for every answer that names a text's licensee: NAME.marks.html, NAME.2.marks.html and so on.

    Args:
        office: where.
        suspects: the files that were traced.
        traces: the answers about them, of ``workflows.trace``; of a pool there are no pages.
        folder: made if missing.
        caption: returns what the page of an answer says.
        models: as in ``trace_files``.

    Returns:
        The page of each trace that has one, by the trace's id.

    Raises:
        StorageError: the folder cannot be made, or a page not be written.
    """
    pages: dict[str, Path] = {}
    for suspect in suspects:
        digest = show_digest(content_digest(suspect))
        named = [
            trace
            for trace in traces
            if trace.suspect == digest and trace.method == TextMark.METHOD and trace.verdict == ATTRIBUTED
        ]
        texts = read_texts(suspect) or [] if named else []
        for number, trace in enumerate(named, 1):
            target = folder / f"{suspect.name}{'' if number == 1 else f'.{number}'}.marks.html"
            _write(target, _page(office, texts, trace, caption(trace), models))
            pages[trace.id] = target
    return pages


def _page(office: Office, texts: Sequence[str], trace: Trace, caption: Caption, models: Sequence[Path]) -> str:
    with office.store.transaction() as transaction:
        title = Title.from_json(load(transaction, "title", trace.title))
        grant = Grant.from_json(load(transaction, "grant", trace.grant))
    tokenizer = title_tokenizer(office, title, models)
    key = office.detection_key(title.weights_root, TextMark.METHOD, trace.epoch or 0)
    mark, word = TextMark(key.embedding), permute(key.permutation, read_identifier(grant.identifier))
    places, scores, begin = list[tuple[int, int]](), [np.zeros(0)], 0
    for text in texts:
        places += [(begin + start, begin + end) for start, end in tokenizer.places(text)]
        scores.append(mark.scores(tokenizer.encode(text), word))
        begin += len(text) + len(_BREAK)
    return shaded_page(
        _BREAK.join(texts),
        places,
        np.concatenate(scores),
        heading=caption.heading,
        facts=caption.facts,
        legend=caption.legend,
        language=caption.language,
    )


def _write(target: Path, page: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise StorageError("cannot write {path}", path=target) from error
