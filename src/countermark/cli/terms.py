"""Terms as people write them: a YAML 1.2 document, of which JSON is a part."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countermark.cli.session import read_file
from countermark.errors import ConflictError, InputError

if TYPE_CHECKING:
    from countermark.licensing import Terms

_LIMIT = 2**20
_LEGAL_LIMIT = 64 * 2**20


def read_terms(path: Path, legal_text: Path | None = None) -> Terms:
    """Read terms, and bind them to a legal text by its digest.

    Raises:
        InputError: not readable, not YAML, a field given twice, or not valid terms.
        ConflictError: the document names the digest of another legal text.
    """
    from countermark.core.canonical import show_digest
    from countermark.licensing import Terms

    given = read_yaml(path)
    if legal_text is not None:
        digest = show_digest(hashlib.sha256(read_file(legal_text, limit=_LEGAL_LIMIT)).digest())
        if isinstance(given, dict) and given.setdefault("legal_text", digest) != digest:
            raise ConflictError("{terms} names another legal text than {text}", terms=path, text=legal_text)
    return Terms.from_json(given)


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 document.

    Raises:
        InputError: not readable, not YAML, or a field given twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.2's booleans and no dates, so that the country NO is a country and a time stays text."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
            if len(set(map(str, keys))) < len(keys):
                raise yaml.YAMLError("a field is given twice")
            return super().construct_mapping(node, deep=deep)

    Loader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if not pair[0].endswith((":bool", ":timestamp"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"
    )
    try:
        return yaml.load(read_file(path, limit=_LIMIT), Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("{path} is not a YAML document: {reason}", path=path, reason=error) from error
