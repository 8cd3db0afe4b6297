"""Fair exchange of a model file: nobody has to trust the other with the file or the money.

The marking service seals a copy of the registered model for one grant, commits plaintext, ciphertext and key on the
ledger, and answers for every block with its bond; the seller answers for the master with another. The buyer checks the
ciphertext before it pays, gets the key or its money back, and proves a wrong block with that block alone.

Weights carry no mark yet: such a sale says ``unmarked`` on its face.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from countermark.artifact import digest_model, survey
from countermark.artifact.exchange import (
    Package,
    check_package,
    complaint,
    read_package,
    seal,
    unseal,
)
from countermark.core.canonical import document_digest, show_digest
from countermark.core.exchange import key_digest
from countermark.core.keys import Secret
from countermark.errors import ConflictError, KeystoreError, ManifestMismatch, NotFoundError
from countermark.registry import Party, Title
from countermark.workflows.audit import require_audit
from countermark.workflows.license import usable_grant
from countermark.workflows.market.acts import Call, act, check_amount, read_party
from countermark.workflows.market.documents import salted_digest
from countermark.workflows.market.money import allow
from countermark.workflows.market.sales import party_at
from countermark.workflows.office import Office, load, party_with_address, sign

#: What a sale says where the delivered weights carry no mark of the grant.
UNMARKED = bytes(32)


def sell_file(
    office: Office, title: int, *, price: int, bond: int, until: datetime, terms: str = "as granted"
) -> dict[str, Any]:
    """Offer copies of a title's model to its licensees, as the title holder; the bond answers for the master.

    Args:
        office: where.
        title: of the model.
        price: of a copy, in the smallest unit.
        bond: in the smallest unit.
        until: first moment at which the offer no longer stands.
        terms: what the file's use is bound to beside the grant; the ledger holds its salted digest.

    Returns:
        The act, with ``listing_id``.

    Raises:
        AuditMissing: the market asks for a recorded audit of the model.
    """
    require_audit(office, title)
    with office.store.transaction() as transaction:
        holder = str(load(transaction, "title", title)["holder"])
    seller, bound = read_party(office, holder), salted_digest(office, "file-terms", {"title": title, "text": terms})
    named = {"title": title, "price": check_amount(price, "price"), "bond": bond, "until": int(until.timestamp())}
    if bond:
        allow(office, seller, check_amount(bond, "bond"), named)
    call = Call(
        contract="FileSales",
        function="offer",
        args=(title, price, bond, bound, int(until.timestamp())),
        event="Listed",
    )
    return act(office, "sell-file", call, by=seller, subject=named)


def withdraw_listing(office: Office, listing: int) -> dict[str, Any]:
    """Take an offer of files back, as its seller; the bond comes back when no sale of it is open."""
    seller = party_at(office, listing_record(office, listing)["seller"])
    call = Call(contract="FileSales", function="withdrawListing", args=(listing,), event="ListingWithdrawn")
    return act(office, "withdraw-listing", call, by=seller, subject={"listing": listing})


def deliver_file(
    office: Office, listing: int, grant: int, directory: Path, folder: Path, *, service: str | None = None
) -> dict[str, Any]:
    """Seal a copy of the model for a grant and commit to it on the ledger, as the marking service.

    Args:
        office: where.
        listing: the seller's offer.
        grant: of the buyer; it must be in force.
        directory: the seller's clean master; it has to be the registered model.
        folder: where the sealed package goes, for the buyer alone. One that an interrupted or refused call sealed is
            taken up again.
        service: party that serves as marking service; the office itself if left out.

    Returns:
        The act, with ``sale_id``.

    Raises:
        ManifestMismatch: the master is not the registered model.
        ConflictError: the folder holds something else, such as a package of another model, or one delivered before.
        AuditMissing: the market asks for a recorded audit of the model.
    """
    given, _, title, _ = usable_grant(office, grant, at=office.clock())
    require_audit(office, title.id)
    _check_master(office, title, directory)
    if (folder / "package.json").exists():
        package = read_package(folder)
        key = _key_of(office, package, title)
    else:
        key = Secret.random()
        _keep(office, key)
        with office.store.transaction() as transaction:
            transaction.put("sealing", key_digest(key).hex(), {"weights": title.weights_root})
        package = seal(directory, folder, key, progress=office.progress("seal"))
    return commit_package(office, listing, given.id, package, key, service=service)


def commit_package(
    office: Office, listing: int, grant: int, package: Package, key: Secret, *, service: str | None = None
) -> dict[str, Any]:
    """Commit to a sealed package for a grant, with the service's bond; the key is kept until it is revealed.

    Arguments and result are those of ``deliver_file``, after the sealing.
    """
    by = None if service is None else read_party(office, service)
    found = listing_record(office, listing)
    attestation = _attest(office, listing, grant, package, by)
    _keep(office, key)
    named = {"listing": listing, "grant": grant, "package": package.cipher_root.hex()}
    bond = int(found["price"])  # the buyer that is cheated gets twice what it paid
    allow(office, by, bond, named)
    args = (
        listing,
        grant,
        package.plain_root,
        package.cipher_root,
        package.key_digest,
        package.blocks,
        attestation,
        UNMARKED,
        bond,
    )
    call = Call(contract="FileSales", function="deliver", args=args, event="Delivered")
    return act(office, "deliver-file", call, by=by, subject=named)


def check_file(office: Office, sale: int, folder: Path) -> Package:
    """Check a package against the sale before paying: ciphertext and leaves are those that the service committed to.

    Raises:
        ManifestMismatch: they are not.
        HostileFile: the package breaks a limit or a rule.
    """
    package, found = read_package(folder), file_sale_record(office, sale)
    committed = (found["plain_root"], found["cipher_root"], found["key_digest"], found["blocks"])
    if (package.plain_root, package.cipher_root, package.key_digest, package.blocks) != committed:
        raise ManifestMismatch("the package is not the one that sale {sale} commits to", sale=sale)
    check_package(package, progress=office.progress("check"))
    return package


def pay_file(office: Office, sale: int, folder: Path) -> dict[str, Any]:
    """Check a package and pay for it into escrow, as the buyer. Raises as ``check_file``."""
    check_file(office, sale, folder)
    found = file_sale_record(office, sale)
    buyer, price = party_at(office, found["buyer"]), int(listing_record(office, found["listing_id"])["price"])
    allow(office, buyer, price, {"file_sale": sale})
    call = Call(contract="FileSales", function="pay", args=(sale, price), event="Paid")
    return act(office, "pay-file", call, by=buyer, subject={"sale": sale})


def reveal_key(office: Office, sale: int) -> dict[str, Any]:
    """Reveal the key of a paid sale, as the marking service that delivered it.

    Raises:
        KeystoreError: the key is not held here.
    """
    found = file_sale_record(office, sale)
    name = _key_name(found["key_digest"])
    if not office.keys.holds(name):
        raise KeystoreError("the key of file sale {sale} is not held here", sale=sale)
    call = Call(
        contract="FileSales", function="reveal", args=(sale, office.keys.secret(name).reveal()), event="KeyRevealed"
    )
    return act(office, "reveal", call, by=_service(office, found["service"]), subject={"sale": sale})


def open_file(office: Office, sale: int, folder: Path, out: Path) -> int | None:
    """Open a package with the revealed key, as the buyer: write the model's files, or return the first wrong block.

    Raises:
        NotFoundError: the key is not revealed yet.
        ManifestMismatch: the package is not the sale's.
    """
    package = check_file(office, sale, folder)
    return unseal(package, revealed_key(office, sale), out, progress=office.progress("open"))


def revealed_key(office: Office, sale: int) -> Secret:
    """Return the key of a sale as the ledger shows it to everyone.

    Raises:
        NotFoundError: it is not revealed.
    """
    office.index.follow()
    for event in office.index.about(f"file-sale:{sale}"):
        if event.name == "KeyRevealed":
            return Secret(bytes.fromhex(str(event.args["key"]).removeprefix("0x")))
    raise NotFoundError("the key of file sale {sale} is not revealed yet", sale=sale)


def complain(office: Office, sale: int, folder: Path, *, block: int) -> dict[str, Any]:
    """Prove one wrong block on the ledger, as the buyer: price and the service's bond come to it.

    A complaint about a right block is refused, and costs the service nothing.
    """
    package, found = check_file(office, sale, folder), file_sale_record(office, sale)
    args = (sale, revealed_key(office, sale).reveal(), *complaint(package, block))
    call = Call(contract="FileSales", function="complain", args=args, event="Complained")
    return act(office, "complain", call, by=party_at(office, found["buyer"]), subject={"sale": sale, "block": block})


def settle_file(office: Office, sale: int) -> dict[str, Any]:
    """Share the price out when the time for complaints is over, and free the service's bond."""
    call = Call(contract="FileSales", function="settle", args=(sale,), event="Settled")
    return act(office, "settle-file", call, subject={"sale": sale})


