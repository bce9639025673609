"""How the columns of a file become those of the table.

A file has a column under its name, its physical name or its id; with the table's type, or with one that fits into it
without loss; or it lacks the column, which is null then. What else it has is not the table's any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.inputs.tables.delta.schema import Column
from gpuquery.runner.parquet.elements import INT96, Element, misread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuquery.runner.inputs.tables.delta.schema import Type

_BITS: Mapping[type[pl.DataType], int] = {
    pl.Int8: 8,
    pl.Int16: 16,
    pl.Int32: 32,
    pl.Int64: 64,
    pl.UInt8: 9,
    pl.UInt16: 17,
    pl.UInt32: 33,
    pl.UInt64: 65,
}
"""Bits of a signed integer that holds all values."""
_DIGITS: Mapping[type[pl.DataType], int] = {
    pl.Int8: 3,
    pl.Int16: 5,
    pl.Int32: 10,
    pl.Int64: 19,
    pl.UInt8: 3,
    pl.UInt16: 5,
    pl.UInt32: 10,
    pl.UInt64: 20,
}
_EXACT_BITS: Mapping[type[pl.DataType], int] = {pl.Float32: 24, pl.Float64: 53}
"""Bits of the integers that a floating-point type holds exactly."""


class MisfitError(ValueError):
    """A column of a file does not fit into the table's; the message names the column and both types."""


