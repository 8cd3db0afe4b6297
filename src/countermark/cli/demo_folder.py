"""What the demos share: the folder that each works in, the model that it registers, and the stranger who verifies."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from countermark.errors import ConflictError, InputError, StorageError

FOLDER_HELP = "Folder to write; an earlier demo's is replaced, no other."
_SIGN = "countermark-demo.json"
# A process of its own: it can see the bundle, the trust file and the suspect, and must not load what it does not need.
_STRANGER = """
import sys
from countermark.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    loaded = {"torch", "web3", "eth", "sqlalchemy", "PIL", "scipy", "tokenizers"} & set(sys.modules)
    print(*sorted(loaded), file=sys.stderr)
    sys.exit(70 if loaded else end.code)
"""


def find_model(given: Path | None, example: str = "fashion-mnist") -> Path:
    """Return the given model directory, or one of the checkout's examples.

    Raises:
        InputError: none is given, and this is no checkout.
    """
    if given is not None:
        return given
    checkout = Path(__file__).parents[3] / "examples" / example
    if not checkout.is_dir():
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


def stranger_says(out: Path, bundle: str, suspect: str, *, case: str, audience: str) -> int:
    """Verify in a separate process that gets three files, no workspace and no passphrase; return its exit status."""
    folder = out / "stranger"
    folder.mkdir(exist_ok=True)
    for name in (bundle, "trust.json", suspect):
        shutil.copy(out / name, folder / name)
    given = {"--trust": "trust.json", "--suspect": suspect, "--case": case, "--audience": audience}
    arguments = ["verify", bundle, *(word for option in given.items() for word in option)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMARK_")}
    done = subprocess.run(
        [sys.executable, "-c", _STRANGER, *arguments], cwd=folder, env=environment, capture_output=True, check=False
    )
    (out / f"{Path(bundle).stem}-verification.txt").write_bytes(done.stdout + done.stderr)
    return done.returncode
