"""A suspect window by window: fragments pasted into another picture, and mosaics of several marked pictures.

A detector may look at many overlapping windows, and counts them all in its p-values. Here they become answers, one for
each picture that a suspect was made of: the windows of one picture show the same nonce under the same key, so the best
of them speaks for all.

Laws, for windows of any kind:
    answers are taken by ascending p-value of their windows, and under one key no two of them have the same nonce;
    every key counts in every answer, whatever was taken before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from countermark.core.keys import DetectionKey
from countermark.marking import Detection, NotExamined
from countermark.marking.image.lattice import LatticeMark
from countermark.marking.image.preview import Box
from countermark.marking.image.samples import Pixels
from countermark.tracing import Sighting

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
        """Return the same without what the best window under a key shows: windows of its nonce prove nothing more."""
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
    nonce = min(seen, key=_p_value)[1].nonce
    return [(box, replace(each, p_value=1.0) if each.nonce == nonce else each) for box, each in seen]


def _p_value(window: tuple[Box, Detection]) -> float:
    return window[1].p_value
