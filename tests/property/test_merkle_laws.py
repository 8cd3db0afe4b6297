"""The laws of ``core.merkle``."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.core.merkle import (
    consistency_path,
    consistency_ranges,
    inclusion_path,
    join_subtrees,
    leaf_hash,
    perfect_subtrees,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from countermark.errors import InputError, ProofInvalid


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % index) for index in range(count)]


def other(value: bytes) -> bytes:
    return sha256(value).digest()


@given(st.data(), st.integers(1, 600))
def test_every_leaf_has_a_proof_and_no_other_proof_passes(data: st.DataObject, size: int) -> None:
    d = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_path(d, index), root_of(d)
    verify_inclusion(d[index], index, size, proof, root)
    wrong = [
        (other(d[index]), index, size, proof, root),
        (d[index], index, size, proof, other(root)),
        (d[index], index, size, [*proof, root], root),
        (d[index], size, size, proof, root),
        (d[index], -1, size, proof, root),
        (d[index][:-1], index, size, proof, root),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        another = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
        wrong += [
            (d[index], another, size, proof, root),
            (d[index], index, size, proof[:-1], root),
            (d[index], index, size, [*proof[:at], other(proof[at]), *proof[at + 1 :]], root),
        ]
    for case in wrong:
        with pytest.raises(ProofInvalid):
            verify_inclusion(*case)


@given(st.data(), st.integers(0, 600))
def test_every_prefix_has_a_proof_and_no_other_proof_passes(data: st.DataObject, size: int) -> None:
    d = leaves(size)
    old = data.draw(st.integers(0, size))
    proof, old_root, root = consistency_path(d, old), root_of(d[:old]), root_of(d)
    verify_consistency(old, size, old_root, root, proof)
    wrong = [(old, size, old_root, root, [*proof, root]), (old, size, other(old_root), root, proof)]
    if old or not size:
        wrong += [(size + 1, size, old_root, root, proof), (old, size, old_root, other(root), proof)]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        wrong += [
            (old, size, old_root, root, proof[:-1]),
            (old, size, old_root, root, [*proof[:at], other(proof[at]), *proof[at + 1 :]]),
        ]
    for case in wrong:
        with pytest.raises(ProofInvalid):
            verify_consistency(*case)


@given(st.data(), st.integers(1, 2**62))
def test_proofs_stay_short_and_their_ranges_fall_into_perfect_subtrees(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    ranges = consistency_ranges(old, size)
    assert len(ranges) <= size.bit_length() + 1
    for start, stop in ranges:
        parts = perfect_subtrees(start, stop)
        assert sum(1 << height for height, _ in parts) == stop - start
        ends = [start, *((index + 1) << height for height, index in parts)]
        assert [index << height for height, index in parts] == ends[:-1]


@given(st.integers(0, 600))
def test_perfect_subtrees_join_to_the_root(size: int) -> None:
    d = leaves(size)
    parts = [root_of(d[index << height : (index + 1) << height]) for height, index in perfect_subtrees(0, size)]
    assert join_subtrees(parts) == root_of(d)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_no_path_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(InputError, match=f"no leaf {index}"):
        inclusion_path(leaves(size), index)


def test_no_path_from_a_larger_tree() -> None:
    with pytest.raises(InputError):
        consistency_path(leaves(3), 4)


def test_hashes_of_other_lengths_are_refused_though_they_join_to_the_same_bytes() -> None:
    first, second = leaves(2)
    with pytest.raises(ProofInvalid, match="malformed"):
        verify_inclusion(first[:31], 0, 2, [first[31:] + second], root_of([first, second]))
    with pytest.raises(ProofInvalid, match="malformed"):
        verify_consistency(1, 2, first, root_of([first, second]), [second, b""])
