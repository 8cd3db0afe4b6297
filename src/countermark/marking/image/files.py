"""Pictures in files: read to be marked, written back as they were; read liberally to be examined.

``read_image`` and ``write_image`` keep the format, the size in pixels, and all that stands beside the pixels (EXIF with
its orientation, ICC profile, density, XMP, text), so that a marked picture looks and behaves like its source. The mark
goes into the pixels as they are stored; the orientation tag turns mark and picture together. ``read_pixels`` turns them
as a viewer does. The format is decided by content, never by the name. Compression is kept too (JPEG tables, sampling
and scans, WebP's kind), except where it is too coarse for any mark to survive it. So are transparency, and 16 bits per
sample (``samples``, ``deep``). A palette has no room for a mark: such a PNG is written in full colours.

Laws, for every picture ``p`` that ``read_image`` returns:
    after ``write_image(p, p.pixels, path)``, ``read_image(path)`` has the same format, mode, depth, size, alpha, key
    and extras, for PNG and lossless WebP the same samples;
    for these two, every ``pixels`` written is read again wherever the picture is opaque (grey ones where it is grey;
    what would take a PNG's transparent colour comes one level beside it).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countermark.errors import CountermarkError, HostileFile, InputError, StorageError, UnsupportedImage, require
from countermark.marking.image import deep
from countermark.marking.image.containers import (
    JPEG_MAGIC,
    PNG_MAGIC,
    jpeg_extras,
    jpeg_with,
    png_depth,
    png_extras,
    png_key,
    png_key_chunk,
    png_with,
    webp_is_lossless,
)
from countermark.marking.image.samples import Key, Pixels, Samples, bands, is_visible, moved, to_8_bits, view

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_FILE_BYTES = 512 * 2**20
MAX_PIXELS = 200_000_000
# Coarser luma steps than quality 75 has would erase the mark in the act of writing it: at 30 nothing is found again. At
# 75 a picture of quality 50 grows by a third and its mark reads like one of quality 75.
_JPEG_QUALITY = 75
# A WebP does not say its quality. At 90 the mark reads as in a JPEG of 75; the file is a third larger than at 80.
_WEBP_QUALITY = 90
_ORIENTATION = 0x0112
_SUFFIXES: Final = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture that can be marked.

    Attributes:
        format: "PNG", "JPEG" or "WEBP".
        pixels: (H, W, 3) uint8 as shown on white, before any turn by the orientation tag; grey stands three times.
        samples: (H, W, channels) uint8 or uint16 as stored, or the colours that a palette stood for.
        key: the one colour that counts as transparent, if the file names one.
        had_palette: whether the file had one; it is written in full colours.
        encoding: what the encoder needs to write alike (JPEG tables and subsampling, WebP kind and metadata).
        extras: PNG chunks or JPEG segments to copy.
    """

    format: str
    pixels: Pixels
    samples: Samples
    key: Key
    had_palette: bool
    encoding: Mapping[str, Any]
    extras: tuple[bytes, ...]

    @property
    def mode(self) -> str:
        """How many channels are stored: "L", "LA", "RGB" or "RGBA"."""
        return _MODES[self.samples.shape[2]]

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 * self.samples.itemsize

    @property
    def suffix(self) -> str:
        """The usual file suffix of the format, with its dot."""
        return _SUFFIXES[self.format]


def read_image(path: Path) -> Picture:
    """Read a picture to be marked: PNG (8 or 16 bits), JPEG or WebP; RGB or greyscale, with transparency or without.

    Raises:
        UnsupportedImage: another mode or format, animated, or transparent all over; the message says which.
        HostileFile: truncated, malformed, over 512 MiB or 200 million pixels.
        InputError: unreadable.
        MissingExtra: Pillow is not installed.
    """
    data = read_bytes(path)
    with _decoding(path), _open(path, data) as image:
        kind, had_palette = str(image.format), image.mode == "P"
        _refuse(path, _problem(kind, image))
        encoding = _ENCODINGS[kind](image, data) if kind in _ENCODINGS else {}
        extras = _EXTRAS[kind](data) if kind in _EXTRAS else ()
        samples, key = _stored(kind, image, data)
        _refuse(path, "" if is_visible(samples, key) else "nothing of it is visible")
        return Picture(kind, view(samples, key), samples, key, had_palette, encoding, extras)


