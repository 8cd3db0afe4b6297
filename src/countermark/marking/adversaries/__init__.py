"""Adversaries who know the algorithm and have marked pictures, but neither key nor detector.

``removal``: what many pictures share is averaged and taken away, what stands out or repeats in one is notched out.
``surrogate``: a classifier of the adversary's own is trained, and evaded. ``forgery``: a mark is carried over to a
picture that was never marked. They suit any mark that is added to pixels; where one knows the mark's tile or band, it
may say so. What they do to a picture is bounded by its own damage, which a report must state beside their success.
"""

from countermark.marking.adversaries.forgery import copy_forgery, fold_forgery
from countermark.marking.adversaries.removal import (
    alike,
    average_removal,
    line_removal,
    mean_detail,
    notch,
    standing_lines,
)
from countermark.marking.adversaries.surrogate import Surrogate

__all__ = [
    "Surrogate",
    "alike",
    "average_removal",
    "copy_forgery",
    "fold_forgery",
    "line_removal",
    "mean_detail",
    "notch",
    "standing_lines",
]
