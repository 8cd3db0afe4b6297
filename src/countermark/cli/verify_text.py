"""What ``countermark verify`` says: each step in a line, and what a bundle proves and does not prove, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from countermark.cli.audit_records import finding_rows, verdict
from countermark.cli.session import Session
from countermark.cli.text import Row, card, plain, wrap

if TYPE_CHECKING:
    from countermark.evidence.verification import VerifiedBundle
    from countermark.marking import Detection

_COLUMNS = 100


def conclusion(
    session: Session, verified: VerifiedBundle, caveats: Sequence[str], reading: Detection | None = None
) -> str:
    """Return what a verified bundle comes to.

    Args:
        session: whose language it is told in.
        verified: the bundle.
        caveats: those that still hold.
        reading: of the suspect, read again here, or None.
    """
    from countermark.evidence.verification import VERIFIED

    sure = verified.outcome == VERIFIED
    heading = (
        session.tr("VERIFIED") if sure else session.tr("SELF-CONSISTENT, ISSUER UNKNOWN: this is not a verification")
    )
    told = _trace(session, verified) if verified.kind == "trace" else _audit(session, verified)
    rows = [
        *told.rows,
        (session.tr("case"), verified.statement["case"]),
        (session.tr("audience"), verified.statement["audience"]),
        (session.tr("stamped"), verified.stamped_at.isoformat()),
    ]
    if reading is not None:
        again = session.tr("the same word, with p = {p}", p=f"{reading.p_value:.2g}")
        rows.append((session.tr("read again"), again))
    issuer = (
        told.issuer
        if sure
        else session.tr("The parts agree with each other. Anybody can make a bundle of which this is true.")
    )
    logged = session.tr("The log held the entries, and its head was anchored and stamped, when the stamp says.")
    known = caveat_sentences(session)
    doubts = [told.never, *(known.get(caveat, plain(caveat)) for caveat in caveats)]
    return "\n".join(
        [
            "",
            heading,
            card(rows),
            *_listed(session.tr("What this proves"), [issuer, told.follows, logged]),
            *_listed(session.tr("What this does not prove"), doubts),
        ]
    )


class _Told(NamedTuple):
    """What differs by the kind of bundle: the card, whose word it is, what follows, what is never proven."""

    rows: list[Row]
    issuer: str
    follows: str
    never: str


def _trace(session: Session, verified: VerifiedBundle) -> _Told:
    stated = verified.statement
    rows = [
        (session.tr("suspect"), _stated_suspect(session, stated)),
        (session.tr("grant"), f"{stated['grant']}  ({session.tr('title')} {stated['title']})"),
        (session.tr("licensee"), _licensee(verified)),
        ("p_ours", f"{stated['p_ours']['value']:.2g}"),
        ("p_innocent", f"{stated['p_innocent']['value']:.2g}"),
    ]
    issuer = session.tr("The office that the trust file names made this statement about this very file.")
    follows = (
        session.tr(
            "From the observations in the bundle, both probabilities follow by arithmetic. The log entry of this "
            "grant's output holds a digest of the signs that were recognized."
        )
        if stated["read"] == "recorded"
        else session.tr(
            "From the soft observations in the bundle, both probabilities and the identifier follow by arithmetic. "
            "The identifier is this grant's: neither side chose it alone, and the ledger holds its commitment."
        )
    )
    never = session.tr(
        "That the mark was not copied onto this file from another, or put there by a dishonest key holder."
    )
    return _Told(rows, issuer, follows, never)


def _audit(session: Session, verified: VerifiedBundle) -> _Told:
    stated = verified.statement
    about, found = stated["about"], stated["findings"]
    rows = [
        (session.tr("audit"), stated["audit"]),
        (session.tr("result"), verdict(session, found)),
        *finding_rows(session, found),
        (session.tr("title"), str(stated["title"] or "-")),
        (session.tr("weights"), about["weights"] or "-"),
        (session.tr("samples"), about["samples"]),
    ]
    issuer = session.tr("The office that the trust file names made this statement about this very model or report.")
    follows = session.tr(
        "From the scores in the document, p-values, flags, the rank test and the verdict follow by arithmetic."
    )
    never = session.tr(
        "That the model holds no copies where none was found: these outputs showed none that this measure sees."
    )
    return _Told(rows, issuer, follows, never)


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


def _listed(heading: str, sentences: Iterable[str]) -> list[str]:
    lines = ["", heading]
    for sentence in sentences:
        first, *rest = wrap(sentence, _COLUMNS - 4)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return lines


def meanings(session: Session) -> dict[str, str]:
    """Return what each step of ``evidence.verification.STEPS`` checks, of traces and of audits, in one line."""
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
        "record": session.tr("the office signed the record of the audit, and the log holds it"),
        "decision": session.tr("p-values, rank test and verdict follow from the scores"),
    }


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
        "audit-not-repeated": session.tr(
            "That the scores were measured on this model's outputs and these data: the office says so, until somebody "
            "repeats the audit."
        ),
        "audited-model-unnamed": session.tr("Which model it is about: the document names the samples alone."),
        "audited-model-unregistered": session.tr("Whose model it is: its weights have no title with the office."),
    }
