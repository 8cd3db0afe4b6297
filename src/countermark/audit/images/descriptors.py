"""Descriptors: copies that no pixel shows any more, cropped and enlarged, blurred, or described by a network.

A descriptor turns a picture into a unit vector; the distance of two is 1 less their cosine. The calibration on
held-out images goes through the same descriptor, so nothing need be known of it but its name and digest. A network is
plugged in as an ONNX file or as a Python callable.

The one built in needs no weights: the lowest cosine coefficients of the picture's middle (5/7 of each side) without
its mean, hence blind to light. Of a query it takes many middles: where the middle of the training image lies if the
query is a crop of it, enlarged by up to a quarter, a little shifted, mirrored, and these as if a blur were undone.

Laws:
    rows are unit vectors, or zero where there is nothing to describe; the distance of a picture to itself is 0;
    distances of a row ascend, ties by the lower index, and lie in [0, 2].
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from countermark.audit.images.likeness import Likeness, cosines, products, quantized, sandwich
from countermark.audit.images.products import Bytes, Integers
from countermark.audit.images.scan import single_threaded
from countermark.audit.images.search import Engine, Store, available_threads, torch_for
from countermark.core.progress import Progress
from countermark.errors import InputError, require

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

BUILT_IN = "built-in"
# Means and deviations by channel that most networks were trained with (ImageNet), for values in [0, 1].
USUAL_MEAN, USUAL_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LARGEST_FILE = 2 * 2**30
_LEAST_CANDIDATES, _PER_NEIGHBOUR, _AT_ONCE, _MEASURED_AT_ONCE = 64, 2, 512, 16


class Descriptor(Protocol):
    """Something that describes images by unit vectors; its name and digest go into the document."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def digest(self) -> str:
        """``sha256:`` of what it is."""
        ...

    def __call__(self, images: Bytes) -> Singles:
        """Return (n, dims) unit rows of (n, h, w, c) images."""
        ...


@runtime_checkable
class ManyViews(Protocol):
    """A descriptor that looks at a query in several ways; the nearest of them counts."""

    def views(self, images: Bytes) -> Singles:
        """Return (n, views, dims) unit rows."""
        ...


@dataclass(frozen=True, slots=True)
class DescribedNeighbours:
    """The nearest training images by a descriptor, (q, k): 1 - cosine, ascending, and which image."""

    distance: Floats
    index: Integers


class DescriptorIndex:
    """Search by descriptor: candidates by 8-bit products, distances by the descriptor's own numbers.

    Args:
        store: the training images.
        descriptor: turns images into unit rows.
        engine: that of the products.
        threads: how many; default all processors of this process.

    Raises:
        InputError: the descriptor gives something else than unit rows.
    """

    def __init__(
        self, store: Store, descriptor: Descriptor, *, engine: Engine = "auto", threads: int | None = None
    ) -> None:
        self.count, self.name = store.count, f"descriptor {descriptor.name}"
        self._store, self._descriptor = store, descriptor
        self._threads = available_threads() if threads is None else threads
        self._torch = torch_for(engine, self._threads)

    @cached_property
    def _rows(self) -> Singles:
        """(count, dims) what the descriptor says of the training images, asked once."""
        parts = [
            _checked(self._descriptor, shard[at : at + _AT_ONCE].reshape(-1, *self._store.shape))
            for _, shard in self._store.shards()
            for at in range(0, len(shard), _AT_ONCE)
        ]
        return np.concatenate(parts)

    @cached_property
    def _likeness(self) -> Likeness:
        return Likeness(quantized(self._rows), self._torch, self._threads)

    def nearest(self, images: Bytes, k: int, *, progress: Progress | None = None) -> DescribedNeighbours:
        """Return the ``k`` nearest training images of images (q, h, w, c).

        Raises:
            InputError: images of another kind or shape, ``k`` out of range, rows that are not unit vectors.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self._store.shape:
            raise InputError("images of shape {shape} cannot be compared here", shape=list(images.shape))
        if not 1 <= k <= self.count:
            raise InputError("{k} neighbours were asked for among {size} images", k=k, size=self.count)
        found = [(np.empty((0, k)), np.empty((0, k), np.int64))]
        for start in range(0, len(images), _AT_ONCE):
            views = self._views(images[start : start + _AT_ONCE])
            asked = min(self.count, max(_LEAST_CANDIDATES, _PER_NEIGHBOUR * k))
            candidates = self._likeness.closest(quantized(views), asked)
            few = [slice(at, at + _MEASURED_AT_ONCE) for at in range(0, len(views), _MEASURED_AT_ONCE)]
            with single_threaded(self._torch, self._threads) as pool:
                found += pool.map(lambda some: self._measured(views[some], candidates[some], k), few)  # noqa: B023
            if progress is not None:
                progress(min(start + _AT_ONCE, len(images)), len(images), "images")
        distance, index = (np.concatenate(column) for column in zip(*found, strict=True))
        return DescribedNeighbours(distance, index)

    def _views(self, images: Bytes) -> Singles:
        if isinstance(self._descriptor, ManyViews):
            return self._descriptor.views(images)
        return _checked(self._descriptor, images)[:, None]

    def _measured(self, views: Singles, candidates: Integers, k: int) -> tuple[Floats, Integers]:
        """Return distances and images, (q, k), of the nearest candidates: half the square of the difference."""
        rows, each = self._rows[candidates], np.arange(len(views))[:, None]
        own = views[each, products(self._torch, views, rows).argmax(1)].astype(np.float64)
        distance = np.square(own - rows).sum(2) / 2
        distance[~rows.any(2) | ~own.any(2)] = 1.0
        order = np.lexsort((candidates, distance))[:, :k]
        return distance[each, order], candidates[each, order]


def _checked(descriptor: Descriptor, images: Bytes) -> Singles:
    rows = np.asarray(descriptor(images), np.float32)
    norms = np.linalg.norm(rows, axis=-1) if rows.ndim == 2 else np.zeros(0)
    if len(rows) != len(images) or not ((np.abs(norms - 1) < 1e-3) | (norms == 0)).all():
        raise InputError("the descriptor {name} does not give one unit row per image", name=descriptor.name)
    return rows


def open_descriptor(spec: Path | str) -> Descriptor:
    """Return the built-in descriptor or that of an ONNX file.

    Args:
        spec: ``built-in``, or the path of a file ``.onnx``.

    Raises:
        InputError: neither, or the file is no network of one picture in and one row out.
        MissingExtra: onnxruntime is not installed.
    """
    if str(spec) == BUILT_IN:
        return BuiltIn()
    return OnnxDescriptor(Path(spec))


def unit_rows(rows: NDArray[Any]) -> Singles:
    """Return rows (last axis) of norm 1, those of norm 0 as they are."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros(rows.shape, np.float32), where=norms > 1e-12))


