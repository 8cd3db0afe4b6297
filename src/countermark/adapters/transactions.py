"""Transactions over web3.py: accounts, signing, deployment of our contracts, and its errors turned into ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eth_account import Account
from eth_utils.exceptions import ValidationError
from web3 import Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3Exception

from countermark.adapters.contracts import CONTRACTS, artefact, refusal
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


def sign(web3: Web3, account: Any, call: dict[str, Any]) -> bytes:
    """Fill in gas (which tries the call), nonce and fees, and sign."""
    gas = web3.eth.estimate_gas({"from": account.address, **call})  # type: ignore[typeddict-item]
    transaction = {
        "type": 2,
        "chainId": web3.eth.chain_id,
        "nonce": web3.eth.get_transaction_count(account.address, "pending"),
        "gas": gas,
        "maxFeePerGas": 2 * web3.eth.gas_price,
        "maxPriorityFeePerGas": web3.eth.max_priority_fee,
        **call,
    }
    return bytes(account.sign_transaction(transaction).raw_transaction)


def read_turn(raw: bytes) -> tuple[str, int]:
    """Return sender and nonce of a signed EIP-1559 transaction.

    Raises:
        InputError: it is not one.
    """
    nonce = decode_int(decode_list(decode(raw[1:]), least=12, most=12)[1])
    return recover_sender(raw), nonce


def addresses_of(treasury: bytes) -> dict[str, str]:
    """Return where the contracts stand: the treasury's first transactions create them in order."""
    return {name: contract_address(treasury, nonce) for nonce, name in enumerate(CONTRACTS)}


def deploy(web3: Web3, sender: Any) -> None:
    """Deploy what is not deployed yet; a nonce is used up only together with its contract."""
    addresses = addresses_of(bytes.fromhex(sender.address[2:]))
    with guarded():
        for name in list(CONTRACTS)[web3.eth.get_transaction_count(sender.address) :]:
            needed = CONTRACTS[name]
            arguments = (addresses[needed],) if needed else ()
            shipped = artefact(name)
            call = web3.eth.contract(abi=shipped["abi"], bytecode=shipped["bytecode"]).constructor(*arguments)
            web3.eth.send_raw_transaction(sign(web3, sender, {"data": call.data_in_transaction, "value": 0}))


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
    except (Web3Exception, OSError) as error:
        raise LedgerError("the ledger failed: {reason}", reason=error) from error
