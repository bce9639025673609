"""`gpuquery.open_table`: exactly the files of one version, typed by the record, as pyarrow and DuckDB read them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest

import gpuquery
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from tests.support import sinks
from tests.support.pointed import by_duckdb, by_pyarrow

if TYPE_CHECKING:
    from pathlib import Path

AWKWARD = ["a/b", "a=b", " ", "%2F", '"q"', "é", "*", "..", "01", "true", "2024-01-01", "", None]


def written(folder: Path, number: int, frame: pl.DataFrame, **output: Any) -> None:
    output = {"mode": "append", **output}
    sinks.run(sinks.plan(f"file://{folder}", uid=str(UUID(int=(number + 1) << 96)), **output), frame.lazy())


def test_partition_values_come_back_as_they_were_and_filters_find_them(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": AWKWARD, "n": range(len(AWKWARD))})
    written(tmp_path / "y=1", 1, frame, partitionBy=["k"])
    opened = gpuquery.open_table(f"file://{tmp_path}/y=1")
    rows = opened.lazy().sort("n").collect()
    assert rows.equals(frame)
    assert by_duckdb(tmp_path / "y=1", "k, n", "n") == [(k, n) for n, k in enumerate(AWKWARD)]
    for value in AWKWARD:
        found = opened.lazy().filter(pl.col("k").eq_missing(pl.lit(value, dtype=pl.String))).collect()
        assert found["n"].to_list() == [AWKWARD.index(value)]
    assert opened.lazy().filter(pl.col("k") == "é").collect()["n"].to_list() == [5], "null is no value"


def test_partition_columns_have_the_types_of_the_record(tmp_path: Path) -> None:
    keys = {
        "i": [1, -2], "b": [True, False], "d": [date(2024, 1, 31), None], "f": [1.5, -0.25], "s": ["01", "1"],
        "m": [Decimal("1.10"), Decimal("-2.00")], "t": [datetime(2024, 1, 1, 12), datetime(1999, 1, 1)],
    }  # fmt: skip
    frame = pl.DataFrame({**keys, "e": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])), "n": [0, 1]})
    written(tmp_path, 1, frame, partitionBy=[*keys, "e"])
    assert gpuquery.open_table(f"file://{tmp_path}").lazy().sort("n").collect().equals(frame)


def test_each_version_is_read_with_exactly_its_files(tmp_path: Path) -> None:
    one = pl.DataFrame({"k": ["a", "b"], "v": [1, 1]})
    written(tmp_path, 1, one, partitionBy=["k"])
    written(tmp_path, 2, one.with_columns(v=pl.lit(2, pl.Int64)), partitionBy=["k"])
    written(tmp_path, 3, one.with_columns(v=pl.lit(3, pl.Int64)), partitionBy=["k"], mode="overwrite")
    written(tmp_path, 4, one.with_columns(v=pl.lit(4, pl.Int64)), partitionBy=["k"])
    uri = f"file://{tmp_path}"

    def values(version: int | None) -> list[int]:
        opened = gpuquery.open_table(uri, version)
        got = sorted(opened.lazy().collect()["v"])
        assert opened.rows == len(got)
        return got

    assert values(None) == values(4) == [3, 3, 4, 4]
    assert values(3) == [3, 3]
    for version in (1, 2):
        with pytest.raises(JobError, match=r"is not whole: version 3 \(mode overwrite\) has deleted"):
            gpuquery.open_table(uri, version)
    with pytest.raises(JobError, match="has no published version 9"):
        gpuquery.open_table(uri, 9)
    (tmp_path / "_current.json").unlink()
    assert values(None) == [3, 3, 4, 4], "a table of an older runner has no pointer"


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": ["a"], "v": [1]})
    written(tmp_path, 1, frame.clear(), partitionBy=["k"])
    assert gpuquery.open_table(f"file://{tmp_path}").lazy().collect().schema == frame.schema


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no job of GpuQuery has committed anything"):
        gpuquery.open_table(f"file://{tmp_path}")
    with pytest.raises(ValueError, match="storage_options has aws_regoin, and may have aws_endpoint_url"):
        gpuquery.open_table(f"file://{tmp_path}", storage_options={"aws_regoin": "x"})


OLD = pl.DataFrame(
    {"k": ["a/b", None], "i": [1, -2], "u": [7, 255], "f": [0.1, float("nan")], "d": [Decimal("1.10"), None]},
    schema={"k": pl.String, "i": pl.Int8, "u": pl.UInt32, "f": pl.Float32, "d": pl.Decimal(10, 2)},
)
NEW = pl.DataFrame(
    {"k": ["a/b", "c"], "i": [2**40, None], "u": [-5, 5], "f": [0.1, -0.0], "d": [Decimal("12345678901.125"), None],
     "n": ["x", None]},
    schema={"k": pl.String, "i": pl.Int64, "u": pl.Int32, "f": pl.Float64, "d": pl.Decimal(14, 3), "n": pl.String},
)  # fmt: skip
WIDE = pa.schema(
    [("k", pa.string()), ("i", pa.int64()), ("u", pa.int64()), ("f", pa.float64()), ("d", pa.decimal128(14, 3)),
     ("n", pa.string())]
)  # fmt: skip


@pytest.mark.parametrize("narrow_last", [False, True])
def test_a_table_whose_columns_have_widened_is_read_the_same_by_all(tmp_path: Path, narrow_last: bool) -> None:
    written(tmp_path, 1, OLD, partitionBy=["k"])
    written(tmp_path, 2, NEW.select("n", "f", "i", "u", "d", "k"), partitionBy=["k"], schemaEvolution="widen")
    if narrow_last:  # all wide files of two partitions go, and the columns stay as they are
        again = NEW.select("k", "i", "u", "f", "d", "n").with_columns(pl.col("f").cast(pl.Float32))
        written(tmp_path, 3, again, partitionBy=["k"], schemaEvolution="widen", mode="overwritePartitions")
    opened = gpuquery.open_table(f"file://{tmp_path}")
    ours = opened.lazy().collect()
    theirs = by_pyarrow(tmp_path, WIDE).select(WIDE.names)
    order = [("i", "ascending"), ("u", "ascending")]
    mine = ours.to_arrow().cast(WIDE)
    assert str(mine.sort_by(order).to_pylist()) == str(theirs.sort_by(order).to_pylist()), "NaN equals itself as text"
    rows = by_duckdb(tmp_path, "k, i, u, f::DOUBLE, d, n", "i NULLS LAST, u")
    assert [list(map(str, row)) for row in rows] == [
        list(map(str, row)) for row in ours.sort("i", "u", nulls_last=True).rows()
    ]
    item = Input(name="t", uri=f"file://{tmp_path}/data/", format="parquet")
    read = inputs.frames(inputs.resolve([item], StoreAccess()), StoreAccess())["t"].collect()
    assert read.select(ours.columns).sort("i", "u").equals(ours.sort("i", "u"))


def test_older_versions_of_a_widened_table_have_their_old_columns(tmp_path: Path) -> None:
    written(tmp_path, 1, OLD, partitionBy=["k"])
    written(tmp_path, 2, NEW, partitionBy=["k"], schemaEvolution="widen")
    assert gpuquery.open_table(f"file://{tmp_path}", 1).lazy().collect().schema == OLD.schema


def test_without_evolution_wider_columns_are_refused_before_the_query_runs(tmp_path: Path) -> None:
    written(tmp_path, 1, OLD, partitionBy=["k"])
    made = sinks.sink(sinks.plan(f"file://{tmp_path}", mode="append", partitionBy=["k"]))
    made.preflight()
    with pytest.raises(JobError, match=r"d is .* in the result and .* in the table.*or schemaEvolution: widen"):
        made.check_schema(NEW.schema)
