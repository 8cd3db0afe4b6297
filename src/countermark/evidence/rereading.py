"""The optional last step: read the suspect again with the disclosed embedding key (rule 12).

Without it, the soft observations in a bundle are the office's word: both p-values follow from them, but that they came
from the suspect does not. Disclosing an embedding key lets whoever holds it forge marks of that model and epoch, so an
office rotates the epoch afterwards, and discloses to an expert rather than into the bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from countermark.core.canonical import digest, parse_json
from countermark.core.keys import Secret
from countermark.core.payload import permute, read_identifier
from countermark.errors import InputError, PolicyUnmet, ProofInvalid
from countermark.evidence.bundle import unpack
from countermark.evidence.findings import innocence, presence
from countermark.evidence.verification import VerifiedBundle
from countermark.marking import Detection
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.reading import pool, recompute
from countermark.marking.text.pieces import look_at
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import TextTokenizer

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
    data: bytes,
    verified: VerifiedBundle,
    suspects: Iterable[Any],
    embedding_key: Secret,
    *,
    alpha: float = 1e-6,
    tokenizer: TextTokenizer | None = None,
) -> Detection:
    """Detect the mark in the suspect and hold the reading against the bundle's.

    Args:
        data: the zip file that was verified.
        verified: what ``verify`` returned for it, with the suspect's digest checked.
        suspects: pixels of the suspect, (H, W, 3) uint8; of a pool, of each picture that was examined, in any order.
            Where the statement is about a region of the suspect, that is read. Of a text, lists of the texts in it, or
            in each file of the pool (``marking.text.files``).
        embedding_key: disclosed by the office.
        alpha: the verifier's level for the reading; not the statement's.
        tokenizer: that a text is read with; its digest stands in the statement.

    Returns:
        The detection made here; its ``p_value`` is p_ours, as statements have it.

    Raises:
        PolicyUnmet: the suspect was not checked before, the method or the tokenizer is another, or the reading differs.
        ProofInvalid: the key is not the one that was committed to on the ledger.
    """
    if "suspect-not-checked" in verified.caveats:
        raise PolicyUnmet("the suspect has not been checked against the statement")
    bundle = unpack(data)
    part = bundle.json("detection.json")
    if digest("embedding-key/1", embedding_key.reveal()).hex() != part["embedding_commitment"]:
        raise ProofInvalid("the disclosed key is not the one committed to on the ledger")
    if part["method"] == LatticeMark.METHOD:
        looks = _look_at_pictures(LatticeMark(embedding_key), suspects, verified.statement)
    elif part["method"] == TextMark.METHOD:
        looks = _look_at_texts(TextMark(embedding_key), suspects, verified.statement, tokenizer)
        looks = [_as_stated(look, part["observations"], verified.statement, alpha) for look in looks]
    else:
        raise PolicyUnmet("the bundle's method is {method}", method=str(part["method"])[:200])
    identifier = read_identifier(bundle.json("opening.json")["identifier"])
    word = permute(Secret(bytes.fromhex(part["permutation_key"])), identifier)
    found = [each for look in looks for each in _with_word(look, word, verified.statement, len(looks), alpha)]
    if not found:
        raise PolicyUnmet("reading the suspect again does not give the word of the bundle")
    return min(found, key=lambda each: each.p_value)


def _look_at_pictures(mark: LatticeMark, pictures: Iterable[Any], statement: Mapping[str, Any]) -> list[Detection]:
    parts = (_part(picture, statement.get("region")) for picture in pictures)
    seen = [each for each in map(mark.detect, parts) if isinstance(each, Detection)]
    return [pool(seen)] if seen and "pictures" in statement else seen[:1]


def _look_at_texts(
    mark: TextMark, files: Iterable[Any], statement: Mapping[str, Any], tokenizer: TextTokenizer | None
) -> list[Detection]:
    if tokenizer is None or tokenizer.digest != statement.get("tokenizer"):
        raise PolicyUnmet("a text is read again with the tokenizer that the statement names, and no other")
    rows = [tokenizer.rows(text) for texts in files for text in texts]
    if len(rows) == 1 and "pictures" not in statement:
        looks = look_at(mark, rows[0])
        return list(looks) if isinstance(looks, tuple) else []
    seen = mark.detect(*rows)
    if not isinstance(seen, Detection):
        return []
    return [pool([seen])] if "pictures" in statement else [seen]


def _as_stated(found: Detection, stated: Mapping[str, Any], statement: Mapping[str, Any], alpha: float) -> Detection:
    """Return a text's reading with the evidence lowered that a statement about one of several authors left out.

    The office says which symbols those are. It is believed where even the weakest of them together are evidence that no
    innocent licensee has at the level: then they are an author's, and to leave them out accuses nobody
    (``marking.text.observations.without``).
    """
    inside = "pool" in found.observations
    mine, theirs = (each["pool"][0] if "pool" in each else each for each in (found.observations, stated))
    if any(mine[name] != theirs[name] for name in ("detect_count", "counts", "windows")):
        return found
    table, left = np.array(mine["table"]), np.array(theirs["table"])
    lowered = left < table
    weakest = np.where(lowered, table, np.inf).min(axis=1)
    evidence = float(np.where(np.isinf(weakest), table.min(axis=1), weakest).sum())
    reading, issued = recompute(found.method, found.observations), _issued(statement)
    if not lowered.any() or reading.soft is None or issued * reading.soft.tail(evidence) > alpha:
        return found
    observations = {**mine, "table": np.minimum(table, left).tolist()}
    return replace(found, observations={"pool": [observations]} if inside else observations)


def _issued(statement: Mapping[str, Any]) -> int:
    return int(statement["p_innocent"]["corrected_for"]["identifiers"])


def _part(picture: Any, region: Any) -> Any:
    if region is None:
        return picture
    try:
        left, top, right, bottom = (int(side) for side in region)
    except (TypeError, ValueError) as error:
        raise PolicyUnmet("the stated region is no part of a picture") from error
    return picture[top:bottom, left:right]


def _with_word(
    found: Detection, word: int, statement: Mapping[str, Any], looks: int, alpha: float
) -> Iterator[Detection]:
    """Yield a reading made here, one of so many, with its p_ours, if it holds the word and both p-values the level."""
    reading = recompute(found.method, found.observations)
    issued = _issued(statement)
    p_ours = presence(reading, word, looks, issued)
    with suppress(PolicyUnmet):  # the word is not what was read
        if max(p_ours, innocence(reading, word, statement, issued)) <= alpha:
            yield replace(found, p_value=p_ours)
