"""A table as an attempt has first seen it, and what becomes of a result in it: columns, ids, partitions, order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import ValidationError

from gpuquery.api.output import OutputMode
from gpuquery.runner.inputs.tables.iceberg import types
from gpuquery.runner.output.tables.base import Order
from gpuquery.runner.output.tables.iceberg import data_files, schemas, transforms
from gpuquery.runner.output.tables.iceberg.predicate import Predicate
from gpuquery.runner.output.tables.iceberg.schemas import Fit, UnfitError
from gpuquery.runner.output.tables.iceberg.transforms import Part, TransformError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.schema import Schema

    from gpuquery.api.output import Output
    from gpuquery.runner.inputs.tables.iceberg.types import Field

WRITTEN_VERSION = 2


@dataclass(frozen=True)
class State:
    """How a result becomes rows of a table."""

    metadata: Any
    """pyiceberg's, of the moment when it was first loaded."""
    fit: Fit
    """The table's columns as the result's files have them, with ids."""
    where: str = ""
    """`output.overwriteWhere`."""

    @cached_property
    def schema(self) -> Schema:
        """The schema that the table has with the result's rows."""
        text = json.loads(self.metadata.schema().model_dump_json())
        told = schemas.json_of(self.fit.columns)
        known = {one["id"]: one for one in text["fields"]}
        # What is known of a column, its doc and defaults, stays.
        fields = [{**known.get(one["id"], {}), **one} for one in told["fields"]]
        return schema_of({**text, "fields": fields})

    @property
    def changes(self) -> bool:
        """Whether the table's schema becomes another one."""
        return bool(self.fit.added or self.fit.widened)

    @cached_property
    def parts(self) -> Sequence[Part]:
        """The table's partition spec."""
        return parts_of(self.metadata.spec(), self.schema)

    @cached_property
    def layout(self) -> data_files.Layout:
        """What manifests say of the result's files."""
        leaves = {
            number: self.schema.find_type(number)
            for number in schemas.ids(self.fit.columns).values()
            if self.schema.find_type(number).is_primitive
        }
        order = self.metadata.sort_order()
        number = order.order_id if self.order is not None else None
        return data_files.Layout(
            self.metadata.default_spec_id, self.parts, number, schemas.ids(self.fit.columns), leaves
        )

    @cached_property
    def order(self) -> Order | None:
        """The table's sort order; None if it has none."""
        fields = self.metadata.sort_order().fields
        if not fields:
            return None
        by = []
        for number, one in enumerate(fields):
            part = _part(f"order {number}", str(one.transform), one.source_id, self.schema)
            by.append(transforms.sorting(part))
        return Order(
            by,
            [one.direction.value == "desc" for one in fields],
            [one.null_order.value == "nulls-last" for one in fields],
        )

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits of the schema: ranks that have seen different ones must not be mixed."""
        text = json.dumps([schemas.json_of(self.fit.columns), self.metadata.default_spec_id], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @cached_property
    def predicate(self) -> Predicate | None:
        """Which rows the result replaces, if the job says so."""
        return Predicate(self.where, self.schema) if self.where else None

    def select(self) -> list[pl.Expr]:
        """What to write of the result; it fails with a row that the table may not have."""
        columns = self.fit.select()
        required = set(self.fit.required)
        out = [
            _without_nulls(column, one.name, types.dtype_of(one.type)) if one.name in required else column
            for one, column in zip(self.fit.columns, columns, strict=True)
        ]
        if self.predicate is not None:
            holds = self.predicate.expression().fill_null(value=False)
            first = self.fit.columns[0]
            out[0] = _where(out[0], holds, self.predicate.text, types.dtype_of(first.type)).alias(first.name)
        return out


def seen(output: Output, metadata: Any, result: Mapping[str, pl.DataType]) -> State:
    """Return what becomes of a result. Raises UnfitError."""
    schema = metadata.schema()
    found = schemas.fit(fields_of(schema), result, widen=output.widens)
    columns = schemas.numbered(found.columns, metadata.last_column_id)
    state = State(metadata, Fit(columns, found.added, found.widened), output.overwrite_where or "")
    if own := [name for name in result if name.startswith(transforms.KEY)]:
        raise UnfitError(f"column {own[0]!r} has a name that is reserved: rename it")
    try:
        for one in state.parts:
            transforms.check(one)
        _ = state.order
    except TransformError as exc:
        raise UnfitError(f"the table is partitioned or sorted by what is not written here: {exc}") from None
    _ = state.predicate
    return state


def check(output: Output, metadata: Any, branch: str) -> None:
    """Raise UnfitError for a table that is not written here, whatever the result."""
    if metadata.format_version != WRITTEN_VERSION:
        raise UnfitError(
            f"it has format version {metadata.format_version}, and only version 2 is written: upgrade version 1, in "
            "Spark by ALTER TABLE ... SET TBLPROPERTIES ('format-version' = '2'); of version 3 make a copy"
        )
    if key := metadata.properties.get("encryption.key-id"):
        raise UnfitError(f"encrypted tables are not written (encryption.key-id is {key!r})")
    ref = metadata.refs.get(branch)
    if ref is not None and str(ref.snapshot_ref_type) == "tag":
        raise UnfitError(f"{branch} is a tag, and only branches are written: set output.table.branch to another name")
    if output.mode is OutputMode.OVERWRITE_PARTITIONS and not _partitioned(metadata.spec()):
        raise UnfitError('it has no partitions, which mode "overwritePartitions" replaces: use mode "overwrite"')


def parts_of(spec: Any, schema: Any) -> tuple[Part, ...]:
    """Return the fields of a partition spec."""
    return tuple(_part(one.name, str(one.transform), one.source_id, schema) for one in spec.fields)


def schema_of(document: Mapping[str, Any]) -> Schema:
    """Return pyiceberg's schema. Raises UnfitError for names that are one: `a.b`, and `b` in the struct `a`."""
    from pyiceberg.schema import Schema

    try:
        return Schema.model_validate(document)
    except ValidationError as exc:
        raise UnfitError(f"the columns make no Iceberg table: {exc.errors()[0]['msg']}: rename one") from None


