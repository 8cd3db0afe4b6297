"""What experts sign: our EIP-712 digest against eth-account's, and signatures that say who made them."""

from __future__ import annotations

import json

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.adapters.statements import recover_expert, sign_statement
from countermark.core.keys import Secret
from countermark.core.rlp import keccak256
from countermark.core.statements import Statement, statement_digest, typed_data
from countermark.errors import InputError, SignatureInvalid

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HERE = {"chain_id": 2026, "contract": "0x" + "ab" * 20}
EXPERT = Secret(b"expert".ljust(32, b"."))
STATEMENT = Statement(3, b"s" * 32, b"d" * 32, 2**40)

words = st.binary(min_size=32, max_size=32)
statements = st.builds(Statement, st.integers(0, 2**256 - 1), words, words, st.integers(0, 2**64 - 1))
places = st.fixed_dictionaries(
    {
        "chain_id": st.integers(1, 2**53 - 1),
        "contract": st.binary(min_size=20, max_size=20).map(lambda raw: f"0x{raw.hex()}"),
    }
)


@settings(max_examples=60)
@given(statements, places)
def test_the_digest_is_the_one_of_a_second_implementation(statement, place):
    shown = json.loads(json.dumps(typed_data(statement, **place)))
    message = encode_typed_data(full_message=shown)
    assert statement_digest(statement, **place) == keccak256(b"\x19" + message.version + message.header + message.body)


@settings(max_examples=20)
@given(statements, places, words.filter(lambda raw: 0 < int.from_bytes(raw, "big") < ORDER))
def test_a_signature_names_its_expert(statement, place, key):
    signature = sign_statement(Secret(key), statement, **place)
    assert recover_expert(statement, signature, **place) == Account.from_key(key).address
    assert int.from_bytes(signature[32:64], "big") <= ORDER // 2


@settings(max_examples=40)
@given(statements, places, statements, places)
def test_no_two_statements_places_or_chains_share_a_digest(statement, place, other, elsewhere):
    same = (statement, place) == (other, elsewhere)
    assert (statement_digest(statement, **place) == statement_digest(other, **elsewhere)) == same


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good[:64],
        lambda good: good + b"\0",
        lambda good: good[:64] + b"\x00",
        lambda good: bytes(64) + b"\x1b",
        lambda good: b"\xff" * 32 + good[32:],
        # The other signature of the pair, which also verifies.
        lambda good: (
            good[:32] + (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
        ),
    ],
)
def test_what_is_not_a_signature_is_refused(change):
    good = sign_statement(EXPERT, STATEMENT, **HERE)
    with pytest.raises(SignatureInvalid):
        recover_expert(STATEMENT, change(good), **HERE)


@pytest.mark.parametrize(
    "fields",
    [
        (1, b"s" * 31, b"d" * 32, 1),
        (1, b"s" * 32, b"", 1),
        (-1, b"s" * 32, b"d" * 32, 1),
        (1, b"s" * 32, b"d" * 32, 2**64),
    ],
)
def test_a_statement_out_of_range_is_refused(fields):
    with pytest.raises(InputError):
        Statement(*fields)


@pytest.mark.parametrize("contract", ["0x1234", "zz" * 20, ""])
def test_a_place_that_is_no_address_is_refused(contract):
    with pytest.raises(InputError):
        statement_digest(STATEMENT, chain_id=1, contract=contract)
    with pytest.raises(InputError):
        typed_data(STATEMENT, chain_id=1, contract=contract)
