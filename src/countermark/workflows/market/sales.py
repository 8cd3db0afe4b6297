"""Sales of titles and licences: offered at a fixed price, paid into escrow, delivered, settled or refunded.

A licence is delivered by the platform: it commits to the buyer's mark identifier, and with that the grant comes into
being and the price is shared out, in one transaction. Until then the buyer's money stands in escrow; after the deadline
the buyer takes it back. A resale ends the seller's grant and issues one with the buyer's own identifier, so that a
later leak names who really had it; the royalty leaves the price before the seller sees it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from countermark.core.dsse import Envelope, open_document, read_unverified
from countermark.core.payload import commit_identifier, show_identifier
from countermark.core.times import read_time
from countermark.errors import AdapterError, CountermarkError, NotFoundError, SignatureInvalid
from countermark.licensing import Terms
from countermark.registry import Grant, Offer, Party, Transaction
from countermark.workflows import license as licenses
from countermark.workflows.audit import require_audit
from countermark.workflows.market.acts import Call, act, check_amount, earlier_result, read_party, record_act
from countermark.workflows.market.documents import salted_digest
from countermark.workflows.market.money import allow
from countermark.workflows.office import Intent, Office, Receipt, load, party_with_address, recorder

#: ``Market.Kind``.
_LICENSE, _RESALE = 2, 3


def sell_title(office: Office, title: int, *, price: int, until: datetime, deed: str) -> dict[str, Any]:
    """Offer a title for sale at a fixed price; it can be moved in no other way until it is sold or withdrawn.

    Args:
        office: where.
        title: whose holder acts.
        price: in the smallest unit.
        until: first moment at which the offer no longer stands.
        deed: text of the deed; the ledger holds its salted digest.

    Raises:
        AuditMissing: the market asks for a recorded audit of the model.
    """
    require_audit(office, title)
    with office.store.transaction() as transaction:
        holder = str(load(transaction, "title", title)["holder"])
    digest = salted_digest(office, "deed", {"title": title, "text": deed})
    args = (title, check_amount(price, "price"), digest, int(until.timestamp()))
    call = Call(contract="Market", function="offerTitle", args=args, event="TitleOffered")
    return act(office, "sell-title", call, by=read_party(office, holder), subject={"title": title, "price": price})


def buy_title(office: Office, sale: int, buyer: str) -> dict[str, Any]:
    """Pay for a title and take it over, in one transaction.

    Raises:
        NotFoundError: another office registered it, and holds its detection keys; the buyer has to be a party there.
        AuditMissing: the market asks for a recorded audit of the model.
    """
    found, owner = sale_record(office, sale), read_party(office, buyer)
    require_audit(office, int(found["subject_id"]))
    allow(office, owner, found["price"], {"sale": sale})
    call = Call(contract="Market", function="buyTitle", args=(sale, found["price"]), event="Settled")
    return act(office, "buy-title", call, by=owner, subject={"sale": sale})


def resell(office: Office, grant: int, *, price: int, until: datetime) -> dict[str, Any]:
    """Offer a grant for resale, as its licensee, where its terms allow it.

    Raises:
        TermsViolated: they do not.
        AuditMissing: the market asks for a recorded audit of the model.
    """
    with office.store.transaction() as transaction:
        given = Grant.from_json(load(transaction, "grant", grant))
    require_audit(office, given.title)
    args = (grant, check_amount(price, "price"), int(until.timestamp()))
    call = Call(contract="Market", function="offerGrant", args=args, event="GrantOffered")
    return act(office, "resell", call, by=read_party(office, given.licensee), subject={"grant": grant, "price": price})


def withdraw_sale(office: Office, sale: int) -> dict[str, Any]:
    """Take an offer of a title or a grant back, as its seller."""
    seller = party_at(office, sale_record(office, sale)["seller"])
    call = Call(contract="Market", function="withdraw", args=(sale,), event="SaleWithdrawn")
    return act(office, "withdraw-sale", call, by=seller, subject={"sale": sale})


def buy_license(
    office: Office,
    offer: int,
    licensee: str,
    *,
    starts: datetime | None = None,
    order: str | None = None,
) -> dict[str, Any]:
    """Accept an offer on the market as a licensee whose keys are held here, and pay price and bond into escrow.

    Of one offer a licensee has at most one paid and undelivered sale: repeating the command returns it.

    Args:
        office: where.
        offer: on the market.
        licensee: name or id.
        starts: start of the grant; now if left out.
        order: the buyer's name for this purchase, for good.

    Returns:
        The act, with ``sale_id``; ``deliver_license`` ends it.
    """
    buyer = read_party(office, licensee)
    waiting = earlier_result(office, order) or _paid(office, f"offer:{offer}", buyer)
    if waiting is not None:
        return waiting
    held = f"buy/{offer}/{buyer.id}"
    with _accepted_once(
        office, held, buyer, lambda: licenses.invite(office, offer, licensee, starts=starts)
    ) as accepted:
        return pay_license(office, accepted, held=held, order=order)


def pay_license(
    office: Office, acceptance: Envelope, *, held: str | None = None, order: str | None = None
) -> dict[str, Any]:
    """Pay for a licence that was accepted with a signed document: price and bond go into escrow.

    Args:
        office: where.
        acceptance: the licensee's signed document.
        held: key under which the acceptance waits here, if it does.
        order: the buyer's name for this purchase, for good.

    Raises:
        SignatureInvalid: not signed by the invited licensee, or not the invitation that was made.
        RightsError: the offer is not on the market, or its price or fee is another one than was accepted.
        AuditMissing: the market asks for a recorded audit of the model.
    """
    buyer, body = _opened(office, acceptance)
    with office.store.transaction() as transaction:
        offer = Offer.from_json(load(transaction, "offer", body["offer"]))
    require_audit(office, offer.title)
    terms = Terms.from_json(offer.terms)
    accepted = licenses.acceptance_digest(body)
    starts = int(read_time(body["starts"]).timestamp())
    fee = int(office.ledger.record("Grants", "offerRecord", offer.id)["fee_bps"])
    if terms.price + terms.bond:
        allow(office, buyer, terms.price + terms.bond, {"acceptance": accepted.hex()})
    call = Call(
        contract="Market",
        function="buyLicense",
        args=(offer.id, accepted, starts, terms.price, fee),
        event="Paid",
    )
    keep = {"offer": offer.id, "title": offer.title, "held": held, **_purchase(office, body, acceptance)}
    subject = {"acceptance": accepted.hex()}
    return act(office, "buy-license", call, by=buyer, subject=subject, keep=keep, kind="purchase", order=order)


def buy_grant(office: Office, sale: int, licensee: str) -> dict[str, Any]:
    """Accept a licensee's resale and pay the price, and the bond that the terms ask, into escrow."""
    buyer, found = read_party(office, licensee), sale_record(office, sale)
    waiting = _paid(office, f"resale:{sale}", buyer)
    if waiting is not None:
        return waiting
    with office.store.transaction() as transaction:
        sold = Grant.from_json(load(transaction, "grant", found["subject_id"]))
        terms = Terms.from_json(load(transaction, "offer", sold.offer)["terms"])
    require_audit(office, sold.title)
    held, ends = f"resale/{sale}/{buyer.id}", read_time(sold.expires)
    invite = lambda: licenses.invite_to(office, sold.offer, licensee, office.clock(), ends)  # noqa: E731
    with _accepted_once(office, held, buyer, invite) as acceptance:
        _, body = _opened(office, acceptance)
        accepted = licenses.acceptance_digest(body)
        allow(office, buyer, found["price"] + terms.bond, {"acceptance": accepted.hex()})
        call = Call(contract="Market", function="buyGrant", args=(sale, accepted, found["price"]), event="Paid")
        keep = {"offer": sold.offer, "title": sold.title, "held": held, "resold": sold.id}
        keep |= _purchase(office, body, acceptance)
        return act(office, "buy-grant", call, by=buyer, subject={"sale": sale}, keep=keep, kind="purchase")


