"""The compiled contracts as shipped, and what their refusals mean.

``contracts/compile.mjs`` writes the JSON files beside this module from the Solidity sources; users need no compiler.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Any

from eth_abi.abi import decode as decode_abi
from eth_abi.exceptions import DecodingError

from countermark.core.events import checksum_address
from countermark.core.rlp import keccak256
from countermark.errors import (
    AlreadyRegistered,
    ConflictError,
    CountermarkError,
    GrantExpired,
    GrantRevoked,
    InputError,
    LedgerError,
    NotFoundError,
    NotTitleHolder,
    RightsError,
    TermsViolated,
)

#: In the order of their deployment: each one's constructor takes the address of the one named.
CONTRACTS = {"Members": None, "ModelTitles": "Members", "Grants": "ModelTitles", "Anchors": "Members"}

ROLE_NAMES = ("governor", "registrar", "licensor", "licensee", "anchorer", "regulator")


@lru_cache
def artefact(name: str) -> dict[str, Any]:
    """Return a contract's artefact: ``abi``, ``bytecode``, ``deployedBytecode``, ``compiler``, ``sources``."""
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    value: dict[str, Any] = json.loads(text)
    return value


def refusal(data: bytes) -> CountermarkError:
    """Turn revert data into the error that it means; ``params["error"]`` is the contract's own name for it."""
    known = _errors().get(data[:4])
    if known is None:
        return LedgerError("the contract refused without a reason that is known: {data}", data=data.hex(), error="")
    name, inputs = known
    try:
        values = decode_abi([item["type"] for item in inputs], data[4:])
    except DecodingError:
        return LedgerError("the contract refused: {error}", error=name)
    arguments = {item["name"]: _plain(item["type"], value) for item, value in zip(inputs, values, strict=True)}
    make = _MEANINGS.get(name)
    if make is None:
        return LedgerError("the contract refused: {error} {arguments}", error=name, arguments=arguments)
    return make(error=name, **arguments)


def _plain(kind: str, value: Any) -> Any:
    if kind == "address":
        return checksum_address(bytes.fromhex(value[2:]))
    return value.hex() if isinstance(value, bytes) else value


@lru_cache
def _errors() -> dict[bytes, tuple[str, list[dict[str, Any]]]]:
    """Return name and inputs of every custom error by its selector."""
    entries = [entry for name in CONTRACTS for entry in artefact(name)["abi"] if entry["type"] == "error"]
    return {_selector(entry): (entry["name"], entry["inputs"]) for entry in entries}


def _selector(entry: dict[str, Any]) -> bytes:
    types = ",".join(item["type"] for item in entry["inputs"])
    return keccak256(f"{entry['name']}({types})".encode())[:4]


def _missing_role(error: str, account: str, role: int) -> CountermarkError:
    wanted = " and ".join(name for bit, name in enumerate(ROLE_NAMES) if role >> bit & 1)
    return RightsError(
        "{account} is not a member in force with the role {role}",
        hint="Admit it with that role; a suspended or expired membership has none.",
        error=error,
        account=account,
        role=wanted or "member",
    )


def _not_found(error: str, **arguments: Any) -> CountermarkError:
    return NotFoundError("the ledger has no such record: {error} {arguments}", error=error, arguments=arguments)


_MEANINGS: dict[str, Callable[..., CountermarkError]] = {
    "AlreadyRegistered": lambda error, titleId: AlreadyRegistered(  # noqa: N803
        "these weights are registered as title {title}", error=error, title=titleId
    ),
    "NotTitleHolder": lambda error, account, titleId: NotTitleHolder(  # noqa: N803
        "{account} does not hold title {title}", error=error, account=account, title=titleId
    ),
    "MissingRole": _missing_role,
    "GrantEnded": lambda error, grantId: GrantExpired("grant {grant} has ended", error=error, grant=grantId),  # noqa: N803
    "AlreadyRevoked": lambda error, grantId: GrantRevoked(  # noqa: N803
        "grant {grant} is revoked already", error=error, grant=grantId
    ),
    "NotRevocable": lambda error, grantId: TermsViolated(  # noqa: N803
        "the terms of grant {grant} do not allow revocation", error=error, grant=grantId
    ),
    "NotTransferable": lambda error, grantId: TermsViolated(  # noqa: N803
        "the terms of grant {grant} do not allow passing it on", error=error, grant=grantId
    ),
    "NoFreeSeat": lambda error, offerId: TermsViolated(  # noqa: N803
        "every seat of offer {offer} is taken in that window", error=error, offer=offerId
    ),
    "OfferNotOpen": lambda error, offerId: ConflictError(  # noqa: N803
        "offer {offer} was withdrawn", error=error, offer=offerId
    ),
    "CommitmentUsed": lambda error, commitment: ConflictError(
        "that commitment was used before", error=error, commitment=commitment
    ),
    "SizeMustGrow": lambda error, logId, size: ConflictError(  # noqa: N803
        "the log is anchored at size {size} already", error=error, log=logId, size=size
    ),
    "NotTheAnchorer": lambda error, logId, anchorer: RightsError(  # noqa: N803
        "that log is anchored by {anchorer}", error=error, log=logId, anchorer=anchorer
    ),
    "InvalidWindow": lambda error: InputError("a grant's window ends after it starts, and in the future", error=error),
    "TooManySeats": lambda error, seats: InputError(
        "an offer counts at most 256 seats, got {seats}; 0 stands for any number", error=error, seats=seats
    ),
    "UnknownTitle": _not_found,
    "UnknownOffer": _not_found,
    "UnknownMember": _not_found,
    "ERC721NonexistentToken": _not_found,
}
