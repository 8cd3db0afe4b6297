"""``countermark ledger``: start a chain of several organizations, and govern what stands on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.session import Session, current, write_json
from countermark.cli.shell import Group
from countermark.cli.text import card, table

if TYPE_CHECKING:
    from countermark.adapters.consortium import Plan

_NUMBER = click.IntRange(min=1)
_FAULT_TOLERANT = 4


@click.group(cls=Group)
def ledger() -> None:
    """Make the files of a chain that several organizations run, and change its market's parameters together.

    Example:
      countermark ledger genesis --besu --validators 4 --out chain --account 0x...
      countermark ledger deployment --out deployment.json
      countermark ledger parameters
    """


@ledger.command("account")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File to write.")
def account(out: Path) -> None:
    """Make a key for a ledger account or for a node. Needs no workspace.

    The file holds 64 hex digits and is readable by you alone. As an office's account, give its address to genesis
    --account and the file to init --ledger-key. As a node's key, give its public key to genesis --node-key and put the
    file into the node's folder as key.

    Example:
      countermark ledger account --out office.key
    """
    from countermark.adapters.consortium import ChainKey
    from countermark.bootstrap import save_chain_key
    from countermark.core.events import checksum_address

    session, key = current(), ChainKey.generate()
    assert key.secret is not None
    save_chain_key(out, key.secret)
    found = {"path": str(out), "address": checksum_address(key.address), "public_key": key.public.hex()}
    labels = (session.tr("private key"), session.tr("ledger account"), session.tr("public key"))
    session.answer("account", found, card(zip(labels, found.values(), strict=True)))


@ledger.command("genesis")
@click.option("--besu", "kind", flag_value="besu", help="For Hyperledger Besu: QBFT, free gas, file permissioning.")
@click.option("--fisco", "kind", flag_value="fisco", help="For FISCO BCOS 3.16: PBFT, Ethereum's JSON-RPC.")
@click.option("--validators", required=True, type=click.IntRange(1, 100), metavar="N", help="How many, 1 to 100.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder to make.")
@click.option("--account", "accounts", multiple=True, metavar="0x…", help="Account of an office; may be repeated.")
@click.option("--host", "hosts", multiple=True, metavar="IP", help="Where the validators stand: one for all, or each.")
@click.option("--node-key", "keys", multiple=True, metavar="HEX", help="Public key of a validator that made its own.")
@click.option("--chain-id", type=click.IntRange(1, 2**53 - 1), metavar="N", help="By default a random one.")
@click.option(
    "--block-seconds", default=2, show_default=True, type=click.IntRange(1, 60), help="Between two blocks; Besu alone."
)
def genesis(
    kind: str | None,
    validators: int,
    out: Path,
    accounts: tuple[str, ...],
    hosts: tuple[str, ...],
    keys: tuple[str, ...],
    chain_id: int | None,
    block_seconds: int,
) -> None:
    """Write everything that starts a chain: first block, node keys, permissions, settings, start scripts.

    One folder for each validator, to be handed to its organization, and a README in English and Chinese. Whoever runs
    this sees the keys that it makes; an organization that shares none gives its public key with --node-key. Neither
    program runs in our tests: try the files on your version before you build on them.

    Example:
      countermark ledger genesis --besu --validators 4 --out chain --account 0x52908400098527886E0F7030069857D2E4169EE7
    """
    from countermark.adapters.consortium import besu_files, fisco_files, read_plan, write_tree
    from countermark.bootstrap import utc_now
    from countermark.cli.party import read_address
    from countermark.errors import UsageProblem

    session = current()
    if kind is None:
        raise UsageProblem("give --besu or --fisco")
    plan = read_plan(
        validators=validators,
        moment=utc_now(),
        chain_id=chain_id,
        hosts=hosts,
        node_keys=keys,
        accounts=[bytes.fromhex(read_address(text)[2:]) for text in accounts],
        block_seconds=block_seconds,
    )
    write_tree(out, besu_files(plan) if kind == "besu" else fisco_files(plan))
    if validators < _FAULT_TOLERANT:
        session.note(session.tr("With fewer than 4 validators the chain stops when one of them fails or lies."))
    session.answer("genesis", _describe(plan, kind, out), _show_plan(session, plan, out))


@ledger.command("deployment")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File to write.")
def deployment(out: Path) -> None:
    """Write which chain and contracts the office works on, for another office to join; and show its own roles there.

    The file is public: chain id, hash of the first block, addresses. It holds no key and no node's address.

    Example:
      countermark ledger deployment --out deployment.json
    """
    from countermark.workflows.governance import deployment_document, office_roles

    session = current()
    with session.office() as office:
        document, roles = deployment_document(office), office_roles(office)
        address, key = office.ledger.address_of(office.account), office.platform_key.public.text
    write_json(out, document)
    rows = [
        (session.tr("ledger"), f"{document['engine']}, {document['chain_id']}"),
        (session.tr("ledger account"), address),
        (session.tr("public key"), key),
        (session.tr("roles"), ", ".join(roles) or session.tr("none: no governor has admitted it")),
    ]
    text = session.tr("Written: {path}. Another office joins with: countermark init --ledger URL --join FILE", path=out)
    answer = {"path": str(out), "account": address, "public_key": key, "roles": roles, "deployment": document}
    session.answer("deployment", answer, f"{text}\n{card(rows)}")


@ledger.command("index")
@click.option("--rebuild", is_flag=True, help="Forget what was read, and read the ledger from its first block.")
def index(rebuild: bool) -> None:
    """Bring the index of the ledger's events up to date, and grants and titles with it.

    Other commands do so by themselves. What the index holds follows from the ledger alone.

    Example:
      countermark ledger index --rebuild
    """
    from countermark.workflows.market.mirror import mirror

    session = current()
    with session.office() as office:
        count = office.index.rebuild() if rebuild else office.index.follow()
        mirror(office, from_start=rebuild)
    session.answer("index", {"events": count, "rebuilt": rebuild}, session.tr("{count} events were read.", count=count))


@ledger.command("parameters")
def parameters() -> None:
    """List the parameters and contracts in force, and the proposals to change them.

    Example:
      countermark ledger parameters
    """
    from countermark.workflows import governance

    session = current()
    with session.office() as office:
        found, proposed = governance.parameters(office), governance.proposals(office)
    name, value = session.tr("name"), session.tr("value")
    head = [name, value, session.tr("version")]
    lines = [table(head, [[entry["name"], entry["value"], entry["version"]] for entry in found])]
    if proposed:
        head = [session.tr("proposal"), name, value, session.tr("approvals"), session.tr("from"), session.tr("state")]
        rows = [
            [p["id"], p["name"], p["value"], len(p["approvals"]), p["active_from"], _state(session, p)]
            for p in proposed
        ]
        lines.append(table(head, rows))
    session.answer("parameters", {"parameters": found, "proposals": proposed}, "\n\n".join(lines))


@ledger.command("propose")
@click.argument("name")
@click.argument("value")
@click.option("--as", "by", metavar="NAME", help="A governor whose account is held here; by default the office.")
def propose(name: str, value: str, by: str | None) -> None:
    """Propose a new value for a parameter or contract, and approve it, as governor.

    Shares are basis points or percent, times seconds or with a unit, contracts and accounts addresses. It takes effect
    when enough governors approved it, its delay is over and somebody activates it.

    Example:
      countermark ledger propose market.fee 2.5%
      countermark ledger propose governance.delay "3 d"
    """
    from countermark.core.times import from_unix, show_time
    from countermark.workflows import governance

    session = current()
    with session.office() as office:
        done = governance.propose(office, name, value, by=by)
    begins = show_time(from_unix(int(done["active_from"])))
    text = session.tr(
        "Proposal {proposal} is made and approved; it can take effect from {time} on.",
        proposal=done["proposal_id"],
        time=begins,
    )
    _answer(session, done, text)


@ledger.command("approve")
@click.argument("proposal", type=_NUMBER)
@click.option("--as", "by", metavar="NAME", help="A governor whose account is held here; by default the office.")
def approve(proposal: int, by: str | None) -> None:
    """Approve another governor's proposal, as governor.

    Example:
      countermark ledger approve 1
    """
    from countermark.workflows import governance

    session = current()
    with session.office() as office:
        done = governance.approve(office, proposal, by=by)
    _answer(session, done, session.tr("Proposal {proposal} is approved.", proposal=proposal))


@ledger.command("withdraw")
@click.argument("proposal", type=_NUMBER)
@click.option("--as", "by", metavar="NAME", help="A governor whose account is held here; by default the office.")
def withdraw(proposal: int, by: str | None) -> None:
    """Give up a proposal of your own, as governor.

    Example:
      countermark ledger withdraw 1
    """
    from countermark.workflows import governance

    session = current()
    with session.office() as office:
        done = governance.withdraw(office, proposal, by=by)
    _answer(session, done, session.tr("Proposal {proposal} is withdrawn.", proposal=proposal))


@ledger.command("activate")
@click.argument("proposal", type=_NUMBER)
def activate(proposal: int) -> None:
    """Put a proposal into force: its delay is over, and enough governors approved it.

    Example:
      countermark ledger activate 1
    """
    from countermark.workflows import governance

    session = current()
    with session.office() as office:
        done = governance.activate(office, proposal)
    _answer(session, done, session.tr("Proposal {proposal} is in force.", proposal=proposal))


def _answer(session: Session, done: dict[str, Any], text: str) -> None:
    session.answer("act", done, f"{text}\n{card([(session.tr('transaction'), str(done['transaction']))])}")


def _state(session: Session, proposal: dict[str, Any]) -> str:
    if proposal["ready"]:
        return session.tr("delay over")
    states = {"open": session.tr("open"), "withdrawn": session.tr("withdrawn"), "active": session.tr("in force")}
    return states[proposal["state"]]


def _describe(plan: Plan, kind: str, out: Path) -> dict[str, Any]:
    return {
        "kind": kind,
        "path": str(out),
        "chain_id": plan.chain_id,
        "tolerates": plan.tolerates,
        "accounts": [f"0x{account.hex()}" for account in plan.accounts],
        "validators": [
            {
                "name": node.name,
                "host": node.host,
                "node_id": node.key.public.hex(),
                "address": f"0x{node.key.address.hex()}",
                "key_made_here": node.key.secret is not None,
            }
            for node in plan.validators
        ],
    }


def _show_plan(session: Session, plan: Plan, out: Path) -> str:
    rows = [
        (session.tr("chain id"), str(plan.chain_id)),
        (session.tr("validators"), str(len(plan.validators))),
        (session.tr("may fail or lie"), str(plan.tolerates)),
        *((f"  {node.name}", f"{node.host}  0x{node.key.address.hex()}") for node in plan.validators),
    ]
    return session.tr("The chain's files are in {path}; read README.txt there.", path=out) + "\n" + card(rows)
