"""Whether a result fits a table: columns go by name, and values come to the table's types only where none is lost.

Types: https://iceberg.apache.org/spec/#primitive-types, promotions: https://iceberg.apache.org/spec/#schema-evolution
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.inputs import dtypes
from gpuquery.runner.inputs.tables.iceberg import types
from gpuquery.runner.inputs.tables.iceberg.types import Field, List, Map, Struct, Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHOWN = 5
_MOST_DIGITS = 38
_DIGITS: Mapping[Any, int] = {
    pl.Int8: 3, pl.Int16: 5, pl.Int32: 10, pl.Int64: 19, pl.UInt8: 3, pl.UInt16: 5, pl.UInt32: 10, pl.UInt64: 20,
}  # fmt: skip
"""Digits that hold every value of an integer type."""
_SMALL = (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)
_TAKES: Mapping[str, tuple[Any, ...]] = {
    "boolean": (pl.Boolean,),
    "int": (*_SMALL, pl.Int32),
    "long": (*_SMALL, pl.Int32, pl.UInt32, pl.Int64),
    "float": (*_SMALL, pl.Float32),
    "double": (*_SMALL, pl.Int32, pl.UInt32, pl.Float32, pl.Float64),
    "date": (pl.Date,),
    "string": (pl.String, pl.Categorical, pl.Enum),
    "binary": (pl.Binary,),
}
"""Types of Polars whose every value is one of the type."""
_MADE: Mapping[Any, str] = {
    pl.Boolean: "boolean", pl.Int8: "int", pl.Int16: "int", pl.Int32: "int", pl.UInt8: "int", pl.UInt16: "int",
    pl.Int64: "long", pl.UInt32: "long", pl.Float32: "float", pl.Float64: "double", pl.Date: "date",
    pl.String: "string", pl.Categorical: "string", pl.Enum: "string", pl.Binary: "binary",
}  # fmt: skip
_REFUSED: Mapping[Any, str] = {
    pl.UInt64: "Iceberg has no unsigned integers: cast it to BIGINT if its values allow that, or to DECIMAL(20, 0)",
    pl.Duration: "Iceberg has no durations: make it a number, in SQL by epoch_ms(...) or date_diff(...), in Polars by "
    ".dt.total_microseconds()",
    pl.Time: "times of day are not written to Iceberg: cast it to VARCHAR, or add it to a date",
    pl.Null: "it has no values and no type: cast it to a type",
}
_WIDER = {("int", "long"), ("float", "double")}
"""Promotions that keep every value."""


class UnfitError(ValueError):
    """A result that a table does not take; the message says how they differ, and the way out."""


@dataclass(frozen=True)
class Fit:
    """How a result becomes rows of a table."""

    columns: tuple[Field, ...]
    """The table's columns, as they are then; new ones have the id 0."""
    added: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()

    def select(self) -> list[pl.Expr]:
        """What to select from the result."""
        return [dtypes.column(one.name).cast(types.dtype_of(one.type)) for one in self.columns]

    @property
    def dtypes(self) -> dict[str, pl.DataType]:
        """The columns as Polars writes them."""
        return {one.name: types.dtype_of(one.type) for one in self.columns}

    @property
    def required(self) -> list[str]:
        """Columns that may have no nulls."""
        return [one.name for one in self.columns if one.required]