def write_image(picture: Picture, pixels: Pixels, path: Path) -> None:
    """Write ``pixels`` (H, W, 3) uint8 to ``path`` as ``picture`` was stored, whatever the suffix of ``path``.

    What changed of the pixels changes in the samples; alpha, and colours that nothing is seen of, stay as they are.

    Raises:
        InputError: another shape or type than the picture's pixels.
        StorageError: the file cannot be written.
    """
    if pixels.shape != picture.pixels.shape or pixels.dtype != np.uint8:
        raise InputError("the pixels do not have the picture's shape and type")
    samples = moved(picture.samples, picture.key, picture.pixels, pixels)
    encoded = deep.encode(samples) if picture.depth == 16 else _encode(samples, picture)
    if picture.format == "PNG":
        key = () if picture.key is None else (png_key_chunk(picture.key),)
        encoded = png_with(encoded, (*picture.extras, *key))
    elif picture.format == "JPEG":
        encoded = jpeg_with(encoded, picture.extras)
    try:
        path.write_bytes(encoded)
    except OSError as error:
        raise StorageError("cannot write {path}: {reason}", path=path, reason=error.strerror) from error


def read_pixels(path: Path) -> Pixels:
    """Read a picture to be examined, as a viewer shows it: (H, W, 3) uint8.

    PNG, JPEG, WebP, GIF, BMP and TIFF; of several frames the first. Transparency is laid on white, 16 bits are rounded
    to 8, CMYK is converted without its profile, and the orientation tag is applied.

    Raises:
        UnsupportedImage, HostileFile, InputError, MissingExtra: as ``read_image``.
    """
    return decode_pixels(read_bytes(path), path)[0]


def decode_pixels(data: bytes, path: Path, *, animated: bool = True) -> tuple[Pixels, bool]:
    """Decode a picture as ``read_pixels`` does, and say whether it has more than 8 bits per sample.

    Args:
        data: the file.
        path: what errors name.
        animated: take the first of several frames; if false, refuse them.

    Raises:
        UnsupportedImage, HostileFile, MissingExtra: as ``read_image``.
    """
    with _decoding(path), _open(path, data) as image:
        if not animated and getattr(image, "n_frames", 1) > 1:
            raise UnsupportedImage(
                "{path} has several frames",
                hint="Save the frames as single images, or skip broken images.",
                path=path,
            )
        kind, orientation = str(image.format), image.getexif().get(_ORIENTATION, 1)
        deep = image.mode.startswith("I;16") or (kind == "PNG" and png_depth(data) == 16)
        pixels = _flattened(path, image) if _problem(kind, image) else view(*_stored(kind, image, data))
        return _turned(pixels, orientation), deep


def content_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes (32 bytes), read as a stream.

    Raises:
        InputError: unreadable.
    """
    with _open_file(path) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@contextlib.contextmanager
def _open_file(path: Path) -> Iterator[io.BufferedReader]:
    try:
        # Non-blocking, so that a pipe cannot hang us before it is refused; no effect on regular files.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputError("{path} is not a regular file", path=path)
            yield stream
    except OSError as error:
        raise InputError("cannot read {path}: {reason}", path=path, reason=error.strerror) from error


def read_bytes(path: Path) -> bytes:
    """Return a stranger's file.

    Raises:
        InputError: unreadable, or no regular file.
        HostileFile: over 512 MiB.
    """
    with _open_file(path) as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise HostileFile("{path} is over the limit of 512 MiB", path=path)
    return data


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on malformed bytes, which can be any exception, into ours."""
    try:
        yield
    except Exception as error:
        # What names the file already, and what is not about the file, is passed on.
        if isinstance(error, CountermarkError) and ("path" in error.params or not isinstance(error, HostileFile)):
            raise
        raise HostileFile("{path} is not a readable picture: {reason}", path=path, reason=error) from error


def _open(path: Path, data: bytes) -> ImageFile:
    """Parse the header by the format's own plugin, chosen by magic; no other plugin sees a stranger's bytes."""
    require("PIL", "image")
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    stream = io.BytesIO(data)
    image: ImageFile
    if data.startswith(PNG_MAGIC):
        image = PngImagePlugin.PngImageFile(stream)
    elif data.startswith(JPEG_MAGIC):
        image = JpegImagePlugin.JpegImageFile(stream)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        image = WebPImagePlugin.WebPImageFile(stream)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        image = GifImagePlugin.GifImageFile(stream)
    elif data.startswith(b"BM"):
        image = BmpImagePlugin.BmpImageFile(stream)
    elif data.startswith((b"II*\0", b"MM\0*")):
        image = TiffImagePlugin.TiffImageFile(stream)
    else:
        raise UnsupportedImage(
            "{path} is not a picture of a known format",
            hint="Give a PNG, JPEG or WebP file; GIF, BMP and TIFF can be traced, not marked.",
            path=path,
        )
    if image.width * image.height > MAX_PIXELS:
        raise HostileFile("{path} has more than 200 million pixels", path=path)
    return image


