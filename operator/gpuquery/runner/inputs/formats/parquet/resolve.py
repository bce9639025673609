"""Find the one schema of parquet files: widened where no value changes, and told where files differ.

A column that cannot be had exactly is left out, with the reason, and fails only the query that names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import SchemaEvolution
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import keys
from gpuquery.runner.inputs.formats.parquet import bounds, int96, shapes, widen
from gpuquery.runner.inputs.formats.parquet.scan import Parquet, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Schema
    from gpuquery.runner.inputs.formats.parquet.shapes import Shape

MAX_SHOWN = 3


@dataclass
class _Found:
    """What became of the columns."""

    schema: Schema = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def resolve(item: Input, files: Sequence[File], access: StoreAccess) -> Parquet:
    """Look at the files' footers. Raises JobError, or what Polars raises."""
    found = shapes.look(item, files, access)
    by_key = keys.types(item, files, access)
    if item.schema_evolution is SchemaEvolution.STRICT and len(found) > 1:
        _refuse_any(item, found)
    columns = _columns(item, found, access)
    for name in list(by_key):
        if name in columns.schema or name in columns.absent:
            told = by_key.pop(name)
            bounds.check_keys(item, name, columns.schema.get(name, told), files, access)
    if not columns.schema and not by_key:
        raise _nothing(item, files, columns)
    parts = sorted(found, key=lambda shape: -len(shape.files))
    return Parquet(
        {**columns.schema, **by_key},
        tuple(columns.warnings),
        unread=columns.absent,
        parts=tuple(_part(shape, columns.schema) for shape in parts),
        others={file.uri: number for number, shape in enumerate(parts) if number for file in shape.files},
        keys=tuple(by_key),
    )


def _part(shape: Shape, wanted: Schema) -> Part:
    kept = [name for name in shape.schema if name in wanted]
    dropped = bool(shape.unreadable) or len(kept) < len(shape.schema)
    return Part({n: shape.schema[n] for n in kept}, {n: shape.exact[n] for n in kept}, dropped, shape.whole)


def _columns(item: Input, found: Sequence[Shape], access: StoreAccess) -> _Found:
    out = _Found()
    for name in dict.fromkeys(name for shape in found for name in (*shape.exact, *shape.unreadable)):
        if reason := _unreadable(name, found):
            out.absent[name] = reason
            continue
        dtype = _widened(name, found, out)
        if dtype is None:
            continue
        if reason := _out_of_range(name, dtype, found, access) or _int96(item, name, found, access):
            out.absent[name] = reason
            continue
        out.schema[name] = dtype
        out.warnings += _told(item, name, dtype, found)
    return out


def _unreadable(name: str, found: Sequence[Shape]) -> str | None:
    for shape in found:
        if name in shape.unreadable:
            return f"{shape.unreadable[name]} ({shape.files[0].uri})"
    return None


def _widened(name: str, found: Sequence[Shape], out: _Found) -> pl.DataType | None:
    """Return the type that holds the values of all files; None, and a reason, if there is none."""
    having = [shape for shape in found if name in shape.exact]
    dtype = having[0].exact[name]
    for shape in having[1:]:
        wider = widen.common(dtype, shape.exact[name])
        if wider is None:
            first = next(one for one in having if widen.common(one.exact[name], shape.exact[name]) is None)
            out.absent[name] = (
                f"has the type {first.exact[name]} in {first.files[0].uri} and {shape.exact[name]} in "
                f"{shape.files[0].uri}, and no type holds the values of both exactly: read these files as two inputs, "
                "and cast the column in the query"
            )
            return None
        dtype = wider
    return dtype


def _out_of_range(name: str, dtype: pl.DataType, found: Sequence[Shape], access: StoreAccess) -> str | None:
    for shape in found:
        told = shape.exact.get(name)
        if told is None or not widen.narrows(told, dtype):
            continue
        if file := bounds.out_of_range(name, told, dtype, shape.files, access):
            return (
                f"has the type {told} in {file.uri} and {dtype} in other files, and the statistics of that file do not "
                f"show that its values fit into {dtype}: read these files as two inputs, and cast the column in the "
                "query"
            )
    return None


def _int96(item: Input, name: str, found: Sequence[Shape], access: StoreAccess) -> str | None:
    files = [file for shape in found if name in shape.int96 for file in shape.files]
    return int96.refusal(item, name, files, access) if files else None


def _told(item: Input, name: str, dtype: pl.DataType, found: Sequence[Shape]) -> list[str]:
    """Say what is done to a column of some files."""
    out = []
    narrower: dict[str, list[File]] = {}
    for shape in found:
        if name in shape.exact and shape.exact[name] != dtype:
            narrower.setdefault(str(shape.exact[name]), []).extend(shape.files)
    for kind, files in narrower.items():
        out.append(f'column "{name}" is {kind} in {_some(files)}: it is read as {dtype}')
    if lacking := [file for shape in found if name not in shape.exact for file in shape.files]:
        out.append(f'column "{name}" is not in {_some(lacking)}: it is null there')
    return [f'input "{item.name}": {words}' for words in out]


def _some(files: Sequence[File]) -> str:
    shown = ", ".join(file.uri for file in files[:MAX_SHOWN])
    return f"{shown} and {len(files) - MAX_SHOWN:,} more files" if len(files) > MAX_SHOWN else shown


def _refuse_any(item: Input, found: Sequence[Shape]) -> None:
    """Raise InvalidInput for the first column in which files differ."""
    first = found[0]
    for other in found[1:]:
        for name in dict.fromkeys((*first.exact, *first.unreadable, *other.exact, *other.unreadable)):
            a, b = _kind(first, name), _kind(other, name)
            if a != b:
                raise JobError(
                    Failure.INVALID_INPUT,
                    f'input "{item.name}": column "{name}" is {a} in {first.files[0].uri} and {b} in '
                    f"{other.files[0].uri}, and schemaEvolution is strict: write these files again, or set "
                    "schemaEvolution: lossless",
                )


def _kind(shape: Shape, name: str) -> str:
    if name in shape.unreadable:
        return "not readable"
    return str(shape.exact[name]) if name in shape.exact else "absent"


def _nothing(item: Input, files: Sequence[File], columns: _Found) -> JobError:
    why = next((f'its column "{n}" {why}' for n, why in columns.absent.items()), f"{files[0].uri} has no columns")
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}" has no column that can be read: {why}')
