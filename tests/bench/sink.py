"""How much the commit costs: our sink and commit against other partitioned writers, to the same S3 server.

TPC-H lineitem in three layouts: by l_shipmode (7 partitions), by the year of l_shipdate (7), and in 1,000 partitions of
its part keys. Bare Polars' own sink, ours, pyarrow's and DuckDB's write in turn, so that all meet the same machine;
the first round warms up and is not counted. Our seconds include the check of the output, the commit and the publishing.
CPU seconds are those of the process that writes, without the server's. One JSON line for each layout on stdout.

    python -m tests.bench.sink [--scale 1] [--rounds 5] [--layouts shipmode,year,thousand] [--duckdb PYTHON]
    python -m tests.bench.sink --writers polars,gpuquery --layouts thousand  # pyarrow takes minutes there
    python -m tests.bench.sink --commit 10000       # how long the commit of so many files takes
    python -m tests.bench.sink --requests           # every request to the store, with its reason

DuckDB reaches S3 with an extension. `--duckdb` is a Python that has `duckdb` and `duckdb-extension-httpfs` of one
version and `duckdb-extensions`; without it DuckDB is left out.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from gpuquery.runner import stores
from tests.bench.setting import conditions
from tests.support import store_requests
from tests.support.faultproxy import in_front_of
from tests.support.seaweed import Seaweed, serve
from tests.support.sinks import plan, sink

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "part"
LAYOUTS: dict[str, pl.Expr] = {
    "shipmode": pl.col("l_shipmode"),
    "year": pl.col("l_shipdate").dt.year(),
    "thousand": pl.col("l_partkey") % 1000,
}
DUCKDB = """
import json, resource, sys, time
import duckdb
from duckdb_extensions import import_extension

import_extension("httpfs")
given = json.load(sys.stdin)
con = duckdb.connect(config={"autoinstall_known_extensions": "false"})
con.execute("load httpfs")
con.execute(given["secret"])
before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
con.execute(given["copy"])
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": cpu}))
"""


@dataclass(frozen=True)
class Took:
    """One write."""

    seconds: float
    cpu: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the sink against other writers.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds")
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--writers", default="polars,gpuquery,pyarrow", help="who writes; polars is always needed")
    parser.add_argument("--duckdb", default="", help="a Python with duckdb and its httpfs extension")
    parser.add_argument("--commit", type=int, default=0, help="measure the commit of so many files instead")
    parser.add_argument("--requests", action="store_true", help="count requests instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "weed") as server:
        os.environ.update(server.environment)
        if options.commit:
            print(json.dumps(committing(server, options.commit)), flush=True)
            return
        source = lineitem(Path(folder), options.scale)
        for layout in options.layouts.split(","):
            table = laid_out(source, layout)
            told = requests(server, table, layout) if options.requests else measure(server, table, options)
            print(json.dumps({"layout": layout, "scale": options.scale, **told, **conditions()}), flush=True)


def lineitem(folder: Path, scale: float) -> Path:
    """Make the table."""
    tool = shutil.which("tpchgen-cli", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert tool, "tpchgen-cli is not installed"
    command = [tool, "parquet", "-s", f"{scale:g}", "--tables", "lineitem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "lineitem.parquet"


def laid_out(source: Path, layout: str) -> Path:
    """Add the partition column, which then costs no writer anything."""
    made = source.with_name(f"{layout}.parquet")
    pl.scan_parquet(source).with_columns(LAYOUTS[layout].alias(KEY)).sink_parquet(made)
    return made


def measure(server: Seaweed, source: Path, options: argparse.Namespace) -> dict[str, object]:
    """Let all writers write in turn, in another order in every other round."""
    bucket = server.make_bucket()
    commits: list[float] = []
    writers: dict[str, Callable[[int], Took]] = {
        "polars": lambda n: timed(lambda: bare_polars(server, f"s3://{bucket}/polars-{n}/", source)),
        "gpuquery": lambda n: timed(lambda: ours(server, f"s3://{bucket}/ours-{n}", source, commits)),
        "pyarrow": lambda n: timed(lambda: bare_pyarrow(server, f"{bucket}/pyarrow-{n}", source)),
    }
    writers = {name: writers[name] for name in options.writers.split(",")}
    if options.duckdb:
        writers["duckdb"] = lambda n: bare_duckdb(server, f"s3://{bucket}/duckdb-{n}", source, options.duckdb)
    found: dict[str, list[Took]] = {name: [] for name in writers}
    for number in range(options.rounds + 1):
        for name in list(writers) if number % 2 else reversed(writers):
            found[name].append(writers[name](number))
    told: dict[str, object] = {"rounds": options.rounds}
    for name, times in found.items():
        kept, bare = times[1:], found["polars"][1:]
        told[name] = {
            "seconds": round(statistics.median(one.seconds for one in kept), 3),
            "cpu": round(statistics.median(one.cpu for one in kept), 3),
            "seconds_to_polars": round(
                statistics.median(a.seconds / b.seconds for a, b in zip(kept, bare, strict=True)), 3
            ),
            "cpu_to_polars": round(statistics.median(a.cpu / b.cpu for a, b in zip(kept, bare, strict=True)), 3),
        }
    told["commit_seconds"] = round(statistics.median(commits[1:]), 3)
    told["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return told


def timed(write: Callable[[], None]) -> Took:
    """Run a write in this process."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    write()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(time.perf_counter() - begun, cpu)


