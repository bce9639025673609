"""Partition values of any kind come back as they were, by delta-rs, by pyarrow over its files, and by Polars.

Decimals below 0 are left out: delta-rs 1.6.6 makes `-7.-5` of -7.05 before it hands it to pyarrow, which refuses it.
"""

from __future__ import annotations

import math
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.tables.delta import values
from tests.support import delta_output as o
from tests.support import delta_tables as d
from tests.support.delta_output import OVERWRITE, PARTITIONS, Writer

if TYPE_CHECKING:
    from pathlib import Path

BY = ["s", "i", "f", "x", "m", "b", "d", "z", "n"]
SCHEMA = {
    "s": pl.String(), "i": pl.Int64(), "f": pl.Float64(), "x": pl.Float32(), "m": pl.Decimal(10, 2), "b": pl.Boolean(),
    "d": pl.Date(), "z": pl.Datetime("us", "UTC"), "n": pl.Datetime("us"), "v": pl.Int64(),
}  # fmt: skip
FIRST, LAST = datetime(1900, 1, 1), datetime(2200, 1, 1)
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12)
rows = st.fixed_dictionaries(
    {
        "s": st.none() | texts.filter(lambda text: text != "__HIVE_DEFAULT_PARTITION__"),
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(),
        "x": st.none() | st.floats(width=32),
        "m": st.none() | st.decimals(0, 1000, places=2),
        "b": st.none() | st.booleans(),
        "d": st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
        "z": st.none() | st.datetimes(FIRST, LAST, timezones=st.just(UTC)),
        "n": st.none() | st.datetimes(FIRST, LAST),
    }
)
ODD = {
    "s": "a/b=c %20\\ä?#*'\"\n😀", "i": -(2**63), "f": -math.inf, "x": math.nan, "m": Decimal("7.05"), "b": False,
    "d": date(1, 1, 1), "z": datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "n": FIRST,
}  # fmt: skip


def same(found: Any, want: Any) -> bool:
    if isinstance(want, float) and math.isnan(want):
        return isinstance(found, float) and math.isnan(found)
    return bool(found == want)


def frame(given: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{**one, "v": number} for number, one in enumerate(given)], schema=SCHEMA)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=4))
@example([ODD, dict.fromkeys(BY)])
@example([{**ODD, "f": -0.0, "x": 9.99994610111476e-41, "s": "~.-_ "}, {**ODD, "f": 1e20, "x": math.inf, "s": "NULL"}])
def test_partition_values_come_back_as_they_were(tmp_path: Path, given: list[dict[str, Any]]) -> None:
    path = tmp_path / "t"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    Writer(path, by=BY).write(frame(given))
    table = DeltaTable(path)
    by_rust = QueryBuilder().register("t", table).execute("SELECT * FROM t ORDER BY v").read_all()
    for name, reader in (("pyarrow", o.read(path)), ("delta-rs", by_rust)):
        found = {row["v"]: row for row in pl.DataFrame(reader).to_dicts()}
        wrong = [
            (key, found[number][key], one[key])
            for number, one in enumerate(given)
            for key in BY
            if not same(found[number][key], one[key])
        ]
        assert not wrong, name


@pytest.mark.parametrize("name", BY)
def test_polars_reads_a_partition_column_of_each_type(tmp_path: Path, name: str) -> None:
    given = [{name: ODD[name], "v": 0}, {name: None, "v": 1}]
    kinds = {name: SCHEMA[name], "v": pl.Int64()}
    Writer(tmp_path, by=[name]).write(pl.DataFrame(given, schema=kinds))
    found = pl.scan_delta(str(tmp_path)).sort("v").collect()
    assert found.schema == kinds
    assert same(found[name][0], ODD[name])
    assert found[name][1] is None


@pytest.mark.parametrize(
    ("column", "why"),
    [
        pytest.param(pl.Series([""]), "would be read as null", id="an empty text is null to every reader"),
        pytest.param(pl.Series([date(9999, 12, 31)]).dt.offset_by("1y"), "is no Date", id="a year of five digits"),
    ],
)
def test_values_that_would_change_are_refused(tmp_path: Path, column: pl.Series, why: str) -> None:
    with pytest.raises(values.UnwritableError, match=why):
        Writer(tmp_path, by=["k"]).write(pl.DataFrame({"k": column, "v": [1]}))


