"""Write a tree of new files whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from countermark.errors import ConflictError, StorageError


@dataclass(frozen=True, slots=True)
class NewFile:
    """Content and permissions of a file that does not exist yet."""

    data: bytes
    mode: int = 0o644

    @classmethod
    def text(cls, text: str, mode: int = 0o644) -> NewFile:
        """Return a file of text."""
        return cls(text.encode(), mode)


def write_tree(folder: Path, files: Mapping[str, NewFile]) -> None:
    """Write files under a folder that does not exist or is empty; only its user can read it.

    The tree is built beside it and moved into place, so that an interrupted call leaves no half of a chain.

    Raises:
        ConflictError: the folder holds something.
        StorageError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError("{path} exists", hint="Keys are never overwritten.", path=folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))  # mode 0700
        try:
            for name, file in files.items():
                _write(draft / name, file)
            os.rename(draft, folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError("cannot write {path}: {reason}", path=folder, reason=error.strerror) from error


def _write(path: Path, file: NewFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(file.data)
        os.fchmod(descriptor, file.mode)  # whatever the umask left of it
        stream.flush()
        os.fsync(descriptor)
