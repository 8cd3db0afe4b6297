"""The ledger's numbers and names in words: roles, remedies, states, subjects, parameters.

Each table stands in the order of the contracts; a test holds it against them.
"""

from __future__ import annotations

from countermark.cli.figures import Figures, share
from countermark.cli.session import Session


def role_words(session: Session) -> list[str]:
    """Return the role of each bit of a member's roles (``Members.sol``)."""
    return [
        session.tr("governor"),
        session.tr("registrar"),
        session.tr("licensor"),
        session.tr("licensee"),
        session.tr("anchorer"),
        session.tr("regulator"),
        session.tr("arbiter"),
        session.tr("expert"),
        session.tr("treasurer"),
        session.tr("marking service"),
    ]


def remedy_words(session: Session) -> dict[str, str]:
    """Return what each bit of a ruling's remedies does (``Disputes.sol``), by its name on the command line."""
    return {
        "tag": session.tr("the title is tagged and its money withheld"),
        "untag": session.tr("the tag is taken back"),
        "revoke": session.tr("the grant ends"),
        "forfeit": session.tr("the withheld money goes to the claimant"),
        "slash": session.tr("the bond goes to the claimant"),
    }


def case_kind_words(session: Session) -> dict[str, str]:
    """Return what each kind of a case claims, from kind 1 on (``Disputes.Kind``), by its name on the command line."""
    return {
        "ownership": session.tr("ownership of the title"),
        "breach": session.tr("an act outside the terms"),
        "leak": session.tr("marked outputs where they should not be"),
        "delivery": session.tr("what was paid for did not come"),
        "quality": session.tr("the right bytes, but no good"),
        "payment": session.tr("revenue not reported or not paid"),
        "other": session.tr("something else"),
    }


def case_state_words(session: Session) -> dict[str, str]:
    """Return each state of a case, from state 1 on (``Disputes.State``), by its name."""
    return {
        "open": session.tr("open"),
        "ruled": session.tr("ruled"),
        "appealed": session.tr("appealed"),
        "final": session.tr("final"),
        "executed": session.tr("executed"),
        "withdrawn": session.tr("withdrawn"),
        "lapsed": session.tr("lapsed"),
    }


def credit_words(session: Session, title: object) -> list[str]:
    """Return what each reason of a credit means (``Revenue.Reason``)."""
    return [
        session.tr("paid out of escrow"),
        session.tr("platform fee, title {title}", title=title),
        session.tr("revenue of title {title}", title=title),
        session.tr("royalty of title {title}", title=title),
        session.tr("share in the revenue of title {title}", title=title),
        session.tr("awarded by ruling, title {title}", title=title),
    ]


def subject_words(session: Session, figures: Figures, subject: str) -> str:
    """Return a subject such as ``title:3`` in words."""
    kind, _, name = subject.partition(":")
    if kind == "account":
        return session.tr("the account of {name}", name=figures.who(name))
    known = {
        "title": session.tr("title {number}", number=name),
        "grant": session.tr("grant {number}", number=name),
        "sale": session.tr("sale {number}", number=name),
        "file-sale": session.tr("file sale {number}", number=name),
        "listing": session.tr("listing {number}", number=name),
        "offer": session.tr("offer {number}", number=name),
        "case": session.tr("case {number}", number=name),
        "proposal": session.tr("proposal {number}", number=name),
    }
    return known.get(kind, subject)


def traded_words(session: Session, kind: int, number: object) -> str:
    """Return what is sold by a market sale (``Market.Kind``)."""
    known = {
        1: session.tr("title {number}", number=number),
        2: session.tr("a licence under offer {offer}", offer=number),
        3: session.tr("grant {number}", number=number),
    }
    return known.get(kind, str(number))


def setting(figures: Figures, name: str, value: int) -> str:
    """Return the value of a parameter of the Directory, or the address of a contract, as people read it."""
    if name == "market.fee":
        return share(value)
    if name == "case.bond":
        return figures.money(value)
    if name == "market.currency":
        return value.to_bytes(32, "big").rstrip(b"\0").decode("ascii", "replace")
    if name == "governance.delay":
        return figures.session.tr("{seconds} seconds", seconds=value)
    if "." in name and not name.endswith(".account"):
        return str(value)
    return figures.who(f"0x{value:040x}")


def time_of(seconds: object) -> str:
    """Return a time of the ledger."""
    from countermark.core.times import from_unix, show_time

    return show_time(from_unix(int(str(seconds))))
