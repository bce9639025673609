"""What a Delta table costs as an input, on local disk, each against a bare way to the same end, in turns.

- Reading: TPC-H lineitem in a number of files as a Delta table, against a plain scan of the same files; and in
  partitions by l_shipmode, against Polars' own hive scan of them. The query is TPC-H's Q1 without its ORDER BY.
- Resolution: a table of many small files, against deltalake's list of them, which looks into none, and against the
  same with every footer read.

One JSON line on stdout.

    python -m tests.bench.delta [--scale 0.1] [--files 10000] [--pairs 9]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.inputs.tables import delta
from gpuquery.runner.sizing import parquet
from tests.bench import tpch
from tests.bench.setting import conditions
from tests.support import delta_tables as d

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = StoreAccess()
ROWS_PER_FILE = 50_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure Delta tables as inputs.")
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {**reading(Path(folder), options), **resolution(Path(folder), options)}
    print(json.dumps({"measurement": "Delta tables as inputs", **vars(options), **found, **conditions()}), flush=True)


def reading(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the reading of lineitem."""
    tpch.generate(folder / "tpch", options.scale)
    rows = pl.read_parquet(folder / "tpch" / "lineitem.parquet").to_arrow()
    plain, parts = folder / "plain", folder / "parts"
    for first in range(0, rows.num_rows, ROWS_PER_FILE):
        write_deltalake(str(plain), rows.slice(first, ROWS_PER_FILE), mode="append")
    write_deltalake(str(parts), rows, partition_by=["l_shipmode"])
    one, several = resolved(plain), resolved(parts)
    uris = {name: [stores.of(f.uri).source(f.uri) for f in r.files] for name, r in (("a", one), ("b", several))}
    runs = {
        "plain": lambda: q1(pl.scan_parquet(uris["a"], glob=False)),
        "delta": lambda: q1(one.frame(HERE)),
        "hive": lambda: q1(pl.scan_parquet(uris["b"], glob=False, hive_partitioning=True)),
        "delta_partitioned": lambda: q1(several.frame(HERE)),
    }
    assert runs["plain"]() == runs["delta"]() == runs["hive"]() == runs["delta_partitioned"]()
    times = turns(runs, options.pairs)
    return {
        "rows": rows.num_rows,
        **seconds(times),
        "delta_against_plain": ratio(times, "delta", "plain"),
        "delta_partitioned_against_hive": ratio(times, "delta_partitioned", "hive"),
    }


def q1(frame: pl.LazyFrame) -> list[Any]:
    """TPC-H's Q1, with a count of ship modes so that the partitions' values are read, too."""
    found = (
        frame.filter(pl.col("l_shipdate") <= date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus", "l_shipmode")
        .agg(pl.col("l_quantity").sum(), pl.col("l_extendedprice").max(), pl.col("l_discount").min(), pl.len())
    )
    return sorted(found.collect(engine="streaming").rows())


def resolution(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the resolution of many files."""
    path = folder / "many"
    first = d.add(path, "0.parquet", pa.table({"k": list(range(10)), "v": ["x"] * 10}), stats='{"numRecords":10}')
    adds = [first]
    for number in range(1, options.files):
        shutil.copy(path / "0.parquet", path / f"{number}.parquet")
        adds.append({"add": first["add"] | {"path": f"{number}.parquet"}})
    d.commit(path, 0, d.protocol(), d.metadata([d.field("k", "long"), d.field("v", "string")]), *adds)
    uris = [str(path / f"{number}.parquet") for number in range(options.files)]
    files = stores.files(str(path), HERE)
    runs = {
        "deltalake": lambda: DeltaTable(str(path)).get_add_actions(),
        "deltalake_and_footers": lambda: (
            DeltaTable(str(path)).get_add_actions(),
            parquet.scan_footers(uris, files.sizes(uris), files),
        ),
        "resolve": lambda: resolved(path),
    }
    times = turns(runs, options.pairs)
    return {
        **seconds(times),
        "resolve_against_deltalake": ratio(times, "resolve", "deltalake"),
        "resolve_against_deltalake_and_footers": ratio(times, "resolve", "deltalake_and_footers"),
        "deltalake": deltalake.__version__,
        "polars": pl.__version__,
    }


def resolved(path: Path) -> Any:
    """Resolve the newest version."""
    return delta.resolve(Input.model_validate({"name": "t", "uri": f"file://{path}", "delta": {}}), HERE)


def turns(runs: dict[str, Callable[[], object]], pairs: int) -> dict[str, list[float]]:
    """Run all in turns; the first turn warms up and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(pairs + 1):
        for name in list(runs) if number % 2 else reversed(runs):
            begun = time.perf_counter()
            runs[name]()
            if number:
                times[name].append(time.perf_counter() - begun)
    return times


def seconds(times: dict[str, list[float]]) -> dict[str, float]:
    """Medians."""
    return {f"{name}_seconds": round(statistics.median(taken), 4) for name, taken in times.items()}


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """The median of the ratios of runs that followed each other."""
    return round(statistics.median(a / b for a, b in zip(times[one], times[other], strict=True)), 3)


if __name__ == "__main__":
    main()
