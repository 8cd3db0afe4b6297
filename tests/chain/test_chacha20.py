"""ChaCha20 and sealed blocks as the contract computes them: RFC 8439, two other implementations, and gas."""

from __future__ import annotations

import os
import random
from hashlib import sha256

import pytest
from Crypto.Cipher import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.adapters.records import Role
from countermark.core import exchange
from countermark.core.exchange import BLOCK_BYTES, SEGMENT_BLOCKS
from countermark.core.keys import Secret

from .bare import fresh, word

word, MACHINE = word, fresh()
# RFC 8439, appendix A.1, test vectors 1 to 4: key, block counter, keystream. Their nonce is zero, as in segment 0.
KEYSTREAMS = [
    (
        bytes(32),
        0,
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
    ),
    (
        bytes(32),
        1,
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
    ),
    (
        bytes(31) + b"\1",
        1,
        "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
        "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
    ),
    (
        b"\0\xff" + bytes(30),
        2,
        "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
        "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
    ),
]
FILE_200_GB = -(-200 * 10**9 // BLOCK_BYTES)


def opened(key, index, cipher_block):
    return MACHINE.read("FileSales.opened", key, index, cipher_block)


@pytest.mark.parametrize(("key", "counter", "keystream"), KEYSTREAMS)
def test_the_contract_knows_the_vectors_of_the_rfc(key, counter, keystream):
    plain, _ = opened(key, 0, bytes(BLOCK_BYTES))
    assert plain[counter * 64 : counter * 64 + 64].hex() == keystream


@given(
    key=st.binary(min_size=32, max_size=32),
    index=st.one_of(st.integers(0, 2**40 - 1), st.integers(0, 2**64 - 1)),
    cipher_block=st.binary(min_size=BLOCK_BYTES, max_size=BLOCK_BYTES),
)
@settings(max_examples=60)
def test_the_contract_opens_blocks_as_two_other_implementations_do(key, index, cipher_block):
    plain, leaf = opened(key, index, cipher_block)
    segment, place = divmod(index, SEGMENT_BLOCKS)
    cipher = ChaCha20.new(key=key, nonce=segment.to_bytes(12, "little"))
    cipher.seek(place * BLOCK_BYTES)
    assert plain == cipher.decrypt(cipher_block)
    assert plain == exchange.open_block(Secret(key), index, cipher_block)
    assert leaf == sha256(key + index.to_bytes(8, "big") + plain).digest()


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x7F, 0x80])
def test_carries_run_through_whole_words(byte):
    """Keys and ciphertext of equal bytes, at the ends of a segment and of the range of its numbers."""
    for index in (0, SEGMENT_BLOCKS - 1, SEGMENT_BLOCKS, 2**43 - 1, 2**43, 2**64 - 1):
        key, block = bytes([byte]) * 32, bytes([byte]) * BLOCK_BYTES
        assert opened(key, index, block)[0] == exchange.open_block(Secret(key), index, block)


def test_a_block_is_opened_for_little_gas():
    done = MACHINE.do("anyone", "FileSales.opened", os.urandom(32), 7, os.urandom(BLOCK_BYTES))
    assert done.gas < 2 * 55_000  # opened once for the plaintext and once for the leaf


def test_a_complaint_costs_at_most_200_000_gas_on_a_file_of_200_gb(world):
    """The whole transaction, in the worst case: nobody in the vault had any credit before."""
    world.admit("marker", Role.MARKER)
    for who in ("owner", "licensee", "marker"):
        world.do("office", "SettlementToken.mint", world.address(who), 10**6, word(who))
        world.do(who, "SettlementToken.approve", world.ledger.deployment["contracts"]["Revenue"], 10**6)
    title = world.title()
    grant = world.grant(world.offer(title), "mark", length=900_000)
    expires = world.clock.seconds + 10**6
    receipt = world.do("owner", "FileSales.offer", title, 1000, 500, word("terms"), expires)
    listing, draw = receipt.event("Listed")["listingId"], random.Random(3)
    index, key, block, leaf = draw.randrange(FILE_200_GB), *map(draw.randbytes, (32, BLOCK_BYTES, 32))
    path = [draw.randbytes(32) for _ in range(exchange.path_length(FILE_200_GB))]
    root = exchange.climb(sha256(leaf + block).digest(), index, FILE_200_GB, path)
    delivery = (word("plain"), root, sha256(key).digest(), FILE_200_GB, word("attested"), bytes(32), 1000)
    sale = world.do("marker", "FileSales.deliver", listing, grant, *delivery).event("Delivered")["saleId"]
    world.do("licensee", "FileSales.pay", sale, 1000)
    world.do("marker", "FileSales.reveal", sale, key)
    receipt = world.do("licensee", "FileSales.complain", sale, key, index, block, leaf, path)
    assert receipt.event("Refunded")["amount"] == 2000
    assert receipt.gas_used <= 200_000