def deliver_license(office: Office, sale: int, *, acceptance: Envelope | None = None) -> Grant:
    """Turn a paid licence or resale into a grant: commit to the buyer's mark identifier and share the price out.

    Args:
        office: where.
        sale: paid.
        acceptance: what the buyer signed, where it paid from an account that is not held here.

    Raises:
        NotFoundError: no such paid sale here.
        SignatureInvalid: the acceptance is not the one that was paid for.
    """
    with office.store.transaction() as transaction:
        bought = transaction.get("purchase", str(sale))
        if bought is not None and bought.get("grant") is not None:
            return Grant.from_json(load(transaction, "grant", bought["grant"]))
    if bought is None and acceptance is not None:
        bought = _paid_elsewhere(office, sale, acceptance)
    if bought is None:
        raise NotFoundError(
            "no paid sale {sale} waits for delivery here",
            hint="Where the buyer paid from its own account, hand its acceptance in.",
            sale=sale,
        )
    waiting = dict(bought["waiting"])
    _, body = _opened(office, waiting["acceptance"])
    identifier = licenses.identifier_of(waiting["platform_nonce"], body)
    salt = secrets.token_bytes(32)
    waiting |= {"identifier": show_identifier(identifier), "salt": salt.hex()}
    call = Call(
        contract="Market",
        function="deliver",
        args=(sale, commit_identifier(identifier, salt)),
        event="Settled",
    )
    keep = {"sale": sale, "grant": waiting, "resold": bought.get("resold")}
    done = act(office, "deliver", call, subject={"sale": sale}, keep=keep, kind="delivery")
    with office.store.transaction() as transaction:
        return Grant.from_json(load(transaction, "grant", done["grant"]))


