"""What stands in a picture's file beside its pixels: cut out of one file, put into another, byte for byte.

Re-encoding through an image library keeps what the library knows. Here the metadata is copied as it stands: PNG
chunks, JPEG segments. Left out is what would be false after the pixels changed: indexes of further pictures in the
file (MPF, APNG), the colour transform of the old encoder (Adobe), and content credentials, whose hash is of old bytes.
Bytes after the picture's end are left out too.

Laws:
    ``png_extras(png_with(encoded, extras)) == extras`` and the same for JPEG, for extras that the functions returned;
    the decoded pixels of ``*_with(encoded, extras)`` are those of ``encoded``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from countermark.errors import HostileFile

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"

_PNG_HEADER_END = 33  # magic 8, IHDR 25
_PNG_DROPPED = frozenset({b"tRNS", b"hIST", b"acTL", b"fcTL", b"fdAT", b"caBX"})
# These count in the samples of the file, and are kept only where its samples are.
_PNG_OF_SAMPLES = frozenset({b"bKGD", b"sBIT"})
_GREY, _RGB, _PALETTE = 0, 2, 3
_START_OF_SCAN, _COMMENT, _JFIF = 0xDA, 0xFE, 0xE0
_JPEG_DROPPED = ((0xEE, b"Adobe"), (0xE2, b"MPF\0"), (0xEB, b""))


def png_extras(data: bytes) -> tuple[bytes, ...]:
    """Return the ancillary chunks of a PNG, whole, in order (PNG third edition, section 5).

    Transparency is not among them (``png_key``), nor what counts in samples that will be others: those of a palette,
    or of less than 8 bits.

    Raises:
        HostileFile: a chunk runs beyond the file.
    """
    recoded = png_depth(data) < 8 or png_color_type(data) == _PALETTE
    dropped = _PNG_DROPPED | _PNG_OF_SAMPLES if recoded else _PNG_DROPPED
    return tuple(chunk for kind, chunk in _png_chunks(data) if kind[:1].islower() and kind not in dropped)


def png_with(encoded: bytes, extras: Iterable[bytes]) -> bytes:
    """Return ``encoded``, a PNG without ancillary chunks, with ``extras`` after its header (allowed for all kept)."""
    return encoded[:_PNG_HEADER_END] + b"".join(extras) + encoded[_PNG_HEADER_END:]


def png_depth(data: bytes) -> int:
    """Return the bits per sample that the header states; the decoder reduces 16 to 8 without a word."""
    return data[24] if len(data) > 24 else 0


def png_color_type(data: bytes) -> int:
    """Return the colour type that the header states: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    return data[25] if len(data) > 25 else 0


def png_key(data: bytes) -> tuple[int, ...] | None:
    """Return the one colour of a grey or RGB PNG that counts as transparent (section 11.3.1.1), or None.

    Its samples are in the range of 8 bits, or of 16 where the picture's are; fewer bits are scaled up like theirs.

    Raises:
        HostileFile: its chunk has not one value for each channel.
    """
    channels = {_GREY: 1, _RGB: 3}.get(png_color_type(data))
    chunk = next((chunk for kind, chunk in _png_chunks(data) if kind == b"tRNS"), None)
    if channels is None or chunk is None:
        return None
    if len(chunk) != 12 + 2 * channels:
        raise HostileFile("the transparent colour of the PNG is not one of its colours")
    top = (1 << png_depth(data)) - 1
    values = struct.unpack(f">{channels}H", chunk[8:-4])
    return tuple((value & top) * (max(top, 255) // top) for value in values)


def png_key_chunk(key: Iterable[int]) -> bytes:
    """Return the chunk that ``png_key`` reads."""
    return png_chunk(b"tRNS", b"".join(struct.pack(">H", value) for value in key))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk: length, kind, body, checksum (section 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg_extras(data: bytes) -> tuple[bytes, ...]:
    """Return the application segments and comments of a JPEG, whole, in order (ITU-T T.81, annex B).

    Raises:
        HostileFile: a segment runs beyond the file.
    """
    return tuple(data[start:end] for kind, start, end in _jpeg_segments(data) if _is_kept(kind, data[start + 4 : end]))


def jpeg_with(encoded: bytes, extras: Iterable[bytes]) -> bytes:
    """Return ``encoded`` with ``extras`` in the place of its own JFIF segment."""
    kept = [encoded[start:end] for kind, start, end in _jpeg_segments(encoded) if kind != _JFIF]
    scan = max(end for _, _, end in _jpeg_segments(encoded))
    return b"".join([encoded[:2], *extras, *kept, encoded[scan:]])


def webp_is_lossless(data: bytes) -> bool:
    """Whether the picture of a WebP is in a VP8L chunk (RFC 9649, section 2.6)."""
    position = 12
    while position + 8 <= len(data):
        if data[position : position + 4] == b"VP8L":
            return True
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return False


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position, kind = len(PNG_MAGIC), b""
    while kind != b"IEND":
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if len(kind) < 4 or end > len(data):
            raise HostileFile("a chunk of the PNG runs beyond the file")
        yield kind, data[position:end]
        position = end


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment before the first scan."""
    position = 2
    while True:
        while data[position + 1 : position + 2] == b"\xff":  # fill bytes
            position += 1
        marker, length = data[position : position + 2], int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if marker[:1] != b"\xff" or len(marker) < 2 or length < 2 or end > len(data):
            raise HostileFile("a segment of the JPEG runs beyond the file")
        if marker[1] == _START_OF_SCAN:
            return
        yield marker[1], position, end
        position = end


def _is_kept(kind: int, body: bytes) -> bool:
    dropped = any(kind == marker and body.startswith(start) for marker, start in _JPEG_DROPPED)
    return (0xE0 <= kind <= 0xEF or kind == _COMMENT) and not dropped
