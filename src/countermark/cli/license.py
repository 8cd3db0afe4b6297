"""``countermark license``: offers and grants."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.figures import share
from countermark.cli.session import Session, current, read_file, write_json
from countermark.cli.shell import Group
from countermark.cli.templates import SET, complete, read_kept_text, templates, text
from countermark.cli.terms import read_terms
from countermark.cli.text import card, table
from countermark.errors import ConflictError, InputError

if TYPE_CHECKING:
    from countermark.licensing import Terms
    from countermark.registry import Grant
    from countermark.standard_terms import LegalText
    from countermark.workflows.office import Office

_DOCUMENT_LIMIT = 2**20
_PATH = click.Path(path_type=Path)
#: What opens a mark; it leaves the workspace in a bundle and nowhere else.
_SECRETS = frozenset({"identifier", "salt", "platform_nonce"})


@click.group(cls=Group)
def license() -> None:
    """Offer terms, grant licences, show and revoke them.

    Example:
      countermark license offer 1 --terms terms.yaml
      countermark license grant 1 --to "Agency North"
    """


license.add_command(templates)


@license.command("offer")
@click.argument("title", type=int)
@click.option("--terms", type=_PATH, metavar="FILE", help="The terms, as YAML or JSON.")
@click.option("--legal-text", type=_PATH, metavar="FILE", help="Legal text that the terms refer to, by digest.")
@click.option("--template", metavar="NAME", help="Standard terms instead of a file (license templates).")
@SET
def offer(
    title: int, terms: Path | None, legal_text: Path | None, template: str | None, settings: tuple[str, ...]
) -> None:
    """Put terms on offer under a title, signed by its holder.

    The terms name the acts allowed, price, duration or expiry, seats, resale, territory, and whether the grant can be
    revoked. Their digest goes on the ledger. With --template they are standard terms, filled in with --set.

    Example:
      countermark license offer 1 --terms terms.yaml --legal-text licence.pdf
      countermark license offer 1 --template hosted-monthly --set price=100.00 --set months=1
    """
    from countermark.workflows.license import offer_terms

    session = current()
    read, legal = _read_offered(terms, legal_text, template, settings)
    with session.office() as office:
        made = offer_terms(office, title, read, legal)
    rows = [
        (session.tr("offer"), str(made.id)),
        (session.tr("title"), str(made.title)),
        *terms_rows(session, read),
        (session.tr("transaction"), made.transaction),
        (session.tr("log"), session.tr("entry {index}", index=made.log_index)),
    ]
    session.answer("offer", {**made.to_json(), "terms_digest": f"sha256:{read.digest.hex()}"}, card(rows))


@license.command("invite")
@click.argument("offer", type=int)
@click.option("--to", "licensee", required=True, metavar="NAME", help="The licensee: name or id.")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="Where to write the invitation.")
@click.option("--starts", metavar="TIME", help="Start of the grant, as 2027-01-31T00:00:00Z; now by default.")
def invite(offer: int, licensee: str, out: Path, starts: str | None) -> None:
    """Invite a licensee that holds its own key to accept an offer.

    Example:
      countermark license invite 1 --to "Agency North" --out invitation.json
    """
    from countermark.workflows.license import invite as make_invitation

    session = current()
    with session.office() as office:
        made = make_invitation(office, offer, licensee, starts=_time(starts))
    write_json(out, made)
    text = session.tr("Invitation to offer {offer}, for {name}: {path}", offer=offer, name=licensee, path=out)
    session.answer("invitation", {"path": str(out), "invitation": made}, text)


@license.command("accept")
@click.argument("invitation", type=_PATH)
@click.option("--key", required=True, type=_PATH, metavar="KEY.pem", help="Your signing key (party keygen).")
@click.option("--terms", type=_PATH, metavar="FILE", help="The terms as you read them: accept no others.")
@click.option("--legal-text", type=_PATH, metavar="FILE", help="The legal text as you read it, with --terms.")
@click.option("--out", required=True, type=_PATH, metavar="FILE", help="Where to write the signed acceptance.")
def accept(invitation: Path, key: Path, terms: Path | None, legal_text: Path | None, out: Path) -> None:
    """Accept an invitation as the licensee. Needs no workspace.

    Your half of the mark identifier is drawn here, so the office cannot choose the identifier alone. Give --terms to be
    sure of what you accept: the invitation holds only their digest.

    Example:
      countermark license accept invitation.json --key nord.pem --terms terms.yaml --out acceptance.json
    """
    from countermark.bootstrap import load_party_key, utc_now
    from countermark.workflows.license import accept as sign_acceptance

    session, read = current(), read_document(invitation)
    if terms is not None and read.get("terms") != f"sha256:{read_terms(terms, legal_text).digest.hex()}":
        raise ConflictError("the invitation is to other terms than {path}", path=terms)
    envelope = sign_acceptance(read, load_party_key(key), at=utc_now())
    write_json(out, envelope)
    text = session.tr(
        "Accepted offer {offer} until {expires}: {path}",
        offer=_of(read, "offer"),
        expires=_of(read, "expires"),
        path=out,
    )
    session.answer("acceptance", {"path": str(out), "acceptance": envelope}, text)


@license.command("grant")
@click.argument("offer", type=int)
@click.option("--to", "licensee", metavar="NAME", help="A licensee whose key the office holds: name or id.")
@click.option("--acceptance", type=_PATH, metavar="FILE", help="The acceptance that the licensee signed.")
@click.option("--starts", metavar="TIME", help="Start of the grant, with --to; now by default.")
def grant(offer: int, licensee: str | None, acceptance: Path | None, starts: str | None) -> None:
    """Turn an accepted offer into a grant on the ledger, with the commitment to its mark identifier.

    Example:
      countermark license grant 1 --to "Agency North"
      countermark license grant 1 --acceptance acceptance.json
    """
    from countermark.workflows.license import grant_license, grant_to_held

    if (licensee is None) == (acceptance is None):
        raise InputError("give either --to or --acceptance")
    session = current()
    envelope = read_acceptance(acceptance, offer) if acceptance else None
    with session.office() as office:
        made = (
            grant_license(office, envelope)
            if envelope is not None
            else grant_to_held(office, offer, str(licensee), starts=_time(starts))
        )
        shown = show_grant(office, made)
    answer_grant(session, shown)


@license.command("show")
@click.argument("grant", metavar="GRANT|all")
def show(grant: str) -> None:
    """Show a grant: its terms, window and state, in the workspace and on the ledger.

    Example:
      countermark license show 1
      countermark license show all
    """
    from countermark.registry import Grant
    from countermark.workflows.office import load

    session = current()
    with session.office() as office:
        with office.store.transaction() as transaction:
            bodies = transaction.all("grant") if grant == "all" else [load(transaction, "grant", _number(grant))]
            grants = [Grant.from_json(body) for body in bodies]
        shown = [show_grant(office, each) for each in grants]
    if grant != "all":
        answer_grant(session, shown[0])
        return
    head = [session.tr(label) for label in ("grant", "offer", "licensee", "state", "until")]
    rows = [[s["id"], s["offer"], s["licensee_name"], _state(session, s["state"]), s["expires"]] for s in shown]
    empty = session.tr("There is no grant yet.")
    session.answer("grants", {"grants": shown}, table(head, rows) if rows else empty)


license.add_command(text)


@license.command("revoke")
@click.argument("grant", type=int)
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger holds its salted digest.")
def revoke(grant: int, reason: str) -> None:
    """Give notice to a grant, as the title holder, where the terms allow it.

    It ends when the notice of its terms has passed, at once where they name none. Until then the notice can be
    withdrawn, and a case that the licensee opens about the grant stops it.

    Example:
      countermark license revoke 1 --reason "invoice 2027-14 unpaid"
    """
    from countermark.workflows.license import revoke_grant

    session = current()
    with session.office() as office:
        shown = show_grant(office, revoke_grant(office, grant, reason))
    answer_grant(session, shown)


@license.command("withdraw-notice")
@click.argument("grant", type=int)
def withdraw(grant: int) -> None:
    """Withdraw a notice before it takes effect, as the title holder.

    Example:
      countermark license withdraw-notice 1
    """
    from countermark.workflows.license import withdraw_notice

    session = current()
    with session.office() as office:
        shown = show_grant(office, withdraw_notice(office, grant))
    answer_grant(session, shown)


@license.command("reserve")
@click.option("--count", required=True, type=int, metavar="N", help="How many, 1 to 1,000,000.")
def reserve(count: int) -> None:
    """Issue mark identifiers that belong to nobody, in one committed batch.

    A trace counts every identifier ever issued, so decoys keep its probabilities honest.

    Example:
      countermark license reserve --count 1000
    """
    from countermark.workflows.license import reserve_identifiers

    session = current()
    with session.office() as office:
        batch = reserve_identifiers(office, count)
    rows = [
        (session.tr("identifiers"), str(batch["count"])),
        (session.tr("issued in all"), str(batch["issued_total"])),
        (session.tr("root"), batch["root"]),
        (session.tr("transaction"), batch["id"]),
        (session.tr("log"), session.tr("entry {index}", index=batch["log_index"])),
    ]
    session.answer("batch", batch, card(rows))


def _read_offered(
    terms: Path | None, legal_text: Path | None, template: str | None, settings: tuple[str, ...]
) -> tuple[Terms, LegalText | None]:
    """Return the terms to offer, and their legal text where it can be kept."""
    if (terms is None) == (template is None):
        raise InputError("give either --terms or --template")
    if terms is not None and settings:
        raise InputError("--set belongs to --template")
    if terms is not None:
        return read_terms(terms, legal_text), read_kept_text(legal_text)
    if legal_text is not None:
        raise InputError("--legal-text belongs to --terms")
    filled = complete(str(template), settings)
    return filled.terms, filled


def read_document(path: Path, *, limit: int = _DOCUMENT_LIMIT) -> dict[str, Any]:
    """Read a JSON object that another command wrote.

    Raises:
        InputError: it is none.
    """
    from countermark.core.canonical import parse_json

    document = parse_json(read_file(path, limit=limit), limit=limit)
    if not isinstance(document, dict):
        raise InputError("{path} does not hold a JSON object", path=path)
    return document


def read_acceptance(path: Path, offer: int) -> dict[str, Any]:
    """Read the acceptance of an offer.

    Raises:
        InputError: it is no JSON object.
        ConflictError: it is of another offer.
    """
    from countermark.core.dsse import read_unverified

    envelope = read_document(path)
    if read_unverified(envelope).get("offer") != offer:
        raise ConflictError("the acceptance is of another offer than {offer}", offer=offer)
    return envelope


def show_grant(office: Office, grant: Grant) -> dict[str, Any]:
    """Return what may be printed of a grant, with its terms and its state; never what opens its mark."""
    from countermark.core.times import read_time
    from countermark.workflows.office import load, party

    with office.store.transaction() as transaction:
        terms = load(transaction, "offer", grant.offer)["terms"]
        licensee = party(transaction, grant.licensee)
    now = office.clock()
    state = "in force"
    if grant.revoked_at is not None and now >= read_time(grant.revoked_at):
        state = "revoked"
    elif now < read_time(grant.starts):
        state = "not started"
    elif now >= read_time(grant.expires):
        state = "expired"
    elif grant.revoked_at is not None:
        state = "under notice"
    return {
        **{name: value for name, value in grant.to_json().items() if name not in _SECRETS},
        "licensee_name": licensee.name,
        "terms": terms,
        "state": state,
        "permitted_by_ledger": office.ledger.permitted(grant.id, int(now.timestamp())),
    }


def answer_grant(session: Session, shown: dict[str, Any]) -> None:
    """Print a grant."""
    from countermark.licensing import Terms

    rows = [
        (session.tr("grant"), str(shown["id"])),
        (session.tr("licensee"), f"{shown['licensee_name']}  ({shown['licensee']})"),
        (session.tr("title"), str(shown["title"])),
        (session.tr("offer"), str(shown["offer"])),
        *terms_rows(session, Terms.from_json(shown["terms"])),
        (session.tr("window"), f"{shown['starts']} - {shown['expires']}"),
        (session.tr("state"), _state(session, shown["state"])),
        *([(session.tr("ends early at"), shown["revoked_at"])] if shown["revoked_at"] else []),
        (session.tr("in force on the ledger"), session.tr("yes") if shown["permitted_by_ledger"] else session.tr("no")),
        (session.tr("transaction"), shown["transaction"]),
        (session.tr("log"), session.tr("entry {index}", index=shown["log_index"])),
    ]
    session.answer("grant", shown, card(rows))


def terms_rows(session: Session, terms: Terms) -> list[tuple[str, str]]:
    """Return the rows of a card that say what terms allow and ask."""
    yes_no = {True: session.tr("yes"), False: session.tr("no")}
    return [
        (session.tr("terms"), f"{terms.name}  (sha256:{terms.digest.hex()})"),
        (session.tr("allows"), ", ".join(terms.scope)),
        (session.tr("price"), f"{terms.price} {terms.currency}"),
        (session.tr("seats"), str(terms.seats or session.tr("any number"))),
        (session.tr("territory"), ", ".join(terms.territory)),
        (session.tr("resale"), yes_no[terms.resale]),
        (session.tr("revocable"), yes_no[terms.revocable]),
        *_further_rows(session, terms),
        *([(session.tr("legal text"), terms.legal_text)] if terms.legal_text else []),
    ]


def _further_rows(session: Session, terms: Terms) -> list[tuple[str, str]]:
    """Return the rows for what only some terms ask."""
    rows = [
        (terms.duration_days, session.tr("length"), session.tr("{count} days", count=terms.duration_days)),
        (terms.expires, session.tr("ends at the latest"), str(terms.expires)),
        (terms.bond, session.tr("bond"), f"{terms.bond} {terms.currency}"),
        (terms.notice_hours, session.tr("notice"), session.tr("{count} hours", count=terms.notice_hours)),
        (terms.renewable, session.tr("renewable"), session.tr("yes")),
        (terms.revenue_share_bps, session.tr("share of revenue owed"), share(terms.revenue_share_bps)),
        (terms.resale_royalty_bps, session.tr("royalty on resale"), share(terms.resale_royalty_bps)),
        (terms.attribution, session.tr("attribution"), session.tr("required")),
    ]
    if terms.derivative_royalty_bps is not None:
        rows.append((True, session.tr("royalty of derived models"), share(terms.derivative_royalty_bps)))
    return [(label, value) for asked, label, value in rows if asked]


def _state(session: Session, state: str) -> str:
    known = {
        "in force": session.tr("in force"),
        "revoked": session.tr("revoked"),
        "not started": session.tr("not started"),
        "expired": session.tr("expired"),
        "under notice": session.tr("under notice"),
    }
    return known[state]


def _of(document: dict[str, Any], name: str) -> str:
    return str(document.get(name, "?"))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InputError("a grant is a number, or all; not {text}", text=text[:40])
    return int(text)


def _time(text: str | None) -> datetime | None:
    from countermark.core.times import read_time

    return None if text is None else read_time(text)