def fields_of(schema: Any) -> tuple[Field, ...]:
    """Return the columns of a schema of pyiceberg's."""
    return types.fields_of(json.loads(schema.model_dump_json()))


def moved(state: State, metadata: Any) -> str:
    """Say what has changed in a table since, so that the result's files do not fit it; empty if they do."""
    if metadata.table_uuid != state.metadata.table_uuid:
        return "it was dropped and made anew"
    if metadata.location != state.metadata.location:
        return f"its files are kept at {metadata.location} now"
    if state.metadata.default_spec_id not in metadata.specs():
        return "the partition spec that the result was written by is gone"
    if metadata.schema() == state.metadata.schema() and metadata.last_column_id == state.metadata.last_column_id:
        return ""
    now = {one.id: one for one in fields_of(metadata.schema())}
    mine = {one.id for one in state.fit.columns}
    for one in state.fit.columns:
        have = now.get(one.id)
        if (
            have is None
            or have.name != one.name
            or (have.type != one.type and not schemas.promotes(one.type, have.type))
        ):
            return f"its column {one.name} is another one now, or is not there"
        if have.required and not one.required:
            return f"its column {one.name} is required now"
    if news := [one.name for one in now.values() if one.required and one.id not in mine]:
        return f"it has the new column {news[0]}, which is required"
    return ""


def _partitioned(spec: Any) -> bool:
    return any(str(one.transform) != "void" for one in spec.fields)


def _part(name: str, transform: str, source: int, schema: Any) -> Part:
    path = _path(source, schema.fields)
    if not path and transform == "void":
        return Part(name, (schema.fields[0].name,), transform, "int")  # its column may have been dropped
    if not path or not schema.find_type(source).is_primitive:
        raise TransformError(f"{name} is made of a column that is not there, or that is nested")
    return Part(name, path, transform, str(schema.find_type(source)))


def _path(number: int, fields: Sequence[Any]) -> tuple[str, ...]:
    """Names that lead to a field through structs; empty if none do."""
    for one in fields:
        if one.field_id == number:
            return (one.name,)
        if one.field_type.is_struct and (below := _path(number, one.field_type.fields)):
            return (one.name, *below)
    return ()


def _without_nulls(column: pl.Expr, name: str, dtype: pl.DataType) -> pl.Expr:
    def check(values: pl.Series) -> pl.Series:
        if count := values.null_count():
            raise UnfitError(  # Polars makes another one of this class, with one argument
                f"column {name} is required in the table, and the result has {count:,} nulls in it or more: filter "
                "them out, or replace them by COALESCE",
            )
        return values

    return column.map_batches(check, return_dtype=dtype, is_elementwise=True)


def _where(first: pl.Expr, holds: pl.Expr, text: str, dtype: pl.DataType) -> pl.Expr:
    """The first column, if all rows meet a condition."""

    def check(both: pl.Series) -> pl.Series:
        meet = both.struct.field("meet")
        if count := len(meet) - int(meet.sum()):
            raise UnfitError(
                f"output.overwriteWhere is {text!r}, and the result has {count:,} rows or more that do not meet it: "
                "they would stay when the job runs again. Filter the query by the same condition",
            )
        return both.struct.field("value")

    both = pl.struct(first.alias("value"), holds.alias("meet"))
    return both.map_batches(check, return_dtype=dtype, is_elementwise=True)
