"""Forgery without the key: a mark carried over to a picture that was never marked."""

from __future__ import annotations

import numpy as np

from countermark.marking.adversaries.residual import RADIUS, Pixels, Plane, at_psnr, box, changed, fold, split, tiled

# The share of a picture whose detail is taken to be the mark's.
_QUIETEST = 0.2


def copy_forgery(marked: Pixels, foreign: Pixels, *, psnr_db: float = 40.0) -> Pixels:
    """Put what a Wiener filter takes away from ``marked`` into ``foreign``, shaped by how much detail hides it there.

    The filter takes what the quietest fifth of the picture has of detail for the mark's own strength. What is smaller
    than ``foreign`` is repeated (Kutter, Voloshynovskiy, Herrigel: The watermark copy attack, 2000).

    Args:
        marked: the picture that carries the mark.
        foreign: the picture that is to carry it.
        psnr_db: strength of the copy, as PSNR between the result and ``foreign`` before rounding, above 0.

    Raises:
        InputError: a PSNR that is not above 0.
    """
    return _added(_guessed(marked), foreign, psnr_db)


def fold_forgery(marked: Pixels, foreign: Pixels, pitch: int, *, psnr_db: float = 40.0) -> Pixels:
    """Average the leveled detail of ``marked`` over its tiles of ``pitch`` pixels a side, and lay it over ``foreign``.

    Where a mark repeats, folding keeps it and averages the picture away, so that the copy is cleaner than that of
    ``copy_forgery``.

    Raises:
        InputError: a pitch or a PSNR that is not above 0.
    """
    leveled, _ = split(marked)
    return _added(fold(leveled, pitch) / fold(np.ones_like(leveled), pitch).clip(1), foreign, psnr_db)


def _guessed(marked: Pixels) -> Plane:
    """Return what a Wiener filter takes away, even over the picture as a mark's own pattern is."""
    leveled, activity = split(marked)
    detail = leveled * activity
    power = box(detail**2, RADIUS)
    mark = float(np.quantile(power, _QUIETEST))
    return np.asarray(detail * mark / np.maximum(power, mark + 1e-12) / np.sqrt(activity))


def _added(pattern: Plane, foreign: Pixels, psnr_db: float) -> Pixels:
    _, activity = split(foreign)
    return changed(foreign, at_psnr(tiled(pattern, activity.shape) * np.sqrt(activity), psnr_db))
