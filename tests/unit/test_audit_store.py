"""Images in shards: the same numbers however they are stored, and nothing accepted that is not what was stored."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from countermark.audit.images import saved
from countermark.audit.images.batches import Batch, Changes
from countermark.audit.images.reading import open_images
from countermark.audit.images.store import ImageStore, duplicates, overlap
from countermark.errors import (
    CountermarkError,
    HostileFile,
    IndexMismatch,
    InputError,
    NotFoundError,
    WorkspaceBusy,
)

RANDOM = np.random.default_rng(20261122)
IMAGES = RANDOM.integers(0, 256, (50, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(50) % 6


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    """What is on the disk after a power cut is not what is tested here."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


class Memory:
    """A source in memory that fails where it is told to, and says where it was read from."""

    shape, count, has_labels, label_names, name, origin = (
        (5, 4, 3),
        50,
        True,
        ("a", "b", "c", "d", "e", "f"),
        "set",
        "1",
    )

    def __init__(self, fails_at=None, broken=()):
        self.fails_at, self.broken, self.started = fails_at, set(broken), []

    def batches(self, size=1024, *, start=0):
        self.started.append(start)
        for at in range(start, self.count, size):
            if self.fails_at is not None and at >= self.fails_at:
                raise OSError("gone")
            kept = [place for place in range(at, min(at + size, self.count)) if place not in self.broken]
            left_out = min(at + size, self.count) - at - len(kept)
            changes = Changes(skipped=left_out, resized=1, named=("x: broken",) * left_out)
            yield Batch(IMAGES[kept], LABELS[kept], [f"{place}.png" for place in kept], changes)


def built(directory, **options):
    return ImageStore.build(Memory(**options), directory, shard_images=8)


def test_a_store_in_shards_is_the_store_in_memory(tmp_path):
    ours = ImageStore.of(IMAGES, LABELS, names=[f"{place}.png" for place in range(50)])
    said = []
    theirs = ImageStore.build(Memory(), tmp_path, shard_images=8, progress=lambda *told: said.append(told))
    assert [done for done, _, _ in said] == [8, 16, 24, 32, 40, 48, 50]
    for store in (theirs, ImageStore.open(tmp_path), ImageStore.read(Memory())):
        assert (store.shape, store.count, store.dims, len(store)) == ((5, 4, 3), 50, 60, 50)
        assert store.digest == ours.digest
        assert store.image_digests.tobytes() == ours.image_digests.tobytes()
        assert np.array_equal(store.labels, LABELS)
        assert store.label_names == Memory.label_names
        assert [store.name(place) for place in (0, 7, 8, 49)] == ["0.png", "7.png", "8.png", "49.png"]
        assert store.data_name == "set"
        assert np.array_equal(np.concatenate([rows for _, rows in store.shards()]), IMAGES.reshape(50, 60))
        assert np.array_equal(store.take([49, 3, 3, 8, 0]), IMAGES[[49, 3, 3, 8, 0]])
        assert np.array_equal(store.rows(5, 23), IMAGES[5:23].reshape(18, 60))
        assert store.rows(7, 7).shape == (0, 60)
        assert store.take([]).shape == (0, 5, 4, 3)
        store.check()
    assert [start for start, _ in theirs.shards()] == [0, 8, 16, 24, 32, 40, 48]
    assert theirs.notes == ("images of another size, resized to 4x5 by area averaging: 7",)


def test_rows_of_a_shard_are_a_view_and_cannot_be_written(tmp_path):
    store = built(tmp_path)
    for rows in (store.rows(9, 12), ImageStore.of(IMAGES).rows(0, 3), store.labels):
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 0
    memory = ImageStore.of(IMAGES)
    assert np.shares_memory(memory.rows(9, 12), IMAGES)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 51), (4, 3)])
def test_there_are_no_other_images(start, stop):
    store = ImageStore.of(IMAGES)
    with pytest.raises(InputError):
        store.rows(start, stop)
    with pytest.raises(InputError):
        store.take([0, start, stop, 50])
    with pytest.raises(InputError):
        store.name(50)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(np.int64),
        IMAGES[0, 0],
        IMAGES[:0],
        np.zeros((2, 3, 3, 2), np.uint8),
        np.zeros((2, 3, 3, 4), np.uint8),
        np.zeros((2, 0, 3), np.uint8),
    ],
)
def test_other_arrays_are_no_images(images):
    with pytest.raises(InputError):
        ImageStore.of(images)


def test_labels_and_names_are_one_per_image():
    for options in ({"labels": LABELS[1:]}, {"names": ["a"]}):
        with pytest.raises(InputError):
            ImageStore.of(IMAGES, **options)