def _refuse(path: Path, problem: str) -> None:
    if problem:
        raise UnsupportedImage(
            "{path}: not marked yet: {problem}",
            hint="Convert it to RGB or greyscale PNG, JPEG or WebP first.",
            path=path,
            problem=problem,
        )


def _problem(kind: str, image: ImageFile) -> str:
    """Say why a picture cannot be marked, in a word or two; "" where it can."""
    if kind not in _SUFFIXES:
        return kind
    if getattr(image, "is_animated", False):
        return "animated " + kind
    # Pillow calls grey of 16 bits "I;16".
    return "" if image.mode in (*_MODES.values(), "P", "I;16") else "mode " + image.mode


def _stored(kind: str, image: ImageFile, data: bytes) -> tuple[Samples, Key]:
    """Return the samples of a picture without a ``_problem``, and the colour that counts as transparent."""
    key = png_key(data) if kind == "PNG" else None
    if kind == "PNG" and png_depth(data) == 16:
        return deep.read(data), key
    if image.mode == "P":
        return _array(image.convert("RGBA" if "transparency" in image.info else "RGB")), None
    samples = _array(image)
    # Encoders of WebP leave out an alpha channel that says nothing.
    is_opaque = kind == "WEBP" and image.mode == "RGBA" and bool((samples[..., 3] == 255).all())
    return (np.ascontiguousarray(samples[..., :3]) if is_opaque else samples), key


def _array(image: Image) -> Samples:
    """Return an image's samples, (H, W, channels); band by band, as NumPy's own way holds them three times."""
    samples = np.empty((image.height, image.width, len(image.getbands())), dtype=np.uint8)
    image.load()
    for rows in bands(samples):
        part = image.crop((0, rows.start, image.width, min(rows.stop, image.height)))
        samples[rows] = np.asarray(part).reshape(samples[rows].shape)
    return samples


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn pixels as the orientation tag asks (TIFF 6.0, tag 274); what is none of its eight values turns nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _jpeg_encoding(image: Any, data: bytes) -> dict[str, Any]:
    from PIL.JpegImagePlugin import get_sampling

    progressive = {"progressive": bool(image.info.get("progressive"))}
    luma, *chroma = (image.quantization[table] for _, _, _, table in image.layer[:2])
    tables = [[min(steps) for steps in zip(luma, _coarsest_steps(), strict=True)], *chroma]
    if image.mode == "L":
        return {"qtables": tables, **progressive}
    # An unusual sampling (4:4:0, 4:1:1) is written in full: larger, and nothing is lost.
    return {"qtables": tables, "subsampling": max(get_sampling(image), 0), **progressive}


def _coarsest_steps() -> Sequence[int]:
    """Return the luma table of ``_JPEG_QUALITY``, taken from the encoder."""
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    target = io.BytesIO()
    Image.new("L", (1, 1)).save(target, format="JPEG", quality=_JPEG_QUALITY)
    return list(JpegImageFile(io.BytesIO(target.getvalue())).quantization[0])


def _webp_encoding(image: Any, data: bytes) -> dict[str, Any]:
    metadata = {key: image.info[key] for key in ("icc_profile", "exif", "xmp") if image.info.get(key)}
    # "exact" keeps the colours that nothing is seen of.
    return {"lossless": webp_is_lossless(data), "quality": _WEBP_QUALITY, "exact": True, **metadata}


_ENCODINGS: Final = {"JPEG": _jpeg_encoding, "WEBP": _webp_encoding}
_EXTRAS: Final = {"PNG": png_extras, "JPEG": jpeg_extras}


def _encode(samples: Samples, picture: Picture) -> bytes:
    import PIL.Image

    image = PIL.Image.fromarray(samples[..., 0] if picture.mode == "L" else samples)
    # Pillow's buffer for progressive JPEG holds 16 bits per pixel; noise at top quality needs more and goes baseline.
    for encoding in (picture.encoding, {**picture.encoding, "progressive": False}):
        target = io.BytesIO()
        with contextlib.suppress(OSError):
            image.save(target, format=picture.format, **encoding)
            return target.getvalue()
    raise InputError("the picture cannot be encoded as {format}", format=picture.format)


def _flattened(path: Path, image: Image) -> Pixels:
    """Return a picture of any mode as it is seen on white."""
    if image.mode.startswith("I;16"):
        return view(to_8_bits(np.array(image).astype(np.uint16))[..., np.newaxis])
    if image.mode in ("I", "F"):
        raise UnsupportedImage(
            "{path}: mode {mode} has no fixed range",
            hint="Convert it to 8 or 16 bits per channel first.",
            path=path,
            mode=image.mode,
        )
    is_opaque = "A" not in image.mode and "a" not in image.mode and "transparency" not in image.info
    return view(_array(image.convert("RGB" if is_opaque else "RGBA")))
