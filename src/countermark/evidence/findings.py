"""What a statement says about a reading, worked out again by whoever makes or doubts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from countermark.core.stats import innocent_p, recorded_p
from countermark.errors import PolicyUnmet
from countermark.marking.reading import Reading, pool_digest


def innocence(reading: Reading, word: int, statement: Mapping[str, Any], issued: int) -> float:
    """Return p_innocent of a word, read from a reading in the way that a statement names.

    Args:
        reading: recomputed from the observations.
        word: of the grant, under the key of the reading.
        statement: its ``read`` is ``exact``, ``soft`` or ``recorded``; the counts that it was corrected for are in
            ``p_innocent``.
        issued: N, every identifier ever issued.

    Raises:
        PolicyUnmet: an exact read of which this is no word, or counts below what the reading took.
    """
    tried, read = statement["p_innocent"]["corrected_for"], statement["read"]
    words = int(tried["words"])
    if words < reading.words_tried:
        raise PolicyUnmet("fewer words are stated than the reading tried")
    if read == "exact" and word in reading.words:
        return innocent_p(issued, words)
    if read == "recorded" and reading.p_innocent is not None and int(tried["readings"]) >= 1:
        return recorded_p(issued, words, int(tried["readings"]), reading.p_innocent)
    if read == "soft" and int(tried["readings"]) >= 1:
        return innocent_p(issued, words, tails=int(tried["readings"]) * reading.tail(word))
    raise PolicyUnmet("the word that was read is not this grant's")


def presence(reading: Reading, word: int, tried: int, issued: int) -> float:
    """Return p_ours of a reading that named a grant.

    Args:
        reading: recomputed from the observations.
        word: of the grant, under the key of the reading.
        tried: readings that were made, one a key or more.
        issued: N, every identifier ever issued.
    """
    return min(1.0, tried * reading.p_ours(word, issued))


def check_pool(statement: Mapping[str, Any], observations: Mapping[str, Any]) -> None:
    """Check that a pool's readings are at most one for each stated picture, and that the suspect is these pictures.

    Raises:
        PolicyUnmet: otherwise.
    """
    pictures = [str(picture["suspect"]) for picture in statement.get("pictures", ())]
    if ("pool" in observations) != bool(pictures) or len(observations.get("pool", ())) > len(pictures):
        raise PolicyUnmet("the readings are not of the pictures that are stated")
    if pictures and pool_digest(pictures) != statement["suspect"]:
        raise PolicyUnmet("the suspect is not the pictures that are stated")
