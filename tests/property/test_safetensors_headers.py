"""The header parser beside the safetensors package: what ours accepts, it accepts; what it writes, ours reads."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from countermark.artifact.safetensors import DTYPE_BITS, Header, read_header
from countermark.errors import HostileFile

NUMPY_DTYPES = [
    np.bool_,
    np.uint8,
    np.int8,
    np.uint16,
    np.int16,
    np.float16,
    np.int32,
    np.float32,
    np.int64,
    np.float64,
]

names = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Zl", "Zp"]), max_size=12)
integers = st.integers(-1, 20) | st.sampled_from([2**31, 2**53, 2**63, 2**64, 10**30])
odd = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text(max_size=3)
shapes = st.lists(integers, max_size=4)
pairs = st.lists(integers, min_size=2, max_size=2)
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from([*DTYPE_BITS, "F128"]), "shape": shapes, "data_offsets": pairs}
)
odd_entries = st.dictionaries(
    st.sampled_from(["dtype", "shape", "data_offsets", "x"]), odd | shapes | pairs, max_size=4
)
headers = st.dictionaries(names | st.just("__metadata__"), entries | odd_entries | odd, max_size=4)


def file_of(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def read(data: bytes) -> Header:
    return read_header(io.BytesIO(data), len(data))


def agrees(data: bytes) -> bool:
    """Whether ours accepts; if so, the package must, with the same tensors."""
    try:
        header = read(data)
    except HostileFile:
        return False
    theirs = {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in safetensors.deserialize(data)}
    assert theirs == {span.name: (span.dtype, span.shape, data[span.begin : span.end]) for span in header.tensors}
    return True


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """A valid header, its tensors in any order, and its data."""
    header: dict[str, Any] = {}
    position = 0
    for name in draw(st.lists(names.filter(lambda n: n != "__metadata__"), unique=True, max_size=5)):
        dtype = draw(st.sampled_from(sorted(DTYPE_BITS)))
        shape = [*draw(st.lists(st.integers(0, 3), max_size=3)), *([4] if DTYPE_BITS[dtype] % 8 else [])]
        size = int(np.prod(shape, dtype=np.int64)) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    return dict(draw(st.permutations(list(header.items())))), bytes(i % 251 for i in range(position))


@given(layouts(), st.integers(0, 9))
def test_valid_layouts_are_read_alike(layout: tuple[dict[str, Any], bytes], padding: int) -> None:
    header, data = layout
    encoded = file_of(json.dumps(header).encode() + b" " * padding, data)
    assert agrees(encoded)
    spans = read(encoded).tensors
    assert b"".join(encoded[span.begin : span.end] for span in spans) == data


@given(headers, st.binary(max_size=40))
def test_random_headers_never_pass_here_and_fail_there(header: dict[str, Any], data: bytes) -> None:
    agrees(file_of(json.dumps(header).encode(), data))


@given(layouts(), st.data())
def test_mutated_files_never_pass_here_and_fail_there(
    layout: tuple[dict[str, Any], bytes], data: st.DataObject
) -> None:
    mutated = bytearray(file_of(json.dumps(layout[0]).encode(), layout[1]))
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    agrees(bytes(mutated))


@given(st.binary(max_size=64))
def test_random_bytes_never_pass_here_and_fail_there(data: bytes) -> None:
    agrees(data)
    agrees(file_of(data))


@given(layouts(), st.integers(1, 400))
def test_no_proper_prefix_passes(layout: tuple[dict[str, Any], bytes], cut: int) -> None:
    encoded = file_of(json.dumps(layout[0]).encode(), layout[1])
    with pytest.raises(HostileFile):
        read(encoded[: -min(cut, len(encoded))])


@given(
    st.dictionaries(
        names, st.tuples(st.sampled_from(NUMPY_DTYPES), st.lists(st.integers(0, 3), max_size=3)), max_size=5
    )
)
def test_what_the_package_writes_is_read(tensors: dict[str, tuple[Any, list[int]]]) -> None:
    tensors.pop("__metadata__", None)
    data = save({name: np.ones(shape, dtype) for name, (dtype, shape) in tensors.items()}, {"format": "np"})
    assert agrees(data)
