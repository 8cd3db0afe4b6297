"""A model's files, sealed for a fair exchange: written by the marking service, checked and opened by the buyer.

A package is a folder of three files::

    package.json   the files' paths and sizes in the order of the stream, number of blocks, roots, digest of the key
    ciphertext     the encrypted blocks, one after another
    leaves         the plain leaf of every block, 32 bytes each: what the buyer holds against a wrong block

The stream is the files' bytes one after another, sorted by path, filled up with zeros to a whole block; it is sealed as
``core.exchange`` says. Everything is read and written a segment (1 MiB) at a time; 32 bytes for each are kept. A
package comes from a stranger: its sizes are checked against each other before anything is believed, and no path leaves
the folder that is opened into.

Laws:
    ``unseal(seal(d, f, k), k, out)`` writes the files of ``d``; what ``check_package`` accepts has the roots that it
    states; ``unseal`` returns the first block that is not what its leaf says, and ``complaint`` proves it.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from countermark.artifact.directory import (
    MAX_FILES,
    MAX_TOTAL_BYTES,
    SourceFile,
    check_path,
    check_unchanged,
    open_source,
    survey,
)
from countermark.core.canonical import canonical_json, document_digest, parse_json
from countermark.core.exchange import (
    BLOCK_BYTES,
    HASH_BYTES,
    SEGMENT_BLOCKS,
    SEGMENT_BYTES,
    Tree,
    block_count,
    encrypt,
    key_digest,
    leaves,
    plain_leaves,
)
from countermark.core.keys import Secret
from countermark.core.progress import Progress
from countermark.errors import ConflictError, HostileFile, InputError, ManifestMismatch, StorageError

FORMAT = "countermark.package/1"
_DOCUMENT_LIMIT = 64 * 2**20
_DOCUMENT, _CIPHERTEXT, _LEAVES = "package.json", "ciphertext", "leaves"


@dataclass(frozen=True, slots=True)
class Package:
    """A sealed copy of a model.

    Attributes:
        folder: where its three files lie.
        files: path and size of each file, in the order of the stream.
        blocks: number of blocks, at least 1.
        plain_root: 32 bytes that bind the files' names and sizes and all plain leaves.
        cipher_root: root of the tree that binds each plain leaf to its block of ciphertext.
        key_digest: SHA-256 of the key.
    """

    folder: Path
    files: tuple[tuple[str, int], ...]
    blocks: int
    plain_root: bytes
    cipher_root: bytes
    key_digest: bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return what ``package.json`` holds."""
        return {
            "format": FORMAT,
            "files": [[path, size] for path, size in self.files],
            "blocks": self.blocks,
            "plain_root": self.plain_root.hex(),
            "cipher_root": self.cipher_root.hex(),
            "key_digest": self.key_digest.hex(),
        }


def seal(directory: Path, folder: Path, key: Secret, *, progress: Progress) -> Package:
    """Seal a model directory into a new folder.

    Args:
        directory: of safetensors weights, as for registration.
        folder: made; must not exist.
        key: fresh; a key seals one package.
        progress: told the bytes sealed so far.

    Raises:
        InputError, HostileFile: not a safe model directory, or a file changed meanwhile.
        ConflictError: the folder exists.
        StorageError: it cannot be written.
    """
    found = survey(directory)
    files = tuple((file.path, file.size) for file in found.files)
    blocks = block_count(found.total_bytes)
    tree, promised = Tree(blocks), sha256()
    with _new_folder(folder) as draft:
        with (draft / _CIPHERTEXT).open("xb") as ciphertext, (draft / _LEAVES).open("xb") as listed:
            for segment, data in enumerate(_segments(found.files)):
                plain, cipher = plain_leaves(key, segment, data), encrypt(key, segment, data)
                tree.add(leaves(plain, cipher))
                promised.update(joined := b"".join(plain))
                ciphertext.write(cipher)
                listed.write(joined)
                progress(min(segment * SEGMENT_BYTES + len(data), found.total_bytes), found.total_bytes, "bytes")
        plain_root = _plain_root(files, promised.digest())
        package = Package(folder, files, blocks, plain_root, tree.root(), key_digest(key))
        (draft / _DOCUMENT).write_bytes(canonical_json(package.to_json()))
        draft.rename(folder)
    return package


def read_package(folder: Path) -> Package:
    """Read what a package says about itself, and check that its parts have the sizes that follow from it.

    Raises:
        InputError: no package there.
        HostileFile: a field is missing or of another kind, a path leaves the folder, or a size lies.
    """
    try:
        with (folder / _DOCUMENT).open("rb") as stream:
            text = stream.read(_DOCUMENT_LIMIT + 1)
        states = [(folder / name).lstat() for name in (_CIPHERTEXT, _LEAVES)]
    except OSError as error:
        raise InputError("{path} is not a package: {reason}", path=folder, reason=error.strerror) from error
    package = _parse(folder, parse_json(text, limit=_DOCUMENT_LIMIT))
    wanted = [package.blocks * BLOCK_BYTES, package.blocks * HASH_BYTES]
    if [state.st_size for state in states] != wanted or not all(stat.S_ISREG(state.st_mode) for state in states):
        raise HostileFile("a part of the package in {path} is no file of the size that it says", path=folder)
    return package


