"""Which recorded reply does a suspect text come from? A lead by likeness, not a statistic.

The mark names the grant; the grant may have thousands of replies. Each leaves a *sketch*: the smallest digests of its
*shingles*, which are all runs of twelve characters, letters without their case and white space as one blank. They are a
random sample of the shingles (A. Broder, On the resemblance and containment of documents, 1997), so the share of them
that a suspect holds estimates how much of the reply stands in it, whatever else does.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

_RUN, _KEPT, _BYTES = 12, 256, 8


def sketch(text: str) -> dict[str, Any]:
    """Return a JSON sketch of a text: up to 256 digests of 8 bytes, base64; none of fewer than twelve characters."""
    kept = sorted(_shingles(text))[:_KEPT]
    return {"shingles": base64.b64encode(b"".join(kept)).decode()}


def containment(texts: Sequence[str], recorded: Mapping[str, Any]) -> float:
    """Return about which share of a recorded reply stands in a suspect's texts, 0 to 1.

    Args:
        texts: of the suspect.
        recorded: what ``sketch`` returned for the reply.
    """
    data = base64.b64decode(str(recorded.get("shingles", "")))
    kept = [data[at : at + _BYTES] for at in range(0, len(data), _BYTES)]
    held = _held(tuple(texts))
    return sum(each in held for each in kept) / len(kept) if kept else 0.0


@functools.lru_cache(maxsize=4)
def _held(texts: tuple[str, ...]) -> frozenset[bytes]:
    """Return the shingles of texts, which one suspect is asked for once for every reply."""
    return frozenset().union(*map(_shingles, texts))


def _shingles(text: str) -> set[bytes]:
    plain = " ".join(text.casefold().split())
    runs = {plain[at : at + _RUN] for at in range(len(plain) - _RUN + 1)}
    return {hashlib.blake2b(run.encode(errors="replace"), digest_size=_BYTES).digest() for run in runs}