@dataclass(frozen=True)
class Function:
    """A Python callable as a descriptor: (n, h, w, c) uint8 in, (n, dims) out, brought to norm 1."""

    name: str
    digest: str
    function: Callable[[Bytes], Any] = field(repr=False)

    def __call__(self, images: Bytes) -> Singles:
        """Return unit rows; a torch tensor is taken to the processor."""
        rows = self.function(images)
        if hasattr(rows, "detach"):
            rows = rows.detach().cpu().numpy()
        return unit_rows(np.asarray(rows, np.float32))


@dataclass(frozen=True)
class BuiltIn:
    """Lowest cosine coefficients of the middle; under zooms, shifts, mirroring and blurs for queries.

    Attributes:
        side: coefficients along each axis.
        zooms: by how much a crop may have been enlarged.
        shift: of the middle, as a share of each side.
        blurs: standard deviations of blurs that are undone, as shares of each side.
    """

    side: int = 8
    zooms: tuple[float, ...] = (1.0, 1.08, 1.166, 1.26)
    shift: float = 1 / 28
    blurs: tuple[float, ...] = (0.0, 0.03)

    @property
    def name(self) -> str:
        """Everything that it depends on."""
        zooms, blurs = (", ".join(f"{value:g}" for value in values) for values in (self.zooms, self.blurs))
        middle = f"{self.side}x{self.side} lowest cosines of the middle 5/7"
        return f"built-in/1: {middle}; zooms {zooms}; shifts 0, ±{self.shift:.3g}; blurs {blurs}; mirror"

    @property
    def digest(self) -> str:
        """Digest of the name."""
        return "sha256:" + hashlib.sha256(self.name.encode()).hexdigest()

    def __call__(self, images: Bytes) -> Singles:
        """Return (n, dims) descriptions of the middles."""
        return self._described(images, 1.0, (0.0,), 0.0)[:, 0]

    def views(self, images: Bytes) -> Singles:
        """Return (n, views, dims) descriptions of where the middle may lie."""
        shifts = (-self.shift, 0.0, self.shift)
        seen = [self._described(images, zoom, shifts, blur) for zoom in self.zooms for blur in self.blurs]
        every = np.concatenate(seen, axis=1)
        # a middle of the mirror image has the odd coefficients of every row turned
        signs = np.where(np.arange(every.shape[2]) % self.side % 2, -1, 1).astype(np.float32)
        return np.concatenate([every, every * signs], axis=1)

    def _described(self, images: Bytes, zoom: float, shifts: tuple[float, ...], blur: float) -> Singles:
        values = np.moveaxis(images, 3, 1).astype(np.float32)
        down, right = (_middles(length, zoom, shifts, self.side) for length in images.shape[1:3])
        raw = sandwich(down, values, right)
        # without the mean of all channels
        raw[..., 0, 0] -= raw[..., 0, 0].mean(-1, keepdims=True)
        # a blur of deviation s takes exp(-(s w)^2 / 2) from the frequency w along each axis
        gain = np.exp((blur * 7 / 5 / zoom * np.pi * np.arange(self.side)) ** 2 / 2).astype(np.float32)
        raw *= gain[:, None] * gain
        rows = raw.reshape(len(images), len(shifts) ** 2, -1)
        return unit_rows(np.where(np.linalg.norm(rows, axis=-1, keepdims=True) > 1, rows, 0))


