"""A second implementation of sealed files, from the description in ``core/exchange.py`` and nothing else.

Slow and literal on purpose; the cipher is PyCryptodome's.
"""

from hashlib import sha256

from Crypto.Cipher import ChaCha20

ZERO = bytes(32)


def seal(key, index, plain):
    """Cipher block, plain leaf and leaf of a block."""
    return turn(key, index, plain), *leaves(key, index, plain)


def leaves(key, index, plain):
    promised = sha256(key + index.to_bytes(8, "big") + plain).digest()
    return promised, sha256(promised + turn(key, index, plain)).digest()


def turn(key, index, block):
    """Encrypt or decrypt a block: ChaCha20 with the segment's number as nonce, eight counts of 64 bytes a block."""
    cipher = ChaCha20.new(key=key, nonce=(index // 2048).to_bytes(12, "little"))
    cipher.seek(index % 2048 * 8 * 64)
    return cipher.encrypt(block)


def tree(leaf_hashes):
    """All levels: the groups, and the nodes above them up to the root."""
    padded = list(leaf_hashes) + [ZERO] * (-len(leaf_hashes) % 8)
    levels = [[sha256(b"".join(padded[at : at + 8])).digest() for at in range(0, len(padded), 8)]]
    while len(levels[-1]) > 1:
        below = levels[-1] + [ZERO] * (len(levels[-1]) % 2)
        levels.append([sha256(below[at] + below[at + 1]).digest() for at in range(0, len(below), 2)])
    return levels


def root(leaf_hashes):
    return tree(leaf_hashes)[-1][0]


def path(index, leaf_hashes):
    """The other leaves of the group, then the other node on every level below the root."""
    first = index // 8 * 8
    group = [leaf_hashes[at] if at < len(leaf_hashes) else ZERO for at in range(first, first + 8) if at != index]
    nodes = []
    for height, level in enumerate(tree(leaf_hashes)[:-1]):
        other = (index // 8 >> height) ^ 1
        nodes.append(level[other] if other < len(level) else ZERO)
    return group + nodes


def root_from_path(leaf, index, size, proof):
    """The root that a path leads to, or None if there is no such leaf, or the path has another length."""
    groups, levels = (size + 7) // 8, 0
    while 2**levels < groups:
        levels += 1
    if not 0 <= index < size or len(proof) != 7 + levels:
        return None
    group = list(proof[:7])
    group.insert(index % 8, leaf)
    node = sha256(b"".join(group)).digest()
    for height, other in enumerate(proof[7:]):
        right = (index // 8 >> height) % 2
        node = sha256(other + node if right else node + other).digest()
    return node
