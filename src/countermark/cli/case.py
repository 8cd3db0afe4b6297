"""``countermark case``: a claim, an answer, what experts sign, a ruling, an appeal, and what it brings about."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import DAYS, Figures, answer_act, figures
from countermark.cli.session import Session, current
from countermark.cli.shell import Group
from countermark.cli.text import Row, card, table
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.workflows.office import Office

_KINDS = click.Choice(("ownership", "breach", "leak", "delivery", "quality", "payment", "other"))
_REMEDIES = click.Choice(("tag", "untag", "revoke", "forfeit", "slash"))
_SIDES = click.Choice(("claimant", "respondent"))
_TEXT = click.option("--text", required=True, metavar="TEXT", help="In words; the ledger holds its salted digest.")
_ARBITER = click.option("--as", "arbiter", required=True, metavar="NAME", help="The arbiter: name or id.")
_FOR = click.option("--for", "side", required=True, type=_SIDES, help="Who is right.")
_REMEDY = click.option("--remedy", "remedies", multiple=True, type=_REMEDIES, help="What follows; may be given twice.")


@click.group(cls=Group)
def case() -> None:
    """Open, answer, decide and execute cases about titles, grants, sales and accounts.

    Anybody may have a case about a title; parties to a grant or a sale about that. Opening and appealing cost a bond,
    which goes to who wins. Without an answer the arbiter goes on after 7 days; a ruling can be appealed for 14.

    Example:
      countermark case open grant:1 --as "Example Studio" --against "Agency North" --kind leak --evidence case.zip
      countermark case show 1
    """


@case.command("open")
@click.argument("subject")
@click.option("--as", "claimant", required=True, metavar="NAME", help="Who claims: name or id.")
@click.option("--against", "respondent", required=True, metavar="NAME", help="Against whom: name or id.")
@click.option("--kind", required=True, type=_KINDS, help="What is claimed.")
@click.option("--evidence", required=True, metavar="FILE|TEXT", help="A file, kept by its digest, or words.")
def open_(subject: str, claimant: str, respondent: str, kind: str, evidence: str) -> None:
    """Open a case about title:1, grant:1, sale:1, file-sale:1 or account:NAME.

    The evidence stays here; the ledger holds a salted digest. A licensee's case about its own grant stops a notice
    that runs against it.

    Example:
      countermark case open grant:1 --as "Example Studio" --against "Agency North" --kind leak --evidence case.zip
    """
    from countermark.workflows.market.cases import open_case

    session, said = current(), _evidence(evidence)
    with session.office() as office:
        done = open_case(office, claimant, subject, respondent, kind=kind, evidence=said)
        rows = _bond_rows(session, figures(session, office), done)
    text = session.tr("Case {case} is open: {claimant} against {respondent}, about {subject}.",
                      case=done["case_id"], claimant=claimant, respondent=respondent, subject=subject)  # fmt: skip
    answer_act(session, done, text, [*rows, (session.tr("evidence"), said)])


@case.command("respond")
@click.argument("case", type=int)
@_TEXT
def respond(case: int, text: str) -> None:
    """Answer a case, as its respondent, once.

    Example:
      countermark case respond 1 --text "The pictures were published under grant 2."
    """
    from countermark.workflows.market.cases import respond as answer

    session = current()
    with session.office() as office:
        done = answer(office, case, text)
    answer_act(session, done, session.tr("Case {case} is answered.", case=case))


@case.command("statement")
@click.argument("case", type=int)
@click.option("--expert", required=True, metavar="NAME", help="The expert: name or id.")
@click.option("--schema", required=True, metavar="NAME", help="What kind of statement, such as image-trace/1.")
@_TEXT
@click.option("--days", default=365, show_default=True, type=DAYS, metavar="N", help="How long it counts.")
def statement(case: int, expert: str, schema: str, text: str, days: int) -> None:
    """Sign a statement about a case as an expert who is no party to it, and hand it in.

    Example:
      countermark case statement 1 --expert "Prof. Chen" --schema image-trace/1 --text "Read again: the same word."
    """
    from countermark.workflows.market.cases import add_statement

    session = current()
    with session.office() as office:
        expires = office.clock() + timedelta(days=days)
        done = add_statement(office, case, expert, schema=schema, text=text, expires=expires)
    rows = [(session.tr("statement"), done["statement_id"])]
    answer_act(session, done, session.tr("{expert} has stated in case {case}.", expert=expert, case=case), rows)


@case.command("retract")
@click.argument("statement")
@click.option("--expert", required=True, metavar="NAME", help="The expert: name or id.")
def retract(statement: str, expert: str) -> None:
    """Take a statement back, as its expert; that it was made stays readable.

    Example:
      countermark case retract 5f0c... --expert "Prof. Chen"
    """
    from countermark.workflows.market.cases import revoke_statement

    session = current()
    with session.office() as office:
        done = revoke_statement(office, statement, expert)
    answer_act(session, done, session.tr("{expert} took the statement back.", expert=expert))


@case.command("stay")
@click.argument("case", type=int)
def stay(case: int) -> None:
    """Stop a notice that was given while a licensee's case about its grant was open, as that licensee.

    Example:
      countermark case stay 1
    """
    from countermark.workflows.market.cases import stay_notice

    session = current()
    with session.office() as office:
        done = stay_notice(office, case)
    text = session.tr("The notice about grant {grant} is stopped.", grant=done["grant_id"])
    answer_act(session, done, text)


@case.command("rule")
@click.argument("case", type=int)
@_ARBITER
@_FOR
@_REMEDY
@_TEXT
def rule(case: int, arbiter: str, side: str, remedies: tuple[str, ...], text: str) -> None:
    """Rule on a case that was answered, or that nobody answered in 7 days, as an arbiter who is no party.

    Remedies for a title: tag (its money is withheld), forfeit (withheld money goes to the claimant), untag. For a
    grant: revoke, slash (the bond goes to the claimant). For a file sale: slash.

    Example:
      countermark case rule 1 --as Arbiter --for claimant --remedy revoke --remedy slash --text "The mark is proven."
    """
    from countermark.workflows.market.cases import rule as decide

    session = current()
    with session.office() as office:
        done = decide(office, case, arbiter, upheld=side == "claimant", remedies=remedies, text=text)
    _answer_ruling(session, case, done, side, remedies)


@case.command("appeal")
@click.argument("case", type=int)
@click.option("--as", "appellant", required=True, metavar="NAME", help="Who appeals: name or id.")
@_TEXT
def appeal(case: int, appellant: str, text: str) -> None:
    """Appeal a ruling within 14 days, as a party, once.

    Example:
      countermark case appeal 1 --as "Agency North" --text "The arbiter did not read the licence."
    """
    from countermark.workflows.market.cases import appeal as contest

    session = current()
    with session.office() as office:
        done = contest(office, case, appellant, text)
        rows = _bond_rows(session, figures(session, office), done)
    answer_act(session, done, session.tr("{name} has appealed in case {case}.", name=appellant, case=case), rows)


@case.command("rule-appeal")
@click.argument("case", type=int)
@_ARBITER
@_FOR
@_REMEDY
@_TEXT
def rule_appeal(case: int, arbiter: str, side: str, remedies: tuple[str, ...], text: str) -> None:
    """Rule on an appeal, for good, as another arbiter than the first. The first ruling does not count any more.

    --for names claimant or respondent of the case, whoever appealed.

    Example:
      countermark case rule-appeal 1 --as "Second Arbiter" --for respondent --text "The grant covers it."
    """
    from countermark.workflows.market.cases import rule_appeal as decide

    session = current()
    with session.office() as office:
        done = decide(office, case, arbiter, upheld=side == "claimant", remedies=remedies, text=text)
    _answer_ruling(session, case, done, side, remedies)


@case.command("execute")
@click.argument("case", type=int)
def execute(case: int) -> None:
    """Bring about what was ruled, once it can no longer be appealed. All bonds go to the party that won.

    Example:
      countermark case execute 1
    """
    from countermark.cli.words import remedy_words
    from countermark.workflows.market.cases import execute as bring_about
    from countermark.workflows.market.cases import read_remedies

    session = current()
    with session.office() as office:
        done = bring_about(office, case)
        awarded = figures(session, office).money(done["amount"])
    words = [remedy_words(session)[name] for name in read_remedies(done["remedies"])]
    rows = [
        (session.tr("remedies"), session.tr(", ").join(words) or session.tr("none")),
        (session.tr("awarded"), awarded),
    ]
    answer_act(session, done, session.tr("The ruling in case {case} is executed.", case=case), rows)


@case.command("withdraw")
@click.argument("case", type=int)
def withdraw(case: int) -> None:
    """Give a case up before its ruling, as its claimant. Once it was answered the respondent gets the bond.

    Example:
      countermark case withdraw 1
    """
    from countermark.workflows.market.cases import withdraw_case

    session = current()
    with session.office() as office:
        done = withdraw_case(office, case)
    answer_act(session, done, session.tr("Case {case} is withdrawn.", case=case))


@case.command("lapse")
@click.argument("case", type=int)
def lapse(case: int) -> None:
    """End the wait for a ruling that did not come in 60 days. A case ends; an appeal leaves the first ruling.

    Example:
      countermark case lapse 1
    """
    from countermark.workflows.market.cases import lapse_case

    session = current()
    with session.office() as office:
        done = lapse_case(office, case)
    answer_act(session, done, session.tr("Nobody ruled in case {case} in time.", case=case))


@case.command("untag")
@click.argument("title", type=int)
@click.option("--as", "claimant", required=True, metavar="NAME", help="Who won the tag: name or id.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger holds its salted digest.")
def untag(title: int, claimant: str, reason: str) -> None:
    """Lift the tag that a party won on a title, for instance after a settlement.

    Example:
      countermark case untag 1 --as "Ming Zhao" --reason "settled on 2027-05-02"
    """
    from countermark.workflows.market.cases import lift_tag

    session = current()
    with session.office() as office:
        done = lift_tag(office, title, claimant, reason=reason)
    answer_act(session, done, session.tr("{name} lifted its tag on title {title}.", name=claimant, title=title))


@case.command("show")
@click.argument("case", type=int)
def show(case: int) -> None:
    """Show a case: who against whom, about what, where it stands, and what was written.

    Example:
      countermark case show 1
    """
    from countermark.workflows.market.cases import show_case

    session = current()
    with session.office() as office:
        found = show_case(office, case)
        rows = _case_rows(session, office, found)
    session.answer("case", found, card(rows))


@case.command("list")
def list_() -> None:
    """List the cases.

    Example:
      countermark case list
    """
    from countermark.cli.words import case_kind_words, case_state_words, subject_words
    from countermark.workflows.market.cases import show_case

    session = current()
    with session.office() as office:
        count = int(office.ledger.view("Disputes", "casesOpened"))
        found, shown = [show_case(office, number) for number in range(1, count + 1)], figures(session, office)
    head = [
        session.tr("case"),
        session.tr("about"),
        session.tr("claimant"),
        session.tr("respondent"),
        session.tr("claim"),
        session.tr("state"),
    ]
    states = case_state_words(session)
    rows = [
        [
            each["case"],
            subject_words(session, shown, each["subject"]),
            shown.who(each["claimant"]),
            shown.who(each["respondent"]),
            case_kind_words(session)[each["kind"]],
            states[each["state"]],
        ]
        for each in found
    ]
    session.answer("cases", {"cases": found}, table(head, rows) if rows else session.tr("There is no case."))


def _case_rows(session: Session, office: Office, found: dict[str, Any]) -> list[Row]:
    from countermark.cli.document import Documents
    from countermark.cli.words import case_kind_words, case_state_words, remedy_words, subject_words

    states = case_state_words(session)
    shown, documents = figures(session, office), Documents(session, office)
    fitting = session.tr(", ").join(found["fitting"]) or session.tr("none")
    rows = [
        (session.tr("case"), str(found["case"])),
        (session.tr("about"), subject_words(session, shown, found["subject"])),
        (session.tr("claimant"), shown.who(found["claimant"])),
        (session.tr("respondent"), shown.who(found["respondent"])),
        (session.tr("claim"), case_kind_words(session)[found["kind"]]),
        (session.tr("evidence"), documents.show(found["evidence_digest"])),
        (session.tr("answer"), documents.show(found["response_digest"])),
        (session.tr("state"), f"{states[found['state']]}  ({found['since']})"),
        *_bond_rows(session, shown, found),
        (session.tr("possible remedies"), fitting),
    ]
    if int(found["ruling_digest"], 16):
        words = [remedy_words(session)[name] for name in found["remedies"]]
        rows += [
            (session.tr("ruled for"), shown.who(found["claimant" if found["upheld"] else "respondent"])),
            (session.tr("remedies"), session.tr(", ").join(words) or session.tr("none")),
            (session.tr("ruling"), documents.show(found["ruling_digest"])),
        ]
    return rows


def _answer_ruling(session: Session, case: int, done: dict[str, Any], side: str, remedies: tuple[str, ...]) -> None:
    from countermark.cli.words import remedy_words

    sides = {"claimant": session.tr("the claimant"), "respondent": session.tr("the respondent")}
    words = [remedy_words(session)[name] for name in remedies]
    rows = [(session.tr("remedies"), session.tr(", ").join(words) or session.tr("none"))]
    answer_act(session, done, session.tr("Case {case} is ruled for {side}.", case=case, side=sides[side]), rows)


def _bond_rows(session: Session, shown: Figures, found: dict[str, Any]) -> list[Row]:
    bonds = [(session.tr("bond"), "bond"), (session.tr("bond of the appeal"), "appeal_bond")]
    return [(label, shown.money(found[name])) for label, name in bonds if found.get(name)]


def _evidence(text: str) -> str:
    """Return the words, or name and digest of the file that they name.

    Raises:
        InputError: the name of a file that is not there, or cannot be read.
    """
    import hashlib

    if not _names_a_file(text):
        return text
    path = Path(text)
    try:
        with path.open("rb") as stream:
            return f"{path.name} sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError(
            "cannot read {path}: {reason}",
            hint="What has a space in it is taken as words.",
            path=path,
            reason=error.strerror,
        ) from error


def _names_a_file(text: str) -> bool:
    """Whether a text is meant as a file: it is one, or one word that looks like the name of one."""
    try:
        if Path(text).is_file():
            return True
    except (OSError, ValueError):
        return False
    return not any(character.isspace() for character in text) and ("/" in text or "." in text)
