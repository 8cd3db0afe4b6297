"""The laws of ``evidence.log`` and ``evidence.checkpoint``."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.adapters.memory import MemorySignerMemory, MemoryTiles
from countermark.core import merkle
from countermark.core.keys import Secret, SigningKey
from countermark.errors import CheckpointInconsistent, CountermarkError, InputError, SignatureInvalid
from countermark.evidence import log
from countermark.evidence.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint, sign_head

batches = st.lists(st.integers(0, 300), max_size=8)
keys = st.binary(min_size=32, max_size=32).map(Secret).map(SigningKey)
hashes = st.binary(min_size=32, max_size=32)
origins = st.from_regex(r"[a-z][a-z0-9./-]{0,40}", fullmatch=True)


def entries(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % index * (index % 5) for index in range(first, first + count)]


@given(batches)
@settings(max_examples=60)
def test_batches_do_not_matter(sizes: list[int]) -> None:
    one_by_one, at_once = MemoryTiles(), MemoryTiles()
    for size in sizes:
        appended = log.append(one_by_one, entries(size, one_by_one.head().size))
        leaf_hashes = [merkle.leaf_hash(entry) for entry in entries(appended.size)]
        assert appended == log.Appended(appended.size - size, appended.size, merkle.root_of(leaf_hashes))
    log.append(at_once, entries(sum(sizes)))
    assert vars(one_by_one) == vars(at_once)
    assert log.fsck(one_by_one) == log.Head(sum(sizes), 0)


@given(st.data(), st.integers(1, 900))
@settings(max_examples=60)
def test_proofs_are_those_of_the_tree_in_memory_at_every_size(data: st.DataObject, total: int) -> None:
    tiles = MemoryTiles()
    log.append(tiles, entries(total))
    leaf_hashes = [merkle.leaf_hash(entry) for entry in entries(total)]
    size = data.draw(st.integers(1, total))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert log.root(tiles, size) == merkle.root_of(leaf_hashes[:size])
    assert log.prove_inclusion(tiles, index, size) == merkle.inclusion_path(leaf_hashes[:size], index)
    assert log.prove_consistency(tiles, old, size) == merkle.consistency_path(leaf_hashes[:size], old)


@given(st.lists(st.binary(max_size=600), max_size=20))
def test_entries_come_back(items: list[bytes]) -> None:
    tiles = MemoryTiles()
    log.append(tiles, items)
    assert list(log.entries(tiles, 0, len(items))) == items
    assert [log.entry(tiles, index) for index in range(len(items))] == items
    assert log.split_bundle(log.join_bundle(items)) == items


@given(origins, st.integers(0, 2**63 - 1), hashes, keys, keys)
def test_a_checkpoint_opens_to_what_was_signed(origin, size, root, key, other) -> None:
    text = sign_checkpoint(origin, size, root, key)
    assert open_checkpoint(text, origin, key.public) == Checkpoint(origin, size, root)
    if other != key and other.public != key.public:
        with pytest.raises(SignatureInvalid):
            open_checkpoint(text, origin, other.public)
    with pytest.raises(SignatureInvalid):
        open_checkpoint(text, f"{origin}x", key.public)


@given(keys, st.data())
def test_no_change_of_a_checkpoint_passes_for_something_else(key, data: st.DataObject) -> None:
    text = sign_checkpoint("example.com/log", 70000, merkle.EMPTY_ROOT, key)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters(exclude_categories=["Cs"])) + text[at + 1 :]
    try:
        opened = open_checkpoint(changed, "example.com/log", key.public)
    except (SignatureInvalid, InputError):
        return
    assert opened == Checkpoint("example.com/log", 70000, merkle.EMPTY_ROOT)


@given(st.text(max_size=300))
def test_any_text_is_refused_cleanly(text: str) -> None:
    with pytest.raises(CountermarkError):
        open_checkpoint(text, "example.com/log", SigningKey(Secret(bytes(32))).public)


@given(st.integers(1, 400), st.integers(0, 400))
@settings(max_examples=40)
def test_the_signer_never_contradicts_itself(signed: int, later: int) -> None:
    key, memory, tiles = SigningKey(Secret(bytes(32))), MemorySignerMemory(), MemoryTiles()
    log.append(tiles, entries(signed))
    first = sign_head(tiles, "example.com/log", key, memory)
    assert sign_head(tiles, "example.com/log", key, memory) == first
    restored = MemoryTiles()
    log.append(restored, entries(min(later, signed - 1)))
    with pytest.raises(CheckpointInconsistent, match="holds"):
        sign_head(restored, "example.com/log", key, memory)
    log.append(tiles, entries(later, signed))
    sign_head(tiles, "example.com/log", key, memory)
    rewritten = MemoryTiles()
    log.append(rewritten, [b"another", *entries(signed + later, 1)])
    with pytest.raises(CheckpointInconsistent, match="does not extend"):
        sign_head(rewritten, "example.com/log", key, memory)
