"""``countermark doctor``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from countermark import __version__
from countermark.cli.session import Session, current
from countermark.cli.shell import Command
from countermark.cli.text import card
from countermark.errors import CountermarkError

_EXTRAS = {
    "chain": ("sqlalchemy", "web3", "eth", "asn1crypto", "rich"),
    "image": ("PIL",),
    "train": ("torch", "diffusers", "safetensors"),
    "demo": ("skimage",),
}
_PACKAGES = ("click", "cryptography", "numpy", "sqlalchemy", "web3", "py-evm", "pillow", "torch")
_FILES = ("workspace.json", "keystore.json", "store.db")
_LOW_DISK_BYTES = 10**9


@click.command(cls=Command)
def doctor() -> int:
    """Show versions, what is installed, and whether the workspace is in order. Asks for no passphrase.

    Exit status: 0 in order, or no workspace yet; 1 something is wrong with the workspace.

    Example:
      countermark doctor --json
    """
    session = current()
    workspace = _workspace(session)
    document: dict[str, Any] = {
        "countermark": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": {name: [m for m in modules if not _is_installed(m)] for name, modules in _EXTRAS.items()},
        "workspace": workspace,
    }
    session.answer("doctor", document, _describe(session, document))
    return 1 if workspace["problems"] else 0


def _workspace(session: Session) -> dict[str, Any]:
    from countermark.bootstrap import read_workspace

    directory = session.settings.workspace
    found: dict[str, Any] = {"path": str(directory.resolve()), "id": None, "name": None, "problems": []}
    if not directory.exists():
        return found
    try:
        known = read_workspace(directory)
    except CountermarkError as error:
        return found | {"problems": [session.tr(error.template, **error.params)]}
    return found | {"id": known["id"], "name": known["name"], "problems": _problems(session, directory, known)}


def _problems(session: Session, directory: Path, known: dict[str, Any]) -> list[str]:
    files = (*_FILES, "ledger.json" if "ledger" in known else "ledger.db")
    problems = [session.tr("{name} is missing", name=name) for name in files if not (directory / name).is_file()]
    for path in (directory / "keystore.json", directory / "store.db"):
        if path.is_file() and path.stat().st_mode & 0o077:
            problems.append(session.tr("others can read {name}", name=path.name))
    if shutil.disk_usage(directory).free < _LOW_DISK_BYTES:
        problems.append(session.tr("less than 1 GB of disk is free"))
    return problems


def _describe(session: Session, document: dict[str, Any]) -> str:
    workspace = document["workspace"]
    state = session.tr("none yet") if workspace["name"] is None else f"{workspace['name']}  ({workspace['id']})"
    installed = {
        name: session.tr("installed")
        if not missing
        else session.tr("not installed: pip install 'countermark[{extra}]'", extra=name)
        for name, missing in document["extras"].items()
    }
    rows = [
        ("countermark", document["countermark"]),
        ("python", f"{document['python']}  ({sys.executable})"),
        (session.tr("platform"), document["platform"]),
        *((name, version or session.tr("not installed")) for name, version in document["packages"].items()),
        *((session.tr("extra {name}", name=name), state) for name, state in installed.items()),
        (session.tr("workspace"), f"{workspace['path']}: {state}"),
        *((session.tr("problem"), problem) for problem in workspace["problems"]),
    ]
    return card(rows)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