def abort_file(office: Office, sale: int) -> dict[str, Any]:
    """End a sale that nobody paid in time, or whose key was not revealed in time: the buyer's money comes back.

    The service that delivered may give it up before it is paid; it acts where its account is held here.
    """
    service = file_sale_record(office, sale)["service"]
    with office.store.transaction() as transaction:
        known = party_with_address(transaction, service)
    call = Call(contract="FileSales", function="abort", args=(sale,), event="Aborted")
    by = known if known is not None and office.keys.holds(f"party/{known.id}/account") else None
    return act(office, "abort-file", call, by=by, subject={"sale": sale})


def file_sale_record(office: Office, sale: int) -> dict[str, Any]:
    """Return a file sale as the ledger holds it.

    Raises:
        NotFoundError: there is none.
    """
    return office.ledger.record("FileSales", "saleRecord", sale)


def listing_record(office: Office, listing: int) -> dict[str, Any]:
    """Return an offer of files as the ledger holds it.

    Raises:
        NotFoundError: there is none.
    """
    return office.ledger.record("FileSales", "listingRecord", listing)


def _keep(office: Office, key: Secret) -> None:
    """Keep a package's key before anything depends on it."""
    name = _key_name(key_digest(key))
    if not office.keys.holds(name):
        office.keys.add_all({name: key.reveal()})


