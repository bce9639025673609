"""Delta tables that deltalake writes have the rows that deltalake reads, at every version."""

import contextlib
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.inputs.tables import delta

SCHEMA = pa.schema(
    {
        "k": pa.string(),
        "n": pa.int64(),
        "day": pa.date32(),
        "s": pa.struct({"a": pa.int32(), "l": pa.list_(pa.string())}),
    }
)
TEXTS = st.sampled_from([None, "a", "001", "ä b", "c%20d", "x/y=z"])


def rows(path, **which):
    item = Input.model_validate({"name": "t", "uri": f"file://{path}", "delta": which})
    found = delta.resolve(item, StoreAccess()).frame(StoreAccess()).collect(engine="streaming")
    return sorted((row for row in found.to_dicts()), key=str)


def reference(path, version=None):
    return sorted(DeltaTable(str(path), version=version).to_pyarrow_table().to_pylist(), key=str)


@st.composite
def tables(draw):
    some = draw(st.lists(st.tuples(TEXTS, st.integers(-5, 5), st.none() | st.dates(date(1, 1, 1)), TEXTS), max_size=6))
    made = [{"k": k, "n": n, "day": day, "s": {"a": n, "l": [text]} if text else None} for k, n, day, text in some]
    return pa.Table.from_pylist(made, SCHEMA)


@given(st.data())
def test_any_history_has_the_rows_of_every_version(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("t")
    keys = data.draw(st.sampled_from([[], ["k"], ["day"], ["k", "day"]]))
    write_deltalake(str(path), data.draw(tables()), partition_by=keys or None)
    for step in data.draw(st.lists(st.sampled_from(["add", "grow", "delete", "overwrite", "checkpoint"]), max_size=5)):
        match step:
            case "add":
                write_deltalake(str(path), data.draw(tables()), mode="append", schema_mode="merge")
            case "grow":
                more = data.draw(tables())
                name = data.draw(st.sampled_from(["new", "newer"]))
                grown = more.append_column(name, pa.array([1.5] * more.num_rows, pa.float64()))
                write_deltalake(str(path), grown, mode="append", schema_mode="merge")
            case "delete":
                DeltaTable(str(path)).delete(f"n > {data.draw(st.integers(-5, 5))}")
            case "overwrite":
                write_deltalake(str(path), data.draw(tables()), mode="overwrite", schema_mode="overwrite")
            case "checkpoint":
                DeltaTable(str(path)).create_checkpoint()
    for version in range(DeltaTable(str(path)).version() + 1):
        assert rows(path, version=version) == reference(path, version)
    assert rows(path) == reference(path)


VALUES = {
    "text": (pa.string(), ["x", ""]),
    "decimal": (pa.decimal128(10, 2), [Decimal("1.50"), Decimal("0.00")]),
    "double": (pa.float64(), [1.5, -0.25]),
    "float": (pa.float32(), [0.5, 2.0]),
    "byte": (pa.int8(), [-128, 127]),
    "boolean": (pa.bool_(), [True, False]),
    "day": (pa.date32(), [date(1969, 12, 31), date(9999, 12, 31)]),
    "moment": (pa.timestamp("us", "UTC"), [datetime(2026, 1, 31, 12, 0, 0, 5, UTC), datetime(1, 1, 1, tzinfo=UTC)]),
    "local": (pa.timestamp("us"), [datetime(2026, 1, 31, 12), datetime(9999, 12, 31, 23, 59, 59, 999999)]),
}


@pytest.mark.parametrize("name", VALUES)
def test_partitions_of_every_type_are_those_that_deltalake_has_written(tmp_path, name):
    kind, values = VALUES[name]
    table = pa.table({"k": pa.array([*values, None], kind), "v": pa.array([1, 2, 3], pa.int64())})
    write_deltalake(str(tmp_path), table, partition_by=["k"])
    found = {row["v"]: row["k"] for row in rows(tmp_path)}
    want = [None if value == "" else value for value in values]
    assert [found[1], found[2], found[3]] == [*want, None]


def test_a_log_that_was_cleaned_is_read_from_its_checkpoint(tmp_path):
    for n in range(12):
        table = pa.table({"n": [n]})
        write_deltalake(
            str(tmp_path), table, mode="append", configuration={"delta.logRetentionDuration": "interval 0 days"}
        )
    with contextlib.suppress(Exception):
        DeltaTable(str(tmp_path)).cleanup_metadata()
    DeltaTable(str(tmp_path)).create_checkpoint()
    for file in sorted((tmp_path / "_delta_log").glob("*.json"))[:10]:
        file.unlink()
    assert rows(tmp_path) == reference(tmp_path)
    assert len(rows(tmp_path)) == 12
