"""The real log, in SQLite, against an implementation written from the RFC alone."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from countermark.adapters import tiles as adapter
from countermark.core import merkle
from countermark.evidence import log

rfc = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("rfc6962.py"))))
SIZES = [255, 256, 257, 511, 512, 513, 1000, 65535, 65536, 65537]


def leaf(index: int) -> bytes:
    return b"entry %d" % index


@pytest.fixture(scope="module")
def tiles():
    engine = sa.create_engine("sqlite://")
    metadata = sa.MetaData()
    adapter.define(metadata)
    with engine.begin() as connection:
        metadata.create_all(connection)
        tiles, size = adapter.SqlTiles(connection), 0
        for stop in [1, 2, 3, 200, 300, 1000, 65530, 65536, 65600]:
            log.append(tiles, [leaf(index) for index in range(size, stop)])
            size = stop
        yield tiles
    engine.dispose()


def test_every_proof_of_every_small_tree(tiles) -> None:
    data = [leaf(index) for index in range(40)]
    for size in range(1, 41):
        root = rfc.mth(data[:size])
        assert log.root(tiles, size) == root
        for index in range(size):
            proof = log.prove_inclusion(tiles, index, size)
            assert proof == rfc.path(index, data[:size])
            assert rfc.root_from_path(rfc.mth([data[index]]), index, size, proof) == root
        for old in range(1, size + 1):
            proof = log.prove_consistency(tiles, old, size)
            assert proof == rfc.proof(old, data[:size])
            assert rfc.roots_from_proof(old, size, proof, rfc.mth(data[:old])) == (rfc.mth(data[:old]), root)


@pytest.mark.parametrize("size", SIZES)
def test_proofs_around_the_edges_of_tiles(tiles, size: int) -> None:
    root = rfc.mth([leaf(index) for index in range(size)])
    assert log.root(tiles, size) == root
    for index in {0, 1, 254, size // 2, size - 2, size - 1} | ({255, 256} if size > 256 else set()):
        proof = log.prove_inclusion(tiles, index, size)
        assert rfc.root_from_path(rfc.mth([leaf(index)]), index, size, proof) == root
    for old in {1, 128, 255, size // 2, size - 1, size} | ({256, 257} if size > 256 else set()):
        proof = log.prove_consistency(tiles, old, size)
        old_root = log.root(tiles, old)
        assert rfc.roots_from_proof(old, size, proof, old_root) == (old_root, root)


def test_both_verifiers_agree_on_proofs_presented_for_other_trees() -> None:
    """A proof of one place and size, claimed for every other place and size: both say the same."""
    data = [leaf(index) for index in range(9)]
    for size, index in ((n, i) for n in range(1, 10) for i in range(n)):
        root, proof, hashed = rfc.mth(data[:size]), rfc.path(index, data[:size]), rfc.mth([data[index]])
        for claimed, place in ((n, i) for n in range(1, 18) for i in range(n)):
            theirs = rfc.root_from_path(hashed, place, claimed, proof) == root
            assert _accepts(merkle.verify_inclusion, hashed, place, claimed, proof, root) == theirs
    for new, old in ((n, m) for n in range(1, 10) for m in range(1, n + 1)):
        roots, proof = (rfc.mth(data[:old]), rfc.mth(data[:new])), rfc.proof(old, data[:new])
        for claimed_new, claimed_old in ((n, m) for n in range(1, 18) for m in range(1, n + 1)):
            theirs = rfc.roots_from_proof(claimed_old, claimed_new, proof, roots[0]) == roots
            assert _accepts(merkle.verify_consistency, claimed_old, claimed_new, *roots, proof) == theirs


def _accepts(verify, *args) -> bool:
    try:
        verify(*args)
    except merkle.ProofInvalid:
        return False
    return True


def test_both_verifiers_agree_on_every_kind_of_wrong_proof(tiles) -> None:
    for old, size in [(3, 7), (4, 7), (6, 8), (255, 257), (256, 1000)]:
        good = log.prove_consistency(tiles, old, size)
        roots = log.root(tiles, old), log.root(tiles, size)
        for bad in [good[:-1], [*good, good[0]], [bytes(32), *good[1:]], good[::-1]]:
            if bad == good:
                continue
            assert rfc.roots_from_proof(old, size, bad, roots[0]) != roots
            with pytest.raises(merkle.ProofInvalid):
                merkle.verify_consistency(old, size, *roots, bad)
