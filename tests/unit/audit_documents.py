"""Documents of audits and pictures for them, made of numbers from a fixed seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGEST = "sha256:" + "ab" * 32


class Squares:
    """Small pictures: a bright square that moves with the number."""

    def sample(self, item: int) -> NDArray[np.uint8]:
        image = self.training(item % 5)
        image[0, 0] = 9
        return image

    def training(self, nearest: int) -> NDArray[np.uint8]:
        if not 0 <= nearest < 5:
            raise IndexError(nearest)
        image = np.zeros((8, 8, 1), np.uint8)
        image[nearest : nearest + 3, 2:6] = 200
        return image


class Prose:
    """What stands around a passage."""

    def output(self, item: int) -> tuple[str, str, str]:
        return f"before {item} ", "the <passage> itself", " after"

    def source(self, item: int) -> tuple[str, str, str]:
        return "CHAPTER I ", "the <passage> itself", " and so on"


def images(*, flagged: int = 6, total: int = 30) -> dict[str, Any]:
    """An audit of images of which the first ones are copies."""
    random = np.random.default_rng(7)
    unseen = np.sort(random.normal(-2, 0.3, 200))
    items = []
    for item in range(total):
        copy = item < flagged
        p = 0.005 if copy else 0.1 + 0.9 * item / total
        items.append(
            {
                "item": item,
                "nearest": item % 5,
                "rmse": 0.01 if copy else 0.12,
                "l2_per_dim": 0.00125 if copy else 0.015,
                "next": 0.15,
                "ratio": 0.07 if copy else 0.8,
                "score": -7.0 + item / 100 if copy else -2.0 + item / 100,
                "p": p,
                "q": 0.025 if copy else 1.0,
                "flagged": copy,
                "label": item % 3,
                "nearest_label": item % 2,
                "transform": None,
                "descriptor": None,
            }
        )
    return {
        "type": "countermark.memorization-audit/1",
        "kind": "images",
        "subject": {
            "name": "small model",
            "weights": DIGEST,
            "sampler": "50 steps",
            "samples": {"count": total, "digest": DIGEST, "seed": 11, "drawn": 100},
        },
        "data": {
            "train": {"name": "train.npz", "count": 5, "digest": DIGEST, "shape": [8, 8, 1], "duplicates": 2},
            "held_out": {
                "name": "test.npz",
                "count": 200,
                "digest": DIGEST,
                "shape": [8, 8, 1],
                "duplicates": 0,
                "overlap": 1,
                "near": [{"item": 17, "nearest": 3, "rmse": 0.03}],
            },
            "notes": ["images resized to 8x8"],
        },
        "method": {
            "statistic": "nearness/1",
            "index": "exact int8",
            "neighbours": 50,
            "aligned": True,
            "same_label": False,
            "descriptor": None,
            "fdr": 0.05,
        },
        "calibration": {
            "count": 200,
            "scores": unseen.tolist(),
            "rmse": np.linspace(0.05, 0.3, 200).tolist(),
            "next": np.linspace(0.1, 0.3, 200).tolist(),
            "changed": None,
        },
        "items": items,
        "decision": {
            "flagged": flagged,
            "smallest_flaggable": 3,
            "at_least": 0.08 if flagged else 0.0,
            "interval": [0.077, 0.386],
            "confidence": 0.95,
            "below": flagged,
            "null_rate": 0.02,
            "verdict": "copies-found" if flagged else "no-copies-found",
        },
        "model_test": {
            "p": 0.05,
            "rank": 1,
            "sets": 19,
            "set_size": 5,
            "floor": 0.05,
            "subset": True,
            "of_train": -3.0,
            "of_unseen": np.linspace(-2, -1.9, 19).tolist(),
            "reason": None,
        },
        "same_source": {"p": 0.4, "statistic": 0.03, "warning": False},
        "cutoffs": [
            {
                "name": name,
                "value": value,
                "unit": unit,
                "flagged": 0,
                "of": total,
                "false_positives": 84,
                "false_positive_rate": 0.42,
                "interval": [0.35, 0.49],
            }
            for unit in ("rmse", "l2/dims")
            for name, value in (("near copy", 0.006), ("perfect copy", 0.0009))
        ],
        "copied": [{"nearest": 3, "name": "boot.png", "count": 4, "items": [3]}] if flagged else [],
        "limits": ["pixels-not-infringement", "no-proof-of-absence", "a-slug-without-a-sentence"],
        "versions": {"countermark": "0.1.0", "numpy": "2"},
        "made_at": "2026-01-02T03:04:05Z",
    }


def texts(*, flagged: int = 2, total: int = 12) -> dict[str, Any]:
    """An audit of texts of which the first ones hold copied passages."""
    document = images(flagged=flagged, total=total)
    document |= {
        "kind": "texts",
        "calibration": {
            "count": 100,
            "documents": 10,
            "lengths": [{"bytes": 2000, "count": 100, "scores": [[-36, 2], [-30, 40], [-20, 58]]}],
        },
        "items": [
            {
                "item": item,
                "name": f"reply {item}",
                "bytes": 2100,
                "longest": 300 if item < flagged else 24,
                "window": 2000,
                "pieces": 1,
                "where": {"document": "novel.txt", "offset": 4096},
                "text": "passage without its surroundings",
                "score": -300.0 if item < flagged else -24.0,
                "p": 0.0099 if item < flagged else 0.6,
                "q": 0.04 if item < flagged else 0.6,
                "flagged": item < flagged,
                "similar": {"document": "novel.txt", "jaccard": 0.31} if item == 0 else None,
            }
            for item in range(total)
        ],
        "copied": [{"document": 0, "name": "novel.txt", "count": flagged, "items": [0]}] if flagged else [],
        "extraction": {"probed": 8, "items": [{"document": "novel.txt", "extractable": True}]},
        "exposure": {"canaries": 3},
        "cutoffs": [],
    }
    return document