def test_the_digest_is_of_shape_order_and_bytes():
    grey = RANDOM.integers(0, 256, (4, 6, 2), dtype=np.uint8)
    digests = {
        ImageStore.of(grey).digest,
        ImageStore.of(grey[::-1]).digest,
        ImageStore.of(grey[:3]).digest,
        ImageStore.of(grey.reshape(4, 2, 6)).digest,
        ImageStore.of(grey.reshape(4, 2, 2, 3)).digest,
    }
    assert len(digests) == 5
    assert ImageStore.of(grey[..., np.newaxis], [1, 2, 3, 4], data_name="x").digest == ImageStore.of(grey).digest
    # A vector, so that the digest of a data set stays what it was when it was written down.
    pixels = bytes(range(8))
    each = b"".join(hashlib.blake2b(pixels[at : at + 4], digest_size=16).digest() for at in (0, 4))
    said = b'countermark/images/1\0{"count":2,"shape":[2,2,1]}'
    known = ImageStore.of(np.frombuffer(pixels, dtype=np.uint8).reshape(2, 2, 2)).digest
    assert known == "sha256:" + hashlib.sha256(said + each).hexdigest()
    assert known == "sha256:e5f9e7e9e121850db23c1b7759931122809c8c6ba3e1805010d03ec3ffe8ae16"


def test_what_is_skipped_is_counted_and_everything_else_keeps_its_place(tmp_path):
    broken = {0, 1, 2, 3, 4, 5, 6, 7, 20, 49}
    kept = [place for place in range(50) if place not in broken]
    store = built(tmp_path, broken=broken)
    assert np.array_equal(store.take(range(40)), IMAGES[kept])
    assert np.array_equal(store.labels, LABELS[kept])
    assert [store.name(place) for place in range(40)] == [f"{place}.png" for place in kept]
    assert next(start for start, _ in store.shards()) == 0
    assert store.digest == ImageStore.of(IMAGES[kept]).digest
    assert "broken images skipped: 10" in store.notes
    store.check()


def test_a_build_goes_on_where_it_failed_and_ends_with_the_same_files(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    built(whole)
    failing = Memory(fails_at=24)
    with pytest.raises(CountermarkError):
        ImageStore.build(failing, broken, shard_images=8)
    with pytest.raises(NotFoundError, match="not finished"):
        ImageStore.open(broken)
    first = {path.name: path.stat().st_mtime_ns for path in broken.glob("shard-*.pixels")}
    assert sorted(first) == ["shard-00000.pixels", "shard-00001.pixels", "shard-00002.pixels"]
    going_on = Memory()
    ImageStore.build(going_on, broken, shard_images=8)
    assert going_on.started == [24]
    assert all((broken / name).stat().st_mtime_ns == time for name, time in first.items())
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in broken.iterdir())
    assert all((whole / name).read_bytes() == (broken / name).read_bytes() for name in names)
    again = Memory()
    ImageStore.build(again, broken, shard_images=8)
    assert again.started == []


def test_a_build_does_not_go_on_with_other_data(tmp_path):
    built(tmp_path)
    other = Memory()
    other.origin = "2"
    for source, shard in ((other, 8), (Memory(), 9)):
        with pytest.raises(IndexMismatch, match="begun from other data"):
            ImageStore.build(source, tmp_path, shard_images=shard)


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        built(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    with pytest.raises(NotFoundError):
        ImageStore.open(tmp_path)


def test_two_builds_do_not_mix(tmp_path):
    tmp_path.joinpath("a").mkdir()
    with saved._alone(tmp_path / "a"), pytest.raises(WorkspaceBusy):
        built(tmp_path / "a")


def test_a_source_has_images_of_the_shape_it_says(tmp_path):
    lying = Memory()
    lying.shape = (5, 4, 1)
    with pytest.raises(InputError, match="another shape"):
        ImageStore.build(lying, tmp_path / "a")
    with pytest.raises(InputError, match="no image"):
        built(tmp_path / "b", broken=range(50))
    with pytest.raises(InputError, match="no image"):
        ImageStore.read(Memory(broken=range(50)))
    with pytest.raises(InputError, match="does not fit"):
        ImageStore.read(Memory(), limit=100)
    with pytest.raises(InputError):
        ImageStore.build(Memory(), tmp_path / "c", shard_images=0)


FILES = ["shard-00001.pixels", "shard-00001.names", "digests.bin", "labels.bin"]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_and_its_file_named(tmp_path, name):
    built(tmp_path)
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    store = ImageStore.open(tmp_path)
    with pytest.raises(IndexMismatch, match=name):
        store.check()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["gone", "longer", "shorter"])
