"""A museum of safetensors headers that must be refused, each by its defect."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pytest

from countermark.artifact.safetensors import HEADER_LIMIT, read_header
from countermark.errors import HostileFile


def entry(shape: list[Any], begin: Any, end: Any, dtype: Any = "U8", **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def file_of(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


MUSEUM: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "truncated"),
    "half a length": (b"\2\0\0", "truncated"),
    "a length alone": (struct.pack("<Q", 2), "truncated"),
    "a length of 16 exabytes": (file_of({}, length=2**64 - 1), "truncated"),
    "a length beyond the file": (file_of({}, length=3), "truncated"),
    "a header over the limit": (file_of(b"{}".ljust(HEADER_LIMIT + 1)), "over the limit"),
    "no JSON": (file_of(b"{oops}"), "not valid JSON"),
    "not UTF-8": (file_of(b'{"\xff":1}'), "not valid JSON"),
    "a list": (file_of([]), "does not begin with a brace"),
    "a leading space": (file_of(b" {}"), "does not begin with a brace"),
    "a byte order mark": (file_of(b"\xef\xbb\xbf{}"), "does not begin with a brace"),
    "two objects": (file_of(b"{}{}"), "not valid JSON"),
    "nested without end": (file_of(b'{"a":' * 100_000), "nested deeper"),
    "nested deeply": (file_of(b'{"a":' * 99 + b"1" + b"}" * 99), "nested deeper"),
    "a name given twice": (
        file_of(
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
        ),
        "given twice",
    ),
    "a field given twice": (
        file_of(b'{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}'),
        "given twice",
    ),
    "NaN": (file_of(b'{"a":NaN}'), "NaN is not JSON"),
    "a digit bomb": (file_of(b'{"a":' + b"9" * 100_000 + b"}"), "not valid JSON"),
    "metadata of numbers": (file_of({"__metadata__": {"a": 1}}), "strings to strings"),
    "metadata in a list": (file_of({"__metadata__": ["a"]}), "strings to strings"),
    "an entry that is null": (file_of({"a": None}), "not an entry"),
    "an entry without dtype": (file_of({"a": {"shape": [], "data_offsets": [0, 1]}}, b"x"), "not an entry"),
    "an entry with more": (file_of({"a": entry([1], 0, 1, run="rm")}, b"x"), "not an entry"),
    "an unknown dtype": (file_of({"a": entry([1], 0, 1, "O")}, b"x"), "unknown dtype"),
    "a dtype that is a list": (file_of({"a": entry([1], 0, 1, [])}, b"x"), "unknown dtype"),
    "a negative extent": (file_of({"a": entry([-1], 0, 0)}), "not a shape"),
    "a negative zero": (file_of(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'), "negative zero"),
    "a fractional extent": (file_of({"a": entry([1.0], 0, 1)}, b"x"), "not a shape"),
    "a boolean extent": (file_of({"a": entry([True], 0, 1)}, b"x"), "not a shape"),
    "a shape that is a number": (file_of({"a": entry(1, 0, 1)}, b"x"), "not a shape"),  # type: ignore[arg-type]
    "a thousand axes": (file_of({"a": entry([1] * 1000, 0, 1)}, b"x"), "not a shape"),
    "a shape that overflows": (file_of({"a": entry([2**32, 2**32], 0, 0)}), "absurdly large"),
    "a shape that overflows to nothing": (file_of({"a": entry([2**40, 2**40, 0], 0, 0)}), "absurdly large"),
    "too few bytes": (file_of({"a": entry([2], 0, 1)}, b"x"), "do not fit"),
    "too many bytes": (file_of({"a": entry([1], 0, 2)}, b"xx"), "do not fit"),
    "half a byte": (file_of({"a": entry([1], 0, 1, "F4")}, b"x"), "do not fit"),
    "offsets in reverse": (file_of({"a": entry([1], 1, 0)}, b"x"), "not a pair of offsets"),
    "negative offsets": (file_of({"a": entry([1], -1, 0)}, b"x"), "not a pair of offsets"),
    "three offsets": (file_of({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, b"x"), "not a pair"),
    "a gap before": (file_of({"a": entry([1], 1, 2)}, b"xx"), "leave a gap"),
    "a gap between": (file_of({"a": entry([1], 0, 1), "b": entry([1], 2, 3)}, b"xxx"), "leave a gap"),
    "an overlap": (file_of({"a": entry([2], 0, 2), "b": entry([2], 1, 3)}, b"xxx"), "leave a gap"),
    "two in one place": (file_of({"a": entry([1], 0, 1), "b": entry([1], 0, 1)}, b"x"), "leave a gap"),
    "bytes after the last": (file_of({"a": entry([1], 0, 1)}, b"xy"), "the tensors end at byte"),
    "data without tensors": (file_of({}, b"x"), "the tensors end at byte"),
    "a last tensor cut off": (file_of({"a": entry([4], 0, 4)}, b"xyz"), "the tensors end at byte"),
    "a line break in a name": (file_of({"a\n": entry([1], 0, 1)}, b"x"), "control characters"),
    "a turned name": (file_of({"a\u202eb": entry([1], 0, 1)}, b"x"), "control characters"),
    "half a surrogate": (file_of(b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"), "control"),
    "a name of a megabyte": (file_of({"a" * 2**20: entry([1], 0, 1)}, b"x"), "too long"),
}


@pytest.mark.parametrize("defect", MUSEUM)
def test_refused_by_its_defect(defect: str) -> None:
    data, message = MUSEUM[defect]
    with pytest.raises(HostileFile, match=message) as caught:
        read_header(io.BytesIO(data), len(data))
    assert len(str(caught.value)) < 400


def test_the_least_that_is_accepted() -> None:
    for header, data in (({}, b""), ({"a-0": entry([], 0, 1)}, b"x"), ({"": entry([2], 0, 1, "F4")}, b"x")):
        encoded = file_of(header, data)
        assert len(read_header(io.BytesIO(encoded), len(encoded)).tensors) == len(header)