def check_package(package: Package, *, progress: Progress) -> None:
    """Read the whole package and check it against its roots, as a buyer does before paying.

    Raises:
        ManifestMismatch: ciphertext or leaves are not what the roots commit to.
    """
    tree, promised = Tree(package.blocks), sha256()
    for segment, plain, cipher in _sealed_segments(package):
        tree.add(leaves(plain, cipher))
        promised.update(b"".join(plain))
        progress(segment * SEGMENT_BYTES + len(cipher), package.blocks * BLOCK_BYTES, "bytes")
    if tree.root() != package.cipher_root:
        raise ManifestMismatch("the ciphertext is not the one that the package commits to")
    if _plain_root(package.files, promised.digest()) != package.plain_root:
        raise ManifestMismatch("files or leaves are not those that the package commits to")


def unseal(package: Package, key: Secret, out: Path, *, progress: Progress) -> int | None:
    """Open a package into a new folder.

    Args:
        package: as ``check_package`` accepted it.
        key: as revealed.
        out: made; must not exist. Nothing is left there unless every block is right.
        progress: told the bytes opened so far.

    Returns:
        None, or the index of the first block that does not decrypt to what its leaf says.

    Raises:
        InputError: the key is not the package's.
        ConflictError: the folder exists.
    """
    if key_digest(key) != package.key_digest:
        raise InputError("that is not the key of this package")
    with _new_folder(out) as draft:
        writer = _Writer(draft, package.files)
        try:
            for segment, promised, cipher in _sealed_segments(package):
                data = encrypt(key, segment, cipher)
                found = plain_leaves(key, segment, data)
                if found != promised:
                    wrong = next(at for at, leaf in enumerate(found) if leaf != promised[at])
                    return segment * SEGMENT_BLOCKS + wrong
                writer.write(data)
                progress(segment * SEGMENT_BYTES + len(data), package.blocks * BLOCK_BYTES, "bytes")
        finally:
            writer.close()
        draft.rename(out)
    return None


def complaint(package: Package, index: int) -> tuple[int, bytes, bytes, list[bytes]]:
    """Return what proves a block on the ledger, in the order of ``FileSales.complain``; reads the whole package.

    Args:
        package: as ``check_package`` accepted it.
        index: of the block, as ``unseal`` returned it.

    Returns:
        The index, the block's ciphertext, its plain leaf, and the path to ``cipher_root``.

    Raises:
        InputError: there is no such block.
    """
    tree = Tree(package.blocks, watch=index)
    wanted, at = divmod(index, SEGMENT_BLOCKS)
    cipher_block = plain_leaf = b""
    for segment, plain, cipher in _sealed_segments(package):
        tree.add(leaves(plain, cipher))
        if segment == wanted:
            cipher_block, plain_leaf = cipher[at * BLOCK_BYTES : (at + 1) * BLOCK_BYTES], plain[at]
    tree.root()
    return index, cipher_block, plain_leaf, tree.path


def combine(honest: Package, other: Package, folder: Path) -> Package:
    """Write a package that promises the blocks of one and hands over the ciphertext of another: what a cheat does.

    Both were sealed under one key and have files of the same sizes. For demonstrations and tests.
    """
    with _new_folder(folder) as draft:
        shutil.copy(other.folder / _CIPHERTEXT, draft / _CIPHERTEXT)
        shutil.copy(honest.folder / _LEAVES, draft / _LEAVES)
        made = replace(honest, folder=draft)
        tree = Tree(made.blocks)
        for _, plain, cipher in _sealed_segments(made):
            tree.add(leaves(plain, cipher))
        made = replace(made, folder=folder, cipher_root=tree.root())
        (draft / _DOCUMENT).write_bytes(canonical_json(made.to_json()))
        draft.rename(folder)
    return made


