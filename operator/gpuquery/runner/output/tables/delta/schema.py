"""The table's columns, and how a result becomes them: by name, by casts that lose nothing.

`output.schemaEvolution: widen` adds columns that the table lacks, and fills those that the result lacks with
nulls. All else is refused with every difference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.text import clean
from gpuquery.runner.inputs.tables.delta import schema as reading
from gpuquery.runner.output.tables.delta import types, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.inputs.tables.delta.actions import Snapshot
    from gpuquery.runner.output.tables.delta.place import Target

MAX_SAID = 5
_INTEGERS: dict[type[pl.DataType], tuple[int, bool]] = {
    pl.Int8: (8, True), pl.Int16: (16, True), pl.Int32: (32, True), pl.Int64: (64, True),
    pl.UInt8: (8, False), pl.UInt16: (16, False), pl.UInt32: (32, False), pl.UInt64: (64, False),
}  # fmt: skip
_MANTISSAS: dict[type[pl.DataType], int] = {pl.Float32: 24, pl.Float64: 53}


@dataclass(frozen=True)
class Layout:
    """The columns of a table: as the log has them, and as Polars has them."""

    fields: tuple[Mapping[str, Any], ...]
    """As the log has them, in order."""
    dtypes: Mapping[str, pl.DataType]
    """Types of the columns; those of a type without values (void) are left out."""
    partition_by: tuple[str, ...]

    @property
    def keys(self) -> dict[str, pl.DataType]:
        """The partition columns with their types, in order."""
        return {name: self.dtypes[name] for name in self.partition_by}

    @property
    def required(self) -> list[str]:
        """Names of the columns that may hold no nulls."""
        return [str(one["name"]) for one in self.fields if not one.get("nullable", True)]

    def text(self) -> str:
        """Return the schema as the log writes it."""
        return json.dumps({"type": "struct", "fields": list(self.fields)}, ensure_ascii=False)


@dataclass(frozen=True)
class Fit:
    """How a result becomes a table's columns."""

    casts: Mapping[str, pl.DataType]
    """The result's columns in the table's order, each with the type in which it is written."""
    layout: Layout
    """The table's columns after the commit."""
    added: tuple[str, ...] = ()
    """Columns that the table does not have yet."""


def of_table(target: Target, snapshot: Snapshot) -> Layout:
    """Return the columns of a version. Raises JobError."""
    found = reading.columns(target, snapshot, "none")
    fields = json.loads(snapshot.metadata["schemaString"])["fields"]
    by = tuple(snapshot.metadata.get("partitionColumns") or ())
    return Layout(tuple(fields), {one.name: one.type.dtype for one in found.all}, by)


def new(target: Target, result: Mapping[str, pl.DataType], partition_by: Sequence[str]) -> Fit:
    """Return what a new table for a result is. Raises UserError for types that Delta tables do not have."""
    if said := types.refusals(result) or types.twins(result) + _unkeyed(result, partition_by):
        raise target.refused("; ".join(said[:MAX_SAID]))
    casts = {name: types.stored(dtype) for name, dtype in result.items()}
    fields = tuple(types.field(name, dtype) for name, dtype in casts.items())
    return Fit(casts, Layout(fields, casts, tuple(partition_by)), tuple(casts))


def fitted(target: Target, layout: Layout, result: Mapping[str, pl.DataType], *, widen: bool) -> Fit:
    """Return how a result becomes the columns of a table that is there. Raises UserError with every difference."""
    said: list[str] = []
    known = {str(one["name"]): one for one in layout.fields}
    casts, fields = {}, list(layout.fields)
    for name, one in known.items():
        if name not in result:
            said += _missing(name, one, layout, widen=widen)
        elif why := _unfit(name, one, result[name], layout):
            said.append(why)
        else:
            casts[name] = layout.dtypes[name]
    lower = {name.lower(): name for name in known}
    added = {name: dtype for name, dtype in result.items() if name not in known}
    for name, dtype in added.items():
        if (like := lower.get(name.lower())) is not None:
            said.append(
                f"column {name!r} is {like!r} in the table, and Delta minds no capitals: rename it in the query"
            )
        elif not widen:
            said.append(f"column {name!r} ({dtype}) is not in the table: leave it out, or set schemaEvolution: widen")
        elif refused := types.refusals({name: dtype}):
            said += refused
        else:
            casts[name] = types.stored(dtype)
            fields.append(types.field(name, casts[name]))
    said += types.twins(added)
    if said:
        more = f"; and {len(said) - MAX_SAID} more" if len(said) > MAX_SAID else ""
        raise target.refused(f"the result does not fit: {'; '.join(said[:MAX_SAID])}{more}")
    grown = {name: casts[name] for name in added}
    return Fit(casts, replace(layout, fields=tuple(fields), dtypes={**layout.dtypes, **grown}), tuple(added))


