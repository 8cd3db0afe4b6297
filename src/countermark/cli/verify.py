"""``countermark verify``: for a stranger, with the core of the package alone."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.edge import COULD_NOT_TELL
from countermark.cli.session import Session, current, read_file
from countermark.cli.shell import Command
from countermark.cli.text import card, is_utf8, pad, plain, width, wrap
from countermark.errors import CountermarkError, InputError

if TYPE_CHECKING:
    from countermark.evidence.steps import Detail
    from countermark.evidence.verification import Demand, VerifiedBundle
    from countermark.marking import Detection

_COLUMNS = 100
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
    help="The file that the case is about; give it once for each file of a pool.",
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

    Example:
      countermark verify case.zip --trust trust.json --suspect suspect.jpg --case 2026-017
      countermark verify case.zip --trust trust.json --suspect post.txt --key key.json --tokenizer tokenizer.json
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
    session.answer("verification", _document(verified, reading), _conclusion(session, verified, reading))
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


def _document(verified: VerifiedBundle, reading: Detection | None) -> dict[str, Any]:
    return {
        "outcome": verified.outcome,
        "statement": dict(verified.statement),
        "stamped_at": verified.stamped_at.isoformat().replace("+00:00", "Z"),
        "caveats": list(_caveats(verified, reading)),
        "read_again": None if reading is None else {"p_value": reading.p_value, "searched": reading.searched},
        "steps": [{"step": number, "name": name, "detail": str(detail)} for number, name, detail in verified.steps],
    }


def _conclusion(session: Session, verified: VerifiedBundle, reading: Detection | None) -> str:
    from countermark.evidence.verification import VERIFIED

    stated, sure = verified.statement, verified.outcome == VERIFIED
    heading = (
        session.tr("VERIFIED") if sure else session.tr("SELF-CONSISTENT, ISSUER UNKNOWN: this is not a verification")
    )
    rows = [
        (session.tr("suspect"), _stated_suspect(session, stated)),
        (session.tr("grant"), f"{stated['grant']}  ({session.tr('title')} {stated['title']})"),
        (session.tr("licensee"), _licensee(verified)),
        ("p_ours", f"{stated['p_ours']['value']:.2g}"),
        ("p_innocent", f"{stated['p_innocent']['value']:.2g}"),
        (session.tr("case"), stated["case"]),
        (session.tr("audience"), stated["audience"]),
        (session.tr("stamped"), verified.stamped_at.isoformat()),
    ]
    if reading is not None:
        again = session.tr("the same word, with p = {p}", p=f"{reading.p_value:.2g}")
        rows.append((session.tr("read again"), again))
    return "\n".join(
        [
            "",
            heading,
            card(rows),
            *_listed(session.tr("What this proves"), proofs(session, sure, str(stated["read"]))),
            *_listed(session.tr("What this does not prove"), limits(session, _caveats(verified, reading))),
        ]
    )


def _stated_suspect(session: Session, stated: Mapping[str, Any]) -> str:
    if "region" in stated:
        return session.tr("{suspect}  (in its part {region})", suspect=stated["suspect"], region=stated["region"])
    pictures = len(stated.get("pictures", ()))
    if not pictures:
        return str(stated["suspect"])
    named = {"suspect": stated["suspect"], "count": pictures}
    if "tokenizer" in stated:
        return session.tr("{suspect}  (a pool of {count} texts)", **named)
    return session.tr("{suspect}  (a pool of {count} pictures)", **named)


def _licensee(verified: VerifiedBundle) -> str:
    (named,) = (detail.params["licensee"] for _, name, detail in verified.steps if name == "grant")
    return f"{plain(str(named))}  ({verified.statement['licensee']})"


def _listed(heading: str, sentences: list[str]) -> list[str]:
    lines = ["", heading]
    for sentence in sentences:
        first, *rest = wrap(sentence, _COLUMNS - 4)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return lines


def meanings(session: Session) -> dict[str, str]:
    """Return what each step of ``evidence.verification.STEPS`` checks, in one line."""
    return {
        "contents": session.tr("the file holds the members of a bundle, within their limits"),
        "issuer": session.tr("it names the office and the ledger of the trust file"),
        "statement": session.tr("the office signed the statement, which binds every member"),
        "audience": session.tr("the statement is about what was asked"),
        "checkpoint": session.tr("the head of the log is signed and time-stamped"),
        "history": session.tr("the log extends every checkpoint known before"),
        "anchor": session.tr("the ledger anchors this head; receipts and blocks fit"),
        "entries": session.tr("the log contains the entries"),
        "parties": session.tr("both parties are members that the ledger admitted"),
        "title": session.tr("the title is to this model; its owner signed the manifest"),
        "offer": session.tr("the title holder offered these terms"),
        "grant": session.tr("the licensee accepted them; the ledger holds the grant"),
        "identifier": session.tr("the identifier was committed to, and chosen by neither side"),
        "key": session.tr("the detection key was committed to beforehand"),
        "presence": session.tr("p_ours follows from the observations"),
        "attribution": session.tr("the word is this grant's; p_innocent follows"),
        "request": session.tr("the licensee signed the request for the output"),
        "coverage": session.tr("the terms give the stated answer about the use"),
    }


def proofs(session: Session, sure: bool, read: str) -> list[str]:
    """Return what the steps prove, in sentences, of an answer that was ``read`` in one of the ways of ``tracing``."""
    issuer = (
        session.tr("The office that the trust file names made this statement about this very file.")
        if sure
        else session.tr("The parts agree with each other. Anybody can make a bundle of which this is true.")
    )
    follows = (
        session.tr(
            "From the observations in the bundle, both probabilities follow by arithmetic. The log entry of this "
            "grant's output holds a digest of the signs that were recognized."
        )
        if read == "recorded"
        else session.tr(
            "From the soft observations in the bundle, both probabilities and the identifier follow by arithmetic. "
            "The identifier is this grant's: neither side chose it alone, and the ledger holds its commitment."
        )
    )
    return [
        issuer,
        follows,
        session.tr("The log held the entries, and its head was anchored and stamped, when the stamp says."),
    ]


def limits(session: Session, caveats: tuple[str, ...]) -> list[str]:
    """Return what the steps do not prove: what never is, and a sentence for each caveat."""
    known = caveat_sentences(session)
    return [
        session.tr("That the mark was not copied onto this file from another, or put there by a dishonest key holder."),
        *(known.get(caveat, plain(caveat)) for caveat in caveats),
    ]


def caveat_sentences(session: Session) -> dict[str, str]:
    """Return the sentence of each caveat of ``evidence.verification``."""
    return {
        "ledger-self-attested": session.tr(
            "That the ledger is what others saw: it is the office's own, and vouched for by the office alone."
        ),
        "ledger-blocks-not-checked": session.tr(
            "That the ledger holds these blocks: the office says so; compare their hashes with a node that you trust."
        ),
        "suspect-not-checked": session.tr("Which file it is about: no suspect was given (--suspect)."),
        "case-not-checked": session.tr("That it was made for your case: none was given (--case)."),
        "audience-not-checked": session.tr("That it was made for you: no audience was given (--audience)."),
        "log-history-not-checked": session.tr(
            "That everybody was shown the same log: no earlier checkpoint was known to compare with."
        ),
        "licensee-key-held-by-office": session.tr(
            "That the licensee itself accepted and asked: the office holds its key and could have signed for it."
        ),
        "no-signed-request": session.tr(
            "That the licensee asked for any such output: no signed request is included. A lead, not an accusation."
        ),
        "reading-not-repeated": session.tr(
            "That the observations were read from this file: the office says so, and only its key could repeat it."
        ),
        "output-linked-by-likeness": session.tr(
            "That the suspect came from the logged output: the two look alike, and are not the same bytes."
        ),
    }
