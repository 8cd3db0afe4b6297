"""What the ledger's events say in words: one line of a table for each event of each contract.

A line is a template over the event's arguments, in snake case. How an argument is shown follows from its name, or from
what the line itself says (``{"value": "money"}``). An ``echo`` says again what another event of the same transaction
says; what is ``minor`` only prepares an act, or is there for wallets and explorers.

Law:
    every event of every contract has its line, and every field of a line is an argument of its event (a test holds the
    table against the ABIs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countermark.cli.document import Documents
from countermark.cli.figures import Figures, share
from countermark.cli.session import Session
from countermark.cli.text import close_up
from countermark.cli.words import (
    case_kind_words,
    case_state_words,
    credit_words,
    remedy_words,
    role_words,
    setting,
    subject_words,
    time_of,
    traded_words,
)

if TYPE_CHECKING:
    from countermark.workflows.market.history import Step


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of the table. ``shown`` overrides how arguments are shown."""

    template: str
    shown: Mapping[str, str]
    echo: bool
    minor: bool


def say(template: str, shown: Mapping[str, str] | None = None, *, echo: bool = False, minor: bool = False) -> Sentence:
    """Return a line of the table."""
    return Sentence(template, shown or {}, echo, minor)


SENTENCES: Mapping[str, Sentence] = {
    # Members
    "Members.Admitted": say("{account} was admitted as {roles}, {valid_until}.", {"valid_until": "term"}),
    "Members.Suspended": say("{account} was suspended and has no role any more."),
    "Members.KeyRotated": say("{by} replaced the key that {account} signs with."),
    "Members.Identified": say(
        "{registrar} recorded that {account} proved its identity, {valid_until}.", {"valid_until": "term"}
    ),
    "Members.Held": say(
        "{regulator} put a hold on {subject}, {until}. Case: {case_digest}. Reason: {reason_digest}.", {"until": "term"}
    ),
    "Members.Released": say("{regulator} lifted the hold on {subject}. Reason: {reason_digest}."),
    # Directory
    "Directory.Proposed": say("{by} proposed that {name} be {value}, from {active_from} on (proposal {proposal_id})."),
    "Directory.Approved": say("{by} approved proposal {proposal_id}."),
    "Directory.Withdrawn": say("{by} gave proposal {proposal_id} up."),
    "Directory.Activated": say("{name} is {value} now (version {version})."),
    # Anchors
    "Anchors.Anchored": say("The evidence log was anchored at {size} entries, root {root}."),
    "Anchors.HandedOver": say("The evidence log is anchored by {anchorer} from now on."),
    # ModelTitles
    "ModelTitles.TitleRegistered": say("{holder} registered a model: title {title_id}. Weights: {weights_root}."),
    "ModelTitles.KeyCommitted": say("The key that marks outputs of title {title_id} was committed to, epoch {epoch}."),
    "ModelTitles.Derived": say("Title {title_id} derives from title {parent_id} and owes it {bps} of its revenue."),
    "ModelTitles.DerivativeTermsSet": say(
        "Models derived from title {title_id}: {open}, at {bps} of their revenue or more.", {"open": "derivation"}
    ),
    "ModelTitles.DerivativeApproved": say(
        "A model derived from title {title_id} was approved, for {bps} of its revenue. Its weights: {weights_root}."
    ),
    "ModelTitles.TitleAssigned": say("Title {title_id} passed from {from} to {to}. Deed: {deed_digest}."),
    "ModelTitles.StatusChanged": say(
        "Title {title_id} {tagged} ({case_id}).", {"tagged": "tag", "case_id": "tag_case"}
    ),
    "ModelTitles.Locked": say("Title {title_id} cannot move while sale {sale_id} is open.", echo=True),
    "ModelTitles.Unlocked": say("Title {title_id} can move again.", echo=True),
    "ModelTitles.MarketAccepted": say("The holder of title {title_id} lets it be sold on {market}."),
    "ModelTitles.MetadataUpdate": say("The record of title {token_id} changed.", minor=True),
    "ModelTitles.BatchMetadataUpdate": say(
        "The records of titles {from_token_id} to {to_token_id} changed.", minor=True
    ),
    "ModelTitles.Transfer": say("Token of title {token_id}: from {from} to {to}.", minor=True),
    "ModelTitles.Approval": say("{owner} lets {approved} move title {token_id} by deed.", minor=True),
    "ModelTitles.ApprovalForAll": say(
        "{owner} lets {operator} move its titles by deed: {approved}.", {"approved": "yes"}, minor=True
    ),
    # Grants
    "Grants.Offered": say(
        "Offer {offer_id}: a licence of title {title_id} for {price}, bond {bond}, platform fee {fee_bps}. "
        "Terms: {terms_digest}.",
        {"terms_digest": "digest"},
    ),
    "Grants.OfferWithdrawn": say("Offer {offer_id} was withdrawn; what was granted under it stands."),
    "Grants.Granted": say(
        "Grant {grant_id}: {licensee} may use title {title_id} under offer {offer_id}, "
        "from {starts_at} until {expires_at}."
    ),
    "Grants.Revoked": say(
        "The title holder gave notice: grant {grant_id} ends {effective_at}. Reason: {reason_digest}."
    ),
    "Grants.NoticeWithdrawn": say("The title holder took the notice about grant {grant_id} back."),
    "Grants.Resold": say("{from} sold grant {grant_id} on to {to}, who holds it as grant {new_grant_id}."),
    "Grants.Renewed": say("Grant {grant_id} was renewed until {expires_at}."),
    "Grants.Struck": say("Grant {grant_id} was ended by the ruling in case {case_id}."),
    "Grants.Stayed": say("The notice about grant {grant_id} was stopped by case {case_id}."),
    "Grants.BatchCommitted": say(
        "{count} identifiers that name nobody were committed to; {issued_total} are issued in all."
    ),
    "Grants.Transfer": say("Token of grant {token_id}: from {from} to {to}.", minor=True),
    "Grants.Approval": say("{owner} approved {approved} for grant {token_id}, which moves nothing.", minor=True),
    "Grants.ApprovalForAll": say(
        "{owner} approved {operator} for its grants, which moves nothing: {approved}.", {"approved": "yes"}, minor=True
    ),
    # SettlementToken
    "SettlementToken.Issued": say("{amount} were issued to {to}. Bank reference: {bank_reference}."),
    "SettlementToken.Redeemed": say("{from} gave {amount} back for a payment. Bank reference: {bank_reference}."),
    "SettlementToken.Transfer": say("{from} sent {value} to {to}.", {"value": "money"}, echo=True),
    "SettlementToken.Approval": say("{owner} lets {spender} take up to {value}.", {"value": "money"}, minor=True),
    # Revenue
    "Revenue.Funded": say("{from} paid {amount} into escrow with {owner}.", echo=True),
    "Revenue.Credited": say("{account} was credited with {amount}: {reason}.", {"reason": "credit_reason"}),
    "Revenue.Claimed": say("{account} claimed its credit of {amount}."),
    "Revenue.Withheld": say("{amount} that belong to title {title_id} are withheld while a ruling tags it."),
    "Revenue.WithheldReleased": say("{amount} that were withheld for title {title_id} were paid out."),
    "Revenue.Forfeited": say("{amount} that were withheld for title {title_id} went to {to} by ruling."),
    "Revenue.SplitsSet": say("{holder} shares revenue of title {title_id} with {accounts}: {bps}."),
    "Revenue.Reported": say(
        "{licensee} reported {gross} earned under grant {grant_id} from {from} until {to}, and owed {due} of it. "
        "Report: {report_digest}.",
        {"from": "time", "to": "time"},
    ),
    # Market
    "Market.TitleOffered": say(
        "{seller} offered title {title_id} for {price}, platform fee {fee_bps}, until {expires_at} (sale {sale_id}). "
        "Deed: {deed_digest}."
    ),
    "Market.GrantOffered": say(
        "{seller} offered grant {grant_id} for resale at {price}, platform fee {fee_bps}, until {expires_at} "
        "(sale {sale_id})."
    ),
    "Market.SaleWithdrawn": say("Sale {sale_id} was withdrawn."),
    "Market.Paid": say(
        "{buyer} paid {price} and a bond of {bond} for {traded} (sale {sale_id}); the money waits in escrow."
    ),
    "Market.Settled": say(
        "Sale {sale_id} was settled: {fee} to the platform, {royalty} in royalties, {proceeds} to the seller."
    ),
    "Market.Refunded": say("{buyer} got {amount} back for sale {sale_id}."),
    "Market.GrantRenewed": say(
        "{price} were paid to renew grant {grant_id}: {fee} to the platform, {royalty} in royalties, "
        "{proceeds} to the title holder."
    ),
    "Market.BondReturned": say("The bond of grant {grant_id}, {amount}, went back to {to}."),
    "Market.BondSlashed": say("The bond of grant {grant_id}, {amount}, went to {to} by ruling."),
    # FileSales
    "FileSales.Listed": say(
        "{seller} listed the model of title {title_id} for {price} a copy, bond {bond}, until {expires_at} "
        "(listing {listing_id}). Terms: {terms_digest}."
    ),
    "FileSales.ListingWithdrawn": say("Listing {listing_id} was withdrawn; the bond that came back is {bond}."),
    "FileSales.Delivered": say(
        "{service} sealed a copy for {buyer} under grant {grant_id}, {mark_digest}, for {price}, "
        "platform fee {fee_bps}, with a bond of {bond} (file sale {sale_id} of listing {listing_id}).",
        {"mark_digest": "mark"},
    ),
    "FileSales.Paid": say("{buyer} paid {price} for file sale {sale_id}; the money waits in escrow."),
    "FileSales.KeyRevealed": say("The key of file sale {sale_id} was revealed."),
    "FileSales.Complained": say("Block {index} of file sale {sale_id} was proven wrong."),
    "FileSales.Settled": say(
        "File sale {sale_id} was settled: {fee} to the platform, {royalty} in royalties, {proceeds} to the seller."
    ),
    "FileSales.Refunded": say("{buyer} got {amount} for file sale {sale_id}."),
    "FileSales.Aborted": say("File sale {sale_id} came to nothing."),
    "FileSales.BondSlashed": say("The seller's bond behind file sale {sale_id}, {amount}, went to {to} by ruling."),
    # Disputes
    "Disputes.CaseOpened": say(
        "{claimant} opened case {case_id} against {respondent} about {subject}: {kind}, bond {bond}. "
        "Evidence: {evidence_digest}.",
        {"kind": "case_kind"},
    ),
    "Disputes.Responded": say("{respondent} answered in case {case_id}: {response_digest}."),
    "Disputes.StatementAdded": say(
        "{expert} stated as an expert in case {case_id}: {digest}. Good until {expires_at}.", {"digest": "document"}
    ),
    "Disputes.StatementRevoked": say("{expert} took a statement in case {case_id} back."),
    "Disputes.Ruled": say(
        "{arbiter} ruled in case {case_id} for {upheld}. Remedies: {remedies}. Ruling: {ruling_digest}.",
        {"upheld": "side"},
    ),
    "Disputes.Appealed": say("{appellant} appealed in case {case_id}, bond {bond}. Grounds: {grounds_digest}."),
    "Disputes.Executed": say("The ruling in case {case_id} was executed: {remedies}; {amount} awarded."),
    "Disputes.CaseWithdrawn": say("The claimant gave case {case_id} up."),
    "Disputes.CaseLapsed": say("Nobody ruled in case {case_id} in time: {state}.", {"state": "case_state"}),
    "Disputes.TagLifted": say("{by} lifted its tag on title {title_id}. Reason: {reason_digest}."),
}

