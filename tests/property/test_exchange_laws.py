"""The laws of ``core.exchange``, beside a slow second implementation."""

from __future__ import annotations

import runpy
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.core.exchange import (
    BLOCK_BYTES,
    GROUP,
    MAX_BLOCKS,
    SEGMENT_BLOCKS,
    SEGMENT_BYTES,
    Tree,
    block_count,
    climb,
    encrypt,
    key_digest,
    leaves,
    open_block,
    path_length,
    plain_leaves,
)
from countermark.core.keys import Secret
from countermark.errors import InputError

second = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "conformance" / "sealed_file.py")))
keys = st.binary(min_size=32, max_size=32).map(Secret)
segments = st.integers(0, MAX_BLOCKS // SEGMENT_BLOCKS - 1)
SIZES = st.one_of(st.integers(1, 70), st.integers(2040, 2060), st.integers(4090, 6200))


def numbered(count: int) -> list[bytes]:
    return [sha256(b"%d" % index).digest() for index in range(count)]


def grown(leaf_hashes: list[bytes], watch: int | None = None) -> Tree:
    tree = Tree(len(leaf_hashes), watch)
    for at in range(0, len(leaf_hashes), SEGMENT_BLOCKS):
        tree.add(leaf_hashes[at : at + SEGMENT_BLOCKS])
    return tree


def changed(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


@given(keys, segments, st.integers(1, 20), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_blocks_are_sealed_as_a_second_implementation_seals_them(key, segment, count, draw):
    plain = draw.randbytes(count * BLOCK_BYTES)
    cipher, promised = encrypt(key, segment, plain), plain_leaves(key, segment, plain)
    found = leaves(promised, cipher)
    for at in range(count):
        index, part = segment * SEGMENT_BLOCKS + at, slice(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES)
        assert (cipher[part], promised[at], found[at]) == second.seal(key.reveal(), index, plain[part])
        assert open_block(key, index, cipher[part]) == plain[part]
    assert encrypt(key, segment, cipher) == plain


def test_the_last_block_of_a_segment_and_the_first_of_the_next_have_keystreams_of_their_own():
    key, last = Secret(bytes(32)), SEGMENT_BLOCKS - 1
    whole = [encrypt(key, segment, bytes(SEGMENT_BYTES)) for segment in (0, 1)]
    assert (
        whole[0][-BLOCK_BYTES:] == second.turn(bytes(32), last, bytes(BLOCK_BYTES)) == open_block(key, last, bytes(512))
    )
    assert whole[1][:BLOCK_BYTES] == second.turn(bytes(32), last + 1, bytes(BLOCK_BYTES))
    blocks = {part[at : at + 64] for part in whole for at in range(0, SEGMENT_BYTES, 64)}
    assert len(blocks) == 2 * SEGMENT_BYTES // 64, "no part of the keystream is used twice"


def test_a_counter_never_leaves_its_32_bits_and_a_nonce_never_its_96():
    assert SEGMENT_BYTES // 64 < 2**32
    assert MAX_BLOCKS // SEGMENT_BLOCKS < 2**96
    last = Secret(bytes(range(32)))
    assert open_block(last, MAX_BLOCKS - 1, bytes(512)) == second.turn(last.reveal(), MAX_BLOCKS - 1, bytes(512))


@given(st.data(), SIZES)
@settings(max_examples=60)
def test_every_leaf_has_a_path_and_nothing_else_leads_to_the_root(data, size):
    d = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    tree = grown(d, index)
    root, path = tree.root(), tree.path
    assert root == grown(d).root() == second.root(d)
    assert path == second.path(index, d)
    assert len(path) == path_length(size)
    assert climb(d[index], index, size, path) == root
    at = data.draw(st.integers(0, len(path) - 1))
    wrong = [
        (changed(d[index]), index, path),
        (d[index], index, [*path[:at], changed(path[at]), *path[at + 1 :]]),
        (d[index], index, path[:-1]),
        (d[index], index, [*path, bytes(32)]),
        (d[index], size, path),
        (d[index], -1, path),
    ]
    if size > 1:
        wrong.append((d[index], data.draw(st.integers(0, size - 1).filter(lambda i: i != index)), path))
    for leaf, place, way in wrong:
        assert climb(leaf, place, size, way) != root


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=40)
def test_trees_of_different_sizes_have_different_roots(size, other):
    assert (grown(numbered(size)).root() == grown(numbered(other)).root()) == (size == other)


def test_the_kinds_of_hash_input_differ_in_length():
    lengths = [32 + 8 + BLOCK_BYTES, 32 + BLOCK_BYTES, GROUP * 32, 2 * 32, 32]  # the last one is a key's
    assert len(set(lengths)) == len(lengths)


def test_a_plain_leaf_hides_what_it_promises():
    """Equal blocks have different leaves, in one sale and across two."""
    block = bytes(BLOCK_BYTES)
    found = plain_leaves(Secret(bytes(32)), 0, block * 3) + plain_leaves(Secret(b"\1" * 32), 0, block * 3)
    assert len(set(found)) == 6


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 1), (512, 1), (513, 2), (200 * 10**9, 390_625_000)])
def test_blocks_are_counted(size, count):
    assert block_count(size) == count


def test_a_path_in_200_gb_is_short():
    assert path_length(block_count(200 * 10**9)) == 7 + 26
    assert path_length(1) == path_length(GROUP) == 7


@pytest.mark.parametrize("blocks", [0, -1, MAX_BLOCKS + 1])
def test_a_tree_has_blocks_within_the_limit(blocks):
    with pytest.raises(InputError):
        Tree(blocks)


@pytest.mark.parametrize("watch", [-1, 3])
def test_a_tree_watches_a_leaf_that_it_has(watch):
    with pytest.raises(InputError):
        Tree(3, watch)


def test_a_tree_takes_whole_segments_and_all_of_them():
    tree = Tree(SEGMENT_BLOCKS + 1)
    for wrong in (0, 1, SEGMENT_BLOCKS - 1, SEGMENT_BLOCKS + 1):
        with pytest.raises(InputError):
            tree.add(numbered(wrong))
    tree.add(numbered(SEGMENT_BLOCKS))
    with pytest.raises(InputError):
        tree.root()


def test_parts_of_a_block_are_refused():
    key = Secret(bytes(32))
    for size in (1, BLOCK_BYTES - 1, SEGMENT_BYTES + BLOCK_BYTES):
        with pytest.raises(InputError):
            plain_leaves(key, 0, bytes(size))
    with pytest.raises(InputError):
        leaves([bytes(32)], bytes(2 * BLOCK_BYTES))


def test_a_key_is_committed_to_by_its_sha_256():
    assert key_digest(Secret(bytes(32))) == sha256(bytes(32)).digest()