def _key_of(office: Office, package: Package, title: Title) -> Secret:
    """Return the key of a package that this office sealed of this very model."""
    with office.store.transaction() as transaction:
        sealing = transaction.get("sealing", package.key_digest.hex())
    if sealing is None or sealing["weights"] != title.weights_root:
        raise ConflictError("{path} exists", hint="Choose another folder.", path=package.folder)
    return office.keys.secret(_key_name(package.key_digest))


def _key_name(digest: bytes) -> str:
    return f"file-key/{digest.hex()}"


def _check_master(office: Office, title: Title, directory: Path) -> None:
    found = digest_model(survey(directory), progress=office.progress("digest")).content_root
    if show_digest(found) != title.weights_root:
        raise ManifestMismatch(
            "{path} is not the model of title {title}",
            hint="Give the registered master.",
            path=directory,
            title=title.id,
        )


def _attest(office: Office, listing: int, grant: int, package: Package, service: Party | None) -> bytes:
    """Sign, keep and digest what the service attests: that this package is a copy of the registered model."""
    with office.store.transaction() as transaction:
        given = load(transaction, "grant", grant)
        title = Title.from_json(load(transaction, "title", given["title"]))
    body = {
        "office": office.id,
        "listing": listing,
        "grant": grant,
        "title": title.id,
        "registered_root": title.weights_root,
        "delivered_root": show_digest(package.plain_root),
        "ciphertext_root": show_digest(package.cipher_root),
        "mark": "unmarked",
    }
    envelope = sign(office.platform_key if service is None else office.party_key(service), "delivery", body)
    value = document_digest("delivery/1", body)
    with office.store.transaction() as transaction:
        transaction.put("attestation", show_digest(value), {"envelope": envelope})
    return value


def _service(office: Office, address: str) -> Party | None:
    return None if address == office.ledger.address_of(office.account) else party_at(office, address)
