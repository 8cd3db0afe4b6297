"""Everything that an audit can draw images from, behind one protocol: ``countermark.audit.models.Generator``.

``open_sampler`` takes an example model's directory, a diffusers pipeline's directory, ``package.module:function`` or
``file.py:function``, or data that ``open_images`` reads (a folder of images that were generated before). A directory
is a stranger's: tensors are read from safetensors alone, and no code of its author runs. A function is the user's own
code and runs as it is.

Law: image i of a pipeline depends on the seed and i alone, up to rounding of the batch it stood in.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from countermark.audit.models import Generator
from countermark.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from countermark.audit.images.store import ImageStore
    from countermark.core.progress import Progress

Images = NDArray[np.uint8]
Shape = tuple[int, int, int]

_FUNCTION = re.compile(r"(?P<module>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_]\w*)")
#: Images of a pipeline that are drawn at once.
_AT_ONCE = 16
#: At which shares of a pipeline's noise its loss is measured, and with how many draws of noise each.
_LOSS_TIMES = (0.2, 0.35, 0.5, 0.65, 0.8)
_LOSS_DRAWS = 4
_LOSS_SEED = 6


def open_sampler(spec: str | Path, *, prompts: Sequence[str] = (), steps: int | None = None) -> Generator:
    """Open what images can be drawn from.

    Args:
        spec: a directory, a function as ``package.module:function`` or ``file.py:function`` that is called with
            ``(count, seed)`` and returns bytes (count, height, width) or (count, height, width, channels), or data.
        prompts: for a pipeline that needs them; image i is drawn for prompt i modulo their number.
        steps: of a pipeline's sampling; its own number by default.

    Raises:
        MissingExtra: torch or diffusers is not installed.
        InputError: it is none of these, or a pipeline does not take the prompts.
        HostileFile: a directory with code, pickles or tensors that do not fit.
    """
    path = Path(spec)
    if path.is_dir():
        if (path / "model_index.json").is_file():
            from countermark.adapters.diffusion import load_pipeline

            return PipelineSampler(path.resolve().name, load_pipeline(path), prompts=prompts, steps=steps)
        from countermark.audit.models.files import is_example, open_model

        if is_example(path):
            return open_model(path)
    named = _FUNCTION.fullmatch(str(spec))
    if named and not path.exists() and not _is_data(Path(named["module"])):
        return FunctionSampler(str(spec), _function(named["module"], named["name"]))
    return DataSampler(_read(str(spec)))


class PipelineSampler:
    """A diffusers pipeline, ready to run.

    Args:
        name: for people.
        pipeline: draws on the device that it is on.
        prompts: as for ``open_sampler``.
        steps: as for ``open_sampler``.

    Raises:
        InputError: it needs prompts and has none, or takes none and got some.
    """

    def __init__(self, name: str, pipeline: Any, *, prompts: Sequence[str] = (), steps: int | None = None) -> None:
        self.name, self._pipeline = name, pipeline
        self._prompts, self._steps = tuple(prompts), steps
        takes = "prompt" in inspect.signature(type(self._pipeline).__call__).parameters
        if takes and not prompts:
            raise InputError("this model needs a prompt", hint="Give it with --prompt.")
        if prompts and not takes:
            raise InputError("this model takes no prompt")
        self._shape: Shape | None = None

    @property
    def shape(self) -> Shape:
        """Height, width, channels; one image is drawn to learn them."""
        if self._shape is None:
            drawn = self._draw(range(1), 0)
            self._shape = (drawn.shape[1], drawn.shape[2], drawn.shape[3])
        return self._shape

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """Return None: prompts are no labels."""
        return None

    def sample(self, count: int, *, seed: int, progress: Progress | None = None) -> Images:
        """Return images (count, height, width, channels).

        Raises:
            InputError: a negative count or seed, or the pipeline fails.
        """
        _check(count, seed)
        parts = [np.empty((0, *self.shape), dtype=np.uint8)]
        for at in range(0, count, _AT_ONCE):
            parts.append(self._draw(range(at, min(at + _AT_ONCE, count)), seed))
            _tell(progress, min(at + _AT_ONCE, count), count)
        return np.concatenate(parts)

    def loss(self, images: Images) -> NDArray[np.float64]:
        """Return each image's mean squared error over fixed times and noise, in the pipeline's own prediction.

        Args:
            images: (n, height, width, channels).

        Raises:
            InputError: a pipeline that takes prompts or works on latents.
        """
        torch = require("torch", "train")
        unet, scheduler = getattr(self._pipeline, "unet", None), self._pipeline.scheduler
        if unet is None or self._prompts or getattr(self._pipeline, "vae", None) is not None:
            raise InputError("only a pipeline that denoises images themselves, without prompts, has a loss")
        clean = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
        source, total = np.random.default_rng(_LOSS_SEED), np.zeros(len(images))
        with torch.no_grad():
            for share in np.repeat(_LOSS_TIMES, _LOSS_DRAWS):
                noise = torch.from_numpy(source.standard_normal(clean.shape[1:], dtype=np.float32))
                time = int(share * scheduler.config.num_train_timesteps)
                parts = clean.split(4 * _AT_ONCE)
                total += np.concatenate([_errors(unet, scheduler, part, noise, time) for part in parts])
        return total / (len(_LOSS_TIMES) * _LOSS_DRAWS)

    def _draw(self, which: range, seed: int) -> Images:
        torch = require("torch", "train")
        seeds = [int(np.random.SeedSequence([seed, at]).generate_state(1, np.uint64)[0] >> 1) for at in which]
        options: dict[str, Any] = {"generator": [torch.Generator().manual_seed(each) for each in seeds]}
        if self._prompts:
            options["prompt"] = [self._prompts[at % len(self._prompts)] for at in which]
        else:
            options["batch_size"] = len(which)
        if self._steps is not None:
            options["num_inference_steps"] = self._steps
        try:
            drawn = np.asarray(self._pipeline(**options, output_type="np").images)
        except Exception as error:  # a pipeline raises anything
            raise InputError("{name} cannot draw: {reason}", name=self.name, reason=error) from error
        return _as_images(np.rint(np.clip(drawn, 0, 1) * 255).astype(np.uint8), len(which), self.name)


class FunctionSampler:
    """A function of the user, called as ``function(count, seed)``; an attribute ``loss`` of it is offered too."""

    def __init__(self, name: str, function: Callable[[int, int], Any]) -> None:
        self.name, self._function = name, function
        drawn = self.sample(1, seed=0)
        self.shape: Shape = (drawn.shape[1], drawn.shape[2], drawn.shape[3])
        if callable(getattr(function, "loss", None)):
            self.loss = self._loss

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """Return None."""
        return None

    def sample(self, count: int, *, seed: int, progress: Progress | None = None) -> Images:
        """Return what the function returns.

        Raises:
            InputError: a negative count or seed, or the function fails or returns something else.
        """
        _check(count, seed)
        if not count:
            return np.empty((0, *self.shape), dtype=np.uint8)
        drawn = _as_images(self._call(self._function, count, seed), count, self.name)
        _tell(progress, count, count)
        return drawn

    def _loss(self, images: Images) -> NDArray[np.float64]:
        function: Any = self._function
        found = np.asarray(self._call(function.loss, images))
        if found.shape != (len(images),) or found.dtype.kind not in "fiu":
            raise InputError("{name}.loss must return one number an image", name=self.name)
        return found.astype(np.float64)

    def _call(self, function: Callable[..., Any], *given: Any) -> Any:
        try:
            return function(*given)
        except Exception as error:  # the user's code raises anything
            reason = f"{type(error).__name__}: {error}"
            raise InputError("{name} failed: {reason}", name=self.name, reason=reason) from error


class DataSampler:
    """Images that were generated before; the seed changes nothing."""

    def __init__(self, store: ImageStore) -> None:
        self.name, self.shape, self._store = store.data_name, store.shape, store

    @property
    def count(self) -> int:
        """How many there are."""
        return self._store.count

    def labels(self, count: int) -> NDArray[np.int64] | None:
        """Return the labels that stand beside the first images."""
        return None if self._store.labels is None else np.asarray(self._store.labels[:count])

    def sample(self, count: int, *, seed: int, progress: Progress | None = None) -> Images:
        """Return the first ``count`` images.

        Raises:
            InputError: there are not as many.
        """
        _check(count, seed)
        if count > self.count:
            raise InputError("{name} holds {held} images, not {count}", name=self.name, held=self.count, count=count)
        _tell(progress, count, count)
        return self._store.take(np.arange(count))


def _errors(unet: Any, scheduler: Any, clean: Any, noise: Any, time: int) -> NDArray[np.float64]:
    """Return each image's squared error of what the network predicts at one time."""
    torch = require("torch", "train")
    device, spread = next(unet.parameters()).device, noise.expand_as(clean)
    times = torch.full((len(clean),), time)
    targets: dict[str, Callable[[], Any]] = {
        "epsilon": lambda: spread,
        "sample": lambda: clean,
        "v_prediction": lambda: scheduler.get_velocity(clean, spread, times),
    }
    target = targets.get(scheduler.config.prediction_type)
    if target is None:
        raise InputError("a sampler that predicts {kind} has no loss here", kind=scheduler.config.prediction_type)
    noisy = scheduler.add_noise(clean, spread, times)
    guess = unet(noisy.to(device), times.to(device)).sample.cpu()
    found: NDArray[np.float64] = (guess - target()).square().mean(dim=(1, 2, 3)).double().numpy()
    return found


