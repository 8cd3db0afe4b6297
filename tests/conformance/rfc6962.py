"""A second Merkle implementation, from the recursive definitions of RFC 6962, section 2.1, and nothing else.

Slow and literal on purpose. ``d`` is a list of leaf data; ``D[a:b]`` of the RFC is ``d[a:b]``.
"""

from hashlib import sha256


def split(n):
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d):
    """MTH, 2.1."""
    n = len(d)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\x00" + d[0]).digest()
    k = split(n)
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m, d):
    """PATH, 2.1.1."""
    n = len(d)
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m, d):
    """PROOF, 2.1.2."""
    return subproof(m, d, True)


def subproof(m, d, b):
    """SUBPROOF, 2.1.2."""
    n = len(d)
    if m == n:
        return [] if b else [mth(d)]
    k = split(n)
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def root_from_path(leaf_hash, m, n, proof_nodes):
    """Run PATH's definition backwards: the root that this path leads to, or None if its length is wrong."""
    if n == 1:
        return leaf_hash if not proof_nodes else None
    if not proof_nodes:
        return None
    k = split(n)
    *rest, last = proof_nodes
    if m < k:
        below = root_from_path(leaf_hash, m, k, rest)
        return below and sha256(b"\x01" + below + last).digest()
    below = root_from_path(leaf_hash, m - k, n - k, rest)
    return below and sha256(b"\x01" + last + below).digest()


def roots_from_proof(m, n, proof_nodes, old_root, b=True):
    """Run SUBPROOF's definition backwards: (old root, new root), or None if the length is wrong."""
    if m == n:
        if b:
            return (old_root, old_root) if not proof_nodes else None
        return (proof_nodes[0], proof_nodes[0]) if len(proof_nodes) == 1 else None
    if not proof_nodes:
        return None
    k = split(n)
    *rest, last = proof_nodes
    below = (
        roots_from_proof(m, k, rest, old_root, b) if m <= k else roots_from_proof(m - k, n - k, rest, old_root, False)
    )
    if below is None:
        return None
    old, new = below
    if m <= k:
        return old, sha256(b"\x01" + new + last).digest()
    return sha256(b"\x01" + last + old).digest(), sha256(b"\x01" + last + new).digest()
