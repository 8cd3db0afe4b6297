"""Transparency, 16 bits and palettes: what a marked copy keeps, and what is seen of it."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from countermark.core.keys import Secret
from countermark.errors import InputError
from countermark.marking import Detection
from countermark.marking.image import deep
from countermark.marking.image.containers import png_chunk, png_key_chunk, png_with
from countermark.marking.image.files import Picture, read_image, read_pixels, write_image
from countermark.marking.image.lattice import LatticeMark

Array = NDArray[Any]
SIZE = (48, 64)


def layers(channels: int, dtype: type = np.uint8, shape: tuple[int, int] = SIZE) -> Array:
    """Return samples without regularity; a third of the alpha is 0, a third opaque."""
    rng, top = np.random.default_rng(channels), np.iinfo(dtype).max
    samples = rng.integers(0, top, (*shape, channels), dtype=dtype, endpoint=True)
    if channels in (2, 4):
        third = rng.integers(0, 3, shape)
        samples[third == 0, -1], samples[third == 1, -1] = 0, top
    return samples


def encoded(samples: Array, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(samples.squeeze()).save(target, format=kind, **options)
    return target.getvalue()


def keyed(samples: Array) -> bytes:
    """Return a PNG in which the colour of the first pixel, which four have, counts as transparent."""
    samples[:2, :2] = samples[0, 0]
    plain = deep.encode(samples) if samples.dtype == np.uint16 else encoded(samples)
    return png_with(plain, [png_key_chunk(samples[0, 0].tolist())])


def palette(**options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(layers(3)).quantize(200).save(target, format="PNG", **options)
    return target.getvalue()


SOURCES: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "grey, alpha": (lambda: encoded(layers(2)), "LA", 8),
    "rgb, alpha": (lambda: encoded(layers(4)), "RGBA", 8),
    "grey, key": (lambda: keyed(layers(1)), "L", 8),
    "rgb, key": (lambda: keyed(layers(3)), "RGB", 8),
    "grey, 16 bits": (lambda: deep.encode(layers(1, np.uint16)), "L", 16),
    "grey, alpha, 16 bits": (lambda: deep.encode(layers(2, np.uint16)), "LA", 16),
    "rgb, 16 bits": (lambda: deep.encode(layers(3, np.uint16)), "RGB", 16),
    "rgb, alpha, 16 bits": (lambda: deep.encode(layers(4, np.uint16)), "RGBA", 16),
    "grey, key, 16 bits": (lambda: keyed(layers(1, np.uint16)), "L", 16),
    "rgb, key, 16 bits": (lambda: keyed(layers(3, np.uint16)), "RGB", 16),
    "palette": (palette, "RGB", 8),
    "palette, alpha": (lambda: palette(transparency=bytes(range(100)) + b"\xff" * 100), "RGBA", 8),
    "palette, key": (lambda: palette(transparency=7), "RGBA", 8),
    "lossless webp, alpha": (lambda: encoded(layers(4), "WEBP", lossless=True, exact=True), "RGBA", 8),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Picture:
    make, mode, depth = SOURCES[request.param]
    (tmp_path / "source").write_bytes(make())
    picture = read_image(tmp_path / "source")
    assert (picture.mode, picture.depth, picture.had_palette) == (mode, depth, "palette" in request.param)
    return picture


def written(picture: Picture, pixels: Array, path: Path) -> Picture:
    write_image(picture, pixels, path)
    return read_image(path)


def hidden(picture: Picture) -> NDArray[np.bool_]:
    if picture.key is not None:
        return np.asarray((picture.samples == np.array(picture.key)).all(axis=2))
    return np.asarray(picture.samples[..., -1] == 0) if "A" in picture.mode else np.zeros(SIZE, bool)


def test_nothing_changes_where_nothing_was_marked(source: Picture, tmp_path: Path) -> None:
    again = written(source, source.pixels, tmp_path / "b")
    assert np.array_equal(again.samples, source.samples)
    assert (again.mode, again.depth, again.key, again.format) == (source.mode, source.depth, source.key, source.format)


def test_a_mark_changes_what_is_seen_and_no_more(source: Picture, tmp_path: Path) -> None:
    shift = np.random.default_rng(0).integers(-9, 10, (*SIZE, 1))
    marked = np.clip(source.pixels + shift, 0, 255).astype(np.uint8)
    again = written(source, marked, tmp_path / "b")
    assert np.array_equal(hidden(again), hidden(source))
    assert np.array_equal(again.samples[hidden(source)], source.samples[hidden(source)])
    opaque = ~hidden(source)
    if "A" in source.mode:
        assert np.array_equal(again.samples[..., -1], source.samples[..., -1])
        opaque = source.samples[..., -1] == np.iinfo(source.samples.dtype).max
    assert np.abs(again.pixels[opaque].astype(int) - marked[opaque]).max() <= (source.key is not None)
    assert np.mean(again.pixels[opaque] != marked[opaque]) < 0.01
    assert np.abs(again.pixels.astype(int) - source.pixels).max() <= 10


def test_what_is_seen_is_what_the_picture_shows_on_white(source: Picture, tmp_path: Path) -> None:
    assert np.array_equal(read_pixels(tmp_path / "source"), source.pixels)
    assert (source.pixels[hidden(source)] == 255).all()


def test_low_bits_of_16_are_kept(tmp_path: Path) -> None:
    samples = layers(3, np.uint16) // 2 + 9000
    (tmp_path / "a").write_bytes(deep.encode(samples))
    picture = read_image(tmp_path / "a")
    again = written(picture, picture.pixels + np.uint8(3), tmp_path / "b")
    assert np.array_equal(again.samples, samples + 3 * 257)


def test_a_colour_beside_the_transparent_one_does_not_become_transparent(tmp_path: Path) -> None:
    samples = np.full((4, 6, 3), 101, np.uint8)
    samples[0] = 100
    (tmp_path / "a").write_bytes(png_with(encoded(samples), [png_key_chunk((100, 100, 100))]))
    picture = read_image(tmp_path / "a")
    again = written(picture, picture.pixels - np.uint8(1), tmp_path / "b")
    assert (again.samples[0] == 100).all()
    assert (again.samples[1:] == (100, 100, 101)).all()


@pytest.mark.parametrize(("depth", "key", "shown"), [(2, 1, 85), (4, 3, 51)])
def test_a_transparent_grey_of_few_bits(tmp_path: Path, depth: int, key: int, shown: int) -> None:
    header = struct.pack(">IIBBBBB", 4, 1, depth, 0, 0, 0, 0)
    row = sum(value << (depth * (3 - i)) for i, value in enumerate((0, key, 2, key))) << 16 - 4 * depth
    parts = [png_chunk(b"IHDR", header), png_chunk(b"bKGD", b"\0\1"), png_chunk(b"tRNS", bytes((0, key)))]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    data += png_chunk(b"IDAT", zlib.compress(b"\0" + row.to_bytes(2, "big")[: depth // 2])) + png_chunk(b"IEND", b"")
    (tmp_path / "a").write_bytes(data)
    picture = read_image(tmp_path / "a")
    assert (picture.key, picture.extras) == ((shown,), ())
    assert picture.pixels[0, :, 0].tolist() == [0, 255, 2 * 255 // ((1 << depth) - 1), 255]
    assert np.array_equal(read_pixels(tmp_path / "a"), picture.pixels)


def test_a_webp_whose_alpha_says_nothing_has_none(tmp_path: Path) -> None:
    """Encoders leave it out, so that a copy would have another mode."""
    samples = layers(4)
    samples[..., 3] = 255
    (tmp_path / "a").write_bytes(encoded(samples, "WEBP", lossless=True))
    assert read_image(tmp_path / "a").mode == "RGB"


def test_a_lossy_webp_keeps_alpha(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(layers(4), "WEBP", quality=80))
    picture = read_image(tmp_path / "a")
    again = written(picture, 255 - picture.pixels // 2, tmp_path / "b")
    assert np.array_equal(again.samples[..., 3], picture.samples[..., 3])


@pytest.mark.parametrize("kind", ["rgb, 16 bits", "rgb, alpha", "rgb, alpha, 16 bits", "rgb, key"])
def test_a_mark_survives_its_own_file(tmp_path: Path, kind: str) -> None:
    """And is read from the copy on white, where a fifth of it is hidden by a disc and its soft edge."""
    photo = skimage.data.coffee()[:320, :400].astype(np.uint16)
    samples = photo * 257 + np.random.default_rng(1).integers(-99, 99, photo.shape)
    samples = np.clip(samples, 0, 65535).astype(np.uint16)
    y, x = np.mgrid[:320, :400]
    disc = np.clip((np.hypot(y - 160, x - 200) - 80) / 20, 0, 1)[..., np.newaxis] * 65535
    if "alpha" in kind:
        samples = np.concatenate((samples, disc.astype(np.uint16)), axis=2)
    if "16" not in kind:
        samples = (samples >> 8).astype(np.uint8)
    data = keyed(samples) if "key" in kind else deep.encode(samples) if "16" in kind else encoded(samples)
    (tmp_path / "a").write_bytes(data)
    picture, mark, word = read_image(tmp_path / "a"), LatticeMark(Secret(b"k" * 32)), 0x0123_4567_89AB_CDEF
    write_image(picture, mark.embed(picture.pixels, word), tmp_path / "b")
    found = mark.detect(read_pixels(tmp_path / "b"))
    assert isinstance(found, Detection)
    assert (found.significant(1e-9), found.word) == (True, word)


@pytest.mark.parametrize("name", ["rgb, alpha, 16 bits", "rgb, key, 16 bits", "grey, alpha, 16 bits", "palette, alpha"])
def test_no_mutation_leaks_a_foreign_exception(tmp_path: Path, name: str) -> None:
    data, rng = SOURCES[name][0](), np.random.default_rng(5)
    for _ in range(60):
        mutated = bytearray(data)
        # Half of the blows go where the header and the first chunks are.
        for position in (*rng.integers(0, len(data), 2), *rng.integers(8, 60, 2)):
            mutated[position] = rng.integers(0, 256)
        (tmp_path / "a").write_bytes(mutated[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else mutated)
        for read in (read_image, read_pixels):
            with contextlib.suppress(InputError):
                read(tmp_path / "a")
