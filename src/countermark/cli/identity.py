"""``countermark party challenge`` and ``identify``: proof that an organization is behind a party."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, read_file, write_file
from countermark.cli.shell import Command
from countermark.cli.text import Row, card
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.workflows.office import Office

_FILE = click.Path(path_type=Path)
_BY_CERTIFICATE = ("certificate", "signature", "roots")
_BY_TOKEN = ("oidc", "issuer", "audience", "jwks")


@click.command(cls=Command)
@click.argument("name")
@click.option("--out", required=True, type=_FILE, metavar="FILE", help="File to write.")
def challenge(name: str, out: Path) -> None:
    """Hand out what a party's organization has to sign to prove that the party is its own.

    The challenge binds office, party, signing key, ledger account and time. The organization signs the file with the
    key of its certificate, or gets an ID token whose nonce is the digest that is printed. It is good for 30 days, and
    voids an earlier one.

    Example:
      countermark party challenge "Agency North" --out challenge.json
      openssl dgst -sha256 -sign member.key -out challenge.sig challenge.json
    """
    from countermark.core.times import read_time, show_time
    from countermark.identity import MAX_AGE
    from countermark.workflows.identity import challenge_party

    session = current()
    with session.office() as office:
        issued = challenge_party(office, name)
    write_file(out, issued.to_bytes())
    until = show_time(read_time(issued.issued_at) + MAX_AGE)
    rows = [
        (session.tr("challenge"), str(out)),
        (session.tr("nonce of an ID token"), issued.digest),
        (session.tr("good until"), until),
    ]
    answer = {"path": str(out), "party": issued.party, "nonce": issued.digest, "valid_until": until}
    session.answer("identity-challenge", answer, card(rows))


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--certificate", type=_FILE, metavar="CHAIN.pem", help="The organization's certificate, then those above."
)
@click.option("--signature", type=_FILE, metavar="FILE", help="Its key's signature of the challenge.")
@click.option("--roots", type=_FILE, metavar="ROOTS.pem", help="Certificates of the authorities that you trust.")
@click.option("--oidc", type=_FILE, metavar="TOKEN.jwt", help="ID token of an identity provider.")
@click.option("--issuer", metavar="URL", help="Who must have issued the token.")
@click.option("--audience", metavar="ID", help="Whom it must be for: your client id at the provider.")
@click.option("--jwks", type=_FILE, metavar="FILE", help="The provider's public keys.")
@click.option("--claim", default="organization", show_default=True, help="Claim that holds the organization's name.")
@click.option(
    "--days", default=365, show_default=True, type=click.IntRange(1, 3653), help="How long the proof counts, at most."
)
def identify(name: str, claim: str, days: int, **given: Any) -> None:
    """Check the answer to a challenge, as registrar, and put its salted digest on the ledger.

    The name in certificate or token must be the party's. What was checked stays here and can be erased with
    countermark document erase; ledger and log hold its digest alone. Nothing is fetched, so a certificate's revocation
    is yours to look up.

    Example:
      countermark party identify "Agency North" --certificate chain.pem --signature challenge.sig --roots roots.pem
      countermark party identify North --oidc token.jwt --issuer https://id.example --audience us --jwks keys.json
    """
    session = current()
    method = _method(given)
    with session.office() as office:
        found = _identify(office, name, method, {**given, "claim": claim}, days)
    session.answer("identity", found, card(identity_rows(session, found)))


def identity_rows(session: Session, found: dict[str, Any] | None) -> list[Row]:
    """Return what to print of a party's proof of identity."""
    if found is None:
        return [(session.tr("identity"), session.tr("not proven"))]
    method = session.tr("certificate") if found["method"] == "certificate" else session.tr("ID token")
    rows = [
        (session.tr("identity"), method),
        (session.tr("good until"), found["valid_until"]),
        (session.tr("proof"), f"sha256:{found['proof']}"),
        (session.tr("transaction"), found["transaction"]),
    ]
    if not found.get("in_force", True):
        rows.append((session.tr("state"), session.tr("expired")))
    if not found.get("kept", True):
        rows.append((session.tr("documents"), session.tr("erased")))
    return rows


def _method(given: dict[str, Any]) -> tuple[str, ...]:
    """Return the options of the method that was chosen, all of them given and no other one."""
    named = {name for name, value in given.items() if value is not None}
    for method in (_BY_CERTIFICATE, _BY_TOKEN):
        if named == set(method):
            return method
    raise InputError(
        "give --certificate, --signature and --roots, or --oidc, --issuer, --audience and --jwks",
        hint="The first three check a certificate, the other four an ID token.",
    )


def _identify(office: Office, name: str, method: tuple[str, ...], given: dict[str, Any], days: int) -> dict[str, Any]:
    from countermark.identity.certificate import MAX_CHAIN_BYTES, MAX_ROOTS_BYTES, MAX_SIGNATURE_BYTES
    from countermark.identity.token import MAX_JWKS_BYTES, MAX_TOKEN_BYTES
    from countermark.workflows.identity import identify_by_certificate, identify_by_token

    if method is _BY_CERTIFICATE:
        return identify_by_certificate(
            office,
            name,
            chain=read_file(given["certificate"], limit=MAX_CHAIN_BYTES),
            signature=read_file(given["signature"], limit=MAX_SIGNATURE_BYTES),
            roots=read_file(given["roots"], limit=MAX_ROOTS_BYTES),
            days=days,
        )
    return identify_by_token(
        office,
        name,
        token=read_file(given["oidc"], limit=MAX_TOKEN_BYTES).decode("ascii", "replace").strip(),
        jwks=read_file(given["jwks"], limit=MAX_JWKS_BYTES),
        issuer=given["issuer"],
        audience=given["audience"],
        claim=given["claim"],
        days=days,
    )
