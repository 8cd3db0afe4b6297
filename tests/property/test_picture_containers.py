"""The laws of copying what stands beside the pixels."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from countermark.marking.image.containers import jpeg_extras, jpeg_with, png_extras, png_with

PIXELS = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)

png_kinds = st.sampled_from([b"tEXt", b"prVt", b"teSt", b"abCd"])
jpeg_kinds = st.sampled_from([0xE0, 0xE1, 0xE2, 0xE5, 0xED, 0xFE])
bodies = st.binary(max_size=30)


def encoded(kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(PIXELS).save(target, format=kind, **options)
    return target.getvalue()


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    data = b"key\0" + data.replace(b"\0", b"")
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg_segment(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(data) + 9) + b"a label" + data


PNG, JPEG = encoded("PNG"), encoded("JPEG", quality=90)


@given(st.lists(st.builds(png_chunk, png_kinds, bodies), max_size=5).map(tuple))
def test_png_chunks(extras: tuple[bytes, ...]) -> None:
    written = png_with(PNG, extras)
    assert png_extras(written) == extras
    assert np.array_equal(decoded(written), PIXELS)


@given(st.lists(st.builds(jpeg_segment, jpeg_kinds, bodies), max_size=5).map(tuple))
def test_jpeg_segments(extras: tuple[bytes, ...]) -> None:
    written = jpeg_with(JPEG, extras)
    assert jpeg_extras(written) == extras
    assert np.array_equal(decoded(written), decoded(JPEG))


@given(st.binary(max_size=80))
def test_bytes_after_the_end_are_left_out(trailing: bytes) -> None:
    assert png_extras(PNG + trailing) == png_extras(PNG)
    assert jpeg_extras(JPEG + trailing) == jpeg_extras(JPEG)
