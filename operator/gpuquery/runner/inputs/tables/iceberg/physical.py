"""The schema of a parquet file as its footer declares it: a tree of fields with their Iceberg ids.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (SchemaElement, LogicalType)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.parquet import thrift

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCHEMA = 2
REPEATED = 2
_UNITS = {1: "ms", 2: "us", 3: "ns"}
_CONVERTED_INTEGERS = {
    11: pl.UInt8(), 12: pl.UInt16(), 13: pl.UInt32(), 14: pl.UInt64(),
    15: pl.Int8(), 16: pl.Int16(), 17: pl.Int32(), 18: pl.Int64(),
}  # fmt: skip
_INTEGERS = {
    (8, True): pl.Int8(), (16, True): pl.Int16(), (32, True): pl.Int32(), (64, True): pl.Int64(),
    (8, False): pl.UInt8(), (16, False): pl.UInt16(), (32, False): pl.UInt32(), (64, False): pl.UInt64(),
}  # fmt: skip
NAMES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")


@dataclass(frozen=True)
class Node:
    """A field of the file."""

    name: str
    id: int | None
    repetition: int
    kind: int
    """Number of the physical type; -1 for a group."""
    converted: int | None
    logical: tuple[int, Any]
    """Number of the logical type and its arguments; (0, None) without one."""
    decimal: tuple[int, int]
    length: int
    children: tuple[Node, ...]

    @property
    def said(self) -> str:
        """The type, for messages."""
        if self.kind < 0:
            return "a group"
        read = self.dtype
        return f"{NAMES[self.kind]}{f' ({read})' if read is not None else ''}"

    @property
    def is_list(self) -> bool:
        """Whether it is a group of the logical type LIST."""
        return self.kind < 0 and (self.logical[0] == 3 or self.converted == 3)

    @property
    def is_map(self) -> bool:
        """Whether it is a group of the logical type MAP."""
        return self.kind < 0 and (self.logical[0] == 2 or self.converted in (1, 2))

    @property
    def dtype(self) -> pl.DataType | None:
        """What Polars reads a primitive field as; None where that is not known to keep every value."""
        number, arguments = self.logical
        match self.kind:
            case 0:
                return pl.Boolean()
            case 1 | 2:
                return self._integer(number, arguments)
            case 4:
                return pl.Float32()
            case 5:
                return pl.Float64()
            case 6 | 7 if number == 5 or self.converted == 5:
                return pl.Decimal(*self.decimal)
            case 6 if number in (1, 4, 12) or self.converted in (0, 4, 19):
                return pl.String()
            case 6 if number == 0 and self.converted is None:
                return pl.Binary()
            case 7 if number in (0, 14) and self.converted is None:
                return pl.Binary()
        return None

    def _integer(self, number: int, arguments: Any) -> pl.DataType | None:
        if number == 5 or self.converted == 5:
            return pl.Decimal(*self.decimal)
        if number == 6 or self.converted == 6:
            return pl.Date()
        if number == 7 or self.converted in (7, 8):
            return pl.Time()
        if number == 8:
            unit = _UNITS[next(iter(arguments[2]))]
            return pl.Datetime(unit, "UTC" if arguments[1] else None)  # type: ignore[arg-type]
        if self.converted in (9, 10):
            return pl.Datetime("ms" if self.converted == 9 else "us")
        if number == 10:
            return _INTEGERS.get((arguments[1], arguments[2]))
        if self.converted in _CONVERTED_INTEGERS:
            return _CONVERTED_INTEGERS[self.converted]
        plain: pl.DataType = pl.Int32() if self.kind == 1 else pl.Int64()
        return plain if number == 0 else None


def parse(begin: bytes) -> tuple[Node, ...]:
    """Return the top-level fields of a file; `begin` is its metadata up to the row count. Raises ValueError."""
    try:
        # The struct ends where the schema does: what follows is not looked at.
        elements = thrift.decode(begin[:-1] + b"\0")[_SCHEMA]
        root, at = _node(elements, 0)
    except (AttributeError, KeyError, IndexError, TypeError, StopIteration) as exc:
        raise ValueError(f"the footer's schema is broken: {exc}") from None
    if at != len(elements):
        raise ValueError("the footer's schema has fields without a parent")
    return root.children


def _node(elements: Sequence[thrift.Fields], at: int) -> tuple[Node, int]:
    element = elements[at]
    at += 1
    inside = []
    for _ in range(element.get(5, 0)):
        child, at = _node(elements, at)
        inside.append(child)
    logical: tuple[int, Any] = next(iter((element.get(10) or {}).items()), (0, None))
    decimal = (element.get(8, 0), element.get(7, 0))
    if logical[0] == 5:
        decimal = (logical[1][2], logical[1][1])
    node = Node(
        element[4].decode(), element.get(9), element.get(3, 0), element.get(1, -1), element.get(6), logical, decimal,
        element.get(2, 0), tuple(inside),
    )  # fmt: skip
    return node, at
