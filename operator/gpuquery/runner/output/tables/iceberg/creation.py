"""New tables, and new columns of tables that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.runner.output.tables.iceberg import schemas, transforms
from gpuquery.runner.output.tables.iceberg.schemas import UnfitError
from gpuquery.runner.output.tables.iceberg.state import WRITTEN_VERSION, schema_of
from gpuquery.runner.output.tables.iceberg.transforms import Part, TransformError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from gpuquery.api.output import TableCreation
    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog
    from gpuquery.runner.output.tables.iceberg.state import State

FIRST_PARTITION_ID = 1000


def create(catalog: Catalog, wanted: TableCreation, result: Mapping[str, pl.DataType]) -> Any:
    """Create an empty table for a result; returns it, or the one that another has made meanwhile.

    Raises UnfitError, and JobError.
    """
    from pyiceberg import exceptions as known

    schema = schema_of(schemas.json_of(schemas.created(result)))
    spec, order = _spec(wanted, schema), _order(wanted, schema)
    properties = {"format-version": f"{WRITTEN_VERSION}", **wanted.properties}
    if (version := properties["format-version"]) != f"{WRITTEN_VERSION}":
        raise UnfitError(
            f"output.table.create.properties sets format-version to {version!r}, and only version {WRITTEN_VERSION} is "
            "written: leave it out"
        )

    def ask(client: Any) -> Any:
        try:
            return client.create_table(
                catalog.asked.identifier, schema, partition_spec=spec, sort_order=order, properties=properties
            )
        except known.TableAlreadyExistsError:
            return client.load_table(catalog.asked.identifier)

    return catalog.ask(ask)


def evolved(state: State, metadata: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return updates that give a table the result's columns, and what they require; none if it has them."""
    from pyiceberg.table.update import (
        AddSchemaUpdate,
        AssertCurrentSchemaId,
        AssertLastAssignedFieldId,
        SetCurrentSchemaUpdate,
    )

    if not state.changes or metadata.current_schema_id != state.metadata.current_schema_id:
        return (), ()  # then `moved` has found that it has all of them
    number = max(one.schema_id for one in metadata.schemas) + 1
    schema = state.schema.model_copy(update={"schema_id": number})
    return (
        (AddSchemaUpdate(schema_=schema), SetCurrentSchemaUpdate(schema_id=-1)),
        (
            AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
            AssertLastAssignedFieldId(last_assigned_field_id=metadata.last_column_id),
        ),
    )


def _spec(wanted: TableCreation, schema: Any) -> Any:
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import parse_transform

    fields = []
    for number, one in enumerate(wanted.partitions):
        source = _column(one.column, schema, "partitionBy")
        transform = one.transform if one.number is None else f"{one.transform}[{one.number}]"
        kind = str(source.field_type)
        try:
            transforms.check(Part("", tuple(one.column.split(".")), transform, kind))
        except TransformError as exc:
            raise UnfitError(f"output.table.create.partitionBy: {exc}") from None
        name = one.column if one.transform == "identity" else f"{one.column}_{_suffix(one.transform)}"
        if one.transform != "identity" and name in schema.column_names:
            raise UnfitError(
                f"output.table.create.partitionBy: the partitions by {one.transform}({one.column}) are called {name}, "
                "and so is a column of the result: rename the column"
            )
        fields.append(
            PartitionField(
                source_id=source.field_id,
                field_id=FIRST_PARTITION_ID + number,
                transform=parse_transform(transform),
                name=name,
            )
        )
    return PartitionSpec(*fields)


def _suffix(transform: str) -> str:
    return {"truncate": "trunc"}.get(transform, transform)


def _order(wanted: TableCreation, schema: Any) -> Any:
    from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, NullOrder, SortDirection, SortField, SortOrder
    from pyiceberg.transforms import IdentityTransform

    if not wanted.order:
        return UNSORTED_SORT_ORDER
    return SortOrder(
        *(
            SortField(
                source_id=_column(one.column, schema, "sortBy").field_id,
                transform=IdentityTransform(),
                direction=SortDirection.DESC if one.descending else SortDirection.ASC,
                null_order=NullOrder.NULLS_LAST if one.descending else NullOrder.NULLS_FIRST,
            )
            for one in wanted.order
        )
    )


def _column(name: str, schema: Any, what: str) -> Any:
    try:
        found = schema.find_field(name)
    except ValueError:
        known = ", ".join(one.name for one in schema.fields[:10])
        raise UnfitError(f"output.table.create.{what} names {name!r}, and the result has {known}") from None
    if not found.field_type.is_primitive:
        raise UnfitError(f"output.table.create.{what} names {name!r}, which is a {found.field_type}: name a part of it")
    return found
