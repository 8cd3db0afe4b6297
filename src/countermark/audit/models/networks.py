"""The networks of the example models: plain functions over named tensors, so that a file's shapes can be checked first.

Laws:
    ``shapes()`` names exactly the tensors that ``run`` reads;
    ``initial(net, seed)`` depends on shapes and seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from countermark.errors import require

Tensor = Any
"""A torch tensor; torch is an optional dependency."""
Weights = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

_WAVES = 32
_FASTEST = 1000.0
_SLOPE = 0.2


class Network(Protocol):
    """Anything with named weights."""

    def shapes(self) -> Shapes:
        """Return the shape of every tensor, by name."""


@dataclass(frozen=True, slots=True)
class DenoiserNet:
    """A residual perceptron that guesses the clean image (n, pixels), -1 to 1, in a noisy one.

    Args:
        pixels: values of one image.
        hidden: width.
        blocks: residual layers.
        classes: labels that it can be asked for, 0 for none.
    """

    pixels: int
    hidden: int = 512
    blocks: int = 2
    classes: int = 0

    def shapes(self) -> Shapes:
        """Return the shape of every tensor, by name."""
        wide, waves = self.hidden, 2 * _WAVES
        found = _linear("input", self.pixels, wide) | _linear("time", waves, wide) | _norm("norm", wide)
        for at in range(self.blocks):
            name = f"block{at}"
            found |= _norm(f"{name}.norm", wide) | _linear(name, wide, wide) | _linear(f"{name}.time", waves, wide)
        if self.classes:
            found["label.weight"] = (self.classes + 1, wide)  # the last one stands for no label
        return found | _linear("output", wide, self.pixels)

    def run(self, weights: Weights, noisy: Tensor, times: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the guess at the clean image.

        Args:
            weights: as ``shapes`` says.
            noisy: (n, pixels).
            times: (n,), 0 for clean to 1 for nothing but noise.
            labels: (n,) integers below ``classes``, or ``classes`` for no label; None for none at all.
        """
        torch = require("torch", "train")
        waves = _time_waves(times)
        flow = _apply(weights, "input", noisy) + _apply(weights, "time", waves)
        if self.classes:
            asked = torch.full((len(noisy),), self.classes) if labels is None else labels
            flow = flow + weights["label.weight"][asked]
        for at in range(self.blocks):
            name = f"block{at}"
            inner = _apply(weights, name, _normed(weights, f"{name}.norm", flow))
            flow = flow + torch.nn.functional.silu(inner + _apply(weights, f"{name}.time", waves))
        return _apply(weights, "output", _normed(weights, "norm", flow))


@dataclass(frozen=True, slots=True)
class PainterNet:
    """The generator of a GAN: noise (n, latent) to images (n, pixels), -1 to 1."""

    pixels: int
    hidden: int = 256
    latent: int = 64

    def shapes(self) -> Shapes:
        """Return the shape of every tensor, by name."""
        return (
            _linear("first", self.latent, self.hidden)
            | _linear("second", self.hidden, 2 * self.hidden)
            | _linear("output", 2 * self.hidden, self.pixels)
        )

    def run(self, weights: Weights, noise: Tensor) -> Tensor:
        """Return images."""
        return _apply(weights, "output", _two_layers(weights, noise)).tanh()


@dataclass(frozen=True, slots=True)
class CriticNet:
    """The discriminator of a GAN: images (n, pixels) to logits (n,) of being real."""

    pixels: int
    hidden: int = 256

    def shapes(self) -> Shapes:
        """Return the shape of every tensor, by name."""
        return (
            _linear("first", self.pixels, 2 * self.hidden)
            | _linear("second", 2 * self.hidden, self.hidden)
            | _linear("output", self.hidden, 1)
        )

    def run(self, weights: Weights, images: Tensor) -> Tensor:
        """Return logits."""
        return _apply(weights, "output", _two_layers(weights, images)).squeeze(1)


def initial(net: Network, seed: int) -> dict[str, Tensor]:
    """Return random weights, float32: norms as identity, the rest uniform within 1 / sqrt(fan in)."""
    torch = require("torch", "train")
    source = torch.Generator().manual_seed(seed)
    weights = {}
    shapes = net.shapes()
    for name, shape in shapes.items():
        if name.endswith("norm.weight"):
            weights[name] = torch.ones(shape)
        elif name.endswith("norm.bias"):
            weights[name] = torch.zeros(shape)
        else:
            fan_in = shapes[name.removesuffix("bias") + "weight" if name.endswith("bias") else name][-1]
            weights[name] = (torch.rand(shape, generator=source) * 2 - 1) / math.sqrt(fan_in)
    return weights


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _apply(weights: Weights, name: str, values: Tensor) -> Tensor:
    functions = require("torch", "train").nn.functional
    return functions.linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _normed(weights: Weights, name: str, values: Tensor) -> Tensor:
    functions = require("torch", "train").nn.functional
    return functions.layer_norm(values, values.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def _two_layers(weights: Weights, values: Tensor) -> Tensor:
    functions = require("torch", "train").nn.functional
    for name in ("first", "second"):
        values = functions.leaky_relu(_apply(weights, name, values), _SLOPE)
    return values


def _time_waves(times: Tensor) -> Tensor:
    torch = require("torch", "train")
    angles = times[:, None] * torch.logspace(0, math.log10(_FASTEST), _WAVES)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
