"""Fingerprints of many plans, as JSON: python -m tests.support.fingerprints <folder with the tables of TPC-H>"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import polars as pl
import yaml

from gpuquery.plan.plan import Plan
from gpuquery.runner.query import queries
from gpuquery.runner.query.fingerprint import fingerprint
from tests.bench import tpch

ROOT = Path(__file__).parents[2]
SUBQUERY = """
SELECT o_orderpriority, count(*) AS n FROM orders
WHERE EXTRACT(YEAR FROM o_orderdate) = 1994 AND o_totalprice > 10
  AND o_orderkey IN (SELECT l_orderkey FROM lineitem WHERE l_commitdate < l_receiptdate)
GROUP BY o_orderpriority HAVING count(*) > 3 ORDER BY 1
"""


def frames(folder: Path) -> dict[str, pl.LazyFrame]:
    """Plans of many kinds, by name."""
    tables = dict(tpch.tables(folder))
    found = {name: getattr(tpch, name)(tables) for name in dir(tpch) if name[0] == "q" and name[1:].isdigit()}
    for file in sorted((ROOT / "examples").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            spec = document["spec"] if document["kind"] == "GpuQueryJob" else {"query": {"configMapKeyRef": ""}}
            if "configMapKeyRef" not in spec["query"] and {item["name"] for item in spec["inputs"]} <= set(tables):
                found[file.stem] = example(spec, tables)
    found["sub-query"] = pl.SQLContext(tables, eager=False).execute(SUBQUERY)
    found["memory"] = tables["orders"].join(pl.LazyFrame({"o_orderkey": [1, 2], "s": ["a", None]}), on="o_orderkey")
    found["nested"] = pl.LazyFrame({"a": [[1], [2, None]], "s": [{"x": 1}, None], "b": [b"x", None]})
    found["function"] = tables["orders"].map_batches(lambda frame: frame)  # which no GPU engine runs
    return found


def example(spec: dict, tables: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    """The plan of an example."""
    ((language, text),) = spec["query"].items()
    # Nothing is there: the tables are at hand, and no store is asked for their footers.
    inputs = [{"name": i["name"], "uri": f"file:///{i['name']}.parquet", "format": "parquet"} for i in spec["inputs"]]
    plan = Plan.model_validate(
        {
            "job": {"namespace": "ns", "name": "job", "uid": "1"},
            "attempt": 1,
            "engine": "cpu",
            "cluster": "single",
            "language": language,
            "dialect": "duckdb",
            "now": "2026-11-29T12:00:00Z",
            "query": text,
            "inputs": inputs,
            "parameters": spec.get("parameters", {}),
            "output": {"uri": "file:///out"},
        }
    )
    return queries.prepare(plan).plan({item["name"]: tables[item["name"]] for item in spec["inputs"]}).frame


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:  # whatever else this process has planned before must not matter
        for frame in reversed(frames(folder).values()):
            frame.explain()
    found = {}
    for name, frame in frames(folder).items():
        begun = time.perf_counter()
        found[name] = [fingerprint(frame).digest, round((time.perf_counter() - begun) * 1000, 1)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
