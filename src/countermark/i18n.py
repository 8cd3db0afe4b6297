"""What people read, in their language. The English template is the key; ``locale/zh.json`` holds the Chinese.

A template without a translation is shown in English, so a missing line costs a reader comfort and never an answer; a
test keeps the catalogue complete.

Law:
    a translation has the same ``{fields}`` as its template (a test holds the catalogue to it).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "zh")
#: Where a language may come from, strongest first; the last three are POSIX locale variables.
_VARIABLES = ("COUNTERMARK_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def tr(template: str, lang: str, /, **params: object) -> str:
    """Return a template in a language with its ``{fields}`` filled in; without params it is returned as it stands."""
    text = _catalogue(lang).get(template, template)
    return text.format(**params) if params else text


def pick_language(environment: Mapping[str, str] | None = None) -> str:
    """Return the language that the environment asks for, English where it asks for none that we speak.

    ``COUNTERMARK_LANG``, then ``LC_ALL``, ``LC_MESSAGES``, ``LANG``: the first that is set decides.
    """
    env = os.environ if environment is None else environment
    wanted = next((env[name] for name in _VARIABLES if env.get(name)), "")
    return next((lang for lang in LANGUAGES if wanted.lower().startswith(lang)), LANGUAGES[0])


@lru_cache
def _catalogue(lang: str) -> dict[str, str]:
    if lang == LANGUAGES[0] or lang not in LANGUAGES:
        return {}
    path = Path(__file__).with_name("locale") / f"{lang}.json"
    catalogue: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return catalogue