def bare_polars(server: Seaweed, uri: str, source: Path) -> None:
    """Polars' own partitioned sink."""
    made = plan(uri, endpoint=server.endpoint)
    target = pl.PartitionBy(uri, key=KEY, include_key=False)
    pl.scan_parquet(source).sink_parquet(target, storage_options=stores.scan_options(made.store, uri))


def ours(server: Seaweed, uri: str, source: Path, commits: list[float]) -> None:
    """Our sink, with its check of the output, its commit and its publishing."""
    writer = sink(plan(uri, endpoint=server.endpoint, partition_by=[KEY]))
    writer.preflight()
    writer.write(pl.scan_parquet(source))
    begun = time.perf_counter()
    writer.commit()
    commits.append(time.perf_counter() - begun)


def bare_pyarrow(server: Seaweed, folder: str, source: Path) -> None:
    """pyarrow's dataset writer."""
    target = pyarrow.fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=server.endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
    )
    table = ds.dataset(source)
    layout = ds.partitioning(pq.read_schema(source).empty_table().select([KEY]).schema, flavor="hive")
    how = ds.ParquetFileFormat().make_write_options(compression="zstd")
    columns = {name: pc.field(name) for name in table.schema.names}
    ds.write_dataset(
        table.scanner(columns=columns), folder, filesystem=target, format="parquet", partitioning=layout,
        file_options=how, max_partitions=20_000, create_dir=False,
    )  # fmt: skip


def bare_duckdb(server: Seaweed, uri: str, source: Path, program: str) -> Took:
    """DuckDB's partitioned COPY, timed inside a process of its own."""
    secret = (
        f"create secret (type s3, key_id '{os.environ['AWS_ACCESS_KEY_ID']}', region 'us-east-1', "
        f"secret '{os.environ['AWS_SECRET_ACCESS_KEY']}', url_style 'path', use_ssl false, "
        f"endpoint '{server.endpoint.removeprefix('http://')}')"
    )
    copy = f"copy (from '{source}') to '{uri}' (format parquet, compression zstd, partition_by ({KEY}))"
    given = json.dumps({"secret": secret, "copy": copy})
    ran = subprocess.run([program, "-c", DUCKDB], input=given, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])  # a progress bar may stand before
    return Took(told["seconds"], told["cpu"])


def requests(server: Seaweed, source: Path, layout: str) -> dict[str, object]:
    """Count the requests of one job, by their reasons."""
    with in_front_of(server.endpoint) as proxy:
        writer = sink(plan(f"s3://{server.make_bucket()}/t", endpoint=proxy.endpoint, partition_by=[KEY]))
        writer.preflight()
        writer.write(pl.scan_parquet(source))
        files = writer.commit().files
        return {"files": files, "requests": store_requests.counted(proxy.requests)}


def committing(server: Seaweed, files: int) -> dict[str, object]:
    """Write a result of one row a file, and time its commit."""
    writer = sink(plan(f"s3://{server.make_bucket()}/t", endpoint=server.endpoint, partition_by=["k"]))
    writer.preflight()
    wrote = timed(lambda: writer.write(pl.LazyFrame({"k": range(files), "v": range(files)})))
    committed = timed(writer.commit)  # type: ignore[arg-type]
    return {
        "measurement": "write and commit of one row a file", "files": files,
        "write_seconds": round(wrote.seconds, 2), "write_cpu": round(wrote.cpu, 2),
        "commit_seconds": round(committed.seconds, 2), "commit_cpu": round(committed.cpu, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, **conditions(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
