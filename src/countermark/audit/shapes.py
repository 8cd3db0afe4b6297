"""Frozen dataclasses from and to JSON, strictly: for documents that strangers wrote.

Every field is there under its own name and of its own type, and nothing else is: no unknown keys, no NaN or infinity,
no booleans as numbers, no integers that JSON cannot carry exactly, no lists or strings beyond limits.

Law: ``read(T, write(x)) == x`` for every dataclass T of the types that ``read`` knows.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from countermark.errors import HostileFile

_MAX_ITEMS = 2_000_000
_MAX_TEXT = 4_096
_MAX_NUMBER = 1e15
_MAX_DEPTH = 8

#: A value of JSON that is kept as it stands, within the limits.
Json = Any
Shape = TypeVar("Shape")


def read(shape: type[Shape], value: object, where: str = "document") -> Shape:
    """Read a dataclass of bool, int, float, str, tuples, string maps, ``X | None`` and further dataclasses.

    Integers are at least 0 unless the field's metadata says ``{"signed": True}``. Numbers that JSON writes without a
    point are read as floats where the field is one.

    Raises:
        HostileFile: whatever is not exactly of that shape; the message says where.
    """
    result: Shape = _read(shape, value, where, False)
    return result


def write(value: object) -> Any:
    """Return what ``read`` reads: dictionaries, lists, numbers, strings."""
    if dataclasses.is_dataclass(value):
        return {field.name: write(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: write(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [write(entry) for entry in value]
    return value


def _read(shape: Any, value: object, where: str, signed: bool) -> Any:
    origin, inner = get_origin(shape), get_args(shape)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(inner[0], value, where, signed)
    if origin is tuple:
        return _tuple(inner, value, where, signed)
    if origin is not None:
        return _mapping(inner[1], value, where)
    if dataclasses.is_dataclass(shape):
        return _dataclass(shape, value, where)
    return _json(value, where, 0) if shape is Any else _plain(shape, value, where, signed)


def _dataclass(shape: Any, value: object, where: str) -> Any:
    fields, hints = dataclasses.fields(shape), get_type_hints(shape)
    names = {field.name for field in fields}
    if not isinstance(value, dict) or set(value) != names:
        keys = set(value) if isinstance(value, dict) else set()
        raise HostileFile(
            "{where} does not have the fields that it must: {names}",
            where=where,
            names=", ".join(sorted(str(name)[:40] for name in names ^ keys)[:8]),
        )
    return shape(
        **{
            field.name: _read(
                hints[field.name], value[field.name], f"{where}.{field.name}", field.metadata.get("signed", False)
            )
            for field in fields
        }
    )


def _tuple(inner: tuple[Any, ...], value: object, where: str, signed: bool) -> tuple[Any, ...]:
    listed = isinstance(value, list) and len(value) <= _MAX_ITEMS
    if not listed or (inner[-1] is not Ellipsis and len(value) != len(inner)):  # type: ignore[arg-type]
        raise _wrong(where)
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner  # type: ignore[arg-type]
    if inner[0] is float and inner[-1] is Ellipsis:
        return tuple(_number(entry, where) for entry in value)  # type: ignore[attr-defined]
    return tuple(
        _read(kind, entry, f"{where}[{i}]", signed)
        for i, (kind, entry) in enumerate(zip(kinds, value, strict=True))  # type: ignore[call-overload]
    )


def _mapping(inner: Any, value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > 1_000:
        raise _wrong(where)
    return {_text(key, where): _read(inner, entry, f"{where}.{key[:40]}", False) for key, entry in value.items()}


def _plain(shape: Any, value: object, where: str, signed: bool) -> Any:
    if shape is float:
        return _number(value, where)
    if shape is str:
        return _text(value, where)
    if shape is bool and isinstance(value, bool):
        return value
    if shape is int and type(value) is int and abs(value) < 2**53 and (signed or value >= 0):
        return value
    raise _wrong(where)


def _number(value: object, where: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > _MAX_NUMBER:  # type: ignore[arg-type]
        raise _wrong(where)
    return float(value)  # type: ignore[arg-type]


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not (value.isprintable() or _readable(value)):
        raise _wrong(where)
    return value


def _readable(value: str) -> bool:
    return all(char.isprintable() or char in "\n\r\t" or ord(char) > 0xA0 for char in value) and _encodable(value)


def _encodable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _json(value: object, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if type(value) is int and abs(value) < 2**53:
        return value
    if isinstance(value, float):
        return _number(value, where)
    if depth >= _MAX_DEPTH or not isinstance(value, list | dict) or len(value) > _MAX_ITEMS:
        raise _wrong(where)
    if isinstance(value, list):
        return [_json(entry, where, depth + 1) for entry in value]
    return {_text(key, where): _json(entry, f"{where}.{str(key)[:40]}", depth + 1) for key, entry in value.items()}


def _wrong(where: str) -> HostileFile:
    return HostileFile("{where} is not what it must be", where=where)
