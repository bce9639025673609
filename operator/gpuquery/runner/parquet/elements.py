"""The schema of a parquet file as the file itself tells it: a tree of names with their physical and logical types.

What a reader makes of it is another question: some know no logical type of the future, and some take half floats or
intervals for bytes.
https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.runner.parquet import thrift
from gpuquery.runner.parquet.footer import NotParquetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SCHEMA, _NUM_ROWS, _ROW_GROUPS, _ENCRYPTION = 2, 3, 4, 8
_ARROW = b"\x18\x0cARROW:schema\x18"
"""Field 1 of a KeyValue, a text of twelve bytes, and the head of field 2."""
_REPEATED = 2
INT96 = 3
LOGICAL = {
    1: "STRING", 2: "MAP", 3: "LIST", 4: "ENUM", 5: "DECIMAL", 6: "DATE", 7: "TIME", 8: "TIMESTAMP", 10: "INTEGER",
    11: "UNKNOWN", 12: "JSON", 13: "BSON", 14: "UUID", 15: "FLOAT16", 16: "VARIANT", 17: "GEOMETRY", 18: "GEOGRAPHY",
}  # fmt: skip
"""Names of the fields of the union LogicalType."""
_CONVERTED = {1: "MAP", 2: "MAP", 3: "LIST", 4: "ENUM", 5: "DECIMAL", 19: "JSON", 20: "BSON", 21: "INTERVAL"}


@dataclass(frozen=True, slots=True)
class Element:
    """A column, or a part of a nested one."""

    name: str
    physical: int | None
    """Number of the physical type; None for a group."""
    logical: str
    """Name of the logical type, by the newer or the older way to write it; `field 40` for one that has no name yet."""
    precision: int
    """Digits of a decimal."""
    children: tuple[Element, ...]
    id: int | None = None
    """Its field id, by which table formats find it."""
    repeated: bool = False
    """Whether it is there any number of times."""
    converted: int | None = None
    """Number of the older way to write the logical type."""
    arguments: Any = None
    """Arguments of the logical type: the unit of a time, the bits of an integer."""
    scale: int = 0
    """Decimal places."""
    length: int = 0
    """Bytes of a value of fixed length."""

    def leaves(self) -> Iterator[Element]:
        """All parts that hold values, itself if it is none."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def begin(meta: bytes) -> bytes:
    """Return what precedes the row count: version and schema, equal for files of one schema. Raises NotParquetError."""
    try:
        return meta[: thrift.begin_of(meta, _NUM_ROWS)]
    except ValueError as exc:
        raise NotParquetError(str(exc)) from None


def arrow_schema(meta: bytes) -> bytes:
    """Return the Arrow schema that a writer has left among the key-value metadata, as it stands there; empty if none.

    It is looked for as bytes, from the end: key-value metadata comes behind the row groups.
    """
    at = meta.rfind(_ARROW)
    if at < 0:
        return b""
    at += len(_ARROW)
    size = shift = 0
    while at < len(meta):
        size |= (meta[at] & 127) << shift
        shift += 7
        at += 1
        if meta[at - 1] < 128:
            break
    return meta[at : at + size]


def columns(meta: bytes) -> tuple[Element, ...]:
    """Return the columns of a file. Raises NotParquetError."""
    try:
        elements: Sequence[thrift.Fields] = thrift.decode(meta)[_SCHEMA]
        rest = iter(elements[1:])
        found = tuple(_element(next(rest), rest) for _ in range(elements[0].get(5, 0)))
        if next(rest, None) is not None:
            raise ValueError("its schema has fields without a parent")
        return found
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, StopIteration) as exc:
        raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None


def encrypted(meta: bytes) -> frozenset[str]:
    """Return the columns that are encrypted in a file whose footer is not. Raises NotParquetError."""
    try:
        fields = thrift.decode(meta)
        if _ENCRYPTION not in fields:
            return frozenset()
        names = tuple(element.name for element in columns(meta))
        leaves = [name for name, element in zip(names, columns(meta), strict=True) for _ in element.leaves()]
        chunks = [chunk for group in fields[_ROW_GROUPS] for chunk in zip(leaves, group[1], strict=True)]
        return frozenset(name for name, chunk in chunks if 8 in chunk)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None


def misread(column: Element) -> str | None:
    """Return how a column is nested that Polars misreads, said of the column; None if it reads it right.

    Polars 1.44 gives other lists or panics for repeated fields outside of lists and maps, for lists of lists of two
    levels each, and for maps without values.
    https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#nested-types
    """
    if column.repeated:
        return "is repeated and no LIST"
    inside = column.children
    if column.logical in ("LIST", "MAP") and inside:
        (middle, *others) = inside
        if others or not middle.repeated:
            return f"is a {column.logical} of an unusual form"
        if column.logical == "MAP" and len(middle.children) != 2:
            return "is a MAP without values"
        if column.logical == "LIST" and middle.logical in ("LIST", "MAP"):
            return "is a LIST of an old form, whose elements are lists or maps"
        inside = middle.children
    return next((f'has a field "{one.name}" that {why}' for one in inside if (why := misread(one))), None)


def _element(fields: thrift.Fields, rest: Iterator[thrift.Fields]) -> Element:
    children = tuple(_element(next(rest), rest) for _ in range(fields.get(5) or 0))
    union = fields.get(10) or {}
    number = next(iter(union), None)
    logical = LOGICAL.get(number, f"field {number}") if number is not None else _CONVERTED.get(fields.get(6, -1), "")
    decimal = union.get(5) or {}
    return Element(
        fields[4].decode(),
        None if children else fields.get(1),
        logical,
        decimal.get(2) or fields.get(8, 0),
        children,
        fields.get(9),
        fields.get(3) == _REPEATED,
        fields.get(6),
        union.get(number),
        decimal.get(1) or fields.get(7, 0),
        fields.get(2, 0),
    )
