"""A result's columns against a Delta table's: casts that lose nothing, new columns, and all that is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.record import Bound, LeafStatistics, StagedFile
from gpuquery.runner.output.tables.delta import statistics
from gpuquery.runner.output.tables.delta.schema import lossless
from tests.support import delta_output as o
from tests.support import delta_tables as d
from tests.support.delta_output import Writer

if TYPE_CHECKING:
    from pathlib import Path

TABLE = pa.table(
    {"id": pa.array([1], pa.int64()), "price": pa.array([Decimal("1.50")], pa.decimal128(10, 2)), "note": ["a"]}
)


@pytest.mark.parametrize(
    ("dtype", "want"),
    [
        (pl.String(), "string"), (pl.Categorical(), "string"), (pl.Enum(["a"]), "string"), (pl.Int8(), "byte"),
        (pl.Int16(), "short"), (pl.Int32(), "integer"), (pl.Int64(), "long"), (pl.Float32(), "float"),
        (pl.Float64(), "double"), (pl.Boolean(), "boolean"), (pl.Binary(), "binary"), (pl.Date(), "date"),
        (pl.Decimal(12, 3), "decimal(12,3)"), (pl.Datetime("us", "Europe/Berlin"), "timestamp"),
        (pl.Datetime("ms"), "timestamp_ntz"),
    ],
    ids=str,
)  # fmt: skip
def test_a_new_table_has_the_result_s_types(tmp_path: Path, dtype: pl.DataType, want: str) -> None:
    frame = pl.DataFrame({"c": pl.Series([None], dtype=dtype), "l": pl.Series([None], dtype=pl.List(dtype))})
    Writer(tmp_path).write(frame)
    fields = json.loads(DeltaTable(tmp_path).schema().to_json())["fields"]
    assert [fields[0]["type"], fields[1]["type"]["elementType"]] == [want, want]
    assert o.read(tmp_path).to_pydict() == {"c": [None], "l": [None]}


@pytest.mark.parametrize(
    ("dtype", "cast"),
    [
        (pl.UInt8(), "Int16"), (pl.UInt16(), "Int32"), (pl.UInt32(), "Int64"), (pl.UInt64(), "Decimal.20, 0."),
        (pl.Time(), "cast it to a text"), (pl.Duration("us"), "epoch_ms"), (pl.Null(), "cast it to a type"),
        (pl.Datetime("ns"), "Datetime.'us'."), (pl.List(pl.UInt8()), "Int16"),
        (pl.Struct({"a": pl.List(pl.Time())}), "cast it to a text"),
    ],
    ids=str,
)  # fmt: skip
def test_types_that_no_delta_table_has_are_refused_with_the_cast(tmp_path: Path, dtype: pl.DataType, cast: str) -> None:
    with pytest.raises(JobError, match=rf"column 'c' has the type .*{cast}"):
        Writer(tmp_path).committer.fit(pl.Schema({"c": dtype}))


@pytest.mark.parametrize(
    ("result", "why"),
    [
        pytest.param({"id": pl.Int64, "price": pl.Decimal(10, 2)}, "lacks the column 'note'", id="a column is missing"),
        pytest.param(
            {"id": pl.Int64, "price": pl.Decimal(10, 2), "note": pl.String, "more": pl.Int64},
            "'more' .Int64. is not in the table.*schemaEvolution: widen", id="a column is new",
        ),
        pytest.param(
            {"id": pl.Float64, "price": pl.Decimal(12, 2), "note": pl.Int64},
            "'id' is Float64 in the result and long in the table: cast it to Int64.*'price'.*'note'",
            id="casts that may lose something",
        ),
        pytest.param(
            {"ID": pl.Int64, "price": pl.Decimal(10, 2), "note": pl.String}, "'ID' is 'id' in the table",
            id="other capitals",
        ),
    ],
)  # fmt: skip
def test_every_difference_is_told(tmp_path: Path, result: Any, why: str) -> None:
    write_deltalake(tmp_path, TABLE)
    writer = Writer(tmp_path)
    writer.committer.recover()
    with pytest.raises(JobError, match=why):
        writer.committer.fit(pl.Schema(result))


def test_columns_go_by_name_and_are_cast_to_the_table_s_types(tmp_path: Path) -> None:
    write_deltalake(tmp_path, TABLE)
    result = pl.DataFrame(
        {
            "note": pl.Series(["b"], dtype=pl.Categorical),
            "price": [Decimal("2.5")],
            "id": pl.Series([7], dtype=pl.UInt8),
        },
        schema_overrides={"price": pl.Decimal(5, 1)},
    )
    Writer(tmp_path).write(result)
    assert DeltaTable(tmp_path).version() == 1
    found = sorted(o.read(tmp_path).to_pylist(), key=lambda row: row["id"])
    assert found == [
        {"id": 1, "price": Decimal("1.50"), "note": "a"}, {"id": 7, "price": Decimal("2.50"), "note": "b"},
    ]  # fmt: skip


def test_widen_adds_columns_in_the_commit_itself_and_leaves_out_others(tmp_path: Path) -> None:
    write_deltalake(tmp_path, TABLE)
    result = pl.DataFrame({"id": [7], "day": [date(2026, 1, 1)]})
    made = Writer(tmp_path, widen=True).write(result)
    assert (made.version, DeltaTable(tmp_path).version()) == (1, 1)
    assert sorted(o.read(tmp_path).to_pylist(), key=lambda row: row["id"]) == [
        {"id": 1, "price": Decimal("1.50"), "note": "a", "day": None},
        {"id": 7, "price": None, "note": None, "day": date(2026, 1, 1)},
    ]


@pytest.mark.parametrize(
    "more",
    [{"b": pl.Int64(), "B": pl.Int64()}, {"s": pl.List(pl.Struct({"x": pl.Int64(), "X": pl.Int64()}))}],
    ids=["columns", "fields of a struct"],
)
def test_names_that_differ_by_capitals_alone_are_refused(tmp_path: Path, more: dict[str, pl.DataType]) -> None:
    """No reader opens a table with both, so one such commit would close it to everyone."""
    writer = Writer(tmp_path, widen=True)
    with pytest.raises(JobError, match=r"'[bx]' differ by capitals alone"):
        writer.committer.fit(pl.Schema({"id": pl.Int64(), **more}))
    write_deltalake(tmp_path, TABLE)
    writer.committer.recover()
    with pytest.raises(JobError, match=r"'[bx]' differ by capitals alone"):
        writer.committer.fit(pl.Schema({"id": pl.Int64(), **more}))


def test_widen_needs_the_feature_for_timestamps_without_a_zone(tmp_path: Path) -> None:
    write_deltalake(tmp_path, TABLE)
    writer = Writer(tmp_path, widen=True)
    writer.committer.recover()
    with pytest.raises(JobError, match=r"'at'.*delta\.feature\.timestampNtz"):
        writer.committer.fit(pl.Schema({"id": pl.Int64(), "at": pl.Datetime("us")}))


def test_a_type_that_changed_while_the_query_ran_is_refused(tmp_path: Path) -> None:
    other = [Writer(tmp_path)]
    with pytest.raises(JobError, match="'v' is Int64 in the result and integer in the table"):
        Writer(tmp_path).write(
            pl.DataFrame({"v": [1]}),
            before=lambda: other and other.pop().write(pl.DataFrame({"v": [2]}, schema={"v": pl.Int32})),
        )


@pytest.mark.parametrize(("nulls", "why"), [(0, None), (1, "has 1"), (None, "nobody knows")])
def test_columns_that_may_hold_no_nulls_are_checked(tmp_path: Path, nulls: int | None, why: str | None) -> None:
    DeltaTable.create(tmp_path, Schema([Field("v", "long", nullable=False)]))
    writer = Writer(tmp_path)
    writer.committer.recover()
    fit = writer.committer.fit(pl.Schema({"v": pl.Int64()}))
    leaf = LeafStatistics(path=("v",), kind="integer", values=2, nulls=nulls, bytes=1)
    (file,) = writer.stage(pl.DataFrame({"v": [1, 2]}))
    staged = [file.model_copy(update={"statistics": (leaf,)})]
    if why is None:
        assert writer.committer.commit(fit, staged).version == 1
    else:
        with pytest.raises(JobError, match=f"'v' may hold no nulls.*{why}"):
            writer.committer.commit(fit, staged)


def test_a_column_with_a_default_is_not_left_out(tmp_path: Path) -> None:
    d.commit(
        tmp_path, 0, d.protocol("allowColumnDefaults"),
        d.metadata([d.field("v", "long"), d.field("w", "long", CURRENT_DEFAULT="5")]),
    )  # fmt: skip
    writer = Writer(tmp_path, widen=True)
    writer.committer.recover()
    with pytest.raises(JobError, match="'w' has a default"):
        writer.committer.fit(pl.Schema({"v": pl.Int64()}))


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        (pl.Int32(), pl.Int64(), True), (pl.Int64(), pl.Int32(), False), (pl.UInt32(), pl.Int64(), True),
        (pl.UInt64(), pl.Int64(), False), (pl.UInt8(), pl.Int8(), False), (pl.Int32(), pl.Float64(), True),
        (pl.Int64(), pl.Float64(), False), (pl.Int16(), pl.Float32(), True), (pl.Int32(), pl.Float32(), False),
        (pl.Float32(), pl.Float64(), True), (pl.Float64(), pl.Float32(), False),
        (pl.Int32(), pl.Decimal(10, 0), True), (pl.Int32(), pl.Decimal(10, 1), False),
        (pl.Int64(), pl.Decimal(19, 0), True), (pl.UInt64(), pl.Decimal(20, 0), True),
        (pl.UInt64(), pl.Decimal(19, 0), False), (pl.Int8(), pl.Decimal(3, 0), True),
        (pl.Decimal(10, 2), pl.Decimal(12, 4), True), (pl.Decimal(10, 2), pl.Decimal(11, 4), False),
        (pl.Datetime("ms"), pl.Datetime("us"), True), (pl.Datetime("ns"), pl.Datetime("us"), False),
        (pl.Datetime("us", "Europe/Berlin"), pl.Datetime("us", "UTC"), True),
        (pl.Datetime("us"), pl.Datetime("us", "UTC"), False), (pl.Date(), pl.Datetime("us"), False),
        (pl.String(), pl.Binary(), False), (pl.Boolean(), pl.Int8(), False), (pl.Int64(), pl.String(), False),
        (pl.Array(pl.Int32(), 2), pl.List(pl.Int64()), True), (pl.List(pl.Int64()), pl.List(pl.Int32()), False),
        (pl.Struct({"a": pl.Int8()}), pl.Struct({"a": pl.Int16()}), True),
        (pl.Struct({"a": pl.Int8()}), pl.Struct({"b": pl.Int8()}), False),
    ],
    ids=str,
)  # fmt: skip
def test_a_cast_is_lossless_or_not(have: pl.DataType, want: pl.DataType, fits: bool) -> None:
    assert lossless(have, want) is fits


def leaf(path: tuple[str, ...], least: Any = None, most: Any = None, **more: Any) -> LeafStatistics:
    bounds = {} if least is None else {"least": Bound(value=least), "most": Bound(value=most)}
    return LeafStatistics(**({"path": path, "kind": "integer", "values": 3, "nulls": 1, "bytes": 1} | bounds | more))


AT = int(datetime(2026, 1, 2, 3, 4, 5, 678_001, tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("dtype", "least", "most", "want"),
    [
        pytest.param(pl.Int64(), -5, 7, (-5, 7), id="integers"),
        pytest.param(pl.Date(), 0, 31, ("1970-01-01", "1970-02-01"), id="dates"),
        pytest.param(pl.Boolean(), False, True, (False, True), id="booleans"),
        pytest.param(pl.String(), "a", "ä\"", ("a", 'ä"'), id="texts"),
        pytest.param(pl.Decimal(5, 2), "-1.50", "2.00", (-1.5, 2.0), id="decimals"),
        pytest.param(
            pl.Datetime("us", "UTC"), AT, AT, ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.679Z"),
            id="instants, in milliseconds around them",
        ),
        pytest.param(
            pl.Datetime("us"), AT, AT, ("2026-01-02T03:04:05.678", "2026-01-02T03:04:05.679"), id="local times",
        ),
        pytest.param(pl.Decimal(38, 2), "1.00", "2.00", None, id="no decimals that are no doubles"),
        pytest.param(pl.Float64(), "1.0", "2.0", None, id="no floats, for NaN"),
        pytest.param(pl.Date(), 10**7, 10**7, None, id="no days after the year 9999"),
        pytest.param(pl.Int64(), None, None, None, id="nothing that the file does not tell"),
    ],
)  # fmt: skip
def test_bounds_are_told_of_all_columns_or_of_none(dtype: pl.DataType, least: Any, most: Any, want: Any) -> None:
    told = (
        leaf(("c",), least, most),
        leaf(("s", "x"), 1, 2),
        leaf(("l", "list", "element"), 1, 2),
        leaf(("n",), nulls=3),
    )
    file = StagedFile(path="p", bytes=1, rows=3, values={"k": "a"}, statistics=(*told, leaf(("n",), nulls=3)))
    dtypes = {
        "c": dtype, "s": pl.Struct({"x": pl.Int64()}), "l": pl.List(pl.Int64()), "n": pl.Float64(), "k": pl.String(),
        "lacking": pl.Float64(),
    }  # fmt: skip
    nulls = {"c": 1, "s": {"x": 1}, "n": 3, "lacking": 3}
    bounds = (
        {} if want is None else {"minValues": {"c": want[0], "s": {"x": 1}}, "maxValues": {"c": want[1], "s": {"x": 2}}}
    )
    text = statistics.text(file, dtypes)
    assert json.loads(text) == {"numRecords": 3, "nullCount": nulls} | bounds
    assert not isinstance(dtype, pl.Decimal) or want is None or '"c":-1.50' in text
