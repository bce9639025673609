"""Which results a table takes, and as what."""

from __future__ import annotations

import polars as pl
import pytest
from pyiceberg.schema import Schema

from gpuquery.runner.inputs.tables.iceberg.types import Field, List, Map, Struct
from gpuquery.runner.output.tables.iceberg import schemas
from gpuquery.runner.output.tables.iceberg.schemas import UnfitError


def taken(kind, dtype, *, widen=False):
    """The type of the table's one column when it has taken a result's."""
    return schemas.fit([Field(7, "x", kind)], {"x": dtype}, widen=widen).columns[0].type


TAKEN = [
    ("int", pl.UInt16()), ("int", pl.Int32()), ("long", pl.UInt32()), ("long", pl.Int64()), ("float", pl.Int16()),
    ("double", pl.Int32()), ("double", pl.Float32()), ("decimal(19, 0)", pl.Int64()), ("decimal(20, 0)", pl.UInt64()),
    ("decimal(10, 3)", pl.Decimal(9, 2)), ("string", pl.Categorical()), ("string", pl.Enum(["a"])),
    ("timestamp", pl.Datetime("ms")), ("timestamptz", pl.Datetime("us", "Europe/Berlin")), ("date", pl.Date()),
    ("binary", pl.Binary()), ("boolean", pl.Boolean()), ("string", pl.Null()),
    (List(Field(8, "element", "long")), pl.List(pl.Int8)),
    (List(Field(8, "element", "long")), pl.Array(pl.Int8, 2)),
    (Struct((Field(8, "a", "long"), Field(9, "b", "string"))), pl.Struct({"a": pl.Int32, "b": pl.String})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "dtype"), TAKEN, ids=str)
def test_values_come_to_the_tables_type_where_none_is_lost(kind, dtype):
    assert taken(kind, dtype) == kind


MAP = Map(Field(8, "key", "string", required=True), Field(9, "value", "long"))
REFUSED = [
    ("int", pl.Int64(), "x is Int64 in the result and int in the table: cast it to int, or set output.schemaE"),
    ("int", pl.UInt32(), "cast it to int, or set"),
    ("long", pl.UInt64(), "no unsigned integers: cast it to BIGINT"),
    ("long", pl.Float64(), "cast it to long$"),
    ("float", pl.Int32(), "cast it to float$"),
    ("double", pl.Int64(), "cast it to double$"),
    ("decimal(9, 2)", pl.Decimal(9, 3), r"cast it to decimal\(9, 2\)$"),
    ("decimal(9, 2)", pl.Decimal(10, 2), "or set output.schemaEvolution"),
    ("decimal(18, 0)", pl.Int64(), r"cast it to decimal\(18, 0\)$"),
    ("timestamp", pl.Datetime("us", "UTC"), "cast it to timestamp$"),
    ("timestamptz", pl.Datetime("us"), "cast it to timestamptz$"),
    ("timestamp", pl.Datetime("ns"), "count microseconds: cast it to TIMESTAMP"),
    ("string", pl.Int8(), "cast it to string$"),
    ("string", pl.Duration("us"), "no durations: make it a number"),
    ("time", pl.Time(), "time in the table, which is not written"),
    ("uuid", pl.Binary(), "uuid in the table, which is not written"),
    ("fixed[3]", pl.Binary(), "not written"),
    ("timestamp_ns", pl.Datetime("ns"), "not written"),
    (MAP, pl.List(pl.Struct({"key": pl.String, "value": pl.Int64})), "is required|maps"),
    (List(Field(8, "element", "long", required=True)), pl.List(pl.Int64), "whose field element is required"),
    (Struct((Field(8, "a", "long"),)), pl.Struct({"b": pl.Int64}), "cast it to struct<a: long>"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "dtype", "says"), REFUSED, ids=str)
def test_what_could_lose_a_value_is_refused_with_the_way_out(kind, dtype, says):
    with pytest.raises(UnfitError, match=says):
        taken(kind, dtype)


WIDENED = [
    ("int", pl.Int64(), "long"),
    ("int", pl.UInt32(), "long"),
    ("float", pl.Float64(), "double"),
    ("decimal(9, 2)", pl.Decimal(12, 2), "decimal(12, 2)"),
    ("decimal(9, 2)", pl.Decimal(12, 1), "decimal(13, 2)"),
]


@pytest.mark.parametrize(("kind", "dtype", "then"), WIDENED, ids=str)
def test_columns_are_widened_where_that_is_asked_for(kind, dtype, then):
    assert taken(kind, dtype, widen=True) == then


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("decimal(38, 2)", pl.Decimal(38, 1)),
        ("decimal(9, 2)", pl.Decimal(9, 3)),
        ("long", pl.Float64()),
        ("date", pl.Datetime("us")),
    ],
    ids=str,
)
def test_nothing_else_is_widened(kind, dtype):
    with pytest.raises(UnfitError):
        taken(kind, dtype, widen=True)


TABLE = [Field(1, "id", "long", required=True), Field(2, "name", "string")]


def test_columns_go_by_name_in_the_order_of_the_table():
    found = schemas.fit(TABLE, {"name": pl.String(), "id": pl.Int32()}, widen=False)
    frame = pl.LazyFrame({"name": ["a"], "id": pl.Series([1], dtype=pl.Int32)}).select(found.select()).collect()
    assert frame.schema == {"id": pl.Int64, "name": pl.String} and found.required == ["id"]


def test_differences_of_columns_are_named():
    with pytest.raises(UnfitError, match=r"name is missing.*NULL AS name; Name is not in the table \(it has name"):
        schemas.fit(TABLE, {"id": pl.Int64(), "Name": pl.String()}, widen=False)
    with pytest.raises(UnfitError, match="name is missing"):
        schemas.fit(TABLE, {"id": pl.Int64()}, widen=True)


def test_new_columns_come_last_and_are_optional():
    found = schemas.fit(TABLE, {"tags": pl.List(pl.String), "id": pl.Int64(), "name": pl.String()}, widen=True)
    assert found.added == ("tags",)
    made = schemas.numbered(found.columns, 12)
    assert made[-1] == Field(13, "tags", List(Field(14, "element", "string")))
    assert schemas.ids(made)["tags", "list", "element"] == 14


def test_a_new_table_has_the_types_of_the_result():
    columns = schemas.created(
        {
            "a": pl.UInt32(),
            "b": pl.Struct({"c": pl.List(pl.Date), "d": pl.Decimal(9, 2)}),
            "e": pl.Datetime("ms", "UTC"),
        }
    )
    schema = Schema.model_validate(schemas.json_of(columns))
    assert [str(f.field_type) for f in schema.fields] == [
        "long", "struct<4: c: optional list<date>, 5: d: optional decimal(9, 2)>", "timestamptz",
    ]  # fmt: skip
    assert schema.highest_field_id == 6


@pytest.mark.parametrize(
    "dtype",
    [pl.UInt64(), pl.Time(), pl.Null(), pl.Duration("us"), pl.Datetime("ns"), pl.Object(), pl.List(pl.UInt64)],
    ids=str,
)
def test_a_new_table_has_no_column_that_iceberg_cannot_hold(dtype):
    with pytest.raises(UnfitError, match="column 'x' has the type"):
        schemas.created({"x": dtype})
