"""Thrift's compact protocol, read into plain Python values: what parquet metadata is written in.

A struct becomes a dict from field number to value; binary stays bytes. It is small on purpose and quick for what it is
(about 0.15 us a byte), so callers read whole metadata only where they need more than a row count.
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Fields = dict[int, Any]
_TRUE, _FALSE, _STRUCT = 1, 2, 12
_double = struct.Struct("<d").unpack_from
_BROKEN = (IndexError, KeyError, TypeError, struct.error, RecursionError, MemoryError)


def decode(data: bytes, at: int = 0, after: int = 0) -> Fields:
    """Read one struct, or what of it follows on field `after`. Raises ValueError for what is none."""
    return rest(data, at, after)[0]


def begin_of(data: bytes, field: int) -> int:
    """Return where the value of a field of the outer struct begins. Raises ValueError if it has no such field."""
    at = number = 0
    try:
        while header := data[at]:
            at += 1
            if header > 15:
                number += header >> 4
            else:
                number, at = _zigzag(data, at)
            if number == field:
                return at
            if header & 15 > _FALSE:
                _, at = _READ[header & 15](data, at)
    except _BROKEN as exc:
        raise ValueError(f"broken Thrift: {exc}") from None
    raise ValueError(f"the struct has no field {field}")


def integer(data: bytes, at: int) -> int:
    """Read the integer that begins there. Raises ValueError where the bytes end too early."""
    try:
        return _zigzag(data, at)[0]
    except IndexError:
        raise ValueError("broken Thrift: an integer ends too early") from None


def signed(data: bytes, at: int) -> tuple[int, int]:
    """Read the integer that begins there; returns where it ends, too. Raises IndexError where the bytes end."""
    return _zigzag(data, at)


def head(data: bytes, at: int) -> tuple[int, int]:
    """Read the head of a list: how many it has, and where they begin. Raises IndexError where the bytes end."""
    count = data[at] >> 4
    return _varint(data, at + 1) if count == 15 else (count, at + 1)


def rest(data: bytes, at: int, after: int) -> tuple[Fields, int]:
    """Read what of a struct follows on field `after`, and where it ends. Raises ValueError for what is none."""
    try:
        return _struct(data, at, after)
    except _BROKEN as exc:
        raise ValueError(f"broken Thrift: {exc}") from None


def skip(data: bytes, at: int, kind: int) -> int:
    """Return where a value of a kind ends that begins there. Raises ValueError for what is none."""
    try:
        return at if kind <= _FALSE else _READ[kind](data, at)[1]
    except _BROKEN as exc:
        raise ValueError(f"broken Thrift: {exc}") from None


def varint(value: int) -> bytes:
    """Write a number that is not negative."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _struct(data: bytes, at: int, number: int = 0) -> tuple[Fields, int]:
    out: Fields = {}
    while header := data[at]:
        at += 1
        kind = header & 15
        if header > 15:
            number += header >> 4
        else:
            number, at = _zigzag(data, at)
        if kind == _TRUE:
            out[number] = True
        elif kind == _FALSE:
            out[number] = False
        else:
            out[number], at = _READ[kind](data, at)
    return out, at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    value, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _binary(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _varint(data, at)
    end = at + length
    if end > len(data):
        raise IndexError("bytes end too early")
    return data[at:end], end


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    kind = data[at] & 15
    count, at = head(data, at)
    if kind in (_TRUE, _FALSE):  # in a collection, a boolean takes a byte
        return [byte == _TRUE for byte in data[at : at + count]], at + count
    read = _READ[kind]
    out = []
    for _ in range(count):
        value, at = read(data, at)
        out.append(value)
    return out, at


def _byte(data: bytes, at: int) -> tuple[int, int]:
    return data[at], at + 1


def _number(data: bytes, at: int) -> tuple[float, int]:
    return _double(data, at)[0], at + 8


# No maps (11): parquet metadata has none.
_READ: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    3: _byte, 4: _zigzag, 5: _zigzag, 6: _zigzag, 7: _number, 8: _binary, 9: _list, 10: _list, _STRUCT: _struct,
}  # fmt: skip
