"""How much an Iceberg table costs: our sink and commit against Polars' `sink_iceberg`, to the same store and catalog.

TPC-H lineitem into a table without partitions, which is all that Polars 1.44 writes, and by ours also into one that is
partitioned by l_shipmode. They write in turn, each into a table of its own that is dropped afterwards; the first round
warms up and is not counted. Ours is a whole attempt with its checks, theirs begins when the table is loaded.

    python -m tests.bench.iceberg_output [--scale 0.2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tests.bench.setting import conditions
from tests.bench.sink import lineitem
from tests.s3.test_iceberg import Server, served
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY
from tests.support.sinks import plan, run

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "l_shipmode"
NAMES = (f"sales.b{n}" for n in itertools.count())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure writing to Iceberg against Polars.")
    parser.add_argument("--scale", type=float, default=0.2, help="TPC-H scale factor")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds")
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY, AWS_REGION=REGION)
    with tempfile.TemporaryDirectory() as folder:
        source = lineitem(Path(folder), options.scale)
        (Path(folder) / "weed").mkdir()
        with served(Path(folder) / "weed") as server:
            told = measure(server, pl.scan_parquet(source), options.rounds)
    print(json.dumps({"scale": options.scale, **told, **conditions()}), flush=True)


def measure(server: Server, frame: pl.LazyFrame, rounds: int) -> dict[str, object]:
    """Let both write in turn, in another order in every other round."""
    writers: dict[str, Callable[[str], None]] = {
        "polars": lambda name: theirs(server, name, frame),
        "gpuquery": lambda name: ours(server, name, frame),
        "partitioned": lambda name: ours(server, name, frame),
    }
    found: dict[str, list[float]] = {name: [] for name in writers}
    rows = frame.select(pl.len()).collect().item()
    for number in range(rounds + 1):
        for who in list(writers) if number % 2 else reversed(writers):
            name = next(NAMES)
            made(server, name, frame, [KEY] if who == "partitioned" else [])
            begun = time.perf_counter()
            writers[who](name)
            found[who].append(time.perf_counter() - begun)
            table = server.catalog().load_table(name)
            assert int(table.current_snapshot().summary["total-records"]) == rows
            server.catalog().purge_table(name)
    ratios = [mine / bare for mine, bare in zip(found["gpuquery"][1:], found["polars"][1:], strict=True)]
    return {
        "rounds": rounds,
        "seconds": {who: round(statistics.median(times[1:]), 3) for who, times in found.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(one, 2) for one in ratios],
    }


def made(server: Server, name: str, frame: pl.LazyFrame, partition_by: list[str]) -> None:
    """Create the table by our own sink, from no rows."""
    create = {"catalog": "lake", "name": name, "create": {"partitionBy": partition_by}}
    run(plan(None, store=server.access, table=create, mode="append"), frame.limit(0))


def ours(server: Server, name: str, frame: pl.LazyFrame) -> None:
    """A whole attempt."""
    run(plan(None, store=server.access, table={"catalog": "lake", "name": name}, mode="append"), frame)


def theirs(server: Server, name: str, frame: pl.LazyFrame) -> None:
    """Polars alone."""
    table = server.catalog().load_table(name)
    options = {
        "aws_endpoint_url": str(server.access.endpoint), "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY, "aws_region": REGION, "aws_allow_http": "true",
    }  # fmt: skip
    frame.sink_iceberg(table, mode="append", storage_options=options)


if __name__ == "__main__":
    main()
