"""The approximate index: exact distances, copies found, built in pieces, refused where it is not of the images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from countermark.audit.images import approximate
from countermark.audit.images.approximate import ApproximateIndex, Recipe, choose_index
from countermark.audit.images.search import exact_index
from countermark.audit.images.store import ImageStore
from countermark.errors import IndexMismatch, InputError

pytest.importorskip("faiss")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def store():
    # some directions and noise, so that there are neighbours to find
    generator = np.random.default_rng(0)
    values = generator.normal(0, 30, (3000, 6)) @ generator.normal(0, 1, (6, 48)) + generator.normal(128, 6, (3000, 48))
    images = np.clip(values, 0, 255).astype(np.uint8).reshape(-1, 4, 4, 3)
    return ImageStore.of(images, np.arange(3000) % 5)


@pytest.fixture(scope="module")
def directory(store, tmp_path_factory):
    directory = tmp_path_factory.mktemp("index") / "here"
    ApproximateIndex(store, directory, threads=1)
    return directory


def queries(store, count=200):
    generator = np.random.default_rng(1)
    copies = store.rows(0, count)
    return np.clip(copies + generator.normal(0, 2, copies.shape), 0, 255).astype(np.uint8)


def test_distances_are_exact_and_copies_are_found(store, directory):
    index, asked = ApproximateIndex(store, directory, threads=1), queries(store)
    found, true = index.nearest(asked, 5), exact_index(store).nearest(asked, 5)
    assert (found.index[:, 0] == np.arange(200)).all()
    assert np.mean([np.isin(a, b).mean() for a, b in zip(true.index, found.index, strict=True)]) > 0.95
    rows = store.rows(0, store.count).astype(np.int64)
    again = ((rows[found.index] - asked[:, None].astype(np.int64)) ** 2).sum(2)
    assert np.array_equal(again, found.squared)
    assert (np.diff(found.squared, axis=1) >= 0).all()


def test_searches_by_label_are_exact(store, directory):
    index, asked, labels = ApproximateIndex(store, directory, threads=1), queries(store, 20), np.arange(20) % 5
    found, true = (each.nearest(asked, 4, labels=labels) for each in (index, exact_index(store)))
    assert np.array_equal(found.index, true.index)


def test_more_neighbours_than_the_lists_hold_are_found_exactly(store, directory):
    index, asked = ApproximateIndex(store, directory, threads=1, probes=1), queries(store, 3)
    found, true = index.nearest(asked, 2900), exact_index(store).nearest(asked, 2900)
    assert np.array_equal(found.squared, true.squared)
    for k in (0, 3001):
        with pytest.raises(InputError, match="among 3000 images"):
            index.nearest(asked, k)


def test_a_build_that_was_broken_off_goes_on(store, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(approximate, "_PART", 1100)

    def stops(done: int, total: int, unit: str) -> None:
        if done > 1100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ApproximateIndex(store, tmp_path, threads=1, progress=stops)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.json", "part-00000.faiss", "quantizer.faiss"]
    kept = {name: (tmp_path / name).stat().st_mtime_ns for name in ("part-00000.faiss", "quantizer.faiss")}
    told: list[int] = []
    index = ApproximateIndex(store, tmp_path, threads=1, progress=lambda done, *_: told.append(done))
    assert told == [2200, 3000]
    assert kept == {name: (tmp_path / name).stat().st_mtime_ns for name in kept}
    whole = ApproximateIndex(store, tmp_path / "whole", threads=1)
    again = ApproximateIndex(store, tmp_path, threads=1)
    asked = queries(store, 50)
    answers = [each.nearest(asked, 3).index.tolist() for each in (index, whole, again)]
    assert answers[0] == answers[1] == answers[2]


def test_images_in_several_shards_are_coded_alike(store, directory, tmp_path):
    images = store.take(np.arange(store.count))
    np.savez(tmp_path / "images.npz", x_train=images)

    class Cut(type(store)):
        def shards(self):
            rows = images.reshape(len(images), -1)
            yield from ((at, rows[at : at + 700]) for at in range(0, 3000, 700))

    cut = Cut.of(images)
    index = ApproximateIndex(cut, tmp_path / "cut", threads=1)
    asked = queries(store, 50)
    assert np.array_equal(
        index.nearest(asked, 3).index, ApproximateIndex(store, directory, threads=1).nearest(asked, 3).index
    )


def test_an_index_of_other_images_is_refused(store, directory):
    other = ImageStore.of(255 - store.take(np.arange(store.count)))
    with pytest.raises(IndexMismatch, match="is not of these images"):
        ApproximateIndex(other, directory, threads=1)


@pytest.mark.parametrize("name", ["quantizer.faiss", "part-00000.faiss", "index.json"])
def test_changed_and_missing_files_are_refused(store, directory, tmp_path, name, monkeypatch):
    for file in directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    if name == "quantizer.faiss":  # read only while parts are coded
        state = json.loads((tmp_path / "index.json").read_text())
        del state["files"]["part-00000.faiss"]
        (tmp_path / "index.json").write_text(json.dumps(state))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-9] + b"xxxxxxxxx")
    with pytest.raises(IndexMismatch, match="changed or is missing"):
        ApproximateIndex(store, tmp_path, threads=1)
    if name != "index.json":
        (tmp_path / name).unlink()
        with pytest.raises(IndexMismatch, match="changed or is missing"):
            ApproximateIndex(store, tmp_path, threads=1)


def test_few_images_are_searched_exactly(store, tmp_path):
    assert choose_index(store, directory=tmp_path / "a").name.startswith("exact")
    assert choose_index(store, above=10).name.startswith("exact")
    chosen = choose_index(store, above=2999, directory=tmp_path / "a", threads=1)
    assert chosen.name == "PCAR48,IVF75,PQ24x4fsr probes 16, exact re-rank"
    with pytest.raises(InputError, match="too few or too small"):
        ApproximateIndex(ImageStore.of(np.zeros((30, 4, 4), np.uint8)), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_recipes_grow_with_the_images():
    assert str(Recipe.of(1_000_000, 784)) == "PCAR64,IVF2048,PQ32x4fsr"
    assert Recipe.of(1_000_000, 784).sample == 81_920
    assert Recipe.of(1000, 7).components == 4
