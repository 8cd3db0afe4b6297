"""Experts' statements: signed with, and recovered to, an Ethereum account."""

from __future__ import annotations

from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature, ValidationError

from countermark.adapters.transactions import account_of
from countermark.core.events import checksum_address
from countermark.core.keys import Secret
from countermark.core.statements import Statement, statement_digest
from countermark.errors import SignatureInvalid

# secp256k1's group order, halved: of the two signatures that verify, EIP-2 keeps the one with the smaller s.
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def sign_statement(expert: Secret, statement: Statement, *, chain_id: int, contract: str) -> bytes:
    """Return an expert's signature, 65 bytes r, s, v, as ``Disputes.addStatement`` takes it.

    Args:
        expert: private key of the expert's account.
        statement: what is stated.
        chain_id: of the ledger (EIP-155).
        contract: address of the contract Disputes.

    Raises:
        InputError: not a private key, or not an address.
    """
    digest = statement_digest(statement, chain_id=chain_id, contract=contract)
    return bytes(account_of(expert).unsafe_sign_hash(digest).signature)


def recover_expert(statement: Statement, signature: bytes, *, chain_id: int, contract: str) -> str:
    """Return the checksummed address that signed a statement.

    Raises:
        SignatureInvalid: not a signature as ``sign_statement`` returns it.
        InputError: not an address.
    """
    digest = statement_digest(statement, chain_id=chain_id, contract=contract)
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise SignatureInvalid("a statement's signature has 65 bytes, the last one 27 or 28")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise SignatureInvalid("a statement's signature has its s in the upper half (EIP-2)")
    try:
        signed = Signature(signature[:64] + bytes([signature[64] - 27]))
        return checksum_address(signed.recover_public_key_from_msg_hash(digest).to_canonical_address())
    except (BadSignature, ValidationError) as error:
        raise SignatureInvalid("nobody signed that statement: {reason}", reason=error) from error