class _Writer:
    """Cuts a stream into files; the padding at its end is dropped."""

    def __init__(self, folder: Path, files: tuple[tuple[str, int], ...]) -> None:
        self._folder, self._waiting = folder, iter(files)
        self._file: IO[bytes] | None = None
        self._left = 0
        self._advance()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._file is not None:
            part = view[: self._left]
            self._file.write(part)
            view, self._left = view[len(part) :], self._left - len(part)
            if not self._left:
                self._advance()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _advance(self) -> None:
        """Open the next file that has bytes; empty ones are made on the way."""
        self.close()
        for path, size in self._waiting:
            target = self._folder.joinpath(*path.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = target.open("xb")
            if size:
                self._file, self._left = stream, size
                return
            stream.close()


@contextmanager
def _new_folder(wanted: Path) -> Iterator[Path]:
    """Yield a folder beside the wanted one, to be renamed to it when it is whole; it is removed if it was not."""
    if wanted.exists():
        raise ConflictError("{path} exists", hint="Choose another folder.", path=wanted)
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=wanted.parent))
    except OSError as error:
        raise StorageError("cannot write in {path}", path=wanted.parent) from error
    try:
        draft.chmod(0o755)
        yield draft
    except OSError as error:
        raise StorageError("cannot write in {path}", path=wanted.parent) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _segments(files: Sequence[SourceFile]) -> Iterator[memoryview]:
    """Read files as one stream, a segment at a time, the last one filled up to a whole block.

    A segment is valid until the next one.
    """
    buffer, filled = memoryview(bytearray(SEGMENT_BYTES)), 0
    for file in files:
        left = file.size
        with open_source(file) as stream:
            while left:
                count = stream.readinto(buffer[filled : filled + left])  # type: ignore[attr-defined]  # unbuffered
                if not count:
                    raise InputError("{path} became shorter while it was read", path=file.path)
                left, filled = left - count, filled + count
                if filled == SEGMENT_BYTES:
                    yield buffer
                    filled = 0
            check_unchanged(file, stream)
    if filled:
        end = filled + -filled % BLOCK_BYTES
        buffer[filled:end] = bytes(end - filled)
        yield buffer[:end]


def _sealed_segments(package: Package) -> Iterator[tuple[int, list[bytes], bytes]]:
    """Read leaves and ciphertext side by side: the segment's number, its plain leaves, its ciphertext."""
    try:
        with (package.folder / _CIPHERTEXT).open("rb") as ciphertext, (package.folder / _LEAVES).open("rb") as listed:
            for first in range(0, package.blocks, SEGMENT_BLOCKS):
                count = min(SEGMENT_BLOCKS, package.blocks - first)
                cipher, joined = ciphertext.read(count * BLOCK_BYTES), listed.read(count * HASH_BYTES)
                if len(cipher) != count * BLOCK_BYTES or len(joined) != count * HASH_BYTES:
                    raise ManifestMismatch("the package is truncated")
                cut = [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]
                yield first // SEGMENT_BLOCKS, cut, cipher
    except OSError as error:
        raise StorageError("cannot read the package in {path}", path=package.folder) from error


def _parse(folder: Path, value: Any) -> Package:
    try:
        if value["format"] != FORMAT:
            raise HostileFile("not a package of a known format")
        files = tuple((path, size) for path, size in value["files"])
        roots = [bytes.fromhex(value[name]) for name in ("plain_root", "cipher_root", "key_digest")]
        blocks = value["blocks"]
    except (KeyError, TypeError, ValueError) as error:
        raise HostileFile("package.json is malformed: {reason}", reason=str(error)[:80]) from error
    if any(len(root) != HASH_BYTES for root in roots):
        raise HostileFile("a root of the package has not 32 bytes")
    _check_files(files)
    if type(blocks) is not int or blocks != block_count(sum(size for _, size in files)):
        raise HostileFile("the package's number of blocks does not follow from its files")
    return Package(folder, files, blocks, *roots)


def _check_files(files: tuple[tuple[Any, Any], ...]) -> None:
    if not 0 < len(files) <= MAX_FILES:
        raise HostileFile("a package holds 1 to {limit} files", limit=MAX_FILES)
    for path, size in files:
        if not isinstance(path, str) or type(size) is not int or size < 0:
            raise HostileFile("package.json names a file without path or size")
        check_path(path)
    paths = [path for path, _ in files]
    # Sorted and different without regard to case, and no file that is also another one's folder.
    folded = [path.casefold() for path in paths]
    folders = {"/".join(path.split("/")[:depth]) for path in folded for depth in range(1, path.count("/") + 1)}
    if paths != sorted(paths) or len(set(folded)) != len(folded) or folders & set(folded):
        raise HostileFile("the package's files are not in order, or stand in each other's way")
    if not 0 < sum(size for _, size in files) <= MAX_TOTAL_BYTES:
        raise HostileFile("a package of {size} bytes is over the limit", size=sum(size for _, size in files))


def _plain_root(files: tuple[tuple[str, int], ...], leaves_digest: bytes) -> bytes:
    """Bind names, sizes and all plain leaves; ``leaves_digest`` is the SHA-256 of the file ``leaves``."""
    body = {"files": [[path, size] for path, size in files], "leaves": leaves_digest.hex()}
    return document_digest("exchange-plain/1", body)