def refund(office: Office, sale: int) -> dict[str, Any]:
    """Give a paid and undelivered sale back: as the platform at any time, so that nobody waits for a deadline.

    Raises:
        NotFoundError: what was sold is of another office; the ledger lets any registrar refund, the office does not.
    """
    found = sale_record(office, sale)
    sold = {_LICENSE: "offer", _RESALE: "grant"}.get(found["kind"], "title")
    with office.store.transaction() as transaction:
        load(transaction, sold, found["subject_id"])
    call = Call(contract="Market", function="refund", args=(sale,), event="Refunded")
    return act(office, "refund", call, subject={"sale": sale}, kind="refund")


def renew(office: Office, grant: int, *, order: str | None = None) -> dict[str, Any]:
    """Extend a grant by its length at its price, as its licensee, where the terms say renewable.

    Without an ``order`` the present end of the grant names the act, so that an interrupted renewal is not paid twice.
    """
    with office.store.transaction() as transaction:
        given = Grant.from_json(load(transaction, "grant", grant))
        terms = Terms.from_json(load(transaction, "offer", given.offer)["terms"])
    licensee, subject = read_party(office, given.licensee), {"grant": grant, "expires": given.expires}
    done = earlier_result(office, order)
    if done is not None:
        return done
    if terms.price:
        allow(office, licensee, terms.price, subject)
    call = Call(contract="Market", function="renew", args=(grant, terms.price), event="GrantRenewed")
    return act(office, "renew", call, by=licensee, subject=subject, order=order)


def return_bond(office: Office, grant: int) -> dict[str, Any]:
    """Credit the bond of a grant that has ended, after the days of grace, to who left it."""
    call = Call(contract="Market", function="returnBond", args=(grant,), event="BondReturned")
    return act(office, "return-bond", call, subject={"grant": grant})


def sale_record(office: Office, sale: int) -> dict[str, Any]:
    """Return a sale as the ledger holds it.

    Raises:
        NotFoundError: there is none.
    """
    return office.ledger.record("Market", "saleRecord", sale)


def party_at(office: Office, address: str) -> Party:
    """Return the party with a ledger address.

    Raises:
        NotFoundError: none of this workspace has it.
    """
    with office.store.transaction() as transaction:
        found = party_with_address(transaction, address)
    if found is None:
        raise NotFoundError("no party of this workspace has the address {address}", address=address)
    return found


