"""Sealed packages: written, checked and opened; a wrong block found and proven; and packages of strangers."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from countermark.artifact.exchange import (
    Package,
    check_package,
    combine,
    complaint,
    read_package,
    seal,
    unseal,
)
from countermark.core.exchange import BLOCK_BYTES, SEGMENT_BLOCKS, SEGMENT_BYTES, climb, key_digest, leaves
from countermark.core.keys import Secret
from countermark.errors import ConflictError, HostileFile, InputError, ManifestMismatch, StorageError

KEY = Secret(bytes(range(32)))


class Steps:
    """A progress callback that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, str]] = []

    def __call__(self, done: int, total: int, unit: str) -> None:
        self.calls.append((done, total, unit))

    def check(self) -> None:
        done, totals, units = zip(*self.calls, strict=True)
        assert list(done) == sorted(done)
        assert done[-1] == totals[0]
        assert len(set(totals)) == len(set(units)) == 1


def silent(_done: int, _total: int, _unit: str) -> None:
    pass


def tensors(size: int, seed: int = 1) -> bytes:
    """A safetensors file with one tensor of so many bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    data = (sha256(bytes([seed])).digest() * (size // 32 + 1))[:size]
    return len(header).to_bytes(8, "little") + header + data


def write_model(folder: Path, size: int = 3000, seed: int = 1) -> Path:
    """A model with files in folders, an empty one, and one that ends within a block."""
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(tensors(size, seed))
    (folder / "config.json").write_bytes(b'{"a": 1}')
    (folder / "empty.txt").write_bytes(b"")
    (folder / "zzz.txt").write_bytes(b"z" * 700)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


@pytest.fixture
def package(model, tmp_path):
    return seal(model, tmp_path / "package", KEY, progress=silent)


@pytest.mark.parametrize("size", [1, 400, 3000, SEGMENT_BYTES - 900, SEGMENT_BYTES, 2 * SEGMENT_BYTES + 5])
def test_what_was_sealed_is_opened_again(tmp_path, size):
    model, steps = write_model(tmp_path / "model", size), [Steps() for _ in range(3)]
    sealed = seal(model, tmp_path / "package", KEY, progress=steps[0])
    read = read_package(tmp_path / "package")
    assert read == sealed
    assert read.key_digest == key_digest(KEY)
    assert read.files == tuple((path, len(data)) for path, data in sorted(contents(model).items()))
    check_package(read, progress=steps[1])
    assert unseal(read, KEY, tmp_path / "out", progress=steps[2]) is None
    assert contents(tmp_path / "out") == contents(model)
    for told in steps:
        told.check()


def test_sealing_is_deterministic_and_every_key_gives_another_package(model, package, tmp_path):
    again = seal(model, tmp_path / "again", KEY, progress=silent)
    assert contents(again.folder) == contents(package.folder)
    other = seal(model, tmp_path / "other", Secret(bytes(32)), progress=silent)
    assert other.plain_root != package.plain_root
    assert other.cipher_root != package.cipher_root


def test_a_package_shows_nothing_of_the_files_but_names_and_sizes(model, package):
    shown = b"".join(contents(package.folder).values())
    tensor = sha256(b"\1").digest()
    assert tensor not in shown
    assert b"zzzzzz" not in shown
    for data in contents(model).values():
        assert sha256(data.ljust(BLOCK_BYTES, b"\0")[:BLOCK_BYTES]).digest() not in shown


@pytest.mark.parametrize("at", [0, 1, 5, SEGMENT_BLOCKS - 1, SEGMENT_BLOCKS, SEGMENT_BLOCKS + 3])
def test_the_first_wrong_block_is_found_and_its_complaint_is_a_proof(tmp_path, at):
    size = SEGMENT_BYTES + 5 * BLOCK_BYTES
    honest = seal(write_model(tmp_path / "a", size), tmp_path / "honest", KEY, progress=silent)
    spoiled = bytearray((tmp_path / "honest" / "ciphertext").read_bytes())
    for block in (at, at + 1):
        spoiled[block * BLOCK_BYTES + 9] ^= 1
    shutil.copytree(tmp_path / "honest", tmp_path / "other")
    (tmp_path / "other" / "ciphertext").write_bytes(spoiled)
    cheat = combine(honest, read_package(tmp_path / "other"), tmp_path / "cheat")
    assert read_package(tmp_path / "cheat") == cheat
    check_package(cheat, progress=silent)  # before the key nothing shows
    assert unseal(cheat, KEY, tmp_path / "out", progress=silent) == at
    assert not (tmp_path / "out").exists()
    index, cipher_block, plain_leaf, path = complaint(cheat, at)
    assert (index, len(cipher_block)) == (at, BLOCK_BYTES)
    (leaf,) = leaves([plain_leaf], cipher_block)
    assert climb(leaf, index, cheat.blocks, path) == cheat.cipher_root


def test_a_cheat_with_another_model_is_found(tmp_path):
    models = [write_model(tmp_path / f"model {seed}", seed=seed) for seed in (1, 2)]
    honest, other = (seal(m, tmp_path / f"package {i}", KEY, progress=silent) for i, m in enumerate(models))
    cheat = combine(honest, other, tmp_path / "cheat")
    check_package(cheat, progress=silent)
    assert unseal(cheat, KEY, tmp_path / "out", progress=silent) == 0
    assert (cheat.plain_root, cheat.blocks) == (honest.plain_root, honest.blocks)


@pytest.mark.parametrize("index", [-1, 10**9])
def test_there_is_no_complaint_about_a_block_that_is_not_there(package, index):
    with pytest.raises(InputError):
        complaint(package, index)


def test_another_key_opens_nothing(package, tmp_path):
    with pytest.raises(InputError, match="not the key"):
        unseal(package, Secret(bytes(32)), tmp_path / "out", progress=silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["ciphertext", "leaves"])
@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_changed_bit_is_seen_before_paying(package, part, at):
    path = package.folder / part
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ManifestMismatch):
        check_package(read_package(package.folder), progress=silent)


def change(package: Package, **fields: object) -> Path:
    path = package.folder / "package.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return package.folder


def test_renamed_files_are_seen_before_paying(package):
    files = [["other.json" if path == "config.json" else path, size] for path, size in package.files]
    read = read_package(change(package, files=sorted(files)))
    with pytest.raises(ManifestMismatch, match="files or leaves"):
        check_package(read, progress=silent)


def test_a_package_of_other_sizes_is_seen_before_paying(package):
    sizes = dict(package.files)
    sizes["config.json"], sizes["zzz.txt"] = sizes["config.json"] + 1, sizes["zzz.txt"] - 1
    read = read_package(change(package, files=[list(item) for item in sizes.items()]))
    with pytest.raises(ManifestMismatch, match="files or leaves"):
        check_package(read, progress=silent)


@pytest.mark.parametrize(
    "files",
    [
        [],
        "config.json",
        [["config.json"]],
        [["config.json", 5, 6]],
        [["config.json", "5"]],
        [["config.json", -5]],
        [["config.json", True]],
        [["config.json", 1.0]],
        [[7, 5]],
        [["../out", 5000]],
        [["/etc/passwd", 5000]],
        [["a/../../b", 5000]],
        [["a\\b", 5000]],
        [["C:b", 5000]],
        [["a\0b", 5000]],
        [["a\nb", 5000]],
        [["a//b", 5000]],
        [["", 5000]],
        [["b", 2500], ["a", 2500]],
        [["a", 2500], ["a", 2500]],
        [["A", 2500], ["a", 2500]],
        [["a", 2500], ["a/b", 2500]],
        [["A", 2500], ["a/b", 2500]],
        [["a", 2**60]],
        [["a", 0]],
        [[f"{at:06}", 1] for at in range(100_001)],
    ],
    ids=lambda files: str(files)[:40],
)
def test_a_strangers_table_of_files_is_read_within_limits(package, files):
    with pytest.raises(HostileFile):
        read_package(change(package, files=files))


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "countermark.package/2"},
        {"blocks": 0},
        {"blocks": 10},
        {"blocks": True},
        {"blocks": "11"},
        {"blocks": 2**60},
        {"plain_root": "00"},
        {"cipher_root": "zz" * 32},
        {"key_digest": None},
        {"key_digest": 7},
    ],
    ids=str,
)
def test_a_strangers_fields_are_read_within_limits(package, fields):
    with pytest.raises(HostileFile):
        read_package(change(package, **fields))


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{}", '{"format": 1}', "[" * 100_000, "{" * 10])
def test_a_document_that_is_none_is_refused(package, text):
    (package.folder / "package.json").write_text(text)
    with pytest.raises(InputError):
        read_package(package.folder)


@pytest.mark.parametrize("part", ["ciphertext", "leaves"])
def test_parts_have_the_sizes_that_follow_from_the_files(package, part):
    path = package.folder / part
    data = path.read_bytes()
    for wrong in (data[:-1], data + b"\0", b""):
        path.write_bytes(wrong)
        with pytest.raises(HostileFile):
            read_package(package.folder)
    path.unlink()
    with pytest.raises(InputError):
        read_package(package.folder)


@pytest.mark.parametrize("part", ["ciphertext", "leaves"])
def test_links_in_a_package_are_not_followed(package, part, tmp_path):
    path = package.folder / part
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostileFile):
        read_package(package.folder)


def test_a_pipe_in_a_package_does_not_hang(package):
    path = package.folder / "leaves"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(HostileFile):
        read_package(package.folder)


def test_a_package_that_shrinks_after_it_was_read_is_refused(package):
    (package.folder / "leaves").write_bytes(b"")
    with pytest.raises(ManifestMismatch):
        check_package(package, progress=silent)
    (package.folder / "leaves").unlink()
    with pytest.raises(StorageError):
        check_package(package, progress=silent)


def test_nothing_is_overwritten_and_nothing_is_left(model, package, tmp_path):
    with pytest.raises(ConflictError):
        seal(model, package.folder, KEY, progress=silent)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConflictError):
        unseal(package, KEY, tmp_path / "out", progress=silent)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        unseal(package, KEY, tmp_path / "file" / "out", progress=silent)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "package", "out", "file"}


def test_an_interrupted_sealing_leaves_nothing(model, tmp_path):
    def stop(_done: int, _total: int, _unit: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal(model, tmp_path / "package", KEY, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_link_out_of_the_model_is_not_sealed(model, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (model / "link.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(HostileFile):
        seal(model, tmp_path / "package", KEY, progress=silent)


def test_a_file_that_changes_while_it_is_sealed_is_refused(model, tmp_path):
    size = SEGMENT_BYTES * 2
    (model / "unet" / "model.safetensors").write_bytes(tensors(size))

    def grow(_done: int, _total: int, _unit: str) -> None:
        with (model / "unet" / "model.safetensors").open("ab") as stream:
            stream.write(b"more")

    with pytest.raises(InputError):
        seal(model, tmp_path / "package", KEY, progress=grow)
    assert not (tmp_path / "package").exists()