def test_a_file_of_another_size_is_refused_when_opened(tmp_path, name, change):
    built(tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink() if change == "gone" else path.write_bytes(data + b"x" if change == "longer" else data[:-1])
    with pytest.raises(IndexMismatch, match=name):
        ImageStore.open(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("type", "countermark.image-store/2"),
        ("shape", [5, 4, 2]),
        ("shape", [-5, -4, 3]),
        ("shape", [5, 4]),
        ("shape", [10**9, 10**9, 3]),
        ("shape", "543"),
        ("count", 51),
        ("count", 2**60),
        ("count", True),
        ("digest", "sha256:no"),
        ("labels", 1),
        ("label_names", [1]),
        ("name", None),
        ("notes", [{}]),
        ("shards", []),
        ("shards", [{"count": 50}]),
        ("shards", 7),
    ],
)
def test_a_summary_that_is_not_ours_is_refused(tmp_path, key, value):
    built(tmp_path)
    path = tmp_path / "contents.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, key: value}))
    with pytest.raises(HostileFile, match=r"contents\.json"):
        ImageStore.open(tmp_path)
    del summary[key]
    path.write_text(json.dumps(summary))
    with pytest.raises(HostileFile):
        ImageStore.open(tmp_path)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 10**6, b"\xff", b"null"])
def test_a_summary_that_is_no_json_is_refused(tmp_path, data):
    built(tmp_path)
    (tmp_path / "contents.json").write_bytes(data)
    with pytest.raises(HostileFile):
        ImageStore.open(tmp_path)


def test_the_digest_is_checked_against_the_images(tmp_path):
    built(tmp_path)
    path = tmp_path / "contents.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, "digest": "sha256:" + "0" * 64}))
    with pytest.raises(IndexMismatch, match=r"contents\.json"):
        ImageStore.open(tmp_path).check()


def test_names_that_are_damaged(tmp_path):
    store = built(tmp_path)
    path = tmp_path / "shard-00000.names"
    path.write_bytes(b" " * path.stat().st_size)
    with pytest.raises(IndexMismatch, match="names"):
        store.name(0)


def test_more_shards_than_files_that_may_be_open(tmp_path):
    images = RANDOM.integers(0, 256, (80, 2, 2), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images)
    store = ImageStore.build(open_images(tmp_path / "a.npy"), tmp_path / "s", shard_images=1)
    assert np.array_equal(store.take(range(80))[..., 0], images)
    assert store.digest == ImageStore.of(images).digest


def test_overlap_names_each_image_and_where_it_stands(tmp_path):
    train = built(tmp_path)
    held_out = ImageStore.of(np.concatenate([IMAGES[[7, 3, 7]], 255 - IMAGES[:5], IMAGES[49:]]))
    found = overlap(held_out, train)
    assert found.count == 4
    assert found.pairs == ((0, 7), (1, 3), (2, 7), (8, 49))
    assert overlap(train, held_out).pairs == ((3, 1), (7, 0), (49, 8))
    assert overlap(train, train).count == 50
    assert overlap(ImageStore.of(255 - IMAGES), train).count == 0
    with pytest.raises(InputError, match="cannot be compared"):
        overlap(ImageStore.of(IMAGES[..., :1]), train)


def test_overlap_of_many_lists_a_hundred():
    images = RANDOM.integers(0, 256, (300, 4, 4), dtype=np.uint8)
    found = overlap(ImageStore.of(images), ImageStore.of(images))
    assert (found.count, len(found.pairs)) == (300, 100)


def test_duplicates_are_those_that_repeat_an_earlier_one():
    assert duplicates(ImageStore.of(IMAGES)) == 0
    assert duplicates(ImageStore.of(IMAGES[[1, 2, 1, 1, 2, 3]])) == 3


def test_leftovers_of_a_kill_after_the_end_are_cleared(tmp_path):
    store = built(tmp_path)
    (tmp_path / "shard-00000.json").write_bytes(b"{")
    (tmp_path / "digests.bin.part").write_bytes(b"")
    assert built(tmp_path).digest == store.digest
    assert not (tmp_path / "shard-00000.json").exists()


def test_a_store_can_be_moved(tmp_path):
    digest = built(tmp_path / "a").digest
    shutil.move(tmp_path / "a", tmp_path / "b")
    store = ImageStore.open(tmp_path / "b")
    store.check()
    assert store.digest == digest
