"""The laws of the model manifest, on records without files."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.artifact import FileRecord, ModelManifest, TensorRecord, file_leaf, tensor_leaf
from countermark.artifact.safetensors import DTYPE_BITS
from countermark.core.canonical import canonical_json, parse_json
from countermark.core.merkle import verify_inclusion
from countermark.errors import InputError

parts = st.text("abcXYZ019._-é中", min_size=1, max_size=6).filter(lambda part: part.strip(".") != "")
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
digests = st.binary(min_size=32, max_size=32)
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)
files = st.lists(
    st.builds(FileRecord, paths, st.integers(0, 2**40), digests), min_size=1, max_size=6, unique_by=lambda r: r.path
)
tensors = st.lists(
    st.builds(
        TensorRecord,
        st.just("") | paths,
        st.text("ab.é", max_size=4),
        st.sampled_from(sorted(DTYPE_BITS)),
        shapes,
        digests,
    ),
    max_size=6,
)
manifests = st.builds(ModelManifest.of, parts, st.sampled_from(["diffusers", "transformers"]), files, tensors)


@given(manifests)
def test_json_round_trip(manifest: ModelManifest) -> None:
    again = ModelManifest.from_json(parse_json(canonical_json(manifest.to_json())))
    assert (again, again.digest) == (manifest, manifest.digest)


@given(manifests, st.data())
def test_a_changed_field_is_refused_or_changes_the_digest(manifest: ModelManifest, data: st.DataObject) -> None:
    document: dict[str, Any] = manifest.to_json()
    key = data.draw(st.sampled_from(sorted(document)))
    other = data.draw(manifests.map(lambda m: m.to_json()[key]) | st.integers() | st.text(max_size=3) | st.none())
    try:
        changed = ModelManifest.from_json({**document, key: other})
    except InputError:
        return
    assert (changed.digest == manifest.digest) == (other == document[key])


@given(manifests)
def test_every_record_has_its_proof(manifest: ModelManifest) -> None:
    for record in manifest.files:
        index, proof = manifest.file_proof(record.path)
        verify_inclusion(file_leaf(record), index, len(manifest.files), proof, manifest.files_root)
    for tensor in manifest.tensors:
        index, proof = manifest.tensor_proof(tensor.name, tensor.component)
        leaf = tensor_leaf(manifest.tensors[index])
        verify_inclusion(leaf, index, len(manifest.tensors), proof, manifest.weights_root)


@given(manifests, manifests, st.randoms())
def test_roots_ignore_what_they_should(manifest: ModelManifest, other: ModelManifest, random: Any) -> None:
    shuffled = random.sample([*manifest.tensors, *manifest.tensors], 2 * len(manifest.tensors))
    same = ModelManifest.of(other.name, other.layout, other.files, shuffled)
    assert (same.weights_root, same.content_root) == (manifest.weights_root, manifest.content_root)
    renamed = [
        TensorRecord("x", str(i), "U8", (int(0 not in t.shape),), t.sha256) for i, t in enumerate(manifest.tensors)
    ]
    assert ModelManifest.of("n", "safetensors", other.files, renamed).content_root == manifest.content_root


@given(manifests, manifests)
def test_different_tensors_have_different_roots(one: ModelManifest, other: ModelManifest) -> None:
    assert (one.weights_root == other.weights_root) == (one.tensors == other.tensors)
    assert (one.files_root == other.files_root) == (one.files == other.files)