#: How an argument is shown, by its name; ``_at``, ``_digest`` and ``_bps`` at the end of a name speak for themselves.
_SHOWN = {
    **dict.fromkeys(("amount", "price", "bond", "gross", "due", "fee", "royalty", "proceeds"), "money"),
    **dict.fromkeys(("until", "valid_until", "active_from"), "time"),
    **dict.fromkeys(("root", "weights_root", "bank_reference", "digest", "schema"), "digest"),
    "bps": "share",
    "roles": "roles",
    "remedies": "remedies",
    "subject": "subject",
    "name": "parameter",
    "value": "setting",
    "accounts": "list",
    "traded": "traded",
}
_ENDINGS = {"_at": "time", "_digest": "document", "_bps": "share"}
_UNKNOWN = say("")
_FOREVER = 2**53
_NO_ACCOUNT = "0x" + "0" * 40


def worth_telling(steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a history without what is minor, and without the echoes of others."""
    lines = [(step, SENTENCES.get(f"{step.contract}.{step.event}", _UNKNOWN)) for step in steps]
    said = {step.transaction for step, line in lines if not (line.echo or line.minor)}
    return [step for step, line in lines if not (line.minor or (line.echo and step.transaction in said))]


class Reader:
    """Reads events out, in one language and for one office."""

    def __init__(self, session: Session, figures: Figures, documents: Documents) -> None:
        self._session, self._figures, self._documents = session, figures, documents

    def read(self, contract: str, event: str, facts: Mapping[str, Any]) -> str:
        """Return an event in words; of an event without a line, its name and arguments."""
        line = SENTENCES.get(f"{contract}.{event}")
        if line is None:
            return f"{contract}.{event} {dict(facts)}"
        flat = _flat(facts)
        if "subject_id" in flat and "kind" in flat:
            flat["traded"] = flat["subject_id"]
        shown = {name: self._show(line, name, value, flat) for name, value in flat.items()}
        return close_up(self._session.tr(line.template, **shown))

    def _show(self, line: Sentence, name: str, value: Any, facts: Mapping[str, Any]) -> str:
        ending = next((how for end, how in _ENDINGS.items() if name.endswith(end)), "plain")
        how: Callable[[Any, Mapping[str, Any]], str] = getattr(
            self, f"_{line.shown.get(name, _SHOWN.get(name, ending))}"
        )
        return how(value, facts)

    def _plain(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr("nobody") if value == _NO_ACCOUNT else str(value)

    def _money(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._figures.money(int(value))

    def _share(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr(", ").join(map(share, value if isinstance(value, list) else [value]))

    def _list(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr(", ").join(map(str, value)) or self._session.tr("nobody")

    def _yes(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr("yes") if value else self._session.tr("no")

    def _derivation(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr("open to everybody") if value else self._session.tr("by approval only")

    def _tag(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr("is tagged as in dispute") if value else self._session.tr("is clear again")

    def _tag_case(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr("case {number}", number=value) if value else self._session.tr("lifted by its claimant")

    def _side(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._session.tr("the claimant") if value else self._session.tr("the respondent")

    def _time(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return time_of(value)

    def _term(self, value: Any, _facts: Mapping[str, Any]) -> str:
        if int(value) >= _FOREVER:
            return self._session.tr("without end")
        return self._session.tr("until {time}", time=time_of(value))

    def _digest(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return f"sha256:{_hex(value)[:16]}…"

    def _document(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._documents.show(_hex(value))

    def _mark(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._digest(value, {}) if int(_hex(value), 16) else self._session.tr("unmarked")

    def _subject(self, value: Any, _facts: Mapping[str, Any]) -> str:
        from countermark.core.subjects import show_subject

        return subject_words(self._session, self._figures, show_subject(bytes.fromhex(_hex(value))))

    def _roles(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._bits(value, role_words(self._session))

    def _remedies(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return self._bits(value, list(remedy_words(self._session).values())) or self._session.tr("none")

    def _bits(self, value: Any, words: list[str]) -> str:
        return self._session.tr(", ").join(word for bit, word in enumerate(words) if int(value) >> bit & 1)

    def _credit_reason(self, value: Any, facts: Mapping[str, Any]) -> str:
        words = credit_words(self._session, facts["title_id"])
        return words[int(value)] if int(value) < len(words) else str(value)

    def _case_kind(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return list(case_kind_words(self._session).values())[int(value) - 1]

    def _traded(self, value: Any, facts: Mapping[str, Any]) -> str:
        return traded_words(self._session, int(facts["kind"]), value)

    def _case_state(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return list(case_state_words(self._session).values())[int(value) - 1]

    def _parameter(self, value: Any, _facts: Mapping[str, Any]) -> str:
        return bytes.fromhex(_hex(value)).rstrip(b"\0").decode("ascii", "replace")

    def _setting(self, value: Any, facts: Mapping[str, Any]) -> str:
        return setting(self._figures, self._parameter(facts["name"], facts), int(value))


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with those of a struct beside the others."""
    inner = {name: value for group in facts.values() if isinstance(group, Mapping) for name, value in group.items()}
    return {name: value for name, value in facts.items() if not isinstance(value, Mapping)} | inner


def _hex(value: str) -> str:
    return value.removeprefix("0x")
