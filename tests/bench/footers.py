"""What a footer scan costs: sizes by LIST and rows of 1,000 parquet files, against bare range reads of the same bytes.

Bare reads fetch the last 32 KiB of each file with obstore, 64 at a time, sizes known, and look at nothing. Both run in
turns in one process against the same SeaweedFS; the first pair warms up and is not counted. One JSON line on stdout.

    python -m tests.bench.footers [--files 1000] [--pairs 9]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import polars as pl
import pyarrow.parquet as pq

from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.parquet.footer import TAIL
from gpuquery.runner.sizing import estimate, parquet
from gpuquery.runner.stores import objects
from tests.bench import tpch
from tests.bench.setting import conditions
from tests.support.seaweed import Seaweed, serve

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the footer scan against bare range reads.")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "weed") as server:
        os.environ.update(server.environment)
        print(json.dumps(measure(server, upload(server, Path(folder), options.files), options)), flush=True)


def upload(server: Seaweed, folder: Path, files: int) -> str:
    """Put the first 6,000 rows of lineitem there so many times, in files of two row groups; returns the glob."""
    tpch.generate(folder / "tpch", 0.01)
    made = io.BytesIO()
    pq.write_table(pq.read_table(folder / "tpch" / "lineitem.parquet").slice(0, 6000), made, row_group_size=3000)
    bucket, client = server.make_bucket(), server.client()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: client.put_object(Bucket=bucket, Key=f"lineitem/part-{number:05d}.parquet",
                                                       Body=made.getvalue()), range(files)))  # fmt: skip
    return f"s3://{bucket}/lineitem/*.parquet"


def measure(server: Seaweed, glob: str, options: argparse.Namespace) -> dict[str, object]:
    """Run pairs in turns; in every other pair the other one goes first."""
    access = StoreAccess(endpoint=server.endpoint, path_style=True)
    folder = glob.rpartition("/")[0]
    paths = [f"{folder}/part-{number:05d}.parquet" for number in range(options.files)]
    store = stores.files(glob, access)
    assert isinstance(store, objects.Objects)
    sizes = store.sizes(paths)
    frame = pl.scan_parquet(glob, storage_options=stores.scan_options(access, glob))
    query = frame.group_by("l_returnflag").agg(pl.col("l_comment").str.len_bytes().sum())
    filtered = frame.filter(pl.col("l_shipdate") > date(1998, 9, 2)).select("l_orderkey")
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(store, paths, sizes),
        "scan": lambda: parquet.scan_footers(paths, store.sizes(paths), store),
        "scan_with_bounds": lambda: parquet.scan_footers(paths, store.sizes(paths), store, columns=["l_shipdate"]),
        "estimate": lambda: estimate(query, access),
        "estimate_filtered": lambda: estimate(filtered, access),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.pairs + 1):
        for name in list(runs) if number % 2 else reversed(runs):
            begun = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - begun)
    for taken in times.values():
        del taken[0]
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "measurement": "footer scan of parquet files on SeaweedFS against bare range reads",
        "files": options.files,
        "pairs": options.pairs,
        "rows": sum(parquet.scan_footers(paths, sizes, store).rows),
        **{f"{name}_seconds": round(seconds, 3) for name, seconds in medians.items()},
        "ratio_of_medians": round(medians["scan"] / medians["bare"], 3),
        "median_of_ratios": round(
            statistics.median(a / b for a, b in zip(times["scan"], times["bare"], strict=True)), 3
        ),
        "ratio_with_bounds": round(medians["scan_with_bounds"] / medians["bare"], 3),
        "obstore": obstore.__version__,
        "polars": pl.__version__,
        **conditions(),
    }


def bare(store: objects.Objects, paths: list[str], sizes: dict[str, int]) -> None:
    """Read the same ranges and do nothing with them."""

    async def everything() -> None:
        gate = asyncio.Semaphore(objects.IN_FLIGHT)

        async def one(path: str) -> None:
            async with gate:
                await obstore.get_range_async(
                    store.store, path.split("/", 3)[3], start=max(0, sizes[path] - TAIL), end=sizes[path]
                )

        await asyncio.gather(*(one(path) for path in paths))

    asyncio.run(everything())


if __name__ == "__main__":
    main()
