"""``countermark verify``: for a stranger, with the core of the package alone."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.edge import COULD_NOT_TELL
from countermark.cli.session import Session, current, read_file
from countermark.cli.shell import Command
from countermark.cli.text import is_utf8, pad, plain, width
from countermark.cli.verify_text import conclusion, meanings
from countermark.errors import CountermarkError, InputError

if TYPE_CHECKING:
    from countermark.evidence.steps import Detail
    from countermark.evidence.verification import Demand, VerifiedBundle
    from countermark.marking import Detection

_BUNDLE_LIMIT = 64 * 2**20
_TRUST_LIMIT = 2**20
_KEY_LIMIT = 4096


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--trust", type=click.Path(path_type=Path), metavar="FILE", help="Trust file, obtained by another way.")
@click.option(
    "--suspect",
    "suspects",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="The file that the case is about; give it once for each file of a pool. Of an audit: the model's directory, a "
    "file of its report, or a digest.",
)
@click.option("--case", metavar="TEXT", help="Demand that the statement is for this case.")
@click.option("--audience", metavar="TEXT", help="Demand that the statement is for this audience.")
@click.option("--alpha", type=float, default=1e-6, show_default=True, help="Demand both p-values at this level.")
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Disclosed key: read the suspect again.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="PATH",
    help="The model's tokenizer.json, or its folder: to read a text again.",
)  # fmt: skip
def verify(
    bundle: Path,
    trust: Path | None,
    suspects: tuple[Path, ...],
    case: str | None,
    audience: str | None,
    alpha: float,
    key: Path | None,
    tokenizer: Path | None,
) -> int:
    """Verify a bundle offline, step by step. Needs no workspace, no network and no extras.

    Exit status: 0 verified, which takes --trust and --suspect; 1 a step does not hold; 3 self-consistent, but without
    trust file or suspect nobody has vouched for the issuer, or for what it is about.

    That the observations came from the suspect is the office's word. With --key, which the office discloses to an
    expert, the suspect is read again here; this alone needs the extra "image", or "text" and the model's tokenizer.

    The bundle of an audit holds every score: p-values, rank test and verdict are computed again from them. That they
    were measured on this model is the office's word. Its --suspect is the model's directory, a file of the report, or a
    digest that the document names, as sha256:…

    Example:
      countermark verify case.zip --trust trust.json --suspect suspect.jpg --case 2026-017
      countermark verify case.zip --trust trust.json --suspect post.txt --key key.json --tokenizer tokenizer.json
      countermark verify audit.zip --trust trust.json --suspect MODEL_DIR
    """
    from countermark.evidence.verification import VERIFIED
    from countermark.evidence.verification import verify as check

    session = current()
    demand = _demand(trust, suspects, case, audience, alpha)
    data = read_file(bundle, limit=_BUNDLE_LIMIT)
    steps = _Steps(session)
    try:
        verified = check(data, demand, on_step=steps.passed)
    except CountermarkError as error:
        steps.failed(error)
        raise
    reading = _read_again(data, verified, suspects, key, tokenizer, alpha) if key else None
    caveats = _caveats(verified, reading)
    told = conclusion(session, verified, caveats, reading)
    session.answer("verification", _document(verified, caveats, reading), told)
    return 0 if verified.outcome == VERIFIED else COULD_NOT_TELL


def _read_again(
    data: bytes,
    verified: VerifiedBundle,
    suspects: Sequence[Path],
    key: Path,
    tokenizer: Path | None,
    alpha: float,
) -> Detection:
    from countermark.evidence.rereading import read_embedding_key, reread
    from countermark.marking.text.tokens import TextTokenizer

    if verified.kind != "trace":
        raise InputError("the bundle of an audit has no mark to read again", hint="Leave --key out.")
    if not suspects:
        raise InputError("give the suspect, to read it again", hint="With --suspect FILE.")
    is_text = "tokenizer" in verified.statement
    if is_text and tokenizer is None:
        raise InputError("give the model's tokenizer, to read a text again", hint="With --tokenizer PATH.")
    disclosed = read_embedding_key(read_file(key, limit=_KEY_LIMIT))
    examined = {each["suspect"] for each in verified.statement.get("pictures", ()) if each["examined"]}
    given = (path for path in suspects if len(suspects) == 1 or _file_digest(path) in examined)
    opened = TextTokenizer.open(tokenizer) if is_text and tokenizer else None
    return reread(data, verified, _contents(given, is_text), disclosed, alpha=alpha, tokenizer=opened)


def _contents(paths: Iterable[Path], is_text: bool) -> Iterable[Any]:
    """Return what is read of suspects: the texts in each, or pixels."""
    from countermark.marking.image.files import read_pixels
    from countermark.marking.text.files import read_texts

    return ((read_texts(path) or []) if is_text else read_pixels(path) for path in paths)


def _caveats(verified: VerifiedBundle, reading: Detection | None) -> tuple[str, ...]:
    return tuple(slug for slug in verified.caveats if reading is None or slug != "reading-not-repeated")


def _demand(
    trust: Path | None, suspects: Sequence[Path], case: str | None, audience: str | None, alpha: float
) -> Demand:
    from countermark.evidence.trust import read_trust
    from countermark.evidence.verification import Demand

    if not 0 < alpha <= 0.05:  # "not a number" would let everything pass
        raise InputError("alpha lies between 0 and 0.05, not at {alpha}", alpha=alpha)
    return Demand(
        trust=read_trust(read_file(trust, limit=_TRUST_LIMIT)) if trust else None,
        suspect=_suspect(suspects),
        case=case,
        audience=audience,
        alpha=alpha,
    )


def _suspect(paths: Sequence[Path]) -> str | None:
    """Return what a statement about these files names: the digest of one, or of the pool of several."""
    from countermark.marking.reading import pool_digest

    digests = [_file_digest(path) for path in paths]
    return pool_digest(digests) if len(digests) > 1 else next(iter(digests), None)


def _file_digest(path: Path) -> str:
    """Return what a statement names a suspect by: a file by its digest, a model's directory by its weights root."""
    if re.fullmatch("sha256:[0-9a-f]{64}", str(path)):
        return str(path)
    if path.is_dir():
        from countermark.artifact import digest_model, survey

        return f"sha256:{digest_model(survey(path)).content_root.hex()}"
    try:
        with path.open("rb") as stream:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=path, reason=error.strerror) from error