def _is_data(path: Path) -> bool:
    """Whether what stands before a colon is data with parts, and not a module."""
    if path.is_dir():
        return not (path / "__init__.py").is_file()
    return path.suffix == ".npz" or (path.is_file() and path.suffix != ".py")


def _read(spec: str) -> ImageStore:
    from countermark.audit.images.reading import open_images, parse_data
    from countermark.audit.images.store import ImageStore

    return ImageStore.read(open_images(parse_data(spec)))


def _function(module: str, name: str) -> Callable[[int, int], Any]:
    try:
        loaded = _import_file(Path(module)) if module.endswith(".py") else _import(module)
    except Exception as error:  # the user's code raises anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError("cannot import {name}: {reason}", name=module, reason=reason) from error
    function = getattr(loaded, name, None)
    if not callable(function):
        raise InputError("{module} has no function {name}", module=module, name=name)
    found: Callable[[int, int], Any] = function
    return found


def _import(module: str) -> ModuleType:
    with _here():
        return importlib.import_module(module)


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    with _here():
        spec.loader.exec_module(module)
    return module


@contextmanager
def _here() -> Iterator[None]:
    """Let modules of the current folder be found, as ``python -m`` does."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.pop(0)


def _as_images(drawn: Any, count: int, name: str) -> Images:
    """Return an array as images (count, h, w, c), or refuse it."""
    array = np.asarray(drawn)
    if array.ndim == 3:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 4 or len(array) != count or array.shape[3] not in (1, 3):
        raise InputError(
            "{name} must return {count} images of bytes (count, height, width, channels), channels 1 or 3",
            name=name,
            count=count,
        )
    return np.ascontiguousarray(array)


def _check(count: int, seed: int) -> None:
    if count < 0 or seed < 0:
        raise InputError("count and seed must be 0 or more")


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total, "images")
