"""How much a Delta table costs: our sink and commit against deltalake's `write_deltalake`, to the same store.

TPC-H lineitem into a table without partitions, and into one in folders by l_shipmode. They write in turn, each into a
table of its own; the first round warms up and is not counted. Ours is a whole attempt with its checks; deltalake gets a
frame, which Polars reads first as a part of the measurement. CPU seconds are those of this process alone.

    python -m tests.bench.delta_output [--scale 0.2] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake

from tests.bench.setting import conditions
from tests.bench.sink import Took, lineitem, timed
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY, serve
from tests.support.sinks import plan, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.seaweed import Seaweed

LAYOUTS: dict[str, list[str]] = {"whole": [], "shipmode": ["l_shipmode"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure writing to Delta against deltalake.")
    parser.add_argument("--scale", type=float, default=0.2, help="TPC-H scale factor")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "weed") as server:
        os.environ.update(server.environment)
        frame = pl.scan_parquet(lineitem(Path(folder), options.scale))
        for layout, keys in LAYOUTS.items():
            told = measure(server, frame, keys, options.rounds)
            print(json.dumps({"layout": layout, "scale": options.scale, **told, **conditions()}), flush=True)


def measure(server: Seaweed, frame: pl.LazyFrame, keys: list[str], rounds: int) -> dict[str, object]:
    """Let both write in turn, in another order in every other round."""
    bucket, rows = server.make_bucket(), frame.select(pl.len()).collect().item()
    writers: dict[str, Callable[[str], object]] = {
        "deltalake": lambda uri: theirs(server, uri, frame, keys),
        "gpuquery": lambda uri: run(plan(uri, endpoint=server.endpoint, delta={}, partition_by=keys), frame),
    }
    found: dict[str, list[Took]] = {name: [] for name in writers}
    for number in range(rounds + 1):
        for who in list(writers) if number % 2 else reversed(writers):
            uri = f"s3://{bucket}/{who}-{number}"
            found[who].append(timed(lambda who=who, uri=uri: writers[who](uri)))  # type: ignore[misc]
            actions = DeltaTable(uri, storage_options=options_of(server)).get_add_actions(flatten=True)
            assert sum(actions["num_records"].to_pylist()) == rows
    pairs = list(zip(found["gpuquery"][1:], found["deltalake"][1:], strict=True))
    return {
        "rounds": rounds,
        "seconds": {who: round(statistics.median(one.seconds for one in took[1:]), 3) for who, took in found.items()},
        "cpu": {who: round(statistics.median(one.cpu for one in took[1:]), 3) for who, took in found.items()},
        "ratio": round(statistics.median(mine.seconds / bare.seconds for mine, bare in pairs), 3),
        "cpu_ratio": round(statistics.median(mine.cpu / bare.cpu for mine, bare in pairs), 3),
    }


def theirs(server: Seaweed, uri: str, frame: pl.LazyFrame, keys: list[str]) -> None:
    """Let deltalake write, with our compression."""
    write_deltalake(
        uri, frame.collect(engine="streaming"), partition_by=keys or None, storage_options=options_of(server),
        writer_properties=WriterProperties(compression="ZSTD"),
    )  # fmt: skip


def options_of(server: Seaweed) -> dict[str, str]:
    """The store, as deltalake is told of it."""
    return {
        "AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true", "AWS_S3_ALLOW_UNSAFE_RENAME": "true",
    }  # fmt: skip


if __name__ == "__main__":
    main()
