"""What the contracts' refusals mean, by the name of the custom error: one block for each contract.

A template may use the error's arguments, under their ABI names in snake_case and without ``_id``: ``titleId`` is
``{title}``, ``weightsRoot`` is ``{weights_root}``. An error that several contracts share stands in ``_COMMON``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from countermark.core.exchange import SALE_STATES
from countermark.core.statements import CaseState, Remedy
from countermark.core.subjects import show_subject
from countermark.core.times import from_unix, show_time
from countermark.errors import (
    AlreadyRegistered,
    ComplaintRefused,
    ConflictError,
    CountermarkError,
    DerivativeRefused,
    GrantExpired,
    GrantRevoked,
    IdentityMissing,
    InputError,
    LedgerError,
    NotAParty,
    NotFoundError,
    NotImpartial,
    NotTitleHolder,
    OfferExpired,
    OnHold,
    OutOfTime,
    PriceChanged,
    ProofInvalid,
    RightsError,
    ShortPayment,
    SignatureInvalid,
    TermsViolated,
    TitleInDispute,
)

ROLE_NAMES = (
    "governor",
    "registrar",
    "licensor",
    "licensee",
    "anchorer",
    "regulator",
    "arbiter",
    "expert",
    "treasurer",
    "marker",
)


class Meaning(NamedTuple):
    """The error that a refusal becomes, its template and its hint."""

    kind: type[CountermarkError]
    template: str
    hint: str = ""


_COMMON = {
    "EmptyDigest": Meaning(InputError, "a digest or commitment is empty"),
    "AmountOutOfRange": Meaning(InputError, "amount {amount} is out of range: 1 to 9007199254740991"),
    "NotTitleHolder": Meaning(NotTitleHolder, "{account} does not hold title {title}"),
    "TitleTagged": Meaning(
        TitleInDispute,
        "title {title} is tagged by a ruling",
        "Neither it nor a model derived from it is sold or licensed before the tag is lifted.",
    ),
    "TooEarly": Meaning(OutOfTime, "too early: that can be done from {time} on"),
    "RoyaltyTooHigh": Meaning(InputError, "{bps} basis points are more than the contract allows"),
    "ResaleNotAllowed": Meaning(TermsViolated, "the terms of grant {grant} do not allow a resale"),
    "ERC721NonexistentToken": Meaning(NotFoundError, "the ledger has no token {token}"),
    "ERC721InsufficientApproval": Meaning(NotTitleHolder, "{operator} may not act for the holder of token {token}"),
}

_MEMBERS = {
    "MissingRole": Meaning(
        RightsError,
        "{account} is not a member in force with the role {role}",
        "A governor admits it: countermark party add NAME --role ROLE --address 0x... (an office: operator). "
        "A suspended or expired membership has no role.",
    ),
    "UnknownMember": Meaning(NotFoundError, "the ledger has no member {account}"),
    "InvalidMember": Meaning(InputError, "a member needs an address, known roles and an end in the future"),
    "GovernorMustRemain": Meaning(ConflictError, "a governor cannot take its own role away"),
    "InvalidHold": Meaning(InputError, "a hold is about a subject of a known kind and ends within 90 days"),
    "NotHeld": Meaning(ConflictError, "{subject} is not held"),
    "OnHold": Meaning(
        OnHold,
        "{subject} is held by the regulator until {until}",
        "Refunds and evidence go on; a transfer, sale or claim waits until the hold ends or is released.",
    ),
}

_DIRECTORY = {
    "AlreadyFounded": Meaning(ConflictError, "the deployment is founded already, or by another account"),
    "InvalidValue": Meaning(InputError, "{value} is no value for {name}"),
    "UnknownName": Meaning(NotFoundError, "the directory does not name {name}"),
    "NotTheContract": Meaning(RightsError, "only the contract {name} may do that, not {account}"),
    "UnknownProposal": Meaning(NotFoundError, "there is no open proposal {proposal}, or it is another governor's"),
    "AlreadyApproved": Meaning(ConflictError, "{account} approved proposal {proposal} before"),
    "ProposalFull": Meaning(ConflictError, "proposal {proposal} has all the approvals that it can collect"),
    "NotActiveYet": Meaning(ConflictError, "proposal {proposal} cannot take effect before {active_from}"),
    "ProposalLapsed": Meaning(
        ConflictError,
        "proposal {proposal} has lapsed: 30 days after its delay it can no longer take effect",
        "Propose it again.",
    ),
    "TooFewApprovals": Meaning(RightsError, "proposal {proposal} has {approvals} approvals in force of {threshold}"),
}

_ANCHORS = {
    "SizeMustGrow": Meaning(ConflictError, "the log is anchored at size {size} already"),
    "NotTheAnchorer": Meaning(RightsError, "that log is anchored by {anchorer}"),
}

_MODEL_TITLES = {
    "AlreadyRegistered": Meaning(AlreadyRegistered, "these weights are registered as title {title}"),
    "UnknownTitle": Meaning(NotFoundError, "the ledger has no title {title}"),
    "DerivativeNotAllowed": Meaning(
        DerivativeRefused,
        "title {title} does not allow this derived model at that share",
        "Declare the share that its terms ask for, or let its holder approve these weights.",
    ),
    "TooManyAncestors": Meaning(DerivativeRefused, "a model has at most 8 ancestors, those of its parents included"),
    "TitleLocked": Meaning(ConflictError, "title {title} is locked for sale {sale}"),
    "MarketNotAccepted": Meaning(
        RightsError,
        "the holder of title {title} has not accepted {market} as its market",
        "Use: countermark title accept-market",
    ),
    "TitleNotLocked": Meaning(ConflictError, "title {title} is locked for no sale"),
    "DeedRequired": Meaning(
        RightsError, "title {title} passes on by deed or by a sale only", "Use: countermark title transfer"
    ),
}

_GRANTS = {
    "UnknownOffer": Meaning(NotFoundError, "the ledger has no offer {offer}"),
    "OfferNotOpen": Meaning(ConflictError, "offer {offer} was withdrawn"),
    "EmptyScope": Meaning(InputError, "an offer allows at least one act"),
    "InvalidDuration": Meaning(
        InputError, "an offer needs an end: a duration or a time; and a renewable one needs a duration"
    ),
    "TooManySeats": Meaning(InputError, "an offer counts at most 256 seats, got {seats}; 0 stands for any number"),
    "NoFreeSeat": Meaning(TermsViolated, "every seat of offer {offer} is taken in that window"),
    "InvalidWindow": Meaning(
        InputError, "a grant's window ends after it starts, in the future, and within the conditions of its offer"
    ),
    "CommitmentUsed": Meaning(ConflictError, "that commitment was used before"),
    "EmptyBatch": Meaning(InputError, "a batch holds at least one identifier"),
    "NotRevocable": Meaning(TermsViolated, "the terms of grant {grant} do not allow revocation"),
    "AlreadyRevoked": Meaning(GrantRevoked, "grant {grant} is revoked already"),
    "NoNotice": Meaning(ConflictError, "no notice to grant {grant} is running"),
    "NoticeStayed": Meaning(ConflictError, "notice to grant {grant} waits until case {case} is decided"),
    "GrantEnded": Meaning(GrantExpired, "grant {grant} has ended"),
    "NotRenewable": Meaning(TermsViolated, "the terms of grant {grant} do not allow renewal"),
    "SaleRequired": Meaning(RightsError, "grant {grant} passes on by a resale on the market only"),
}

_DISPUTES = {
    "UnknownKind": Meaning(InputError, "a case has no kind {kind}"),
    "UnknownSubject": Meaning(NotFoundError, "the ledger has no such subject: {subject}"),
    "NotConcerned": Meaning(
        NotAParty,
        "{subject} is no matter between {claimant} and {respondent}",
        "A title is brought against its holder, a grant or a sale by one of its parties against another.",
    ),
    "UnknownCase": Meaning(NotFoundError, "the ledger has no case {case}"),
    "WrongState": Meaning(ConflictError, "case {case} is {case_state}, which does not allow that"),
    "NotAParty": Meaning(NotAParty, "{account} is not the party to case {case} that may do that"),
    "IsAParty": Meaning(NotImpartial, "{account} is a party to case {case}"),
    "AlreadyResponded": Meaning(ConflictError, "case {case} was answered before"),
    "SameArbiter": Meaning(NotImpartial, "{account} made the ruling on case {case} that is appealed"),
    "UnfitRemedies": Meaning(InputError, "{remedies} does not fit: such a ruling allows {fitting}"),
    "TooLate": Meaning(OutOfTime, "too late: that could be done before {time}"),
    "NoTagToLift": Meaning(ConflictError, "{account} has no tag on title {title}"),
    "BadSignature": Meaning(SignatureInvalid, "{expert} did not sign that statement for this ledger"),
    "StatementExpired": Meaning(OutOfTime, "the statement expired at {expires_at}"),
    "StatementUsed": Meaning(ConflictError, "that statement was handed in, or taken back, before"),
    "UnknownStatement": Meaning(NotFoundError, "the ledger has no statement {statement}"),
    "NotTheExpert": Meaning(NotAParty, "{account} did not make statement {statement}"),
}

_SETTLEMENT_TOKEN = {
    "ReferenceUsed": Meaning(ConflictError, "that bank reference was used before"),
    "OnlyByTheVault": Meaning(
        InputError,
        "tokens reach the vault {vault} only as a payment",
        "Pay on the market; nothing else is booked there.",
    ),
    "ERC20InsufficientBalance": Meaning(ShortPayment, "{sender} has {balance}, {needed} are needed"),
    "ERC20InsufficientAllowance": Meaning(ShortPayment, "{spender} may take {allowance}, {needed} are needed"),
}

_REVENUE = {
    "ZeroAmount": Meaning(InputError, "an amount is at least 1"),
    "ShortPayment": Meaning(
        ShortPayment,
        "{needed} are due, and the vault may take {allowed}",
        "Both the payer's balance and its allowance to the vault have to reach what is due.",
    ),
    "ShortPot": Meaning(ConflictError, "{needed} are asked of a pot that holds {available}"),
    "FeeTooHigh": Meaning(InputError, "a fee of {fee_bps} basis points is more than the vault takes"),
    "NothingToClaim": Meaning(NotFoundError, "{account} has no credit to claim"),
    "NotGrantHolder": Meaning(NotAParty, "{account} does not hold grant {grant}"),
    "InvalidSplits": Meaning(
        InputError, "revenue is shared with at most 8 accounts, 1 basis point or more each and 10,000 in all"
    ),
    "InvalidPeriod": Meaning(
        InputError,
        "the period from {from} to {to} cannot be reported",
        "A period starts at or after the grant's start and the end of the last report, and ends in the past.",
    ),
    "NoRevenueShare": Meaning(TermsViolated, "the terms of grant {grant} ask for no share of revenue"),
}

_MARKET = {
    "InvalidExpiry": Meaning(InputError, "an offer has to end in the future, not at {expires_at}"),
    "GrantNotInForce": Meaning(TermsViolated, "grant {grant} is not in force"),
    "UnknownSale": Meaning(NotFoundError, "the ledger has no sale {sale}"),
    "WrongKind": Meaning(InputError, "sale {sale} is of another kind", "Titles, licences and resales differ."),
    "SaleNotOpen": Meaning(ConflictError, "sale {sale} is not open: it was withdrawn, paid or settled"),
    "SaleNotPaid": Meaning(ConflictError, "sale {sale} is not waiting for delivery"),
    "AlreadyOffered": Meaning(ConflictError, "the grant is offered already by sale {sale}"),
    "OfferExpired": Meaning(OfferExpired, "the offer of sale {sale} has expired", "Ask the seller for a new offer."),
    "NotSeller": Meaning(NotAParty, "{account} is not the seller of sale {sale}, which has not expired"),
    "NotBuyer": Meaning(NotAParty, "{account} is no party of sale {sale}"),
    "PriceChanged": Meaning(PriceChanged, "the price is {price}, more than the {max_price} agreed to"),
    "FeeChanged": Meaning(
        PriceChanged, "the platform's fee is {fee_bps} basis points, more than the {max_fee_bps} agreed to"
    ),
    "NotOnMarket": Meaning(
        TermsViolated,
        "offer {offer} is not for sale",
        "It was withdrawn, has expired, or is granted by its holder only.",
    ),
    "CasePending": Meaning(ConflictError, "a case about {subject} is pending", "It can go on once the case is closed."),
    "NoBond": Meaning(NotFoundError, "no bond stands behind grant {grant}"),
    "IdentityMissing": Meaning(
        IdentityMissing,
        "{account} has no proof of identity in force, which this market asks of sellers and buyers",
        "A registrar records it: countermark party identify",
    ),
}

_FILE_SALES = {
    "BlocksOutOfRange": Meaning(InputError, "a file has 1 to 1099511627776 blocks, not {blocks}"),
    "UnknownListing": Meaning(NotFoundError, "the ledger has no listing {listing}"),
    "ListingNotOpen": Meaning(ConflictError, "listing {listing} is not open: it was withdrawn, or has expired"),
    "ListingFull": Meaning(
        ConflictError, "listing {listing} has sold all the copies that one bond answers for", "List the title again."
    ),
    "BondNotFree": Meaning(
        ConflictError,
        "no bond of listing {listing} comes back now",
        "It waits until 30 days after the last sale was over, and for every case about one of them.",
    ),
    "NotTheSeller": Meaning(NotAParty, "{account} is not the seller of listing {listing}"),
    "NotTheService": Meaning(NotAParty, "{account} did not deliver file sale {sale}"),
    "GrantOfAnotherTitle": Meaning(InputError, "grant {grant} is not under title {title}"),
    "KeyUsed": Meaning(ConflictError, "that key sealed another package", "Seal the copy again, with a fresh key."),
    "WrongKey": Meaning(InputError, "that is not the key of file sale {sale}"),
    "WrongSaleState": Meaning(ConflictError, "file sale {sale} is {sale_state}, where that cannot be done"),
    "BlockOutOfRange": Meaning(InputError, "there is no block {index}; the file has {blocks}"),
    "WrongBlockLength": Meaning(InputError, "a block has 512 bytes, not {length}"),
    "PathInvalid": Meaning(ProofInvalid, "block {index} is not one that file sale {sale} commits to"),
    "BlockIsRight": Meaning(
        ComplaintRefused,
        "block {index} of file sale {sale} is what was promised",
        "Opening the package names the first block that is wrong, if one is.",
    ),
}

MEANINGS: dict[str, Meaning] = {
    **_COMMON,
    **_MEMBERS,
    **_DIRECTORY,
    **_ANCHORS,
    **_MODEL_TITLES,
    **_GRANTS,
    **_SETTLEMENT_TOKEN,
    **_REVENUE,
    **_MARKET,
    **_FILE_SALES,
    **_DISPUTES,
}


def explain(error: str, arguments: dict[str, Any]) -> CountermarkError:
    """Return what a refusal means.

    Args:
        error: name of the custom error; it becomes ``params["error"]``.
        arguments: by their ABI names in snake_case, without ``_id``; bytes as 32 bytes.
    """
    shown = {name: _SHOWN.get(name, _plain)(value) for name, value in arguments.items()}
    meaning = MEANINGS.get(error)
    if meaning is None:
        return LedgerError("the contract refused: {error} {arguments}", error=error, arguments=shown)
    return meaning.kind(meaning.template, hint=meaning.hint, error=error, **shown)


def show_roles(mask: int) -> str:
    """Return the names of the roles of a mask, ``member`` for none."""
    return " and ".join(name for bit, name in enumerate(ROLE_NAMES) if mask >> bit & 1) or "member"


def _show_subject(subject: bytes) -> str:
    return show_subject(subject).replace(":", " ")


def _show_remedies(mask: int) -> str:
    return " and ".join(remedy.name or "" for remedy in Remedy(mask)).lower() or "no remedy"


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _show_time(value: Any) -> Any:
    """Return a time for people; what is no number has the name of a time by chance, and not every number is a date."""
    try:
        return show_time(from_unix(value)) if isinstance(value, int) else value
    except InputError:
        return value


_SHOWN: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("time", "until", "active_from", "expires_at", "from", "to"), _show_time),
    "case_state": lambda state: CaseState(state).name.lower(),
    "sale_state": lambda state: dict(enumerate(SALE_STATES, 1)).get(state, state),
    "remedies": _show_remedies,
    "fitting": _show_remedies,
    "role": show_roles,
    "subject": _show_subject,
    "name": lambda name: name.rstrip(b"\0").decode("ascii", "replace"),
}