class _Steps:
    """Prints each step as it is done."""

    def __init__(self, session: Session) -> None:
        self._session, self._meaning = session, meanings(session)
        self._yes, self._no = ("✓", "✗") if is_utf8(sys.stdout) else ("ok", "NO")
        self._column = max(map(width, self._meaning.values()))

    def passed(self, number: int, name: str, detail: Detail) -> None:
        self._print(self._yes, number, name, plain(self._session.tr(detail.template, **detail.params)))

    def failed(self, error: CountermarkError) -> None:
        if "step" in error.params:
            number, name = int(str(error.params["step"])), str(error.params["step_name"])
            self._print(self._no, number, name, self._session.tr("does not hold"))

    def _print(self, sign: str, number: int, name: str, detail: str) -> None:
        if self._session.json or self._session.quiet:
            return
        click.echo(f"{sign} {number:2} {pad(self._meaning.get(name, name), self._column)}  {detail}".rstrip())


def _document(verified: VerifiedBundle, caveats: Sequence[str], reading: Detection | None) -> dict[str, Any]:
    return {
        "outcome": verified.outcome,
        "kind": verified.kind,
        "statement": dict(verified.statement),
        "stamped_at": verified.stamped_at.isoformat().replace("+00:00", "Z"),
        "caveats": list(caveats),
        "read_again": None if reading is None else {"p_value": reading.p_value, "searched": reading.searched},
        "steps": [{"step": number, "name": name, "detail": str(detail)} for number, name, detail in verified.steps],
    }
