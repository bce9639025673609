"""How much the commit costs: our sink and commit against bare Polars' own partitioned sink, to the same S3 server.

TPC-H lineitem, partitioned by l_shipmode. Both run in turn in one process, so that both meet the same machine; the
first pair warms up and is not counted. One JSON line on stdout.

    python -m tests.bench.sink [--scale 1] [--pairs 7]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from gpuquery.runner import stores
from tests.bench.setting import conditions
from tests.support.seaweed import Seaweed, serve
from tests.support.sinks import plan, sink

KEY = "l_shipmode"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the sink against bare Polars.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "weed") as server:
        os.environ.update(server.environment)
        print(json.dumps(measure(server, lineitem(Path(folder), options.scale), options)), flush=True)


def lineitem(folder: Path, scale: float) -> Path:
    """Make the table."""
    tool = shutil.which("tpchgen-cli", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert tool, "tpchgen-cli is not installed"
    command = [tool, "parquet", "-s", f"{scale:g}", "--tables", "lineitem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "lineitem.parquet"


def measure(server: Seaweed, source: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run pairs in turn; in every other pair the other one goes first."""
    bucket = server.make_bucket()
    bare: list[float] = []
    ours: list[dict[str, float]] = []
    for number in range(options.pairs + 1):
        runs = [lambda n=number: bare.append(run_bare(server, bucket, source, n)),
                lambda n=number: ours.append(run_ours(server, bucket, source, n))]  # fmt: skip
        for run in runs if number % 2 else reversed(runs):
            run()
    del bare[0], ours[0]
    totals = [one["write"] + one["commit"] for one in ours]
    return {
        "measurement": "sink and commit of lineitem by l_shipmode to SeaweedFS",
        "scale": options.scale,
        "pairs": options.pairs,
        "bare_polars_seconds": round(statistics.median(bare), 3),
        "gpuquery_seconds": round(statistics.median(totals), 3),
        "ratio_of_medians": round(statistics.median(totals) / statistics.median(bare), 3),
        "median_of_ratios": round(statistics.median(o / b for o, b in zip(totals, bare, strict=True)), 3),
        "commit_seconds": round(statistics.median(one["commit"] for one in ours), 3),
        "preflight_seconds": round(statistics.median(one["preflight"] for one in ours), 3),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "polars": pl.__version__,
        **conditions(),
    }


def run_bare(server: Seaweed, bucket: str, source: Path, number: int) -> float:
    """Polars' own partitioned sink."""
    uri = f"s3://{bucket}/bare-{number}/"
    made = plan(uri, endpoint=server.endpoint)
    begun = time.perf_counter()
    pl.scan_parquet(source).sink_parquet(
        pl.PartitionBy(uri, key=KEY, include_key=False), storage_options=stores.scan_options(made.store, uri)
    )
    return time.perf_counter() - begun


def run_ours(server: Seaweed, bucket: str, source: Path, number: int) -> dict[str, float]:
    """Our sink; the preflight, which is no work on data, is measured apart."""
    made = plan(f"s3://{bucket}/ours-{number}", endpoint=server.endpoint, partition_by=[KEY])
    times = [time.perf_counter()]
    writer = sink(made)
    writer.preflight()
    times.append(time.perf_counter())
    writer.write(pl.scan_parquet(source))
    times.append(time.perf_counter())
    writer.commit()
    times.append(time.perf_counter())
    return {
        name: end - begin for name, begin, end in zip(("preflight", "write", "commit"), times, times[1:], strict=False)
    }


if __name__ == "__main__":
    main()
