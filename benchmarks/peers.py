"""The image marks that are compared: ours, and the packages that a user would install instead, at default strengths."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.photographs import Pixels
from countermark.core.keys import Secret, derive_key
from countermark.marking import Detection
from countermark.marking.image.lattice import LatticeMark

OURS = "lattice"
BITS = 64
# Pictures of each folder that a peer gets: some take seconds for one reading.
PEER_LIMIT = 12
LIMITS = {"invisible-watermark/rivaGan": 6}


class Method(Protocol):
    """A marking method under test, under one key if it has keys: it carries words of ``bits`` bits."""

    bits: int

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return the word read, and the p-value if the method has one."""


class Lattice:
    """The lattice mark."""

    bits = BITS

    def __init__(self, secret: Secret, strength: float) -> None:
        self.mark = LatticeMark(secret, strength=strength)

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""
        return self.mark.embed(image, word)

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return word and p-value."""
        seen = self.mark.detect(image)
        return (seen.word, seen.p_value) if isinstance(seen, Detection) else (None, 1.0)


class BlindWatermark:
    """The package blind-watermark (DWT, DCT and SVD) in bit mode; its two keys are seeds."""

    bits = BITS

    def __init__(self, secret: Secret, _: float) -> None:
        names = ("password_img", "password_wm")
        seeds = (int.from_bytes(derive_key(secret, name).reveal()[:4], "big") >> 1 for name in names)
        self._passwords = dict(zip(names, seeds, strict=True))
        self._class = _blind_watermark()

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""
        marker = self._class(**self._passwords)
        marker.read_img(img=_swapped(image))
        marker.read_wm(_bits(word, self.bits), mode="bit")
        return _swapped(np.clip(np.rint(marker.embed()), 0, 255).astype(np.uint8))

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return the word."""
        marker = self._class(**self._passwords)
        try:
            bits = marker.extract(embed_img=_swapped(image), wm_shape=self.bits, mode="bit")
        except (AssertionError, IndexError, ValueError):  # it refuses pictures that got too small
            return None, None
        return _word(bits), None


class InvisibleWatermark:
    """One method of the package invisible-watermark. It has no key: whoever installs it can read."""

    def __init__(self, secret: Secret, _: float, *, method: str, bits: int) -> None:
        import cv2
        import imwatermark

        cv2.setNumThreads(1)
        self.bits = bits
        self._method = method
        self._package = imwatermark
        if method == "rivaGan":
            _load_rivagan()

    def embed(self, image: Pixels, word: int) -> Pixels:
        """Return the marked picture."""
        encoder = self._package.WatermarkEncoder()
        encoder.set_watermark("bits", _bits(word, self.bits))
        return _swapped(encoder.encode(_swapped(image), self._method))

    def read(self, image: Pixels) -> tuple[int | None, float | None]:
        """Return the word."""
        decoder = self._package.WatermarkDecoder("bits", self.bits)
        try:
            return _word(decoder.decode(_swapped(image), self._method)), None
        except RuntimeError:  # it refuses pictures of fewer than 256 by 256 pixels
            return None, None


METHODS: dict[str, Callable[[Secret, float], Method]] = {
    OURS: Lattice,
    "blind-watermark": BlindWatermark,
    "invisible-watermark/dwtDctSvd": partial(InvisibleWatermark, method="dwtDctSvd", bits=BITS),
    "invisible-watermark/rivaGan": partial(InvisibleWatermark, method="rivaGan", bits=32),
}


def is_installed(name: str) -> bool:
    """Return whether the packages of a method can be imported."""
    try:
        METHODS[name](Secret.random(), 1.0)
    except ImportError:
        return False
    return True


def _bits(word: int, count: int) -> list[bool]:
    return [bool(word >> i & 1) for i in range(count)]


def _word(bits: Iterable[float]) -> int:
    return sum(int(bit > 0.5) << i for i, bit in enumerate(bits))


def _swapped(image: Pixels) -> Pixels:
    """Return RGB as BGR, which OpenCV and the peers expect, or BGR as RGB."""
    return np.ascontiguousarray(image[..., ::-1])


def _blind_watermark() -> Any:
    """Import the peer, which sets the start method of processes on import and fails where one is set already."""
    keep, multiprocessing.set_start_method = multiprocessing.set_start_method, lambda *_, **__: None
    try:
        import blind_watermark
    finally:
        multiprocessing.set_start_method = keep
    blind_watermark.bw_notes.close()
    return blind_watermark.WaterMark


@cache
def _load_rivagan() -> None:
    """Load the two networks for one thread: the package's own loader takes every core, and idle threads count time."""
    import onnxruntime
    from imwatermark import rivaGan

    options, folder = onnxruntime.SessionOptions(), Path(rivaGan.__file__).parent
    options.intra_op_num_threads = 1
    for part in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(folder / f"rivagan_{part}.onnx", options)
        setattr(rivaGan.RivaWatermark, part, session)