def fit(fields: Sequence[Field], result: Mapping[str, pl.DataType], *, widen: bool) -> Fit:
    """Return how a result of these types becomes rows of a table with these columns. Raises UnfitError."""
    wrong: list[str] = []
    columns: list[Field] = []
    widened: list[str] = []
    for one in fields:
        have = result.get(one.name)
        if have is None:
            wrong.append(f"{one.name} is missing in the result: select it, or NULL AS {one.name}")
            continue
        made, why = _taken(one, have, widen=widen)
        if why:
            wrong.append(why)
        elif made != one.type:
            widened.append(one.name)
        columns.append(Field(one.id, one.name, made, one.required))
    known = {one.name for one in fields}
    added = [name for name in result if name not in known]
    for name in added:
        if not widen:
            near = next((one for one in known if one.lower() == name.lower()), None)
            hint = f" (it has {near}: rename it)" if near else ""
            wrong.append(f"{name} is not in the table{hint}: leave it out, or set output.schemaEvolution: widen")
            continue
        made, why = made_of(result[name])
        if why:
            wrong.append(f"{name} is {result[name]}: {why}")
        columns.append(Field(0, name, made))
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UnfitError(f"the result does not fit the table: {'; '.join(wrong[:SHOWN])}{more}")
    return Fit(tuple(columns), tuple(added), tuple(widened))


def created(result: Mapping[str, pl.DataType]) -> tuple[Field, ...]:
    """Return the columns of a new table for a result, with ids from 1. Raises UnfitError."""
    wrong, columns = [], []
    for name, dtype in result.items():
        made, why = made_of(dtype)
        if why:
            wrong.append(f"column {name!r} has the type {dtype}: {why}")
        columns.append(Field(0, name, made))
    if wrong:
        raise UnfitError("; ".join(wrong[:SHOWN]))
    return numbered(columns, 0)


def numbered(columns: Sequence[Field], last: int) -> tuple[Field, ...]:
    """Give columns that have none ids beyond the last one that was given: of one level first, as Iceberg does."""
    after = itertools.count(last + 1)
    tops = [next(after) if not one.id else one.id for one in columns]
    return tuple(
        one if one.id else Field(number, one.name, _numbered(one.type, after), one.required)
        for number, one in zip(tops, columns, strict=True)
    )


def json_of(columns: Sequence[Field]) -> dict[str, Any]:
    """Write a struct as the table's metadata has it."""
    return {
        "type": "struct",
        "fields": [{"id": f.id, "name": f.name, "type": _json(f.type), "required": f.required} for f in columns],
    }


def ids(columns: Sequence[Field]) -> dict[tuple[str, ...], int]:
    """Return the ids of all fields, by their paths in a parquet file."""

    def walk(one: Field, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
        yield path, one.id
        for child in types.children(one.type):
            yield from walk(child, (*path, "list", "element") if isinstance(one.type, List) else (*path, child.name))

    return dict(pair for one in columns for pair in walk(one, (one.name,)))


def made_of(dtype: pl.DataType) -> tuple[Type, str]:
    """Return Iceberg's type for one of Polars, and why there is none."""
    kind = dtype.base_type()
    if kind in _MADE:
        return _MADE[kind], ""
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision or _MOST_DIGITS}, {dtype.scale})", ""
    if isinstance(dtype, pl.Datetime):
        if dtype.time_unit == "ns":
            return "", (
                "Iceberg's timestamps count microseconds: cast it to TIMESTAMP, in Polars by .dt.cast_time_unit('us')"
            )
        return "timestamptz" if dtype.time_zone else "timestamp", ""
    if isinstance(dtype, pl.List | pl.Array):
        made, why = made_of(dtype.inner)  # type: ignore[arg-type]
        return List(Field(0, "element", made)), why
    if isinstance(dtype, pl.Struct):
        fields, first = [], ""
        for one in dtype.fields:
            made, why = made_of(one.dtype)  # type: ignore[arg-type]
            fields.append(Field(0, one.name, made))
            first = first or why
        return Struct(tuple(fields)), first
    return "", _REFUSED.get(kind, "Iceberg has no such type: cast it to another one")


def _taken(one: Field, have: pl.DataType, *, widen: bool) -> tuple[Type, str]:
    """Return the type that a column then has, and why it does not take the result's."""
    if why := unwritten(one):
        return one.type, f"{one.name} is {said(one.type)} in the table, {why}"
    if _takes(one.type, have):
        return one.type, ""
    made, why = made_of(have)
    if not why and widen and (wider := _promoted(one.type, made)) and _takes(wider, have):
        return wider, ""
    if not why:
        could = _promoted(one.type, made) and not widen
        why = f"cast it to {said(one.type)}"
        why += ", or set output.schemaEvolution: widen" if could else ""
    return one.type, f"{one.name} is {have} in the result and {said(one.type)} in the table: {why}"


