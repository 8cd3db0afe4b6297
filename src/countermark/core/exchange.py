"""Fair exchange of a file: blocks sealed under one key, and one root over what they are and what they should be.

A file is a row of blocks of 512 bytes, the last one filled up with zeros. Everything is SHA-256::

    plain leaf = H(key, index as 8 bytes, plain block)    hides the block until the key is known
    leaf       = H(plain leaf, cipher block)
    group      = H(8 leaves), missing ones zero
    node       = H(left, right), a missing right one zero; the root is the node over all groups

Block ``i`` is encrypted with ChaCha20 (RFC 8439) under the nonce ``i // 2048``, 12 bytes little-endian, from the
counter ``i % 2048 * 8`` on; 2048 blocks, 1 MiB, are a *segment*. The contract library ``SealedFile.sol`` agrees.

Whoever sells commits to the root, the number of blocks and the digest of the key, and hands over ciphertext and plain
leaves; both can be checked against the root without the key. Once the key is known, one block that does not decrypt to
what its plain leaf promises is proof enough, and a right block is none.

Laws, for every key, every row of blocks and every index in it:
    the four kinds of hash input have four lengths (552, 544, 256 and 64 bytes), so none can pose as another, and the
    number of blocks fixes how far a leaf is below the root: a root commits to one leaf at every index, up to SHA-256
    collisions;
    ``climb(leaf, index, blocks, path)`` is the tree's root for the path that the tree collected on its way; a change of
    leaf, index or one hash of the path gives another root, and a path of another length none;
    ``open_block`` of a block's ciphertext is the block; ``encrypt`` is its own inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from struct import Struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from countermark.core.keys import Secret
from countermark.errors import InputError

#: States of a file sale in the order of ``FileSales.State``, without its first value.
SALE_STATES = ("delivered", "paid", "revealed", "settled", "refunded", "aborted")
BLOCK_BYTES = 512
SEGMENT_BLOCKS = 2048
SEGMENT_BYTES = SEGMENT_BLOCKS * BLOCK_BYTES
GROUP = 8
HASH_BYTES = 32
MAX_BLOCKS = 2**40

_ZERO = bytes(HASH_BYTES)
_COUNTS = BLOCK_BYTES // 64
# Packing one input and hashing it once is faster than feeding a hash its parts.
_plain_input = Struct(f">32sQ{BLOCK_BYTES}s").pack
_leaf_input = Struct(f"32s{BLOCK_BYTES}s").pack
_blocks = Struct(f"{BLOCK_BYTES}s").iter_unpack
_groups = Struct(f"{GROUP * HASH_BYTES}s").iter_unpack
_pairs = Struct(f"{2 * HASH_BYTES}s").iter_unpack


def key_digest(key: Secret) -> bytes:
    """Return what a sale commits to of its key: SHA-256, 32 bytes."""
    return sha256(key.reveal()).digest()


def block_count(size: int) -> int:
    """Return how many blocks hold ``size`` bytes; at least one."""
    return max(1, -(-size // BLOCK_BYTES))


def path_length(blocks: int) -> int:
    """Return how many hashes show that a leaf is under the root of so many blocks."""
    return GROUP - 1 + _levels(blocks)


def encrypt(key: Secret, segment: int, data: bytes | memoryview) -> bytes:
    """Encrypt or decrypt a segment of a file.

    Args:
        key: of the sale, and of no other.
        segment: its number, from 0.
        data: its bytes, at most ``SEGMENT_BYTES``.
    """
    return _cipher(key, segment, 0).encryptor().update(data)


def open_block(key: Secret, index: int, cipher_block: bytes) -> bytes:
    """Decrypt one block."""
    segment, place = divmod(index, SEGMENT_BLOCKS)
    return _cipher(key, segment, place * _COUNTS).encryptor().update(cipher_block)


def plain_leaves(key: Secret, segment: int, plain: bytes | memoryview) -> list[bytes]:
    """Return the plain leaves of a segment's blocks; ``plain`` is whole blocks.

    Raises:
        InputError: it is not.
    """
    raw, first = key.reveal(), segment * SEGMENT_BLOCKS
    cut = _blocks(_whole(plain))
    return [sha256(_plain_input(raw, index, block)).digest() for index, (block,) in enumerate(cut, first)]


def leaves(plain_leaves: Sequence[bytes], cipher: bytes) -> list[bytes]:
    """Return the leaves of consecutive blocks from their plain leaves and their ciphertext.

    Raises:
        InputError: not one plain leaf for every block.
    """
    if len(plain_leaves) * BLOCK_BYTES != len(cipher):
        raise InputError("{leaves} plain leaves for {size} bytes", leaves=len(plain_leaves), size=len(cipher))
    cut = _blocks(cipher)
    return [sha256(_leaf_input(plain, block)).digest() for plain, (block,) in zip(plain_leaves, cut, strict=True)]


class Tree:
    """Builds the tree over the leaves of a file segment by segment; keeps one hash for each segment.

    Args:
        blocks: of the file, 1 to ``MAX_BLOCKS``.
        watch: index of the leaf whose path is wanted, if any.
    """

    def __init__(self, blocks: int, watch: int | None = None) -> None:
        if not 0 < blocks <= MAX_BLOCKS or not (watch is None or 0 <= watch < blocks):
            raise InputError("no such block in a file of {blocks} blocks", blocks=blocks)
        self.path: list[bytes] = []
        """The path of the watched leaf, once the root is known."""
        self._blocks, self._watch = blocks, watch
        self._added = 0
        self._tops: list[bytes] = []
        self._low = min(_levels(blocks), _levels(SEGMENT_BLOCKS))

    def add(self, leaves: Sequence[bytes]) -> None:
        """Take the next segment's leaves: ``SEGMENT_BLOCKS`` of them, or what is left of the file.

        Raises:
            InputError: another number.
        """
        if len(leaves) != min(SEGMENT_BLOCKS, self._blocks - self._added):
            raise InputError("{count} leaves are no segment of this file", count=len(leaves))
        place = None if self._watch is None else self._watch - self._added
        watched = place if place is not None and 0 <= place < len(leaves) else None
        self._tops.append(_climb_all(_group(leaves, watched, self.path), self._low, _above(watched), self.path))
        self._added += len(leaves)

    def root(self) -> bytes:
        """Return the root: 32 bytes.

        Raises:
            InputError: leaves are missing.
        """
        if self._added != self._blocks:
            raise InputError("{count} leaves of {blocks}", count=self._added, blocks=self._blocks)
        segment = None if self._watch is None else self._watch // SEGMENT_BLOCKS
        self.path = self.path[: GROUP - 1 + self._low]
        return _climb_all(self._tops, _levels(self._blocks) - self._low, segment, self.path)


def climb(leaf: bytes, index: int, blocks: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to from a leaf, or None if it has not the length of that tree's paths.

    Written as the contract does it, and not as ``Tree`` does.

    Args:
        leaf: 32 bytes.
        index: its place, 0 to ``blocks`` - 1.
        blocks: leaves of the tree.
        path: the other leaves of its group in order, then the other node on every level.
    """
    if not 0 <= index < blocks or len(path) != path_length(blocks):
        return None
    place, group = index % GROUP, list(path[: GROUP - 1])
    node = sha256(b"".join([*group[:place], leaf, *group[place:]])).digest()
    position = index // GROUP
    for other in path[GROUP - 1 :]:
        node = sha256(other + node if position & 1 else node + other).digest()
        position >>= 1
    return node


