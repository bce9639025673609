"""Partition values as the log writes them: "Partition Value Serialization" in the protocol.

The text of a value comes from Polars' own cast to a text (`hive.partition_values`); here it becomes the protocol's. An
empty text is null to every reader (delta-rs and Spark write it so, and lose it), so it is refused.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.inputs.tables.delta import keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TYPES = (
    pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Decimal, pl.Boolean, pl.Date,
    pl.Datetime,
)  # fmt: skip
_SPECIAL = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
"""Java's words, which Spark needs; Rust and DuckDB take them too."""


class UnwritableError(ValueError):
    """A value that no partition can have; the message says why."""


def allowed(dtype: pl.DataType) -> bool:
    """Whether a column of a type can be a partition column."""
    return isinstance(dtype, _TYPES)


def text(value: str | None, dtype: pl.DataType) -> str | None:
    """Return the log's text for Polars' text of a value. Raises UnwritableError."""
    if value is None:
        return None
    if value == "":
        raise UnwritableError("the value '' would be read as null: replace it in the query")
    match dtype:
        case pl.Float32() | pl.Float64():
            made = _SPECIAL.get(value.lower(), value)
        case pl.Datetime() if dtype.time_zone is not None:
            made = keys.value(value, dtype).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
        case _:
            made = value
    try:
        keys.value(made, dtype)
    except ValueError:
        raise UnwritableError(f"the value {value!r} is no {dtype}") from None
    return made


def key(values: Mapping[str, str | None], types: Mapping[str, pl.DataType]) -> tuple[Any, ...]:
    """Return what two files of one partition have in common, however their writers have written the values.

    `types` are the partition columns in order. Raises ValueError for a text that is no value of its column.
    """
    return tuple(_same(keys.value(values.get(name), dtype), dtype) for name, dtype in types.items())


def columns(values: Sequence[Mapping[str, str | None]], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return partitions as a frame of their values, in order."""
    found = {name: [keys.value(one.get(name), dtype) for one in values] for name, dtype in types.items()}
    return pl.DataFrame({name: pl.Series(some, dtype=types[name]) for name, some in found.items()})


def _same(value: Any, dtype: pl.DataType) -> Any:
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return "NaN"
    if isinstance(dtype, pl.Float32) and math.isfinite(value):
        return struct.unpack("<f", struct.pack("<f", value))[0]  # 0.1 and 0.10000000149 are one
    return value
