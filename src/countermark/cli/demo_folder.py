"""The folder that a demo works in, and the model that it registers."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from countermark.errors import ConflictError, InputError, StorageError

FOLDER_HELP = "Folder to write; an earlier demo's is replaced, no other."
_SIGN = "countermark-demo.json"


def find_model(given: Path | None) -> Path:
    """Return the given model directory, or the checkout's example.

    Raises:
        InputError: none is given, and this is no checkout.
    """
    if given is not None:
        return given
    checkout = Path(__file__).parents[3] / "examples" / "fashion-mnist"
    if not (checkout / "model_index.json").is_file():
        raise InputError("the example model is not installed", hint="Give a directory of safetensors with --model.")
    return checkout


def prepare(out: Path) -> None:
    """Make the folder empty, if it is a demo's to empty.

    Raises:
        ConflictError: it holds something else.
        StorageError: it cannot be written.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / _SIGN).is_file():
            raise ConflictError(
                "{path} holds something else than a demo", hint="Choose another folder with --out.", path=out
            )
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _SIGN).write_text("{}\n")
    except OSError as error:
        raise StorageError("cannot write in {path}", path=out) from error


def make_passphrase(out: Path) -> str:
    """Write a fresh passphrase into the folder, readable by its user alone, and return it."""
    passphrase = secrets.token_urlsafe(16)
    descriptor = os.open(out / "passphrase", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(passphrase + "\n")
    return passphrase
