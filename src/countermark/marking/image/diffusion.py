"""The noise mark inside a diffusers pipeline: marked noise in, noise read back out of the pictures.

Three lines mark what a pipeline makes, and one reads it::

    plug = DiffusionMark(pipeline, NoiseMark(key.embedding, key_id=key.key_id))
    pictures = plug.generate(word, counter, 4, prompt="a lighthouse")
    detection = plug.detect(pictures[0])

**Generating.** The pipeline runs as it is, once, with one change: the first normal tensor that its own code draws is
ours. For that its ``__call__`` and ``prepare_latents`` run as copies whose global ``randn_tensor`` answers with marked
noise. Nothing shared is patched: other pipelines, threads, the autoencoder's sampling and the sampler's own draws keep
theirs. So shapes, packing, scaling by the sampler and noising of a given picture are the pipeline's: text-to-image,
image-to-image and inpainting of Stable Diffusion, XL, 3 and FLUX, unconditional UNets, and any of them with a LoRA.
Unconditional pipelines take ``image``, ``mask_image`` and ``strength`` too (``samplers.FromPicture``).

**Inverting.** The pipeline runs again, with the sampler exchanged for its reversal (``samplers``), on the encoded
picture, with an empty prompt and without guidance.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import Detection, NotExamined
from countermark.marking.image.noise import NoiseMark, Signs, coefficients
from countermark.marking.image.samplers import FromPicture, Reversal, check_sampler

Pictures = NDArray[np.uint8]
Keep = Callable[[int, Signs], None]


class DiffusionMark:
    """Marks and reads the pictures of one pipeline with one key.

    Args:
        pipeline: a diffusers pipeline with a sampler of ``SAMPLERS``; its weights, device and type stay as they are.
        mark: makes and reads the noise.
        side: height and width of the pictures in pixels, by default the pipeline's own.
        steps: of sampling and of its reversal.
        refinements: evaluations per step of the reversal, at least 1.

    Raises:
        InputError: a sampler that cannot be reversed.
    """

    def __init__(
        self,
        pipeline: Any,
        mark: NoiseMark,
        *,
        side: tuple[int, int] | None = None,
        steps: int = 50,
        refinements: int = 1,
    ) -> None:
        if steps < 1 or refinements < 1:
            raise InputError("steps and refinements are at least 1")
        check_sampler(pipeline.scheduler)
        self.pipeline, self.mark = pipeline, mark
        self.side = side or _own_side(pipeline)
        self._steps, self._refinements = steps, refinements

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture's noise."""
        vae = getattr(self.pipeline, "vae", None)
        if vae is None:
            return (int(self.pipeline.unet.config.in_channels), *self.side)
        factor = self.pipeline.vae_scale_factor
        return (int(vae.config.latent_channels), self.side[0] // factor, self.side[1] // factor)

    @property
    def size(self) -> int:
        """Dimensions of one picture's noise."""
        return math.prod(self.shape)

    @property
    def takes_prompt(self) -> bool:
        """Whether the pipeline draws what a text asks for."""
        return "prompt" in _parameters(self.pipeline)

    def generate(
        self,
        word: int,
        counter: int,
        n: int = 1,
        *,
        seed: Secret | None = None,
        keep: Keep | None = None,
        at_once: int = 8,
        **options: Any,
    ) -> Pictures:
        """Generate ``n`` pictures that carry a word, the i-th under ``counter + i``.

        Args:
            word: 0 to 2**64 - 1.
            counter: of the first picture; no counter may serve twice under one key.
            n: number of pictures.
            seed: of the noise's magnitudes; fresh by default.
            keep: called with counter and signs of each picture before it is drawn, for a ledger.
            at_once: pictures per run of the pipeline.
            options: for the pipeline: ``prompt``, ``image``, ``mask_image``, ``strength``, ...; ``steps`` for its
                ``num_inference_steps``. Pictures may be arrays of bytes. A list of ``n`` has one for each picture.

        Returns:
            Pictures, shape (n, height, width, 3).

        Raises:
            InputError: a word or counter out of range, or a pipeline that draws its noise out of reach.
        """
        seed = seed or Secret.random()
        at_once = 1 if "image" in options else at_once  # pipelines differ in how they pair pictures with prompts

        def marked(first: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
            numbers = range(first, first + shape[0])
            if keep is not None:
                for number in numbers:
                    keep(number, self.mark.signs(word, number, math.prod(shape[1:])))
            return np.stack([self.mark.noise(word, number, shape[1:], seed) for number in numbers])

        parts = []
        for done in range(0, n, at_once):
            # A list of n, of prompts say, has one for each picture.
            lists = {k: v[done : done + at_once] for k, v in options.items() if isinstance(v, list) and len(v) == n}
            draw = functools.partial(marked, counter + done)
            parts.append(self._draw(min(at_once, n - done), draw, {**options, **lists}))
        return np.concatenate(parts)

    def render(self, noise: NDArray[np.float32], **options: Any) -> Pictures:
        """Generate pictures from given noise, shape (n, *shape); for what is compared with marked pictures."""
        return self._draw(len(noise), lambda _shape: noise, options)

    def invert(
        self,
        images: Sequence[Any] | Pictures,
        *,
        strength: float = 1.0,
        original: Any = None,
        steps: int | None = None,
        **options: Any,
    ) -> NDArray[np.float32]:
        """Estimate the noise that pictures were made from, as ``NoiseMark.read`` takes it.

        Args:
            images: pictures, or an array of bytes (n, height, width, 3); brought to ``side``.
            strength: below 1 for pictures made from others at that strength: noise is then estimated at its level.
            original: the picture they were made from, if it is known; otherwise each stands for its own.
            steps: of the reversal; the sampler's own number fits best.
            options: for the pipeline; by default an empty prompt and no guidance.

        Returns:
            Shape (n, size), the coefficients of ``noise.coefficients``.

        Raises:
            InputError: a strength outside (0, 1].
        """
        import torch

        if not 0 < strength <= 1:
            raise InputError("a strength is above 0 and at most 1")
        pipeline, blank = _from_text(self.pipeline, self.side)
        reversal = Reversal(self.pipeline.scheduler, self._refinements, strength)
        with torch.no_grad(), _sampler(pipeline, reversal):
            clean = _encoded(pipeline, self._tensor(images, pipeline))
            given = clean if original is None else _encoded(pipeline, self._tensor([original], pipeline))
            wanted = {"prompt": "", "guidance_scale": 1.0, "output_type": "latent", **blank, **options}
            if not self.takes_prompt:
                wanted["output_type"] = "np"
            self._run(pipeline, len(clean), lambda _shape: clean, wanted, steps)
        top, level = reversal.sample.float(), reversal.level
        if top.ndim == 3:  # FLUX packs two by two latent pixels into one token
            top = pipeline._unpack_latents(top, *self.side, pipeline.vae_scale_factor)
        if strength < 1:  # the sample is a mixture on purpose; at full strength it began as noise alone
            top = (top - level.signal * given.to(top)) / level.noise
        return np.stack([coefficients(one) for one in top.cpu().numpy().reshape(len(clean), *self.shape)])

    def detect(
        self, image: Any, *, strengths: Sequence[float] = (1.0,), mirror: bool = False, **options: Any
    ) -> Detection | NotExamined:
        """Look for the mark in a picture.

        Args:
            image: a picture, or an array of bytes (height, width, 3) or (height, width).
            strengths: to be searched, see ``invert``.
            mirror: whether the mirrored picture is searched too.
            options: for ``invert``.
        """
        picture = _image(image)
        views = [picture, picture.transpose(0)] if mirror else [picture]  # 0: left to right
        return self.mark.read(*[one for s in strengths for one in self.invert(views, strength=s, **options)])

    def _draw(self, n: int, noise: _Noise, options: Mapping[str, Any]) -> Pictures:
        wanted = {"output_type": "pil", **_pictured(options)}
        steps = wanted.pop("steps", self._steps)
        if "image" not in wanted or "image" in _parameters(self.pipeline):
            made = self._run(self.pipeline, n, noise, wanted, steps)
        else:
            picture = self._tensor([wanted["image"]], self.pipeline)
            mask = _tensor([wanted["mask_image"]], self.side, 1) if "mask_image" in wanted else None
            start = FromPicture(self.pipeline.scheduler, steps, wanted.get("strength", 1.0), picture, mask)
            with _sampler(self.pipeline, start):
                made = self._run(self.pipeline, n, lambda shape: start.begin(noise(shape)), wanted, steps)
        return np.stack([np.asarray(image.convert("RGB")) for image in made.images])

    def _tensor(self, images: Sequence[Any] | Pictures, pipeline: Any) -> Any:
        return _tensor(images, self.side, _channels(pipeline))

    def _run(self, pipeline: Any, n: int, noise: _Noise, wanted: dict[str, Any], steps: int | None) -> Any:
        """Run a pipeline once for ``n`` pictures, with those of the wanted options that it knows."""
        known = _parameters(pipeline)
        wanted = {"num_inference_steps": steps or self._steps, "height": self.side[0], "width": self.side[1], **wanted}
        per_prompt = max(1, n // len(wanted["prompt"])) if isinstance(wanted.get("prompt"), list) else n
        wanted |= {"num_images_per_prompt": per_prompt, "batch_size": n}
        return _run_drawing(pipeline, _Draw(n, noise), {name: wanted[name] for name in wanted if name in known})


_Noise = Callable[[tuple[int, ...]], Any]


class _Draw:
    """Stands in for ``randn_tensor``: the first answer is ours, later ones are random."""

    def __init__(self, n: int, noise: _Noise) -> None:
        self._n, self._noise, self.done = n, noise, False

    def __call__(self, shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **more: Any) -> Any:
        import torch
        from diffusers.utils.torch_utils import randn_tensor

        if self.done:
            return randn_tensor(shape, generator=generator, device=device, dtype=dtype, **more)
        if shape[0] != self._n:
            raise InputError("the pipeline draws {drawn} pictures, not {count}", drawn=shape[0], count=self._n)
        self.done = True
        return torch.as_tensor(self._noise(tuple(shape))).to(device=device, dtype=dtype).reshape(tuple(shape))


def _run_drawing(pipeline: Any, draw: _Draw, options: Mapping[str, Any]) -> Any:
    """Call a pipeline whose own code draws from ``draw``."""
    import torch

    kind = type(pipeline)
    prepares = hasattr(kind, "prepare_latents")
    if prepares:
        pipeline.prepare_latents = types.MethodType(_drawing(kind.prepare_latents, draw), pipeline)
    try:
        with torch.no_grad():
            made = _drawing(kind.__call__, draw)(pipeline, **options)
    finally:
        if prepares:
            del pipeline.prepare_latents
    if not draw.done:
        raise InputError("the pipeline {name} draws its noise where it cannot be replaced", name=kind.__name__)
    return made


def _drawing(function: Any, draw: _Draw) -> Any:
    """Return a copy of a function, decorators off, for which ``randn_tensor`` is ``draw``."""
    plain = inspect.unwrap(function)
    names = {**plain.__globals__, "randn_tensor": draw}
    clone = types.FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
    clone.__kwdefaults__ = plain.__kwdefaults__
    return clone


@contextmanager
def _sampler(pipeline: Any, sampler: Any) -> Iterator[None]:
    before, pipeline.scheduler = pipeline.scheduler, sampler
    try:
        yield
    finally:
        pipeline.scheduler = before


def _from_text(pipeline: Any, side: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    """Return a pipeline with the same parts that starts from noise alone, and the options that it needs for that."""
    known = _parameters(pipeline)
    if "image" not in known or "prompt" not in known:
        return pipeline, {}
    unet = getattr(pipeline, "unet", None)
    if "mask_image" in known and unet is not None and unet.config.in_channels > pipeline.vae.config.latent_channels:
        from PIL import Image

        whole = {"image": Image.new("RGB", side[::-1]), "mask_image": Image.new("L", side[::-1], 255), "strength": 1.0}
        return pipeline, whole
    from diffusers import AutoPipelineForText2Image

    try:
        return AutoPipelineForText2Image.from_pipe(pipeline), {}
    except ValueError as error:
        name = type(pipeline).__name__
        raise InputError("no text-to-image pipeline belongs to {name}", name=name) from error


def _parameters(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(type(pipeline).__call__).parameters


def _own_side(pipeline: Any) -> tuple[int, int]:
    part = getattr(pipeline, "unet", None) or pipeline.transformer
    own = getattr(pipeline, "default_sample_size", None) or part.config.sample_size
    height, width = (own, own) if isinstance(own, int) else own
    factor = getattr(pipeline, "vae_scale_factor", 1)
    return int(height) * factor, int(width) * factor


def _channels(pipeline: Any) -> int:
    vae = getattr(pipeline, "vae", None)
    return int(pipeline.unet.config.in_channels if vae is None else vae.config.in_channels)


def _encoded(pipeline: Any, pictures: Any) -> Any:
    """Return pictures, -1 to 1, as the latents that a pipeline ends with."""
    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return pictures
    kind = vae.dtype
    if getattr(vae.config, "force_upcast", False):  # as the pipelines do: such a VAE overflows in half precision
        vae.to(dtype=pictures.dtype)
    seen = vae.encode(pictures.to(device=vae.device, dtype=vae.dtype))
    latents = seen.latent_dist.mode() if hasattr(seen, "latent_dist") else seen.latents
    vae.to(dtype=kind)
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (latents.float() - shift) * vae.config.scaling_factor


def _tensor(images: Sequence[Any] | Pictures, side: tuple[int, int], channels: int) -> Any:
    """Return pictures as a tensor (n, channels, height, width) from -1 to 1."""
    import torch
    from PIL import Image

    pictures = [_image(image).convert("L" if channels == 1 else "RGB") for image in images]
    fitting = [one if one.size == side[::-1] else one.resize(side[::-1], Image.Resampling.LANCZOS) for one in pictures]
    values = np.stack([np.asarray(one, dtype=np.float32) for one in fitting]).reshape(len(fitting), *side, -1)
    return torch.from_numpy(values / 127.5 - 1).permute(0, 3, 1, 2)


def _image(image: Any) -> Any:
    """Return an array of bytes as a picture, and a picture as it is."""
    from PIL import Image

    return Image.fromarray(image) if isinstance(image, np.ndarray) else image


def _pictured(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _image(value) for name, value in options.items()}
