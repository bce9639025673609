"""Types of Delta tables, as the log writes them, and the types of a result that become them.

"Schema Serialization Format" in the protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md

| a result's type | in a new table |
|---|---|
| String, Categorical, Enum | string |
| Int8, Int16, Int32, Int64 | byte, short, integer, long |
| Float32, Float64 | float, double |
| Decimal, Boolean, Binary, Date | decimal, boolean, binary, date |
| Datetime (ms, us) with a time zone | timestamp: the instant; the zone's name is not kept |
| Datetime (ms, us) without one | timestamp_ntz, which needs the feature timestampNtz |
| List, Array, Struct | array, array, struct |
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMES: tuple[tuple[type[pl.DataType], str], ...] = (
    (pl.String, "string"), (pl.Categorical, "string"), (pl.Enum, "string"), (pl.Int8, "byte"), (pl.Int16, "short"),
    (pl.Int32, "integer"), (pl.Int64, "long"), (pl.Float32, "float"), (pl.Float64, "double"), (pl.Boolean, "boolean"),
    (pl.Binary, "binary"), (pl.Date, "date"),
)  # fmt: skip
_CASTS: dict[type[pl.DataType], str] = {
    pl.UInt8: "they have no unsigned integers: cast it to Int16 (SMALLINT)",
    pl.UInt16: "they have no unsigned integers: cast it to Int32 (INTEGER)",
    pl.UInt32: "they have no unsigned integers: cast it to Int64 (BIGINT)",
    pl.UInt64: "they have no unsigned integers: cast it to Int64 (BIGINT), or to Decimal(20, 0)",
    pl.Time: "they have no times of day: cast it to a text, or to an integer",
    pl.Duration: "they have no intervals: make it a number, in SQL by epoch_ms(...)",
    pl.Null: "a column without a type is read by few: cast it to a type",
}
NTZ = "timestamp_ntz"


class UntypedError(ValueError):
    """A type that no Delta table has; the message says why, and names the cast."""


def of(dtype: pl.DataType) -> Any:
    """Return the type of the log for a type of a result: a name, or a dictionary. Raises UntypedError."""
    for kind, name in _NAMES:
        if isinstance(dtype, kind):
            return name
    match dtype:
        case pl.Decimal():
            return f"decimal({dtype.precision or 38},{dtype.scale})"
        case pl.Datetime(time_unit="ns"):
            raise UntypedError("their timestamps have microseconds: cast it to Datetime('us') (TIMESTAMP)")
        case pl.Datetime():
            return NTZ if dtype.time_zone is None else "timestamp"
        case pl.List() | pl.Array():
            return {"type": "array", "elementType": of(_typed(dtype.inner)), "containsNull": True}
        case pl.Struct():
            return {"type": "struct", "fields": [field(one.name, _typed(one.dtype)) for one in dtype.fields]}
    raise UntypedError(_CASTS.get(type(dtype), "they have no such type: cast it"))


def field(name: str, dtype: pl.DataType) -> dict[str, Any]:
    """Return a nullable column of a schema."""
    return {"name": name, "type": of(dtype), "nullable": True, "metadata": {}}


def stored(dtype: pl.DataType) -> pl.DataType:
    """Return the type in which a column of a new table is written to files."""
    match dtype:
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.Datetime():
            return pl.Datetime("us", "UTC" if dtype.time_zone else None)
        case pl.List() | pl.Array():
            return pl.List(stored(_typed(dtype.inner)))
        case pl.Struct():
            return pl.Struct({one.name: stored(_typed(one.dtype)) for one in dtype.fields})
    return dtype


def refusals(schema: Mapping[str, pl.DataType]) -> list[str]:
    """Say which columns no Delta table can have, each with the cast."""
    said = []
    for name, dtype in schema.items():
        try:
            of(dtype)
        except UntypedError as exc:
            said.append(f"column {name!r} has the type {dtype}, which Delta tables lack: {exc}")
    return said


def twins(columns: Mapping[str, Any]) -> list[str]:
    """Say which columns, or fields of structs, have one name but for capitals: no reader opens such a table."""
    counts = Counter(name.lower() for name in columns)
    said = [
        f"the names of the column {name!r} differ by capitals alone: rename one" for name in counts if counts[name] > 1
    ]
    return said + [one for dtype in columns.values() for one in _twins_within(dtype)]


def _twins_within(dtype: Any) -> list[str]:
    if isinstance(dtype, pl.List | pl.Array):
        return _twins_within(dtype.inner)
    return twins({one.name: one.dtype for one in dtype.fields}) if isinstance(dtype, pl.Struct) else []


def names(kind: Any) -> Iterator[str]:
    """Yield the names of all primitive types in a type of the log."""
    if isinstance(kind, str):
        yield kind
        return
    for part in (kind.get("elementType"), kind.get("keyType"), kind.get("valueType")):
        if part is not None:
            yield from names(part)
    for one in kind.get("fields", ()):
        yield from names(one["type"])


def shown(kind: Any) -> str:
    """Return a type of the log in words."""
    if isinstance(kind, str):
        return kind
    match kind.get("type"):
        case "array":
            return f"array<{shown(kind['elementType'])}>"
        case "map":
            return f"map<{shown(kind['keyType'])}, {shown(kind['valueType'])}>"
        case "struct":
            parts = [f"{one['name']}: {shown(one['type'])}" for one in kind["fields"]]
            return f"struct<{', '.join(parts)}>"
    return str(kind)


def _typed(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
