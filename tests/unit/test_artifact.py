"""Model directories: what is listed, what is refused, what the manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from countermark.artifact import ModelManifest, digest_model, file_leaf, survey, tensor_leaf, verify_directory
from countermark.core.canonical import canonical_json, parse_json
from countermark.core.merkle import verify_inclusion
from countermark.errors import HostileFile, InputError, ManifestMismatch

WEIGHTS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.bias": np.zeros(3, np.float32),
    "steps": np.array(7, np.int64),
    "none": np.zeros((0, 4), np.float16),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "unet").mkdir(parents=True)
    save_file(WEIGHTS, directory / "unet" / "diffusion_pytorch_model.safetensors", {"format": "np"})
    (directory / "model_index.json").write_text("{}")
    (directory / "README.md").write_text("a model")
    (directory / "empty.txt").write_text("")
    return directory


def manifest_of(directory: Path) -> ModelManifest:
    return digest_model(survey(directory))


def write_shards(directory: Path, shards: dict[str, dict[str, Any]], index: dict[str, str] | None = None) -> Path:
    directory.mkdir()
    for name, tensors in shards.items():
        save_file(tensors, directory / name)
    if index is not None:
        (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return directory


def test_digests_are_those_of_the_bytes(model: Path) -> None:
    manifest = manifest_of(model)
    assert {record.path: record.sha256 for record in manifest.files} == {
        path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in model.rglob("*")
        if path.is_file()
    }
    assert {(t.component, t.name): (t.shape, t.sha256) for t in manifest.tensors} == {
        ("unet", name): (array.shape, hashlib.sha256(array.tobytes()).digest()) for name, array in WEIGHTS.items()
    }
    assert (manifest.name, manifest.layout, manifest.parameters) == ("model", "diffusers", 16)
    assert manifest.total_bytes == sum(path.stat().st_size for path in model.rglob("*") if path.is_file())


def test_tensors_larger_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    arrays = {f"t{n}": rng.integers(0, 256, n, dtype=np.uint8) for n in (0, 1, 63, 64, 65, 127, 128, 1000)}
    directory = write_shards(tmp_path / "m", {"model.safetensors": arrays})
    expected = manifest_of(directory)
    monkeypatch.setattr("countermark.artifact.digesting.CHUNK_BYTES", 64)
    assert manifest_of(directory) == expected
    assert {t.name: t.sha256 for t in expected.tensors} == {
        name: hashlib.sha256(array.tobytes()).digest() for name, array in arrays.items()
    }


def test_proofs_verify_against_the_roots(model: Path) -> None:
    manifest = manifest_of(model)
    for record in manifest.files:
        index, proof = manifest.file_proof(record.path)
        verify_inclusion(file_leaf(record), index, len(manifest.files), proof, manifest.files_root)
    for tensor in manifest.tensors:
        index, proof = manifest.tensor_proof(tensor.name, tensor.component)
        verify_inclusion(tensor_leaf(tensor), index, len(manifest.tensors), proof, manifest.weights_root)
    with pytest.raises(InputError, match="no file"):
        manifest.file_proof("nothing")
    with pytest.raises(InputError, match="no tensor"):
        manifest.tensor_proof("a.weight")


def test_resharding_keeps_the_weights_and_renaming_keeps_the_content(tmp_path: Path) -> None:
    whole = manifest_of(write_shards(tmp_path / "whole", {"model.safetensors": WEIGHTS}))
    names = sorted(WEIGHTS)
    halves = {f"model-{i}.safetensors": {n: WEIGHTS[n] for n in names[i::2]} for i in range(2)}
    index = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    sharded = manifest_of(write_shards(tmp_path / "sharded", halves, index))
    renamed = manifest_of(
        write_shards(tmp_path / "renamed", {"x.safetensors": {f"m.{n}": WEIGHTS[n].ravel() for n in names}})
    )
    changed = {**WEIGHTS, "a.bias": np.array([0, 0, 1e-9], np.float32)}
    other = manifest_of(write_shards(tmp_path / "other", {"model.safetensors": changed}))
    assert whole.weights_root == sharded.weights_root != renamed.weights_root
    assert whole.content_root == sharded.content_root == renamed.content_root != other.content_root
    assert len({m.files_root for m in (whole, sharded, renamed, other)}) == 4


def test_a_second_copy_of_a_tensor_counts_once(tmp_path: Path) -> None:
    once = manifest_of(write_shards(tmp_path / "once", {"a.safetensors": WEIGHTS}))
    twice = manifest_of(write_shards(tmp_path / "twice", {"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS}))
    assert twice.tensors == once.tensors
    halved = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    variants = manifest_of(
        write_shards(tmp_path / "variants", {"a.safetensors": WEIGHTS, "a.fp16.safetensors": halved})
    )
    assert len(variants.tensors) == 2 * len(WEIGHTS) - 1  # "none" is float16 already


def test_progress_counts_every_byte_and_never_falls(model: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    files = survey(model)
    digest_model(files, lambda done, total, unit: seen.append((done, total, unit)), workers=3)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1] == (files.total_bytes, files.total_bytes, "bytes")


def test_an_error_in_the_progress_stops_the_reading(model: Path) -> None:
    def stop(done: int, total: int, unit: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digest_model(survey(model), stop)


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        ({"model_type": "bert"}, "transformers"),
        ({"architectures": ["X"]}, "transformers"),
        ({"_class_name": "UNet2DModel", "_diffusers_version": "0.35"}, "diffusers"),
        ({}, "safetensors"),
        ([], "safetensors"),
        ("NaN", "safetensors"),
    ],
)
def test_layouts(tmp_path: Path, config: Any, layout: str) -> None:
    directory = write_shards(tmp_path / "m", {"model.safetensors": WEIGHTS})
    (directory / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    assert survey(directory).layout == layout


def test_the_traces_of_tools_are_not_the_model(model: Path) -> None:
    before = manifest_of(model)
    (model / ".git").mkdir()
    (model / ".git" / "x.bin").write_bytes(b"\x80\x04")
    (model / ".cache" / "huggingface").mkdir(parents=True)
    (model / "unet" / ".DS_Store").write_bytes(b"x")
    assert manifest_of(model) == before


def test_links_inside_are_files_and_links_outside_are_refused(model: Path, tmp_path: Path) -> None:
    (model / "README.zh.md").symlink_to("README.md")
    records = {record.path: record.sha256 for record in manifest_of(model).files}
    assert records["README.zh.md"] == records["README.md"]
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (model / "README.md").rename(blobs / "1234")
    (model / "README.md").symlink_to("../blobs/1234")
    with pytest.raises(HostileFile, match=r"README.* is a link out of the directory") as caught:
        survey(model)
    assert "cp -rL" in caught.value.hint


def test_the_directory_itself_may_be_a_link(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    assert manifest_of(tmp_path / "link") == manifest_of(model)


def plant_pickle(directory: Path) -> None:
    (directory / "notes.txt").write_bytes(pickle.dumps({"a": 1}))


def plant_zip(directory: Path) -> None:
    with zipfile.ZipFile(directory / "weights", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([]))


def plant_numpy_objects(directory: Path) -> None:
    np.save(directory / "table.npy", np.array([{}], object), allow_pickle=True)


def plant_old_torch(directory: Path) -> None:
    (directory / "pytorch_model.BIN").write_bytes(b"anything")


def plant_pipe(directory: Path) -> None:
    os.mkfifo(directory / "pipe")


def plant_dangling(directory: Path) -> None:
    (directory / "gone").symlink_to("nowhere")


def plant_directory_link(directory: Path) -> None:
    (directory / "loop").symlink_to(".")


def plant_loop(directory: Path) -> None:
    (directory / "a").symlink_to("b")
    (directory / "b").symlink_to("a")


def plant_case(directory: Path) -> None:
    (directory / "readme.MD").write_text("x")


def plant_directory_case(directory: Path) -> None:
    (directory / "UNET").mkdir()
    (directory / "UNET" / "x").write_text("x")


def plant_decomposed(directory: Path) -> None:
    (directory / "cafe\u0301").write_text("x")


def plant_control(directory: Path) -> None:
    (directory / "a\nb").write_text("x")


def plant_bidi(directory: Path) -> None:
    (directory / "a\u202egnp.exe").write_text("x")


def plant_undecodable(directory: Path) -> None:
    Path(os.fsdecode(os.fsencode(directory) + b"/a\xff")).write_text("x")


def plant_backslash(directory: Path) -> None:
    (directory / "a\\b").write_text("x")


def plant_depth(directory: Path) -> None:
    deep = directory.joinpath(*["d"] * 18)
    deep.mkdir(parents=True)


def plant_bad_header(directory: Path) -> None:
    (directory / "unet" / "x.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")


def plant_control_link(directory: Path) -> None:
    (directory / "\x1b[2J").symlink_to("/etc/passwd")


def plant_bad_index(directory: Path) -> None:
    (directory / "model.safetensors.index.json").write_text("[]")


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (plant_pickle, "notes.txt is a pickle"),
        (plant_zip, "weights is a zip archive"),
        (plant_numpy_objects, "table.npy is a pickle"),
        (plant_old_torch, "pytorch_model.BIN is a pickle"),
        (plant_pipe, "pipe is not a regular file"),
        (plant_dangling, "link to nothing"),
        (plant_directory_link, "loop is not a regular file"),
        (plant_case, "differs from another name only in case"),
        (plant_directory_case, "differs from another name only in case"),
        (plant_decomposed, "not in Unicode form NFC"),
        (plant_control, "control or formatting"),
        (plant_bidi, "control or formatting"),
        (plant_undecodable, "control or formatting"),
        (plant_backslash, "not a portable relative path"),
        (plant_depth, "nested deeper than"),
        (plant_bad_header, "unet/x.safetensors: the safetensors header is truncated"),
        (plant_control_link, "control or formatting"),
        (plant_bad_index, "is not an index of shards"),
    ],
    ids=lambda value: value.__name__.removeprefix("plant_") if callable(value) else "",
)
def test_hostile_directories_are_refused(model: Path, plant: Callable[[Path], None], message: str) -> None:
    plant(model)
    with pytest.raises(HostileFile, match=message):
        survey(model)


def test_a_loop_of_links_is_refused(model: Path) -> None:
    plant_loop(model)
    with pytest.raises(InputError):
        survey(model)


def test_ordinary_numpy_arrays_are_files(model: Path) -> None:
    np.save(model / "table.npy", np.zeros(3))
    assert "table.npy" in {file.path for file in survey(model).files}


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_TOTAL_BYTES", "MAX_TENSORS", "MAX_PATH_CHARACTERS"])
def test_limits(model: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(f"countermark.artifact.directory.{limit}", 2)
    with pytest.raises(HostileFile):
        survey(model)


def test_directories_that_are_no_models(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError):
            survey(path)
    save_file({"none": np.zeros(0, np.uint8)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="holds no tensors"):
        survey(tmp_path)
    with pytest.raises(InputError, match="cannot read the directory"):
        survey(tmp_path / "model.safetensors")


def test_an_interrupted_download_is_noticed(tmp_path: Path) -> None:
    index = {"a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors"}
    directory = write_shards(tmp_path / "m", {"model-1.safetensors": WEIGHTS}, index)
    with pytest.raises(InputError, match=r"names the tensor 'b.weight' in 'model-2"):
        survey(directory)


def test_a_file_that_changes_is_noticed(model: Path) -> None:
    files = survey(model)
    (model / "README.md").write_text("another")
    with pytest.raises(InputError, match=r"README.md changed while it was read"):
        digest_model(files)


def test_a_file_that_changes_under_the_reading_is_noticed(model: Path) -> None:
    path = model / "unet" / "diffusion_pytorch_model.safetensors"

    def touch(done: int, total: int, unit: str) -> None:
        os.utime(path, ns=(0, done))

    with pytest.raises(InputError, match="changed while it was read"):
        digest_model(survey(model), touch)


def test_verify_directory_names_the_first_difference(model: Path) -> None:
    manifest = manifest_of(model)
    assert verify_directory(model, manifest).total_bytes == manifest.total_bytes
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ManifestMismatch, match=r"diffusion_pytorch_model.safetensors is not the file"):
        verify_directory(model, manifest)
    (model / "extra").write_text("x")
    with pytest.raises(ManifestMismatch, match="extra is not in the manifest"):
        verify_directory(model, manifest)
    (model / "README.md").unlink()
    with pytest.raises(ManifestMismatch, match=r"README.md is missing"):
        verify_directory(model, manifest)


def test_manifests_survive_json(model: Path) -> None:
    manifest = manifest_of(model)
    again = ModelManifest.from_json(parse_json(canonical_json(manifest.to_json())))
    assert again == manifest
    assert again.digest == manifest.digest


def alter(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node: Any = document
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        node[int(last) if isinstance(node, list) else last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "countermark.model-manifest/2"),
        ("name", "other\n"),
        ("name", 3),
        ("layout", "onnx"),
        ("surprise", 1),
        ("files", None),
        ("files", []),
        ("files.0", {}),
        ("files.0.path", "../x"),
        ("files.0.path", "/etc/passwd"),
        ("files.0.path", 3),
        ("files.0.size", -1),
        ("files.0.size", True),
        ("files.0.sha256", "sha256:00"),
        ("tensors", {}),
        ("tensors.0.component", "a/../b"),
        ("tensors.0.component", None),
        ("tensors.0.dtype", "F128"),
        ("tensors.0.name", "a\u0000"),
        ("tensors.0.shape", [1.5]),
        ("tensors.0.shape", [2**52, 2**52]),
        ("tensors.0.shape", [1] * 65),
        ("total_bytes", 1),
        ("parameters", 1),
        ("weights_root", "sha256:" + "0" * 64),
        ("content_root", "sha256:" + "0" * 64),
    ],
)
def test_hostile_manifests_are_refused(model: Path, path: str, value: Any) -> None:
    document = manifest_of(model).to_json()
    alter(path, value)(document)
    with pytest.raises(InputError):
        ModelManifest.from_json(document)


def test_manifests_are_sorted_and_distinct(model: Path) -> None:
    document = manifest_of(model).to_json()
    for records in (document["files"][::-1], [document["files"][0], *document["files"]]):
        with pytest.raises(InputError):
            ModelManifest.from_json({**document, "files": records})
    with pytest.raises(InputError):
        ModelManifest.from_json([])
