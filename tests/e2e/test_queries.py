"""Queries from apply to committed parquet, held against an independent computation by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.e2e.jobs import Begun, Bench, fresh, tpch

if TYPE_CHECKING:
    from pathlib import Path

REVENUE = """
SELECT r_name AS region, EXTRACT(YEAR FROM o_orderdate) AS year,
       sum(CAST(l_extendedprice AS DECIMAL(38, 4)) * (1 - l_discount)) AS revenue
FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey
JOIN nation ON c_nationkey = n_nationkey JOIN region ON n_regionkey = r_regionkey
WHERE o_orderdate >= {since} GROUP BY ALL
"""


def duck(sql: str, tables: Path) -> pl.DataFrame:
    """Answer with DuckDB, from the local copy of the tables."""
    connection = duckdb.connect()
    for folder in tables.iterdir():
        connection.execute(f"CREATE VIEW {folder.name} AS SELECT * FROM '{folder}/*.parquet'")
    return pl.from_arrow(connection.execute(sql).to_arrow_table())  # type: ignore[return-value]


def committed(bench: Bench, job: dict[str, Any], *, hive: bool = False) -> pl.DataFrame:
    """Read what a job committed, as a plain reader."""
    uri = job["spec"]["output"]["uri"]
    return pl.read_parquet(f"{uri}/data/**/*.parquet", hive_partitioning=hive, storage_options=bench.lake.options())


def same(got: pl.DataFrame, want: pl.DataFrame) -> None:
    """Insist on equal rows in any order, with types compared by value."""
    want = want.select(got.columns).cast({c: t for c, t in got.schema.items() if t != want.schema[c]})
    assert_frame_equal(got.sort(got.columns), want.sort(got.columns), check_exact=False)


def test_sql_with_a_parameter_and_partitions_equals_an_independent_computation(bench: Bench, tables: Path) -> None:
    name = fresh("revenue")
    inputs = tpch("lineitem", "orders", "customer", "nation", "region")
    job = bench.completed(
        bench.job(
            name,
            sql=REVENUE.format(since=":since"),
            inputs=inputs,
            parameters={"since": {"date": "1994-01-01"}},
            output={"partitionBy": ["year"]},
        )
    )
    got = committed(bench, job, hive=True)
    same(got, duck(REVENUE.format(since="DATE '1994-01-01'"), tables))
    output = job["status"]["output"]
    assert (output["rows"], output["version"], output["partitions"]) == (got.height, 1, got["year"].n_unique())
    assert output["files"] == len([k for k in bench.keys(f"out/{name}/data/") if k.endswith(".parquet")])
    assert [reason for reason, _ in bench.events(name)][-1] == "Complete"


LEAST = """
import polars as pl

def query(inputs, params):
    return (inputs["orders"].filter(pl.col("o_totalprice") > params["least"])
            .group_by("o_orderpriority").agg(pl.len().alias("n")))
"""


@pytest.mark.begins(python=LEAST, inputs=tpch("orders"), parameters={"least": {"decimal": "1000.50"}})
def test_a_python_query_equals_an_independent_computation(begun: Begun, tables: Path) -> None:
    job = begun.completed()
    want = duck("SELECT o_orderpriority, count(*) n FROM orders WHERE o_totalprice > 1000.50 GROUP BY 1", tables)
    same(committed(begun.bench, job), want)


def test_a_query_from_a_configmap_runs(bench: Bench, tables: Path) -> None:
    name = fresh("configmap")
    text = "SELECT n_regionkey, count(*) AS n FROM nation GROUP BY n_regionkey"
    bench.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"q.sql": text}})
    job = bench.completed(bench.job(name, configMapKeyRef={"name": name, "key": "q.sql"}, inputs=tpch("nation")))
    same(committed(bench, job), duck(text, tables))


def test_csv_ndjson_and_hive_folders_can_be_joined(bench: Bench, tables: Path) -> None:
    name = fresh("formats")
    nation = pl.read_parquet(tables / "nation" / "*.parquet")
    client = bench.lake.client()
    client.put_object(Bucket="lake", Key=f"in/{name}/nation.csv", Body=nation.write_csv().encode())
    client.put_object(Bucket="lake", Key=f"in/{name}/nation.ndjson", Body=nation.write_ndjson().encode())
    first = bench.completed(
        bench.job(f"{name}-a", sql="SELECT * FROM region", inputs=tpch("region"), output={"partitionBy": ["r_name"]})
    )
    sql = """SELECT r.r_name, count(*) AS n FROM c JOIN j ON c.n_nationkey = j.n_nationkey
             JOIN r ON c.n_regionkey = r.r_regionkey GROUP BY r.r_name"""
    inputs = [
        {"name": "c", "uri": f"s3://lake/in/{name}/nation.csv"},
        {"name": "j", "uri": f"s3://lake/in/{name}/*.ndjson"},
        {"name": "r", "uri": first["spec"]["output"]["uri"] + "/data/"},
    ]
    job = bench.completed(bench.job(f"{name}-b", sql=sql, inputs=inputs))
    want = "SELECT r_name, count(*) n FROM nation JOIN region ON n_regionkey = r_regionkey GROUP BY 1"
    same(committed(bench, job), duck(want, tables))


def test_append_adds_and_overwrite_replaces(bench: Bench, tables: Path) -> None:
    name = fresh("modes")
    uri = f"s3://lake/out/{name}"

    def run(suffix: str, mode: str, region: int) -> dict[str, Any]:
        sql = f"SELECT n_name, n_regionkey FROM nation WHERE n_regionkey = {region}"
        output = {"uri": uri, "mode": mode, "partitionBy": ["n_regionkey"]}
        return bench.completed(bench.job(f"{name}-{suffix}", sql=sql, inputs=tpch("nation"), output=output))

    assert run("a", "append", 0)["status"]["output"]["version"] == 1
    both = run("b", "append", 1)
    assert sorted(committed(bench, both, hive=True)["n_regionkey"].unique()) == [0, 1]
    last = run("c", "overwrite", 2)
    assert last["status"]["output"]["version"] == 3
    assert committed(bench, last, hive=True)["n_regionkey"].unique().to_list() == [2]


@pytest.mark.begins(sql="SELECT n_name, n_regionkey FROM nation WHERE n_nationkey < 0", inputs=tpch("nation"))
@pytest.mark.parametrize(
    "spec", [{}, {"output": {"partitionBy": ["n_regionkey"]}}], ids=["unpartitioned", "partitioned"]
)
def test_an_empty_result_is_committed_with_its_schema(begun: Begun, spec: dict[str, Any]) -> None:
    job = begun.completed()
    assert job["status"]["output"]["rows"] == 0
    got = committed(begun.bench, job)
    assert got.height == 0
    assert "n_name" in got.columns


@pytest.mark.begins(
    sql="SELECT sum(CAST(l_extendedprice AS DECIMAL(15, 0))) AS revenue FROM lineitem", inputs=tpch("lineitem")
)
def test_a_cast_that_rounds_is_warned_about(begun: Begun) -> None:
    job = begun.completed()
    assert any("CAST" in w for w in job["status"]["warnings"])
    assert any(reason == "QueryWarning" for reason, _ in begun.bench.events(begun.name))
