"""What jobs leave in pods: Delta tables, receipts, and results that are there already."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
from deltalake import DeltaTable

from gpuquery.api.receipt import receipt_key
from tests.e2e import sets
from tests.e2e.jobs import Bench, condition, fresh, tpch, true

if TYPE_CHECKING:
    from pathlib import Path

BY_FLAG = "SELECT l_returnflag, l_linestatus, l_orderkey, l_quantity FROM lineitem"


def wanted(tables: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return what DuckDB makes of a query."""
    return sorted(
        duckdb.sql(sql.replace("FROM lineitem", f"FROM read_parquet('{tables}/lineitem/*.parquet')")).fetchall()
    )


def delta(bench: Bench, folder: str) -> DeltaTable:
    """Open a table as delta-rs does."""
    lake = bench.lake
    options = {
        "AWS_ENDPOINT_URL": f"http://{lake.host}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": lake.access_key, "AWS_SECRET_ACCESS_KEY": lake.secret_key,
    }  # fmt: skip
    return DeltaTable(f"s3://lake/{folder}", storage_options=options)


def rows(table: DeltaTable, *names: str) -> list[tuple[Any, ...]]:
    """Return a table's rows, as delta-rs and pyarrow read them."""
    found = table.to_pyarrow_table(columns=list(names))
    return sorted(zip(*(column.to_pylist() for column in found.columns), strict=True))


def test_one_pod_makes_a_delta_table_and_a_set_of_three_appends_to_it(together: Bench, tables: Path) -> None:
    folder = f"out/{fresh('delta')}"
    output = {"uri": f"s3://lake/{folder}", "delta": {}, "partitionBy": ["l_returnflag", "l_linestatus"]}
    one = together.job(fresh("delta"), sql=BY_FLAG, inputs=tpch("lineitem"), output=output)
    first = together.completed(one)["status"]["output"]
    columns = ("l_returnflag", "l_linestatus", "l_orderkey", "l_quantity")
    want = wanted(tables, BY_FLAG)
    table = delta(together, folder)
    assert rows(table, *columns) == want
    assert (first["version"], first["rows"], first["uri"]) == (0, len(want), f"s3://lake/{folder}/")
    assert table.metadata().partition_columns == ["l_returnflag", "l_linestatus"]
    ranks = sets.started(together, sql=BY_FLAG, output={**output, "mode": "append"})
    job = together.as_completed(ranks.name)
    table = delta(together, folder)
    assert rows(table, *columns) == sorted(want * 2)
    assert job["status"]["output"]["version"] == table.version() == 1
    about = job["metadata"]
    assert table.transaction_version(f"gpuquery/{about['namespace']}/{about['name']}/{about['uid']}") == 1
    left = [key for key in together.keys(f"{folder}/_staging/") if not key.endswith("/permit")]
    assert left == [], "what the ranks have staged is gone"


def test_a_receipt_says_what_has_run_and_whose_result_is_there_already_needs_no_pod(together: Bench) -> None:
    out = f"out/{fresh('reuse')}"
    spec = {
        "sql": "SELECT n_regionkey, count(*) AS n FROM nation GROUP BY n_regionkey", "inputs": tpch("nation"),
        "output": {"uri": f"s3://lake/{out}", "mode": "overwrite"}, "reuse": {"maxAge": "1h"}, "preflight": "always",
    }  # fmt: skip
    first = together.completed(together.job(fresh("first"), **spec))
    receipt = first["status"]["receipt"]
    assert not true(first, "Reused")
    assert receipt["query"] and receipt["image"], receipt
    key = f"{out}/{receipt_key(first['metadata']['uid'])}"
    whole = json.loads(together.lake.client().get_object(Bucket="lake", Key=key)["Body"].read())
    assert whole["query"]["sha256"] == receipt["query"]
    again = together.completed(together.job(fresh("again"), **spec))
    assert true(again, "Reused"), again["status"]["conditions"]
    assert first["metadata"]["name"] in (condition(again, "Reused") or {})["message"]
    assert again["status"]["output"]["version"] == first["status"]["output"]["version"]
    assert not again["status"].get("attempts"), "no attempt was needed"
    other = together.completed(
        together.job(
            fresh("other"), **{**spec, "sql": spec["sql"].replace("n_regionkey, count", "n_regionkey, 1 + count")}
        )
    )
    assert not true(other, "Reused")
    assert "query" in (condition(other, "Reused") or {})["message"]
    assert len(together.commits(out)) == 2
