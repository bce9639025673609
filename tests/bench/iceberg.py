"""What an Iceberg table costs as an input, on local disk, each against a bare way to the same end, in turns.

- Reading: TPC-H lineitem in a number of files as an Iceberg table, against a plain scan of the same files. The query is
  TPC-H's Q1 without its ORDER BY.
- Resolution: a table of many small files, against pyiceberg's `plan_files()`, which looks into none, and against
  the same with every footer read. Both ask the same catalog for the table first.

One JSON line on stdout.

    python -m tests.bench.iceberg [--scale 0.1] [--files 10000] [--pairs 5]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from gpuquery.runner import stores
from gpuquery.runner.sizing import parquet
from tests.bench import tpch
from tests.bench.delta import HERE, ROWS_PER_FILE, q1, ratio, seconds, turns
from tests.bench.setting import conditions
from tests.support import iceberg

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure Iceberg tables as inputs.")
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for part in (reading, resolution):
        with tempfile.TemporaryDirectory() as folder:
            found |= part(Path(folder), options)
    print(json.dumps({"measurement": "Iceberg tables as inputs", **vars(options), **found, **conditions()}), flush=True)


def reading(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the reading of lineitem."""
    tpch.generate(folder / "tpch", options.scale)
    rows = pq.read_table(folder / "tpch" / "lineitem.parquet")
    strings = pa.schema([f.with_type(pa.string()) if f.type == pa.string_view() else f for f in rows.schema])
    rows = rows.cast(strings)
    with iceberg.served(folder) as lake:
        table = lake.table(rows.schema)
        for first in range(0, rows.num_rows, ROWS_PER_FILE):
            table.append(rows.slice(first, ROWS_PER_FILE))
        found = lake.resolve()
        paths = [stores.of(file.uri).source(file.uri) for file in found.files]
        runs: dict[str, Callable[[], object]] = {
            "plain": lambda: q1(pl.scan_parquet(paths, glob=False)),
            "iceberg": lambda: q1(found.frame(HERE)),
        }
        assert runs["plain"]() == runs["iceberg"]()
        times = turns(runs, options.pairs)
    return {"rows": rows.num_rows, **seconds(times), "iceberg_against_plain": ratio(times, "iceberg", "plain")}


def resolution(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the resolution of many files."""
    with iceberg.served(folder) as lake:
        table = lake.table(Schema(NestedField(1, "k", LongType()), NestedField(2, "v", StringType())))
        first = folder / "0.parquet"
        pq.write_table(iceberg.with_ids(pa.table({"k": list(range(10)), "v": ["x"] * 10}), {"k": 1, "v": 2}), first)
        known: dict[str, Any] = {
            "column_sizes": {1: 100, 2: 50}, "value_counts": {1: 10, 2: 10}, "null_value_counts": {1: 0, 2: 0},
            "lower_bounds": {1: b"\0" * 8, 2: b"x"}, "upper_bounds": {1: b"\t" + b"\0" * 7, 2: b"x"},
        }  # fmt: skip
        paths = [str(folder / f"{number}.parquet") for number in range(options.files)]
        for path in paths[1:]:
            os.link(first, path)
        made = [iceberg.file_of(table, path, 10, **known) for path in paths]
        iceberg.add_files(table, made, content=iceberg.ManifestContent.DATA)
        files = stores.files(paths[0], HERE)

        def plan_files() -> int:
            return len(list(lake.client().load_table("sales.orders").scan().plan_files()))

        runs: dict[str, Callable[[], object]] = {
            "pyiceberg": plan_files,
            "pyiceberg_and_footers": lambda: (plan_files(), parquet.scan_footers(paths, files.sizes(paths), files)),
            "resolve": lake.resolve,
        }
        assert plan_files() == len(lake.resolve().files) == options.files
        times = turns(runs, options.pairs)
    return {
        **seconds(times),
        "resolve_against_pyiceberg": ratio(times, "resolve", "pyiceberg"),
        "resolve_against_pyiceberg_and_footers": ratio(times, "resolve", "pyiceberg_and_footers"),
        "pyiceberg": pyiceberg.__version__,
        "polars": pl.__version__,
    }


if __name__ == "__main__":
    main()
