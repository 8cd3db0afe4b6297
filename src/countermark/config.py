"""Settings, read once at the edge: flags win over environment, environment over defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from countermark.errors import InputError

WORKSPACE_FILE = "workspace.json"
DEFAULT_DIRECTORY = "countermark-workspace"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the workspace is and where its passphrase comes from. The passphrase itself is never a setting's value."""

    workspace: Path
    passphrase_file: Path | None
    passphrase_variable: str = "COUNTERMARK_PASSPHRASE"


def read_settings(
    *, workspace: str | None, passphrase_file: str | None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Combine flags and environment (``COUNTERMARK_WORKSPACE``, ``COUNTERMARK_PASSPHRASE_FILE``)."""
    env = os.environ if environment is None else environment
    chosen = workspace or env.get("COUNTERMARK_WORKSPACE") or _nearest()
    secret_file = passphrase_file or env.get("COUNTERMARK_PASSPHRASE_FILE")
    return Settings(Path(chosen), Path(secret_file) if secret_file else None)


def read_passphrase(settings: Settings, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the passphrase from file or environment, or None if a person must be asked.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    env = os.environ if environment is None else environment
    if settings.passphrase_file is None:
        return env.get(settings.passphrase_variable) or None
    try:
        text = settings.passphrase_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot read the passphrase file {path}", path=settings.passphrase_file) from error
    if not text:
        raise InputError("the passphrase file {path} is empty", path=settings.passphrase_file)
    return text


def _nearest() -> str:
    return "." if Path(WORKSPACE_FILE).is_file() else DEFAULT_DIRECTORY
