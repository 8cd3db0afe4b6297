"""One HTML file that holds a whole audit: words, figures and pictures, without network and without scripts.

Laws:
    the page names no address outside itself, and its content security policy forbids any;
    equal documents and pictures give equal bytes;
    whatever stands in a document stands in the page as text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from countermark.audit.report import gallery, passages
from countermark.audit.report.passages import Passages
from countermark.audit.report.pictures import Pictures
from countermark.audit.report.reading import Part, escape
from countermark.audit.report.sections import (
    checking,
    compared,
    copied_share,
    limits,
    note,
    ranks,
    summary,
    whole_model,
)
from countermark.audit.report.style import STYLE
from countermark.audit.report.words import cautions, found, heading, verdict
from countermark.core.canonical import canonical_json
from countermark.errors import InputError, StorageError
from countermark.i18n import LANGUAGES, tr

#: Nothing is loaded, and no style but the page's own.
_POLICY = "default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
_TAGS = {"en": "en", "zh": "zh-Hans"}


def render(document: Mapping[str, Any], pictures: Pictures | Passages | None = None, *, lang: str = "en") -> str:
    """Return the page of an audit.

    Args:
        document: of ``countermark.audit.result``; parts that are missing or malformed are left out.
        pictures: for images ``Pictures``, for texts ``Passages``; without them the page goes without.
        lang: of ``i18n.LANGUAGES``.
    """

    def say(template: str, /, **params: object) -> str:
        return tr(template, lang, **params)

    read = Part(document)
    kind = passages if read.text("kind") == "texts" else gallery
    first, rest = kind.all_parts(say, read, pictures)
    title = heading(say, read)
    verdict_style = "copies" if found(read) else "none"
    body = [
        f'<header class="{verdict_style}"><p class="kicker">{escape(say("Memorization audit"))} · '
        f"{escape(read.part('subject').text('name'))}</p>\n<h1>{escape(title)}</h1>",
        f'<p class="verdict">{escape(verdict(say, read))}</p>',
        *(f'<p class="caution">{escape(words)}</p>' for words in cautions(say, read)),
        summary(say, read) + "</header>",
        first,
        ranks(say, read),
        whole_model(say, read),
        copied_share(say, read),
        *rest,
        compared(say, read),
        limits(say, read),
        checking(say, read, _digest(document)),
        f"<footer>{note(say('Made by Countermark. The page needs no network and runs no scripts.'))}</footer>",
    ]
    return _shell(title, "\n".join(part for part in body if part), _TAGS.get(lang, "en"))


def write_report(
    directory: Path,
    document: Mapping[str, Any],
    pictures: Pictures | Passages | None = None,
    *,
    langs: Sequence[str] = LANGUAGES,
) -> list[Path]:
    """Write report.html, report.zh.html and report.json, the document in canonical JSON (RFC 8785).

    Args:
        directory: made if missing.
        document: as in ``render``.
        pictures: as in ``render``.
        langs: of the pages; English has no tag in its name.

    Returns:
        The files in that order, the JSON last.

    Raises:
        InputError: the document cannot be written as canonical JSON.
        StorageError: the directory cannot be made or a file not be written.
    """
    files = {
        directory / ("report.html" if lang == LANGUAGES[0] else f"report.{lang}.html"): render(
            document, pictures, lang=lang
        ).encode("utf-8")
        for lang in langs
    }
    files[directory / "report.json"] = canonical_json(document)
    for target, data in files.items():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except OSError as error:
            raise StorageError("cannot write {path}", path=target) from error
    return list(files)


def _digest(document: Mapping[str, Any]) -> str:
    """Return what ``sha256sum report.json`` prints; nothing where the document has no canonical form."""
    try:
        return hashlib.sha256(canonical_json(document)).hexdigest()
    except InputError:
        return ""


def _shell(title: str, body: str, language: str) -> str:
    allowed = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest=allowed)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