def _cipher(key: Secret, segment: int, counter: int) -> Cipher[None]:
    # cryptography's layout: counter (4 bytes, little-endian), then the nonce of RFC 8439 (12 bytes)
    nonce = counter.to_bytes(4, "little") + segment.to_bytes(12, "little")
    return Cipher(algorithms.ChaCha20(key.reveal(), nonce), mode=None)


def _whole(data: bytes | memoryview) -> bytes | memoryview:
    if len(data) % BLOCK_BYTES or len(data) > SEGMENT_BYTES:
        raise InputError("{size} bytes are not the blocks of a segment", size=len(data))
    return data


def _levels(blocks: int) -> int:
    """Return how many levels of nodes stand above the groups: as many as the number of the last group has bits."""
    return ((blocks - 1) // GROUP).bit_length()


def _above(place: int | None) -> int | None:
    return None if place is None else place // GROUP


def _group(leaves: Sequence[bytes], watched: int | None, path: list[bytes]) -> list[bytes]:
    """Return the groups over leaves; the other leaves of the watched one's group go to the path."""
    padded = [*leaves, *[_ZERO] * (-len(leaves) % GROUP)]
    if watched is not None:
        start = watched - watched % GROUP
        path += [leaf for at, leaf in enumerate(padded[start : start + GROUP], start) if at != watched]
    return [sha256(group).digest() for (group,) in _groups(b"".join(padded))]


def _climb_all(nodes: list[bytes], levels: int, watched: int | None, path: list[bytes]) -> bytes:
    """Return the one node so many levels above; the others on the watched one's way go to the path."""
    for _ in range(levels):
        if len(nodes) % 2:
            nodes = [*nodes, _ZERO]
        if watched is not None:
            path.append(nodes[watched ^ 1])
            watched >>= 1
        nodes = [sha256(pair).digest() for (pair,) in _pairs(b"".join(nodes))]
    return nodes[0]
