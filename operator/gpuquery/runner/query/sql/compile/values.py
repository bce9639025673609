"""How values are held while a query runs, and the compiled form of an expression.

Every decimal is held as Decimal(38, scale): Polars 1.44 makes a sum NULL, without a word, where the left side's
narrower type cannot hold it, and refuses to compare decimals of two precisions. A HUGEINT is held as Decimal(38, 0):
GPUs have no integers of 128 bits, and parquet has none either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.plan import Literal

_DTYPES: dict[Kind, Any] = {
    Kind.NULL: pl.Null,
    Kind.BOOLEAN: pl.Boolean,
    Kind.INT8: pl.Int8,
    Kind.INT16: pl.Int16,
    Kind.INT32: pl.Int32,
    Kind.INT64: pl.Int64,
    Kind.INT128: pl.Decimal(38, 0),
    Kind.UINT8: pl.UInt8,
    Kind.UINT16: pl.UInt16,
    Kind.UINT32: pl.UInt32,
    Kind.UINT64: pl.UInt64,
    Kind.FLOAT: pl.Float32,
    Kind.DOUBLE: pl.Float64,
    Kind.TEXT: pl.String,
    Kind.BINARY: pl.Binary,
    Kind.DATE: pl.Date,
    Kind.TIME: pl.Time,
    Kind.INTERVAL: pl.Duration("us"),
}


def dtype_of(kind: Type) -> pl.DataType:
    """Return what Polars holds values of a type in. An INTERVAL with months cannot be held, only be a constant."""
    match kind.kind:
        case Kind.DECIMAL:
            return pl.Decimal(38, kind.scale)
        case Kind.TIMESTAMP:
            return pl.Datetime("ns" if kind.unit == "ns" else "us" if kind.unit == "us" else "ms")
        case Kind.TIMESTAMP_TZ:
            return pl.Datetime("us", "UTC")
        case Kind.LIST if kind.item is not None:
            return pl.List(dtype_of(kind.item))
        case Kind.STRUCT:
            return pl.Struct({name: dtype_of(field) for name, field in kind.fields})
        case known if known in _DTYPES:
            dtype = _DTYPES[known]
            return dtype if isinstance(dtype, pl.DataType) else dtype()
        case _:
            raise SqlError(f"values of the type {kind} are not supported")


_KINDS: dict[Any, Kind] = {dtype: kind for kind, dtype in _DTYPES.items() if kind not in (Kind.INT128, Kind.INTERVAL)}


def type_of(dtype: pl.DataType) -> Type:
    """Return the type in SQL of an input's column. Raises SqlError for one that SQL has no counterpart of."""
    match dtype:
        case pl.Categorical() | pl.Enum():
            return Type(Kind.TEXT)
        case pl.Decimal() if (dtype.precision or 38) <= 38:
            return Type(Kind.DECIMAL, precision=dtype.precision or 38, scale=dtype.scale)
        case pl.Datetime(time_zone=None):
            return Type(Kind.TIMESTAMP, unit=dtype.time_unit)
        case pl.Datetime():
            return Type(Kind.TIMESTAMP_TZ)
        case pl.Duration():
            return Type(Kind.INTERVAL)
        case pl.List() | pl.Array():
            return Type(Kind.LIST, item=type_of(_dtype(dtype.inner)))
        case pl.Struct() if len({field.name.lower() for field in dtype.fields}) == len(dtype.fields) > 0:
            return Type(Kind.STRUCT, fields=tuple((field.name, type_of(_dtype(field.dtype))) for field in dtype.fields))
        case _ if dtype.base_type() in _KINDS:
            return Type(_KINDS[dtype.base_type()])
        case _:
            raise SqlError(f"SQL has no type for {dtype} values: leave the column out, or cast it in query.python")


def _dtype(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


class Unchecked(NamedTuple):
    """A whole number that may have wrapped, and the same formula computed in DOUBLE."""

    exact: pl.Expr
    nearly: pl.Expr


@dataclass(frozen=True)
class Value:
    """A compiled expression: what Polars computes, and its type in SQL. `expr` has the dtype of `dtype_of(type)`."""

    expr: pl.Expr
    type: Type
    literal: Literal | None = None
    """The constant that it is, if it is one: of any type, and after casts."""
    unchecked: Unchecked | None = None
    """Of a sum, difference or product on GPUs: what it is before its check, for a formula that goes on with it."""


@dataclass(frozen=True)
class Compiled:
    """A compiled relation: a frame whose columns stand in the relation's order, with names that are unique in it."""

    frame: pl.LazyFrame
    names: tuple[str, ...]
    types: tuple[Type, ...]

    def values(self) -> list[Value]:
        """Return the columns as values, by position: what expressions over this relation refer to."""
        return columns(self.names, self.types)


def columns(names: Sequence[str], types: Sequence[Type]) -> list[Value]:
    """Return columns of a frame as values."""
    return [Value(pl.col(name), kind) for name, kind in zip(names, types, strict=True)]