def check_partitions(target: Target, layout: Layout, partition_by: Sequence[str]) -> None:
    """Raise UserError where the table is partitioned otherwise than the job says."""
    if tuple(partition_by) != layout.partition_by:
        raise target.refused(
            f"output.partitionBy is [{', '.join(partition_by)}], and the table is partitioned by "
            f"[{', '.join(layout.partition_by)}]: use the same"
        )


def lossless(have: pl.DataType, want: pl.DataType) -> bool:
    """Whether every value of a type is the same value in another one."""
    if have == want:
        return True
    match have, want:
        case ((pl.Categorical() | pl.Enum()), pl.String()):
            return True
        case pl.Float32(), pl.Float64():
            return True
        case pl.Decimal(), pl.Decimal():
            room = (want.precision or 38) - want.scale >= (have.precision or 38) - have.scale
            return room and want.scale >= have.scale
        case pl.Datetime(time_unit="ms" | "us"), pl.Datetime():
            return (have.time_zone is None) is (want.time_zone is None)
        case ((pl.List() | pl.Array()), pl.List()):
            return lossless(_typed(have.inner), _typed(want.inner))
        case pl.Struct(), pl.Struct():
            mine, theirs = [{one.name: _typed(one.dtype) for one in kind.fields} for kind in (have, want)]
            return list(mine) == list(theirs) and all(lossless(mine[name], theirs[name]) for name in mine)
    if (integer := _INTEGERS.get(type(have))) is None:
        return False
    bits, signed = integer
    if (wider := _INTEGERS.get(type(want))) is not None:
        return (wider[1] and wider[0] > bits) or wider == integer
    if (mantissa := _MANTISSAS.get(type(want))) is not None:
        return bits - signed <= mantissa
    digits = len(str(2 ** (bits - signed)))
    return isinstance(want, pl.Decimal) and (want.precision or 38) - want.scale >= digits


def _missing(name: str, one: Mapping[str, Any], layout: Layout, *, widen: bool) -> list[str]:
    if not one.get("nullable", True):
        return [f"column {name!r} may hold no nulls in the table, and the result lacks it: select it"]
    if name in layout.partition_by:
        return [f"the table is partitioned by the column {name!r}, and the result lacks it: select it"]
    if "CURRENT_DEFAULT" in (one.get("metadata") or {}):
        return [
            f"column {name!r} has a default in the table, which is not filled in, and the result lacks it: select it"
        ]
    if name in layout.dtypes and not widen:
        return [f"the result lacks the column {name!r} ({types.shown(one['type'])}): select it, or NULL AS {name}"]
    return []


def _unfit(name: str, one: Mapping[str, Any], have: pl.DataType, layout: Layout) -> str:
    kind, want = one["type"], layout.dtypes.get(name)
    told = f"column {name!r} is {have} in the result and {clean(types.shown(kind), 100)} in the table"
    if want is None or _holds(kind, "map"):
        return f"{told}, which is not written: leave it out"
    if not lossless(have, want):
        return f"{told}: cast it to {want} in the query"
    if _strict(kind):
        return f"{told}, where parts of it may hold no nulls, which is not checked: write to a table without that rule"
    return ""


def _holds(kind: Any, what: str) -> bool:
    if isinstance(kind, str):
        return False
    inner = [kind.get(part) for part in ("elementType", "keyType", "valueType")]
    inner += [one["type"] for one in kind.get("fields", ())]
    return kind.get("type") == what or any(_holds(one, what) for one in inner if one is not None)


def _strict(kind: Any) -> bool:
    """Whether a part of a nested type may hold no nulls."""
    if isinstance(kind, str):
        return False
    parts = [one["type"] for one in kind.get("fields", ())] + [one for one in (kind.get("elementType"),) if one]
    here = not kind.get("containsNull", True) or any(not one.get("nullable", True) for one in kind.get("fields", ()))
    return here or any(_strict(one) for one in parts)


def _unkeyed(result: Mapping[str, pl.DataType], partition_by: Sequence[str]) -> list[str]:
    return [
        f"output.partitionBy names {name!r} of type {result[name]}, by which Delta tables cannot be partitioned"
        for name in partition_by
        if not values.allowed(types.stored(result[name]))
    ]


def _typed(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
