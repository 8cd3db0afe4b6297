"""``countermark party``: who takes part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.identity import challenge, identify, identity_rows
from countermark.cli.session import Session, current, read_file
from countermark.cli.shell import Group
from countermark.cli.text import card, table
from countermark.errors import InputError

if TYPE_CHECKING:
    from countermark.core.keys import PublicKey
    from countermark.registry import Party

_ROLES = ("owner", "licensee", "regulator", "arbiter", "expert", "treasurer", "marker", "governor", "operator")
_ROLE_HELP = "owner, licensee, regulator, arbiter, expert, treasurer, marker, governor, operator; repeatable."
_KEY_LIMIT = 2**16


@click.group(cls=Group)
def party() -> None:
    """Admit owners and licensees, and make keys for those who sign elsewhere.

    Example:
      countermark party add "Example Studio" --role owner
    """


@party.command("add")
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(_ROLES), metavar="ROLE", help=_ROLE_HELP
)
@click.option("--public-key", metavar="FILE|HEX", help="The party's own Ed25519 key, if it signs elsewhere.")
@click.option("--address", metavar="0x…", help="The party's ledger account, if it has one elsewhere.")
def add(name: str, roles: tuple[str, ...], public_key: str | None, address: str | None) -> None:
    """Admit a party to the ledger.

    Without --public-key the office makes a key and keeps it; then the party's signatures prove no more than the
    office's word. With it, only the party can sign its acceptances and requests.

    Whoever admits is a governor. Another office that joined this deployment is admitted as operator: it registers
    models, anchors its log and delivers licences. To admit owners and licensees of its own it is a governor as well.

    Example:
      countermark party add "Agency North" --role licensee --public-key nord.pub
      countermark party add "Second Office" --role operator --role governor --address 0x...
    """
    from countermark.workflows.register import add_party

    session = current()
    key = read_public_key(public_key) if public_key else None
    account = read_address(address) if address else None
    with session.office() as office:
        member = add_party(office, name, list(roles), public_key=key, address=account)
    session.answer("party", show_party(member), _describe(session, member))


@party.command("list")
def list_() -> None:
    """List the parties.

    Example:
      countermark party list
    """
    from countermark.registry import Party

    session = current()
    with session.office() as office, office.store.transaction() as transaction:
        members = [Party.from_json(body) for body in transaction.all("party")]
    head = [session.tr(label) for label in ("id", "name", "roles", "key held by")]
    rows = [[m.id, m.name, ", ".join(m.roles), _custody(session, m)] for m in members]
    empty = session.tr("Nobody has been admitted yet.")
    session.answer("parties", {"parties": [show_party(m) for m in members]}, table(head, rows) if rows else empty)


@party.command("keygen")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="KEY.pem", help="File to write.")
def keygen(out: Path) -> None:
    """Make a signing key for a party that signs elsewhere. Needs no workspace.

    The private key goes to the file (PKCS#8, not encrypted, readable by you alone) and never leaves your machine; give
    the office the public key that is printed.

    Example:
      countermark party keygen --out nord.pem
    """
    from countermark.bootstrap import save_party_key
    from countermark.core.keys import SigningKey

    session, key = current(), SigningKey.generate()
    save_party_key(out, key)
    rows = [
        (session.tr("private key"), str(out)),
        (session.tr("public key"), key.public.text),
        (session.tr("key id"), key.public.key_id),
    ]
    document = {"path": str(out), "public_key": key.public.text, "key_id": key.public.key_id}
    session.answer("key", document, card(rows))


@party.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show a party and how its identity was proven.

    Example:
      countermark party show "Agency North"
    """
    from countermark.workflows.identity import identity_of
    from countermark.workflows.market.acts import read_party

    session = current()
    with session.office() as office:
        member = read_party(office, name)
        found = identity_of(office, member)
    text = f"{_describe(session, member)}\n{card(identity_rows(session, found))}"
    session.answer("party", {**show_party(member), "identity": found}, text)


@party.command("forget")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(name: str, yes: bool) -> None:
    """Erase a party's name and its salt, for good.

    Keys, grants, ledger and log stay as they are; the digest that stands there for the name says nothing any more. From
    then on no bundle can be made that names the party, and it is called by its id.

    Example:
      countermark party forget "Agency North" --yes
    """
    from countermark.workflows.register import forget_party

    session = current()
    matter = session.tr("The name of {name} and its salt will be erased for good.", name=name)
    session.confirm(session.tr("Go on?"), matter, yes=yes)
    with session.office() as office:
        erased = forget_party(office, name)
    session.answer("party", show_party(erased), session.tr("Erased. The party is called: {name}", name=erased.name))


party.add_command(challenge)
party.add_command(identify)


def show_party(member: Party) -> dict[str, Any]:
    """Return what may be printed of a party: everything but the salt of its name."""
    return {name: value for name, value in member.to_json().items() if name != "name_salt"}


def read_public_key(text: str) -> PublicKey:
    """Read 64 hex digits, or a file that holds them or a PEM public key.

    Raises:
        InputError: neither.
    """
    from countermark.core.keys import PublicKey

    path = Path(text)
    if len(text) == 64 and not path.exists():
        return PublicKey.from_text(text.lower())
    data = read_file(path, limit=_KEY_LIMIT)
    if b"PRIVATE KEY" in data:
        raise InputError(
            "{path} is a private key", hint="Keep it; give the public key that party keygen printed.", path=path
        )
    if b"PUBLIC KEY" in data:
        return _read_pem(path, data)
    return PublicKey.from_text(data.decode("utf-8", "replace").strip().lower())


def _read_pem(path: Path, data: bytes) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from countermark.core.keys import PublicKey

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("cannot read an Ed25519 key from {path}", path=path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("{path} holds another kind of key than Ed25519", path=path)
    return PublicKey(key.public_bytes_raw())


def read_address(text: str) -> str:
    """Return a ledger address in its checksummed form.

    Raises:
        InputError: not 40 hex digits, or mixed case with a wrong checksum.
    """
    from countermark.core.events import checksum_address

    digits = text.removeprefix("0x")
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    if len(raw) != 20 or (digits not in (digits.lower(), digits.upper()) and checksum_address(raw) != "0x" + digits):
        raise InputError("not a ledger address: {text}", text=text[:80])
    return checksum_address(raw)


def _custody(session: Session, member: Party) -> str:
    return session.tr("the office") if member.custody == "held" else session.tr("the party")


def _describe(session: Session, member: Party) -> str:
    rows = [
        (session.tr("party"), f"{member.name}  ({member.id})"),
        (session.tr("roles"), ", ".join(member.roles)),
        (session.tr("public key"), member.signing_key),
        (session.tr("key held by"), _custody(session, member)),
        (session.tr("ledger account"), member.address),
        (session.tr("transaction"), member.admission),
    ]
    return card(rows)