@dataclass(frozen=True)
class Fit:
    """How one column, field or element is made."""

    source: str | None
    """Its name in the file; None if the file lacks it. Of an element of a list, nothing."""
    how: str = "same"
    """`same`; `cast` to the table's type; `int96`, a cast of moments; `struct` of fields; `list` of elements."""
    parts: tuple[Fit, ...] = ()
    """The fields of a struct, or the element of a list."""

    def to_json(self) -> list[Any]:
        """Write it down."""
        return [self.source, self.how, [part.to_json() for part in self.parts]]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Fit:
        """Read it."""
        return cls(value[0], value[1], tuple(cls.from_json(part) for part in value[2]))

    def expression(self, found: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        """Return the value of the table's type, made of the value in the file."""
        match self.how:
            case "cast" | "int96":
                return found.cast(dtype)
            case "struct":
                assert isinstance(dtype, pl.Struct)
                fields = [
                    part.field_of(found, one.dtype).alias(one.name)  # type: ignore[arg-type]
                    for part, one in zip(self.parts, dtype.fields, strict=True)
                ]
                return pl.when(found.is_not_null()).then(pl.struct(fields)).otherwise(pl.lit(None, dtype=dtype))
            case "list":
                assert isinstance(dtype, pl.List)
                return found.list.eval(self.parts[0].expression(pl.element(), dtype.inner))  # type: ignore[arg-type]
        return found

    def field_of(self, found: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        """Return the value of a field of a struct."""
        if self.source is None:
            # Not a bare literal: beside columns without rows it would make a row.
            return pl.when(found.is_null()).then(pl.lit(None, dtype=dtype)).otherwise(pl.lit(None, dtype=dtype))
        return self.expression(found.struct.field(self.source), dtype)

    def column(self, name: str, dtype: pl.DataType) -> pl.Expr:
        """Return the column of the table."""
        if self.source is None:
            return pl.lit(None, dtype=dtype).alias(name)
        made = self.expression(pl.col(self.source), dtype)
        return made if self.how == "same" and self.source == name else made.alias(name)


def fitted(column: Column, schema: Mapping[str, pl.DataType], inside: Sequence[Element]) -> Fit:
    """Fit a column of the table to a file. Raises MisfitError."""
    return _field(column, schema, {element.name: element for element in inside}, column.name)


def int96(column: Column, fit: Fit) -> Iterator[tuple[str, ...] | None]:
    """Yield the physical paths of moments that a file stores as INT96; None for those inside of lists."""
    if fit.how == "int96":
        yield (column.physical,)
    elif fit.how == "struct":
        for part, field in zip(fit.parts, column.type.fields, strict=True):
            for path in int96(field, part):
                yield None if path is None else (column.physical, *path)
    elif fit.how == "list" and column.type.element is not None:
        inner = Column("", "", None, column.type.element)
        yield from (None for _ in int96(inner, fit.parts[0]))


def has_ids(inside: Sequence[Element]) -> bool:
    """Whether a file has the ids by which its columns are to be found."""
    return any(element.id is not None for element in inside)


def _field(column: Column, schema: Mapping[str, pl.DataType], nodes: Mapping[str, Element], path: str) -> Fit:
    if column.id is None:
        source = column.physical if column.physical in schema else None
    else:
        source = next((node.name for node in nodes.values() if node.id == column.id), None)
    if source is None:
        low = column.physical.lower()
        if column.id is None and (other := next((name for name in schema if name.lower() == low), None)):
            raise MisfitError(
                f'column "{path}" is "{other}" in the file, and readers differ in whether that is the same'
            )
        return Fit(None)
    if why := misread(nodes[source]):
        raise MisfitError(f'column "{path}" {why}, which is not read here')
    return _value(source, column.type, schema[source], nodes[source], path)


def _value(source: str | None, wanted: Type, found: pl.DataType, node: Element, path: str) -> Fit:
    if wanted.fields and isinstance(found, pl.Struct):
        inside = {one.name: one.dtype for one in found.fields}
        nodes = {one.name: one for one in node.children}
        parts = tuple(_field(one, inside, nodes, f"{path}.{one.name}") for one in wanted.fields)  # type: ignore[arg-type]
        names = [one.name for one in wanted.fields]
        same = list(inside) == names and all(
            part.how == "same" and part.source == name for part, name in zip(parts, names, strict=True)
        )
        return Fit(source) if same else Fit(source, "struct", parts)
    if wanted.element is not None and isinstance(found, pl.List):
        inner = found.inner
        inside_names = [one.name for one in inner.fields] if isinstance(inner, pl.Struct) else None
        part = _value(None, wanted.element, inner, _of_list(node, inside_names), f"{path}[]")  # type: ignore[arg-type]
        return Fit(source) if part.how == "same" else Fit(source, "list", (part,))
    if found == wanted.dtype and not wanted.fields and wanted.element is None:
        return Fit(source)
    plain = not wanted.fields and wanted.element is None
    if node.physical == INT96:
        # Its clock is UTC's. Polars reads it as nanoseconds without a time zone.
        if isinstance(wanted.dtype, pl.Datetime) and wanted.dtype.time_zone == "UTC":
            return Fit(source, "int96")
    elif plain and _holds(wanted.dtype, found):
        return Fit(source, "cast")
    raise MisfitError(f'column "{path}" is {found} in the file and {wanted.dtype} in the table')


def _of_list(node: Element, names: Sequence[str] | None) -> Element:
    """The element of a list or map. `names` are the fields of its elements, if those are structs.

    https://github.com/apache/parquet-format/blob/master/LogicalTypes.md has the ways in which lists are nested.
    """
    repeated = node.children[0] if node.children else node  # `repeated int32 a` stands alone
    if len(repeated.children) != 1:
        return repeated  # of two levels, or the entries of a map
    if names is not None and [one.name for one in repeated.children] == list(names):
        return repeated
    return repeated.children[0]


def _holds(wanted: pl.DataType, found: pl.DataType) -> bool:
    """Whether a type holds every value of another."""
    match wanted, found:
        case _, pl.Null():
            return True
        case pl.String(), pl.Categorical() | pl.Enum():
            return True
        case pl.Float64(), pl.Float32():
            return True
        case ((pl.Float32() | pl.Float64()), _) if type(found) in _BITS:
            return _BITS[type(found)] - 1 <= _EXACT_BITS[type(wanted)]
        case pl.Decimal(), pl.Decimal():
            whole = (wanted.precision or 38) - wanted.scale
            return wanted.scale >= found.scale and whole >= (found.precision or 38) - found.scale
        case pl.Decimal(), _ if type(found) in _DIGITS:
            return (wanted.precision or 38) - wanted.scale >= _DIGITS[type(found)]
        case pl.Datetime(), pl.Date():
            return wanted.time_zone is None
        case pl.Datetime(), pl.Datetime():
            return found.time_unit in ("ms", "us") and (found.time_zone is None) == (wanted.time_zone is None)
        case _:
            return type(wanted) in _BITS and type(found) in _BITS and _BITS[type(found)] <= _BITS[type(wanted)]
