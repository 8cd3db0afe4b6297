"""The offline verifier's RLP, trie and events against the implementations that py-evm uses (``rlp``, ``trie``)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from countermark.core.events import checksum_address, decode_event
from countermark.core.rlp import decode, decode_int, encode, encode_int, keccak256
from countermark.core.trie import Log, read_header, read_receipt, verify_path, verify_receipt
from countermark.errors import InputError, ProofInvalid

rlp = pytest.importorskip("rlp")
HexaryTrie = pytest.importorskip("trie").HexaryTrie

items = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=6), max_leaves=20)


def as_lists(item):
    return item if isinstance(item, bytes) else [as_lists(child) for child in item]


@given(items)
@example(b"\x00")
@example(bytes(55))
@example(bytes(56))
@example([bytes(60)] * 5)
def test_rlp_agrees_with_the_reference(item):
    assert encode(item) == rlp.encode(item)
    assert decode(encode(item)) == item


@given(st.binary(max_size=60))
@example(b"\x81\x00")
@example(b"\xb8\x01\x80")
@example(b"\xb9\x00\x38" + bytes(56))
@example(b"\xf8\x00")
@example(b"\xc1")
@example(b"")
@example(b"\xbf" + b"\xff" * 8)
def test_rlp_accepts_exactly_what_the_reference_accepts(data):
    try:
        expected = as_lists(rlp.decode(data, strict=True))
    except rlp.exceptions.RLPException:
        with pytest.raises(InputError):
            decode(data)
        return
    assert decode(data) == expected
    assert encode(decode(data)) == data


@given(st.integers(0, 2**256 - 1))
def test_integers_agree_with_the_reference(value):
    assert encode(encode_int(value)) == rlp.encode(value)
    assert decode_int(encode_int(value)) == value


@pytest.mark.parametrize("item", [b"\0", b"\0\1", bytes([1]) * 33, []])
def test_malformed_integers_are_refused(item):
    with pytest.raises(InputError):
        decode_int(item)


def test_deep_and_large_data_is_refused():
    nested = b"\xc0"
    for _ in range(20):
        nested = encode([decode(nested)]) if len(nested) < 15 else bytes([0xC0 + len(nested)]) + nested
    with pytest.raises(InputError, match="too deeply"):
        decode(nested)
    with pytest.raises(InputError, match="more than"):
        decode(bytes(2**23))


def proof_of(tree, key):
    nodes = [rlp.encode(node) for node in tree.get_proof(key)]
    return nodes[:1] + [node for node in nodes[1:] if len(node) >= 32]


@st.composite
def tries(draw):
    pairs = draw(st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(min_size=1, max_size=50), min_size=1))
    tree = HexaryTrie({})
    for key, value in pairs.items():
        tree[key] = value
    return tree, pairs


@given(tries(), st.data())
def test_every_key_of_a_trie_is_proven(built, data):
    tree, pairs = built
    key = data.draw(st.sampled_from(sorted(pairs)))
    assert verify_path(tree.root_hash, key, proof_of(tree, key)) == pairs[key]


@given(tries(), st.binary(min_size=1, max_size=4))
def test_a_key_that_is_not_in_the_trie_has_no_proof(built, key):
    tree, pairs = built
    assume(key not in pairs)
    with pytest.raises(ProofInvalid):
        verify_path(tree.root_hash, key, proof_of(tree, key))


@given(tries(), st.data())
def test_a_changed_node_fails(built, data):
    tree, pairs = built
    key = data.draw(st.sampled_from(sorted(pairs)))
    nodes = proof_of(tree, key)
    which = data.draw(st.integers(0, len(nodes) - 1))
    at = data.draw(st.integers(0, len(nodes[which]) - 1))
    changed = bytearray(nodes[which])
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofInvalid):
        verify_path(tree.root_hash, key, [*nodes[:which], bytes(changed), *nodes[which + 1 :]])
    with pytest.raises(ProofInvalid):
        verify_path(tree.root_hash, key, nodes[:-1])
    with pytest.raises(ProofInvalid):
        verify_path(tree.root_hash, key, [*nodes, nodes[-1]])


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=150), st.data())
def test_every_receipt_of_a_block_is_proven(logs, data):
    receipts = [
        b"\x02" + rlp.encode([1, 21_000 * (n + 1), bytes(256), [[bytes(20), [], d]]]) for n, d in enumerate(logs)
    ]
    tree = HexaryTrie({})
    for index, receipt in enumerate(receipts):
        tree[rlp.encode(index)] = receipt
    index = data.draw(st.integers(0, len(receipts) - 1))
    header = make_header(tree.root_hash)
    proof = {
        "kind": "eth-receipt",
        "block_number": 7,
        "header": f"0x{header.hex()}",
        "transaction_index": index,
        "receipt": f"0x{receipts[index].hex()}",
        "proof": [f"0x{node.hex()}" for node in proof_of(tree, rlp.encode(index))],
    }
    verified = verify_receipt(proof)
    assert (verified.block_hash, verified.block_number, verified.timestamp) == (keccak256(header), 7, 1234)
    assert verified.logs[0].data == logs[index]
    with pytest.raises(ProofInvalid):
        verify_receipt(proof | {"block_number": 8})
    with pytest.raises(ProofInvalid):
        verify_receipt(proof | {"transaction_index": index + 1})
    with pytest.raises(ProofInvalid):
        verify_receipt(proof | {"receipt": f"0x{receipts[index].hex()[:-2]}{receipts[index][-1] ^ 1:02x}"})


def make_header(receipts_root):
    word = bytes(32)
    return rlp.encode(
        [word, word, bytes(20), word, word, receipts_root, bytes(256), 0, 7, 1, 1, 1234, b"", word, bytes(8), 7]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "k-of-n"},
        {"header": "0xzz"},
        {"header": "0xC0"},
        {"header": "0xc0"},
        {"receipt": 5},
        {"receipt": "0x"},
        {"proof": "0x"},
        {"proof": ["0x"] * 65},
        {"proof": [5]},
        {"block_number": -1},
        {"block_number": True},
        {"transaction_index": "0"},
    ],
)
def test_malformed_proofs_are_input_errors_or_invalid(change):
    header = make_header(bytes(32))
    good = {"kind": "eth-receipt", "block_number": 7, "header": f"0x{header.hex()}"}
    good |= {"transaction_index": 0, "receipt": "0xc0", "proof": []}
    with pytest.raises((InputError, ProofInvalid)):
        verify_receipt(good | change)
    with pytest.raises((InputError, ProofInvalid)):
        verify_receipt({})


@given(st.binary(max_size=400))
def test_random_bytes_never_leak_another_error(data):
    for read in (read_header, read_receipt):
        with suppress(InputError):
            read(data)
    with suppress(InputError, ProofInvalid):
        verify_path(keccak256(data), b"\x80", [data])


def test_receipts_with_a_state_root_or_strange_status_are_refused():
    for status in (bytes(32), 2):
        with pytest.raises(InputError):
            read_receipt(rlp.encode([status, 21_000, bytes(256), []]))


def test_checksums_are_those_of_eip_55():
    # From the examples in EIP-55.
    for text in ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"):
        assert checksum_address(bytes.fromhex(text[2:])) == text


def test_records_of_other_events_are_none_and_misshapen_ones_refused():
    from countermark.core.events import topic_of

    assert decode_event("Suspended", Log(bytes(20), (), b"")) is None
    assert decode_event("Suspended", Log(bytes(20), (topic_of("Revoked"),), b"")) is None
    with pytest.raises(InputError, match="number of words"):
        decode_event("Suspended", Log(bytes(20), (topic_of("Suspended"),), b""))
    with pytest.raises(InputError, match="out of range"):
        decode_event("Suspended", Log(bytes(20), (topic_of("Suspended"), b"\xff" * 32), b""))
    with pytest.raises(InputError, match="unknown event"):
        decode_event("Burned", Log(bytes(20), (bytes(32),), b""))
