"""Can somebody without the key learn to tell two sets of arrays apart? Classifiers that are trained, then tested.

Each set is cut into two halves; every array is judged once, by a classifier that was trained on the other half of both
sets. Three kinds:

* ``linear``: logistic regression on the values, which finds a pattern that all arrays of a set share;
* ``quadratic``: logistic regression on the squares of projections onto the directions in which each set spreads most,
  which finds values that agree or disagree with each other, as repeated bits under one pad do;
* ``network``: a small convolutional network, for pictures; it knows places, as nothing is pooled at its end.

Law: the result depends on the arrays, the version of torch and the machine alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.image_bars import share

Row = dict[str, Any]
Floats = NDArray[np.float32]
# From training arrays, their labels and test arrays to the test arrays' logits.
Judge = Callable[[Tensor, Tensor, Tensor], Tensor]

DIRECTIONS = 256
ROUNDS, BATCH = 12, 128
RIDGE = 1e-4


def separate(first: Floats, second: Floats, kinds: Iterable[str]) -> list[Row]:
    """Return one row for every kind of classifier: the share of arrays that it assigned to the right set.

    Args:
        first: (n, ...) arrays of one set, of about unit size.
        second: as many of the other.
        kinds: names in ``JUDGES``.
    """
    arrays = torch.from_numpy(np.concatenate((first, second)).astype(np.float32))
    labels = torch.cat((torch.ones(len(first)), torch.zeros(len(second))))
    return [{"classifier": kind} | share(_rightly(JUDGES[kind], arrays, labels)) for kind in kinds]


def linear(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Judge by logistic regression on the values."""
    return _logistic(known.flatten(1), labels, asked.flatten(1))


def quadratic(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Judge by logistic regression on squares of projections onto the principal directions of either set."""
    values, others = known.flatten(1), asked.flatten(1)
    directions = torch.cat([_principal(values[labels == label]) for label in (0, 1)], dim=1)
    return _logistic((values @ directions) ** 2, labels, (others @ directions) ** 2)


def network(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Judge by three convolutions of stride 2 and a linear layer."""
    channels, side = known.shape[1], known.shape[2]
    layers: list[nn.Module] = []
    for width in (16, 32, 32):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU()]
        channels = width
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (side // 8) ** 2, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for _ in range(ROUNDS):
        for chosen in torch.randperm(len(known)).split(BATCH):
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(model(known[chosen]).flatten(), labels[chosen]).backward()
            optimizer.step()
    with torch.no_grad():
        return model(asked).flatten()


JUDGES: dict[str, Judge] = {"linear": linear, "quadratic": quadratic, "network": network}


def _rightly(judge: Judge, arrays: Tensor, labels: Tensor) -> list[bool]:
    right: list[bool] = []
    for half in (0, 1):
        held = torch.arange(len(arrays)) % 2 == half
        torch.manual_seed(half)
        logits = judge(arrays[~held], labels[~held], arrays[held])
        right += ((logits > 0) == (labels[held] > 0)).tolist()
    return right


def _logistic(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Fit standardized values with a ridge, by a quasi-Newton method: convex, so nothing hangs on a start or a rate."""
    center, spread = known.mean(0), (known.std(0) + 1e-6) * math.sqrt(known.shape[1])
    values = (known - center) / spread
    weights = torch.zeros(known.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = values @ weights[1:] + weights[0]
        value = binary_cross_entropy_with_logits(logits, labels) + RIDGE * (weights[1:] ** 2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return ((asked - center) / spread @ weights[1:] + weights[0]).detach()


def _principal(values: Tensor) -> Tensor:
    """Return the directions (dims, k) in which the rows of ``values`` spread most."""
    count = min(DIRECTIONS, len(values) // 2, values.shape[1])
    return torch.svd_lowrank(values - values.mean(0), q=count, niter=2)[2]
