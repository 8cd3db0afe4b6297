"""Pictures in files: what is kept, what is refused, what a viewer would show."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from countermark.core.keys import Secret
from countermark.errors import HostileFile, InputError, MissingExtra, StorageError, UnsupportedImage
from countermark.marking import Detection
from countermark.marking.image import files
from countermark.marking.image.files import content_digest, read_image, read_pixels, write_image
from countermark.marking.image.lattice import LatticeMark

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def photograph(height: int = 48, width: int = 64) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth picture with some grain, different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [200 * x / width, 200 * y / height, 100 + 60 * np.sin(x / 9) * np.cos(y / 7)]
    grain = np.random.default_rng(3).normal(0, 4, (height, width, 3))
    return np.clip(np.stack(planes, axis=-1) + grain + 20, 0, 255).astype(np.uint8)


def exif(orientation: int = 6) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = "a caption"
    tags.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    return tags.tobytes()


def png_text() -> PngInfo:
    text = PngInfo()
    text.add_text("Title", "Ein Bild")
    text.add_itxt("Description", "一幅画", "zh")
    return text


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


SOURCES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("PNG", "RGB", {"icc_profile": PROFILE, "exif": exif(), "dpi": (300, 300), "pnginfo": png_text()}),
    "png grey": ("PNG", "L", {"dpi": (72, 72)}),
    "png alpha": ("PNG", "RGBA", {"icc_profile": PROFILE, "exif": exif(), "dpi": (300, 300), "pnginfo": png_text()}),
    "png grey alpha": ("PNG", "LA", {"exif": exif(5)}),
    "png keyed": ("PNG", "RGB", {"transparency": (1, 2, 3), "dpi": (72, 72)}),
    "jpeg 4:2:0": ("JPEG", "RGB", {"quality": 85, "icc_profile": PROFILE, "exif": exif(), "dpi": (300, 300)}),
    "jpeg 4:4:4": ("JPEG", "RGB", {"quality": 92, "subsampling": 0, "comment": b"hello", "xmp": XMP}),
    "jpeg 4:2:2": ("JPEG", "RGB", {"quality": 70, "subsampling": 1}),
    "jpeg progressive": ("JPEG", "RGB", {"quality": 90, "progressive": True, "exif": exif(3)}),
    "jpeg grey": ("JPEG", "L", {"quality": 90, "dpi": (96, 96)}),
    "jpeg rgb": ("JPEG", "RGB", {"quality": 90, "keep_rgb": True}),
    "webp lossy": ("WEBP", "RGB", {"quality": 80, "icc_profile": PROFILE, "exif": exif(), "xmp": XMP}),
    "webp lossless": ("WEBP", "RGB", {"lossless": True, "exif": exif(8)}),
    "webp lossy alpha": ("WEBP", "RGBA", {"quality": 80, "icc_profile": PROFILE, "exif": exif(), "xmp": XMP}),
    "webp lossless alpha": ("WEBP", "RGBA", {"lossless": True, "exact": True, "exif": exif(8)}),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind, mode, options = SOURCES[request.param]
    path = tmp_path / "source.image"
    image = Image.fromarray(photograph()).convert(mode)
    if "A" in mode:
        image.putalpha(
            Image.linear_gradient("L").resize(image.size).point(lambda alpha: min(255, max(0, 2 * alpha - 60)))
        )
    image.save(path, format=kind, **options)
    return path


def test_what_stands_beside_the_pixels_is_kept(source: Path, tmp_path: Path) -> None:
    picture = read_image(source)
    marked = np.clip(picture.pixels.astype(int) + 3, 0, 255).astype(np.uint8)
    write_image(picture, marked, tmp_path / "marked")
    again = read_image(tmp_path / "marked")
    assert (again.format, again.mode, again.extras) == (picture.format, picture.mode, picture.extras)
    assert dict(again.encoding) == dict(picture.encoding)
    with Image.open(source) as before, Image.open(tmp_path / "marked") as after:
        assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
        assert dict(after.getexif()) == dict(before.getexif())
        for key in (
            "icc_profile",
            "exif",
            "dpi",
            "xmp",
            "comment",
            "jfif_density",
            "Title",
            "Description",
            "progressive",
            "transparency",
        ):
            assert after.info.get(key) == before.info.get(key), key
    assert (again.depth, again.key, again.had_palette) == (picture.depth, picture.key, False)
    opaque = np.ones(marked.shape[:2], bool)
    if "A" in picture.mode:
        assert np.array_equal(again.samples[..., -1], picture.samples[..., -1])
        opaque = picture.samples[..., -1] == 255
    assert abs(float(again.pixels[opaque].mean() - marked[opaque].mean())) < 0.5
    off = np.abs(again.pixels.astype(int) - marked)[opaque].mean()
    assert float(off) < (4 if picture.format != "PNG" else 1e-9)


def test_lossless_formats_keep_every_pixel(tmp_path: Path) -> None:
    pixels = photograph()
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        Image.fromarray(pixels).save(tmp_path / "a", format=kind, **options)
        picture = read_image(tmp_path / "a")
        marked = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
        write_image(picture, marked, tmp_path / "b")
        assert np.array_equal(picture.pixels, pixels)
        assert np.array_equal(read_image(tmp_path / "b").pixels, marked)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_orientation_turns_the_view_and_not_the_stored_pixels(tmp_path: Path, kind: str, orientation: int) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a", format=kind, exif=exif(orientation))
    picture = read_image(tmp_path / "a")
    write_image(picture, picture.pixels, tmp_path / "b")
    assert picture.pixels.shape == (48, 64, 3)
    seen = read_pixels(tmp_path / "b")
    with Image.open(tmp_path / "b") as image:
        assert image.getexif()[0x0112] == orientation
        assert np.array_equal(seen, np.array(ImageOps.exif_transpose(image).convert("RGB")))
    assert seen.shape == ((64, 48, 3) if orientation > 4 else (48, 64, 3))


@pytest.mark.parametrize(("quality", "orientation"), [(20, 1), (75, 5), (90, 6)])
def test_a_mark_survives_its_own_file(tmp_path: Path, quality: int, orientation: int) -> None:
    mark, word = LatticeMark(Secret(b"k" * 32)), 0x0123_4567_89AB_CDEF
    photo = Image.fromarray(skimage.data.coffee()[:320, :400])
    photo.save(tmp_path / "a", format="JPEG", quality=quality, exif=exif(orientation))
    picture = read_image(tmp_path / "a")
    write_image(picture, mark.embed(picture.pixels, word), tmp_path / "b")
    for pixels in (read_image(tmp_path / "b").pixels, read_pixels(tmp_path / "b")):
        found = mark.detect(pixels)
        assert isinstance(found, Detection)
        assert (found.significant(1e-9), found.word) == (True, word)


def test_noise_at_top_quality_is_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    Image.fromarray(noise // 9).save(tmp_path / "a", format="JPEG", quality=100, subsampling=0, progressive=True)
    picture = read_image(tmp_path / "a")
    write_image(picture, noise, tmp_path / "b")
    assert np.abs(read_image(tmp_path / "b").pixels.astype(int) - noise).max() < 8


def test_old_promises_are_not_copied(tmp_path: Path) -> None:
    """Neither the colour transform of the old encoder nor content credentials over the old bytes."""
    Image.fromarray(photograph()).save(tmp_path / "a", format="JPEG", keep_rgb=True)
    data = (tmp_path / "a").read_bytes()
    credentials = b"\xff\xeb\0\x0bJP\0\1c2pa!"
    (tmp_path / "a").write_bytes(data[:2] + credentials + b"\xff\xe2\0\x08MPF\0xx" + data[2:] + b"trailing")
    picture = read_image(tmp_path / "a")
    write_image(picture, picture.pixels, tmp_path / "b")
    written = (tmp_path / "b").read_bytes()
    assert b"Adobe" in data
    assert all(part not in written for part in (b"Adobe", b"MPF", b"c2pa", b"trailing"))
    assert np.abs(read_image(tmp_path / "b").pixels.astype(int) - picture.pixels).mean() < 3


def test_the_suffix_of_the_name_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.jpg", format="PNG")
    picture = read_image(tmp_path / "a.jpg")
    assert (picture.format, picture.suffix) == ("PNG", ".png")
    write_image(picture, picture.pixels, tmp_path / "b.webp")
    assert (tmp_path / "b.webp").read_bytes().startswith(b"\x89PNG")


def test_write_refuses_other_pixels(tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    for pixels in (picture.pixels[1:], picture.pixels[..., 0], picture.pixels.astype(np.float32)):
        with pytest.raises(InputError, match="shape and type"):
            write_image(picture, pixels, tmp_path / "b")  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="cannot write"):
        write_image(picture, picture.pixels, tmp_path / "missing" / "b.png")


def rgba(colour: str = "#ff000080") -> Image.Image:
    return Image.new("RGBA", (6, 4), colour)


UNSUPPORTED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "bilevel png": ("mode 1", lambda p: Image.new("1", (6, 4)).save(p, format="PNG")),
    "clear png": ("nothing of it is visible", lambda p: rgba("#ff000000").save(p, format="PNG")),
    "png of its transparent colour": (
        "nothing of it is visible",
        lambda p: Image.new("L", (6, 4), 7).save(p, format="PNG", transparency=7),
    ),
    "clear webp": ("nothing of it is visible", lambda p: rgba("#ff000000").save(p, format="WEBP", lossless=True)),
    "apng": ("animated PNG", lambda p: animated(p, "PNG")),
    "cmyk jpeg": ("mode CMYK", lambda p: Image.new("CMYK", (6, 4)).save(p, format="JPEG")),
    "animated webp": ("animated WEBP", lambda p: animated(p, "WEBP")),
    "gif": ("GIF", lambda p: Image.new("P", (6, 4)).save(p, format="GIF")),
    "bmp": ("BMP", lambda p: Image.new("RGB", (6, 4)).save(p, format="BMP")),
    "tiff": ("TIFF", lambda p: Image.new("RGB", (6, 4)).save(p, format="TIFF")),
    "text": ("not a picture of a known format", lambda p: p.write_text("hello")),
    "empty": ("not a picture of a known format", lambda p: p.write_bytes(b"")),
    "svg": ("not a picture of a known format", lambda p: p.write_text("<svg/>")),
    "eps": ("not a picture of a known format", lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n")),
}


def animated(path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path, format=kind, save_all=True, append_images=frames[1:])


def rgb16() -> bytes:
    return png(6, 4, 16, 2, (b"\0" + b"\xab\xcd" * 18) * 4)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_marked_yet_is_named(tmp_path: Path, name: str) -> None:
    message, make = UNSUPPORTED[name]
    make(tmp_path / "a")
    with pytest.raises(UnsupportedImage, match=message) as caught:
        read_image(tmp_path / "a")
    assert caught.value.hint


@pytest.mark.parametrize("name", [name for name, (message, _) in UNSUPPORTED.items() if "known format" not in message])
def test_it_is_examined_all_the_same(tmp_path: Path, name: str) -> None:
    UNSUPPORTED[name][1](tmp_path / "a")
    pixels = read_pixels(tmp_path / "a")
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)


def test_how_other_modes_are_flattened(tmp_path: Path) -> None:
    rgba("#ff000080").save(tmp_path / "a.png")
    assert np.allclose(read_pixels(tmp_path / "a.png")[0, 0], [255, 127, 127], atol=1)
    Image.fromarray(np.full((4, 6), 0xABCD, np.uint16)).save(tmp_path / "b.png")
    assert (read_pixels(tmp_path / "b.png") == 0xAB).all()
    (tmp_path / "c.png").write_bytes(rgb16())
    assert (read_pixels(tmp_path / "c.png") == 0xAB).all()
    animated(tmp_path / "d.webp", "WEBP")
    assert np.allclose(read_pixels(tmp_path / "d.webp")[0, 0], [255, 0, 0], atol=4)
    Image.fromarray(np.full((4, 6), 0.5, np.float32)).save(tmp_path / "e.tiff")
    with pytest.raises(UnsupportedImage, match="mode F"):
        read_pixels(tmp_path / "e.tiff")


def jpeg_bytes() -> bytes:
    target = io.BytesIO()
    Image.fromarray(photograph()).save(target, format="JPEG", exif=exif())
    return target.getvalue()


def webp_bytes() -> bytes:
    target = io.BytesIO()
    Image.fromarray(photograph()).save(target, format="WEBP")
    return target.getvalue()


def bomb() -> bytes:
    """60000 x 60000 pixels in 4 MB: 3.6 gigapixels."""
    return png(60000, 60000, 8, 2, b"\0" * 10000)


MUSEUM: dict[str, Callable[[], bytes]] = {
    "png bomb": bomb,
    "deep png bomb": lambda: png(60000, 60000, 16, 6, b"\0" * 10000),
    "deep png cut in its data": lambda: png(64, 48, 16, 2, photograph().tobytes() * 2)[:-400],
    "deep png of an unknown filter": lambda: png(6, 4, 16, 2, (b"\7" + b"x" * 36) * 4),
    "deep png without data": lambda: png(64, 48, 16, 4, b""),
    "deep png of an unknown kind": lambda: png(6, 4, 16, 7, (b"\0" + b"x" * 36) * 4),
    "deep png with a palette": lambda: png(6, 4, 16, 3, (b"\0" + b"x" * 12) * 4),
    "png with half a transparent colour": lambda: png(6, 4, 8, 2, (b"\0" + b"x" * 18) * 4, chunk(b"tRNS", b"\0\1\0")),
    "png of no width": lambda: png(0, 5, 8, 2, b""),
    "png cut in its data": lambda: png(64, 48, 8, 2, photograph().tobytes())[:-400],
    "png without data": lambda: png(64, 48, 8, 2, b""),
    "png with a broken checksum": lambda: png(6, 4, 8, 2, (b"\0" + b"x" * 18) * 4).replace(
        b"IHDR\0\0\0\6", b"IHDR\0\0\0\7"
    ),
    "png of its magic alone": lambda: b"\x89PNG\r\n\x1a\n",
    "png with a chunk of 4 GB": lambda: png(6, 4, 8, 2, b"")[:33] + struct.pack(">I", 2**32 - 1) + b"tEXt",
    "png with a text bomb": lambda: png(
        6, 4, 8, 2, (b"\0" + b"x" * 18) * 4, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(80 * 2**20)))
    ),
    "jpeg cut in its scan": lambda: jpeg_bytes()[:-200],
    "jpeg cut in its tables": lambda: jpeg_bytes()[:300],
    "jpeg of its magic alone": lambda: b"\xff\xd8\xff",
    "jpeg with a segment beyond its end": lambda: b"\xff\xd8\xff\xe1\xff\xffExif\0\0",
    "webp cut": lambda: webp_bytes()[:-100],
    "webp of its magic alone": lambda: b"RIFF\4\0\0\0WEBP",
    "webp with a wrong size": lambda: webp_bytes()[:16] + b"\xff\xff\xff\x7f" + webp_bytes()[20:],
    "gif cut": lambda: b"GIF89a\6\0\4\0",
    "bmp with a huge header": lambda: b"BM" + b"\xff" * 60,
    "tiff with its directory beyond its end": lambda: b"II*\0\xff\xff\xff\x7f",
    "tiff in a loop": lambda: b"II*\0\x08\0\0\0\1\0" + b"\0" * 12 + b"\x08\0\0\0",
}


@pytest.mark.parametrize("name", MUSEUM)
def test_the_museum_of_hostile_pictures(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(MUSEUM[name]())
    with pytest.raises(HostileFile):
        read_pixels(tmp_path / "a")
    with pytest.raises((HostileFile, UnsupportedImage)):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("make", [jpeg_bytes, webp_bytes, rgb16, lambda: png(6, 4, 8, 2, (b"\0" + b"x" * 18) * 4)])
def test_no_mutation_leaks_a_foreign_exception(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data, rng = make(), np.random.default_rng(5)
    for _ in range(150):
        mutated = bytearray(data)
        for position in rng.integers(0, len(data), 3):
            mutated[position] = rng.integers(0, 256)
        (tmp_path / "a").write_bytes(mutated[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else mutated)
        for read in (read_image, read_pixels):
            with contextlib.suppress(InputError):
                read(tmp_path / "a")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    monkeypatch.setattr(files, "MAX_PIXELS", 48 * 64 - 1)
    with pytest.raises(HostileFile, match="pixels"):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100)
    with pytest.raises(HostileFile, match="over the limit"):
        read_image(tmp_path / "a.png")


def test_without_pillow_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra):
        read_image(tmp_path / "a.png")


def test_a_hostile_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(MUSEUM["png cut in its data"]())
    with pytest.raises(HostileFile, match=r"torn\.png is not a readable picture"):
        read_image(tmp_path / "torn.png")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe"):
        for read in (read_image, read_pixels, content_digest):
            with pytest.raises(InputError):
                read(path)


def test_content_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 10**6)
    assert content_digest(tmp_path / "a") == hashlib.sha256(b"abc" * 10**6).digest()
