"""A suspect window by window: fragments pasted into another picture, and mosaics of several marked pictures.

A detector may look at many overlapping windows, and counts them all in its p-values. Here they become answers, one for
each picture that a suspect was made of: the windows of one picture show the same nonce under the same key, so the best
of them speaks for all. Once an answer is taken, another window is of another picture only if its nonce is another one
and its pilots prove it, less those that a picture taken before explains: a window across an edge shows too little to
tell its nonce, and shows it wrong.

Laws, for windows of any kind:
    answers are taken by ascending p-value of their windows, and under one key no two of them have the same nonce;
    every answer but a key's first proves its own nonce;
    every key counts in every answer, whatever was taken before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from countermark.core.keys import DetectionKey
from countermark.marking import Detection, NotExamined
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.observations import pattern_p_value
from countermark.marking.image.pattern import TURNS
from countermark.marking.image.preview import Box
from countermark.marking.image.samples import Pixels
from countermark.tracing import Sighting

# Level at which a further window has to prove its nonce. That it is marked is known from its p-value.
OWN_LEVEL = 1e-3

Windows = list[tuple[Box, Detection]]


@dataclass(frozen=True, slots=True)
class Regions:
    """What was seen under every key: title, epoch, key, and its windows or why there are none."""

    seen: tuple[tuple[int, int, DetectionKey, Windows | NotExamined], ...]

    def sightings(self) -> list[Sighting]:
        """Return the best window under each key."""
        return [Sighting(title, epoch, key, _best(seen)) for title, epoch, key, seen in self.seen]

    def box(self, key_id: str) -> Box:
        """Return the best window's place under a key that saw some."""
        (windows,) = (
            seen for _, _, key, seen in self.seen if key.key_id == key_id and not isinstance(seen, NotExamined)
        )
        return min(windows, key=_p_value)[0]

    def without(self, key_id: str) -> Regions:
        """Return the same without the picture that the best window under a key shows."""
        return Regions(
            tuple(
                (title, epoch, key, _emptied(seen) if key.key_id == key_id else seen)
                for title, epoch, key, seen in self.seen
            )
        )


def look_at_windows(key: DetectionKey, pixels: Pixels) -> Windows | NotExamined:
    """Look at a suspect, (H, W, 3) uint8, window by window under a key of the lattice mark; others do not read so."""
    if key.method != LatticeMark.METHOD:
        return NotExamined("other-method", f"{key.method} is not read by windows")
    windows = LatticeMark(key.embedding, key_id=key.key_id).detect_regions(pixels)
    return windows or NotExamined("too-small", "the picture has no window that is large enough")


def _best(seen: Windows | NotExamined) -> Detection | NotExamined:
    return seen if isinstance(seen, NotExamined) else min(seen, key=_p_value)[1]


def _emptied(seen: Windows | NotExamined) -> Windows | NotExamined:
    if isinstance(seen, NotExamined):
        return seen
    taken = min(seen, key=_p_value)[1]
    return [(box, each if _is_another(each, taken) else replace(each, p_value=1.0)) for box, each in seen]


def _is_another(seen: Detection, taken: Detection) -> bool:
    """Say whether a window proves a nonce that another one, which was taken, does not explain."""
    if seen.nonce == taken.nonce or seen.nonce is None or taken.nonce is None:
        return False
    same_hand = seen.nonce // TURNS == taken.nonce // TURNS
    return pattern_p_value(seen.observations, anchors_explained=same_hand) <= OWN_LEVEL


def _p_value(window: tuple[Box, Detection]) -> float:
    return window[1].p_value