def _takes(want: Type, have: pl.DataType) -> bool:
    """Whether every value of a type is one of the other."""
    match want:
        case Struct(fields):
            if not isinstance(have, pl.Struct) or {f.name for f in fields} != {f.name for f in have.fields}:
                return False
            theirs = {f.name: f.dtype for f in have.fields}
            same_order = [f.name for f in fields] == list(theirs)
            return same_order and all(_takes(f.type, theirs[f.name]) for f in fields)  # type: ignore[arg-type]
        case List(element):
            return isinstance(have, pl.List | pl.Array) and _takes(element.type, have.inner)  # type: ignore[arg-type]
        case Map():
            return False
    if isinstance(have, pl.Null):
        return True
    if made := types.decimal_of(want):
        precision, scale = made
        if isinstance(have, pl.Decimal):
            return have.scale <= scale and (have.precision or _MOST_DIGITS) - have.scale <= precision - scale
        return precision - scale >= _DIGITS.get(have.base_type(), _MOST_DIGITS + 1)
    if want in ("timestamp", "timestamptz"):
        return isinstance(have, pl.Datetime) and have.time_unit != "ns" and bool(have.time_zone) == (want[-1] == "z")
    return have.base_type() in _TAKES.get(want, ())


def promotes(have: Type, want: Type) -> bool:
    """Whether a column of one type may become one of the other."""
    return _promoted(have, want) == want


def _promoted(have: Type, want: Type) -> Type | None:
    """Return the type that a column of one becomes so that it takes the other; None if it cannot become any."""
    if (have, want) in _WIDER:
        return want
    mine, theirs = types.decimal_of(have), types.decimal_of(want)
    if mine and theirs and theirs[1] <= mine[1]:
        precision = max(mine[0], theirs[0] - theirs[1] + mine[1])
        return f"decimal({precision}, {mine[1]})" if precision <= _MOST_DIGITS else None
    return None


def unwritten(one: Field) -> str:
    """Say why a column is never written here; empty if it is."""
    for inner in (one, *types.walk(types.children(one.type))):
        if inner is not one and inner.required:
            return f"whose field {inner.name} is required, which is not checked: make it optional"
        if isinstance(inner.type, str) and inner.type not in _TAKES and not types.decimal_of(inner.type):
            if inner.type not in ("timestamp", "timestamptz"):
                return "which is not written: write to a table without this column"
        elif isinstance(inner.type, Map):
            return "and maps are not written: write to a table without this column"
    return ""


def said(kind: Type) -> str:
    """Write a type for messages."""
    match kind:
        case Struct(fields):
            return f"struct<{', '.join(f'{f.name}: {said(f.type)}' for f in fields)}>"
        case List(element):
            return f"list<{said(element.type)}>"
        case Map(key, value):
            return f"map<{said(key.type)}, {said(value.type)}>"
    return kind


def _numbered(kind: Type, after: Iterator[int]) -> Type:
    match kind:
        case Struct(fields):
            numbers = [next(after) for _ in fields]
            return Struct(
                tuple(Field(n, f.name, _numbered(f.type, after)) for n, f in zip(numbers, fields, strict=True))
            )
        case List(element):
            number = next(after)
            return List(Field(number, "element", _numbered(element.type, after)))
    return kind


def _json(kind: Type) -> Any:
    match kind:
        case Struct(fields):
            return json_of(fields)
        case List(element):
            return {
                "type": "list", "element-id": element.id, "element": _json(element.type),
                "element-required": element.required,
            }  # fmt: skip
        case Map(key, value):
            return {
                "type": "map", "key-id": key.id, "key": _json(key.type), "value-id": value.id,
                "value": _json(value.type), "value-required": value.required,
            }  # fmt: skip
    return kind
