"""The optional last step: read the suspect again with the disclosed embedding key (rule 12).

Without it, the soft observations in a bundle are the office's word: both p-values follow from them, but that they came
from the suspect does not. Disclosing an embedding key lets whoever holds it forge marks of that model and epoch, so an
office rotates the epoch afterwards, and discloses to an expert rather than into the bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from countermark.core.canonical import digest, parse_json
from countermark.core.keys import Secret
from countermark.core.payload import permute, read_identifier
from countermark.errors import InputError, PolicyUnmet, ProofInvalid
from countermark.evidence.bundle import unpack
from countermark.evidence.findings import innocence
from countermark.evidence.verification import VerifiedBundle
from countermark.marking import Detection
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.reading import pool, recompute

EMBEDDING_KEY_FORMAT = "countermark.embedding-key/1"


def read_embedding_key(data: bytes) -> Secret:
    """Read a disclosed key file.

    Raises:
        InputError: it is not one.
    """
    value = parse_json(data, limit=4096)
    try:
        if value["format"] != EMBEDDING_KEY_FORMAT:
            raise InputError("not a disclosed embedding key")
        return Secret(bytes.fromhex(value["key"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("not a disclosed embedding key") from error


def reread(
    data: bytes, verified: VerifiedBundle, pictures: Iterable[Any], embedding_key: Secret, *, alpha: float = 1e-6
) -> Detection:
    """Detect the mark in the suspect's pixels and hold the reading against the bundle's.

    Args:
        data: the zip file that was verified.
        verified: what ``verify`` returned for it, with the suspect's digest checked.
        pictures: pixels of the suspect, (H, W, 3) uint8; of a pool, of each picture that was examined, in any order.
            Where the statement is about a region of the suspect, that is read.
        embedding_key: disclosed by the office.
        alpha: the verifier's level for the reading; not the statement's.

    Returns:
        The detection made here.

    Raises:
        PolicyUnmet: the suspect was not checked before, the method is another, or the reading differs.
        ProofInvalid: the key is not the one that was committed to on the ledger.
    """
    if "suspect-not-checked" in verified.caveats:
        raise PolicyUnmet("the suspect has not been checked against the statement")
    bundle = unpack(data)
    part = bundle.json("detection.json")
    if digest("embedding-key/1", embedding_key.reveal()).hex() != part["embedding_commitment"]:
        raise ProofInvalid("the disclosed key is not the one committed to on the ledger")
    if part["method"] != LatticeMark.METHOD:
        raise PolicyUnmet("the bundle's method is {method}", method=str(part["method"])[:200])
    parts = (_part(picture, verified.statement.get("region")) for picture in pictures)
    seen = [each for each in map(LatticeMark(embedding_key).detect, parts) if isinstance(each, Detection)]
    identifier = read_identifier(bundle.json("opening.json")["identifier"])
    word = permute(Secret(bytes.fromhex(part["permutation_key"])), identifier)
    found = pool(seen) if seen and "pictures" in verified.statement else next(iter(seen), None)
    if found is None or not found.significant(alpha) or _innocence(found, word, verified.statement) > alpha:
        raise PolicyUnmet("reading the suspect again does not give the word of the bundle")
    return found


def _part(picture: Any, region: Any) -> Any:
    if region is None:
        return picture
    try:
        left, top, right, bottom = (int(side) for side in region)
    except (TypeError, ValueError) as error:
        raise PolicyUnmet("the stated region is no part of a picture") from error
    return picture[top:bottom, left:right]


def _innocence(found: Detection, word: int, statement: Mapping[str, Any]) -> float:
    issued = int(statement["p_innocent"]["corrected_for"]["identifiers"])
    return innocence(recompute(found.method, found.observations), word, statement, issued)
