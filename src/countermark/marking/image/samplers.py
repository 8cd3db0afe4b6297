"""Samplers of diffusers, run in reverse, or from a given picture.

A deterministic sampler integrates one differential equation, stepping from level to level ``x = signal * x0 + noise *
eps``; the step of DDIM, of Euler and of flow matching alike is ``x_low = P x_high + Q output(x_high)`` with known P and
Q. ``Reversal`` solves that for ``x_high`` by fixed-point iteration, ``refinements`` evaluations per step. One is the
usual DDIM inversion; more come closer to the exact inverse. Samplers of higher order follow the same equation, so the
same reversal inverts them up to their steps' difference.

Reversed are those of ``SAMPLERS``. Refused are those that add fresh noise at every step (DDPM, ancestral, SDE, LCM),
since little of the first noise remains in what they make.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.errors import InputError

# Deterministic samplers by what their levels are computed from.
_BY_ALPHAS = ("DDIMScheduler", "DDIMParallelScheduler", "PNDMScheduler")
_BY_SIGMAS = (
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)
_FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
SAMPLERS = _BY_ALPHAS + _BY_SIGMAS + _FLOW


class Step(NamedTuple):
    """What a step of a sampler returns, by index and by name."""

    prev_sample: Any


class Level(NamedTuple):
    """A noise level of a sampler: the time that the model is told, and the shares of picture and noise."""

    time: float
    signal: float
    noise: float


class Reversal:
    """A sampler that runs from the picture to the noise: what pipelines ask of one.

    ``sample`` is where it ended, at ``level``.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, sampler: Any, refinements: int, strength: float) -> None:
        self.config = sampler.config
        self._sampler = copy.deepcopy(sampler)
        self._refinements, self._strength = refinements, strength
        self._rule = "flow" if _is_flow(sampler) else sampler.config.get("prediction_type", "epsilon")

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        """Lay out the sampler's own levels, lowest first, every one but the first ``refinements`` times."""
        import torch

        asked = {"timesteps": timesteps, "sigmas": sigmas, "mu": mu, "device": device}
        if sigmas is None and timesteps is None:
            asked["num_inference_steps"] = num_inference_steps
        self._sampler.set_timesteps(**{name: value for name, value in asked.items() if value is not None})
        levels = _levels(self._sampler)
        self._levels = levels[_start(len(levels) - 1, self._strength) :][::-1]
        times = [level.time for level in self._levels[1:] for _ in range(self._refinements)]
        self.timesteps = torch.tensor(times, device=device, dtype=self._sampler.timesteps.dtype)
        self._done, self.level = 0, self._levels[-1]

    def set_begin_index(self, _index: int = 0) -> None:
        """Pipelines say where they begin; a reversal begins at the picture."""

    def scale_model_input(self, sample: Any, *_: Any) -> Any:
        """Return what the model sees; levels are kept in the model's own scale."""
        return sample

    def step(self, output: Any, _time: Any, sample: Any, **_options: Any) -> Step:
        """Return the next guess of the sample one level up."""
        if self._done == 0:
            self._base = sample
        at = self._done // self._refinements
        low, high = self._levels[at], self._levels[at + 1]
        above = raised(self._base.float(), sample.float(), output.float(), low, high, self._rule)
        self.sample = above.to(sample.dtype)
        self._done += 1
        if self._done % self._refinements == 0:
            self._base = self.sample
        return Step(self.sample)


