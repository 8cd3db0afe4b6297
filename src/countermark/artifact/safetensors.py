"""The header of a safetensors file, read as a stranger's.

The format (github.com/huggingface/safetensors, README, "Format"): 8 bytes, the header's length as a little-endian
integer; the header, a JSON object that begins with ``{`` and may end in spaces; the tensors' bytes without gaps.

Laws:
    what ``read_header`` accepts, the safetensors package accepts, with the same names, dtypes, shapes and bytes;
    the spans returned partition ``[data_start, size)``: each begins where the one before it ends.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, BinaryIO

from countermark.core.canonical import parse_json
from countermark.errors import HostileFile, InputError

# The format allows 100 MB. Parsed JSON takes some 20 times its size, and 200,000 tensors need under 25 MB.
HEADER_LIMIT = 32 * 2**20
MAX_RANK = 64
MAX_NAME_CHARACTERS = 1024
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_MAX_INTEGER = 2**53 - 1  # exact in canonical JSON
_PREFIX_BYTES = 8
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')

DTYPE_BITS = {
    **dict.fromkeys(["F4"], 4),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    **dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8),
    **dict.fromkeys(["I16", "U16", "F16", "BF16"], 16),
    **dict.fromkeys(["I32", "U32", "F32"], 32),
    **dict.fromkeys(["I64", "U64", "F64", "C64"], 64),
}


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """One tensor and where its bytes lie: ``[begin, end)``, counted from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: its ``raw`` bytes (length prefix included) and the tensors in the order of their bytes."""

    raw: bytes
    tensors: tuple[TensorSpan, ...]


def read_header(stream: BinaryIO, size: int) -> Header:
    """Read and check the header of a file of ``size`` bytes; the stream is left at the first tensor's first byte.

    Raises:
        HostileFile: truncated, over a limit, not JSON, a key given twice, an unknown dtype, a shape that does not
            fit its bytes, tensors that overlap, leave gaps or do not end with the file.
    """
    prefix = stream.read(_PREFIX_BYTES)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < _PREFIX_BYTES or length > size - _PREFIX_BYTES:
        raise HostileFile("the safetensors header is truncated")
    if length > HEADER_LIMIT:
        raise HostileFile("a safetensors header of {size} bytes is over the limit", size=length)
    text = stream.read(length)
    if len(text) < length:
        raise HostileFile("the safetensors header is truncated")
    return Header(prefix + text, _spans(_parse(text), _PREFIX_BYTES + length, size))


def element_count(shape: tuple[int, ...]) -> int:
    """Return the number of elements of a tensor; 1 for a scalar, whose shape is ()."""
    return math.prod(shape)


def check_tensor(
    name: object, dtype: object, shape: object, size: int | None = None
) -> tuple[str, str, tuple[int, ...]]:
    """Return name, dtype and shape, checked by type, limits, and ``size`` in bytes where it is known.

    Raises:
        HostileFile: any rule is broken.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS or not is_plain(name):
        raise HostileFile("a tensor's name is too long or holds control characters: {name}", name=ascii(name)[:80])
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise HostileFile("tensor {name}: unknown dtype {dtype}", name=name, dtype=ascii(dtype)[:40])
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(map(is_count, shape)):
        raise HostileFile("tensor {name}: not a shape", name=name)
    if math.prod(max(extent, 1) for extent in shape) > _MAX_INTEGER:
        raise HostileFile("tensor {name}: the shape is absurdly large", name=name)
    if size is not None and math.prod(shape) * DTYPE_BITS[dtype] != 8 * size:
        raise HostileFile("tensor {name}: {size} bytes do not fit its shape and dtype", name=name, size=size)
    return name, dtype, tuple(shape)


def is_plain(text: str) -> bool:
    """Whether a name can be shown and compared: no control, formatting, surrogate or private characters."""
    if text.isascii():
        return text.isprintable()
    return not {unicodedata.category(character) for character in text} & _FORBIDDEN_CATEGORIES


def is_count(value: object) -> bool:
    """Whether a JSON value is an integer from 0 to 2**53 - 1 (``true`` is not)."""
    return type(value) is int and 0 <= value <= _MAX_INTEGER


def _parse(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise HostileFile("the safetensors header does not begin with a brace")
    if b"-0" in text and b"-0" in _STRING.sub(b"", text):  # an integer to Python, a float to the package
        raise HostileFile("the safetensors header holds a negative zero")
    try:
        header = parse_json(text, limit=HEADER_LIMIT)
    except InputError as error:
        raise HostileFile("the safetensors header is refused: {reason}", reason=error) from error
    if not isinstance(header, dict):
        raise HostileFile("the safetensors header is not an object")
    _check_metadata(header.pop("__metadata__", {}))
    return header


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HostileFile("the safetensors metadata must map strings to strings")


def _spans(header: dict[str, Any], data_start: int, size: int) -> tuple[TensorSpan, ...]:
    spans = sorted((_span(name, entry, data_start) for name, entry in header.items()), key=lambda s: (s.begin, s.end))
    position = data_start
    for span in spans:
        if span.begin != position:
            raise HostileFile("tensor {name}: its bytes overlap others or leave a gap", name=span.name)
        position = span.end
    if position != size:
        raise HostileFile("the tensors end at byte {end} of {size}", end=position, size=size)
    return tuple(spans)


def _span(name: str, entry: object, data_start: int) -> TensorSpan:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise HostileFile("tensor {name}: not an entry of dtype, shape and offsets", name=ascii(name)[:80])
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)) or offsets[0] > offsets[1]:
        raise HostileFile("tensor {name}: not a pair of offsets", name=ascii(name)[:80])
    begin, end = offsets
    checked = check_tensor(name, entry["dtype"], entry["shape"], end - begin)
    return TensorSpan(*checked, data_start + begin, data_start + end)
