"""The model manifest: every file and every tensor by digest, in Merkle trees with three roots.

A tree's leaves are canonical JSON records in sorted order, hashed as in RFC 6962 (``core.merkle``).

``files_root``
    path, size and SHA-256 of every file: are these the files that were registered, byte for byte?
``weights_root``
    component, name, dtype, shape and SHA-256 of every tensor: is it the same network? File names and sharding do not
    matter; a component is the directory of the file (``unet``, ``vae``; empty at the top). A tensor that stands twice
    with the same bytes (an overlapping shard, a second copy) counts once; variants (an fp16 copy) are tensors too.
``content_root``
    SHA-256 of every tensor that is not empty, each distinct one once: is it the same training result?

**The same weights** means the same ``content_root``, and that is what registration refuses a second time. Names,
shapes, dtypes and directories are labels: whoever converts a diffusers layout to a single file renames every tensor
and has trained nothing. A tensor that many models share (zero biases, position tables) does no harm, since the root is
over all tensors together. What no digest sees is a change of values: a cast, a merge, one rounded weight make other
content; finding such copies is the work of marks and traces, not of the manifest.

Laws, for every manifest ``m``:
    ``ModelManifest.from_json(m.to_json()) == m``; a change of any field makes ``from_json`` raise or ``digest`` differ;
    ``verify_inclusion`` accepts the proof of every file and every tensor against the root;
    ``weights_root`` and ``content_root`` do not depend on file names within a component nor on the order of tensors;
    ``content_root`` does not depend on names, shapes, dtypes and components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from countermark.artifact.directory import (
    LAYOUTS,
    MAX_FILES,
    MAX_PATH_CHARACTERS,
    MAX_TENSORS,
    MAX_TOTAL_BYTES,
    check_path,
)
from countermark.artifact.safetensors import MAX_NAME_CHARACTERS, check_tensor, element_count, is_count, is_plain
from countermark.core.canonical import canonical_json, document_digest, read_digest, show_digest
from countermark.core.merkle import inclusion_path, leaf_hash, root_of
from countermark.errors import InputError

FORMAT = "countermark.model-manifest/1"

_DOMAIN = "model-manifest/1"


@dataclass(frozen=True, slots=True, order=True)
class FileRecord:
    """A file: relative path, size in bytes, SHA-256 of its bytes (what ``sha256sum`` prints)."""

    path: str
    size: int
    sha256: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {"path": self.path, "sha256": show_digest(self.sha256), "size": self.size}


@dataclass(frozen=True, slots=True, order=True)
class TensorRecord:
    """A tensor: component, name, dtype as in safetensors, shape, SHA-256 of its bytes (little-endian, row-major)."""

    component: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            "component": self.component,
            "dtype": self.dtype,
            "name": self.name,
            "sha256": show_digest(self.sha256),
            "shape": list(self.shape),
        }


def file_leaf(record: FileRecord) -> bytes:
    """Return the leaf hash of a file under ``files_root``."""
    return leaf_hash(canonical_json(record.to_json()))


def tensor_leaf(record: TensorRecord) -> bytes:
    """Return the leaf hash of a tensor under ``weights_root``."""
    return leaf_hash(canonical_json(record.to_json()))


@dataclass(frozen=True)
class ModelManifest:
    """What a model consists of; make one with ``digest_model`` or ``from_json``, which keep the laws above.

    ``files`` are sorted by path; ``tensors`` are sorted and distinct.
    """

    name: str
    layout: str
    files: tuple[FileRecord, ...]
    tensors: tuple[TensorRecord, ...]

    @classmethod
    def of(cls, name: str, layout: str, files: Iterable[FileRecord], tensors: Iterable[TensorRecord]) -> ModelManifest:
        """Return the manifest of these records, in any order; equal tensors count once."""
        return cls(name, layout, tuple(sorted(files)), tuple(sorted(set(tensors))))

    @cached_property
    def files_root(self) -> bytes:
        """Merkle root over the files: 32 bytes."""
        return root_of(self._file_leaves)

    @cached_property
    def weights_root(self) -> bytes:
        """Merkle root over the named tensors: 32 bytes."""
        return root_of(self._tensor_leaves)

    @cached_property
    def content_root(self) -> bytes:
        """Merkle root over the distinct digests of tensors that are not empty: 32 bytes. Decides "the same weights"."""
        return root_of([leaf_hash(digest) for digest in sorted({t.sha256 for t in self.tensors if 0 not in t.shape})])

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files)

    @cached_property
    def parameters(self) -> int:
        """Elements of all tensors, variants included."""
        return sum(element_count(record.shape) for record in self.tensors)

    @cached_property
    def digest(self) -> bytes:
        """The manifest's 32-byte name: the document digest of ``head``, whose roots cover all records."""
        return document_digest(_DOMAIN, self.head())

    def head(self) -> dict[str, Any]:
        """Return the manifest without its records: all that is signed, and enough to check inclusion proofs."""
        return {
            "content_root": show_digest(self.content_root),
            "file_count": len(self.files),
            "files_root": show_digest(self.files_root),
            "format": FORMAT,
            "layout": self.layout,
            "name": self.name,
            "parameters": self.parameters,
            "tensor_count": len(self.tensors),
            "total_bytes": self.total_bytes,
            "weights_root": show_digest(self.weights_root),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the head with the records under ``files`` and ``tensors``."""
        files, tensors = ([record.to_json() for record in records] for records in (self.files, self.tensors))
        return {**self.head(), "files": files, "tensors": tensors}

    @classmethod
    def from_json(cls, value: object) -> ModelManifest:
        """Read what ``to_json`` wrote; counts, sums and roots are computed again and must agree.

        Raises:
            InputError: a field is missing, unknown, malformed or over a limit, or the head does not fit the records.
        """
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise InputError("not a model manifest of a known format")
        name, layout = value.get("name"), value.get("layout")
        if not isinstance(name, str) or not is_plain(name) or len(name) > MAX_NAME_CHARACTERS or layout not in LAYOUTS:
            raise InputError("the model manifest's name or layout is malformed")
        files = [_read_file(record) for record in _records(value.get("files"), MAX_FILES)]
        tensors = [_read_tensor(record) for record in _records(value.get("tensors"), MAX_TENSORS)]
        manifest = cls.of(name, str(layout), files, tensors)
        if (manifest.files, manifest.tensors) != (tuple(files), tuple(tensors)):
            raise InputError("the model manifest's records are not sorted and distinct")
        if not files or len({record.path for record in files}) != len(files):
            raise InputError("the model manifest names no file, or one twice")
        if manifest.total_bytes > MAX_TOTAL_BYTES or manifest.parameters >= 2**53 or manifest.head() != _head(value):
            raise InputError("the model manifest's sums or roots do not fit its records")
        return manifest

    def file_proof(self, path: str) -> tuple[int, list[bytes]]:
        """Return index and inclusion proof of ``file_leaf`` of the file, for ``core.merkle.verify_inclusion``.

        Raises:
            InputError: no such file.
        """
        index = next((i for i, record in enumerate(self.files) if record.path == path), -1)
        if index < 0:
            raise InputError("the model manifest has no file {path}", path=path)
        return index, inclusion_path(self._file_leaves, index)

    def tensor_proof(self, name: str, component: str = "") -> tuple[int, list[bytes]]:
        """Return index and inclusion proof of ``tensor_leaf``; of several variants, the first in ``tensors``.

        Raises:
            InputError: no such tensor.
        """
        wanted = (component, name)
        index = next((i for i, record in enumerate(self.tensors) if (record.component, record.name) == wanted), -1)
        if index < 0:
            raise InputError("the model manifest has no tensor {name}", name=name)
        return index, inclusion_path(self._tensor_leaves, index)

    @cached_property
    def _file_leaves(self) -> Sequence[bytes]:
        return [file_leaf(record) for record in self.files]

    @cached_property
    def _tensor_leaves(self) -> Sequence[bytes]:
        return [tensor_leaf(record) for record in self.tensors]


def _head(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: field for key, field in value.items() if key not in ("files", "tensors")}


def _records(value: object, limit: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise InputError("the model manifest's records are missing or too many")
    return value


def _read_file(value: object) -> FileRecord:
    if not isinstance(value, dict) or value.keys() != {"path", "sha256", "size"} or not is_count(value["size"]):
        raise InputError("the model manifest holds a malformed file record")
    if not isinstance(value["path"], str):
        raise InputError("the model manifest holds a malformed file record")
    check_path(value["path"])
    return FileRecord(value["path"], value["size"], read_digest(value["sha256"]))


def _read_tensor(value: object) -> TensorRecord:
    if not isinstance(value, dict) or value.keys() != {"component", "dtype", "name", "sha256", "shape"}:
        raise InputError("the model manifest holds a malformed tensor record")
    component = value["component"]
    if not isinstance(component, str) or len(component) > MAX_PATH_CHARACTERS:
        raise InputError("the model manifest holds a malformed tensor record")
    if component:
        check_path(component)
    checked = check_tensor(value["name"], value["dtype"], value["shape"])
    return TensorRecord(component, *checked, read_digest(value["sha256"]))
