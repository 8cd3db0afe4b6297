"""Merkle trees as in RFC 6962 and RFC 9162, section 2.1: hashes, paths, and the two checks. SHA-256 throughout.

A tree is the sequence of its leaf hashes. A proof is a list of subtree roots; which subtrees, ``inclusion_ranges`` and
``consistency_ranges`` say, so that a tree in memory and a log of a billion leaves share one definition.

Laws, for every sequence ``d`` of leaf hashes:
    ``verify_inclusion(d[i], i, len(d), inclusion_path(d, i), root_of(d))`` returns for every ``i``;
    ``verify_consistency(m, len(d), root_of(d[:m]), root_of(d), consistency_path(d, m))`` returns for every ``m``;
    a change of leaf, index, root, or of one hash of the proof, and one hash more or less, raises ``ProofInvalid``.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from countermark.errors import InputError, ProofInvalid

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 over 0x00 and the data."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256 over 0x01 and both children."""
    return sha256(b"\1" + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of leaf hashes (32 bytes each); of no leaves, the hash of nothing (RFC 9162, 2.1.1).

    Works level by level: an odd last node moves up unchanged, which is the same tree as the recursive definition.
    """
    level = list(leaf_hashes)
    while len(level) > 1:
        pairs = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0] if level else EMPTY_ROOT


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that ``leaf_hashes[index]`` is in the tree, nearest sibling first (RFC 9162, 2.1.3.1).

    Raises:
        InputError: no such leaf.
    """
    return [root_of(leaf_hashes[start:stop]) for start, stop in inclusion_ranges(index, len(leaf_hashes))]


def consistency_path(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the tree of the first ``old_size`` leaves is a prefix of this one (RFC 9162, 2.1.4.1).

    Raises:
        InputError: the old tree is larger.
    """
    return [root_of(leaf_hashes[start:stop]) for start, stop in consistency_ranges(old_size, len(leaf_hashes))]


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges ``[start, stop)`` whose roots make the inclusion proof of ``index``, in proof order.

    Raises:
        InputError: unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise InputError("no leaf {index} in a tree of {size}", index=index, size=size)
    start, stop, ranges = 0, size, []
    while stop - start > 1:
        middle = _middle(start, stop)
        ranges.append((middle, stop) if index < middle else (start, middle))
        start, stop = (start, middle) if index < middle else (middle, stop)
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges ``[start, stop)`` whose roots make the consistency proof, in proof order.

    The empty tree is a prefix of every tree and needs no proof.

    Raises:
        InputError: unless 0 <= old_size <= new_size.
    """
    if not 0 <= old_size <= new_size:
        raise InputError("a tree of {new} leaves has no earlier state of {old}", old=old_size, new=new_size)
    start, stop, ranges = 0, new_size, []
    while old_size and stop != old_size:
        middle = _middle(start, stop)
        ranges.append((middle, stop) if old_size <= middle else (start, middle))
        start, stop = (start, middle) if old_size <= middle else (middle, stop)
    if start:  # the verifier knows the old root only; a part of it must be named
        ranges.append((start, stop))
    return ranges[::-1]


def perfect_subtrees(start: int, stop: int) -> list[tuple[int, int]]:
    """Cut a range from ``*_ranges`` into perfect subtrees ``(height, index)``: 2**height leaves from index * 2**height.

    Their roots, joined by ``join_subtrees``, make the root of the range.
    """
    parts = []
    while start < stop:
        height = (stop - start).bit_length() - 1
        parts.append((height, start >> height))
        start += 1 << height
    return parts


def join_subtrees(roots: Sequence[bytes]) -> bytes:
    """Return the root over the roots of ``perfect_subtrees``, which shrink from left to right."""
    if not roots:
        return EMPTY_ROOT
    joined = roots[-1]
    for left in reversed(roots[:-1]):
        joined = node_hash(left, joined)
    return joined


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the leaf hash ``leaf`` stands at ``index`` in the tree of ``size`` leaves with ``root``.

    RFC 9162, section 2.1.3.2.

    Raises:
        ProofInvalid: it does not, or the proof does not show it.
    """
    if not 0 <= index < size or not _are_hashes([leaf, root, *proof]):
        raise ProofInvalid("malformed inclusion proof of leaf {index} in {size}", index=index, size=size)
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the inclusion proof of leaf {index} is too long", index=index)
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _climb_left_edge(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or computed != root:
        raise ProofInvalid("leaf {index} is not in the tree of {size} with this root", index=index, size=size)


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of ``old_size`` leaves with ``old_root`` is a prefix of the new one.

    RFC 9162, section 2.1.4.2; the empty old tree, which it leaves out, has an empty proof and the root of no leaves.

    Raises:
        ProofInvalid: it is not, or the proof does not show it.
    """
    if not 0 <= old_size <= new_size or not _are_hashes([old_root, new_root, *proof]):
        raise ProofInvalid("malformed consistency proof from {old} to {new}", old=old_size, new=new_size)
    if _grows(old_size, new_size, old_root, new_root, proof):
        return
    raise ProofInvalid("the tree of {new} leaves does not extend the one of {old}", old=old_size, new=new_size)


def _grows(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT and (new_size > 0 or new_root == EMPTY_ROOT)
    if old_size == new_size:
        return not proof and old_root == new_root
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    # A perfect old tree is itself the first subtree of the proof, so the proof leaves it out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _climb_left_edge(node, last)
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _climb_left_edge(node: int, last: int) -> tuple[int, int]:
    """Skip the levels where the rightmost node has no sibling of its own."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _middle(start: int, stop: int) -> int:
    """Return where RFC 9162 splits a tree: after the largest power of two smaller than its size."""
    return start + (1 << (stop - start - 1).bit_length() - 1)


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
