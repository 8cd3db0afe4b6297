"""Diffusers pipelines, loaded from a directory and driven with marked noise. torch is imported when one is opened."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import Secret
from countermark.errors import HostileFile, InputError, require
from countermark.marking.image.noise import NoiseMark
from countermark.workflows.pipelines import Order, Pixels, Way

#: Libraries that a pipeline's parts may come from; anything else could be code of the directory's author.
_LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion", None})
_INDEX_LIMIT = 2**20
#: Pictures that are inverted at once.
_AT_ONCE = 4


class DiffusersPipelines:
    """Opens pipelines; each stays loaded while the office is open."""

    def __init__(self) -> None:
        self._opened: dict[Path, DiffusersPainter] = {}

    def open(self, directory: Path) -> DiffusersPainter:
        """Load a pipeline from safetensors on this machine, onto a GPU where there is one.

        Raises:
            MissingExtra: diffusers or torch is not installed.
            HostileFile: a part of it comes from another library than diffusers and transformers.
            InputError: it is no diffusers pipeline.
        """
        directory = directory.resolve()
        if directory not in self._opened:
            self._opened[directory] = DiffusersPainter(load_pipeline(directory))
        return self._opened[directory]


class DiffusersPainter:
    """A loaded pipeline."""

    def __init__(self, pipeline: Any) -> None:
        from countermark.marking.image.diffusion import DiffusionMark

        self._pipeline, self._plug = pipeline, DiffusionMark
        # Sizes and inversion do not depend on the key.
        self._keyless = DiffusionMark(pipeline, NoiseMark(Secret.random()))

    @property
    def size(self) -> int:
        """Noise values of one picture."""
        return self._keyless.size

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of its pictures, in pixels."""
        return self._keyless.side

    def check(self, order: Order) -> None:
        """Return if the pipeline takes what an order asks for.

        Raises:
            InputError: it takes no prompt, needs one, or cannot start from a picture.
        """
        if order.prompt is not None and not self._keyless.takes_prompt:
            raise InputError("this model takes no prompt")
        if order.prompt is None and self._keyless.takes_prompt:
            raise InputError("this model needs a prompt", hint="Give it with --prompt.")
        if order.source is not None:
            _from_picture(self._pipeline)

    def paint(
        self,
        mark: NoiseMark,
        word: int,
        counter: int,
        order: Order,
        *,
        count: int,
        seed: Secret,
        source: Pixels | None,
    ) -> list[Pixels]:
        """Draw pictures of counters from ``counter`` on."""
        pipeline, options = self._pipeline, _options(order)
        if source is not None:
            from PIL import Image

            pipeline = _from_picture(pipeline)
            height, width = self.side
            options["image"] = Image.fromarray(source).resize((width, height), Image.Resampling.LANCZOS)
        return list(self._plug(pipeline, mark).generate(word, counter, count, seed=seed, **options))

    def invert(self, pictures: Sequence[Pixels], way: Way) -> NDArray[np.float32]:
        """Return the noise that pictures would have grown from, each resized to the model's size first."""
        strength, steps = way
        parts = [pictures[at : at + _AT_ONCE] for at in range(0, len(pictures), _AT_ONCE)]
        return np.concatenate([self._keyless.invert(part, strength=strength, steps=steps) for part in parts])


def _options(order: Order) -> dict[str, Any]:
    named = {"prompt": order.prompt, "steps": order.steps, "strength": order.strength}
    return {name: value for name, value in named.items() if value is not None}


def load_pipeline(directory: Path) -> Any:
    """Load a pipeline from safetensors and without code of its author, onto a GPU where there is one.

    Raises:
        MissingExtra: diffusers or torch is not installed.
        HostileFile: a part of it comes from another library than diffusers and transformers.
        InputError: it is no diffusers pipeline.
    """
    torch, diffusers = require("torch", "train"), require("diffusers", "train")
    _check_index(directory)
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            str(directory),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            low_cpu_mem_usage=False,  # would need one more package, and says so on stderr
        )
    except Exception as error:  # diffusers raises anything on a directory that is not as it expects
        raise InputError("{path} cannot be loaded as a pipeline: {reason}", path=directory, reason=error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def _check_index(directory: Path) -> None:
    """Refuse a pipeline whose parts would be imported from elsewhere than diffusers and transformers."""
    path = directory / "model_index.json"
    try:
        with path.open("rb") as file:
            index = json.loads(file.read(_INDEX_LIMIT))
        parts = [value for name, value in index.items() if isinstance(value, list)]
        class_name = index["_class_name"]
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise InputError("{path} is no diffusers pipeline", path=directory) from error
    foreign = [part for part in parts if part[:1] and part[0] not in _LIBRARIES]
    if foreign or not isinstance(class_name, str):
        raise HostileFile("{path} names code of its own", path=path)


def _from_picture(pipeline: Any) -> Any:
    """Return the pipeline that starts from a picture, with the same parts."""
    from diffusers import AutoPipelineForImage2Image

    if "image" in inspect.signature(pipeline.__call__).parameters:
        return pipeline
    try:
        return AutoPipelineForImage2Image.from_pipe(pipeline)
    except ValueError as error:
        raise InputError("this model cannot start from a picture") from error
