"""What a deployment starts with: the contracts and parameters that its founder writes into the Directory, once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from web3 import Web3

from countermark.adapters.contracts import NAMED, artefact
from countermark.errors import InputError

MAX_FEE_BPS = 1_000  # Directory.sol
_DELAY_S = 86_400  # Directory.MIN_DELAY
_ZERO_ADDRESS = "0x" + "00" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """Parameters of the market that the parties of a deployment see before they sign.

    Attributes:
        platform_fee_bps: basis points of a price that go to the founder's account, 0 to 1,000.
        currency: symbol of the settlement token, 3 to 12 capitals and digits.
        case_bond: what opening or appealing a case costs if it is lost, in the token's smallest unit.
    """

    platform_fee_bps: int = 0
    currency: str = "CNY"
    case_bond: int = 10_000

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: one is out of its range.
        """
        if not 0 <= self.platform_fee_bps <= MAX_FEE_BPS:
            raise InputError("the platform's fee is 0 to {limit} basis points", limit=MAX_FEE_BPS)
        if not re.fullmatch(r"[A-Z][A-Z0-9]{2,11}", self.currency):
            raise InputError("not a currency: {currency}", currency=self.currency[:40])
        if not 0 <= self.case_bond < 2**53:
            raise InputError("a case's bond is 0 to 2**53-1")


def founding(web3: Web3, addresses: Mapping[str, str], foundation: Foundation, founder: str) -> dict[str, Any]:
    """Return the founder's call that sets every contract and parameter; with one governor, one approval suffices."""
    contracts = {name: int(addresses[name], 16) for name in NAMED}
    parameters = {
        "governance.threshold": 1,
        "governance.delay": _DELAY_S,
        "market.fee": foundation.platform_fee_bps,
        "market.fee.account": int(founder, 16),
        "market.currency": int.from_bytes(_word(foundation.currency), "big"),
        "case.bond": foundation.case_bond,
    }
    named = contracts | parameters
    directory = _directory(web3, addresses)
    data = directory.encode_abi("found", [[_word(name) for name in named], list(named.values())])
    return {"to": directory.address, "data": data, "value": 0}


def is_founded(web3: Web3, addresses: Mapping[str, str]) -> bool:
    """Whether the founder has spoken: the Directory forgets it then."""
    return bool(_directory(web3, addresses).functions.founder().call() == _ZERO_ADDRESS)


def named_in(web3: Web3, addresses: Mapping[str, str], name: str) -> str:
    """Return the checksummed address that a contract's name stands for."""
    return str(_directory(web3, addresses).functions.resolve(_word(name)).call())


def _directory(web3: Web3, addresses: Mapping[str, str]) -> Any:
    return web3.eth.contract(address=Web3.to_checksum_address(addresses["Directory"]), abi=artefact("Directory")["abi"])


def _word(text: str) -> bytes:
    return text.encode().ljust(32, b"\0")
