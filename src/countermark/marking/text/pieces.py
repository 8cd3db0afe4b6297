"""Texts of any length: a detector reads so many contexts at once, so long texts are looked at piece by piece.

Every look at a piece is a reading of its own, and whoever asks for the best of them corrects for their number.

Laws:
    a text that is no longer than a piece gives what ``TextMark.look`` gives;
    every run of at most ``OVERLAP`` tokens lies in a piece as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from countermark.marking import Detection, NotExamined
from countermark.marking.text.sampling import TextMark
from countermark.marking.text.tokens import Tokens

# In tokens; fewer than a detector's most contexts, of which every token has at most one.
PIECE, OVERLAP = 40_000, 2_000


def look_at(mark: TextMark, rows: Sequence[Tokens]) -> tuple[Detection, ...] | NotExamined:
    """Look at a text, as a whole and by its best part, or so at each of its pieces.

    Args:
        mark: of the key.
        rows: ``TextTokenizer.rows`` of the text.

    Returns:
        Detections, whose ``first`` and ``last`` count tokens of the text; or why there are none.
    """
    *edges, text = rows
    found, missing = [], None
    for start in range(0, max(1, len(text) - OVERLAP), PIECE - OVERLAP):
        looks = mark.look((*(edges if start == 0 else ()), text[start : start + PIECE]))
        if isinstance(looks, NotExamined):
            missing = missing or looks
        else:
            found += [_moved(each, start) for each in looks]
    return missing if missing is not None and not found else tuple(found)


def _moved(seen: Detection, start: int) -> Detection:
    places = {name: int(seen.geometry[name]) + start for name in ("first", "last")}
    return replace(seen, geometry={**seen.geometry, **places})
