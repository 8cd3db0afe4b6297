"""Transactions over web3.py: accounts, signing, the embedded chain's deployment, and its errors turned into ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_utils.exceptions import ValidationError
from web3 import Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception

from countermark.adapters.contracts import CONTRACTS, artefact, refusal
from countermark.adapters.foundation import Foundation, founding, is_founded
from countermark.adapters.rpc_shapes import contract_address, recover_sender
from countermark.core.events import checksum_address
from countermark.core.keys import Secret
from countermark.core.rlp import decode, decode_int, decode_list
from countermark.errors import InputError, LedgerError, NotFoundError


def account_of(secret: Secret) -> Any:
    """Return the account of a secp256k1 private key.

    Raises:
        InputError: not a valid one (zero, or not below the group order).
    """
    try:
        return Account.from_key(secret.reveal())
    except (ValueError, ValidationError) as error:
        raise InputError("not a private key of an Ethereum account") from error


def read_address(text: str) -> Any:
    """Return an address in its checksummed form.

    Raises:
        InputError: not 40 hex digits, or mixed case with a wrong EIP-55 checksum.
    """
    digits = text.removeprefix("0x")
    if re.fullmatch("[0-9a-fA-F]{40}", digits):
        shown = checksum_address(bytes.fromhex(digits))
        if digits in (shown[2:], digits.lower(), digits.upper()):
            return shown
    raise InputError("not an Ethereum address: {text}", text=text[:80])


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a chain wants its transactions.

    Attributes:
        chain_id: signed into each (EIP-155).
        legacy: without fee market (EIP-1559); such a chain takes one gas price.
        exact: its gas estimates have no room: inner calls keep back a 64th, and time moves until a call is mined.
    """

    chain_id: int
    legacy: bool = False
    exact: bool = False

    def fees(self, web3: Web3) -> dict[str, int]:
        """Return a transaction's fee fields, in wei; all zero where gas is free."""
        price = web3.eth.gas_price
        if self.legacy:
            return {"gasPrice": price}
        tip = web3.eth.max_priority_fee if price else 0
        return {"type": 2, "maxFeePerGas": 2 * price + tip, "maxPriorityFeePerGas": tip}


def sign(web3: Web3, account: Any, call: dict[str, Any], dialect: Dialect) -> bytes:
    """Fill in gas (which tries the call), nonce and fees, and sign."""
    gas = web3.eth.estimate_gas({"from": account.address, **call})  # type: ignore[typeddict-item]
    transaction = {
        "chainId": dialect.chain_id,
        "nonce": web3.eth.get_transaction_count(account.address, "pending"),
        "gas": gas + gas // 4 + 10_000 if dialect.exact else gas,
        **dialect.fees(web3),
        **call,
    }
    return bytes(account.sign_transaction(transaction).raw_transaction)


def read_turn(raw: bytes) -> tuple[str, int]:
    """Return sender and nonce of a signed transaction, of type 2 (EIP-1559) or legacy.

    Raises:
        InputError: it is not one.
    """
    if raw[:1] == b"\x02":
        nonce = decode_list(decode(raw[1:]), least=12, most=12)[1]
    else:
        nonce = decode_list(decode(raw), least=9, most=9)[0]
    return recover_sender(raw), decode_int(nonce)


def addresses_of(treasury: bytes) -> dict[str, str]:
    """Return where the contracts stand: the treasury's first transactions create them in order."""
    return {name: contract_address(treasury, nonce) for nonce, name in enumerate(CONTRACTS)}


def deploy(web3: Web3, sender: Any, dialect: Dialect, foundation: Foundation) -> None:
    """Deploy what is not deployed yet, then found it; a nonce is used up only together with its contract."""
    addresses = addresses_of(bytes.fromhex(sender.address[2:]))
    with guarded():
        for name in list(CONTRACTS)[web3.eth.get_transaction_count(sender.address) :]:
            web3.eth.send_raw_transaction(sign(web3, sender, creation(web3, name, addresses), dialect))
        if not is_founded(web3, addresses):
            call = founding(web3, addresses, foundation, sender.address)
            web3.eth.send_raw_transaction(sign(web3, sender, call, dialect))


def creation(web3: Web3, name: str, addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return the call that creates a contract, which is told where the one that it needs stands."""
    needed, shipped = CONTRACTS[name], artefact(name)
    arguments = (addresses[needed],) if needed else ()
    call = web3.eth.contract(abi=shipped["abi"], bytecode=shipped["bytecode"]).constructor(*arguments)
    return {"data": call.data_in_transaction, "value": 0}


@contextmanager
def guarded() -> Iterator[None]:
    """Turn what web3.py raises into our errors."""
    try:
        yield
    except ContractLogicError as error:
        data = error.data if isinstance(error.data, str) else "0x"
        raise refusal(bytes.fromhex(data.removeprefix("0x"))) from error
    except TransactionNotFound as error:
        raise NotFoundError("the ledger has no such transaction") from error
    except (Web3Exception, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        # The last four: a node's answer of another shape than web3.py expects.
        raise LedgerError("the ledger failed: {reason}", reason=error) from error