@recorder("purchase")
def _record_purchase(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    result, keep = record_act(office, transaction, intent, receipt), intent["keep"]
    waiting = {
        name: keep[name] for name in ("offer", "title", "licensee", "platform_nonce", "acceptance", "starts", "expires")
    }
    body = {
        "sale": result["sale_id"],
        "waiting": waiting,
        "resold": keep.get("resold"),
        "grant": None,
        "result": result,
    }
    about = f"resale:{result['sale_id']}" if keep.get("resold") else f"offer:{keep['offer']}"
    transaction.put("purchase", str(result["sale_id"]), body, index=(f"{about}/{keep['licensee']}",))
    if keep["held"] is not None:
        transaction.delete("acceptance-held", keep["held"])
    return result


@recorder("refund")
def _record_refund(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    result = record_act(office, transaction, intent, receipt)
    transaction.delete("purchase", str(result["sale_id"]))
    return result


@recorder("delivery")
def _record_delivery(office: Office, transaction: Transaction, intent: Intent, receipt: Receipt) -> dict[str, Any]:
    keep = intent["keep"]
    grant = licenses.record_grant(office, transaction, {"grant": keep["grant"]}, receipt)
    transaction.put("purchase", str(keep["sale"]), {"sale": keep["sale"], "grant": grant["id"]})
    return record_act(office, transaction, intent, receipt) | {"grant": grant["id"]}


def _paid_elsewhere(office: Office, sale: int, acceptance: Envelope) -> dict[str, Any]:
    """Match a buyer's acceptance with the sale that its own account paid."""
    buyer, body = _opened(office, acceptance)
    found = sale_record(office, sale)
    if found["digest"] != licenses.acceptance_digest(body) or found["buyer"] != buyer.address:
        raise SignatureInvalid("the acceptance is not the one that sale {sale} was paid for", sale=sale)
    resold = int(found["subject_id"]) if found["kind"] == _RESALE else None
    with office.store.transaction() as transaction:
        offer = Offer.from_json(load(transaction, "offer", body["offer"]))
    waiting = {"offer": offer.id, "title": offer.title, **_purchase(office, body, acceptance)}
    return {"sale": sale, "waiting": waiting, "resold": resold}


def _paid(office: Office, about: str, buyer: Party) -> dict[str, Any] | None:
    """Return the payment of an undelivered sale."""
    with office.store.transaction() as transaction:
        found = transaction.find("purchase", f"{about}/{buyer.id}")
    return found[0]["result"] if found else None


@contextmanager
def _accepted_once(office: Office, held: str, buyer: Party, invite: Callable[[], dict[str, Any]]) -> Iterator[Envelope]:
    """Invite and accept, or take up the acceptance that an interrupted call left; a refusal for good forgets it."""
    with office.store.transaction() as transaction:
        waiting = transaction.get("acceptance-held", held)
    if waiting is None:
        waiting = licenses.accept(invite(), office.party_key(buyer), at=office.clock())
        with office.store.transaction() as transaction:
            transaction.put("acceptance-held", held, waiting)
    try:
        yield waiting
    except AdapterError:
        raise  # could not tell: the same acceptance is paid for again
    except CountermarkError:
        with office.store.transaction() as transaction:
            transaction.delete("acceptance-held", held)
        raise


def _opened(office: Office, acceptance: Envelope) -> tuple[Party, dict[str, Any]]:
    buyer = read_party(office, str(read_unverified(acceptance).get("licensee")))
    return buyer, open_document(acceptance, "acceptance", buyer.key)


def _purchase(office: Office, body: dict[str, Any], acceptance: Envelope) -> dict[str, Any]:
    return {
        "licensee": body["licensee"],
        "platform_nonce": licenses.invited_nonce(office, body),
        "acceptance": acceptance,
        "starts": body["starts"],
        "expires": body["expires"],
    }
