"""Parameters and contracts in force, and how governors change them.

A change is proposed, approved by as many governors as the threshold asks, and put into force after the delay. The
office is one of them; others may be parties whose accounts it holds, or act with tools of their own. What is shown is
read from the ledger's events, so it holds what every governor did.
"""

from __future__ import annotations

from typing import Any

from countermark.core.times import from_unix, show_time
from countermark.errors import ConflictError, InputError, NotFoundError
from countermark.governance import DEPLOYMENT_FORMAT, PARAMETERS, name_word, read_value, show_value, word_name
from countermark.registry import Party
from countermark.workflows.market.acts import Call, act, read_party
from countermark.workflows.office import IndexedEvent, Office
from countermark.workflows.register import ROLE_BITS

_THRESHOLD = "governance.threshold"
OPEN, WITHDRAWN, ACTIVE = "open", "withdrawn", "active"

#: Directory.PROPOSAL_LIFE.
_PROPOSAL_LIFE_S = 30 * 86_400


def deployment_document(office: Office) -> dict[str, Any]:
    """Return what another office joins this one's ledger with: chain id, hash of the first block, contract addresses.

    Raises:
        ConflictError: the ledger stands in a file of this workspace.
    """
    found = office.ledger.deployment
    if found["engine"] == "embedded":
        raise ConflictError(
            "the ledger stands in a file of this workspace, which no other office can reach",
            hint="Make an office on a chain behind a node: countermark init --ledger URL",
        )
    return {"format": DEPLOYMENT_FORMAT, **found}


def office_roles(office: Office) -> list[str]:
    """Return the roles, of those that ``party add`` gives, that the office's own account has in force."""
    address = office.ledger.address_of(office.account)
    return [role for role in ROLE_BITS if office.ledger.is_member(address, ROLE_BITS[role])]


def parameters(office: Office) -> list[dict[str, Any]]:
    """Return ``{"name", "value", "word", "version"}`` of every name in force, sorted by name.

    ``value`` is for people, ``word`` the Directory's number as text, ``version`` counts how often the name was set.
    """
    found = {}
    for event in _events(office, "Activated"):
        name, word = _read_name(event.args["name"]), int(event.args["value"])
        found[name] = {
            "name": name,
            "value": show_value(name, word),
            "word": str(word),
            "version": int(event.args["version"]),
        }
    return [found[name] for name in sorted(found)]


def proposals(office: Office) -> list[dict[str, Any]]:
    """Return every proposal, oldest first: what, who made and approved it, its state, when it can take effect.

    ``ready`` says whether it is open, its delay is over and it has not lapsed; the approvals in force are counted when
    it is activated.
    """
    found: dict[int, dict[str, Any]] = {}
    for event in _events(office, "Proposed", "Approved", "Withdrawn", "Activated"):
        number = int(event.args["proposalId"])
        if event.name == "Proposed":
            found[number] = _begin(office, number, event.args)
        elif event.name == "Approved":
            found[number]["approvals"].append(event.args["by"])
        elif number:  # the founder's values have none
            found[number] |= {"state": WITHDRAWN if event.name == "Withdrawn" else ACTIVE, "ready": False}
    return list(found.values())


def propose(office: Office, name: str, text: str, *, by: str | None = None) -> dict[str, Any]:
    """Propose what a name shall stand for, and approve it. Returns what ``act`` does.

    Args:
        office: where.
        name: a parameter, or a contract that the Directory names.
        text: its value as people write it.
        by: name of a governor whose account is held here; the office itself if left out.

    Raises:
        InputError: no such parameter or contract, or no value for it.
        ConflictError: a threshold that the governors in force could never reach.
        RightsError: no governor.
    """
    known = {*PARAMETERS, *(entry["name"] for entry in parameters(office))}
    if name not in known:
        raise InputError(
            "there is no parameter {name}", hint="There are: {known}", name=name[:64], known=", ".join(sorted(known))
        )
    word = read_value(name, text)
    if name == _THRESHOLD:
        _check_threshold(office, word)
    call = Call(contract="Directory", function="propose", args=(name_word(name), word), event="Proposed")
    return act(office, "propose", call, by=_governor(office, by), subject={"name": name, "value": str(word)})


def approve(office: Office, proposal: int, *, by: str | None = None) -> dict[str, Any]:
    """Approve another governor's proposal.

    Raises:
        NotFoundError: there is no such open proposal.
        ConflictError: this governor approved it before.
        RightsError: no governor.
    """
    return _vote(office, "approve", proposal, "Approved", by)


def withdraw(office: Office, proposal: int, *, by: str | None = None) -> dict[str, Any]:
    """Give up a governor's own proposal. Raises as ``approve``."""
    return _vote(office, "withdraw", proposal, "Withdrawn", by)


def activate(office: Office, proposal: int) -> dict[str, Any]:
    """Put a proposal into force.

    Raises:
        NotFoundError: there is no such open proposal.
        ConflictError: its delay is not over.
        RightsError: too few governors in force approved it.
    """
    return _vote(office, "activate", proposal, "Activated", None)


def governors(office: Office) -> list[str]:
    """Return the addresses of the governors in force, in the order of their first admission."""
    office.index.follow()
    admitted = dict.fromkeys(event.args["account"] for event in office.index.named("Admitted"))
    return [address for address in admitted if office.ledger.is_member(address, ROLE_BITS["governor"])]


def _vote(office: Office, function: str, proposal: int, event: str, by: str | None) -> dict[str, Any]:
    if not 1 <= proposal < 2**63:
        raise NotFoundError("there is no proposal {proposal}", proposal=proposal)
    call = Call(contract="Directory", function=function, args=(proposal,), event=event)
    return act(office, f"{function}-proposal", call, by=_governor(office, by), subject={"proposal": proposal})


def _governor(office: Office, name: str | None) -> Party | None:
    return None if name is None else read_party(office, name)


def _check_threshold(office: Office, wanted: int) -> None:
    """A threshold above the number of governors would stop every further change, this one's undoing included."""
    count = len(governors(office))
    if wanted > count:
        raise ConflictError(
            "only {count} governors are in force",
            hint='Admit more first: countermark party add "NAME" --role governor --address 0x…',
            count=count,
        )


def _events(office: Office, *names: str) -> list[IndexedEvent]:
    office.index.follow()
    return [event for event in office.index.named(*names) if event.contract == "Directory"]


def _begin(office: Office, number: int, args: Any) -> dict[str, Any]:
    name, word, begins = _read_name(args["name"]), int(args["value"]), int(args["activeFrom"])
    return {
        "id": number,
        "name": name,
        "value": show_value(name, word),
        "word": str(word),
        "by": args["by"],
        "approvals": [],
        "state": OPEN,
        "active_from": show_time(from_unix(begins)),
        "ready": begins <= office.clock().timestamp() < begins + _PROPOSAL_LIFE_S,
    }


def _read_name(word: str) -> str:
    return word_name(bytes.fromhex(word.removeprefix("0x")))