class FromPicture:
    """A sampler for pipelines that know noise alone: it begins with a given picture, noised as its strength asks.

    Where a mask is black, the picture is put back at every level, as diffusers inpaints with ordinary models.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, sampler: Any, steps: int, strength: float, picture: Any, mask: Any) -> None:
        self.config, self._sampler = sampler.config, copy.deepcopy(sampler)
        self._sampler.set_timesteps(steps)
        start = _start(steps, strength)
        self._levels, self.timesteps = _levels(self._sampler)[start:], self._sampler.timesteps[start:]
        if hasattr(self._sampler, "set_begin_index"):
            self._sampler.set_begin_index(start)
        self._picture, self._mask = picture, None if mask is None else (mask > 0).float()
        self._full = strength == 1

    def begin(self, noise: NDArray[np.float32]) -> Any:
        """Return the sample to begin with, at full strength noise alone."""
        import torch

        self._noise, self._done = torch.as_tensor(noise), 0
        return self._noise if self._full else self._noised()

    def set_timesteps(self, *_: Any, **_more: Any) -> None:
        """The steps were set when the sampler was made."""

    def step(self, output: Any, time: Any, sample: Any, **options: Any) -> Step:
        """Return the sample one level down."""
        made = self._sampler.step(output, time, sample, **options).prev_sample
        self._done += 1
        if self._mask is not None:
            mask = self._mask.to(made)
            made = mask * made + (1 - mask) * self._noised().to(made)
        return Step(made)

    def _noised(self) -> Any:
        """Return the picture at the present level; at the end, as it was given."""
        if self._done == len(self._levels) - 1:
            return self._picture
        level = self._levels[self._done]
        return level.signal * self._picture + level.noise * self._noise


def raised(base: Any, guess: Any, output: Any, low: Level, high: Level, rule: str) -> Any:
    """Solve ``base = P x + Q output`` for x, one level up; the output at ``guess`` stands for that at x."""
    if rule == "sample":  # said as a velocity: as it stands, a picture at the lowest level would not determine x
        output, rule = (high.signal * guess - output) / high.noise, "v_prediction"
    if rule == "epsilon":
        p, q = low.signal / high.signal, low.noise - low.signal * high.noise / high.signal
    elif rule == "v_prediction":
        p = low.signal * high.signal + low.noise * high.noise
        q = low.noise * high.signal - low.signal * high.noise
    else:
        p, q = 1.0, low.noise - high.noise
    return (base - q * output) / p


def _levels(sampler: Any) -> list[Level]:
    """Return the levels of a sampler whose steps are set, highest first, with the one where it ends."""
    times = [float(time) for time in sampler.timesteps]
    if type(sampler).__name__ in _BY_ALPHAS:
        alphas = [float(sampler.alphas_cumprod[int(time)]) for time in times] + [float(sampler.final_alpha_cumprod)]
        shares = [(math.sqrt(alpha), math.sqrt(1 - alpha)) for alpha in alphas]
    elif _is_flow(sampler):
        shares = [(1 - float(sigma), float(sigma)) for sigma in sampler.sigmas]
    else:
        scales = [(float(sigma), math.hypot(1, float(sigma))) for sigma in sampler.sigmas]
        shares = [(1 / scale, sigma / scale) for sigma, scale in scales]
    levels = [Level(time, *share) for time, share in zip([*times, -1.0], shares, strict=True)]
    # Samplers of higher order evaluate twice at a level; one entry each is enough.
    return [level for i, level in enumerate(levels) if not i or level.noise < levels[i - 1].noise]


def _start(steps: int, strength: float) -> int:
    """Return the step at which a pipeline begins with a given picture, as diffusers counts."""
    return min(steps - 1, steps - int(steps * strength))


def check_sampler(sampler: Any) -> None:
    """Return if the noise of what a sampler makes can be read back.

    Raises:
        InputError: a sampler that adds noise at every step, or one that is not known.
    """
    name, config = type(sampler).__name__, sampler.config
    random = str(config.get("algorithm_type", "")).startswith("sde") or config.get("stochastic_sampling", False)
    if name not in SAMPLERS or random:
        raise InputError(
            "noise cannot be read back from what {name} makes",
            hint="use one of {known}, made with from_config(pipeline.scheduler.config)",
            name=name,
            known=", ".join(SAMPLERS),
        )


def _is_flow(sampler: Any) -> bool:
    return type(sampler).__name__ in _FLOW or bool(sampler.config.get("use_flow_sigmas", False))
