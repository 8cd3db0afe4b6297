"""OpenCV's libpng as the outside decoder of PNG with 16 bits and with transparency, and as their outside encoder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from countermark.marking.image import deep
from countermark.marking.image.containers import PNG_MAGIC, png_chunk
from countermark.marking.image.files import read_image, read_pixels, write_image

cv2 = pytest.importorskip("cv2")
Array = NDArray[Any]

# The passes of an interlaced PNG: first column and row, steps between columns and rows (section 8.2).
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def picture(channels: int, dtype: type = np.uint16) -> Array:
    """A smooth ramp, so that every filter is worth using somewhere, with noise in the low bits."""
    y, x = np.mgrid[0:37, 0:53]
    planes = [(800 * x + 300 * y * i) % 60000 for i in range(1, channels + 1)]
    noisy = np.stack(planes, axis=-1) + np.random.default_rng(channels).integers(0, 300, (37, 53, channels))
    return (noisy >> (0 if dtype is np.uint16 else 8)).astype(dtype)


def decoded(path: Path) -> Array:
    """Decode by OpenCV, with channels in our order."""
    pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return np.concatenate((pixels[..., 2::-1], pixels[..., 3:]), axis=2) if pixels.shape[2] > 2 else pixels


def write(path: Path, samples: Array) -> None:
    """Encode by OpenCV."""
    bgr = np.concatenate((samples[..., 2::-1], samples[..., 3:]), axis=2) if samples.shape[2] > 2 else samples
    assert cv2.imwrite(str(path), bgr.squeeze())


def by_hand(samples: Array, filters: list[int], *, interlaced: bool) -> bytes:
    """Encode byte by byte, as the specification's text has it, with given filter types in turn."""
    step = 2 * samples.shape[2]
    passes = [samples[y0::dy, x0::dx] for x0, y0, dx, dy in ADAM7] if interlaced else [samples]
    stream = bytearray()
    for part in passes:
        above = bytes(part.shape[1] * step)
        for number, row in enumerate(part if part.shape[1] else ()):
            raw, kind = row.astype(">u2").tobytes(), filters[number % len(filters)]
            stream.append(kind)
            for i, value in enumerate(raw):
                a, c = (raw[i - step], above[i - step]) if i >= step else (0, 0)
                b = above[i]
                nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
                stream.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
            above = raw
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, interlaced)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(stream))), (b"IEND", b""))
    return PNG_MAGIC + b"".join(png_chunk(kind, body) for kind, body in parts)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_both_decode_what_either_encodes(tmp_path: Path, channels: int, dtype: type) -> None:
    samples = picture(channels, dtype)
    write(tmp_path / "a.png", samples)
    ours = read_image(tmp_path / "a.png")
    assert np.array_equal(ours.samples, samples)
    write_image(ours, 255 - ours.pixels, tmp_path / "b.png")
    again = read_image(tmp_path / "b.png")
    assert np.array_equal(decoded(tmp_path / "b.png"), again.samples)
    assert again.samples.dtype == dtype
    assert np.array_equal(read_pixels(tmp_path / "b.png"), again.pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("filters", [[0], [1], [2], [3], [4], [0, 1, 2, 3, 4, 4, 3, 1]])
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_filter_and_interlacing(tmp_path: Path, channels: int, filters: list[int], interlaced: bool) -> None:
    samples = picture(channels)[:11, :9]
    data = by_hand(samples, filters, interlaced=interlaced)
    assert np.array_equal(deep.read(data), samples)
    if channels != 2:  # OpenCV makes BGRA of it
        (tmp_path / "a.png").write_bytes(data)
        assert np.array_equal(decoded(tmp_path / "a.png"), samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_filters_pay(channels: int) -> None:
    """A smooth picture takes less than unfiltered, and another decoder reads it."""
    y, x = np.mgrid[0:200, 0:300]
    samples = np.stack([(190 * x + 130 * y * i) % 65536 for i in range(1, channels + 1)], axis=-1).astype(np.uint16)
    data = deep.encode(samples)
    assert len(data) < 0.2 * len(zlib.compress(samples.astype(">u2").tobytes()))
    assert np.array_equal(deep.read(data), samples)