def _middles(length: int, zoom: float, shifts: tuple[float, ...], side: int) -> Singles:
    """Return (shifts, side, length): cosines of a line's middle 5/7, times ``zoom``, at shifts as shares of it."""
    points = max(side, round(length * 5 / 7))
    size = length * 5 / 7 * zoom
    starts = [(length - size) / 2 + shift * length for shift in shifts]
    lowest = cosines(points, side)
    return np.stack([lowest @ _sampled(length, start, size, points) for start in starts]).astype(np.float32)


def _sampled(length: int, start: float, size: float, points: int) -> Floats:
    """Return (points, length) weights: the line from ``start``, ``size`` long, in equal parts, averaged over each."""
    edges = start + size * np.arange(points + 1) / points
    pixels = np.arange(length)
    # shares of every pixel between the edges of every part
    below = np.clip(edges[:, None] - pixels[None], 0, 1)
    shares = np.diff(below, axis=0)
    return np.asarray(shares / np.maximum(shares.sum(1, keepdims=True), 1e-9))


class OnnxDescriptor:
    """A network in an ONNX file: pictures (n, channels, h, w) in, rows out.

    Pictures are brought to the size that the network asks for by averaging over areas, to [0, 1], and, for three
    channels, to the usual means and deviations.

    Raises:
        InputError: not readable as such a network, or larger than 2 GiB.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(
        self, path: Path, *, mean: tuple[float, ...] | None = None, deviation: tuple[float, ...] | None = None
    ):
        runtime = require("onnxruntime", "audit")
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise InputError("{path} is larger than {limit} bytes", path=str(path), limit=_LARGEST_FILE)
            data = path.read_bytes()
            self._session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        except InputError:
            raise
        except Exception as error:  # onnxruntime raises classes of its own, which it does not export
            raise InputError("{path} is not a network that can be read", path=str(path)) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (1, 3):
            raise InputError("the network {path} does not take one picture of 1 or 3 channels", path=str(path))
        self._input, self._channels = inputs[0].name, int(inputs[0].shape[1])
        self._size = tuple(side if isinstance(side, int) else None for side in inputs[0].shape[2:])
        usual = (USUAL_MEAN, USUAL_DEVIATION) if self._channels == 3 else ((0.0,), (1.0,))
        self._mean = np.asarray(usual[0] if mean is None else mean, np.float32)
        self._deviation = np.asarray(usual[1] if deviation is None else deviation, np.float32)
        self.name = path.name
        about = f"{self._mean.tolist()} {self._deviation.tolist()}"
        self.digest = "sha256:" + hashlib.sha256(hashlib.sha256(data).digest() + about.encode()).hexdigest()

    def __call__(self, images: Bytes) -> Singles:
        """Return (n, dims) unit rows of the network's first output."""
        rows = [self._run(images[at : at + 64]) for at in range(0, len(images), 64)]
        return unit_rows(np.concatenate(rows))

    def _run(self, images: Bytes) -> Singles:
        pictures = images.astype(np.float32) / 255
        if pictures.shape[3] != self._channels:
            grey = pictures @ _LUMA if pictures.shape[3] == 3 else pictures[..., 0]
            pictures = np.repeat(grey[..., None], self._channels, axis=3)
        height, width = (side or own for side, own in zip(self._size, images.shape[1:3], strict=True))
        down, right = (
            _sampled(images.shape[1], 0, images.shape[1], height),
            _sampled(images.shape[2], 0, images.shape[2], width),
        )
        sized = np.einsum("ih,nhwc,jw->ncij", down, pictures, right, optimize=True)
        ready = (sized - self._mean[:, None, None]) / self._deviation[:, None, None]
        try:
            output = self._session.run(None, {self._input: ready.astype(np.float32)})[0]
        except Exception as error:
            raise InputError("the network {name} cannot describe these pictures", name=self.name) from error
        return np.asarray(output, np.float32).reshape(len(images), -1)
