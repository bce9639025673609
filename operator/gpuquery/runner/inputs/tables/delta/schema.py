"""The schema of a Delta table: its columns with Polars' types, and how files name them.

"Schema Serialization Format" and "Column Mapping" in the protocol.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.inputs.tables.delta.actions import Snapshot
    from gpuquery.runner.inputs.tables.delta.place import Folder

_PRIMITIVES: dict[str, pl.DataType] = {
    "string": pl.String(), "long": pl.Int64(), "integer": pl.Int32(), "short": pl.Int16(), "byte": pl.Int8(),
    "float": pl.Float32(), "double": pl.Float64(), "boolean": pl.Boolean(), "binary": pl.Binary(), "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"), "timestamp_ntz": pl.Datetime("us"),
}  # fmt: skip
_DECIMAL = re.compile(r"decimal(?:\((\d{1,2}),\s*(\d{1,2})\))?")
_ID = "delta.columnMapping.id"
_PHYSICAL = "delta.columnMapping.physicalName"


class _UnknownTypeError(ValueError):
    """A type that is not read; the message is its name."""


@dataclass(frozen=True)
class Type:
    """A type of the table: a Polars type with the names that its parts have in files."""

    dtype: pl.DataType
    fields: tuple[Column, ...] = ()
    """Of a struct; of a map `key` and `value`."""
    element: Type | None = None
    """Of a list; of a map the struct of its entries."""


@dataclass(frozen=True)
class Column:
    """A column, or a field of a struct."""

    name: str
    physical: str
    """Its name in files."""
    id: int | None
    """Its field id in files, where columns are found by ids."""
    type: Type


@dataclass(frozen=True)
class Columns:
    """All columns of a table, in order."""

    all: tuple[Column, ...]
    keys: frozenset[str]
    """Physical names of the partition columns."""
    dropped: tuple[str, ...] = ()
    """Names of columns without a type, which hold nothing but nulls and are left out."""


def columns(table: Folder, snapshot: Snapshot, mode: str) -> Columns:
    """Return the columns of a version; `mode` is that of the column mapping. Raises JobError."""
    try:
        fields = json.loads(snapshot.metadata["schemaString"])["fields"]
        found, dropped = [], []
        for field in fields:
            if field["type"] in ("void", "null"):
                dropped.append(str(field["name"]))
            else:
                found.append(_top(table, field, mode))
        names = {column.name: column.physical for column in found}
        keys = frozenset(names[name] for name in snapshot.metadata.get("partitionColumns") or ())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise table.refused(
            f"the schema of version {snapshot.version} is not what the protocol says ({type(exc).__name__}: "
            f"{clean(str(exc), 200)}): restore the log"
        ) from None
    if not found:
        raise table.refused(f"version {snapshot.version} has no columns: read a version that has some")
    return Columns(tuple(found), keys, tuple(dropped))


def _top(table: Folder, field: Any, mode: str) -> Column:
    try:
        return _column(field, mode)
    except _UnknownTypeError as exc:
        raise table.refused(
            f'column "{clean(str(field["name"]), 200)}" has the type {clean(str(exc), 200)}, which cannot be read: '
            "read a copy of the table without it, or with it as string"
        ) from None


def _column(field: Any, mode: str) -> Column:
    known, name = field.get("metadata") or {}, str(field["name"])
    physical = name if mode == "none" else str(known[_PHYSICAL])
    return Column(name, physical, int(known[_ID]) if mode == "id" else None, _type(field["type"], mode))


def _type(given: Any, mode: str) -> Type:
    if isinstance(given, str):
        return Type(_primitive(given))
    match given["type"]:
        case "struct":
            return _struct([_column(field, mode) for field in given["fields"]])
        case "array":
            return _list(_type(given["elementType"], mode))
        case "map":
            key, value = _type(given["keyType"], mode), _type(given["valueType"], mode)
            return _list(_struct([Column("key", "key", None, key), Column("value", "value", None, value)]))
        case other:
            raise _UnknownTypeError(str(other))


def _primitive(name: str) -> pl.DataType:
    if (known := _PRIMITIVES.get(name)) is not None:
        return known
    if match := _DECIMAL.fullmatch(name):
        return pl.Decimal(int(match[1] or 10), int(match[2] or 0))
    raise _UnknownTypeError(name)


def _struct(fields: Sequence[Column]) -> Type:
    return Type(pl.Struct({field.name: field.type.dtype for field in fields}), tuple(fields))


def _list(element: Type) -> Type:
    return Type(pl.List(element.dtype), (), element)
