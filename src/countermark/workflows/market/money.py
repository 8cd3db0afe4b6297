"""Money: deposits behind the settlement token, allowances, credits, shares and the licensees' own reports.

The token is a claim on deposits at a bank. Taking fiat in and paying it out is the treasurer's act outside the ledger;
each carries the bank's reference, here as a salted digest. Credits are claimed by their owner and by nobody else.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from countermark.core.canonical import digest
from countermark.core.events import checksum_address
from countermark.errors import ConflictError
from countermark.registry import Grant, Party
from countermark.workflows.market.acts import Call, act, check_amount, read_party
from countermark.workflows.market.documents import salted_digest
from countermark.workflows.market.history import known_accounts
from countermark.workflows.office import Office, load

#: In the order of ``Revenue.Reason``: a pot paid out (proceeds of a resale, refunds, bonds), the platform's fee,
#: revenue of a title, an ancestor's share, a holder's split, money that a ruling awarded.
CREDIT_REASONS = ("payout", "fee", "revenue", "royalty", "split", "forfeit")


def issue_money(office: Office, to: str | None, amount: int, reference: str) -> dict[str, Any]:
    """Issue tokens for a deposit, as treasurer. One bank reference is issued for once, however often it is repeated.

    Args:
        office: where.
        to: party that paid in, or the account (``0x…``) of a member that another office serves; the office itself if
            None.
        amount: in the smallest unit.
        reference: of the bank's booking.

    Raises:
        ConflictError: the reference stands for another deposit.
    """
    address, note = _address(office, to), reference_digest(office, reference)
    call = Call(
        contract="SettlementToken",
        function="mint",
        args=(address, check_amount(amount), note),
        event="Issued",
    )
    subject = {"to": address, "amount": amount, "reference": note.hex()}
    done = act(office, "issue-money", call, subject=subject, order=f"issue:{note.hex()}")
    return _same_booking(done, amount, done["to"] == address)


def _address(office: Office, name: str | None) -> str:
    if name is None:
        return office.ledger.address_of(office.account)
    if re.fullmatch("0x[0-9a-fA-F]{40}", name):
        return checksum_address(bytes.fromhex(name[2:]))
    return read_party(office, name).address


def redeem_money(office: Office, holder: str | None, amount: int, reference: str) -> dict[str, Any]:
    """Give tokens back for a payment out of the deposit, as their holder. One reference counts once.

    Arguments and errors as of ``issue_money``.
    """
    owner, note = None if holder is None else read_party(office, holder), reference_digest(office, reference)
    call = Call(contract="SettlementToken", function="redeem", args=(check_amount(amount), note), event="Redeemed")
    subject, who = {"amount": amount, "reference": note.hex()}, office.id if owner is None else owner.id
    done = act(office, "redeem-money", call, by=owner, subject=subject, order=f"redeem:{who}:{note.hex()}")
    return _same_booking(done, amount, True)


def _same_booking(done: dict[str, Any], amount: int, same_party: bool) -> dict[str, Any]:
    if done["amount"] != amount or not same_party:
        raise ConflictError(
            "that bank reference stands for another booking: {booked}",
            hint="Each booking of the bank has a reference of its own.",
            booked=done["amount"],
        )
    return done


def reference_digest(office: Office, reference: str) -> bytes:
    """Return what stands on the ledger for a bank reference: a digest under the office's secret salt, 32 bytes.

    The salt is the same for all references of an office, so that one booking cannot be used twice.
    """
    salt = salted_digest(office, "bank-reference-salt", {})
    return digest("bank-reference/1", salt + reference.strip().encode())


def balance(office: Office, holder: str | None) -> dict[str, int]:
    """Return the money of a party, or of the office if None: ``tokens`` it has and ``credit`` it can claim."""
    address = office.ledger.address_of(office.account) if holder is None else read_party(office, holder).address
    return {
        "tokens": int(office.ledger.view("SettlementToken", "balanceOf", address)),
        "credit": int(office.ledger.view("Revenue", "creditOf", address)),
    }


def claim(office: Office, holder: str | None) -> dict[str, Any]:
    """Move the whole credit of a party, or of the office if None, into its account. Refused under a hold."""
    owner = None if holder is None else read_party(office, holder)
    call = Call(contract="Revenue", function="claim", args=(), event="Claimed")
    return act(office, "claim", call, by=owner, subject={})


def credits_by_reason(office: Office) -> dict[str, dict[str, int]]:
    """Return what every account was ever credited, by name and reason, in the smallest unit."""
    names, found = known_accounts(office), dict[str, dict[str, int]]()
    for event in office.index.named("Credited"):
        account, reason = str(event.args["account"]), CREDIT_REASONS[int(event.args["reason"])]
        row = found.setdefault(names.get(account.lower(), account), {})
        row[reason] = row.get(reason, 0) + int(event.args["amount"])
    return found


def set_splits(office: Office, title: int, splits: list[tuple[str, int]]) -> dict[str, Any]:
    """Share a title's revenue, after fee and ancestors, with other parties; the rest stays with the holder.

    Args:
        office: where.
        title: whose holder acts.
        splits: party and basis points, at most 8, 10,000 in all. They end when the title changes hands.
    """
    with office.store.transaction() as transaction:
        holder = str(load(transaction, "title", title)["holder"])
    accounts = [read_party(office, name).address for name, _ in splits]
    shares = [bps for _, bps in splits]
    call = Call(contract="Revenue", function="setSplits", args=(title, accounts, shares), event="SplitsSet")
    subject = {"title": title, "accounts": accounts, "bps": shares}
    return act(office, "set-splits", call, by=read_party(office, holder), subject=subject)


def report_revenue(
    office: Office, grant: int, *, since: datetime, until: datetime, gross: int, note: str = ""
) -> dict[str, Any]:
    """Report what a licensee earned under a grant in a period, and pay the share that its terms ask.

    Args:
        office: where.
        grant: the grant.
        since: start of the period, included; not before the end of the last one reported.
        until: its end, excluded.
        gross: revenue of the period, in the smallest unit; a report of 0 is one too.
        note: the statement behind it; the ledger holds its salted digest.
    """
    with office.store.transaction() as transaction:
        given = Grant.from_json(load(transaction, "grant", grant))
        share = int(load(transaction, "offer", given.offer)["terms"].get("revenue_share_bps", 0))
    period = (int(since.timestamp()), int(until.timestamp()))
    licensee, subject = read_party(office, given.licensee), {"grant": grant, "from": period[0], "to": period[1]}
    body = {**subject, "gross": gross, "note": note}
    report = salted_digest(office, "revenue-report", body)
    due = (check_amount(gross, "gross revenue") if gross else 0) * share // 10_000
    if due:
        allow(office, licensee, due, subject)
    call = Call(contract="Revenue", function="report", args=(grant, *period, gross, report), event="Reported")
    return act(office, "report-revenue", call, by=licensee, subject=subject, order=f"report:{grant}:{period[0]}")


def allow(office: Office, payer: Party | None, amount: int, purpose: dict[str, Any]) -> None:
    """Let the vault take exactly this amount from an account, for one purpose; nothing moves yet.

    Args:
        office: where.
        payer: whose account; the office's own if None.
        amount: in the smallest unit.
        purpose: subject of the act that follows.
    """
    vault = office.ledger.deployment["contracts"]["Revenue"]
    call = Call(contract="SettlementToken", function="approve", args=(vault, amount), event="Approval")
    act(office, "allow", call, by=payer, subject={**purpose, "amount": amount})
