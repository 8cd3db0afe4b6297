"""``countermark whose``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, read_file
from countermark.cli.shell import Command
from countermark.cli.text import table
from countermark.errors import InputError, UsageProblem

if TYPE_CHECKING:
    from countermark.marking.text.foreign.registry import Finding
    from countermark.marking.text.tokens import TextTokenizer

FOUND, NOTHING, UNKNOWN = 0, 1, 3
_STATUS = {FOUND: "found", NOTHING: "not-found", UNKNOWN: "not-examined"}


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--schemes", required=True, type=click.Path(path_type=Path), metavar="FILE.json", help="The schemes to look for."
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Model folder, or tokenizer.json, for schemes that name none.",
)
@click.option("--alpha", type=float, default=1e-6, show_default=True, help="Level, after correction for all schemes.")
def whose(files: tuple[Path, ...], schemes: Path, tokenizer: Path | None, alpha: float) -> int:
    """Say whose watermark a text carries, among the schemes that others ship.

    The list of schemes is a JSON list of objects with a name, a scheme and its parameters: kgw and synthid of
    transformers, gumbel of vLLM. Several files are read as one text. What a text repeats counts once, and p-values are
    corrected for all schemes examined; make the list before you look at the text. Needs no workspace.

    Exit status: 0 a watermark was found; 1 none; 3 none, and some could not be examined.

    Example:
      countermark whose leak.txt --tokenizer model --schemes schemes.json

    where schemes.json is, for instance, [{"name": "engine", "scheme": "gumbel", "key": 42}].
    """
    from countermark.marking.text.foreign.registry import MAX_FILE_BYTES, parse_schemes
    from countermark.marking.text.foreign.registry import whose as examine

    session = current()
    if not 0 < alpha <= 0.05:  # "not a number" would find everything
        raise InputError("alpha lies between 0 and 0.05, not at {alpha}", alpha=alpha)
    candidates = parse_schemes(read_file(schemes, limit=MAX_FILE_BYTES))
    texts = [text for file in files for text in _texts(file)]
    findings = examine(candidates, texts, lambda path: _open(tokenizer, schemes, path))
    document = {"texts": len(texts), "alpha": alpha, "schemes": [_document(each, alpha) for each in findings]}
    session.answer("whose", document, _describe(session, findings, alpha))
    return _status(findings, alpha)


def _texts(file: Path) -> list[str]:
    from countermark.marking.text.files import read_texts

    texts = read_texts(file)
    if not texts:
        raise InputError("{path} holds no text", path=file)
    return texts


def _open(tokenizer: Path | None, schemes: Path, path: str | None) -> TextTokenizer:
    """Open the tokenizer at a path below the list's folder, or the usual one."""
    from countermark.marking.text.tokens import TextTokenizer

    if path is not None:
        return TextTokenizer.open(schemes.parent / path)
    if tokenizer is None:
        raise UsageProblem("give --tokenizer: not every scheme names its own")
    return TextTokenizer.open(tokenizer)


def _status(findings: Sequence[Finding], alpha: float) -> int:
    if any(each.found(alpha) for each in findings):
        return FOUND
    return UNKNOWN if any(each.corrected is None for each in findings) else NOTHING


def _document(finding: Finding, alpha: float) -> dict[str, Any]:
    from countermark.marking import Detection

    scheme, seen = finding.scheme, finding.detection
    known = {"name": scheme.name, "scheme": scheme.KIND, "method": scheme.method}
    status = {"status": _STATUS[_status([finding], alpha)]}
    if not isinstance(seen, Detection):
        return known | status | {"reason": seen.reason, "detail": seen.detail}
    numbers = {"p_value": seen.p_value, "p_corrected": finding.corrected, "statistic": seen.statistic}
    return known | status | numbers | {"trials": seen.trials, "observations": seen.observations}


def _describe(session: Session, findings: Sequence[Finding], alpha: float) -> str:
    head = [session.tr("scheme"), session.tr("p-value"), session.tr("corrected"), session.tr("result")]
    lines = table(head, [_row(session, each, alpha) for each in findings])
    names = ", ".join(each.scheme.name for each in findings if each.found(alpha))
    said = [
        session.tr("The text carries the watermark of {names}, at level {alpha}.", names=names, alpha=f"{alpha:g}")
        if names
        else session.tr("No watermark was found at level {alpha}.", alpha=f"{alpha:g}"),
        session.tr(
            "A p-value is the chance that text which does not depend on a scheme's key looks so marked. Whoever knows "
            "the key can write such text."
        ),
    ]
    return "\n\n".join((lines, *said))


def _row(session: Session, finding: Finding, alpha: float) -> list[str]:
    from countermark.marking import Detection

    name, seen = finding.scheme.name, finding.detection
    if not isinstance(seen, Detection):
        return [name, "-", "-", session.tr("not examined: {reason}", reason=seen.detail)]
    answer = session.tr("its watermark") if finding.found(alpha) else session.tr("nothing found")
    return [name, f"{seen.p_value:.2g}", f"{finding.corrected:.2g}", answer]
