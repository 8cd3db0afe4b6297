"""What each event of our contracts concerns: the words that the index finds it under.

One line for each event: ``kind:argument`` for everything that it concerns, first what it happens to. What stands after
``<`` is what that begins under: a grant begins under an offer, so the offer's history holds the grant's whole life.
A test holds the table against the contracts' ABI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from countermark.core.subjects import show_subject

SUBJECTS: Mapping[str, Mapping[str, str]] = {
    "Members": {
        "Admitted": "account:account",
        "Suspended": "account:account",
        "KeyRotated": "account:account account:by",
        "Identified": "account:account account:registrar",
        "Held": "subject:subject account:regulator",
        "Released": "subject:subject account:regulator",
    },
    "Directory": {
        "Proposed": "proposal:proposalId account:by",
        "Approved": "proposal:proposalId account:by",
        "Withdrawn": "proposal:proposalId account:by",
        "Activated": "proposal:proposalId",
    },
    "Anchors": {
        "Anchored": "log:logId",
        "HandedOver": "log:logId account:anchorer",
    },
    "ModelTitles": {
        "TitleRegistered": "title:titleId account:holder",
        "KeyCommitted": "title:titleId",
        "Derived": "title:titleId title:parentId",
        "DerivativeTermsSet": "title:titleId",
        "DerivativeApproved": "title:titleId",
        "TitleAssigned": "title:titleId account:from account:to",
        "StatusChanged": "title:titleId case:caseId",
        "Locked": "title:titleId sale:saleId",
        "Unlocked": "title:titleId",
        "MarketAccepted": "title:titleId",
        "MetadataUpdate": "title:_tokenId",
        "BatchMetadataUpdate": "",
        "Transfer": "title:tokenId account:from account:to",
        "Approval": "title:tokenId account:owner account:approved",
        "ApprovalForAll": "account:owner account:operator",
    },
    "Grants": {
        "Offered": "offer:offerId < title:titleId",
        "OfferWithdrawn": "offer:offerId",
        "Granted": "grant:grantId < offer:offerId title:titleId account:licensee",
        "Revoked": "grant:grantId",
        "NoticeWithdrawn": "grant:grantId",
        "Resold": "grant:grantId grant:newGrantId account:from account:to",
        "Renewed": "grant:grantId",
        "Struck": "grant:grantId case:caseId",
        "Stayed": "grant:grantId case:caseId",
        "BatchCommitted": "batch:batchId",
        "Transfer": "grant:tokenId account:from account:to",
        "Approval": "grant:tokenId account:owner account:approved",
        "ApprovalForAll": "account:owner account:operator",
    },
    "SettlementToken": {
        "Issued": "account:to",
        "Redeemed": "account:from",
        "Transfer": "account:from account:to",
        "Approval": "account:owner account:spender",
    },
    "Revenue": {
        "Funded": "account:from",
        "Credited": "account:account title:titleId",
        "Claimed": "account:account",
        "Withheld": "title:titleId",
        "WithheldReleased": "title:titleId",
        "Forfeited": "title:titleId account:to",
        "SplitsSet": "title:titleId account:holder account:accounts",
        "Reported": "grant:grantId title:titleId account:licensee",
    },
    "Market": {
        "TitleOffered": "sale:saleId < title:titleId account:seller",
        "GrantOffered": "sale:saleId < grant:grantId account:seller",
        "SaleWithdrawn": "sale:saleId",
        "Paid": "sale:saleId < traded:kind:subjectId account:buyer",
        "Settled": "sale:saleId < sold:kind:subjectId",
        "Refunded": "sale:saleId account:buyer",
        "GrantRenewed": "grant:grantId",
        "BondReturned": "grant:grantId account:to",
        "BondSlashed": "grant:grantId account:to",
    },
    "FileSales": {
        "Listed": "listing:listingId < title:titleId account:seller",
        "ListingWithdrawn": "listing:listingId",
        "Delivered": "file-sale:saleId < listing:listingId grant:grantId account:buyer account:service",
        "Paid": "file-sale:saleId account:buyer",
        "KeyRevealed": "file-sale:saleId",
        "Complained": "file-sale:saleId",
        "Settled": "file-sale:saleId",
        "Refunded": "file-sale:saleId account:buyer",
        "Aborted": "file-sale:saleId",
        "BondSlashed": "file-sale:saleId listing:listingId account:to",
    },
    "Disputes": {
        "CaseOpened": "case:caseId < subject:subject account:claimant account:respondent",
        "Responded": "case:caseId account:respondent",
        "StatementAdded": "case:caseId account:expert",
        "StatementRevoked": "case:caseId account:expert",
        "Ruled": "case:caseId account:arbiter",
        "Appealed": "case:caseId account:appellant",
        "Executed": "case:caseId",
        "CaseWithdrawn": "case:caseId",
        "CaseLapsed": "case:caseId",
        "TagLifted": "title:titleId account:by",
    },
}

#: What a sale is about and what it ends in, by its kind, as in ``contracts/src/Market.sol``.
_TRADED = {1: "title", 2: "offer", 3: "grant"}
_SOLD = {1: "title", 2: "grant", 3: "grant"}


class _Rule(NamedTuple):
    """The words of a line: kind and arguments, before and after ``<``."""

    own: tuple[tuple[str, ...], ...]
    above: tuple[tuple[str, ...], ...]


def subjects_of(contract: str, event: str, args: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what an event concerns, first what it happened to; with each, what began under it.

    Args:
        contract: name from ``CONTRACTS``.
        event: of its ABI.
        args: by name, integers as ``int`` or decimal text, the rest as in ``IndexedEvent``.
    """
    rule = _rule(SUBJECTS.get(contract, {}).get(event, ""))
    found: dict[str, str | None] = dict.fromkeys(_read(rule.own, args))
    begun = next(iter(found), None)
    return found | dict.fromkeys(_read(rule.above, args), begun)


def arguments_of(line: str) -> set[str]:
    """Return the names of the arguments that a line of the table uses."""
    rule = _rule(line)
    return {name for _kind, *names in rule.own + rule.above for name in names}


@lru_cache
def _rule(line: str) -> _Rule:
    own, _, above = line.partition("<")
    return _Rule(*(tuple(tuple(word.split(":")) for word in part.split()) for part in (own, above)))


def _read(words: tuple[tuple[str, ...], ...], args: Mapping[str, Any]) -> Iterator[str]:
    for kind, *names in words:
        yield from _show(kind, *(args[name] for name in names))


def _show(kind: str, *values: Any) -> Iterator[str]:
    value = values[-1]
    if isinstance(value, list):
        for item in value:
            yield from _show(kind, *values[:-1], item)
    elif kind in _READERS:
        yield from _READERS[kind](*values)
    elif int(value):  # number 0 stands for none
        yield f"{kind}:{value}"


def _show_account(address: str) -> Iterator[str]:
    if int(address, 16):
        yield f"account:{address.lower()}"


def _show_word(word: str) -> Iterator[str]:
    shown = show_subject(bytes.fromhex(word[2:]))
    if ":" in shown:
        yield shown


def _show_by_kind(words: Mapping[int, str], kind: int, number: Any) -> Iterator[str]:
    if kind in words:
        yield f"{words[kind]}:{number}"


_READERS: Mapping[str, Callable[..., Iterator[str]]] = {
    "account": _show_account,
    "subject": _show_word,
    "traded": partial(_show_by_kind, _TRADED),
    "sold": partial(_show_by_kind, _SOLD),
    "log": lambda name: iter([f"log:{name}"]),
}
