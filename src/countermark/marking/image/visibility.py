"""How much change each pixel of a picture bears before an eye that compares sees it."""

from __future__ import annotations

import numpy as np

from countermark.marking.image.spectrum import Plane, box

# Amplitude in levels, and the detail that even the flattest part is credited with; set on development pictures.
_GAIN, _FLAT = np.float32(0.77), np.float32(1.5)


def visibility(plane: Plane) -> Plane:
    """Return the root-mean-square change of luma, in levels, to be put into each pixel of a luma plane (H, W).

    It grows with the square root of local detail, from a floor in flat parts. Detail is the squared local mean of
    square roots: a lone edge beside a flat area, around which a mark would show, raises it less than even texture
    does. Dark parts get less, as screens show their steps more.
    """
    mean = box(plane, 3)
    detail = box(np.sqrt(np.abs(plane - mean)), 5) ** 2
    light = np.float32(0.6) + np.float32(0.4) * np.minimum(mean / np.float32(50.0), 1.0)
    return np.asarray(_GAIN * light * np.sqrt(detail + _FLAT), dtype=np.float32)
