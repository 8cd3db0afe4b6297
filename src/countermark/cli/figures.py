"""Amounts, shares, parties and acts as people read them: what the nouns of the market share.

An amount is an integer in the smallest unit wherever it is typed, stored or printed as JSON; for people it stands
beside the money that it means: ``123.45 CNY (12345)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session
from countermark.cli.text import Row, card

if TYPE_CHECKING:
    from countermark.workflows.office import Office

#: Arguments and options that several commands take.
AMOUNT = click.IntRange(min=1)
DAYS = click.IntRange(min=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """How the amounts and accounts of one office are shown."""

    session: Session
    currency: str
    names: Mapping[str, str]  # by address in lower case

    def money(self, amount: int) -> str:
        """Return an amount of the smallest unit as money, with the amount itself beside it."""
        whole, part = divmod(int(amount), 100)
        return f"{whole:,}.{part:02d} {self.currency} ({amount})"

    def who(self, address: str) -> str:
        """Return the name behind an address of the ledger, or the address where it is not known here."""
        return self.names.get(address.lower(), address)


def figures(session: Session, office: Office) -> Figures:
    """Return how an office's amounts and accounts are shown."""
    from countermark.workflows.market.history import known_accounts

    symbol = office.ledger.view("SettlementToken", "symbol")
    return Figures(session=session, currency=str(symbol), names=known_accounts(office))


def holder(office: Office, name: str) -> str | None:
    """Return a party's name, or None where the office itself is named: by its name or id."""
    return None if name in (office.name, office.id) else name


def share(bps: int) -> str:
    """Return basis points as a percentage."""
    return f"{bps / 100:g} %"


def answer_act(session: Session, done: Mapping[str, Any], text: str, rows: list[Row] | None = None) -> None:
    """Print what an act came to: one sentence, then where it stands on ledger and log."""
    proof = [
        (session.tr("done at"), str(done["time"])),
        (session.tr("transaction"), str(done["transaction"])),
        (session.tr("log"), session.tr("entry {index}", index=done["log_index"])),
    ]
    session.answer("act", done, f"{text}\n{card([*(rows or []), *proof])}")
