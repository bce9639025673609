"""What types a result's columns may have: those that pyarrow, DuckDB and Spark read back to the same values.

What others cannot read, or take for something else, is refused before the query runs, with the cast to write. Seen with
pyarrow 26, DuckDB 2.0 and Spark's documented types (spark.apache.org, "Parquet Files"):

| type | what others make of it |
|---|---|
| Int128, UInt128 | pyarrow refuses the file, DuckDB reads bytes |
| Float16 | Spark refuses the file |
| Duration | DuckDB and Spark read an integer without unit |
| Null | Spark refuses the file |
| Struct without fields, Array of width 0, Object | parquet has no such types |
| Enum, Categorical | texts everywhere |
| Time, Datetime('ns') | read by pyarrow and DuckDB; Spark has no such types, so tell its readers |
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_WIDE = frozenset({"Int128", "UInt128"})
_RULES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda dtype: str(dtype) in _WIDE, "pyarrow and DuckDB read no integers of 128 bits: cast it to Decimal(38, 0)"),
    (lambda dtype: str(dtype) == "Float16", "Spark reads no half floats: cast it to Float32"),
    (
        lambda dtype: dtype == pl.Duration,
        "DuckDB and Spark read it as an integer without a unit: make it a number, in SQL by epoch_ms(...) or "
        "date_diff(...), in Polars by .dt.total_microseconds()",
    ),
    (lambda dtype: dtype == pl.Null, "it has no values and no type, and Spark reads no such column: cast it to a type"),
    (lambda dtype: dtype == pl.Object, "it holds Python objects, which parquet has no type for"),
    (lambda dtype: dtype == pl.Struct and not dtype.fields, "parquet has no structs without fields: leave it out"),
    (lambda dtype: dtype == pl.Array and 0 in dtype.shape, "parquet has no arrays of width 0: leave it out"),
)


def refusals(schema: Mapping[str, pl.DataType]) -> list[str]:
    """Say what keeps a result of this schema from being read elsewhere; empty if nothing does."""
    said = []
    for name, dtype in schema.items():
        for part in _parts(dtype):
            why = next((why for applies, why in _RULES if applies(part)), None)
            if why is not None:
                said.append(f"column {name!r} has the type {dtype}: {why}")
                break
    return said + _names(schema)


def _names(schema: Mapping[str, pl.DataType]) -> list[str]:
    """Names that readers which do not mind capitals take for one."""
    groups = [("the result", list(schema))]
    for name, dtype in schema.items():
        for part in _parts(dtype):
            if isinstance(part, pl.Struct):
                groups.append((f"column {name!r}", [field.name for field in part.fields]))
    said = []
    for where, names in groups:
        twice = [low for low, count in Counter(name.lower() for name in names).items() if count > 1]
        if twice:
            same = " and ".join(repr(name) for name in names if name.lower() == twice[0])
            said.append(f"{where} has the names {same}, which DuckDB and Spark take for one: rename one of them")
        if "" in names:
            said.append(f"{where} has a name without characters, which Spark does not read: rename it")
    return said


def _parts(dtype: Any) -> Iterator[Any]:
    """A type and all types within it."""
    yield dtype
    if isinstance(dtype, pl.List | pl.Array):
        yield from _parts(dtype.inner)
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _parts(field.dtype)