def test_a_column_of_bytes_is_no_partition_column(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="'k' of type Binary, by which Delta tables cannot be partitioned"):
        Writer(tmp_path, by=["k"]).committer.fit(pl.Schema({"k": pl.Binary(), "v": pl.Int64()}))


@pytest.mark.parametrize(
    ("kind", "dtype", "there", "mine"),
    [
        ("timestamp", pl.Datetime("us", "UTC"), "2026-01-01 00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("timestamp", pl.Datetime("us", "UTC"), "2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("timestamp", pl.Datetime("us", "UTC"), "2026-01-01 00:00:00.000", datetime(2026, 1, 1, tzinfo=UTC)),
        ("double", pl.Float64(), "1", 1.0), ("double", pl.Float64(), "inf", math.inf),
("double", pl.Float64(), "nan", math.nan),
        ("float", pl.Float32(), "0.10000000149011612", 0.1), ("boolean", pl.Boolean(), "TRUE", True),
        ("decimal(10,2)", pl.Decimal(10, 2), "1.5", Decimal("1.50")), ("long", pl.Int64(), "+7", 7),
        ("string", pl.String(), "", None),
    ],
)  # fmt: skip
def test_partitions_are_the_same_however_their_writers_wrote_them(
    tmp_path: Path, kind: str, dtype: pl.DataType, there: str, mine: Any
) -> None:
    protocol = d.protocol("timestampNtz")
    old = d.add(tmp_path, "a.parquet", pl.DataFrame({"v": [1]}).to_arrow(), {"k": there})
    other = d.add(tmp_path, "b.parquet", pl.DataFrame({"v": [1]}).to_arrow(), {"k": None if there else "x"})
    d.commit(tmp_path, 0, protocol, d.metadata([d.field("k", kind), d.field("v", "long")], ["k"]), old, other)
    Writer(tmp_path, PARTITIONS, by=["k"]).write(
        pl.DataFrame({"k": [mine], "v": [2]}, schema={"k": dtype, "v": pl.Int64})
    )
    assert [one["remove"]["path"] for one in o.log(tmp_path, 1) if "remove" in one] == ["a.parquet"]


def test_a_partition_value_that_is_none_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    d.commit(
        tmp_path, 0, d.protocol(), d.metadata([d.field("k", "long"), d.field("v", "long")], ["k"]),
        d.add(tmp_path, "a.parquet", pl.DataFrame({"v": [1]}).to_arrow(), {"k": "seven"}),
    )  # fmt: skip
    with pytest.raises(JobError, match=r"a partition value that its column cannot have \(seven\)"):
        Writer(tmp_path, PARTITIONS, by=["k"]).write(pl.DataFrame({"k": [1], "v": [2]}))
    assert Writer(tmp_path, OVERWRITE, by=["k"]).write(pl.DataFrame({"k": [1], "v": [2]})).version == 1


def test_delta_rs_overwrites_our_partitions_and_we_overwrite_its(tmp_path: Path) -> None:
    """Partition values that both write are the same, so each finds the other's files."""
    kinds = {name: SCHEMA[name] for name in ("d", "z", "n", "m", "b")}
    row = {name: [ODD[name]] for name in kinds}
    Writer(tmp_path, by=list(kinds)).write(pl.DataFrame({**row, "v": [1]}, schema={**kinds, "v": pl.Int64}))
    two = pl.DataFrame({**row, "v": [2]}, schema={**kinds, "v": pl.Int64})
    write_deltalake(tmp_path, two.to_arrow(), mode="overwrite", predicate="d = DATE '0001-01-01' AND b = false")
    assert o.read(tmp_path)["v"].to_pylist() == [2]
    Writer(tmp_path, PARTITIONS, by=list(kinds)).write(two.with_columns(v=pl.lit(3, pl.Int64)))
    assert o.read(tmp_path)["v"].to_pylist() == [3]
